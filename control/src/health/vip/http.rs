//! The request of an HTTP check, made through the VIP: a TCP connection of our own (smoltcp), since the kernel's would go
//! to itself, or to the director that owns the VIP.
//!
//! *Invariants*
//! - an answer is read up to its status line and no further, within the time of the check;
//! - received checksums are not looked at: a veth hands over frames whose sums are still to be made.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::diagnose::Reply;
use super::packet::TCP_HOPS;
use super::seen::Seen;
use super::wire::{Inbox, KEPT};
use crate::model::{Http, HttpVersion};

/// Most that is read of an answer, and the window that is offered.
const WINDOW: usize = 4096;
/// An answer has at least this long: a lost segment is sent again after 0.7 s.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest line that is waited for.
const LONGEST_LINE: usize = 256;

/// The request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The request as it is sent.
    pub text: String,
    /// Status codes that are good, both ends included.
    pub status: Vec<(u16, u16)>,
    /// Time for the answer.
    pub timeout: Duration,
}

impl Request {
    /// The first request of a check, to be made at `vip`.
    pub fn of(http: &Http, vip: IpAddr, timeout: Duration) -> Request {
        let request = &http.requests[0];
        let address = if vip.is_ipv4() { vip.to_string() } else { format!("[{vip}]") };
        let host = request.host.as_ref().or(http.host.as_ref()).unwrap_or(&address);
        let (version, close) = match http.version {
            HttpVersion::Http10 => ("1.0", ""),
            HttpVersion::Http10Close => ("1.0", "Connection: close\r\n"),
            HttpVersion::Http11 => ("1.1", "Connection: close\r\n"),
        };
        let text = format!(
            "GET {} HTTP/{version}\r\nUser-Agent: shunt\r\n{close}Host: {host}\r\n\r\n",
            request.path
        );
        Request { text, status: request.status.clone(), timeout: timeout.max(SHORTEST_TIMEOUT) }
    }
}

/// One end of a connection.
pub(super) struct Ends {
    pub(super) from: IpAddr,
    pub(super) number: u16,
    pub(super) to: IpAddr,
    pub(super) port: u16,
}

/// Makes the request from the number of `inbox`; `send` sends an IP packet.
pub(super) async fn ask(
    request: &Request,
    ends: &Ends,
    seed: u32,
    inbox: &mut Inbox,
    send: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<Reply> {
    let start = Instant::now();
    let mut link = Link::default();
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = u64::from(seed);
    let mut interface = Interface::new(config, &mut link, Moment::ZERO);
    let prefix = if ends.from.is_ipv4() { 32 } else { 128 };
    interface.update_ip_addrs(|addresses| {
        addresses
            .push(IpCidr::new(ends.from.into(), prefix))
            .unwrap_or_else(|_| unreachable!("it is the first"));
    });
    let buffer = || SocketBuffer::new(vec![0; WINDOW]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_hop_limit(Some(TCP_HOPS));
    socket
        .connect(interface.context(), (ends.to, ends.port), (ends.from, ends.number))
        .unwrap_or_else(|error| unreachable!("a fresh socket connects: {error}"));
    let mut sockets = SocketSet::new([smoltcp::iface::SocketStorage::EMPTY]);
    let handle = sockets.add(socket);
    let (mut unsent, mut line) = (request.text.as_bytes(), Vec::new());
    let reply = loop {
        let now = Moment::from_micros(start.elapsed().as_micros() as i64);
        interface.poll(now, &mut link, &mut sockets);
        let socket = sockets.get_mut::<Socket>(handle);
        if let Ok(sent) = socket.send_slice(unsent) {
            unsent = &unsent[sent..];
        }
        let mut part = [0; LONGEST_LINE];
        if let Ok(length) = socket.recv_slice(&mut part) {
            line.extend(&part[..length]);
        }
        let is_over = !socket.may_recv() && !matches!(socket.state(), State::SynSent);
        if let Some(reply) = judge(&line, is_over, request) {
            break reply;
        }
        interface.poll(now, &mut link, &mut sockets);
        link.flush(&send)?;
        let left = request.timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            break Reply::Wrong(format!(
                "accepts the connection and sends no answer within {}",
                super::super::seconds(request.timeout)
            ));
        }
        let wait = interface.poll_delay(now, &sockets).map_or(left, |delay| left.min(delay.into()));
        if let Ok(Seen::Tcp { packet, .. }) = tokio::time::timeout(wait, inbox.next()).await {
            link.take(packet);
        }
        for seen in inbox.ready() {
            if let Seen::Tcp { packet, .. } = seen {
                link.take(packet);
            }
        }
    };
    // With a RST, as every probe ends: nothing stays behind.
    sockets.get_mut::<Socket>(handle).abort();
    interface.poll(Moment::from_micros(start.elapsed().as_micros() as i64), &mut link, &mut sockets);
    link.flush(&send)?;
    Ok(reply)
}

/// What a beginning of an answer says; `None`: it is too short to say.
fn judge(line: &[u8], is_over: bool, request: &Request) -> Option<Reply> {
    let words = "ends the connection without an answer";
    if line.is_empty() {
        return is_over.then(|| Reply::Wrong(words.to_owned()));
    }
    if !line.contains(&b'\n') && line.len() < LONGEST_LINE && !is_over {
        return None;
    }
    // HTTP/1.1 200 OK
    let digits = line.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse::<u16>().ok());
    Some(match status.filter(|_| line.starts_with(b"HTTP/1.")) {
        Some(status) if request.status.iter().any(|(first, last)| (first..=last).contains(&&status)) => {
            Reply::Good
        }
        Some(status) => Reply::Wrong(format!("answers with status {status}")),
        None => Reply::Wrong("answers with what is not HTTP".to_owned()),
    })
}

/// The link of a connection: packets that came, [`KEPT`] at most, and packets to send.
#[derive(Default)]
struct Link {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Link {
    /// More than fit are lost, as on any link: TCP asks for them again.
    fn take(&mut self, packet: Vec<u8>) {
        if self.received.len() < KEPT {
            self.received.push_back(packet);
        }
    }

    fn flush(&mut self, send: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.sent.drain(..).try_for_each(|packet| send(&packet))
    }
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Moment) -> Option<(Received, Sent<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Moment) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        // A request is short; the answer comes in parts of this.
        capabilities.max_transmission_unit = 1280;
        let mut sums = ChecksumCapabilities::default();
        (sums.ipv4, sums.tcp) = (Checksum::Tx, Checksum::Tx);
        capabilities.checksum = sums;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = vec![0; length];
        let result = fill(&mut packet);
        self.0.push(packet);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_fills_no_memory() {
        let mut link = Link::default();
        (0..10 * KEPT).for_each(|_| link.take(vec![0; 40]));
        assert_eq!(link.received.len(), KEPT);
    }

    #[test]
    fn a_status_line_is_judged_as_soon_as_it_is_whole() {
        let request =
            Request { text: String::new(), status: vec![(200, 299)], timeout: Duration::from_secs(1) };
        let judge = |text: &str, is_over| judge(text.as_bytes(), is_over, &request);
        assert_eq!(judge("HTTP/1.1 20", false), None);
        assert_eq!(judge("HTTP/1.1 204 No Content\r\n", false), Some(Reply::Good));
        let wrong = |text: &str| Some(Reply::Wrong(text.into()));
        assert_eq!(judge("HTTP/1.0 503 No\r\n", false), wrong("answers with status 503"));
        assert_eq!(judge("SSH-2.0-OpenSSH_9.6\r\n", false), wrong("answers with what is not HTTP"));
        assert_eq!(judge("", true), wrong("ends the connection without an answer"));
        assert_eq!(judge("", false), None);
        assert_eq!(judge("\r\n", true), wrong("answers with what is not HTTP"));
    }
}

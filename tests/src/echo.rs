//! A UDP service on a real server: it answers every datagram with the name of its host and the datagram.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, recvmsg, sendmsg,
    setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;
use crate::wait;

/// How often a thread looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);
/// Larger than any datagram.
const LONGEST: usize = 1 << 16;

/// A running echo service on one port of all addresses of a host.
pub struct Echo {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts it. It answers from the address that was asked, as a service behind a VIP must.
    #[track_caller]
    pub fn start(host: &Host, port: u16) -> Echo {
        let mut echo = Echo { stop: Arc::default(), answered: Arc::default(), threads: Vec::new() };
        echo.listen(host, (Ipv4Addr::UNSPECIFIED, port).into(), answer_v4);
        if host.has_ipv6() {
            echo.listen(host, (Ipv6Addr::UNSPECIFIED, port).into(), answer_v6);
        }
        echo
    }

    #[track_caller]
    fn listen(&mut self, host: &Host, on: SocketAddr, answer: Answer) {
        let socket = host.enter(|| bind(on));
        let socket = socket.unwrap_or_else(|fault| panic!("UDP {on} of {}: {fault}", host.role()));
        let (stopped, count) = (Arc::clone(&self.stop), Arc::clone(&self.answered));
        let name = host.role().to_owned();
        self.threads.push(std::thread::spawn(move || {
            // Relaxed, here and below: flag and counter order nothing else.
            while !stopped.load(Ordering::Relaxed) {
                // An error is a timeout, or a datagram to be ignored.
                let _ = answer(&socket, &name, &count);
            }
        }));
    }

    /// How many datagrams it has answered.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A socket that tells where each datagram was sent to.
fn bind(on: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(on), Type::DGRAM, Some(Protocol::UDP))?;
    if on.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    socket.bind(&on.into())?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket.into())
}

/// Asks `to` from `host`: the answer is "NAME QUESTION".
pub fn ask(host: &Host, to: SocketAddr, question: &str, patience: Duration) -> io::Result<String> {
    ask_from(host, 0, to, question, patience)
}

/// As [`ask`], from the port `source_port` of the host: the flow can then be foretold.
pub fn ask_from(
    host: &Host,
    source_port: u16,
    to: SocketAddr,
    question: &str,
    patience: Duration,
) -> io::Result<String> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, source_port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, source_port)),
    };
    // A process that was forked a moment ago has the port too, until it becomes another program.
    let socket = wait::try_until(patience, || match host.enter(|| UdpSocket::bind(any)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        bound => Some(bound),
    });
    let socket = socket.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))?;
    // Connected: an answer from another address than the one that was asked does not count.
    socket.connect(to)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(question.as_bytes())?;
    let mut answer = vec![0; LONGEST];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Answers one datagram, if one comes before the socket's timeout.
type Answer = fn(&UdpSocket, &str, &AtomicUsize) -> io::Result<()>;

fn answer_v4(socket: &UdpSocket, name: &str, count: &AtomicUsize) -> io::Result<()> {
    let asked = |message: ControlMessageOwned| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
        _ => None,
    };
    let (question, asker, mut asked) = receive::<SockaddrIn, libc::in_pktinfo>(socket, asked)?;
    // Only the address: the answer leaves by whatever interface leads to the asker, not by the one of the VIP.
    asked.ipi_ifindex = 0;
    asked.ipi_spec_dst = asked.ipi_addr;
    // Before it is sent: whoever has the answer finds it counted.
    count.fetch_add(1, Ordering::Relaxed);
    send(socket, name, &question, &ControlMessage::Ipv4PacketInfo(&asked), &asker)
}

fn answer_v6(socket: &UdpSocket, name: &str, count: &AtomicUsize) -> io::Result<()> {
    let asked = |message: ControlMessageOwned| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
        _ => None,
    };
    let (question, asker, mut asked) = receive::<SockaddrIn6, libc::in6_pktinfo>(socket, asked)?;
    asked.ipi6_ifindex = 0;
    count.fetch_add(1, Ordering::Relaxed);
    send(socket, name, &question, &ControlMessage::Ipv6PacketInfo(&asked), &asker)
}

/// A datagram, who sent it, and the address it was sent to.
fn receive<A: SockaddrLike, I>(
    socket: &UdpSocket,
    find: impl Fn(ControlMessageOwned) -> Option<I>,
) -> io::Result<(Vec<u8>, A, I)> {
    let mut question = vec![0; LONGEST];
    let mut control = nix::cmsg_space!(I);
    let (length, asker, asked) = {
        let mut parts = [IoSliceMut::new(&mut question)];
        let message = recvmsg::<A>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let asked = message.cmsgs()?.find_map(find);
        (message.bytes, message.address, asked)
    };
    question.truncate(length);
    let asker = asker.ok_or(io::ErrorKind::InvalidData)?;
    Ok((question, asker, asked.ok_or(io::ErrorKind::InvalidData)?))
}

fn send<A: SockaddrLike>(
    socket: &UdpSocket,
    name: &str,
    question: &[u8],
    from: &ControlMessage,
    asker: &A,
) -> io::Result<()> {
    let text = [name.as_bytes(), b" ", question].concat();
    let from = std::slice::from_ref(from);
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(&text)], from, MsgFlags::empty(), Some(asker))?;
    Ok(())
}

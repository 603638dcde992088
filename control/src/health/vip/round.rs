//! One round of probes of one real server: first what must work, and only if it does not, what tells why.
//!
//! *Invariants*
//! - a lost frame, or two in a row, is no fault: each question is asked three times;
//! - a TCP probe is never accepted by the server's program: its SYN-ACK is the answer, a RST follows (only an HTTP check
//!   goes further);
//! - a round is over within 1.2 s and the time of its HTTP check.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::{Answers, Echo, Reset};
use super::diagnose::{Evidence, Reply};
use super::http::{self, Ends};
use super::packet::{self, Ethertype, Tcp};
use super::seen::Seen;
use super::sources::Lease;
use super::wire::{Inbox, Wire};
use super::{Kind, Path, Subject};

/// Times that a question is asked.
const ATTEMPTS: u32 = 3;
/// An answer on the link comes within this, or is lost.
const ANSWER: Duration = Duration::from_millis(250);
/// As [`ANSWER`], while the fault is looked for.
const ANSWER_WHILE_LOOKING: Duration = Duration::from_millis(150);
/// What was asked first is answered first; what is late by more says nothing.
const LINGER: Duration = Duration::from_millis(20);
/// Longest packet that is tried: clients beyond a router send no longer ones, whatever the director's own network takes.
const LONGEST_PACKET: u16 = 1500;

/// Length of the long echo.
pub(super) fn full(path: &Path) -> u16 {
    path.mtu.min(LONGEST_PACKET)
}

/// Makes a round. `full`: with an echo of the longest packet.
///
/// # Errors
/// The director could not send: nothing is known.
pub(super) async fn round(
    subject: &Subject,
    path: &Path,
    wire: &Wire,
    lease: &Lease,
    full: bool,
) -> io::Result<Evidence> {
    let inbox = wire.listen(lease.number());
    let answers = Answers::to(subject, path.mac, random(), full);
    let mut round = Round { subject, path, wire, lease, inbox, answers };
    round.ask_for_service().await?;
    if round.answers.evidence.service_at_vip == Reply::Good {
        round.request(subject.vip).await?;
    }
    if round.answers.evidence.service_at_vip != Reply::Good {
        round.look_for_fault().await?;
    }
    Ok(round.answers.evidence)
}

struct Round<'a> {
    subject: &'a Subject,
    path: &'a Path,
    wire: &'a Wire,
    lease: &'a Lease,
    inbox: Inbox,
    answers: Answers<'a>,
}

impl Round<'_> {
    async fn ask_for_service(&mut self) -> io::Result<()> {
        self.ask_who_has_vip()?;
        for attempt in 0..ATTEMPTS {
            self.ask_vip()?;
            if self.answers.evidence.full_echo_at_vip == Some(Reply::Silent) {
                self.echo(self.subject.vip, Echo::FullToVip, full(self.path).into())?;
                // Is it the length, or is no echo answered?
                if attempt > 0 && self.answers.evidence.echo_at_vip == Reply::Silent {
                    self.echo(self.subject.vip, Echo::ShortToVip, 0)?;
                }
            }
            let settled = |seen: &Evidence| match seen.service_at_vip {
                Reply::Silent => false,
                Reply::Good => seen.full_echo_at_vip != Some(Reply::Silent),
                _ => true,
            };
            if self.hear(ANSWER, settled).await? {
                break;
            }
        }
        self.hear(LINGER, |_| false).await.map(|_| ())
    }

    /// The VIP itself is asked again all the while: an answer ends the doubt.
    async fn look_for_fault(&mut self) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            self.ask_vip()?;
            if self.answers.evidence.service_at_real == Reply::Silent
                && let Some(port) = self.subject.port()
            {
                self.syn(self.subject.real, port)?;
            }
            self.echo(self.subject.vip, Echo::ShortToVip, 0)?;
            self.echo(self.subject.real, Echo::ShortToReal, 0)?;
            let sequence = self.answers.echo(Echo::Malformed);
            let malformed = packet::complaint(self.source(), self.subject.vip, self.lease.number(), sequence);
            self.send(&malformed)?;
            self.ask_who_has_real()?;
            let has_port = self.subject.port().is_some();
            let settled = |seen: &Evidence| {
                seen.service_at_vip == Reply::Good
                    || (!has_port || seen.service_at_real != Reply::Silent)
                        && seen.echo_at_real != Reply::Silent
                        && seen.holds_vip.is_some()
                        && seen.mac.is_some()
            };
            if self.hear(ANSWER_WHILE_LOOKING, settled).await? {
                break;
            }
        }
        if matches!(self.answers.evidence.service_at_vip, Reply::Wrong(_)) {
            self.request(self.subject.real).await?;
        }
        Ok(())
    }

    /// Asks for the service at the VIP, if it has not answered.
    fn ask_vip(&self) -> io::Result<()> {
        match (self.subject.port(), &self.answers.evidence.service_at_vip) {
            (Some(port), Reply::Silent) => self.syn(self.subject.vip, port),
            (None, Reply::Silent) => self.echo(self.subject.vip, Echo::ShortToVip, 0),
            _ => Ok(()),
        }
    }

    /// The request of an HTTP check.
    async fn request(&mut self, to: IpAddr) -> io::Result<()> {
        let Kind::Http(port, request) = &self.subject.kind else { return Ok(()) };
        let ends = Ends { from: self.source(), number: self.lease.number(), to, port: *port };
        let (wire, path) = (self.wire, self.path);
        let send = |packet: &[u8]| wire.send(&framed(path, path.mac, Ethertype::of(to), packet));
        let reply =
            http::ask(request, &ends, self.answers.sequence.wrapping_add(1 << 20), &mut self.inbox, send)
                .await?;
        if to == self.subject.vip {
            self.answers.evidence.service_at_vip = reply;
        } else {
            self.answers.evidence.service_at_real = reply;
        }
        Ok(())
    }

    /// Takes in what comes for so long, or until it is enough; whether it is.
    async fn hear(&mut self, time: Duration, enough: impl Fn(&Evidence) -> bool) -> io::Result<bool> {
        let until = Instant::now() + time;
        while !enough(&self.answers.evidence) {
            match tokio::time::timeout_at(until, self.inbox.next()).await {
                Ok(seen) => self.take(seen)?,
                Err(_) => {
                    for seen in self.inbox.ready() {
                        self.take(seen)?;
                    }
                    return Ok(enough(&self.answers.evidence));
                }
            }
        }
        Ok(true)
    }

    fn take(&mut self, seen: Seen) -> io::Result<()> {
        match self.answers.take(seen) {
            Some(Reset { to, port, sequence }) => self.reset(to, port, sequence),
            None => Ok(()),
        }
    }

    /// To the real server alone. Linux answers a question that was sent to it alone as it answers one to all.
    fn ask_who_has_vip(&self) -> io::Result<()> {
        match (self.subject.vip, self.source()) {
            (IpAddr::V4(vip), _) => {
                self.send_as(Ethertype::Arp, self.path.mac, &packet::arp_probe(self.path.own_mac, vip))
            }
            (IpAddr::V6(vip), IpAddr::V6(from)) => {
                self.send(&packet::solicitation(self.path.own_mac, from, vip, vip))
            }
            _ => unreachable!("a service has one address family"),
        }
    }

    /// To everybody: it may have moved.
    fn ask_who_has_real(&self) -> io::Result<()> {
        let own = self.path.own_mac;
        match (self.subject.real, self.source()) {
            (IpAddr::V4(real), IpAddr::V4(from)) => {
                self.send_as(Ethertype::Arp, packet::BROADCAST, &packet::arp_request(own, from, real))
            }
            (IpAddr::V6(real), IpAddr::V6(from)) => {
                let (group, mac) = packet::solicited_node(real);
                self.send_as(Ethertype::Ipv6, mac, &packet::solicitation(own, from, group, real))
            }
            _ => unreachable!("a service has one address family"),
        }
    }

    fn echo(&self, to: IpAddr, echo: Echo, size: usize) -> io::Result<()> {
        let sequence = self.answers.echo(echo);
        self.send(&packet::echo(self.source(), to, self.lease.number(), sequence, size))
    }

    fn syn(&self, to: IpAddr, port: u16) -> io::Result<()> {
        let (from, source_port) = (self.source(), self.lease.number());
        self.send(
            &Tcp { from, to, source_port, port, sequence: self.answers.sequence, reset: false }.packet(),
        )
    }

    fn reset(&self, to: IpAddr, port: u16, sequence: u32) -> io::Result<()> {
        let (from, source_port) = (self.source(), self.lease.number());
        self.send(&Tcp { from, to, source_port, port, sequence, reset: true }.packet())
    }

    fn source(&self) -> IpAddr {
        self.lease.address()
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.send_as(Ethertype::of(self.subject.real), self.path.mac, packet)
    }

    fn send_as(&self, kind: Ethertype, to: [u8; 6], packet: &[u8]) -> io::Result<()> {
        match self.wire.send(&framed(self.path, to, kind, packet)) {
            // The queue is full for a moment: as good as lost on the way.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)) => Ok(()),
            result => result,
        }
    }
}

fn framed(path: &Path, to: [u8; 6], kind: Ethertype, packet: &[u8]) -> Vec<u8> {
    packet::frame(to, path.own_mac, path.vlan, kind, packet)
}

/// Differs from round to round, unforeseeably to a stranger: whoever sees nothing of a probe can only guess what an answer
/// to it must say. (SipHash under a key that the system's random source gave this thread, and that counts up.)
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

//! Checks through the VIP. With direct server return a director's ordinary check goes to the real server's own address, and
//! a client to the VIP: a server that lacks the VIP, drops its packets or listens elsewhere passes every such check and
//! serves nobody. So a probe is sent as a client's packet is forwarded, to the VIP with the real server's MAC address, and
//! if it is not answered, more probes find out why, down to the command that mends it.
//!
//! From the outside in: [`VipChecks`] makes rounds of probes, `round` is one of them, `diagnose` names the fault, and
//! [`Fault`] has the words. `answers` weighs what came back. `wire`, `sources`, `filter`, `packet` and `seen` are how a probe gets past the
//! kernel, which has other ideas about packets to and from a VIP.
//!
//! *Invariants*
//! - no packet of a probe goes to anybody but the real server (but the question who has the real server's address), and
//!   none makes a cache believe anything about the VIP;
//! - a round that the director could not make, or whose way changed meanwhile, says nothing;
//! - an [`Event`] is sent after the change is in [`VipChecks::view`].

mod answers;
mod diagnose;
mod fault;
mod filter;
mod http;
mod packet;
mod round;
mod runner;
mod seen;
mod sources;
mod view;
pub(crate) mod who_has;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use super::RealKey;
use crate::model::Vlan;
pub use fault::Fault;
pub use http::Request;
pub use runner::{Event, VipChecks};
pub use view::{VipHealth, VipView};

/// What is probed: services that agree in this share their rounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The address that clients use.
    pub vip: IpAddr,
    /// The real server's own address.
    pub real: IpAddr,
    /// How it is asked.
    pub kind: Kind,
}

/// How a service is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ICMP echo: not TCP, or a range of ports.
    Echo,
    /// A SYN to this port.
    Tcp(u16),
    /// A SYN, and then this request.
    Http(u16, Request),
}

/// The way to a real server, as its clients' frames take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Index of the director's interface.
    pub index: u32,
    /// Its name.
    pub interface: String,
    /// Its MAC address.
    pub own_mac: [u8; 6],
    /// The real server's MAC address.
    pub mac: [u8; 6],
    /// That is configured: no answer of a neighbour changes it.
    pub is_fixed: bool,
    /// Longest IP packet of the way, bytes.
    pub mtu: u16,
    /// The VLAN of its frames.
    pub vlan: Vlan,
}

/// A check that somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Who asks.
    pub key: RealKey,
    /// What is probed.
    pub subject: Subject,
    /// Time between the starts of two rounds.
    pub interval: Duration,
    /// The way; none: it is not known, and nothing is sent.
    pub path: Option<Path>,
    /// By what was known so far it serves.
    pub was_up: bool,
}

impl Subject {
    /// The port that is asked, if it is one.
    fn port(&self) -> Option<u16> {
        match self.kind {
            Kind::Echo => None,
            Kind::Tcp(port) | Kind::Http(port, _) => Some(port),
        }
    }
}

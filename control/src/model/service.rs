//! Virtual services and their real servers. Words that mean the same to a worker as to an operator are the
//! dataplane's own types.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::{HealthCheck, Hooks};

pub use shunt_dataplane::forwarding::{NoReal, OnFailure, Ports, Thresholds};
pub use shunt_dataplane::rewrite::Vlan;
pub use shunt_dataplane::schedule::{HashFlags, Policy as Scheduler};

/// Transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
}

/// VIP + protocol + ports: what a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The virtual address.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination ports, 1-65535.
    pub ports: Ports,
}

/// One virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// What clients connect to.
    pub key: ServiceKey,
    /// Policy for new flows.
    pub scheduler: Scheduler,
    /// Flows of one client stay together; none: each flow for itself.
    pub persistence: Option<Persistence>,
    /// Each datagram is a flow of its own (UDP).
    pub one_packet: bool,
    /// What becomes of the flows of a real server that is gone.
    pub on_failure: OnFailure,
    /// What a client is told that no real server takes.
    pub no_real: NoReal,
    /// A TCP flow begins with a SYN, and what does not is dropped.
    pub strict: bool,
    /// The TTL, or hop limit, stays as it is.
    pub keep_ttl: bool,
    /// Share of each worker's flow table that its flows may take, in 1/1000, 1-1000.
    pub table_share: u16,
    /// How long a real server that comes back takes to get its whole weight; none: it gets it at once.
    pub slow_start: Option<Duration>,
    /// How long silent flows are remembered.
    pub timeouts: Timeouts,
    /// What becomes of checks through the VIP.
    pub vip_check: VipCheck,
    /// When it has enough real servers.
    pub quorum: Quorum,
    /// When shunt ends, real servers and services that are up are told of as down (`omega`).
    pub omega: bool,
    /// The `virtual_server_group` it is an entry of: its entries are one service to whoever is told.
    pub group: Option<String>,
    /// When a real server that fails for its clients is taken out; none: it is only counted.
    pub passive: Option<Passive>,
    /// The real servers, in the order of the file.
    pub reals: Vec<RealServer>,
}

/// Flows of one client go to one real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// A client is forgotten this long after its last flow, 1 s to 31 days.
    pub timeout: Duration,
    /// Leading bits of a client's address that tell it from others: 1-32 for IPv4, 1-128 for IPv6.
    pub prefix: u8,
}

/// How long silent flows are remembered, 1 s to 31 days each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP: the client's SYN was seen, nothing after it.
    pub syn: Duration,
    /// TCP: the handshake is complete.
    pub established: Duration,
    /// TCP: a FIN was seen.
    pub fin: Duration,
    /// TCP: a RST was seen.
    pub closed: Duration,
    /// UDP.
    pub udp: Duration,
    /// SCTP.
    pub sctp: Duration,
}

/// One real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// Its own address (RIP), on a network the director is on.
    pub address: IpAddr,
    /// Share of new flows, 0-65535; 0 = draining.
    pub weight: u16,
    /// Connection thresholds.
    pub thresholds: Thresholds,
    /// What becomes of the VLAN tags of its frames.
    pub vlan: Vlan,
    /// Its MAC address, if nobody is to be asked for it.
    pub mac: Option<[u8; 6]>,
    /// The interface that leads to it; none: the one of the kernel's route.
    pub interface: Option<String>,
    /// Longest IP packet that reaches it, bytes; none: as the kernel's route says.
    pub mtu: Option<u16>,
    /// It is up while all of these are; none: while its MAC address is known.
    pub checks: Vec<HealthCheck>,
    /// When it fails it keeps its flows, as if its weight were 0 (`inhibit_on_failure`); else they meet the service's
    /// `on_failure`.
    pub inhibit: bool,
    /// Who is told (`notify_up`, `notify_down`, `smtp_alert`).
    pub hooks: Hooks,
}

/// When a service has enough real servers, and who answers when it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Sum of the weights of live real servers that is enough, >= 1.
    pub needed: u32,
    /// It is lost below `needed - hysteresis`, and gained from `needed + hysteresis`.
    pub hysteresis: u32,
    /// Who is told (`quorum_up`, `quorum_down`, the service's `smtp_alert`).
    pub hooks: Hooks,
    /// Who answers while it is lost, instead of the real servers.
    pub sorry: Option<Sorry>,
}

/// The server that answers while the quorum is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorry {
    /// The server; it is not checked.
    pub server: RealServer,
    /// It keeps its flows when the quorum is back: it stays, with weight 0 (`sorry_server_inhibit`).
    pub inhibit: bool,
}

/// What becomes of the checks through the VIP: a probe to the VIP with the real server's MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VipCheck {
    /// A real server that fails it is down.
    Decides,
    /// It is made, and shown; the health is what the other checks say.
    Reports,
    /// It is not made.
    #[default]
    Off,
}

/// When a real server that fails for its clients is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passive {
    /// Share of handshakes that fail, in 1/1000, 1-1000.
    pub failures: u16,
    /// Handshakes of this last stretch of time count.
    pub window: Duration,
    /// Fewer handshakes than this say nothing, >= 1.
    pub minimum: u32,
    /// How long it stays out before clients try it again.
    pub hold: Duration,
}

impl Default for Quorum {
    /// One real server is enough, and nobody answers in its stead.
    fn default() -> Quorum {
        Quorum { needed: 1, hysteresis: 0, hooks: Hooks::default(), sorry: None }
    }
}

impl VirtualService {
    /// All that may serve it: its real servers, and then the sorry server.
    pub fn servers(&self) -> impl Iterator<Item = &RealServer> {
        self.reals.iter().chain(self.quorum.sorry.iter().map(|sorry| &sorry.server))
    }

    /// Whether both addresses of its flows are IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.key.vip.is_ipv6()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl fmt::Display for ServiceKey {
    /// `192.0.2.10:80/tcp`, `[2001:db8::10]:8000-8100/udp`, `192.0.2.10:any/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = ports(self.ports);
        match self.vip {
            IpAddr::V4(a) => write!(f, "{a}:{ports}/{}", self.protocol),
            IpAddr::V6(a) => write!(f, "[{a}]:{ports}/{}", self.protocol),
        }
    }
}

/// Ports as they are written in a configuration: `80`, `8000-8100`, `any`.
pub fn ports(ports: Ports) -> String {
    match ports {
        Ports::ANY => "any".to_owned(),
        ports => match ports.single() {
            Some(port) => port.to_string(),
            None => format!("{}-{}", ports.first, ports.last),
        },
    }
}

/// A share of 1/1000 as it is written in a configuration: `50%`, `12.5%`.
pub fn percent(thousandths: u16) -> String {
    match thousandths % 10 {
        0 => format!("{}%", thousandths / 10),
        rest => format!("{}.{rest}%", thousandths / 10),
    }
}

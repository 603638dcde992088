//! What a configuration means: valid by construction, free of spelling. `config::resolve` is the only
//! producer; `compile` and the health runner are its consumers.
//!
//! *Invariants* (checked by `config::resolve`, relied on everywhere):
//! - a (VIP, protocol, port) occurs once; a real server occurs once in a service;
//! - a service has one address family; a real server is never one of the VIPs;
//! - `interfaces` is not empty and has no duplicates;
//! - a check's timeout is at most its interval, its rise and fall are at least 1, ports are not 0.

use std::net::IpAddr;
use std::time::Duration;

/// Everything one configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The machine: interfaces, memory, cores.
    pub director: Director,
    /// The virtual services, in the order of the file.
    pub services: Vec<VirtualService>,
}

/// Settings of the director itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Director {
    /// Interfaces frames come in on and leave by, in the order of the file.
    pub interfaces: Vec<String>,
    /// Core of worker 0, 1, ...; empty: the last core downwards.
    pub cores: Vec<usize>,
    /// Flows one worker remembers (rounded up to a power of two).
    pub flows_per_worker: usize,
    /// Frames of UMEM one worker has for each of its queues.
    pub frames_per_queue: u32,
    /// Key of the scheduling hash: the same on every director of a cluster.
    pub hash_key: [u64; 2],
    /// What a worker does when no frame comes.
    pub idle: Idle,
}

/// What a worker does when no frame comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idle {
    /// Spin for a moment, then sleep until a frame comes.
    #[default]
    Adaptive,
    /// Never sleep: lowest latency, a whole core.
    Spin,
}

/// Transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

/// VIP + protocol + port: what a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The virtual address.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port, 1-65535.
    pub port: u16,
}

/// Policy that chooses the real server of a new flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheduler {
    /// Consistent hashing over the whole flow key (Maglev, NSDI'16, section 3.4).
    #[default]
    Maglev,
}

/// One virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// What clients connect to.
    pub key: ServiceKey,
    /// Policy for new flows.
    pub scheduler: Scheduler,
    /// Active check of each real server; none: a real server is up while its MAC address is known.
    pub check: Option<HealthCheck>,
    /// The real servers, in the order of the file.
    pub reals: Vec<RealServer>,
}

/// One real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// Its own address (RIP), on a network the director is on.
    pub address: IpAddr,
    /// Share of new flows, 0-65535; 0 = draining.
    pub weight: u16,
}

/// An active health check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// Time between the starts of two probes.
    pub interval: Duration,
    /// A probe without answer fails after this.
    pub timeout: Duration,
    /// Consecutive successes that bring a real server up, >= 1.
    pub rise: u32,
    /// Consecutive failures that bring it down, >= 1.
    pub fall: u32,
}

/// What a health check probes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A TCP connection to the real server's own address.
    Tcp {
        /// Port to connect to: the service's unless configured.
        port: u16,
    },
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl std::fmt::Display for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scheduler::Maglev => "maglev",
        })
    }
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.vip {
            IpAddr::V4(a) => write!(f, "{a}:{}/{}", self.port, self.protocol),
            IpAddr::V6(a) => write!(f, "[{a}]:{}/{}", self.port, self.protocol),
        }
    }
}

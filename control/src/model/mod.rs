//! What a configuration means: valid by construction, free of spelling. `config` is the only producer, from the native
//! format and from others; `compile` and the health runner are its consumers. Whatever a file of another format means,
//! the native one can say: `parse(to_toml(model)) == model`.
//!
//! *Invariants* (checked by `config`, relied on everywhere):
//! - a (VIP, protocol, ports) occurs once; ranges of ports of one VIP and protocol do not overlap, but for single
//!   ports in a range and anything in "any"; a real server occurs once in a service;
//! - a service has one address family; a real server is never one of the VIPs; no address is link-local or
//!   IPv4-mapped;
//! - `interfaces` has no duplicates and is not empty, unless `auto_interfaces` fills it at the survey; the interface
//!   of a real server is one of them;
//! - a check's rise and fall are at least 1, its port is not 0 if its probe has one; a script has one limit of time: that
//!   of its command, if it has one, is the check's;
//! - a quorum is at least 1 and at most the sum of the weights, or 1 if that is 0; its hysteresis is less than it;
//! - a sorry server is none of the real servers of its service;
//! - hooks send mail only where there is a mail server;
//! - times are whole milliseconds;
//! - one-packet scheduling is for UDP and without persistence, passive health for TCP;
//! - names of virtual routers, groups and what they track are unique, and what is named is there; a (interface, family,
//!   VRID) is one multicast router's; the addresses that a router advertises are of its family;
//! - a lower threshold is at most the upper one, and 0 if that is 0.

mod check;
mod notify;
mod service;
mod vrrp;

use std::net::SocketAddr;

pub use check::{
    Dns, FileCheck, HealthCheck, Http, HttpVersion, Pattern, Probe, Request, Script, Smtp, Start, Target,
    Timing, Tls, Udp, Verify,
};
pub use notify::{Command, Hooks, Mail, MailServer, Notify, Pipe, Scripts, User};
pub use service::{
    HashFlags, NoReal, OnFailure, Passive, Persistence, Ports, Protocol, Quorum, RealServer, Scheduler,
    ServiceKey, Sorry, Thresholds, Timeouts, VipCheck, VirtualService, Vlan, percent, ports,
};
pub use vrrp::{
    AdvertChecks, Announce, ArgumentMatch, Checksum, Effect, FlowSync, GarpForm, Peer, Peers, SyncGroup,
    TrackFile, TrackProcess, TrackScript, Tracked, Tracking, Version, VirtualAddress, VirtualRouter, Vmac,
    Vrrp, VrrpHooks,
};

/// Everything one configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The machine: interfaces, memory, cores.
    pub director: Director,
    /// The virtual services, in the order of the file.
    pub services: Vec<VirtualService>,
    /// Rules for all programs that shunt runs.
    pub scripts: Scripts,
    /// Who is told when real servers and services come and go.
    pub notify: Notify,
    /// Addresses that several directors hold together.
    pub vrrp: Vrrp,
}

/// Settings of the director itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Director {
    /// Interfaces frames come in on and leave by, in the order of the file.
    pub interfaces: Vec<String>,
    /// Frames also come in on the interfaces that the routes to the real servers lead to: `"auto"` among the
    /// interfaces, and every keepalived.conf.
    pub auto_interfaces: bool,
    /// Core of worker 0, 1, ...; empty: the last core downwards.
    pub cores: Vec<usize>,
    /// IPv4 flows one worker remembers (rounded up to a power of two).
    pub flows_per_worker: usize,
    /// IPv6 flows one worker remembers (rounded up to a power of two).
    pub flows_per_worker_ipv6: usize,
    /// Frames of UMEM one worker has for each of its queues.
    pub frames_per_queue: u32,
    /// Key of the scheduling hash: the same on every director of a cluster.
    pub hash_key: [u64; 2],
    /// What a worker does when no frame comes.
    pub idle: Idle,
    /// What becomes of the director when a worker dies.
    pub worker_failure: WorkerFailure,
    /// ICMP errors a second that the director itself sends at most; 0: none.
    pub icmp_rate: u32,
    /// TCP resets a second that the director itself sends at most; 0: none.
    pub reset_rate: u32,
    /// What a service's timeouts are unless it says otherwise. (Each service has its own in full.)
    pub timeouts: Timeouts,
    /// Where metrics are served over HTTP: one address of the machine, and a port that is not 0. None: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whose members may use the control socket to read: the name of a group or its number. None: nobody's.
    pub socket_group: Option<String>,
}

/// What becomes of the director when a worker dies. One that hangs ends it in any case: nothing else takes its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerFailure {
    /// It ends, in order but with an error: another director takes over at once, and the service manager starts it anew.
    #[default]
    Exit,
    /// Another worker takes the place of the dead one, a few times a minute at most.
    Restart,
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

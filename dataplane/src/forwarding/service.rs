//! A virtual service, compiled.

use std::sync::Arc;

use crate::flow::Timeouts;
use crate::forwarding::real::{Real, RealState};
use crate::id::RealSlot;
use crate::packet::{Address, Protocol};
use crate::schedule::{Fleet, Load, Policy, Question, Scheduler};
use crate::stats::{PerWorker, ServiceCounters};

/// What a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The VIP.
    pub address: Address,
    /// Destination ports.
    pub ports: Ports,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Ports of a service, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// Lowest, >= 1.
    pub first: u16,
    /// Highest, >= `first`.
    pub last: u16,
}

impl Ports {
    /// Any port: what no other service of the VIP and protocol takes.
    pub const ANY: Ports = Ports { first: 1, last: u16::MAX };

    /// One port.
    pub const fn exact(port: u16) -> Self {
        Ports { first: port, last: port }
    }

    /// The port, if there is one only.
    pub const fn single(self) -> Option<u16> {
        if self.first == self.last { Some(self.first) } else { None }
    }

    /// Whether `port` is one of them.
    #[inline(always)]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// An IPv4 address, a port and a protocol in one word, so that to compare all three takes one comparison.
///
/// ```text
/// address 63..32 | port 31..16 | protocol 7..0
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exact(u64);

impl Exact {
    /// Nobody's: no protocol has the number 0.
    pub const NONE: Exact = Exact(0);

    #[inline(always)]
    pub const fn new(address: u32, port: u16, protocol: Protocol) -> Self {
        Exact((address as u64) << 32 | (port as u64) << 16 | protocol as u64)
    }

    /// What packets to this key have, if all of them have the same.
    fn of(key: &ServiceKey) -> Exact {
        match (key.address.v4(), key.ports.single()) {
            (Some(address), Some(port)) => Exact::new(address, port, key.protocol),
            _ => Exact::NONE,
        }
    }

    /// The address, host order.
    #[inline(always)]
    pub const fn address(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// How a service treats its flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Who takes a new flow.
    pub policy: Policy,
    /// Flows of one client stay together; none: each flow for itself.
    pub persistence: Option<Persistence>,
    /// UDP: each datagram is a flow of its own, and none is remembered.
    pub one_packet: bool,
    /// What becomes of the TCP flows of a real server that is gone.
    pub on_failure: OnFailure,
    /// What a client is told that no real server takes.
    pub no_real: NoReal,
    /// How long silent flows are remembered.
    pub timeouts: Timeouts,
    /// A TCP flow begins with a SYN: what comes from the middle of an unknown connection gets a RST (IPVS without
    /// `sloppy_tcp`). Otherwise it goes where the hash says, which is how connections survive a change of director.
    pub strict: bool,
    /// The TTL stays as it is. Loops of misconfigured directors then never end.
    pub keep_ttl: bool,
    /// Share of each worker's flow table that its flows may take, in 1/1000, 1-1000.
    pub table_share: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            policy: Policy::default(),
            persistence: None,
            one_packet: false,
            on_failure: OnFailure::default(),
            no_real: NoReal::default(),
            timeouts: Timeouts::default(),
            strict: false,
            keep_ttl: false,
            table_share: 1000,
        }
    }
}

/// Flows of one client go to one real server, remembered in a *template*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// A client is forgotten this many ticks after its last flow.
    pub timeout: u32,
    /// Bits of a client's address that tell it from others (of the mapped form, for IPv4).
    pub mask: u128,
}

/// What becomes of the TCP flows of a real server that failed or was removed. (Flows of other protocols go to
/// another real server with their next packet, unless they are kept.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFailure {
    /// The client gets a RST in answer to its next segment, and can connect anew at once.
    #[default]
    Reset,
    /// They go to another real server, which answers with a RST of its own unless it knows the connection.
    Rehash,
    /// They go on to the real server that failed, for as long as the way to it is known.
    Keep,
}

/// What a client is told that no real server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NoReal {
    /// ICMP port unreachable, as IPVS does.
    #[default]
    Unreachable,
    /// A RST to a TCP segment; ICMP port unreachable to anything else.
    Reset,
    /// Nothing.
    Silent,
}

/// A virtual service and its real servers. A clone shares all that is large.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) key: ServiceKey,
    /// The generation in which it was removed; none: live.
    pub(super) removed: Option<u64>,
    /// What all packets for it have, if it is live, of IPv4, and has one port.
    pub(super) exact: Exact,
    /// By slot; real servers that are gone stay as tombstones until their slot is needed.
    pub(super) reals: Arc<[Real]>,
    pub(super) options: Options,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) counters: PerWorker<ServiceCounters>,
}

impl Service {
    pub(super) fn new(
        key: ServiceKey,
        options: Options,
        reals: Arc<[Real]>,
        scheduler: Arc<Scheduler>,
        counters: PerWorker<ServiceCounters>,
    ) -> Service {
        Service { key, removed: None, exact: Exact::of(&key), reals, options, scheduler, counters }
    }

    /// The same service, no longer configured, with these real servers.
    pub(super) fn buried(&self, generation: u64, reals: Arc<[Real]>) -> Service {
        Service { removed: Some(generation), exact: Exact::NONE, reals, ..self.clone() }
    }

    /// What all packets for it have; `Exact::NONE`: there is no such thing, or it is not live.
    #[inline(always)]
    pub(crate) fn exact(&self) -> Exact {
        self.exact
    }

    /// What clients connect to.
    #[inline(always)]
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Whether it is configured now.
    pub fn is_live(&self) -> bool {
        self.removed.is_none()
    }

    /// How it treats its flows.
    #[inline(always)]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The real server for a new flow.
    #[inline]
    pub fn schedule(&self, question: &Question) -> Option<RealSlot> {
        self.scheduler.pick(question, self).map(RealSlot)
    }

    /// Tenant `epoch` of a slot, as a flow remembers it, if it still serves old flows.
    #[inline(always)]
    pub fn holder(&self, slot: RealSlot, epoch: u8) -> Option<&Real> {
        self.tenant(slot, epoch).filter(|real| matches!(real.state, RealState::Up | RealState::Draining))
    }

    /// Tenant `epoch` of a slot, whatever its state; none if the slot has another tenant by now.
    #[inline(always)]
    pub fn tenant(&self, slot: RealSlot, epoch: u8) -> Option<&Real> {
        self.real(slot).filter(|real| real.epoch == epoch)
    }

    /// The real server in a slot.
    #[inline(always)]
    pub fn real(&self, slot: RealSlot) -> Option<&Real> {
        self.reals.get(slot.0 as usize)
    }

    /// The configured real servers.
    pub fn reals(&self) -> impl Iterator<Item = (RealSlot, &Real)> {
        self.reals
            .iter()
            .enumerate()
            .filter(|(_, real)| real.removed.is_none())
            .map(|(slot, real)| (RealSlot(slot as u16), real))
    }

    /// What schedules new flows.
    #[inline(always)]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Counters, one a worker.
    #[inline(always)]
    pub fn counters(&self) -> &PerWorker<ServiceCounters> {
        &self.counters
    }
}

impl Fleet for Service {
    fn load(&self, slot: u16) -> Load {
        self.real(RealSlot(slot)).map_or_else(Load::default, Real::load)
    }

    fn is_overloaded(&self, slot: u16) -> bool {
        self.real(RealSlot(slot)).is_none_or(Real::is_overloaded)
    }
}

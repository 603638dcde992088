//! A virtual service, compiled.

use std::sync::Arc;

use crate::forwarding::real::{Real, RealSlot, RealState};
use crate::hash::HashKey;
use crate::packet::{Address, Protocol};
use crate::schedule::MaglevTable;
use crate::schedule::maglev::Member;
use crate::stats::{PerWorker, ServiceCounters};

/// Dense index of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u16);

/// What a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The VIP.
    pub address: Address,
    /// Destination port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl ServiceKey {
    /// Hash for the service index. Unkeyed: the keys are the operator's, not a client's.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        let bits = self.address.bits();
        let port = (self.port as u64) << 8 | self.protocol as u64;
        HashKey([0, 0]).words((bits >> 64) as u64 ^ port.rotate_left(40), bits as u64)
    }
}

/// A virtual service and its real servers.
#[derive(Debug)]
pub struct Service {
    pub(super) key: ServiceKey,
    /// The generation in which it was removed; none: live.
    pub(super) removed: Option<u64>,
    /// By slot; real servers that are gone stay as tombstones until their slot is needed.
    pub(super) reals: Vec<Real>,
    /// Whom `table` was built for.
    pub(super) members: Arc<[Member]>,
    /// None while no real server takes new flows.
    pub(super) table: Option<Arc<MaglevTable>>,
    pub(super) counters: Arc<PerWorker<ServiceCounters>>,
}

impl Service {
    /// What clients connect to.
    #[inline(always)]
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Whether it is configured now.
    pub fn is_live(&self) -> bool {
        self.removed.is_none()
    }

    /// The real server for a new flow with this hash.
    #[inline(always)]
    pub fn schedule(&self, hash: u64) -> Option<RealSlot> {
        self.table.as_ref().map(|table| RealSlot(table.pick(hash)))
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

    /// The table that schedules new flows.
    pub fn table(&self) -> Option<&MaglevTable> {
        self.table.as_deref()
    }

    /// Counters, one a worker.
    #[inline(always)]
    pub fn counters(&self) -> &PerWorker<ServiceCounters> {
        &self.counters
    }
}

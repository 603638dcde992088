//! A real server of a service, compiled.

use std::sync::Arc;

use crate::packet::Address;
use crate::port::PortId;
use crate::rewrite::MacHeader;
use crate::stats::{PerWorker, RealCounters};

/// Index of a real server in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealSlot(pub u16);

/// What a real server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RealState {
    /// New and old flows.
    Up,
    /// Old flows only (weight 0).
    Draining,
    /// Nothing: its check fails, or its MAC address is unknown.
    Down,
    /// Nothing: it is no longer configured.
    Removed,
}

impl RealState {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            RealState::Up => "up",
            RealState::Draining => "draining",
            RealState::Down => "down",
            RealState::Removed => "removed",
        }
    }
}

/// How a frame reaches a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// MAC addresses: the real server's, and the director's on that port.
    pub header: MacHeader,
    /// The port it leaves by.
    pub port: PortId,
}

/// A real server.
#[derive(Debug)]
pub struct Real {
    pub(super) address: Address,
    pub(super) weight: u16,
    pub(super) state: RealState,
    pub(super) path: Path,
    /// Counts the tenants of this slot, modulo 16.
    pub(super) epoch: u8,
    /// The generation in which it was removed.
    pub(super) removed: Option<u64>,
    pub(super) counters: Arc<PerWorker<RealCounters>>,
}

impl Real {
    /// Its own address (RIP).
    pub fn address(&self) -> Address {
        self.address
    }

    /// Configured weight; 0 = draining.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// What it takes now.
    #[inline(always)]
    pub fn state(&self) -> RealState {
        self.state
    }

    /// How a frame reaches it; meaningless unless up or draining.
    #[inline(always)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which tenant of its slot it is.
    #[inline(always)]
    pub fn epoch(&self) -> u8 {
        self.epoch
    }

    /// Counters, one a worker.
    #[inline(always)]
    pub fn counters(&self) -> &PerWorker<RealCounters> {
        &self.counters
    }
}

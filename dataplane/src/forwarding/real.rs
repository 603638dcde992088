//! A real server of a service, compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::packet::Address;
use crate::port::PortId;
use crate::rewrite::{MacHeader, Vlan};
use crate::schedule::Load;
use crate::stats::{PerWorker, RealCounters};

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
    /// Longest IP packet that reaches the real server, bytes.
    pub mtu: u16,
    /// What becomes of the frame's VLAN tags.
    pub vlan: Vlan,
}

/// All that a plain packet of a settled flow needs to know, side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    pub header: MacHeader,
    pub port: PortId,
    epoch: u8,
    /// As of the path; 0: no packet goes this way.
    mtu: u16,
}

impl Reach {
    /// There is more to know.
    pub(super) const NONE: Reach = Reach { header: MacHeader([0; 12]), port: PortId(0), epoch: 0, mtu: 0 };

    /// Of tenant `epoch`, if it takes old flows, and with the tags that they have.
    pub(super) fn of(state: RealState, path: Option<&Path>, epoch: u8) -> Reach {
        match (state, path) {
            (RealState::Up | RealState::Draining, Some(&Path { header, port, mtu, vlan: Vlan::Keep })) => {
                Reach { header, port, epoch, mtu }
            }
            _ => Reach::NONE,
        }
    }
}

/// Upper and lower connection threshold, as IPVS has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Thresholds {
    /// From this many flows on, active and inactive, it takes no new ones. 0: no limit.
    pub upper: u32,
    /// Below this many it takes new ones again. 0: below three quarters of `upper`.
    pub lower: u32,
}

/// A real server.
#[derive(Debug)]
pub struct Real {
    pub(super) address: Address,
    pub(super) weight: u16,
    pub(super) share: u16,
    pub(super) thresholds: Thresholds,
    pub(super) state: RealState,
    pub(super) keeps_flows: bool,
    pub(super) path: Option<Path>,
    /// Counts the tenants of this slot, modulo 16.
    pub(super) epoch: u8,
    /// The generation in which it was removed.
    pub(super) removed: Option<u64>,
    /// How a plain packet reaches it.
    pub(super) reach: Reach,
    pub(super) counters: PerWorker<RealCounters>,
    /// Above its upper threshold, and not below the lower one since.
    pub(super) overloaded: Arc<AtomicBool>,
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

    /// The weight in force: less than configured in a slow start, in units of its own (only the proportion to
    /// the other real servers counts).
    pub fn share(&self) -> u16 {
        self.share
    }

    /// Connection thresholds.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// What it takes now.
    #[inline(always)]
    pub fn state(&self) -> RealState {
        self.state
    }

    /// Whether its flows stay with it while it is down, whatever the service says.
    #[inline(always)]
    pub fn keeps_flows(&self) -> bool {
        self.keeps_flows
    }

    /// How a frame reaches it, as far as that is known; always, while up or draining.
    #[inline(always)]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// How a plain packet of this length, bytes, reaches tenant `epoch`; none: there is more to know.
    #[inline(always)]
    pub(crate) fn reach(&self, epoch: u8, length: u16) -> Option<&Reach> {
        (self.reach.epoch == epoch && length <= self.reach.mtu).then_some(&self.reach)
    }

    /// The flows it holds, on all workers together.
    pub fn load(&self) -> Load {
        Load { active: self.counters.total(|c| &c.active), inactive: self.counters.total(|c| &c.inactive) }
    }

    /// Whether it is too loaded to take new flows.
    #[inline(always)]
    pub fn is_overloaded(&self) -> bool {
        // Relaxed: a flow more or less.
        self.thresholds.upper != 0 && self.overloaded.load(Ordering::Relaxed)
    }

    /// What was found when its load was last compared with its thresholds.
    pub(super) fn is_above(&self) -> bool {
        // Relaxed: see `is_overloaded`.
        self.overloaded.load(Ordering::Relaxed)
    }

    /// Compares its load with its thresholds; to be called when its number of flows has changed. As IPVS does
    /// (`ip_vs_bind_dest` and `ip_vs_unbind_dest` in net/netfilter/ipvs/ip_vs_conn.c).
    #[inline(always)]
    pub fn weigh(&self) {
        if self.thresholds.upper != 0 {
            self.compare();
        }
    }

    fn compare(&self) {
        let Thresholds { upper, lower } = self.thresholds;
        let Load { active, inactive } = self.load();
        let flows = active + inactive;
        if flows >= u64::from(upper) {
            self.overloaded.store(true, Ordering::Relaxed);
        } else if (lower != 0 && flows < u64::from(lower)) || (lower == 0 && flows * 4 < u64::from(upper) * 3)
        {
            self.overloaded.store(false, Ordering::Relaxed);
        }
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

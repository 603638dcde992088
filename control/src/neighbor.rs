//! The MAC addresses of the real servers, from the kernel's neighbour table: the kernel already speaks ARP and
//! neighbour discovery, so that shunt only has to keep it interested and to listen.
//!
//! *Invariants*
//! - the last MAC address of a real server is kept until the kernel says that nobody answers (`NUD_FAILED`): a flushed or
//!   expired entry never takes a server out;
//! - a server that failed stays failed until it answers, however often the kernel starts to ask again;
//! - entries that the operator made permanent are read and never touched (`NTF_USE` would make them ordinary);
//! - nothing is left behind: entries made here are ordinary ones that the kernel ages.
//!
//! Follows `Documentation/networking/` neighbour states as in `include/uapi/linux/neighbour.h` and
//! net/core/neighbour.c.

mod table;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

pub use watch::NeighborWatch;

/// A neighbour: an address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeighborKey {
    /// Index of the interface.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
}

/// What is known about a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbor {
    /// It has this MAC address.
    Resolved([u8; 6]),
    /// It was asked and has not answered yet.
    Resolving,
    /// It does not answer.
    Failed {
        /// When the kernel gave up the first time.
        since: Instant,
    },
}

/// What is known about every wanted neighbour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeighborView {
    neighbors: HashMap<NeighborKey, Neighbor>,
}

/// A change of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A neighbour answered for the first time, or again after a failure.
    Resolved {
        /// Which one.
        key: NeighborKey,
        /// Its MAC address.
        mac: [u8; 6],
    },
    /// A neighbour has another MAC address.
    Moved {
        /// Which one.
        key: NeighborKey,
        /// The address it had.
        before: [u8; 6],
        /// The address it has.
        mac: [u8; 6],
    },
    /// A neighbour does not answer.
    Failed {
        /// Which one.
        key: NeighborKey,
    },
}

impl NeighborView {
    /// What is known about `key`. One that was never wanted is `Resolving`: nothing is known yet.
    pub fn neighbor(&self, key: NeighborKey) -> Neighbor {
        self.neighbors.get(&key).copied().unwrap_or(Neighbor::Resolving)
    }

    /// Its MAC address, if it has one.
    pub fn mac(&self, key: NeighborKey) -> Option<[u8; 6]> {
        match self.neighbor(key) {
            Neighbor::Resolved(mac) => Some(mac),
            Neighbor::Resolving | Neighbor::Failed { .. } => None,
        }
    }

    /// Every wanted neighbour, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (NeighborKey, Neighbor)> + '_ {
        self.neighbors.iter().map(|(key, neighbor)| (*key, *neighbor))
    }
}

/// A view of the given facts, for tests of what reads one.
impl FromIterator<(NeighborKey, Neighbor)> for NeighborView {
    fn from_iter<I: IntoIterator<Item = (NeighborKey, Neighbor)>>(facts: I) -> NeighborView {
        NeighborView { neighbors: facts.into_iter().collect() }
    }
}

impl fmt::Display for Neighbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Neighbor::Resolved([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Neighbor::Resolving => f.write_str("MAC address not known yet"),
            Neighbor::Failed { .. } => f.write_str("does not answer ARP or neighbour solicitations"),
        }
    }
}

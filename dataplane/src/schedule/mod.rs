//! Who takes a new flow: the scheduler of a service. A closed set, chosen by `match`, no dyn.
//!
//! `maglev` (the default) is history-independent: a function of the flow and of the set of real servers, so that
//! every director of a cluster answers alike. The others are IPVS's, to the letter, so that a shunt can stand in
//! for an IPVS director, or beside one, without moving a flow.
//!
//! *Invariants*: only the first packet of a flow comes here; what is shared between workers then is a few atomic
//! words; a real server is known by its slot, which never changes while it is configured.

mod failover;
mod hashing;
mod least_connection;
mod locality;
pub mod maglev;
mod mh;
mod round_robin;
mod siphash;
mod twos;

use std::fmt;
use std::sync::Arc;

use crate::clock::Tick;
use crate::hash::HashKey;
use crate::packet::Address;
use crate::schedule::hashing::Buckets;
use crate::schedule::locality::{Lblc, Lblcr};
use crate::schedule::maglev::{MaglevTable, Member, Tables};
use crate::schedule::mh::MhTable;
use crate::schedule::round_robin::{RoundRobin, WeightedRoundRobin};
use crate::schedule::twos::Twos;

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
    method: Method,
}

/// What each policy needs.
#[derive(Debug)]
enum Method {
    /// None while no candidate has a weight.
    Maglev(Option<MaglevTable>),
    Rr(RoundRobin),
    Wrr(WeightedRoundRobin),
    Lc,
    Wlc,
    Sed,
    Nq,
    /// None without candidates.
    Sh(Option<Buckets>, HashFlags),
    Dh(Option<Buckets>),
    Mh(MhTable, HashFlags),
    Fo,
    Ovf,
    Lblc(Lblc),
    Lblcr(Lblcr),
    Twos(Twos),
}

/// Who would take a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// No real server takes it.
    Nobody,
    /// This slot's, whatever goes before.
    This(u16),
    /// Somebody: it depends on the flows before it.
    Somebody,
}

impl Scheduler {
    /// A scheduler for `candidates` (slots and addresses distinct), given in the order of the configuration.
    /// `previous`: the scheduler of the same service before; what it remembers (whose turn it is, ...) goes on if
    /// it has the same policy, as far as it is about real servers with the same slot and address. Flows that
    /// workers schedule by the previous one from now on leave no trace here.
    pub fn build(
        policy: Policy,
        key: HashKey,
        candidates: &[Candidate],
        previous: Option<&Scheduler>,
    ) -> Self {
        Scheduler::build_sharing(policy, key, candidates, previous, &mut Tables::default())
    }

    /// As [`Scheduler::build`], with a table of `tables` where there is one that fits.
    pub fn build_sharing(
        policy: Policy,
        key: HashKey,
        candidates: &[Candidate],
        previous: Option<&Scheduler>,
        tables: &mut Tables,
    ) -> Self {
        let method = Method::build(policy, key, candidates, previous, tables);
        Scheduler { policy, candidates: candidates.into(), method }
    }

    /// One that answers as `scheduler` does, and whose turns are its own.
    pub fn shadow(scheduler: &Arc<Scheduler>, key: HashKey) -> Arc<Scheduler> {
        match scheduler.method {
            // All that these know is the candidates.
            Method::Maglev(_)
            | Method::Lc
            | Method::Wlc
            | Method::Sed
            | Method::Nq
            | Method::Sh(..)
            | Method::Dh(_)
            | Method::Mh(..)
            | Method::Fo
            | Method::Ovf => scheduler.clone(),
            Method::Rr(_) | Method::Wrr(_) | Method::Lblc(_) | Method::Lblcr(_) | Method::Twos(_) => {
                let Scheduler { policy, candidates, .. } = &**scheduler;
                Arc::new(Scheduler::build(*policy, key, candidates, Some(scheduler)))
            }
        }
    }

    /// The slot of the real server for a new flow; none: no real server takes it.
    ///
    /// `Maglev`, unlike IPVS's hashing without a fallback flag, turns nobody away while any real server takes new
    /// flows.
    #[inline]
    pub fn pick(&self, question: &Question, fleet: &impl Fleet) -> Option<u16> {
        let candidates = &*self.candidates;
        let slot = |index: usize| candidates.get(index).map(|candidate| candidate.slot);
        match &self.method {
            Method::Maglev(table) => table.as_ref()?.pick_willing(question.hash, candidates, fleet),
            Method::Rr(turn) => turn.pick(candidates, fleet),
            Method::Wrr(turn) => turn.pick(candidates, fleet),
            Method::Lc => least_connection::least(candidates, fleet),
            Method::Wlc => least_connection::weighted(candidates, fleet).and_then(slot),
            Method::Sed => least_connection::shortest_delay(candidates, fleet).and_then(slot),
            Method::Nq => least_connection::never_queue(candidates, fleet).and_then(slot),
            Method::Sh(buckets, flags) => {
                buckets.as_ref()?.pick_by_source(question, *flags, candidates, fleet)
            }
            Method::Dh(buckets) => buckets.as_ref()?.pick_by_destination(question, candidates, fleet),
            Method::Mh(table, flags) => table.pick(question, *flags, candidates, fleet),
            Method::Fo => failover::failover(candidates, fleet),
            Method::Ovf => failover::overflow(candidates, fleet),
            Method::Lblc(cell) => cell.pick(question.now, candidates, fleet),
            Method::Lblcr(set) => set.pick(question.now, candidates, fleet),
            Method::Twos(twos) => twos.pick(question.hash, candidates, fleet),
        }
    }

    /// What the policy says of this flow whatever the load and the history; none if it depends on them, or if who
    /// should have the flow takes no new ones. A flow that has this real server loses nothing when it is forgotten.
    #[inline]
    pub fn recall(&self, question: &Question) -> Option<u16> {
        let candidates = &*self.candidates;
        let owner = match &self.method {
            Method::Maglev(table) => return table.as_ref().map(|table| table.pick(question.hash)),
            Method::Sh(buckets, flags) => buckets.as_ref()?.of_source(question, *flags, candidates)?,
            Method::Dh(buckets) => buckets.as_ref()?.of_destination(question, candidates)?,
            Method::Mh(table, flags) => table.owner(question, *flags, candidates)?,
            Method::Rr(_)
            | Method::Wrr(_)
            | Method::Lc
            | Method::Wlc
            | Method::Sed
            | Method::Nq
            | Method::Fo
            | Method::Ovf
            | Method::Lblc(_)
            | Method::Lblcr(_)
            | Method::Twos(_) => return None,
        };
        (owner.weight > 0).then_some(owner.slot)
    }

    /// Whom [`Scheduler::pick`] would find, without a trace of having asked.
    pub fn foretell(&self, question: &Question, fleet: &impl Fleet) -> Taker {
        match &self.method {
            // They move a turn, or remember what they said; and they turn nobody away while anybody takes new flows.
            Method::Rr(_) | Method::Wrr(_) | Method::Lblc(_) | Method::Lblcr(_) | Method::Twos(_) => {
                let is_there = self.candidates.iter().any(|candidate| takes_new(candidate, fleet));
                if is_there { Taker::Somebody } else { Taker::Nobody }
            }
            Method::Maglev(_) | Method::Sh(..) | Method::Dh(_) | Method::Mh(..) => {
                self.pick(question, fleet).map_or(Taker::Nobody, Taker::This)
            }
            Method::Lc | Method::Wlc | Method::Sed | Method::Nq | Method::Fo | Method::Ovf => {
                self.pick(question, fleet).map_or(Taker::Nobody, |_| Taker::Somebody)
            }
        }
    }

    /// Some real server with a weight, the same for a flow whatever the load and the history: for one that cannot be
    /// remembered, under a policy that would send each of its packets elsewhere. Weighted rendezvous hashing (Thaler
    /// and Ravishankar, 1998; the weights as by Schindelhauer and Schomaker, 2005): when a real server goes, the flows
    /// of the others stay.
    pub fn scatter(&self, question: &Question) -> Option<u16> {
        let score = |candidate: &Candidate| {
            let hash = HashKey([question.hash, question.hash]).endpoint(candidate.address, 0, 0);
            // Uniform in (0, 1].
            let uniform = ((hash >> 11) + 1) as f64 / (1u64 << 53) as f64;
            f64::from(candidate.weight) / -uniform.ln().min(-f64::MIN_POSITIVE)
        };
        let willing = self.candidates.iter().filter(|candidate| candidate.weight > 0);
        willing.max_by(|a, b| score(a).total_cmp(&score(b))).map(|candidate| candidate.slot)
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The table of `Maglev`; none for other policies, or while no candidate has a weight.
    pub fn maglev(&self) -> Option<&MaglevTable> {
        match &self.method {
            Method::Maglev(table) => table.as_ref(),
            _ => None,
        }
    }

    /// Offers its table, if it has one, to schedulers that are built with `tables`.
    pub fn share(&self, tables: &mut Tables) {
        if let Some(table) = self.maglev() {
            tables.add(members(&self.candidates), table);
        }
    }

    /// The real servers it knows, in the order of the configuration.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

impl Method {
    fn build(
        policy: Policy,
        key: HashKey,
        candidates: &[Candidate],
        previous: Option<&Scheduler>,
        tables: &mut Tables,
    ) -> Self {
        let before = previous.map(|previous| (&previous.method, &*previous.candidates));
        match policy {
            Policy::Maglev => Method::Maglev(tables.of(key, members(candidates))),
            Policy::Rr => Method::Rr(RoundRobin::build(
                candidates,
                match before {
                    Some((Method::Rr(turn), old)) => Some((turn, old)),
                    _ => None,
                },
            )),
            Policy::Wrr => Method::Wrr(match before {
                None | Some((_, [])) => WeightedRoundRobin::grown(candidates),
                Some((Method::Wrr(turn), old)) => turn.changed(old, candidates),
                Some(_) => WeightedRoundRobin::begun(candidates),
            }),
            Policy::Lc => Method::Lc,
            Policy::Wlc => Method::Wlc,
            Policy::Sed => Method::Sed,
            Policy::Nq => Method::Nq,
            Policy::Sh(flags) => Method::Sh(Buckets::by_weight(candidates), flags),
            Policy::Dh => Method::Dh(Buckets::alike(candidates)),
            Policy::Mh(flags) => Method::Mh(
                MhTable::build(
                    candidates,
                    match before {
                        Some((Method::Mh(table, _), old)) => Some((table, old)),
                        _ => None,
                    },
                ),
                flags,
            ),
            Policy::Fo => Method::Fo,
            Policy::Ovf => Method::Ovf,
            Policy::Lblc => Method::Lblc(Lblc::build(
                candidates,
                match before {
                    Some((Method::Lblc(cell), old)) => Some((cell, old)),
                    _ => None,
                },
            )),
            Policy::Lblcr => Method::Lblcr(Lblcr::build(
                candidates,
                match before {
                    Some((Method::Lblcr(set), old)) => Some((set, old)),
                    _ => None,
                },
            )),
            Policy::Twos => Method::Twos(Twos::build(match before {
                Some((Method::Twos(twos), _)) => Some(twos),
                _ => None,
            })),
        }
    }
}

fn members(candidates: &[Candidate]) -> Vec<Member> {
    let weighty = candidates.iter().filter(|candidate| candidate.weight > 0);
    weighty.map(|c| Member { address: c.address, weight: c.weight, value: c.slot }).collect()
}

/// The candidates and their indexes in the order in which IPVS goes through them: the newest first, and the order
/// of the configuration is that of adding.
fn listed(candidates: &[Candidate]) -> impl Iterator<Item = (usize, &Candidate)> + Clone {
    candidates.iter().enumerate().rev()
}

/// Whether a real server takes new flows.
#[inline]
fn takes_new(candidate: &Candidate, fleet: &impl Fleet) -> bool {
    candidate.weight > 0 && !fleet.is_overloaded(candidate.slot)
}

/// Whether two candidates are the same real server.
fn is_same(a: &Candidate, b: &Candidate) -> bool {
    (a.slot, a.address) == (b.slot, b.address)
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

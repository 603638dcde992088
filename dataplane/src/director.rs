//! START HERE: the path of a frame through a worker, on one screen.
//!
//! [`Director::direct`] takes a burst in two passes. The first finds out what each frame is and asks the
//! processor to fetch its flow table buckets; when the second looks into them, they are there.
//!
//! Nearly all frames are plain packets of settled flows: they go the short way, `director/lane.rs`, which does what the
//! whole way would, as far as there is anything to do for them.
//!
//! A pure decision on bytes: no I/O, no clock, no allocation, no lock, no panic. What it needs to know it is
//! given; what it decides it returns; what happened it counts.
//!
//! `director/flow.rs` is what a packet does to its flow, `director/relay.rs` where packets without ports go (later
//! fragments, ICMP errors), `director/persistence.rs` how the flows of one client stay together,
//! `director/allowance.rs` how often the director itself may speak, `director/risk.rs` what a lost table would cost,
//! `director/shadow.rs` what would become of a frame, `director/fate.rs` of a flow under another state, without a trace,
//! `director/recount.rs` what is counted anew after a panic.

mod allowance;
mod fate;
mod flow;
mod lane;
mod persistence;
mod recount;
mod relay;
mod risk;
pub mod shadow;

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::answer::{Answer, answer, may_answer};
use crate::checksum;
use crate::clock::Tick;
use crate::director::allowance::Allowance;
use crate::director::lane::Sight;
use crate::director::risk::Risk;
use crate::flow::fragments::DEFAULT_ENTRIES;
use crate::flow::table::{Aged, Slot};
use crate::flow::{
    Capacity, Destination, Flow, FlowKey, FlowReader, FlowState, FlowTable, FragmentReader, FragmentTable,
};
use crate::forwarding::{ForwardingState, Real, Service};
use crate::id::RealSlot;
use crate::packet::{Kind, Packet};
use crate::parse::{identification, parse, plain, ttl};
use crate::port::{BURST, FrameBytes};
use crate::rewrite::rewrite;
use crate::stats::WorkerStats;
use crate::verdict::{DropReason, Verdict};

pub use allowance::Rates;
pub use fate::{Fate, fate};
pub use flow::is_dispensable;

/// Verdicts on a burst, in its order.
pub type Verdicts = ArrayVec<Verdict, BURST>;

/// What a worker remembers, and what it may read of the others: a flow, or a fragment, that comes in on another
/// queue than before is found there.
pub struct Memory {
    /// Flows of this worker.
    pub flows: FlowTable,
    /// Flows of the other workers, in the order of their numbers.
    pub other_flows: Vec<FlowReader>,
    /// Datagrams of this worker that came in fragments.
    pub fragments: FragmentTable,
    /// Those of the other workers.
    pub other_fragments: Vec<FragmentReader>,
}

impl Memory {
    /// The memories of `count` workers, each with room for `flows`. `boot_key`: a secret of this boot, the same for
    /// all, so that a flow has the same place in each.
    pub fn for_workers(count: usize, flows: Capacity, boot_key: u64) -> Vec<Memory> {
        let tables: Vec<_> = (0..count)
            .map(|_| (FlowTable::new(flows, boot_key), FragmentTable::new(DEFAULT_ENTRIES, boot_key)))
            .collect();
        let readers: Vec<_> =
            tables.iter().map(|(flows, fragments)| (flows.reader(), fragments.reader())).collect();
        let others = |n| readers.iter().enumerate().filter(move |(i, _)| *i != n).map(|(_, readers)| readers);
        let memory = |(n, (flows, fragments))| Memory {
            flows,
            other_flows: others(n).map(|(flows, _)| flows.clone()).collect(),
            fragments,
            other_fragments: others(n).map(|(_, fragments)| fragments.clone()).collect(),
        };
        tables.into_iter().enumerate().map(memory).collect()
    }
}

/// Decides about frames for one worker.
pub struct Director {
    worker: usize,
    memory: Memory,
    allowance: Allowance,
    risk: Risk,
    stats: Arc<WorkerStats>,
}

/// A frame on its way.
struct Candidate {
    packet: Packet,
    bytes: u64,
    /// None: a later fragment, whose flow its ports would tell.
    flow: Option<Lookup>,
}

/// A flow to look up.
#[derive(Clone, Copy)]
struct Lookup {
    to: Destination,
    key: FlowKey,
    slot: Slot,
}

/// Where a frame goes.
struct Choice<'s> {
    service: &'s Service,
    slot: RealSlot,
    real: &'s Real,
}

/// Why a frame does not go on.
enum Refusal {
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped, and its sender told.
    Tell(DropReason, Answer),
    /// Its real server is gone: it is dropped, its sender told, and that done the flow is over.
    Over,
    /// It waits for the first fragment of its datagram.
    Hold,
}

impl From<DropReason> for Refusal {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Refusal::Drop(reason)
    }
}

impl Director {
    /// A director for worker number `worker`, which counts in `stats` and says no more than `rates`.
    pub fn new(worker: usize, memory: Memory, rates: Rates, stats: Arc<WorkerStats>) -> Self {
        Director { worker, memory, allowance: Allowance::new(rates), risk: Risk::default(), stats }
    }

    /// Decides about each frame of the burst and rewrites those that go on. `complete_checksums`: the port
    /// they came from is virtual, and its sender may have left checksums to hardware.
    pub fn direct<F: FrameBytes>(
        &mut self,
        state: &ForwardingState,
        burst: &mut [F],
        complete_checksums: bool,
        now: Tick,
        verdicts: &mut Verdicts,
    ) {
        // Written once, and read where they stand: of a burst they are kilobytes.
        let mut sights: ArrayVec<Option<Sight>, BURST> = ArrayVec::new();
        let mut candidates: ArrayVec<Result<Candidate, DropReason>, BURST> = ArrayVec::new();
        for frame in burst.iter().take(BURST) {
            let Some(sight) = self.glance(frame.as_ref()) else {
                candidates.push(self.examine(state, frame.as_ref()));
                sights.push(None);
                continue;
            };
            sights.push(Some(sight));
        }
        let mut candidates = candidates.iter();
        verdicts.clear();
        for (frame, sight) in burst.iter_mut().zip(&sights) {
            let passed =
                sight.as_ref().and_then(|sight| self.pass_on(state, frame, sight, complete_checksums, now));
            verdicts.push(match (passed, sight) {
                (Some(port), _) => Verdict::Forward(port),
                (None, Some(_)) => match self.examine(state, frame.as_ref()) {
                    Ok(candidate) => self.decide(state, frame, &candidate, complete_checksums, now),
                    Err(reason) => Verdict::Drop(reason),
                },
                (None, None) => match candidates.next() {
                    Some(Ok(candidate)) => self.decide(state, frame, candidate, complete_checksums, now),
                    Some(Err(reason)) => Verdict::Drop(*reason),
                    // One was pushed for each frame without a sight.
                    None => Verdict::Drop(DropReason::FrameTruncated),
                },
            });
        }
    }

    /// What a frame is, and which flow it is of.
    #[inline(never)]
    fn examine(&self, state: &ForwardingState, frame: &[u8]) -> Result<Candidate, DropReason> {
        let packet = match plain(frame) {
            Some(plain) => plain.packet(),
            None => parse(frame)?,
        };
        let flow = match packet.kind {
            Kind::Later => None,
            Kind::Whole | Kind::First | Kind::Error => {
                let service = state.lookup(&packet).ok_or(DropReason::NoService)?;
                let key = FlowKey::new(packet.src, packet.src_port, packet.dst_port, service);
                let to = Destination::new(packet.dst, packet.protocol);
                let slot = self.memory.flows.slot(to, &key);
                self.memory.flows.prefetch(slot);
                Some(Lookup { to, key, slot })
            }
        };
        Ok(Candidate { packet, bytes: frame.len() as u64, flow })
    }

    /// Where a frame goes, and off it goes; or why it does not.
    #[inline(never)]
    fn decide<F: FrameBytes>(
        &mut self,
        state: &ForwardingState,
        frame: &mut F,
        candidate: &Candidate,
        complete_checksums: bool,
        now: Tick,
    ) -> Verdict {
        let packet = &candidate.packet;
        let chosen = match (&candidate.flow, packet.kind) {
            (Some(lookup), Kind::Whole | Kind::First) => self.choose(state, candidate, lookup, now),
            (Some(lookup), _) => self.concerned(state, candidate, lookup, now),
            (None, _) => {
                let id = identification(frame.as_ref(), packet);
                self.follow(state, candidate, id, now)
            }
        };
        let outcome = chosen.and_then(|choice| {
            let keep_ttl = choice.service.options().keep_ttl;
            let path = choice.real.path().ok_or(DropReason::NoReal)?;
            if !keep_ttl && ttl(frame.as_ref(), packet) <= 1 {
                return Err(Refusal::Tell(DropReason::TtlExpired, Answer::TimeExceeded));
            }
            if packet.end - packet.l3 > path.mtu {
                return Err(Refusal::Tell(DropReason::TooBig, Answer::TooBig { mtu: path.mtu }));
            }
            if let (Some(lookup), Kind::First) = (&candidate.flow, packet.kind) {
                self.expect_fragments(packet, identification(frame.as_ref(), packet), lookup, &choice, now);
            }
            if complete_checksums && checksum::complete(frame.as_mut(), packet) {
                self.stats.checksums_completed.add(1);
            }
            if !rewrite(frame, packet, &path.header, path.vlan, keep_ttl) {
                return Err(DropReason::TooBig.into());
            }
            Ok(path.port)
        });
        match outcome {
            Ok(port) => Verdict::Forward(port),
            Err(refusal) => {
                if let (Some(lookup), Kind::First) = (&candidate.flow, packet.kind) {
                    self.expect_nothing(packet, identification(frame.as_ref(), packet), lookup, now);
                }
                self.refuse(state, frame, candidate, refusal, now)
            }
        }
    }

    /// What becomes of a frame that does not go on.
    #[cold]
    fn refuse<F: FrameBytes>(
        &mut self,
        state: &ForwardingState,
        frame: &mut F,
        candidate: &Candidate,
        refusal: Refusal,
        now: Tick,
    ) -> Verdict {
        let packet = &candidate.packet;
        let (reason, told) = match refusal {
            Refusal::Drop(reason) => return Verdict::Drop(reason),
            Refusal::Hold => return Verdict::Hold,
            Refusal::Tell(reason, told) => (reason, told),
            Refusal::Over => (DropReason::RealGone, Answer::Reset),
        };
        let is_over = matches!(refusal, Refusal::Over);
        if !may_answer(frame.as_ref(), packet, told) {
            // The client ends it itself, by a RST, or cannot be told.
            if is_over {
                self.end(state, candidate, now);
            }
            return Verdict::Drop(reason);
        }
        if !self.allowance.take(told, reason, now) {
            self.stats.answers_withheld.add(1);
            return Verdict::Drop(reason);
        }
        if !answer(frame, packet, told) {
            return Verdict::Drop(reason);
        }
        if is_over {
            self.end(state, candidate, now);
        }
        match told {
            Answer::Reset => self.stats.answers_reset.add(1),
            _ => self.stats.answers_icmp.add(1),
        }
        Verdict::Answer(reason)
    }

    /// A flow is over. It is remembered as closed: segments that were on their way meet the same end.
    fn end(&mut self, state: &ForwardingState, candidate: &Candidate, now: Tick) {
        let Some(Lookup { key, slot, .. }) = candidate.flow else { return };
        let Some((position, flow)) = self.memory.flows.find(slot, &key) else { return };
        let Some(service) = state.service(key.service).filter(|_| !flow.state.is_closing()) else { return };
        let closed = FlowState::Closed;
        let expires = now.after(service.options().timeouts.of(closed));
        self.memory.flows.update(position, key.service, Flow { state: closed, expires, ..flow });
        if let Some(real) = service.tenant(flow.real, flow.epoch) {
            self.gauge(real, flow.state).sub(1);
            self.gauge(real, closed).add(1);
        }
    }

    /// Forgets flows that were silent for too long, in the next `buckets` buckets of the tables.
    pub fn age(&mut self, state: &ForwardingState, buckets: usize, now: Tick) {
        let (worker, expired, risk) = (self.worker, &self.stats.flows_expired, &mut self.risk);
        let ended = self.memory.flows.age(buckets, now, |key, flow, aged| match aged {
            Aged::Alive => risk.look(state, &key, &flow, now),
            Aged::Forgotten => {
                expired.add(1);
                flow::forget(worker, state, &key, &flow);
            }
        });
        self.stats.flows.set(self.memory.flows.len() as u64);
        if ended {
            self.stats.flows_at_risk.set(self.risk.finish(self.memory.flows.len()));
        }
    }

    /// The flow table, for its size and its readers.
    pub fn flows(&self) -> &FlowTable {
        &self.memory.flows
    }
}

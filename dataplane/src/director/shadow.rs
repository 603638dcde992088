//! What would become of a frame: the director itself is asked, on a copy of what it decides by, and what it did there is
//! read off the copy. So the answer cannot differ from what a worker does, and the packet path knows nothing of it.
//!
//! A copy of the flow tables would be hundreds of mebibytes. But a frame can meet only what stands in the buckets of its
//! flow and of its client's template; so these are copied, to their own places in tables that are as large and otherwise
//! empty.
//!
//! *Invariants*
//! - nothing that a worker writes or reads is written to: no counter, no flow, nobody's turn;
//! - frames shown one after the other are taken for a sequence: what the first one did, the second one meets.
//!
//! Not known here is what a worker has spoken already this second (`allowance.rs`): it is taken to be allowed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Tick;
use crate::director::flow::question;
use crate::director::{Director, Lookup, Memory, Rates, Verdicts};
use crate::flow::{Flow, FlowReader, FlowTable, FragmentReader, FragmentTable};
use crate::forwarding::{ForwardingState, RealSlot, ServiceId};
use crate::packet::{Kind, Packet};
use crate::parse::parse;
use crate::stats::{Counter, WorkerStats};
use crate::verdict::{DropReason, Verdict};

/// A copy of the dataplane to try frames on.
pub struct Shadow {
    state: ForwardingState,
    seats: Vec<Seat>,
}

/// One of its workers.
struct Seat {
    director: Director,
    stats: Arc<WorkerStats>,
    /// The table that it has a copy of.
    live: FlowReader,
    /// Buckets that were copied.
    copied: HashSet<(bool, usize)>,
    /// Of each service that was met: entries that were copied, and entries that the table was told to hold.
    held: HashMap<ServiceId, (u32, u32)>,
}

/// What would become of a frame, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The worker that was asked.
    pub worker: usize,
    /// What the frame is; or why it is nothing.
    pub packet: Result<Packet, DropReason>,
    /// The service that it is for.
    pub service: Option<ServiceId>,
    /// What is remembered of its flow, and by whom; also what has expired.
    pub flows: Vec<(Whose, Flow)>,
    /// The templates of its client.
    pub templates: Vec<(Whose, Flow)>,
    /// What the scheduler hashes: of the flow, or of the client if its flows stay together.
    pub hash: Option<u64>,
    /// Whom the hash alone says, if the policy is one that hashes.
    pub hashed: Option<RealSlot>,
    /// How the real server was found.
    pub way: Option<Way>,
    /// The real server that was found, though the frame may not reach it (its time to live, its length).
    pub real: Option<RealSlot>,
    /// The verdict of the worker.
    pub verdict: Verdict,
    /// The answer, if the verdict is one, is a RST, not ICMP.
    pub is_reset: bool,
    /// What the worker remembers of the flow after it.
    pub after: Option<Flow>,
    /// The flow is new and the table has no room for it.
    pub no_room: bool,
    /// The checksum was completed, which the sender had left to hardware.
    pub completed: bool,
    /// The frame as it leaves: rewritten, or the answer; as it came, if it is dropped.
    pub frame: Vec<u8>,
}

/// Who remembers a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The worker of this number.
    Worker(usize),
    /// Another director, which has told of it.
    Director,
}

/// How a real server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The worker remembers the flow.
    Remembered,
    /// Another worker remembers it.
    Adopted,
    /// Another director has told of it.
    Synced,
    /// The real server that it had is gone: the scheduler has chosen another one.
    Moved,
    /// New; the client's template says where its flows go.
    Template,
    /// New; the scheduler has chosen.
    Scheduled,
    /// A later fragment: it follows the first one of its datagram.
    Fragment,
    /// An ICMP error about a flow that is remembered.
    Error,
    /// An ICMP error about a flow that nobody remembers: by the hash.
    ErrorByHash,
}

impl Shadow {
    /// A copy of `state` and of the tables of all workers, in the order of their numbers: at least one.
    pub fn of<'a>(
        state: &ForwardingState,
        workers: impl ExactSizeIterator<Item = (&'a FlowReader, &'a FragmentReader)>,
    ) -> Shadow {
        let state = state.shadow(workers.len());
        let tables: Vec<(FlowReader, FlowTable, FragmentTable)> = workers
            .map(|(flows, fragments)| {
                (flows.clone(), FlowTable::shadow(flows), FragmentTable::shadow(fragments))
            })
            .collect();
        let readers: Vec<_> =
            tables.iter().map(|(_, flows, fragments)| (flows.reader(), fragments.reader())).collect();
        let seats = tables.into_iter().enumerate().map(|(n, (live, flows, fragments))| {
            let others = || readers.iter().enumerate().filter(move |(other, _)| *other != n);
            let memory = Memory {
                flows,
                other_flows: others().map(|(_, (flows, _))| flows.clone()).collect(),
                fragments,
                other_fragments: others().map(|(_, (_, fragments))| fragments.clone()).collect(),
            };
            let stats = Arc::new(WorkerStats::default());
            let director = Director::new(n, memory, Rates { icmp: u32::MAX, reset: u32::MAX }, stats.clone());
            Seat { director, stats, live, copied: HashSet::new(), held: HashMap::new() }
        });
        Shadow { seats: seats.collect(), state }
    }

    /// The copy of the state.
    pub fn state(&self) -> &ForwardingState {
        &self.state
    }

    /// Whether anybody remembers the flow of a frame.
    pub fn knows(&mut self, frame: &[u8], now: Tick) -> bool {
        let lookups = self.lookups(frame);
        self.copy(&lookups);
        let remembered = |lookup| self.remembered(&lookup, now).iter().any(|(_, flow)| !flow.is_expired(now));
        lookups.flow.is_some_and(remembered)
    }

    /// What would become of a frame that comes in now. `worker`: which one gets it; none: the one that knows its flow, or
    /// else the first. `complete_checksums`: it comes in on a virtual interface.
    pub fn explain(
        &mut self,
        worker: Option<usize>,
        frame: &[u8],
        complete_checksums: bool,
        now: Tick,
    ) -> Explanation {
        let parsed = parse(frame);
        let lookups = self.lookups(frame);
        self.copy(&lookups);
        let remembered =
            |lookup: Option<Lookup>| lookup.map(|lookup| self.remembered(&lookup, now)).unwrap_or_default();
        let (flows, templates) = (remembered(lookups.flow), remembered(lookups.template));
        let knows = flows.iter().find_map(|(whose, flow)| match whose {
            Whose::Worker(worker) if !flow.is_expired(now) => Some(*worker),
            _ => None,
        });
        let worker = worker.or(knows).unwrap_or(0).min(self.seats.len() - 1);

        let director = &self.seats[worker].director;
        let service = lookups.flow.map(|lookup| lookup.key.service);
        let asked = service.and_then(|id| self.state.service(id)).zip(parsed.as_ref().ok());
        let asked = asked.map(|(service, packet)| {
            let question = question(&self.state, service, packet, now);
            (question.hash, service.scheduler().recall(&question).map(RealSlot))
        });
        let by_template = service.and_then(|id| self.state.service(id)).zip(lookups.template).and_then(
            |(service, lookup)| director.known(&self.state, service, &lookup, now).map(|choice| choice.slot),
        );

        let mut burst = [frame.to_vec()];
        let mut verdicts = Verdicts::new();
        let Seat { director, stats, .. } = &mut self.seats[worker];
        director.direct(&self.state, &mut burst, complete_checksums, now, &mut verdicts);
        let [frame] = burst;
        let verdict = verdicts.first().copied().unwrap_or(Verdict::Hold);
        let after = lookups.flow.and_then(|lookup| director.memory.flows.find(lookup.slot, &lookup.key));
        let after = after.map(|(_, flow)| flow);

        let counted = Counted::taken(stats);
        let found = self.found(worker);
        let real = found.as_ref().and_then(|found| found.real);
        let is_error = parsed.is_ok_and(|packet| packet.kind == Kind::Error);
        let before = flows.iter().find(|(whose, _)| *whose == Whose::Worker(worker)).map(|(_, flow)| *flow);
        let is_new = found.as_ref().is_some_and(|found| found.is_new)
            || (counted.refused && before.is_none_or(|flow| flow.is_expired(now)) && !counted.adopted);
        let way = real.map(|real| match lookups.flow {
            None => Way::Fragment,
            Some(_) if is_error && flows.iter().any(|(_, flow)| !flow.is_expired(now)) => Way::Error,
            Some(_) if is_error => Way::ErrorByHash,
            Some(_) if counted.synced => Way::Synced,
            Some(_) if counted.adopted => Way::Adopted,
            Some(_) if counted.moved => Way::Moved,
            Some(_) if is_new && by_template == Some(real) => Way::Template,
            Some(_) if is_new => Way::Scheduled,
            Some(_) => Way::Remembered,
        });
        Explanation {
            worker,
            packet: parsed,
            service: service.or(found.map(|found| found.service)),
            flows,
            templates,
            hash: asked.map(|(hash, _)| hash),
            hashed: asked.and_then(|(_, hashed)| hashed),
            way,
            real,
            verdict,
            is_reset: counted.is_reset,
            no_room: counted.refused && after.is_none(),
            completed: counted.completed,
            after,
            frame,
        }
    }

    /// The flow that a frame is of, and the template that it may ask.
    fn lookups(&self, frame: &[u8]) -> Lookups {
        // Keys have the same buckets in all tables.
        let director = &self.seats[0].director;
        let Ok(candidate) = director.examine(&self.state, frame) else { return Lookups::default() };
        let Some(lookup) = candidate.flow else { return Lookups::default() };
        let id = lookup.key.service;
        let persistence = self.state.service(id).and_then(|service| service.options().persistence);
        let template = persistence.map(|how| director.template(&candidate.packet, id, how));
        Lookups { flow: Some(lookup), template }
    }

    /// Copies what these can meet, into the tables of all workers.
    fn copy(&mut self, lookups: &Lookups) {
        for (worker, Seat { director, live, copied, held, .. }) in self.seats.iter_mut().enumerate() {
            let table = &mut director.memory.flows;
            let mut met = Vec::new();
            for lookup in lookups.flow.iter().chain(&lookups.template) {
                table.copy(live, lookup.slot, copied, |service| met.push((service, 1)));
                met.push((lookup.key.service, 0));
            }
            for (service, entries) in met {
                // By the gauges, which may lag behind what is there.
                let (here, told) = held.entry(service).or_insert((0, 0));
                *here += entries;
                let gauges = self.state.service(service).map_or(0, |service| service.held(worker));
                let all = if *told == 0 { u32::try_from(gauges).unwrap_or(u32::MAX) } else { *told };
                let all = all.max(*here);
                table.hold(service, all - *told);
                *told = all;
            }
        }
    }

    /// What all remember under a key.
    fn remembered(&self, lookup: &Lookup, now: Tick) -> Vec<(Whose, Flow)> {
        let Lookup { to, key, slot, .. } = *lookup;
        let workers = self.seats.iter().enumerate().filter_map(|(n, seat)| {
            seat.director.memory.flows.find(slot, &key).map(|(_, flow)| (Whose::Worker(n), flow))
        });
        let told = self.state.synced().and_then(|synced| synced.find(to, &key, now));
        workers.chain(told.map(|flow| (Whose::Director, flow))).collect()
    }

    /// For whom the frame was counted; the counters are 0 again.
    fn found(&self, worker: usize) -> Option<Found> {
        let (id, service) =
            self.state.services().find(|(_, service)| taken(&service.counters()[worker].frames))?;
        let is_new = taken(&service.counters()[worker].flows);
        let real = service.slots().find(|(_, real)| taken(&real.counters()[worker].frames));
        Some(Found { service: id, is_new, real: real.map(|(slot, _)| slot) })
    }
}

/// What a frame can meet in the tables.
#[derive(Default)]
struct Lookups {
    flow: Option<Lookup>,
    template: Option<Lookup>,
}

/// For whom a frame was counted.
struct Found {
    service: ServiceId,
    real: Option<RealSlot>,
    is_new: bool,
}

/// What a frame has done.
struct Counted {
    synced: bool,
    adopted: bool,
    moved: bool,
    refused: bool,
    completed: bool,
    is_reset: bool,
}

impl Counted {
    /// Reads the counters, and puts them back to 0.
    fn taken(stats: &WorkerStats) -> Counted {
        Counted {
            synced: taken(&stats.flows_synced),
            adopted: taken(&stats.flows_adopted),
            moved: taken(&stats.flows_moved),
            refused: taken(&stats.flows_refused),
            completed: taken(&stats.checksums_completed),
            is_reset: taken(&stats.answers_reset),
        }
    }
}

/// Whether something was counted; the counter is 0 again.
fn taken(counter: &Counter) -> bool {
    let value = counter.value();
    counter.set(0);
    value != 0
}

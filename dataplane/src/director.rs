//! START HERE: the path of a frame through a worker, on one screen.
//!
//! [`Director::direct`] takes a burst in two passes. The first finds out what each frame is and asks the
//! processor to fetch its flow table buckets; when the second looks into them, they are there.
//!
//! A pure decision on bytes: no I/O, no clock, no allocation, no lock, no panic. What it needs to know it is
//! given; what it decides it returns; what happened it counts.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::checksum;
use crate::clock::Tick;
use crate::flow::table::{Inserted, Position, Slot};
use crate::flow::{Flow, FlowKey, FlowReader, FlowState, FlowTable};
use crate::forwarding::{ForwardingState, Options, Real, RealSlot, Service, ServiceId};
use crate::packet::{Packet, TcpFlags};
use crate::parse::parse;
use crate::port::BURST;
use crate::rewrite::rewrite;
use crate::schedule::Question;
use crate::stats::{Counter, WorkerStats};
use crate::verdict::{DropReason, Verdict};

/// Verdicts on a burst, in its order.
pub type Verdicts = ArrayVec<Verdict, BURST>;

/// Decides about frames for one worker.
pub struct Director {
    worker: usize,
    flows: FlowTable,
    /// The other workers' tables: a flow that comes in on another queue than before is found there.
    others: Vec<FlowReader>,
    stats: Arc<WorkerStats>,
}

/// A frame on its way: for this service, with this hash.
struct Candidate {
    packet: Packet,
    service: ServiceId,
    hash: u64,
    key: FlowKey,
    slot: Slot,
}

impl Director {
    /// A director for worker number `worker`, which counts in `stats`.
    pub fn new(worker: usize, flows: FlowTable, others: Vec<FlowReader>, stats: Arc<WorkerStats>) -> Self {
        Director { worker, flows, others, stats }
    }

    /// Decides about each frame of the burst and rewrites those that go on. `complete_checksums`: the port
    /// they came from is virtual, and its sender may have left checksums to hardware.
    pub fn direct<F: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        state: &ForwardingState,
        burst: &mut [F],
        complete_checksums: bool,
        now: Tick,
        verdicts: &mut Verdicts,
    ) {
        let candidates: ArrayVec<_, BURST> =
            burst.iter().take(BURST).map(|frame| self.examine(state, frame.as_ref())).collect();
        verdicts.clear();
        for (frame, candidate) in burst.iter_mut().zip(candidates) {
            let frame = frame.as_mut();
            let path = candidate.and_then(|candidate| {
                let real = self.choose(state, &candidate, frame.len() as u64, now)?;
                let path = real.path().ok_or(DropReason::NoReal)?;
                Ok((candidate.packet, path))
            });
            verdicts.push(match path {
                Ok((packet, path)) => {
                    if complete_checksums && checksum::complete(frame, &packet) {
                        self.stats.checksums_completed.add(1);
                    }
                    rewrite(frame, &packet, &path.header);
                    Verdict::Forward(path.port)
                }
                Err(reason) => Verdict::Drop(reason),
            });
        }
    }

    /// What a frame is, and which service it is for.
    #[inline(always)]
    fn examine(&self, state: &ForwardingState, frame: &[u8]) -> Result<Candidate, DropReason> {
        let packet = parse(frame)?;
        let service = state.lookup(&packet).ok_or(DropReason::NoService)?;
        let hash = state.hash_key().flow(
            packet.src,
            packet.dst,
            packet.src_port,
            packet.dst_port,
            packet.protocol as u8,
        );
        let key = FlowKey::new(packet.src, packet.src_port, packet.dst_port, service);
        let slot = self.flows.slot(hash, &key);
        self.flows.prefetch(slot);
        Ok(Candidate { packet, service, hash, key, slot })
    }

    /// The real server: the one this flow has, while it is up or draining; else the scheduler's choice,
    /// which is remembered.
    #[inline(always)]
    fn choose<'s>(
        &mut self,
        state: &'s ForwardingState,
        candidate: &Candidate,
        bytes: u64,
        now: Tick,
    ) -> Result<&'s Real, DropReason> {
        let service = state.service(candidate.service).ok_or(DropReason::NoService)?;
        let counters = &service.counters()[self.worker];
        counters.frames.add(1);
        counters.bytes.add(bytes);
        let real = match self.flows.find(candidate.slot, &candidate.key) {
            Some((position, flow)) => match service.holder(flow.real, flow.epoch) {
                Some(real) if !reopens(&flow, &candidate.packet) => {
                    self.keep(service.options(), real, position, candidate, flow, now);
                    real
                }
                _ => self.reschedule(service, position, candidate, flow, now)?,
            },
            None => self.begin(state, service, candidate, now)?,
        };
        let counters = &real.counters()[self.worker];
        counters.frames.add(1);
        counters.bytes.add(bytes);
        Ok(real)
    }

    /// One more packet of a remembered flow.
    #[inline(always)]
    fn keep(
        &mut self,
        options: &Options,
        real: &Real,
        position: Position,
        candidate: &Candidate,
        flow: Flow,
        now: Tick,
    ) {
        let state = flow.state.next(candidate.packet.protocol, candidate.packet.flags);
        let next = Flow { state, expires: options.timeouts.expiry(state, now), ..flow };
        if next == flow {
            return;
        }
        if state.is_active() != flow.state.is_active() {
            self.gauge(real, flow.state).sub(1);
            self.gauge(real, state).add(1);
        }
        self.flows.update(position, &candidate.key, next);
    }

    /// A remembered flow whose real server is gone, or that begins anew: the scheduler chooses again.
    fn reschedule<'s>(
        &mut self,
        service: &'s Service,
        position: Position,
        candidate: &Candidate,
        flow: Flow,
        now: Tick,
    ) -> Result<&'s Real, DropReason> {
        let (slot, real) = scheduled(service, candidate, now)?;
        if let Some(former) = service.tenant(flow.real, flow.epoch) {
            self.gauge(former, flow.state).sub(1);
        }
        if !reopens(&flow, &candidate.packet) {
            self.stats.flows_moved.add(1);
        }
        let flow = first(service.options(), &candidate.packet, slot, real, now);
        self.count_new(service, real, &flow);
        self.flows.update(position, &candidate.key, flow);
        Ok(real)
    }

    /// A flow this worker does not know. From the middle of a connection: perhaps another worker knows it.
    fn begin<'s>(
        &mut self,
        state: &'s ForwardingState,
        service: &'s Service,
        candidate: &Candidate,
        now: Tick,
    ) -> Result<&'s Real, DropReason> {
        let adopted = self.adopt(service, candidate);
        let (slot, real) = match adopted {
            Some(found) => found,
            None => scheduled(service, candidate, now)?,
        };
        let flow = first(service.options(), &candidate.packet, slot, real, now);
        let share = service.options().table_share;
        match self.flows.insert(candidate.slot, &candidate.key, flow, now, share, |_, _| false) {
            Inserted::Free => {}
            Inserted::Replaced(key, victim, _) => {
                self.stats.flows_evicted.add(1);
                self.forget(state, key.service, victim);
            }
            Inserted::Refused => {
                self.stats.flows_refused.add(1);
                return Ok(real);
            }
        }
        if adopted.is_some() {
            self.stats.flows_adopted.add(1);
            self.gauge(real, flow.state).add(1);
        } else {
            self.count_new(service, real, &flow);
        }
        Ok(real)
    }

    fn adopt<'s>(&self, service: &'s Service, candidate: &Candidate) -> Option<(RealSlot, &'s Real)> {
        if candidate.packet.flags.has(TcpFlags::SYN) {
            return None;
        }
        let flow = self.others.iter().find_map(|other| other.find(candidate.hash, &candidate.key))?;
        service.holder(flow.real, flow.epoch).map(|real| (flow.real, real))
    }

    /// Forgets flows that were silent for too long, in the next `buckets` buckets of the table.
    pub fn age(&mut self, state: &ForwardingState, buckets: usize, now: Tick) {
        let (worker, expired) = (self.worker, &self.stats.flows_expired);
        self.flows.age(buckets, now, |key, flow| {
            expired.add(1);
            if let Some(real) = tenant(state, key.service, &flow) {
                gauge(worker, real, flow.state).sub(1);
            }
        });
        self.stats.flows.set(self.flows.len() as u64);
    }

    /// The flow table, for its size and its readers.
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    fn forget(&self, state: &ForwardingState, service: ServiceId, flow: Flow) {
        if let Some(real) = tenant(state, service, &flow) {
            self.gauge(real, flow.state).sub(1);
        }
    }

    fn count_new(&self, service: &Service, real: &Real, flow: &Flow) {
        service.counters()[self.worker].flows.add(1);
        real.counters()[self.worker].flows.add(1);
        self.gauge(real, flow.state).add(1);
    }

    #[inline(always)]
    fn gauge<'r>(&self, real: &'r Real, state: FlowState) -> &'r Counter {
        gauge(self.worker, real, state)
    }
}

/// Whose flow it is, as far as that is still known.
fn tenant<'s>(state: &'s ForwardingState, service: ServiceId, flow: &Flow) -> Option<&'s Real> {
    state.service(service)?.tenant(flow.real, flow.epoch)
}

#[inline(always)]
fn gauge(worker: usize, real: &Real, state: FlowState) -> &Counter {
    let counters = &real.counters()[worker];
    if state.is_active() { &counters.active } else { &counters.inactive }
}

/// A SYN on a flow that was closing begins a new connection from the same port.
#[inline(always)]
fn reopens(flow: &Flow, packet: &Packet) -> bool {
    flow.state.is_closing() && packet.flags.has(TcpFlags::SYN)
}

#[inline(always)]
fn scheduled<'s>(
    service: &'s Service,
    candidate: &Candidate,
    now: Tick,
) -> Result<(RealSlot, &'s Real), DropReason> {
    let Packet { src, src_port, dst, .. } = candidate.packet;
    let question = Question { hash: candidate.hash, src, src_port, dst, now };
    let slot = service.schedule(&question).ok_or(DropReason::NoReal)?;
    service.real(slot).map(|real| (slot, real)).ok_or(DropReason::NoReal)
}

#[inline(always)]
fn first(options: &Options, packet: &Packet, slot: RealSlot, real: &Real, now: Tick) -> Flow {
    let state = FlowState::first(packet.protocol, packet.flags);
    Flow { real: slot, epoch: real.epoch(), state, expires: options.timeouts.expiry(state, now) }
}

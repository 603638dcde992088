//! What a packet does to its flow: one more of a remembered flow, the first of a new one, or one whose real server
//! is gone.

use crate::answer::Answer;
use crate::clock::Tick;
use crate::director::{Candidate, Choice, Director, Lookup, Refusal};
use crate::flow::table::{Inserted, Position, Victim};
use crate::flow::{Flow, FlowKey, FlowState};
use crate::forwarding::{ForwardingState, NoReal, OnFailure, Real, Service, Synced};
use crate::id::RealSlot;
use crate::packet::{Packet, Protocol, TcpFlags};
use crate::schedule::Question;
use crate::stats::Counter;
use crate::verdict::DropReason;

impl Director {
    /// The real server: the one this flow has, while it is up or draining; else the scheduler's choice,
    /// which is remembered.
    #[inline(always)]
    pub(super) fn choose<'s>(
        &mut self,
        state: &'s ForwardingState,
        candidate: &Candidate,
        lookup: &Lookup,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let service = state.service(lookup.key.service).ok_or(DropReason::NoService)?;
        self.count_service(service, candidate.bytes);
        let packet = &candidate.packet;
        let choice = match self.memory.flows.find(lookup.slot, &lookup.key) {
            Some((position, flow)) if flow.is_expired(now) || reopens(&flow, packet) => {
                self.begin(state, service, packet, lookup, Some((position, flow)), now)?
            }
            Some((position, flow)) => {
                // Most directors are told nothing of others' flows.
                let corrected = match state.synced() {
                    Some(_) => self.corrected(state, service, packet, lookup, position, flow, now),
                    None => None,
                };
                match corrected {
                    Some(choice) => choice,
                    None => match holder(service, flow.real, flow.epoch) {
                        Some(real) => {
                            self.keep(state, service, real, packet, lookup, position, flow, now);
                            Choice { service, slot: flow.real, real }
                        }
                        None => self.orphaned(state, service, packet, lookup, position, flow, now)?,
                    },
                }
            }
            None => self.begin(state, service, packet, lookup, None, now)?,
        };
        self.count_real(choice.real, candidate.bytes);
        Ok(choice)
    }

    /// A remembered flow that another director has seen more of: it was active while this one was cut off, and the client
    /// may have ended that connection there, and begun another one from the same port.
    #[expect(clippy::too_many_arguments, reason = "what the look-up found out, not to be found out again")]
    #[cold]
    fn corrected<'s>(
        &mut self,
        state: &ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        position: Position,
        own: Flow,
        now: Tick,
    ) -> Option<Choice<'s>> {
        let timeouts = &service.options().timeouts;
        let synced = state.synced().filter(|synced| synced.may_know_better(&own, timeouts, now))?;
        let (slot, real, next) = match synced.find(lookup.to, &lookup.key, now) {
            Some(told) => {
                let real = holder(service, told.real, told.epoch)
                    .filter(|_| Synced::is_newer(&told, &own, timeouts, now))?;
                (told.real, real, told.state.next(packet.protocol, packet.flags))
            }
            // That connection is over, as far as this director knows: another one, of which there was nothing to tell.
            None if own.state.is_closing() => {
                let (slot, real) = self.untold(state, service, packet, lookup, now)?;
                (slot, real, FlowState::first(packet.protocol, packet.flags))
            }
            None => return None,
        };
        if (slot, real.epoch()) == (own.real, own.epoch) {
            return None;
        }
        let choice = Choice { service, slot, real };
        self.stats.flows_synced.add(1);
        self.remember(state, &choice, next, lookup, Some((position, own)), now);
        Some(choice)
    }

    /// The real server of a flow that other directors know and do not tell of: it is what the hash says.
    fn untold<'s>(
        &self,
        state: &ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        now: Tick,
    ) -> Option<(RealSlot, &'s Real)> {
        let question = question(state, service, packet, now);
        let slot = service.scheduler().recall(&question).map(RealSlot)?;
        let real = service.real(slot)?;
        let flow = Flow { real: slot, epoch: real.epoch(), state: FlowState::Established, expires: now };
        is_dispensable(state, &lookup.key, &flow, now).then_some((slot, real))
    }

    /// One more packet of a remembered flow.
    #[expect(
        clippy::too_many_arguments,
        reason = "inlined: what the look-up found out, not to be found out again"
    )]
    #[inline(always)]
    fn keep(
        &mut self,
        state: &ForwardingState,
        service: &Service,
        real: &Real,
        packet: &Packet,
        lookup: &Lookup,
        position: Position,
        flow: Flow,
        now: Tick,
    ) {
        let options = service.options();
        let next_state = flow.state.next(packet.protocol, packet.flags);
        let expires = now.after(options.timeouts.of(next_state));
        let next = Flow { state: next_state, expires, ..flow };
        if flow.state.is_on_probation() {
            self.count_handshake(real, packet, flow.state, next_state);
        }
        // Nothing to store, but once a tick.
        if (next_state, expires) == (flow.state, flow.expires) {
            return;
        }
        if next_state.is_active() != flow.state.is_active() {
            self.gauge(real, flow.state).sub(1);
            self.gauge(real, next_state).add(1);
        }
        self.memory.flows.update(position, lookup.key.service, next);
        if options.persistence.is_some() {
            self.remind(state, service, packet, lookup.key.service, flow, next, now);
        }
    }

    /// How handshakes end, as far as the client's side shows: passive health.
    fn count_handshake(&self, real: &Real, packet: &Packet, before: FlowState, after: FlowState) {
        let counters = &real.counters()[self.worker];
        if before != FlowState::SynReceived {
            return;
        }
        if packet.flags.has(TcpFlags::RST) {
            counters.handshakes_reset.add(1);
        } else if packet.flags.has(TcpFlags::SYN) {
            counters.handshakes_retransmitted.add(1);
        } else if after == FlowState::Established {
            counters.handshakes_completed.add(1);
        }
    }

    /// A flow whose real server failed or was removed.
    #[expect(clippy::too_many_arguments, reason = "what the look-up found out, not to be found out again")]
    fn orphaned<'s>(
        &mut self,
        state: &'s ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        position: Position,
        flow: Flow,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        if is_reset(service, packet) {
            return Err(Refusal::Over);
        }
        let choice = self.renew(state, service, packet, lookup, Some((position, flow)), now)?;
        self.stats.flows_moved.add(1);
        Ok(choice)
    }

    /// A flow this worker does not know, or one whose time is over: `former`, what was known of it.
    fn begin<'s>(
        &mut self,
        state: &'s ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        former: Option<(Position, Flow)>,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let options = service.options();
        if options.one_packet && packet.protocol == Protocol::Udp {
            return self.scheduled(state, service, packet, now).inspect(|choice| self.count_flow(choice));
        }
        // From the middle of a connection: perhaps another worker knows it.
        if !packet.flags.has(TcpFlags::SYN) {
            if let Some((choice, first)) = self.adopt(state, service, packet, lookup, now)? {
                self.remember(state, &choice, first, lookup, former, now);
                return Ok(choice);
            }
            if options.strict && packet.protocol == Protocol::Tcp {
                return Err(Refusal::Tell(DropReason::FlowUnknown, Answer::Reset));
            }
        }
        self.renew(state, service, packet, lookup, former, now)
    }

    /// What another worker knows of the flow, or else another director, and the state that it is in here. A copy that was
    /// left behind may name a real server that is gone, beside one that names a real server that is not.
    fn adopt<'s>(
        &self,
        state: &ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        now: Tick,
    ) -> Result<Option<(Choice<'s>, FlowState)>, Refusal> {
        let mut is_orphan = false;
        for other in &self.memory.other_flows {
            let found = other.find(lookup.to, &lookup.key);
            let Some(flow) = found.filter(|flow| !flow.is_expired(now)) else { continue };
            if let Some(real) = holder(service, flow.real, flow.epoch) {
                self.stats.flows_adopted.add(1);
                let first = FlowState::first(packet.protocol, packet.flags);
                return Ok(Some((Choice { service, slot: flow.real, real }, first)));
            }
            is_orphan = true;
        }
        if let Some(flow) = state.synced().and_then(|synced| synced.find(lookup.to, &lookup.key, now)) {
            if let Some(real) = holder(service, flow.real, flow.epoch) {
                self.stats.flows_synced.add(1);
                // It was past its first packets there, and no flood's: it need not prove that again.
                let next = flow.state.next(packet.protocol, packet.flags);
                return Ok(Some((Choice { service, slot: flow.real, real }, next)));
            }
            is_orphan = true;
        }
        if is_orphan && is_reset(service, packet) {
            return Err(Refusal::Tell(DropReason::RealGone, Answer::Reset));
        }
        Ok(None)
    }

    /// The scheduler chooses, and the choice is remembered: in place of `former`, if the flow was known.
    fn renew<'s>(
        &mut self,
        state: &'s ForwardingState,
        service: &'s Service,
        packet: &Packet,
        lookup: &Lookup,
        former: Option<(Position, Flow)>,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let (choice, former) = match service.options().persistence {
            Some(persistence) => {
                let choice = self.together(state, service, packet, lookup.key.service, persistence, now)?;
                // The client's template may have taken the place of what was known of the flow.
                (choice, former.and_then(|_| self.memory.flows.find(lookup.slot, &lookup.key)))
            }
            None => (self.scheduled(state, service, packet, now)?, former),
        };
        let first = FlowState::first(packet.protocol, packet.flags);
        if !self.remember(state, &choice, first, lookup, former, now) {
            // Its next packets will be asked for anew: one answer for all of them, whatever the turn and the load.
            let question = question(state, service, packet, now);
            let scheduler = service.scheduler();
            let slot = scheduler.recall(&question).or_else(|| scheduler.scatter(&question)).map(RealSlot);
            let found = slot.and_then(|slot| Some(Choice { service, slot, real: service.real(slot)? }));
            let choice = found.unwrap_or(choice);
            if packet.protocol != Protocol::Tcp || packet.flags.has(TcpFlags::SYN) {
                self.count_flow(&choice);
            }
            return Ok(choice);
        }
        self.count_flow(&choice);
        Ok(choice)
    }

    fn count_flow(&self, choice: &Choice<'_>) {
        choice.service.counters()[self.worker].flows.add(1);
        choice.real.counters()[self.worker].flows.add(1);
    }

    /// The scheduler's choice, or what the client is told when there is none.
    pub(super) fn scheduled<'s>(
        &self,
        state: &ForwardingState,
        service: &'s Service,
        packet: &Packet,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let chosen = service.schedule(&question(state, service, packet, now));
        let chosen = chosen.and_then(|slot| Some(Choice { service, slot, real: service.real(slot)? }));
        chosen.ok_or_else(|| {
            let told = match (service.options().no_real, packet.protocol) {
                (NoReal::Silent, _) => return DropReason::NoReal.into(),
                (NoReal::Reset, Protocol::Tcp) => Answer::Reset,
                (NoReal::Reset | NoReal::Unreachable, _) => Answer::PortUnreachable,
            };
            Refusal::Tell(DropReason::NoReal, told)
        })
    }

    /// Remembers a flow in its first state. Returns whether there was room for it.
    fn remember(
        &mut self,
        state: &ForwardingState,
        choice: &Choice<'_>,
        first: FlowState,
        lookup: &Lookup,
        former: Option<(Position, Flow)>,
        now: Tick,
    ) -> bool {
        let Choice { service, slot, real } = *choice;
        let expires = now.after(service.options().timeouts.of(first));
        let flow = Flow { real: slot, epoch: real.epoch(), state: first, expires };
        if let Some((position, former)) = former {
            self.forget(state, &lookup.key, &former);
            self.memory.flows.update(position, lookup.key.service, flow);
        } else if !self.insert(state, service, lookup, flow, now) {
            return false;
        }
        self.gauge(real, first).add(1);
        real.weigh();
        true
    }

    /// Puts a flow, or a template, into the table; false if there is no room for it.
    pub(super) fn insert(
        &mut self,
        state: &ForwardingState,
        service: &Service,
        lookup: &Lookup,
        flow: Flow,
        now: Tick,
    ) -> bool {
        let dispensable = |key: &FlowKey, flow: &Flow| is_dispensable(state, key, flow, now);
        let share = service.options().table_share;
        match self.memory.flows.insert(lookup.slot, &lookup.key, flow, now, share, dispensable) {
            Inserted::Free => {}
            Inserted::Replaced(key, victim, class) => {
                match class {
                    Victim::Expired => &self.stats.flows_expired,
                    Victim::Closing | Victim::Probation => &self.stats.flows_evicted,
                    Victim::Dispensable => &self.stats.flows_dispensed,
                }
                .add(1);
                self.forget(state, &key, &victim);
            }
            Inserted::Refused => {
                self.stats.flows_refused.add(1);
                return false;
            }
        }
        true
    }

    /// A flow is remembered no more: its real server has one less.
    pub(super) fn forget(&self, state: &ForwardingState, key: &FlowKey, flow: &Flow) {
        forget(self.worker, state, key, flow);
    }

    #[inline(always)]
    pub(super) fn gauge<'r>(&self, real: &'r Real, state: FlowState) -> &'r Counter {
        gauge(self.worker, real, state)
    }

    #[inline(always)]
    pub(super) fn count_service(&self, service: &Service, bytes: u64) {
        let counters = &service.counters()[self.worker];
        counters.frames.add(1);
        counters.bytes.add(bytes);
    }

    #[inline(always)]
    pub(super) fn count_real(&self, real: &Real, bytes: u64) {
        let counters = &real.counters()[self.worker];
        counters.frames.add(1);
        counters.bytes.add(bytes);
    }
}

/// Who serves the old flows of a tenant of a slot: that tenant while it is up or draining, or whatever its state if
/// it keeps flows itself, or the service does and the way to it is known.
#[inline(always)]
pub(super) fn holder(service: &Service, slot: RealSlot, epoch: u8) -> Option<&Real> {
    service.holder(slot, epoch).or_else(|| {
        let is_kept = |real: &&Real| {
            let is_reachable = real.path().is_some();
            real.keeps_flows() || (is_reachable && service.options().on_failure == OnFailure::Keep)
        };
        service.tenant(slot, epoch).filter(is_kept)
    })
}

/// Whether the client of a flow without a real server is to be told so by a RST. A handshake that is not complete yet is
/// no connection: it may go on elsewhere, whatever the service says.
fn is_reset(service: &Service, packet: &Packet) -> bool {
    resets(service, packet.protocol, packet.flags.has(TcpFlags::SYN))
}

/// The same, of any packet of this kind.
pub(super) fn resets(service: &Service, protocol: Protocol, is_syn: bool) -> bool {
    protocol == Protocol::Tcp && !is_syn && service.options().on_failure == OnFailure::Reset
}

/// What the scheduler of a service is asked about a packet.
#[inline(always)]
pub(super) fn question(state: &ForwardingState, service: &Service, packet: &Packet, now: Tick) -> Question {
    let Packet { src, dst, src_port, dst_port, protocol, .. } = *packet;
    let hash = match service.options().persistence {
        None => state.hash_key().flow(src, dst, src_port, dst_port, protocol as u8),
        // One answer for all flows of a client.
        Some(persistence) => state.hash_key().flow(src.masked(persistence.mask), dst, 0, 0, protocol as u8),
    };
    Question { hash, src, src_port, dst, now }
}

/// The same about the flow with this key, but for its service's id.
pub(super) fn question_of(state: &ForwardingState, service: &Service, key: &FlowKey, now: Tick) -> Question {
    let (src, src_port, dst) = (key.client, key.client_port, service.key().address);
    let protocol = service.key().protocol as u8;
    let hash = match service.options().persistence {
        None => state.hash_key().flow(src, dst, src_port, key.dst_port, protocol),
        Some(persistence) => state.hash_key().flow(src.masked(persistence.mask), dst, 0, 0, protocol),
    };
    Question { hash, src, src_port, dst, now }
}

/// Whether a flow's real server is what the scheduler would say anyway: to forget it changes nothing. Never of a
/// template: the promise that it keeps outlives a change of the set.
pub fn is_dispensable(state: &ForwardingState, key: &FlowKey, flow: &Flow, now: Tick) -> bool {
    let Some(service) = state.service(key.service) else { return true };
    if flow.state.is_template() {
        return false;
    }
    let protocol = service.key().protocol;
    // A strict service takes nothing from the middle of an unknown connection; a real server with a threshold takes no
    // unknown flow while it is above it.
    if service.options().strict && protocol == Protocol::Tcp {
        return false;
    }
    let said = service.scheduler().recall(&question_of(state, service, key, now));
    let holder = service.holder(flow.real, flow.epoch);
    said == Some(flow.real.0) && holder.is_some_and(|real| real.thresholds().upper == 0)
}

pub(super) fn forget(worker: usize, state: &ForwardingState, key: &FlowKey, flow: &Flow) {
    let tenant = state.service(key.service).and_then(|service| service.tenant(flow.real, flow.epoch));
    if let Some(real) = tenant {
        gauge(worker, real, flow.state).sub(1);
        real.weigh();
    }
}

#[inline(always)]
pub(super) fn gauge(worker: usize, real: &Real, state: FlowState) -> &Counter {
    let counters = &real.counters()[worker];
    if state.is_template() {
        &counters.templates
    } else if state.is_active() {
        &counters.active
    } else {
        &counters.inactive
    }
}

/// A SYN on a flow that was closing begins a new connection from the same port.
#[inline(always)]
fn reopens(flow: &Flow, packet: &Packet) -> bool {
    flow.state.is_closing() && packet.flags.has(TcpFlags::SYN)
}

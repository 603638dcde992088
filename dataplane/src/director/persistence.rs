//! Flows of one client stay together: its first flow leaves a *template* in the flow table, by which the next ones go
//! (IPVS: `ip_vs_sched_persist` in net/netfilter/ipvs/ip_vs_core.c).
//!
//! A client's connections may come in on several workers, and each writes its own table only. So each has its own
//! copy of a template, and whoever finds several obeys that of the lowest worker: two workers that saw a client
//! first at the same moment agree from its next flow on.

use crate::clock::Tick;
use crate::director::flow::holder;
use crate::director::{Choice, Director, Lookup, Refusal};
use crate::flow::{Destination, Flow, FlowKey, FlowReader, FlowState};
use crate::forwarding::{ForwardingState, Persistence, Service};
use crate::id::ServiceId;
use crate::packet::Packet;

/// A template is reminded of a flow's life when this power of two of ticks has gone by (16 s).
const REMINDER: u32 = 6;

impl Director {
    /// The real server for a new flow of a client: that of its other flows, while it takes any.
    pub(super) fn together<'s>(
        &mut self,
        state: &'s ForwardingState,
        service: &'s Service,
        packet: &Packet,
        id: ServiceId,
        persistence: Persistence,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let lookup = self.template(packet, id, persistence);
        let (choice, as_state) = match self.known(state, service, &lookup, now) {
            // It has come back.
            Some(choice) => (choice, FlowState::Template),
            // `question` asks for the client as a whole.
            None => (self.scheduled(state, service, packet, now)?, FlowState::TemplateNew),
        };
        let first = FlowState::first(packet.protocol, packet.flags);
        let lasts = persistence.timeout.max(service.options().timeouts.of(first));
        self.write_template(state, &choice, &lookup, as_state, lasts, now);
        Ok(choice)
    }

    /// A flow of the client goes on: its template must outlive it, and is no flood's once the flow is none.
    #[expect(clippy::too_many_arguments, reason = "what the look-up found out, not to be found out again")]
    #[cold]
    pub(super) fn remind(
        &mut self,
        state: &ForwardingState,
        service: &Service,
        packet: &Packet,
        id: ServiceId,
        flow: Flow,
        next: Flow,
        now: Tick,
    ) {
        let settled = flow.state.is_on_probation() && !next.state.is_on_probation();
        let due = flow.expires.number() >> REMINDER != next.expires.number() >> REMINDER;
        let Some(persistence) = service.options().persistence.filter(|_| settled || due) else { return };
        let lookup = self.template(packet, id, persistence);
        let Some(real) = holder(service, next.real, next.epoch) else { return };
        let (tenant, state_before) = match self.memory.flows.find(lookup.slot, &lookup.key) {
            Some((_, template)) => ((template.real, template.epoch), template.state),
            // The flow was another worker's, and so is the template.
            None => match self.known(state, service, &lookup, now) {
                Some(choice) => ((choice.slot, choice.real.epoch()), FlowState::TemplateNew),
                None => return,
            },
        };
        // The client may have moved on to another real server since.
        if tenant != (next.real, next.epoch) {
            return;
        }
        let state_now = if next.state.is_on_probation() { state_before } else { FlowState::Template };
        let lasts = next.remaining(now).max(persistence.timeout);
        let choice = Choice { service, slot: next.real, real };
        self.write_template(state, &choice, &lookup, state_now, lasts, now);
    }

    /// What the templates say: this director's, and then another's.
    pub(super) fn known<'s>(
        &self,
        state: &ForwardingState,
        service: &'s Service,
        lookup: &Lookup,
        now: Tick,
    ) -> Option<Choice<'s>> {
        let own = || self.memory.flows.find(lookup.slot, &lookup.key).map(|(_, flow)| flow);
        let (before, after) = self.memory.other_flows.split_at_checked(self.worker)?;
        let of = |readers: &[FlowReader]| {
            readers.iter().find_map(|reader| usable(service, reader.find(lookup.to, &lookup.key), now))
        };
        let synced = || state.synced().and_then(|synced| synced.find(lookup.to, &lookup.key, now));
        of(before)
            .or_else(|| usable(service, own(), now))
            .or_else(|| of(after))
            .or_else(|| usable(service, synced(), now))
    }

    fn write_template(
        &mut self,
        state: &ForwardingState,
        choice: &Choice<'_>,
        lookup: &Lookup,
        as_state: FlowState,
        lasts: u32,
        now: Tick,
    ) {
        let Choice { service, slot, real } = *choice;
        let mut template =
            Flow { real: slot, epoch: real.epoch(), state: as_state, expires: now.after(lasts) };
        match self.memory.flows.find(lookup.slot, &lookup.key) {
            Some((position, former)) => {
                let is_same = (former.real, former.epoch) == (template.real, template.epoch);
                if is_same && former.remaining(now) > lasts {
                    // Another flow of the client is remembered for longer.
                    template.expires = former.expires;
                }
                let is_settled = former.state == FlowState::Template && !former.is_expired(now);
                let state_now = if is_settled { FlowState::Template } else { as_state };
                self.forget(state, &lookup.key, &former);
                self.memory.flows.update(position, lookup.key.service, Flow { state: state_now, ..template });
            }
            None if self.insert(state, service, lookup, template, now) => {}
            None => return,
        }
        self.gauge(real, FlowState::Template).add(1);
    }

    pub(super) fn template(&self, packet: &Packet, id: ServiceId, persistence: Persistence) -> Lookup {
        let key = FlowKey::template(packet.src.masked(persistence.mask), id);
        let to = Destination::new(packet.dst, packet.protocol);
        Lookup { to, key, slot: self.memory.flows.slot(to, &key) }
    }
}

/// The real server of a template, if it still serves.
fn usable(service: &Service, template: Option<Flow>, now: Tick) -> Option<Choice<'_>> {
    let flow = template.filter(|flow| !flow.is_expired(now))?;
    // A template of a real server that failed is void, even where its flows are kept.
    let real = service.holder(flow.real, flow.epoch)?;
    Some(Choice { service, slot: flow.real, real })
}

//! What other directors told of their flows, put where the workers find it when they do not know a flow themselves.
//!
//! *Invariant*: nothing is believed of a service or a real server that this director has not: it is counted.

use std::collections::HashMap;

use serde::Serialize;
use shunt_dataplane::flow::table::Inserted;
use shunt_dataplane::flow::{Flow, FlowKey, Timeouts};
use shunt_dataplane::forwarding::{ForwardingState, GRACE, RealSlot, Service, ServiceId};
use shunt_dataplane::packet::Address;
use shunt_dataplane::plane::Flows;

use crate::sync::message::{Section, Told};

/// All that was told is looked through for what has expired in this many ticks of the syncer.
const AGE: usize = 320;

/// What became of the flows that were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Learned {
    /// Believed.
    pub believed: u64,
    /// Hearsay about a flow that was known already.
    pub known: u64,
    /// Of a service that this director has not.
    pub unknown_service: u64,
    /// On a real server that the service has not here.
    pub unknown_real: u64,
    /// Impossible here: another port, a template where there is no persistence or for another network.
    pub unfit: u64,
    /// There was no room.
    pub refused: u64,
}

/// Puts flows into the table.
#[derive(Debug, Default)]
pub struct Learning {
    /// Generation that `reals` is of.
    generation: u64,
    reals: HashMap<(ServiceId, Address), (RealSlot, u8)>,
    count: Learned,
}

impl Learning {
    /// What became of the flows so far.
    pub fn count(&self) -> Learned {
        self.count
    }

    /// Learns of the flows of one service.
    pub fn learn(&mut self, flows: &mut Flows<'_>, section: &Section) {
        let state = flows.state;
        if self.generation != state.generation() {
            self.reals = reals(state);
            self.generation = state.generation();
        }
        let id = state.find(&section.service);
        let Some((id, service)) = id.and_then(|id| Some((id, state.service(id)?))) else {
            self.count.unknown_service += section.flows.len() as u64;
            return;
        };
        for told in &section.flows {
            *self.one(flows, id, service, told) += 1;
        }
    }

    /// Forgets what has expired, in the next slice of the table.
    pub fn age(&self, flows: &mut Flows<'_>) {
        let slice = flows.synced.buckets().div_ceil(AGE);
        flows.synced.age(slice, flows.now, |_, _, _| ());
    }

    fn one(&mut self, flows: &mut Flows<'_>, id: ServiceId, service: &Service, told: &Told) -> &mut u64 {
        let Some(key) = fitting(id, service, told) else { return &mut self.count.unfit };
        let Some(&(real, epoch)) = self.reals.get(&(id, told.real)) else {
            return &mut self.count.unknown_real;
        };
        let grace = if told.state.is_closing() { 0 } else { GRACE };
        let expires = flows.now.after((told.left + grace).min(Timeouts::MAX));
        let flow = Flow { real, epoch, state: told.state, expires };
        let Some(to) = flows.state.destination(&key) else { return &mut self.count.unknown_service };
        let slot = flows.synced.slot(to, &key);
        if let Some((position, known)) = flows.synced.find(slot, &key) {
            if told.is_hearsay && !known.is_expired(flows.now) {
                return &mut self.count.known;
            }
            flows.synced.update(position, key.service, flow);
            return &mut self.count.believed;
        }
        let share = service.options().table_share;
        match flows.synced.insert(slot, &key, flow, flows.now, share, |_, _| false) {
            Inserted::Free | Inserted::Replaced(..) => &mut self.count.believed,
            Inserted::Refused => &mut self.count.refused,
        }
    }
}

/// Where workers look for the flow; none if they never would.
fn fitting(id: ServiceId, service: &Service, told: &Told) -> Option<FlowKey> {
    if told.state.is_on_probation() {
        return None;
    }
    if told.state.is_template() {
        let mask = service.options().persistence?.mask;
        let is_one = told.client.masked(mask) == told.client && (told.client_port, told.port) == (0, 0);
        return is_one.then(|| FlowKey::template(told.client, id));
    }
    let is_one = service.key().ports.contains(told.port);
    is_one.then(|| FlowKey::new(told.client, told.client_port, told.port, id))
}

fn reals(state: &ForwardingState) -> HashMap<(ServiceId, Address), (RealSlot, u8)> {
    let of = |(id, service): (ServiceId, &'_ Service)| -> Vec<_> {
        service.reals().map(|(slot, real)| ((id, real.address()), (slot, real.epoch()))).collect()
    };
    state.services().flat_map(of).collect()
}

//! What would become of the flows that workers remember now.
//!
//! *Invariants*: a flow is counted once, also where two workers remember it (it came in on another queue than before); one
//! that is to be reset or moved anyway, whatever is planned, is not counted against the plan.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Fate, fate};
use shunt_dataplane::flow::{Flow, FlowKey, FlowReader};
use shunt_dataplane::forwarding::{ForwardingState, ServiceId};

/// Flows, by what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fates {
    /// They go on to the real server that they have.
    pub kept: u64,
    /// They go to another real server (which resets a TCP connection that it does not know).
    pub moved: u64,
    /// Their clients get a RST.
    pub reset: u64,
    /// Nobody takes them.
    pub refused: u64,
    /// Their real server is gone already: what becomes of them is not this plan's doing.
    pub lost_already: u64,
}

/// Flows of a service, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Those that are open.
    #[serde(flatten)]
    pub open: Fates,
    /// Those whose client has said its last word: they are over, but for who goes on receiving.
    pub closing: Fates,
}

/// What becomes of the flows in `tables` when `after` is in force instead of `before`, by service.
pub(super) fn judge(
    before: &ForwardingState,
    after: &ForwardingState,
    tables: &[FlowReader],
    now: Tick,
) -> HashMap<ServiceId, Tally> {
    let mut tallies: HashMap<ServiceId, Tally> = HashMap::new();
    for (n, table) in tables.iter().enumerate() {
        for (key, flow) in table.iter() {
            let is_live = before.service(key.service).is_some_and(|service| service.is_live());
            if !is_live || flow.state.is_template() || flow.is_expired(now) {
                continue;
            }
            if is_left_behind(before, tables, n, &key, &flow, now) {
                continue;
            }
            let tally = tallies.entry(key.service).or_default();
            let fates = if flow.state.is_closing() { &mut tally.closing } else { &mut tally.open };
            *match fate(before, after, &key, &flow, now) {
                Fate::Kept => &mut fates.kept,
                _ if fate(before, before, &key, &flow, now) != Fate::Kept => &mut fates.lost_already,
                Fate::Moved => &mut fates.moved,
                Fate::Reset => &mut fates.reset,
                Fate::Refused => &mut fates.refused,
            } += 1;
        }
    }
    tallies
}

/// Whether another worker has seen more of the flow than the one with this entry.
fn is_left_behind(
    state: &ForwardingState,
    tables: &[FlowReader],
    own: usize,
    key: &FlowKey,
    flow: &Flow,
    now: Tick,
) -> bool {
    let Some(to) = state.destination(key).filter(|_| tables.len() > 1) else { return false };
    tables.iter().enumerate().filter(|(n, _)| *n != own).any(|(n, table)| {
        let other = table.find(to, key).filter(|other| !other.is_expired(now));
        other.is_some_and(|other| (other.remaining(now), own) > (flow.remaining(now), n))
    })
}

impl Fates {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.kept + self.moved + self.reset + self.refused + self.lost_already
    }

    /// Those that do not stay where they are.
    pub fn affected(&self) -> u64 {
        self.moved + self.reset + self.refused
    }

    fn add(&mut self, more: Fates) {
        self.kept += more.kept;
        self.moved += more.moved;
        self.reset += more.reset;
        self.refused += more.refused;
        self.lost_already += more.lost_already;
    }
}

impl Tally {
    pub(super) fn add(&mut self, more: Tally) {
        self.open.add(more.open);
        self.closing.add(more.closing);
    }

    /// Whether any flow does not stay where it is.
    pub fn is_affected(&self) -> bool {
        self.open.affected() + self.closing.affected() > 0
    }
}

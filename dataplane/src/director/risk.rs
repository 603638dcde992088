//! What would move if the flow table were lost: the connections whose real server is not what the hash says (the set
//! has changed since they began, or the policy goes by load or turn). Counted while ageing looks through the table.

use crate::clock::Tick;
use crate::director::flow::is_dispensable;
use crate::flow::{Flow, FlowKey};
use crate::forwarding::ForwardingState;

/// Tables with more flows than this are sampled: asking the hash costs more than looking at an entry.
const ALL: usize = 1 << 16;
/// One in so many flows of a large table is asked.
const SAMPLE: u64 = 16;

#[derive(Default)]
pub(super) struct Risk {
    seen: u64,
    at_risk: u64,
    is_sampling: bool,
}

impl Risk {
    pub(super) fn look(&mut self, state: &ForwardingState, key: &FlowKey, flow: &Flow, now: Tick) {
        self.seen += 1;
        if self.is_sampling && !self.seen.is_multiple_of(SAMPLE) {
            return;
        }
        let is_connection =
            !(flow.state.is_on_probation() || flow.state.is_closing() || flow.state.is_template());
        if is_connection && !is_dispensable(state, key, flow, now) {
            self.at_risk += 1;
        }
    }

    /// The whole table was looked through; it holds `flows` now. Returns how many of them are at risk.
    pub(super) fn finish(&mut self, flows: usize) -> u64 {
        let at_risk = self.at_risk * if self.is_sampling { SAMPLE } else { 1 };
        *self = Risk { is_sampling: flows > ALL, ..Risk::default() };
        at_risk
    }
}

//! What other directors told of their flows, for workers to read.

use crate::clock::Tick;
use crate::flow::{Destination, Flow, FlowKey, FlowReader, Timeouts};

/// What a flow is remembered longer than its director has said, in ticks: the way there, and until it is said again. One
/// that is closing is not.
pub const GRACE: u32 = 16;

/// Flows of other directors, and since when they may know better than this one.
#[derive(Debug, Clone)]
pub struct Synced {
    flows: FlowReader,
    since: Tick,
}

impl Synced {
    /// `flows`, by the ids of the state that this is part of. This director became the active one, or ceased to be, last at
    /// `since`: of a flow that had its last packet here before that, the other one may have seen the end, and the
    /// beginning of another one from the same port.
    pub fn new(flows: FlowReader, since: Tick) -> Synced {
        Synced { flows, since }
    }

    /// What was told of a flow that goes there, if it is remembered still.
    pub fn find(&self, to: Destination, key: &FlowKey, now: Tick) -> Option<Flow> {
        self.flows.find(to, key).filter(|flow| !flow.is_expired(now))
    }

    /// Whether the last packet of `own`, a flow that is remembered here, came before the others may have taken over.
    #[inline(always)]
    pub(crate) fn may_know_better(&self, own: &Flow, timeouts: &Timeouts, now: Tick) -> bool {
        age(own, timeouts.of(own.state), now) >= now.since(self.since)
    }

    /// Whether `told`, of the same flow, has had a packet there after the last one of `own` here.
    pub(crate) fn is_newer(told: &Flow, own: &Flow, timeouts: &Timeouts, now: Tick) -> bool {
        let grace = if told.state.is_closing() { 0 } else { GRACE };
        let there = age(told, timeouts.of(told.state) + grace, now);
        there < age(own, timeouts.of(own.state), now)
    }
}

/// Ticks since the last packet of a flow that is forgotten `lasts` ticks after it.
#[inline(always)]
fn age(flow: &Flow, lasts: u32, now: Tick) -> u32 {
    lasts.saturating_sub(flow.remaining(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Capacity, FlowState, FlowTable};
    use crate::id::RealSlot;

    #[test]
    fn only_what_had_a_packet_there_later_is_newer() {
        let (timeouts, now) = (Timeouts::default(), Tick::new(5));
        let flow = |seen: u32, state, grace| Flow {
            real: RealSlot(0),
            epoch: 0,
            state,
            expires: now.after(timeouts.of(state) + grace - seen),
        };
        let own = |seen| flow(seen, FlowState::Established, 0);
        for (state, grace) in [(FlowState::Established, GRACE), (FlowState::FinWait, 0)] {
            let newer = |seen| Synced::is_newer(&flow(40, state, grace), &own(seen), &timeouts, now);
            assert_eq!([39, 40, 41, 100].map(newer), [false, false, true, true], "{state:?}");
        }
        // Across the wrap of the ticks.
        let since = Tick::new(now.number() + (1 << 24) - 60);
        let synced = Synced::new(FlowTable::new(Capacity::each(64), 1).reader(), since);
        let asks = |seen| synced.may_know_better(&own(seen), &timeouts, now);
        assert_eq!([0, 59, 60, 100].map(asks), [false, false, true, true]);
    }
}

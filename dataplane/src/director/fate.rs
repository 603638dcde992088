//! What would become of a remembered flow under another forwarding state: what `shunt plan` says before a change. It stands
//! beside the rules of `director/flow.rs` and asks them, so that what is foretold is what then happens.
//!
//! *Invariants*: it leaves no trace: no counter, no turn of a scheduler; what it says is what the next packet of the flow
//! meets (the SYN again, of a handshake that is not complete; else one from the middle), if nothing else changes before:
//! neither what real servers hold, which thresholds go by, nor what other directors tell.

use crate::clock::Tick;
use crate::director::flow::{holder, question_of, resets};
use crate::flow::{Flow, FlowKey, FlowState};
use crate::forwarding::{ForwardingState, Service};
use crate::id::RealSlot;
use crate::packet::Protocol;
use crate::schedule::Taker;

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It goes on to the real server that it has.
    Kept,
    /// It goes to another real server with its next packet.
    Moved,
    /// Its client gets a RST in answer to its next segment.
    Reset,
    /// Nobody takes it: its service is gone, or has no real server for it.
    Refused,
}

/// What becomes under `after` of a flow that is remembered under `before`, the state that `after` was built upon (or
/// `after` itself). Templates are none: ask about flows only. A flow that another service takes over, which goes by turn, is
/// said to move, though it may be the turn of who has it.
pub fn fate(
    before: &ForwardingState,
    after: &ForwardingState,
    key: &FlowKey,
    flow: &Flow,
    now: Tick,
) -> Fate {
    let Some(former) = before.service(key.service) else { return Fate::Refused };
    let (address, protocol) = (former.key().address, former.key().protocol);
    let Some(id) = after.lookup_at(address, key.dst_port, protocol) else { return Fate::Refused };
    let Some(service) = after.service(id) else { return Fate::Refused };
    let is_syn = flow.state == FlowState::SynReceived;
    if id == key.service {
        if holder(service, flow.real, flow.epoch).is_some() {
            return Fate::Kept;
        }
        if resets(service, protocol, is_syn) {
            return Fate::Reset;
        }
    } else if service.options().strict && protocol == Protocol::Tcp && !is_syn {
        // To a service that has come between it is a flow from the middle of nowhere.
        return Fate::Reset;
    }
    let question = question_of(after, service, key, now);
    let real = |of: &Service, slot| of.real(slot).map(|real| real.address());
    let said = match service.scheduler().foretell(&question, service) {
        Taker::Nobody => return Fate::Refused,
        Taker::This(slot) => real(service, RealSlot(slot)),
        Taker::Somebody => None,
    };
    let is_same = id != key.service && said.is_some() && said == real(former, flow.real);
    if is_same { Fate::Kept } else { Fate::Moved }
}

//! What is known of one frame when its verdict is: five words, so that a record is written and read without a lock.

use crate::id::{RealSlot, ServiceId};
use crate::packet::MacAddress;
use crate::port::PortId;
use crate::verdict::{DropReason, Verdict};

/// Words of packed facts.
pub(super) const WORDS: usize = 5;

const HAS_SERVICE: u64 = 1;
const HAS_REAL: u64 = 2;
const SHOWS_SENT: u64 = 4;

/// A verdict that is final, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// It went to a real server.
    Forward,
    /// It ended here.
    Drop,
    /// It ended here, and its sender was told.
    Answer,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Outcome; 3] = [Outcome::Forward, Outcome::Drop, Outcome::Answer];

    /// The outcome and its reason; none while a frame waits.
    #[inline(always)]
    pub const fn of(verdict: Verdict) -> Option<(Outcome, Option<DropReason>)> {
        match verdict {
            Verdict::Forward(_) => Some((Outcome::Forward, None)),
            Verdict::Drop(reason) => Some((Outcome::Drop, Some(reason))),
            Verdict::Answer(reason) => Some((Outcome::Answer, Some(reason))),
            Verdict::Hold => None,
        }
    }

    /// The word for it in filters, comments and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Forward => "forward",
            Outcome::Drop => "drop",
            Outcome::Answer => "answer",
        }
    }
}

/// What a worker knows of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When, in milliseconds since the start; 48 bits are kept.
    pub millis: u64,
    /// How many frames of its class (forwarded, or not) the worker had had, this one included; 48 bits are kept.
    pub ordinal: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why; none if it was forwarded.
    pub reason: Option<DropReason>,
    /// Where it came in.
    pub ingress: PortId,
    /// Where it, or the answer, went out; else as `ingress`.
    pub egress: PortId,
    /// Generation of the forwarding state that decided; 32 bits are kept.
    pub generation: u64,
    /// Its service, if it has one.
    pub service: Option<ServiceId>,
    /// The real server that its flow is remembered with, and which tenant of the slot that is.
    pub real: Option<(RealSlot, u8)>,
    /// Destination MAC address of what was sent; zeros if nothing was.
    pub to: MacAddress,
    /// Length as received, bytes; 0: it was not kept.
    pub received: u16,
    /// Length as sent, bytes; 0: nothing was sent.
    pub sent: u16,
    /// The recorder had no time to keep what was received: the bytes beside the facts are those that were sent.
    pub shows_sent: bool,
}

impl Facts {
    /// The words, with two lengths of the caller's beside.
    #[inline]
    pub(super) fn pack(&self, kept: [u16; 2]) -> [u64; WORDS] {
        let [a, b, c, d, e, f] = self.to.0;
        let (service, has_service) = self.service.map_or((0, 0), |id| (id.0, HAS_SERVICE));
        let (slot, epoch, has_real) = self.real.map_or((0, 0, 0), |(slot, epoch)| (slot.0, epoch, HAS_REAL));
        let flags = has_service | has_real | if self.shows_sent { SHOWS_SENT } else { 0 };
        [
            self.millis << 16
                | u64::from(self.outcome as u8) << 8
                | self.reason.map_or(0, |r| u64::from(r as u8) + 1),
            self.ordinal << 16 | u64::from(self.ingress.0) << 8 | u64::from(self.egress.0),
            self.generation << 32 | u64::from(service) << 16 | u64::from(slot),
            u64::from_be_bytes([a, b, c, d, e, f, epoch, flags as u8]),
            u64::from(self.received) << 48
                | u64::from(self.sent) << 32
                | u64::from(kept[0]) << 16
                | u64::from(kept[1]),
        ]
    }

    /// Facts and the two lengths again; none if no facts were ever packed so.
    pub(super) fn unpack(words: [u64; WORDS]) -> Option<(Facts, [u16; 2])> {
        let [a, b, c, d, e, f, epoch, flags] = words[3].to_be_bytes();
        let flags = u64::from(flags);
        let reason = match words[0] as u8 {
            0 => None,
            n => Some(*DropReason::ALL.get(usize::from(n) - 1)?),
        };
        let facts = Facts {
            millis: words[0] >> 16,
            outcome: *Outcome::ALL.get(usize::from((words[0] >> 8) as u8))?,
            reason,
            ordinal: words[1] >> 16,
            ingress: PortId((words[1] >> 8) as u8),
            egress: PortId(words[1] as u8),
            generation: words[2] >> 32,
            service: (flags & HAS_SERVICE != 0).then_some(ServiceId((words[2] >> 16) as u16)),
            real: (flags & HAS_REAL != 0).then_some((RealSlot(words[2] as u16), epoch)),
            to: MacAddress([a, b, c, d, e, f]),
            received: (words[4] >> 48) as u16,
            sent: (words[4] >> 32) as u16,
            shows_sent: flags & SHOWS_SENT != 0,
        };
        Some((facts, [(words[4] >> 16) as u16, words[4] as u16]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Facts of any kind, numbered.
    pub fn any_facts() -> impl Strategy<Value = Facts> {
        let when = (0..1u64 << 48, 0..1u64 << 48, 0..1u64 << 32);
        let verdict = (0..3usize, 0..DropReason::ALL.len());
        let place = (any_port(), any_port(), proptest::option::of(any::<u16>()), any_real());
        let bytes = (any::<[u8; 6]>(), any::<u16>(), any::<u16>(), any::<bool>());
        (when, verdict, place, bytes).prop_map(|(when, (outcome, reason), place, bytes)| Facts {
            millis: when.0,
            ordinal: when.1,
            generation: when.2,
            outcome: Outcome::ALL[outcome],
            reason: (outcome > 0).then_some(DropReason::ALL[reason]),
            ingress: place.0,
            egress: place.1,
            service: place.2.map(ServiceId),
            real: place.3,
            to: MacAddress(bytes.0),
            received: bytes.1,
            sent: bytes.2,
            shows_sent: bytes.3,
        })
    }

    fn any_port() -> impl Strategy<Value = PortId> {
        any::<u8>().prop_map(PortId)
    }

    fn any_real() -> impl Strategy<Value = Option<(RealSlot, u8)>> {
        proptest::option::of((any::<u16>(), any::<u8>()).prop_map(|(slot, epoch)| (RealSlot(slot), epoch)))
    }

    proptest! {
        #[test]
        fn facts_come_out_of_their_words_as_they_went_in(facts in any_facts(), kept: [u16; 2]) {
            prop_assert_eq!(Facts::unpack(facts.pack(kept)), Some((facts, kept)));
        }

        #[test]
        fn words_that_nobody_packed_do_no_harm(words: [u64; WORDS]) {
            let _ = Facts::unpack(words);
        }
    }
}

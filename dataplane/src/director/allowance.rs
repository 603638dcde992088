//! How often the director itself may speak: token buckets for ICMP and for RST, so that whoever floods it with packets
//! that ask for an answer cannot make it flood others (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 f).
//!
//! Half of each rate is kept for what only real clients ask for and break without: "too big", without which an upload
//! stands still, and the RST that ends a connection whose real server is gone. What anybody can ask for by any packet
//! (time exceeded, unreachable, a RST to an unknown flow) has the other half.

use crate::answer::Answer;
use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::verdict::DropReason;

/// Answers a second that one worker may give; a second's worth at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// ICMP and ICMPv6 errors.
    pub icmp: u32,
    /// RSTs.
    pub reset: u32,
}

impl Default for Rates {
    /// Linux's limit for ICMP (`icmp_msgs_per_sec`); ten times that for RSTs, which each end one connection.
    fn default() -> Self {
        Rates { icmp: 1_000, reset: 10_000 }
    }
}

pub(super) struct Allowance {
    too_big: Bucket,
    icmp: Bucket,
    gone: Bucket,
    reset: Bucket,
}

impl Allowance {
    pub(super) fn new(rates: Rates) -> Self {
        let half = |rate: u32| Bucket::new(rate.div_ceil(2));
        Allowance {
            too_big: half(rates.icmp),
            icmp: half(rates.icmp),
            gone: half(rates.reset),
            reset: half(rates.reset),
        }
    }

    /// Whether such an answer may be given now; then it counts as given.
    pub(super) fn take(&mut self, told: Answer, reason: DropReason, now: Tick) -> bool {
        match (told, reason) {
            (Answer::TooBig { .. }, _) => self.too_big.take(now),
            (Answer::Reset, DropReason::RealGone) => self.gone.take(now),
            (Answer::Reset, _) => self.reset.take(now),
            (Answer::TimeExceeded | Answer::PortUnreachable, _) => self.icmp.take(now),
        }
    }
}

/// Tokens of a quarter of an answer: `rate` of them come with each tick.
struct Bucket {
    rate: u32,
    tokens: u64,
    filled: Tick,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Bucket { rate, tokens: u64::from(rate) * u64::from(TICKS_PER_SECOND), filled: Tick::default() }
    }

    fn take(&mut self, now: Tick) -> bool {
        let ticks = u64::from(now.since(self.filled));
        if ticks > 0 {
            let (rate, second) = (u64::from(self.rate), u64::from(TICKS_PER_SECOND));
            self.tokens = (self.tokens + rate * ticks).min(rate * second);
            self.filled = now;
        }
        let left = self.tokens.checked_sub(u64::from(TICKS_PER_SECOND));
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(allowance: &mut Allowance, told: Answer, reason: DropReason, now: Tick) -> u32 {
        let mut given = 0;
        while given < 1_000_000 && allowance.take(told, reason, now) {
            given += 1;
        }
        given
    }

    #[test]
    fn a_second_brings_the_rate_and_no_more_gathers_in_silence() {
        let mut allowance = Allowance::new(Rates { icmp: 200, reset: 14 });
        let mut icmp =
            |now| answers(&mut allowance, Answer::PortUnreachable, DropReason::NoReal, Tick::new(now));
        assert_eq!([icmp(0), icmp(1), icmp(1000)], [100, 25, 100]);
        // Each kind has a bucket of its own: a flood of one asks in vain for the others.
        let too_big = Answer::TooBig { mtu: 1400 };
        assert_eq!(answers(&mut allowance, too_big, DropReason::TooBig, Tick::new(1000)), 100);
        assert_eq!(answers(&mut allowance, Answer::Reset, DropReason::FlowUnknown, Tick::new(1000)), 7);
        assert_eq!(answers(&mut allowance, Answer::Reset, DropReason::RealGone, Tick::new(1000)), 7);
    }

    #[test]
    fn a_rate_of_zero_is_silence() {
        let mut allowance = Allowance::new(Rates { icmp: 0, reset: 0 });
        assert_eq!(answers(&mut allowance, Answer::TimeExceeded, DropReason::TtlExpired, Tick::new(1000)), 0);
    }
}

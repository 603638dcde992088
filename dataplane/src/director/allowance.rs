//! How often the director itself may speak: a token bucket for ICMP and one for RST, so that whoever floods it with
//! packets that ask for an answer cannot make it flood others (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 f).

use crate::answer::Answer;
use crate::clock::{TICKS_PER_SECOND, Tick};

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
    icmp: Bucket,
    reset: Bucket,
}

impl Allowance {
    pub(super) fn new(rates: Rates) -> Self {
        Allowance { icmp: Bucket::new(rates.icmp), reset: Bucket::new(rates.reset) }
    }

    /// Whether such an answer may be given now; then it counts as given.
    pub(super) fn take(&mut self, told: Answer, now: Tick) -> bool {
        if told == Answer::Reset { self.reset.take(now) } else { self.icmp.take(now) }
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

    fn answers(allowance: &mut Allowance, told: Answer, now: Tick) -> u32 {
        let mut given = 0;
        while given < 1_000_000 && allowance.take(told, now) {
            given += 1;
        }
        given
    }

    #[test]
    fn a_second_brings_the_rate_and_no_more_gathers_in_silence() {
        let mut allowance = Allowance::new(Rates { icmp: 100, reset: 7 });
        let icmp = Answer::PortUnreachable;
        assert_eq!(answers(&mut allowance, icmp, Tick::new(0)), 100);
        assert_eq!(answers(&mut allowance, icmp, Tick::new(1)), 25);
        assert_eq!(answers(&mut allowance, icmp, Tick::new(1000)), 100);
        assert_eq!(answers(&mut allowance, Answer::Reset, Tick::new(1000)), 7, "a bucket of its own");
    }

    #[test]
    fn a_rate_of_zero_is_silence() {
        let mut allowance = Allowance::new(Rates { icmp: 0, reset: 0 });
        assert_eq!(answers(&mut allowance, Answer::TimeExceeded, Tick::new(1000)), 0);
    }
}

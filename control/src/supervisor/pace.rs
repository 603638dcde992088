//! When what has come in is compiled. One real server fails, and workers know at once. A thousand fail one after the other, as
//! their checks come to it, and a state apiece would keep the control thread from all else for as long as a thousand
//! compilations take.
//!
//! *Invariants*
//! - after a rest, what comes in is compiled at once;
//! - a compilation is followed by a rest as long as it took itself, so that compiling has half of the control thread at
//!   most; all that comes in meanwhile is one compilation;
//! - pure: times come in.

use std::time::{Duration, Instant};

/// Whatever it took, a rest is no longer: a real server that failed is not kept.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Until when it rests.
#[derive(Debug)]
pub(super) struct Pace {
    rested: Instant,
}

impl Pace {
    /// Rested.
    pub(super) fn new(now: Instant) -> Pace {
        Pace { rested: now }
    }

    /// A compilation took from `began` to `now`.
    pub(super) fn compiled(&mut self, began: Instant, now: Instant) {
        self.rested = now + now.saturating_duration_since(began).min(LONGEST_REST);
    }

    /// When the next one may be.
    pub(super) fn rested(&self) -> Instant {
        self.rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compilations, and the longest wait for one, when events come in each `every` and one takes `takes`, until `end`.
    fn storm(every: Duration, takes: Duration, end: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let (mut pace, mut clock, mut next) = (Pace::new(start), start, start);
        let (mut count, mut longest) = (0, Duration::ZERO);
        while next < start + end {
            // The loop waits for an event, and then until it is rested: what has come in by then is one.
            let first = next;
            clock = clock.max(first).max(pace.rested());
            while next <= clock {
                next += every;
            }
            let began = clock;
            clock += takes;
            pace.compiled(began, clock);
            count += 1;
            longest = longest.max(clock - first);
        }
        (count, longest)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_storm_of_events_makes_few_compilations() {
        // Ten thousand events in a second, 20 ms each: 200 s of compiling if each had its own.
        let (count, longest) = storm(MS / 10, 20 * MS, 1000 * MS);
        assert!((24..=26).contains(&count), "{count}");
        assert!(longest <= 61 * MS, "{longest:?}");
    }

    #[test]
    fn a_lone_event_waits_for_nothing() {
        let (count, longest) = storm(100 * MS, 20 * MS, 1000 * MS);
        assert_eq!((count, longest), (10, 20 * MS));
    }

    #[test]
    fn no_rest_is_long() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.compiled(now, now + 10_000 * MS);
        assert_eq!(pace.rested(), now + 10_000 * MS + LONGEST_REST);
    }
}

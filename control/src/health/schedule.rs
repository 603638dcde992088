//! When the probes of one check are made.
//!
//! A check has a grid of its own, `interval` wide, whose phase is drawn from what it checks: a thousand checks a second
//! are then one a millisecond, and two runs can be compared. Only the first probe is not on the grid: whoever starts a
//! director waits for it.
//!
//! *Invariants*
//! - a probe is made at most `interval` after the end of the one before, however long that took, if the server was well
//!   or is down; a failed probe of a server that is up is followed after `retry` by the next, if there is such a time;
//! - so a server that falls silent is found out within `interval + fall * timeout + (fall - 1) * retry`, which is
//!   keepalived's `delay_loop + (retry + 1) * connect_timeout + retry * delay_before_retry`;
//! - no drift: the grid is that of the start for ever.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Timing;

/// Checks that start together start within this: a burst of connections, but no wait anyone notices.
const SPREAD: Duration = Duration::from_millis(100);

/// If they are many, one starts after this on the average: the control thread can do no more.
const APART: Duration = Duration::from_micros(100);

/// With a warm-up nothing is probed before this (keepalived's `BOOTSTRAP_DELAY`).
const BOOTSTRAP: Duration = Duration::from_secs(1);

/// The times of one check.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// A point of the grid.
    grid: Instant,
    interval: Duration,
    retry: Option<Duration>,
}

/// What the last result asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next point of the grid.
    Interval,
    /// The server is up and fails: soon again.
    Retry,
    /// The next of several requests, which wait for nothing.
    Now,
}

impl Schedule {
    /// The schedule of a check that starts `now` with `together` checks in all, and its first probe. `draw` is 0-1,
    /// another one for every check.
    pub(super) fn start(now: Instant, timing: &Timing, together: usize, draw: f64) -> (Schedule, Instant) {
        let interval = timing.interval.max(Duration::from_millis(1));
        let many = APART.saturating_mul(u32::try_from(together).unwrap_or(u32::MAX));
        let (epoch, within) = match timing.warmup {
            None => (now, SPREAD.min(interval / 10).max(many).min(interval)),
            Some(warmup) => (now + BOOTSTRAP, warmup),
        };
        let schedule = Schedule { grid: epoch + interval.mul_f64(draw), interval, retry: timing.retry };
        (schedule, epoch + within.mul_f64(draw))
    }

    /// The next probe after one that ended at `ended`.
    pub(super) fn next(&self, ended: Instant, next: Next) -> Instant {
        match (next, self.retry) {
            (Next::Now, _) => ended,
            (Next::Retry, Some(retry)) => ended + retry,
            (Next::Retry, None) | (Next::Interval, _) => self.after(ended),
        }
    }

    /// The first point of the grid after `time`.
    fn after(&self, time: Instant) -> Instant {
        let Some(past) = time.checked_duration_since(self.grid) else { return self.grid };
        let into = past.as_nanos() % self.interval.as_nanos();
        // Less than an interval, so that it fits.
        time + self.interval - Duration::from_nanos(into as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::{Health, Status};

    fn timing(interval: u64, timeout: u64, retry: Option<u64>, fall: u32) -> Timing {
        let ms = Duration::from_millis;
        Timing {
            interval: ms(interval),
            timeout: ms(timeout),
            retry: retry.map(ms),
            rise: 1,
            fall,
            warmup: None,
        }
    }

    /// How long it takes until a server is found out that falls silent at `silent` after the start.
    fn detection(timing: &Timing, draw: f64, silent: Duration) -> Duration {
        let begin = Instant::now();
        let (schedule, mut now) = Schedule::start(begin, timing, 1, draw);
        let mut health = Health::new(timing.rise, timing.fall);
        loop {
            // A good server answers at once.
            let answers = now < begin + silent;
            let ended = if answers { now } else { now + timing.timeout };
            health.record(ended.into_std(), if answers { Ok(()) } else { Err(String::new()) });
            if health.status() == Status::Down {
                return ended - (begin + silent);
            }
            now = schedule.next(ended, if answers { Next::Interval } else { Next::Retry });
        }
    }

    /// The formula.
    fn worst(timing: &Timing) -> Duration {
        let retry = timing.retry.unwrap_or(timing.interval);
        timing.interval + timing.fall * timing.timeout + (timing.fall - 1) * retry
    }

    /// Two set-ups that people have published: 27 s and 12 s.
    #[test]
    fn a_silent_server_is_found_out_within_the_time_that_keepalived_takes_and_not_much_sooner() {
        for (timing, worst_ms) in
            [(timing(6000, 3000, Some(3000), 4), 27_000), (timing(3000, 3000, Some(3000), 2), 12_000)]
        {
            assert_eq!(worst(&timing), Duration::from_millis(worst_ms));
            // Just after a probe that went well.
            let just_after = (1..=6000).map(Duration::from_millis).map(|at| detection(&timing, 0.0, at));
            let longest = just_after.max().unwrap();
            assert!(longest <= worst(&timing), "{longest:?}");
            assert!(longest + Duration::from_millis(2) > worst(&timing), "{longest:?}");
        }
    }

    #[test]
    fn the_first_probe_is_made_soon_or_within_the_warm_up() {
        let now = Instant::now();
        let mut timing = timing(60_000, 1000, None, 3);
        let first = |timing: &Timing, draw| Schedule::start(now, timing, 1, draw).1 - now;
        assert_eq!(first(&timing, 1.0), SPREAD);
        let first_of = |checks| Schedule::start(now, &timing, checks, 1.0).1 - now;
        assert_eq!([1000, 5000, usize::MAX].map(first_of), [SPREAD, SPREAD * 5, timing.interval]);
        timing.warmup = Some(Duration::from_secs(10));
        assert_eq!(first(&timing, 0.0), BOOTSTRAP);
        assert_eq!(first(&timing, 0.5), Duration::from_secs(6));
        timing.warmup = None;
        timing.interval = Duration::from_millis(200);
        assert_eq!(first(&timing, 1.0), Duration::from_millis(20));
    }

    #[test]
    fn from_the_second_probe_on_checks_are_spread_over_the_whole_interval() {
        let now = Instant::now();
        let timing = timing(1000, 500, None, 3);
        let mut seconds: Vec<Duration> = (0..1000)
            .map(|n| {
                let (schedule, first) = Schedule::start(now, &timing, 1000, f64::from(n) / 1000.0);
                schedule.next(first, Next::Interval) - now
            })
            .collect();
        seconds.sort();
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_millis(3)));
    }

    proptest! {
        #[test]
        fn no_silent_server_takes_longer_than_the_formula_says(
            interval in 1u64..5000,
            timeout in 1u64..5000,
            retry in proptest::option::of(0u64..5000),
            fall in 1u32..6,
            draw in 0.0..1.0,
            silent in 0u64..20_000,
        ) {
            let timing = timing(interval, timeout, retry, fall);
            let detection = detection(&timing, draw, Duration::from_millis(silent));
            prop_assert!(detection <= worst(&timing), "{detection:?} and not {:?}", worst(&timing));
        }

        #[test]
        fn the_next_point_of_the_grid_is_at_most_an_interval_away(
            interval in 1u64..100_000,
            draw in 0.0..1.0,
            ended in 0u64..10_000_000,
        ) {
            let now = Instant::now();
            let timing = timing(interval, 1000, Some(7), 2);
            let (schedule, first) = Schedule::start(now, &timing, 1, draw);
            let ended = first + Duration::from_micros(ended);
            let next = schedule.next(ended, Next::Interval);
            prop_assert!(next > ended && next - ended <= timing.interval);
            prop_assert_eq!((next - schedule.grid).as_nanos() % timing.interval.as_nanos(), 0);
            prop_assert_eq!(schedule.next(ended, Next::Retry) - ended, Duration::from_millis(7));
            prop_assert_eq!(schedule.next(ended, Next::Now), ended);
        }
    }
}

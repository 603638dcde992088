//! What a row of results means: rise and fall, as keepalived and HAProxy have them, but for one thing. The first
//! result decides at once, whatever was assumed before, so that a director that starts does not keep a good server out
//! for `rise` intervals, nor a dead one in for `fall` of them.
//!
//! *Invariants*
//! - after the first result `Up` turns to `Down` after `fall` failures in a row and nothing else, `Down` to `Up` after
//!   `rise` successes;
//! - `Unknown` ends with the first result and never comes back.

use std::fmt;
use std::time::{Duration, Instant};

use super::Weight;
use crate::model::{HealthCheck, Start};

/// What a check knows about its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// No result yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// The history of one check, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    rise: u32,
    fall: u32,
    status: Status,
    /// The status is more than an assumption: from now on it takes `rise` or `fall` results to change it.
    is_decided: bool,
    since: Option<Instant>,
    streak: u32,
    last_failed: bool,
    last_error: Option<String>,
    weight: Option<Weight>,
    took: Option<Duration>,
    took_total: Duration,
    timed: u64,
    probes: u64,
    failures: u64,
}

impl Health {
    /// No result yet. `rise` and `fall` count from 1; 0 means 1.
    pub fn new(rise: u32, fall: u32) -> Health {
        Health {
            rise: rise.max(1),
            fall: fall.max(1),
            status: Status::Unknown,
            is_decided: false,
            since: None,
            streak: 0,
            last_failed: false,
            last_error: None,
            weight: None,
            took: None,
            took_total: Duration::ZERO,
            timed: 0,
            probes: 0,
            failures: 0,
        }
    }

    /// No result yet of a check as it is configured.
    pub fn starting(check: &HealthCheck) -> Health {
        let status = match check.start {
            Start::Unknown => Status::Unknown,
            Start::Up => Status::Up,
        };
        Health { status, ..Health::new(check.timing.rise, check.timing.fall) }
    }

    /// No result yet of a check of a server that is up by what was known so far: it stays up until `fall` results say
    /// otherwise, so that configuring a check takes nobody out.
    pub fn assumed_up(rise: u32, fall: u32) -> Health {
        Health { status: Status::Up, is_decided: true, ..Health::new(rise, fall) }
    }

    /// Takes in one result; the status before if this result changed it.
    pub fn record(&mut self, now: Instant, result: Result<(), String>) -> Option<Status> {
        let failed = result.is_err();
        self.streak =
            if self.streak > 0 && failed == self.last_failed { self.streak.saturating_add(1) } else { 1 };
        self.count(failed);
        if let Err(error) = result {
            self.last_error = Some(error);
        }
        let after = match (self.status, failed) {
            (_, true) if !self.is_decided => Status::Down,
            (_, false) if !self.is_decided => Status::Up,
            (Status::Up, true) if self.streak >= self.fall => Status::Down,
            (Status::Down, false) if self.streak >= self.rise => Status::Up,
            (same, _) => same,
        };
        self.is_decided = true;
        let before = std::mem::replace(&mut self.status, after);
        if before != after || self.since.is_none() {
            self.since = Some(now);
        }
        (before != after).then_some(before)
    }

    /// One of several requests succeeded, and not yet all of them: as good as all for a server that is up, nothing for
    /// one that is not.
    pub fn record_part(&mut self, now: Instant) {
        if self.status == Status::Up && self.is_decided {
            self.record(now, Ok(()));
        } else {
            self.count(false);
            self.streak = 0;
        }
    }

    fn count(&mut self, failed: bool) {
        self.last_failed = failed;
        self.probes += 1;
        self.failures += u64::from(failed);
    }

    /// Remembers why a probe gave no result; whether that is news.
    pub fn note(&mut self, error: String) -> bool {
        let is_news = self.last_error.as_ref() != Some(&error);
        self.last_error = Some(error);
        is_news
    }

    /// Remembers what a success said of the weight; whether that is news.
    pub fn weigh(&mut self, weight: Option<Weight>) -> bool {
        let before = std::mem::replace(&mut self.weight, weight);
        before != weight
    }

    /// Remembers how long the last probe took.
    pub fn time(&mut self, took: Duration) {
        self.took = Some(took);
        self.took_total += took;
        self.timed += 1;
    }

    /// The same history under other thresholds: a check whose timing was configured anew.
    pub fn with_thresholds(&self, rise: u32, fall: u32) -> Health {
        Health { rise: rise.max(1), fall: fall.max(1), streak: 0, ..self.clone() }
    }

    /// The status now.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Since when the status is what it is, by a result; `None` before the first.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Equal results in a row, up to the last one.
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// Whether the last result was a failure: with `Status::Up` the server is failing but not yet out.
    pub fn failing(&self) -> bool {
        self.last_failed
    }

    /// Why the last failed probe failed, also after a success.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// What the last success said of the real server's weight.
    pub fn weight(&self) -> Option<Weight> {
        self.weight
    }

    /// How long the last probe took; `None` before the first.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// How long all probes took together, and how many that were, those without a result included.
    pub fn took_total(&self) -> (Duration, u64) {
        (self.took_total, self.timed)
    }

    /// Probes with a result.
    pub fn probes(&self) -> u64 {
        self.probes
    }

    /// Those of them that failed.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Unknown => "unknown",
            Status::Up => "up",
            Status::Down => "down",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Probe;

    fn failure() -> Result<(), String> {
        Err("connection refused".into())
    }

    #[test]
    fn the_first_result_decides_at_once() {
        let now = Instant::now();
        let mut good = Health::new(3, 3);
        assert_eq!((good.status(), good.since()), (Status::Unknown, None));
        assert_eq!(good.record(now, Ok(())), Some(Status::Unknown));
        assert_eq!((good.status(), good.since()), (Status::Up, Some(now)));
        let mut bad = Health::new(3, 3);
        bad.record(now, failure());
        assert_eq!((bad.status(), bad.last_error()), (Status::Down, Some("connection refused")));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let now = Instant::now();
        let mut health = Health::new(1, 3);
        for result in [Ok(()), failure(), failure(), Ok(()), failure(), failure()] {
            health.record(now, result);
        }
        assert_eq!((health.status(), health.streak(), health.failing()), (Status::Up, 2, true));
        let later = now + Duration::from_secs(1);
        assert_eq!(health.record(later, failure()), Some(Status::Up));
        assert_eq!((health.status(), health.since()), (Status::Down, Some(later)));
    }

    #[test]
    fn other_thresholds_keep_the_status_and_count_anew() {
        let now = Instant::now();
        let mut health = Health::new(1, 2);
        for result in [Ok(()), failure()] {
            health.record(now, result);
        }
        let mut health = health.with_thresholds(1, 2);
        assert_eq!(health.record(now, failure()), None);
        assert_eq!(health.record(now, failure()), Some(Status::Up));
    }

    #[test]
    fn a_server_that_is_assumed_well_goes_down_with_the_first_failure_if_it_comes_first() {
        let check = HealthCheck { start: Start::Up, ..HealthCheck::new(Probe::Tcp, 80) };
        let (now, mut bad) = (Instant::now(), Health::starting(&check));
        assert_eq!((bad.status(), bad.since()), (Status::Up, None));
        assert_eq!(bad.record(now, failure()), Some(Status::Up));
        assert_eq!((bad.status(), bad.since()), (Status::Down, Some(now)));
        // After a success it takes `fall` of them.
        let mut good = Health::starting(&check);
        assert_eq!(good.record(now, Ok(())), None);
        assert_eq!(good.since(), Some(now));
        assert_eq!(good.record(now, failure()), None);
    }

    #[test]
    fn a_server_that_was_up_takes_more_than_one_failure_of_a_new_check() {
        let mut health = Health::assumed_up(1, 2);
        let now = Instant::now();
        assert_eq!(health.record(now, failure()), None);
        assert_eq!(health.record(now, failure()), Some(Status::Up));
    }

    #[test]
    fn a_part_of_the_requests_ends_a_row_of_failures_but_brings_nobody_up() {
        let now = Instant::now();
        let mut health = Health::new(1, 2);
        health.record_part(now);
        assert_eq!((health.status(), health.streak()), (Status::Unknown, 0));
        health.record(now, Ok(()));
        for _ in 0..2 {
            health.record(now, failure());
            health.record_part(now);
        }
        assert_eq!(health.status(), Status::Up);
        health.record(now, failure());
        assert_eq!(health.record(now, failure()), Some(Status::Up));
        health.record_part(now);
        assert_eq!((health.status(), health.probes(), health.failures()), (Status::Down, 9, 4));
    }

    /// The definition, looked up in the whole history each time.
    fn model(rise: usize, fall: usize, results: &[bool]) -> Status {
        let mut status = Status::Unknown;
        for end in 1..=results.len() {
            let row = |good: bool, length: usize| {
                end >= length && results[end - length..end].iter().all(|result| *result == good)
            };
            status = match status {
                Status::Unknown if results[0] => Status::Up,
                Status::Unknown => Status::Down,
                Status::Up if row(false, fall) => Status::Down,
                Status::Down if row(true, rise) => Status::Up,
                same => same,
            };
        }
        status
    }

    proptest! {
        #[test]
        fn any_row_of_results_leads_where_the_definition_says(
            rise in 1usize..5,
            fall in 1usize..5,
            results in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let start = Instant::now();
            let mut health = Health::new(rise as u32, fall as u32);
            let mut since = None;
            for (step, good) in results.iter().enumerate() {
                let now = start + Duration::from_secs(step as u64);
                let before = model(rise, fall, &results[..step]);
                let after = model(rise, fall, &results[..=step]);
                let changed = health.record(now, if *good { Ok(()) } else { failure() });
                prop_assert_eq!(health.status(), after);
                prop_assert_eq!(changed, (before != after).then_some(before));
                if before != after {
                    since = Some(now);
                }
                prop_assert_eq!(health.since(), since);
                let row = results[..=step].iter().rev().take_while(|result| *result == good).count();
                prop_assert_eq!(health.streak() as usize, row);
            }
        }
    }
}

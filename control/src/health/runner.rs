//! Makes the checks: one task per check, each on its own schedule.
//!
//! *Invariants*
//! - probes of one check never overlap, so there are at most as many sockets as checks;
//! - an unchanged check is never restarted by [`Runner::set`]; one that probes the same as one before, at other times,
//!   keeps its history;
//! - an [`Event`] is sent after the result is in [`Runner::view`].
//!
//! # Several requests
//! A check with several requests makes one a probe, in turn, each `interval` after the one before, and begins again with
//! the first: a server with k requests is looked at as often as any other, and each request every k intervals. Each
//! request that fails counts, and is made again until it succeeds or the server is out. For a server that is not up a
//! round counts only as a whole: the request that failed is made until it succeeds, then all of them from the first on;
//! with `fast_recovery` (and then at the start as well) these wait for no interval. All this is keepalived's way, read
//! off `epilog()` in its check_http.c.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::probe::{Prober, Rules, requests};
use super::schedule::{Next, Schedule};
use super::{CheckKey, Failure, Health, HealthView, Status, Success, Weight};
use crate::model::{Probe, Scripts, Target};

/// A result that matters to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The status changed.
    Changed {
        /// Which check.
        key: Arc<CheckKey>,
        /// The status it had.
        before: Status,
        /// The status it has.
        after: Status,
        /// Why, if the result was a failure.
        reason: Option<String>,
    },
    /// The first failure after a success; the status is the same still. A good moment to ask whether the real server's
    /// MAC address is still right.
    Failing {
        /// Which check.
        key: Arc<CheckKey>,
        /// Why.
        reason: String,
    },
    /// A server that stays as it is has another weight.
    Weight {
        /// Which check.
        key: Arc<CheckKey>,
        /// What it says now.
        weight: Option<Weight>,
    },
}

/// Runs a set of checks until it is dropped.
pub struct Runner<E> {
    checks: HashMap<Arc<CheckKey>, Running>,
    events: UnboundedSender<E>,
    prepare: Prepare,
    rules: Rules,
    worst_lateness: Arc<AtomicU64>,
}

struct Running {
    health: Arc<Mutex<Health>>,
    task: JoinHandle<()>,
}

type ProbeResult = Pin<Box<dyn Future<Output = Result<Success, Failure>> + Send>>;
/// Makes one probe: of several requests the one with this number.
type MakeProbe = Box<dyn Fn(usize) -> ProbeResult + Send>;
type Prepare = fn(Arc<CheckKey>, Rules) -> MakeProbe;

/// What makes two checks the same but for their times.
type Subject<'a> = (IpAddr, &'a Probe, &'a Target);

impl<E: From<Event> + Send + 'static> Runner<E> {
    /// Runs nothing yet; events go to `events` as long as someone listens.
    pub fn new(events: UnboundedSender<E>) -> Runner<E> {
        Runner::with(events, |key, rules| {
            let prober = Arc::new(Prober::new(key, rules));
            Box::new(move |turn| {
                let prober = prober.clone();
                Box::pin(async move { prober.probe(turn).await })
            })
        })
    }

    fn with(events: UnboundedSender<E>, prepare: Prepare) -> Runner<E> {
        Runner {
            checks: HashMap::new(),
            events,
            prepare,
            rules: Rules::default(),
            worst_lateness: Arc::default(),
        }
    }

    /// The rules for programs from the next probe on.
    pub fn set_scripts(&mut self, rules: Scripts) {
        *self.rules.lock().expect("no holder of this lock panics") = Arc::new(rules);
    }

    /// Makes `wanted` the checks that run. Unchanged ones keep running, new ones start now, others stop. One that
    /// only has other times or thresholds starts with the status it had. Must be called on a tokio runtime.
    pub fn set(&mut self, wanted: impl IntoIterator<Item = CheckKey>) {
        self.set_assuming(wanted, |_| false);
    }

    /// As [`Runner::set`]; a new check starts as up if `is_up` says that its server is, by what was known so far.
    pub fn set_assuming(
        &mut self,
        wanted: impl IntoIterator<Item = CheckKey>,
        is_up: impl Fn(&CheckKey) -> bool,
    ) {
        let wanted: HashSet<CheckKey> = wanted.into_iter().collect();
        let new = self.beginning(&wanted, is_up);
        self.checks.retain(|key, _| wanted.contains(&**key));
        let together = new.len();
        for (key, health) in new {
            let key = Arc::new(key);
            let running = self.start(key.clone(), health, together);
            self.checks.insert(key, running);
        }
    }

    /// What [`Runner::view`] would say right after [`Runner::set_assuming`].
    pub fn foresee(
        &self,
        wanted: impl IntoIterator<Item = CheckKey>,
        is_up: impl Fn(&CheckKey) -> bool,
    ) -> HealthView {
        let wanted: HashSet<CheckKey> = wanted.into_iter().collect();
        let stay = self.checks.iter().filter(|(key, _)| wanted.contains(&***key));
        let stay = stay.map(|(key, running)| (CheckKey::clone(key), running.snapshot()));
        stay.chain(self.beginning(&wanted, is_up)).collect()
    }

    /// Those of `wanted` that are new, and the health with which they begin.
    fn beginning(
        &self,
        wanted: &HashSet<CheckKey>,
        is_up: impl Fn(&CheckKey) -> bool,
    ) -> Vec<(CheckKey, Health)> {
        let known: HashMap<Subject<'_>, Health> =
            self.checks.iter().map(|(key, running)| (key.subject(), running.snapshot())).collect();
        let new = wanted.iter().filter(|key| !self.checks.contains_key(*key));
        new.map(|key| {
            let timing = &key.check.timing;
            let health = match known.get(&key.subject()) {
                Some(before) => before.with_thresholds(timing.rise, timing.fall),
                None if is_up(key) => Health::assumed_up(timing.rise, timing.fall),
                None => Health::starting(&key.check),
            };
            (key.clone(), health)
        })
        .collect()
    }

    /// The health of every check now.
    pub fn view(&self) -> HealthView {
        self.checks.iter().map(|(key, running)| (key.clone(), running.snapshot())).collect()
    }

    /// The health of these checks now, as far as they run.
    pub fn view_of(&self, keys: impl IntoIterator<Item = CheckKey>) -> HealthView {
        let known = |key: CheckKey| {
            let (key, running) = self.checks.get_key_value(&key)?;
            Some((key.clone(), running.snapshot()))
        };
        keys.into_iter().filter_map(known).collect()
    }

    /// How late a probe has started at most, since the runner was made: what a busy control thread costs.
    pub fn worst_lateness(&self) -> Duration {
        Duration::from_micros(self.worst_lateness.load(Ordering::Relaxed))
    }

    fn start(&self, key: Arc<CheckKey>, health: Health, together: usize) -> Running {
        let health = Arc::new(Mutex::new(health));
        let start = Schedule::start(Instant::now(), &key.check.timing, together, draw(&key));
        let task = tokio::spawn(run(
            key.clone(),
            start,
            (self.prepare)(key, self.rules.clone()),
            health.clone(),
            self.events.clone(),
            self.worst_lateness.clone(),
        ));
        Running { health, task }
    }
}

impl Running {
    fn snapshot(&self) -> Health {
        self.health.lock().expect("no holder of this lock panics").clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CheckKey {
    fn subject(&self) -> Subject<'_> {
        (self.address, &self.check.probe, &self.check.target)
    }
}

async fn run<E: From<Event>>(
    key: Arc<CheckKey>,
    (schedule, mut due): (Schedule, Instant),
    probe: MakeProbe,
    health: Arc<Mutex<Health>>,
    events: UnboundedSender<E>,
    worst_lateness: Arc<AtomicU64>,
) {
    let mut round = Round::of(&key.check.probe);
    loop {
        tokio::time::sleep_until(due).await;
        worst_lateness.fetch_max(due.elapsed().as_micros() as u64, Ordering::Relaxed);
        let began = Instant::now();
        let result = probe(round.turn).await;
        let ended = Instant::now();
        let (event, next) = record(&key, &health, &mut round, result, ended - began);
        due = schedule.next(ended, next);
        if let Some(event) = event {
            // Nobody listens any more: the view is still kept.
            let _ = events.send(event.into());
        }
    }
}

/// The requests of one check, in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Round {
    requests: usize,
    /// The one that is made next.
    turn: usize,
    /// That one failed.
    failed: bool,
    is_fast: bool,
}

impl Round {
    fn of(probe: &Probe) -> Round {
        let is_fast = matches!(probe, Probe::Http(http) if http.fast_recovery);
        Round { requests: requests(probe), turn: 0, failed: false, is_fast }
    }

    fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether all requests have succeeded with this one.
    fn succeed(&mut self, status: Status) -> bool {
        let again = std::mem::take(&mut self.failed) && status != Status::Up && self.requests > 1;
        self.turn = if again { 0 } else { (self.turn + 1) % self.requests };
        self.turn == 0 && !again
    }
}

/// Takes in a result: what is to be told, and when the next probe is made.
fn record(
    key: &Arc<CheckKey>,
    health: &Mutex<Health>,
    round: &mut Round,
    result: Result<Success, Failure>,
    took: Duration,
) -> (Option<Event>, Next) {
    let mut health = health.lock().expect("no holder of this lock panics");
    let now = Instant::now().into_std();
    health.time(took);
    match result {
        Ok(Success { weight }) => {
            let is_news = health.weigh(weight);
            if !round.succeed(health.status()) {
                let is_up = health.status() == Status::Up && health.since().is_some();
                let waits = is_up || !round.is_fast;
                health.record_part(now);
                return (None, if waits { Next::Interval } else { Next::Now });
            }
            let event = match health.record(now, Ok(())) {
                Some(before) => Some(changed(key, before, health.status(), None)),
                None => is_news.then(|| Event::Weight { key: key.clone(), weight }),
            };
            (event, Next::Interval)
        }
        Err(failure) if failure.counts() => {
            round.fail();
            let reason = failure.to_string();
            if key.check.log_all_failures {
                let (address, check) = (key.address, &key.check.probe);
                tracing::info!("{check} check of {address} failed: {reason}");
            }
            let event = match health.record(now, Err(reason.clone())) {
                Some(before) => Some(changed(key, before, health.status(), Some(reason))),
                None => (health.streak() == 1).then(|| Event::Failing { key: key.clone(), reason }),
            };
            (event, if health.status() == Status::Up { Next::Retry } else { Next::Interval })
        }
        Err(failure) => {
            if health.note(failure.to_string()) {
                tracing::warn!(address = %key.address, %failure, "a health check has no result");
            }
            (None, Next::Interval)
        }
    }
}

fn changed(key: &Arc<CheckKey>, before: Status, after: Status, reason: Option<String>) -> Event {
    Event::Changed { key: key.clone(), before, after, reason }
}

/// 0-1, the same for the same check, so that two runs can be compared.
fn draw(key: &CheckKey) -> f64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;

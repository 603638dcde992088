//! Makes the checks: one task per check, each at its own fixed rate.
//!
//! *Invariants*
//! - a probe of a check starts `interval` after the start of the one before, measured from the first: no drift;
//! - probes of one check never overlap: a start that falls into a running probe is left out;
//! - an unchanged check is never restarted by [`Runner::set`], and keeps its history;
//! - an [`Event`] is sent after the result is in [`Runner::view`].

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{CheckKey, Failure, Health, HealthView, Status, Success, tcp};
use crate::model::Probe;

/// Checks that start together start within this: a burst of connections, but no wait anyone notices.
const SPREAD: Duration = Duration::from_millis(100);

/// A result that matters to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The status changed.
    Changed {
        /// Which check.
        key: CheckKey,
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
        key: CheckKey,
        /// Why.
        reason: String,
    },
}

/// Runs a set of checks until it is dropped.
pub struct Runner<E> {
    checks: HashMap<CheckKey, Running>,
    events: UnboundedSender<E>,
    prober: Prober,
    worst_lateness: Arc<AtomicU64>,
}

struct Running {
    health: Arc<Mutex<Health>>,
    task: JoinHandle<()>,
}

type ProbeResult = Pin<Box<dyn Future<Output = Result<Success, Failure>> + Send>>;
type Prober = fn(CheckKey) -> ProbeResult;

impl<E: From<Event> + Send + 'static> Runner<E> {
    /// Runs nothing yet; events go to `events` as long as someone listens.
    pub fn new(events: UnboundedSender<E>) -> Runner<E> {
        Runner::with_prober(events, |key| Box::pin(probe(key)))
    }

    fn with_prober(events: UnboundedSender<E>, prober: Prober) -> Runner<E> {
        Runner { checks: HashMap::new(), events, prober, worst_lateness: Arc::default() }
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
        let stopped: Vec<(CheckKey, Running)> =
            self.checks.extract_if(|key, _| !wanted.contains(key)).collect();
        for key in wanted {
            if !self.checks.contains_key(&key) {
                let health = stopped
                    .iter()
                    .find(|(old, _)| {
                        old.address == key.address
                            && old.check.probe == key.check.probe
                            && old.check.target == key.check.target
                    })
                    .map(|(_, old)| {
                        old.snapshot().with_thresholds(key.check.timing.rise, key.check.timing.fall)
                    })
                    .unwrap_or_else(|| match is_up(&key) {
                        true => Health::assumed_up(key.check.timing.rise, key.check.timing.fall),
                        false => Health::new(key.check.timing.rise, key.check.timing.fall),
                    });
                let running = self.start(key.clone(), health);
                self.checks.insert(key, running);
            }
        }
    }

    /// The health of every check now.
    pub fn view(&self) -> HealthView {
        self.checks.iter().map(|(key, running)| (key.clone(), running.snapshot())).collect()
    }

    /// How late a probe has started at most, since the runner was made: what a busy control thread costs.
    pub fn worst_lateness(&self) -> Duration {
        Duration::from_micros(self.worst_lateness.load(Ordering::Relaxed))
    }

    fn start(&self, key: CheckKey, health: Health) -> Running {
        let health = Arc::new(Mutex::new(health));
        let task = tokio::spawn(run(
            key,
            self.prober,
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

async fn run<E: From<Event>>(
    key: CheckKey,
    prober: Prober,
    health: Arc<Mutex<Health>>,
    events: UnboundedSender<E>,
    worst_lateness: Arc<AtomicU64>,
) {
    let interval = key.check.timing.interval.max(Duration::from_millis(1));
    let mut due = Instant::now() + offset(&key);
    loop {
        tokio::time::sleep_until(due).await;
        worst_lateness.fetch_max(due.elapsed().as_micros() as u64, Ordering::Relaxed);
        let result = prober(key.clone()).await;
        // To the first start that is still to come, on the grid of the very first.
        let behind = (due + interval).elapsed().as_nanos().div_ceil(interval.as_nanos());
        due += interval * (1 + u32::try_from(behind).unwrap_or(0));
        if let Some(event) = record(&key, &health, result) {
            // Nobody listens any more: the view is still kept.
            let _ = events.send(event.into());
        }
    }
}

fn record(key: &CheckKey, health: &Mutex<Health>, result: Result<Success, Failure>) -> Option<Event> {
    let mut health = health.lock().expect("no holder of this lock panics");
    let reason = match result {
        Ok(_) => None,
        Err(failure) if failure.counts() => Some(failure.to_string()),
        Err(failure) => {
            tracing::warn!(address = %key.address, %failure, "a health check has no result");
            health.note(failure.to_string());
            return None;
        }
    };
    let changed = health.record(Instant::now().into_std(), reason.clone().map_or(Ok(()), Err));
    match (changed, reason) {
        (Some(before), reason) => {
            Some(Event::Changed { key: key.clone(), before, after: health.status(), reason })
        }
        (None, Some(reason)) if health.streak() == 1 => Some(Event::Failing { key: key.clone(), reason }),
        (None, _) => None,
    }
}

async fn probe(key: CheckKey) -> Result<Success, Failure> {
    let target = &key.check.target;
    let to = SocketAddr::new(target.address.unwrap_or(key.address), target.port);
    match key.check.probe {
        Probe::Tcp => tcp::probe(to, key.check.timing.timeout).await.map(|()| Success::default()),
        _ => Err(Failure::Inconclusive(std::io::Error::other("this kind of check is not made yet"))),
    }
}

/// When the first probe starts. The same for the same check, so that two runs can be compared.
fn offset(key: &CheckKey) -> Duration {
    let spread = SPREAD.min(key.check.timing.interval / 10);
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    spread.mul_f64((hasher.finish() >> 32) as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;

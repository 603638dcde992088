//! Makes the rounds: one task per subject, each at its own fixed rate, on the sockets that the interfaces share.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::diagnose::{Evidence, Finding, Reply, diagnose};
use super::round::{full, round};
use super::sources::{Numbers, Sources, source_towards};
use super::wire::Wire;
use super::{Fault, Kind, Path, RealKey, Subject, VipHealth, VipView, Wanted};

/// Rounds that start together start within this.
const SPREAD: Duration = Duration::from_millis(100);
/// Rounds of one subject are at least so far apart.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Where no echo is answered, an echo of full length is tried in one of so many rounds.
const SELDOM: u32 = 8;
/// The answer of a server that has moved also tells the kernel; it passes that on within this.
const NEWS: Duration = Duration::from_millis(200);

const UNPOISONED: &str = "no holder of this lock panics";

/// What was found changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was probed.
    pub subject: Subject,
    /// What was known.
    pub before: VipHealth,
    /// What is known now.
    pub after: VipHealth,
}

impl Event {
    /// Tells the operator, once for each change.
    pub fn log(&self) {
        let Subject { vip, real, .. } = self.subject;
        match (self.after.words(), self.after.remedy()) {
            (Some(words), Some(remedy)) => tracing::warn!("check through {vip}: {words}; {remedy}"),
            (Some(words), None) => tracing::info!("check through {vip}: {real}: {words}"),
            (None, _) if self.before.fault().is_some() => {
                tracing::info!("check through {vip}: {real} serves it without fault again");
            }
            (None, _) => {}
        }
    }
}

/// Makes checks through VIPs until it is dropped.
pub struct VipChecks<E> {
    running: HashMap<Subject, Running>,
    asked_by: HashMap<RealKey, Subject>,
    wires: HashMap<u32, Arc<Wire>>,
    pools: Pools,
    vips: Arc<Mutex<HashSet<IpAddr>>>,
    events: UnboundedSender<E>,
}

struct Running {
    facts: watch::Sender<Facts>,
    health: Arc<Mutex<Arc<VipHealth>>>,
    task: JoinHandle<()>,
}

/// What may change while a subject is checked.
#[derive(Debug, Clone)]
struct Facts {
    interval: Duration,
    way: Option<(Path, Arc<Wire>)>,
}

/// The numbers at each address of the director.
#[derive(Clone, Default)]
struct Pools {
    numbers: Numbers,
    at: Arc<Mutex<HashMap<SocketAddr, Arc<Sources>>>>,
}

impl<E: From<Event> + Send + 'static> VipChecks<E> {
    /// Checks nothing yet; events go to `events` as long as someone listens.
    pub fn new(events: UnboundedSender<E>) -> VipChecks<E> {
        VipChecks {
            running: HashMap::new(),
            asked_by: HashMap::new(),
            wires: HashMap::new(),
            pools: Pools::default(),
            vips: Arc::default(),
            events,
        }
    }

    /// Makes `wanted` the checks that are made, on these ways. Cheap if nothing changed. Must be called on a tokio
    /// runtime.
    pub fn follow(&mut self, wanted: impl IntoIterator<Item = Wanted>) {
        let mut merged: HashMap<Subject, Wanted> = HashMap::new();
        self.asked_by.clear();
        for wanted in wanted {
            self.asked_by.insert(wanted.key, wanted.subject.clone());
            match merged.get_mut(&wanted.subject) {
                Some(first) => first.interval = first.interval.min(wanted.interval),
                None => drop(merged.insert(wanted.subject.clone(), wanted)),
            }
        }
        self.running.retain(|subject, _| merged.contains_key(subject));
        *self.vips.lock().expect(UNPOISONED) = merged.keys().map(|subject| subject.vip).collect();
        self.pools.sweep();
        let indices = merged.values().filter_map(|wanted| Some(wanted.path.as_ref()?.index));
        let indices: HashSet<u32> = indices.collect();
        self.wires.retain(|index, _| indices.contains(index));
        for (subject, wanted) in merged {
            let interval = wanted.interval.max(SHORTEST_INTERVAL);
            let way = wanted.path.and_then(|path| {
                let wire = self.wire(&path)?;
                Some((path, wire))
            });
            let facts = Facts { interval, way };
            match self.running.get(&subject) {
                Some(running) => {
                    // Now, not when its task gets its turn: until then it would pass for one that has nothing to say.
                    if facts.way.is_some() {
                        Arc::make_mut(&mut running.health.lock().expect(UNPOISONED)).await_first();
                    }
                    running.facts.send_if_modified(|known| known.follow(facts));
                }
                None => {
                    let running = self.start(subject.clone(), facts, wanted.was_up);
                    self.running.insert(subject, running);
                }
            }
        }
    }

    /// What is known now.
    pub fn view(&self) -> VipView {
        self.view_of(self.asked_by.keys().copied())
    }

    /// What is known now of these real servers, as far as they are checked.
    pub fn view_of(&self, keys: impl IntoIterator<Item = RealKey>) -> VipView {
        let known = |key| Some((key, self.running.get(self.asked_by.get(&key)?)?.snapshot()));
        keys.into_iter().filter_map(known).collect()
    }

    fn wire(&mut self, path: &Path) -> Option<Arc<Wire>> {
        if let Some(wire) = self.wires.get(&path.index) {
            return Some(Arc::clone(wire));
        }
        match Wire::open(path.index) {
            Ok(wire) => {
                let wire = Arc::new(wire);
                self.wires.insert(path.index, Arc::clone(&wire));
                Some(wire)
            }
            Err(error) => {
                let name = &path.interface;
                tracing::warn!("{name}: no checks through the VIP: AF_PACKET socket (CAP_NET_RAW): {error}");
                None
            }
        }
    }

    fn start(&self, subject: Subject, facts: Facts, was_up: bool) -> Running {
        let mut first = VipHealth::new(was_up);
        if facts.way.is_some() {
            first.await_first();
        }
        let health = Arc::new(Mutex::new(Arc::new(first)));
        let (facts, inbox) = watch::channel(facts);
        let check = Check {
            subject,
            facts: inbox,
            health: Arc::clone(&health),
            pools: self.pools.clone(),
            vips: Arc::clone(&self.vips),
            events: self.events.clone(),
            echoless: 0,
            lost_long: None,
            pool: None,
        };
        let task = tokio::spawn(check.run());
        Running { facts, health, task }
    }
}

impl Pools {
    fn at(&self, source: SocketAddr) -> Arc<Sources> {
        let mut pools = self.at.lock().expect(UNPOISONED);
        let new = || Arc::new(Sources::at(source, self.numbers.clone()));
        Arc::clone(pools.entry(source).or_insert_with(new))
    }

    /// Forgets addresses from which nobody probes any more: the director's own may change.
    fn sweep(&self) {
        self.at.lock().expect(UNPOISONED).retain(|_, sources| Arc::strong_count(sources) > 1);
    }
}

impl Running {
    fn snapshot(&self) -> Arc<VipHealth> {
        self.health.lock().expect(UNPOISONED).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Facts {
    /// Becomes `new`; whether that is a change.
    fn follow(&mut self, new: Facts) -> bool {
        let is_same_way = match (&self.way, &new.way) {
            (Some((path, wire)), Some((new_path, new_wire))) => {
                path == new_path && Arc::ptr_eq(wire, new_wire)
            }
            (None, None) => true,
            _ => false,
        };
        let is_changed = !is_same_way || self.interval != new.interval;
        *self = new;
        is_changed
    }
}

/// The check of one subject.
struct Check<E> {
    subject: Subject,
    facts: watch::Receiver<Facts>,
    health: Arc<Mutex<Arc<VipHealth>>>,
    pools: Pools,
    vips: Arc<Mutex<HashSet<IpAddr>>>,
    events: UnboundedSender<E>,
    /// Rounds in a row in which an echo of full length was not answered, and a short one neither.
    echoless: u32,
    /// The way on which the last round lost long echoes, and them alone.
    lost_long: Option<Path>,
    /// The numbers that the last round had one of: kept open for what comes late.
    pool: Option<Arc<Sources>>,
}

impl<E: From<Event>> Check<E> {
    async fn run(mut self) {
        let mut due = Instant::now() + self.offset();
        loop {
            let Facts { interval, way } = self.facts.borrow_and_update().clone();
            let Some((path, wire)) = way else {
                self.change(|health| {
                    health.lose_way();
                    false
                });
                if self.facts.changed().await.is_err() {
                    return;
                }
                due = Instant::now();
                continue;
            };
            self.change(|health| {
                health.await_first();
                false
            });
            tokio::time::sleep_until(due).await;
            let result = self.round(&path, &wire).await;
            // Its way changed: what was asked was asked in the wrong place.
            if self.facts.has_changed().unwrap_or(true) && !matches!(result, Ok(Finding::Serves(_))) {
                continue;
            }
            match result {
                Ok(finding) => {
                    let now = Instant::now().into_std();
                    let subject = self.subject.clone();
                    self.change(|health| health.record(now, &subject, &path, finding));
                }
                Err(error) => {
                    let why = format!("the director could not probe: {error}");
                    tracing::debug!(vip = %self.subject.vip, real = %self.subject.real, "{why}");
                    self.change(|health| {
                        health.give_up(why);
                        false
                    });
                }
            }
            // To the first start that is still to come, on the grid of the very first.
            let behind = (due + interval).elapsed().as_nanos().div_ceil(interval.as_nanos());
            due += interval * (1 + u32::try_from(behind).unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                changed = self.facts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    due = Instant::now();
                }
            }
        }
    }

    async fn round(&mut self, path: &Path, wire: &Wire) -> io::Result<Finding> {
        let source = {
            let vips = self.vips.lock().expect(UNPOISONED);
            source_towards(self.subject.real, &path.interface, &vips)?
        };
        let pool = self.pools.at(source);
        self.pool = Some(Arc::clone(&pool));
        let lease = pool.lease().await?;
        let is_tried = self.echoless.is_multiple_of(SELDOM);
        let mut evidence = round(&self.subject, path, wire, &lease, is_tried).await?;
        drop(lease);
        self.echoless = if is_tried && !is_echoless(&evidence) { 0 } else { self.echoless.wrapping_add(1) };
        evidence.lost_long_before = self.lost_long.as_ref() == Some(path);
        self.lost_long = evidence.loses_long().then(|| path.clone());
        let is_echo = self.subject.kind == Kind::Echo;
        let finding = diagnose(&evidence, path.mac, full(path), is_echo);
        if matches!(finding, Finding::Fails(Fault::MacChanged { .. })) && !path.is_fixed {
            let mut news = self.facts.clone();
            let _ = tokio::time::timeout(NEWS, news.changed()).await;
        }
        Ok(finding)
    }

    /// Changes what is known, and tells of it if `change` says that it is worth it.
    fn change(&self, change: impl FnOnce(&mut VipHealth) -> bool) {
        let mut health = self.health.lock().expect(UNPOISONED);
        let before = Arc::clone(&health);
        let was_awaited = before.is_awaited();
        let is_news = change(Arc::make_mut(&mut health));
        let after = Arc::clone(&health);
        drop(health);
        // Somebody waits for the end of the first round, whatever it says.
        if is_news || was_awaited && !after.is_awaited() {
            let event =
                Event { subject: self.subject.clone(), before: (*before).clone(), after: (*after).clone() };
            // Nobody listens any more: the view is still kept.
            let _ = self.events.send(event.into());
        }
    }

    /// When the first round starts. The same for the same subject, so that two runs can be compared.
    fn offset(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.subject.hash(&mut hasher);
        SPREAD.mul_f64((hasher.finish() >> 32) as f64 / f64::from(u32::MAX))
    }
}

/// It serves, and answered no echo.
fn is_echoless(evidence: &Evidence) -> bool {
    evidence.service_at_vip == Reply::Good && evidence.echo_at_vip != Reply::Good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_probes_from_is_forgotten() {
        let (events, _inbox) = tokio::sync::mpsc::unbounded_channel::<Event>();
        let mut checks = VipChecks::new(events);
        let [used, left]: [SocketAddr; 2] = [80, 81].map(|last| ([127, 0, 0, last], 0).into());
        let kept = checks.pools.at(used);
        drop(checks.pools.at(left));
        checks.follow([]);
        let pools = checks.pools.at.lock().unwrap();
        assert!(pools.len() == 1 && Arc::ptr_eq(&pools[&used], &kept));
    }
}

//! Passive health: what clients themselves see of a real server. Under DSR only their side passes here, but it is
//! enough: a client whose SYN stays without an answer sends it again, one that is refused gives up, and one that is
//! served acknowledges. So a server that fails for real clients shows, also while its check still passes.
//!
//! *Invariants*
//! - never more than half of the real servers of a service that would be up otherwise are out for this reason: when
//!   clients fail with most of them, the fault is somewhere else (or somebody forges failures), and half a service
//!   is better than none;
//! - a server is tried again after `hold`, with a fresh window; what it did before does not count any more;
//! - pure: counters and time come in, verdicts go out.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::model::{Model, Passive, RealServer, ServiceKey, VirtualService};

/// Samples of the counters kept for a window: how finely it slides.
const SAMPLES: u32 = 20;

/// A real server of a service.
pub type RealKey = (ServiceKey, IpAddr);

/// How the handshakes of a real server went so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handshakes {
    /// The client acknowledged.
    pub completed: u64,
    /// The client sent its SYN again.
    pub retransmitted: u64,
    /// The client's SYN was followed by a RST.
    pub reset: u64,
}

/// A real server that is out because it fails for its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// Why, in words for the operator.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    until: Instant,
}

/// What is known of one real server at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its counters.
    pub handshakes: Handshakes,
    /// Whether it would take new flows, as far as everything else is concerned.
    pub is_up: bool,
}

/// The passive health of all real servers of services that ask for it.
#[derive(Debug, Clone, Default)]
pub struct PassiveHealth {
    reals: HashMap<RealKey, Tracker>,
}

impl PassiveHealth {
    /// Takes in the counters as they are now; whether a verdict changed. To be called about every second.
    pub fn observe(
        &mut self,
        now: Instant,
        model: &Model,
        facts: impl Fn(&VirtualService, &RealServer) -> Option<Facts>,
    ) -> bool {
        let mut before = std::mem::take(&mut self.reals);
        let was_out: Vec<RealKey> = outs(&before);
        for service in &model.services {
            let Some(rule) = &service.passive else { continue };
            let mut tracked: Vec<(RealKey, Tracker)> = Vec::new();
            for real in &service.reals {
                let key = (service.key, real.address);
                let mut tracker = before.remove(&key).unwrap_or_default();
                tracker.take_in(now, rule, facts(service, real));
                tracked.push((key, tracker));
            }
            judge(now, rule, &mut tracked);
            self.reals.extend(tracked);
        }
        let is_out = outs(&self.reals);
        was_out != is_out
    }

    /// Whether nobody is watched.
    pub fn is_empty(&self) -> bool {
        self.reals.is_empty()
    }

    /// Why and since when a real server is out, if it is.
    pub fn out(&self, key: &RealKey) -> Option<&Out> {
        self.reals.get(key).and_then(|tracker| tracker.out.as_ref())
    }
}

/// Who is out, in order.
fn outs(reals: &HashMap<RealKey, Tracker>) -> Vec<RealKey> {
    let mut outs: Vec<RealKey> =
        reals.iter().filter(|(_, tracker)| tracker.out.is_some()).map(|(key, _)| *key).collect();
    outs.sort_unstable();
    outs
}

/// Takes out who fails, the worst first, and lets in again who is more than half.
fn judge(now: Instant, rule: &Passive, reals: &mut [(RealKey, Tracker)]) {
    let up = reals.iter().filter(|(_, tracker)| tracker.is_up).count();
    let out = |reals: &[(RealKey, Tracker)]| {
        reals.iter().filter(|(_, tracker)| tracker.is_up && tracker.out.is_some()).count()
    };
    let mut failing: Vec<(usize, Handshakes)> = reals
        .iter()
        .enumerate()
        .filter(|(_, (_, tracker))| tracker.out.is_none())
        .filter_map(|(at, (_, tracker))| Some((at, tracker.recent().filter(|recent| recent.fail(rule))?)))
        .collect();
    failing.sort_by_key(|(_, recent)| std::cmp::Reverse(recent.failures_in_1000()));
    for (at, recent) in failing {
        if (out(reals) + 1) * 2 > up {
            break;
        }
        let reason = format!("fails for its clients: {} of {} handshakes", recent.failed(), recent.total());
        reals[at].1.out = Some(Out { reason, since: now, until: now + rule.hold });
    }
    while out(reals) * 2 > up {
        let longest = reals.iter_mut().filter(|(_, tracker)| tracker.is_up && tracker.out.is_some());
        let Some((_, tracker)) = longest.min_by_key(|(_, tracker)| tracker.out.as_ref().map(|out| out.since))
        else {
            break;
        };
        tracker.let_in();
    }
}

/// The recent past of one real server.
#[derive(Debug, Clone, Default)]
struct Tracker {
    /// Counters at some moments, the oldest first; the first is from the start of the window or before.
    samples: VecDeque<(Instant, Handshakes)>,
    last: Handshakes,
    is_up: bool,
    out: Option<Out>,
}

impl Tracker {
    fn take_in(&mut self, now: Instant, rule: &Passive, facts: Option<Facts>) {
        let Some(Facts { handshakes, is_up }) = facts else {
            // It has no counters: nothing is known of it.
            *self = Tracker::default();
            return;
        };
        // Counters that went back are another tenant's.
        if !is_up || handshakes.since(self.last).is_none() {
            self.samples.clear();
        }
        (self.last, self.is_up) = (handshakes, is_up);
        if self.out.as_ref().is_some_and(|out| now >= out.until) {
            self.let_in();
        }
        let is_due =
            |(at, _): &(Instant, Handshakes)| now.saturating_duration_since(*at) >= rule.window / SAMPLES;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, handshakes));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= rule.window) {
            self.samples.pop_front();
        }
    }

    fn let_in(&mut self) {
        self.out = None;
        self.samples.clear();
    }

    /// How the handshakes of the window went.
    fn recent(&self) -> Option<Handshakes> {
        let (_, first) = self.samples.front().filter(|_| self.is_up)?;
        self.last.since(*first)
    }
}

impl Handshakes {
    /// Those that failed.
    pub fn failed(&self) -> u64 {
        self.retransmitted.saturating_add(self.reset)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.completed.saturating_add(self.failed())
    }

    fn failures_in_1000(&self) -> u64 {
        self.failed().saturating_mul(1000) / self.total().max(1)
    }

    fn fail(&self, rule: &Passive) -> bool {
        self.total() >= rule.minimum.into() && self.failures_in_1000() >= rule.failures.into()
    }

    /// What came after `earlier`; none if that is not earlier.
    fn since(self, earlier: Handshakes) -> Option<Handshakes> {
        Some(Handshakes {
            completed: self.completed.checked_sub(earlier.completed)?,
            retransmitted: self.retransmitted.checked_sub(earlier.retransmitted)?,
            reset: self.reset.checked_sub(earlier.reset)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A service with four real servers, .21 to .24, and the counters of each.
    struct World {
        model: Model,
        health: PassiveHealth,
        counts: [Handshakes; 4],
        up: [bool; 4],
        now: Instant,
    }

    impl World {
        fn new() -> World {
            let mut text = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\n\
                            protocol = \"tcp\"\n[service.passive]\nfailures = \"50%\"\nwindow = \"10s\"\nminimum = 20\n\
                            hold = \"30s\"\n"
                .to_owned();
            for host in 21..25 {
                text += &format!("[[service.real]]\naddress = \"192.0.2.{host}\"\n");
            }
            World {
                model: crate::config::parse("a", &text).unwrap().model,
                health: PassiveHealth::default(),
                counts: [Handshakes::default(); 4],
                up: [true; 4],
                now: Instant::now(),
            }
        }

        /// A second in which server n has this many good and failed handshakes.
        fn second(&mut self, handshakes: [(u64, u64); 4]) -> bool {
            for (count, (good, bad)) in self.counts.iter_mut().zip(handshakes) {
                count.completed += good;
                count.retransmitted += bad;
            }
            self.now += SECOND;
            let reals = self.model.services[0].reals.clone();
            self.health.observe(self.now, &self.model, |_, real| {
                let at = reals.iter().position(|other| other == real).unwrap();
                Some(Facts { handshakes: self.counts[at], is_up: self.up[at] })
            })
        }

        fn reason(&self, at: usize) -> Option<&str> {
            let service = &self.model.services[0];
            self.health.out(&(service.key, service.reals[at].address)).map(|out| out.reason.as_str())
        }

        fn outs(&self) -> Vec<usize> {
            (0..4).filter(|&at| self.reason(at).is_some()).collect()
        }
    }

    const QUIET: [(u64, u64); 4] = [(0, 0); 4];

    #[test]
    fn a_server_that_fails_for_its_clients_is_taken_out_and_tried_again() {
        let mut world = World::new();
        assert!(!world.second([(9, 0); 4]));
        assert!(world.second([(19, 41), (30, 0), (30, 1), (30, 2)]));
        assert_eq!(world.reason(0), Some("fails for its clients: 41 of 60 handshakes"));
        assert_eq!(world.outs(), [0]);
        for _ in 0..29 {
            assert!(!world.second(QUIET));
        }
        assert!(world.second(QUIET));
        assert_eq!(world.outs(), [] as [usize; 0]);
        // The old failures are forgotten, new ones are not.
        assert!(!world.second([(11, 9), (0, 0), (0, 0), (0, 0)]));
        assert!(world.second([(0, 20), (0, 0), (0, 0), (0, 0)]));
    }

    #[test]
    fn few_handshakes_or_few_failures_say_nothing() {
        let mut world = World::new();
        world.second(QUIET);
        assert!(!world.second([(0, 19), (30, 29), (0, 0), (0, 0)]));
        assert!(world.second([(0, 1), (0, 0), (0, 0), (0, 0)]));
        assert_eq!(world.outs(), [0]);
    }

    #[test]
    fn only_the_window_counts() {
        let mut world = World::new();
        world.second(QUIET);
        world.second([(0, 15), (0, 0), (0, 0), (0, 0)]);
        for _ in 0..10 {
            assert!(!world.second(QUIET));
        }
        assert!(!world.second([(0, 15), (0, 0), (0, 0), (0, 0)]));
    }

    #[test]
    fn at_most_half_are_out_and_those_are_the_worst() {
        let mut world = World::new();
        world.second(QUIET);
        assert!(world.second([(10, 20), (10, 40), (10, 30), (0, 20)]));
        assert_eq!(world.outs(), [1, 3]);
        // One that goes down for another reason makes the half smaller.
        world.up[0] = false;
        assert!(world.second(QUIET));
        assert_eq!(world.outs().len(), 1);
        world.up = [false, true, false, false];
        world.second(QUIET);
        assert!(!world.second([(0, 0), (0, 100), (0, 0), (0, 0)]), "the last one stays");
    }

    #[test]
    fn what_happened_while_it_was_down_does_not_count() {
        let mut world = World::new();
        world.second(QUIET);
        world.up[0] = false;
        world.second([(0, 100), (0, 0), (0, 0), (0, 0)]);
        world.up[0] = true;
        assert!(!world.second(QUIET));
        assert_eq!(world.outs(), [] as [usize; 0]);
    }

    #[test]
    fn counters_that_start_anew_are_no_failure() {
        let mut world = World::new();
        world.second([(500, 100), (0, 0), (0, 0), (0, 0)]);
        world.counts[0] = Handshakes::default();
        assert!(!world.second([(0, 30), (0, 0), (0, 0), (0, 0)]));
        assert!(world.second([(0, 30), (0, 0), (0, 0), (0, 0)]), "the new ones count");
    }

    #[test]
    fn a_service_that_does_not_ask_for_it_loses_nobody() {
        let mut world = World::new();
        world.second(QUIET);
        world.second([(0, 100), (0, 0), (0, 0), (0, 0)]);
        assert_eq!(world.outs(), [0]);
        world.model.services[0].passive = None;
        assert!(world.second(QUIET));
        assert_eq!(world.outs(), [] as [usize; 0]);
    }
}

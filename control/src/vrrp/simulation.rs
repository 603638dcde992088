//! Two to five directors on a network that loses, delays and cuts, which crash, stop, fail, stand still and change their
//! priorities at random times; then calm. In simulated time, so that hours take milliseconds.
//!
//! What must hold at any time: who is active holds its addresses and nobody else does, groups are together. After calm:
//! exactly one is active if anybody can be, it has the highest priority if it may preempt, and nothing changes any more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::samples::{ip, router};
use super::{Action, Heard, Input, RouterId, Routers, Standing, State};
use crate::model::{SyncGroup, Tracking, Version, VirtualRouter, Vrrp, VrrpHooks};

/// How a world is made.
#[derive(Debug, Clone)]
struct Plan {
    version: Version,
    interval: Duration,
    /// Priority of each director, and how many times `interval` its own is (version 3).
    directors: Vec<(u8, u32)>,
    preempt: bool,
    preempt_delay: bool,
    /// Two routers in a sync group, or one.
    grouped: bool,
    changes: Vec<Change>,
    seed: u64,
}

/// Something that happens: after so many hundredths of the interval, what, to whom, with whom, how much.
type Change = (u32, u8, usize, usize, u8);

struct World {
    plan: Plan,
    now: Instant,
    directors: Vec<Director>,
    /// What is under way, by when it arrives.
    post: BTreeMap<(Instant, u64), Mail>,
    /// From whom to whom.
    links: Vec<Vec<Link>>,
    posted: u64,
    random: u64,
    /// Changes of state so far.
    transitions: usize,
}

struct Director {
    address: IpAddr,
    vrrp: Vrrp,
    /// None: it has crashed, or was stopped.
    routers: Option<Routers>,
    priority: u8,
    /// By router.
    faults: Vec<bool>,
    holds: Vec<bool>,
    /// It stands still until then, and then hears what has come.
    still: Instant,
}

#[derive(Clone, Copy)]
struct Link {
    cut: bool,
    /// Of 256.
    loss: u8,
    delay: Duration,
}

struct Mail {
    to: usize,
    router: usize,
    advert: Heard,
}

impl World {
    fn new(plan: Plan) -> World {
        let now = Instant::now();
        let count = plan.directors.len();
        let quick = Link { cut: false, loss: 0, delay: plan.interval / 1000 };
        let mut world = World {
            now,
            directors: Vec::new(),
            post: BTreeMap::new(),
            links: vec![vec![quick; count]; count],
            posted: 0,
            random: plan.seed | 1,
            transitions: 0,
            plan: plan.clone(),
        };
        for (n, (priority, factor)) in plan.directors.iter().enumerate() {
            let interval = if plan.version == Version::V3 { plan.interval * *factor } else { plan.interval };
            let vrrp = vrrp(&plan, *priority, interval);
            world.directors.push(Director {
                address: ip(&format!("10.0.0.{}", n + 1)),
                priority: *priority,
                routers: None,
                faults: vec![false; vrrp.routers.len()],
                holds: vec![false; vrrp.routers.len()],
                still: now,
                vrrp,
            });
            world.start(n);
        }
        world
    }

    fn start(&mut self, n: usize) {
        let director = &mut self.directors[n];
        if director.routers.is_some() {
            return;
        }
        director.routers = Some(Routers::new(&director.vrrp, self.now));
        for router in 0..director.vrrp.routers.len() {
            self.stand(n, router);
        }
    }

    fn stand(&mut self, n: usize, router: usize) {
        let Director { priority, faults, address, .. } = &self.directors[n];
        let fault = faults[router].then(|| "eth0 is down".to_owned());
        let standing = Standing { priority: *priority, fault, source: Some(*address) };
        self.step(n, Input::Standing { router: RouterId(router), standing });
    }

    fn step(&mut self, n: usize, input: Input) {
        let now = self.now;
        let Some(routers) = &mut self.directors[n].routers else { return };
        let actions = routers.step(now, input);
        for action in actions {
            self.act(n, action);
        }
        self.is_sound(n);
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Send { router, priority, interval } => {
                for to in (0..self.directors.len()).filter(|to| *to != n) {
                    let Link { cut, loss, delay } = self.links[n][to];
                    if cut || (self.draw() % 256) < u64::from(loss) {
                        continue;
                    }
                    // Up to twice the delay, so that adverts overtake each other.
                    let arrives = self.now + delay + delay * (self.draw() % 100) as u32 / 100;
                    self.posted += 1;
                    let advert = Heard { source: self.directors[n].address, priority, interval };
                    self.post.insert((arrives, self.posted), Mail { to, router: router.0, advert });
                }
            }
            Action::Hold { router } => self.directors[n].holds[router.0] = true,
            Action::Release { router } => self.directors[n].holds[router.0] = false,
            Action::Changed { .. } => self.transitions += 1,
            _ => {}
        }
    }

    /// What must hold after every step.
    fn is_sound(&self, n: usize) {
        let director = &self.directors[n];
        let Some(routers) = &director.routers else { return };
        let states: Vec<State> =
            (0..director.holds.len()).map(|router| routers.status(RouterId(router)).state).collect();
        for (state, holds) in states.iter().zip(&director.holds) {
            assert_eq!(*state == State::Active, *holds, "{state:?}");
        }
        let begun = states.iter().filter(|state| **state != State::Initialize);
        assert!(
            begun.clone().all(|state| *state == states[0] || states[0] == State::Initialize),
            "{states:?}"
        );
        for router in 0..states.len() {
            let status = routers.status(RouterId(router));
            let timed = status.deadline.is_some();
            assert!(
                timed
                    || states[router] != State::Active
                        && (states.len() > 1 || states[router] != State::Backup)
            );
            assert!(!timed || matches!(states[router], State::Active | State::Backup));
        }
    }

    /// Runs until `end`.
    fn run(&mut self, end: Instant) {
        loop {
            let mail = self
                .post
                .first_key_value()
                .map(|((arrives, _), mail)| ((*arrives).max(self.directors[mail.to].still), None));
            let timers = self.directors.iter().enumerate().filter_map(|(n, director)| {
                let deadline = director.routers.as_ref()?.deadline()?;
                Some((deadline.max(director.still), Some(n)))
            });
            // At the same time, what has come is read first.
            let Some((at, timer)) =
                mail.into_iter().chain(timers).min_by_key(|(at, timer)| (*at, timer.is_some()))
            else {
                break;
            };
            if at > end {
                break;
            }
            match timer {
                Some(n) => {
                    self.now = self.now.max(at);
                    self.step(n, Input::Tick);
                }
                None => {
                    let ((arrives, posted), mail) = self.post.pop_first().expect("there was one");
                    let still = self.directors[mail.to].still;
                    if arrives < still {
                        self.post.insert((still, posted), mail);
                        continue;
                    }
                    self.now = self.now.max(at);
                    let (router, advert) = (RouterId(mail.router), mail.advert);
                    self.step(mail.to, Input::Advert { router, advert });
                }
            }
        }
        self.now = end;
    }

    fn change(&mut self, (wait, what, who, whom, much): Change) {
        self.run(self.now + self.plan.interval * wait / 100);
        let count = self.directors.len();
        let (who, whom) = (who % count, whom % count);
        let router = usize::from(much) % self.directors[who].faults.len();
        match what {
            // A crash: nobody is told, addresses go with the host.
            0 => {
                self.directors[who].routers = None;
                self.directors[who].holds.fill(false);
            }
            1 => {
                self.step(who, Input::Stop);
                self.directors[who].routers = None;
            }
            2 | 3 => self.start(who),
            4 | 5 => {
                self.directors[who].faults[router] = what == 4;
                self.stand(who, router);
            }
            6 => {
                self.directors[who].priority = much.max(1);
                (0..self.directors[who].faults.len()).for_each(|router| self.stand(who, router));
            }
            7 => self.links[who][whom].cut ^= true,
            8 => self.links[who][whom].loss = much,
            9 => self.links[who][whom].delay = self.plan.interval * u32::from(much) / 64,
            10 => self.directors[who].still = self.now + self.plan.interval * u32::from(much) / 32,
            11 => {
                let address = self.directors[who].vrrp.routers[router].addresses[0].address;
                self.step(who, Input::AddressLost { router: RouterId(router), address });
            }
            _ => self.step(who, Input::Preempt { allowed: much % 2 == 0 }),
        }
    }

    /// The network is well again, everybody may preempt, and time enough passes for everything to settle.
    fn calm(&mut self) {
        let quick = Link { cut: false, loss: 0, delay: self.plan.interval / 1000 };
        self.links.iter_mut().flatten().for_each(|link| *link = quick);
        for n in 0..self.directors.len() {
            self.step(n, Input::Preempt { allowed: true });
        }
        self.run(self.now + self.longest() * 40);
    }

    fn longest(&self) -> Duration {
        let intervals = self.directors.iter().map(|director| director.vrrp.routers[0].interval);
        intervals.max().expect("there are directors")
    }

    /// The directors where this router is Active.
    fn active(&self, router: usize) -> Vec<usize> {
        let state = |n: usize| Some(self.directors[n].routers.as_ref()?.status(RouterId(router)).state);
        (0..self.directors.len()).filter(|n| state(*n) == Some(State::Active)).collect()
    }

    fn settled(&self) {
        let well = |n: &usize| {
            let director = &self.directors[*n];
            director.routers.is_some() && !director.faults.contains(&true)
        };
        let well: Vec<usize> = (0..self.directors.len()).filter(well).collect();
        for router in 0..self.directors[0].holds.len() {
            let active = self.active(router);
            assert_eq!(active.len(), usize::from(!well.is_empty()), "active: {active:?}, well: {well:?}");
            let priority = |n: usize| {
                let routers = self.directors[n].routers.as_ref().expect("it is well");
                routers.status(RouterId(router)).priority
            };
            let highest = well.iter().map(|n| priority(*n)).max();
            if self.plan.preempt && highest.is_some() {
                assert_eq!(highest, Some(priority(active[0])), "active: {active:?}");
            }
        }
    }
}

fn vrrp(plan: &Plan, priority: u8, interval: Duration) -> Vrrp {
    let preempt_delay = if plan.preempt_delay { plan.interval * 4 } else { Duration::ZERO };
    let one = VirtualRouter {
        priority,
        interval,
        preempt: plan.preempt,
        preempt_delay,
        ..router("VI_1", plan.version, &["10.0.0.100"])
    };
    let two = VirtualRouter { name: "VI_2".to_owned(), vrid: 52, ..one.clone() };
    let group = SyncGroup {
        name: "G".to_owned(),
        members: vec!["VI_1".to_owned(), "VI_2".to_owned()],
        track: Tracking::default(),
        tracking_weight: false,
        hooks: VrrpHooks::default(),
    };
    match plan.grouped {
        true => Vrrp { routers: vec![one, two], groups: vec![group], ..Vrrp::default() },
        false => Vrrp { routers: vec![one], ..Vrrp::default() },
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let speaks = prop_oneof![
        (1u64..=2).prop_map(|seconds| (Version::V2, Duration::from_secs(seconds))),
        prop::sample::select(vec![10, 50, 100, 1000, 2000])
            .prop_map(|millis| (Version::V3, Duration::from_millis(millis))),
    ];
    let priority = prop_oneof![6 => 1u8..=254, 1 => Just(100), 1 => Just(255)];
    let directors = prop::collection::vec((priority, 1u32..=3), 2..=5);
    let change = (0u32..800, 0u8..13, 0usize..5, 0usize..5, any::<u8>());
    let changes = prop::collection::vec(change, 0..30);
    let flags = (prop::bool::weighted(0.8), prop::bool::weighted(0.2), any::<bool>());
    (speaks, directors, flags, changes, any::<u64>()).prop_map(
        |((version, interval), directors, (preempt, preempt_delay, grouped), changes, seed)| Plan {
            version,
            interval,
            directors,
            preempt,
            preempt_delay,
            grouped,
            changes,
            seed,
        },
    )
}

impl World {
    fn draw(&mut self) -> u64 {
        // xorshift64 (Marsaglia, 2003)
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn after_anything_at_all_one_is_active_and_stays_it(plan in plans()) {
        let changes = plan.changes.clone();
        let mut world = World::new(plan);
        changes.into_iter().for_each(|change| world.change(change));
        world.calm();
        world.settled();
        let before = world.transitions;
        world.run(world.now + world.longest() * 40);
        prop_assert_eq!(world.transitions, before, "nothing happens, and yet states change");
        world.settled();
    }
}

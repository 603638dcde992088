//! The schedulers: against recorded runs of IPVS, against models, by several workers at once, and what shares they
//! give.

mod distribution;
mod model;
mod recorded;
mod sharing;

use std::net::Ipv4Addr;

use proptest::prelude::*;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::Address;
use shunt_dataplane::schedule::{Candidate, Fleet, HashFlags, Load, Policy, Question, Scheduler};

use crate::allocation::calls;

const KEY: HashKey = HashKey([3, 5]);
const NO_FLAGS: HashFlags = HashFlags { port: false, fallback: false };
const PORT: HashFlags = HashFlags { port: true, fallback: false };
const FALLBACK: HashFlags = HashFlags { port: false, fallback: true };
const BOTH: HashFlags = HashFlags { port: true, fallback: true };

/// Every policy, with every choice of flags.
const POLICIES: [Policy; 21] = [
    Policy::Maglev,
    Policy::Rr,
    Policy::Wrr,
    Policy::Lc,
    Policy::Wlc,
    Policy::Sed,
    Policy::Nq,
    Policy::Sh(NO_FLAGS),
    Policy::Sh(PORT),
    Policy::Sh(FALLBACK),
    Policy::Sh(BOTH),
    Policy::Dh,
    Policy::Mh(NO_FLAGS),
    Policy::Mh(PORT),
    Policy::Mh(FALLBACK),
    Policy::Mh(BOTH),
    Policy::Fo,
    Policy::Ovf,
    Policy::Lblc,
    Policy::Lblcr,
    Policy::Twos,
];

/// What the real servers hold, by slot, and whether they are overloaded.
#[derive(Debug, Clone, Default)]
struct Loads(Vec<(Load, bool)>);

impl Loads {
    fn idle(slots: usize) -> Self {
        Loads(vec![Default::default(); slots])
    }

    fn hold(&mut self, slot: u16) {
        self.0[slot as usize].0.active += 1;
    }

    fn close(&mut self, slot: u16) {
        self.0[slot as usize].0.inactive += 1;
    }
}

impl Fleet for Loads {
    fn load(&self, slot: u16) -> Load {
        self.0.get(slot as usize).map_or_else(Load::default, |(load, _)| *load)
    }

    fn is_overloaded(&self, slot: u16) -> bool {
        self.0.get(slot as usize).is_some_and(|(_, is_overloaded)| *is_overloaded)
    }
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> Address {
    Ipv4Addr::new(a, b, c, d).into()
}

/// rs1, rs2, rs3 in slots 0, 1, 2, weights 1:2:3.
fn three() -> [Candidate; 3] {
    [1, 2, 3].map(|n| Candidate { slot: n - 1, address: v4(198, 18, 0, 10 + n as u8), port: 80, weight: n })
}

fn question(src: Address, src_port: u16, now: Tick) -> Question {
    let dst = v4(198, 18, 0, 100);
    Question { hash: KEY.flow(src, dst, src_port, 80, 6), src, src_port, dst, now }
}

fn build(policy: Policy, candidates: &[Candidate], previous: Option<&Scheduler>) -> Scheduler {
    Scheduler::build(policy, KEY, candidates, previous)
}

#[test]
fn neither_picking_nor_recalling_allocates() {
    let mut loads = Loads::idle(3);
    for policy in POLICIES {
        let scheduler = build(policy, &three(), None);
        let made = calls(|| {
            for n in 0..2_000u16 {
                loads.0[2].1 = n % 3 == 0;
                let question = question(v4(192, 0, 2, n as u8), n, Tick::new(u32::from(n) << 10));
                std::hint::black_box(scheduler.recall(&question));
                if let Some(slot) = scheduler.pick(&question, &loads) {
                    loads.hold(slot);
                }
            }
        });
        assert_eq!(made, 0, "{policy}");
    }
}

#[test]
fn nobody_takes_a_flow_where_nobody_can() {
    let question = question(v4(192, 0, 2, 1), 1, Tick::default());
    for policy in POLICIES {
        let mut loads = Loads::idle(3);
        assert_eq!(build(policy, &[], None).pick(&question, &loads), None, "{policy}, no candidates");
        assert_eq!(build(policy, &[], None).recall(&question), None, "{policy}, no candidates");
        let drained = three().map(|candidate| Candidate { weight: 0, ..candidate });
        let before = build(policy, &three(), None);
        for previous in [None, Some(&before)] {
            let scheduler = build(policy, &drained, previous);
            assert_eq!(scheduler.pick(&question, &loads), None, "{policy}, all drained");
            assert_eq!(scheduler.recall(&question), None, "{policy}, all drained");
        }
        assert!(before.pick(&question, &loads).is_some(), "{policy}, all idle");
        loads.0.iter_mut().for_each(|(_, is_overloaded)| *is_overloaded = true);
        // lblc and lblcr alike, once the cell is empty.
        let scheduler = build(policy, &three(), None);
        assert_eq!(scheduler.pick(&question, &loads), None, "{policy}, all overloaded");
    }
}

#[test]
fn only_hashing_policies_recall() {
    let question = question(v4(192, 0, 2, 1), 1, Tick::default());
    for policy in POLICIES {
        let hashes = matches!(policy, Policy::Maglev | Policy::Sh(_) | Policy::Dh | Policy::Mh(_));
        let scheduler = build(policy, &three(), None);
        assert_eq!(scheduler.recall(&question).is_some(), hashes, "{policy}");
        if hashes {
            assert_eq!(scheduler.recall(&question), scheduler.pick(&question, &Loads::idle(3)), "{policy}");
            let mut loads = Loads::idle(3);
            loads.0.iter_mut().for_each(|(_, is_overloaded)| *is_overloaded = true);
            assert!(scheduler.recall(&question).is_some(), "{policy} recalls whatever the load");
        }
    }
}

#[test]
fn lblcr_gives_up_the_busiest_of_a_set_that_stayed_the_same_for_more_than_a_day() {
    const DAY: u32 = 24 * 60 * 60 * 4;
    let at = |tick: u32| question(v4(192, 0, 2, 1), 1, Tick::new(tick));
    let actives =
        |actives: [u64; 3]| Loads(actives.map(|active| (Load { active, inactive: 0 }, false)).into());
    for (later, expected) in [(DAY, 1), (DAY + 1, 2)] {
        let scheduler = build(Policy::Lblcr, &three(), None);
        let mut loads = Loads::idle(3);
        for _ in 0..20 {
            loads.hold(scheduler.pick(&at(0), &loads).expect("somebody takes it"));
        }
        assert!(loads.0.iter().all(|(load, _)| load.active > 0), "all three are in the set: {loads:?}");
        // rs2 is the busiest; the set is used, so that it is not forgotten as a whole.
        for tick in [DAY / 2, later] {
            assert_eq!(scheduler.pick(&at(tick), &actives([0, 2, 1])), Some(0));
        }
        // Would it have it, if idle?
        assert_eq!(scheduler.pick(&at(later), &actives([1, 0, 1])), Some(expected), "after {later} ticks");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Slots, weights and loads of the whole range of their types; loads that change from one call to the next.
    #[test]
    fn no_input_makes_a_scheduler_panic(
        policy in proptest::sample::select(&POLICIES[..]),
        sets in proptest::collection::vec(
            proptest::collection::hash_map(any::<u16>(), (any::<u128>(), any::<u16>(), any::<u16>()), 0..40), 1..4),
        questions in proptest::collection::vec(
            (any::<u64>(), any::<u128>(), any::<u16>(), any::<u128>(), any::<u32>()), 1..30),
        seed in any::<u64>(),
    ) {
        let mut previous: Option<Scheduler> = None;
        for set in sets {
            let candidates: Vec<Candidate> = set
                .into_iter()
                .map(|(slot, (address, port, weight))| Candidate { slot, address: v6(address), port, weight })
                .collect();
            let scheduler = build(policy, &candidates, previous.as_ref());
            for &(hash, src, src_port, dst, now) in &questions {
                let (src, dst) = (v6(src), v6(dst));
                let question = Question { hash, src, src_port, dst, now: Tick::new(now) };
                let fleet = Whims(seed.into());
                for slot in scheduler.pick(&question, &fleet).into_iter().chain(scheduler.recall(&question)) {
                    let picked = candidates.iter().find(|candidate| candidate.slot == slot);
                    prop_assert!(picked.is_some_and(|candidate| candidate.weight > 0));
                }
            }
            previous = Some(scheduler);
        }
    }
}

fn v6(bits: u128) -> Address {
    std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(bits)).into()
}

/// A fleet that answers anything at all.
struct Whims(std::cell::Cell<u64>);

impl Whims {
    fn next(&self) -> u64 {
        self.0.set(KEY.words(self.0.get(), 1));
        self.0.get()
    }
}

impl Fleet for Whims {
    fn load(&self, _: u16) -> Load {
        let word = |n: u64| if n.is_multiple_of(4) { u64::MAX } else { n >> (n % 64) };
        Load { active: word(self.next()), inactive: word(self.next()) }
    }

    fn is_overloaded(&self, _: u16) -> bool {
        self.next().is_multiple_of(3)
    }
}

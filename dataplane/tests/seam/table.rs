//! The flow table against a model that cannot be wrong: a hash map.

use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use proptest::prelude::*;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::table::{Inserted, MIN_FLOWS};
use shunt_dataplane::flow::{Flow, FlowKey, FlowState, FlowTable, Timeouts};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};
use shunt_dataplane::hash::HashKey;

const STATES: [FlowState; 6] = [
    FlowState::SynReceived,
    FlowState::Established,
    FlowState::FinWait,
    FlowState::Closed,
    FlowState::UdpNew,
    FlowState::Udp,
];

#[derive(Debug, Clone)]
enum Op {
    /// A packet of flow `key` arrives: found and updated, or inserted.
    Packet { key: u32, state: FlowState, real: u16 },
    /// Ticks go by.
    Wait(u32),
    /// So many buckets are looked through.
    Age(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let state = proptest::sample::select(&STATES[..]);
    prop_oneof![
        12 => (0u32..300, state, any::<u16>()).prop_map(|(key, state, real)| Op::Packet { key, state, real }),
        1 => (1u32..2000).prop_map(Op::Wait),
        2 => (1usize..40).prop_map(Op::Age),
    ]
}

fn key(n: u32) -> FlowKey {
    // Keys that differ in one field only, each field in turn.
    match n % 4 {
        0 => FlowKey::new(n / 4, 1, 1, ServiceId(1)),
        1 => FlowKey::new(0, n as u16, 1, ServiceId(1)),
        2 => FlowKey::new(0, 1, n as u16, ServiceId(1)),
        _ => FlowKey::new(0, 1, 1, ServiceId(n as u16)),
    }
}

/// Some keys share a hash: then all they have is two buckets.
fn hash(n: u32) -> u64 {
    HashKey([1, 2]).words(u64::from(if n < 40 { 0 } else { n }), 0)
}

/// Whom a newcomer may push aside.
fn may_be_replaced(flow: &Flow, now: Tick, timeouts: &Timeouts) -> bool {
    let settled = matches!(flow.state, FlowState::Established | FlowState::Udp);
    !settled || now.since(flow.seen) >= timeouts.of(flow.state)
}

/// The table and what should be in it.
struct Pair {
    table: FlowTable,
    model: HashMap<FlowKey, Flow>,
    now: Tick,
    timeouts: Timeouts,
}

impl Pair {
    fn contents(&self) -> HashMap<FlowKey, Flow> {
        let mut contents = HashMap::new();
        for (key, flow) in self.table.reader().iter() {
            assert!(contents.insert(key, flow).is_none(), "{key:?} occurs twice");
        }
        contents
    }

    fn packet(&mut self, n: u32, state: FlowState, real: u16) {
        let (key, slot) = (key(n), self.table.slot(hash(n)));
        let flow = Flow { real: RealSlot(real), epoch: (real & 0xf) as u8, state, seen: self.now };
        let found = self.table.find(slot, key);
        assert_eq!(found.map(|(_, flow)| flow), self.model.get(&key).copied());
        assert_eq!(self.table.reader().find(hash(n), key), self.model.get(&key).copied());
        if let Some((position, _)) = found {
            self.table.update(position, key, flow);
            self.model.insert(key, flow);
            return;
        }
        let before = self.model.clone();
        match self.table.insert(slot, key, flow, &self.timeouts) {
            Inserted::Free => {
                self.model.insert(key, flow);
            }
            Inserted::Replaced(service, victim) => {
                assert!(may_be_replaced(&victim, self.now, &self.timeouts), "{victim:?}");
                self.model.insert(key, flow);
                let contents = self.contents();
                let gone: Vec<_> = before.iter().filter(|(key, _)| !contents.contains_key(*key)).collect();
                assert_eq!(gone.len(), 1, "one makes room for one");
                assert_eq!((gone[0].0.service(), *gone[0].1), (service, victim));
                let gone = *gone[0].0;
                self.model.remove(&gone);
            }
            // Its two buckets (they may be one) are full of settled flows.
            Inserted::Refused => {
                let settled = before.values().filter(|flow| !may_be_replaced(flow, self.now, &self.timeouts));
                assert!(settled.count() >= 4);
            }
        }
    }

    fn age(&mut self, buckets: usize) {
        let mut told = Vec::new();
        self.table.age(buckets, self.now, &self.timeouts, |service, flow| told.push((service, flow)));
        let contents = self.contents();
        let (now, timeouts) = (self.now, &self.timeouts);
        let mut gone = Vec::new();
        self.model.retain(|key, flow| {
            let expired = now.since(flow.seen) >= timeouts.of(flow.state);
            let stays = contents.contains_key(key);
            assert!(stays || expired, "{flow:?} was forgotten too early");
            assert!(!(stays && expired && buckets >= MIN_FLOWS / 4), "{flow:?} was overlooked");
            if !stays {
                gone.push((key.service(), *flow));
            }
            stays
        });
        let order = |(service, flow): &(ServiceId, Flow)| (*service, flow.real, flow.seen.number());
        told.sort_by_key(order);
        gone.sort_by_key(order);
        assert_eq!(told.len(), gone.len());
        assert!(told.iter().all(|one| gone.contains(one)) && gone.iter().all(|one| told.contains(one)));
    }

    fn check(&self) {
        assert_eq!(self.contents(), self.model);
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.table.is_empty(), self.model.is_empty());
        assert!(self.table.len() <= self.table.capacity());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_table_remembers_what_a_hash_map_remembers(
        ops in proptest::collection::vec(op(), 1..500), start in any::<u32>(), boot_key in any::<u64>(),
    ) {
        let mut pair = Pair {
            table: FlowTable::new(MIN_FLOWS, boot_key),
            model: HashMap::new(),
            now: Tick::new(start),
            timeouts: Timeouts::default(),
        };
        for op in ops {
            match op {
                Op::Packet { key, state, real } => pair.packet(key, state, real),
                Op::Wait(ticks) => pair.now = Tick::new(pair.now.number() + ticks),
                Op::Age(buckets) => pair.age(buckets),
            }
            pair.check();
        }
    }
}

fn flow(state: FlowState, real: u16) -> Flow {
    Flow { real: RealSlot(real), epoch: 0, state, seen: Tick::new(0) }
}

#[test]
fn a_full_table_refuses_newcomers_and_forgets_no_established_flow() {
    let (mut table, timeouts) = (FlowTable::new(1024, 99), Timeouts::default());
    let mut remembered = Vec::new();
    for n in 0..20_000 {
        let (key, slot) = (FlowKey::new(n, 1, 1, ServiceId(0)), table.slot(hash(n + 1000)));
        match table.insert(slot, key, flow(FlowState::Established, n as u16), &timeouts) {
            Inserted::Free => remembered.push((n, key)),
            Inserted::Refused => {}
            Inserted::Replaced(_, victim) => panic!("{victim:?} had to go"),
        }
    }
    assert_eq!(remembered.len(), table.capacity(), "every place is taken in the end");
    assert_eq!(table.len(), table.capacity());
    for (n, key) in remembered {
        let found = table.find(table.slot(hash(n + 1000)), key).map(|(_, flow)| flow.real);
        assert_eq!(found, Some(RealSlot(n as u16)));
    }
}

/// How many of so many tenths of a table's capacity find no place.
fn turned_away(tenths: u32) -> (usize, u32) {
    let (mut table, timeouts) = (FlowTable::new(65_536, 99), Timeouts::default());
    let flows = table.capacity() as u32 * tenths / 10;
    let count = (0..flows)
        .filter(|&n| {
            let (key, slot) = (FlowKey::new(n, 1, 1, ServiceId(0)), table.slot(hash(n + 1000)));
            table.insert(slot, key, flow(FlowState::Established, 0), &timeouts) != Inserted::Free
        })
        .count();
    (count, flows)
}

#[test]
fn a_table_that_is_not_nearly_full_turns_hardly_anybody_away() {
    for (tenths, one_in) in [(5, 10_000), (6, 1_000)] {
        let (count, flows) = turned_away(tenths);
        assert!(count as u32 * one_in < flows, "{count} of {flows} at a load of 0.{tenths}");
    }
}

#[test]
fn a_newcomer_takes_the_place_of_an_expired_flow_before_a_closing_one_before_one_on_probation() {
    let timeouts = Timeouts::default();
    let mut table = FlowTable::new(MIN_FLOWS, 99);
    // Keys of one hash: they have two buckets, eight places, between them.
    let slot = table.slot(42);
    let key = |n| FlowKey::new(n, 1, 1, ServiceId(0));
    let at = |state, seen| Flow { seen: Tick::new(seen), ..flow(state, 0) };
    let neighbours = [
        at(FlowState::Established, 0),
        at(FlowState::SynReceived, 900),
        at(FlowState::FinWait, 950),
        at(FlowState::SynReceived, 800),
        at(FlowState::Closed, 999),
        at(FlowState::UdpNew, 10),
        at(FlowState::Udp, 20),
        at(FlowState::Established, 1000),
    ];
    let mut places = 0;
    for (n, flow) in neighbours.into_iter().enumerate() {
        places += usize::from(table.insert(slot, key(n as u32), flow, &timeouts) == Inserted::Free);
    }
    assert_eq!(places, 8, "the two buckets of this hash are one: choose another");
    // At tick 1000: SYN 60 s, UDP 300 s, FIN 120 s and CLOSE 10 s are 240, 1200, 480 and 40 ticks.
    let newcomer = at(FlowState::Established, 1000);
    let mut replaced = Vec::new();
    for n in 100..110 {
        match table.insert(slot, key(n), newcomer, &timeouts) {
            Inserted::Replaced(_, victim) => replaced.push((victim.state, victim.seen.number())),
            Inserted::Refused => break,
            Inserted::Free => panic!("the buckets are full"),
        }
    }
    assert_eq!(
        replaced,
        [
            (FlowState::FinWait, 950),
            (FlowState::Closed, 999),
            (FlowState::UdpNew, 10),
            (FlowState::SynReceived, 800),
            (FlowState::SynReceived, 900),
        ]
    );
    // An established flow makes room only when it has expired: 900 s are 3600 ticks.
    assert_eq!(table.insert(slot, key(200), newcomer, &timeouts), Inserted::Refused);
    let later = at(FlowState::Established, 3600);
    let victim = at(FlowState::Established, 0);
    assert_eq!(table.insert(slot, key(201), later, &timeouts), Inserted::Replaced(ServiceId(0), victim));
}

/// Another worker reads while this one writes: it must never find one flow's server under another's key.
#[test]
fn a_reader_never_takes_the_server_of_one_flow_for_that_of_another() {
    let mut table = FlowTable::new(MIN_FLOWS, 99);
    let (reader, timeouts) = (table.reader(), Timeouts::default());
    let (done, keys) = (AtomicBool::new(false), 64);
    let key = |n: u32| FlowKey::new(n, 1, 1, ServiceId(0));
    std::thread::scope(|scope| {
        // Newcomers on probation push each other out of the same eight places all the time.
        scope.spawn(|| {
            for n in 0..3_000_000u32 {
                let n = n % keys;
                if table.find(table.slot(42), key(n)).is_none() {
                    table.insert(table.slot(42), key(n), flow(FlowState::SynReceived, n as u16), &timeouts);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut found = 0u64;
        loop {
            let last = done.load(Ordering::Relaxed);
            for n in 0..keys {
                if let Some(flow) = reader.find(42, key(n)) {
                    found += 1;
                    assert_eq!(flow.real, RealSlot(n as u16), "after {found} good answers");
                }
            }
            for (key, flow) in reader.iter() {
                assert_eq!(flow.real, RealSlot(key.client() as u16), "in a walk");
            }
            if last {
                break;
            }
        }
        assert!(found > 0);
    });
}

//! The flow table against a model that cannot be wrong: a hash map, and a clock that does not wrap.

use hashbrown::HashMap;
use proptest::prelude::*;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::table::{Aged, Inserted, MIN_ENTRIES, Victim};
use shunt_dataplane::flow::{Capacity, Destination, Flow, FlowKey, FlowState, FlowTable, Timeouts};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};
use shunt_dataplane::packet::{Address, Protocol};

use super::{Family, client};

/// What services 0 to 3 may hold of each family's 64 entries, in 1/1000.
const SHARES: [u16; 4] = [1000, 500, 100, 0];

#[derive(Debug, Clone)]
enum Op {
    /// A packet of flow `key` arrives: found and updated, or inserted.
    Packet { key: u32, state: FlowState, real: u16, timeout: u32 },
    /// Flow `key` is taken out.
    Remove { key: u32 },
    /// Ticks go by.
    Wait(u32),
    /// So many buckets are looked through.
    Age(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let state = proptest::sample::select(&FlowState::ALL[..]);
    let timeout = prop_oneof![4 => 1u32..100, 4 => 1u32..5000, 1 => Just(Timeouts::MAX)];
    prop_oneof![
        24 => (0u32..600, state, any::<u16>(), timeout)
            .prop_map(|(key, state, real, timeout)| Op::Packet { key, state, real, timeout }),
        1 => (0u32..600).prop_map(|key| Op::Remove { key }),
        2 => (1u32..2000).prop_map(Op::Wait),
        2 => (1usize..80).prop_map(Op::Age),
    ]
}

/// Keys of either family that differ in one field only, each field in turn; template keys among them.
fn key(n: u32) -> FlowKey {
    let family = if n.is_multiple_of(2) { Family::V4 } else { Family::V6 };
    let n = n / 2;
    let service = ServiceId((n / 5 % 4) as u16);
    match n % 5 {
        0 => FlowKey::new(client(family, n), 1, 1, service),
        1 => FlowKey::new(client(family, 0), n as u16, 1, service),
        2 => FlowKey::new(client(family, 0), 1, n as u16, service),
        3 => FlowKey::new(client(family, n / 20), 1, 1, service),
        _ => FlowKey::template(client(family, n), service),
    }
}

/// Services 0 and 1 have one destination.
fn to(key: &FlowKey) -> Destination {
    Destination::new(Address::from_v4(u32::from(key.service.0.max(1))), Protocol::Tcp)
}

/// What the dataplane would hear from a scheduler.
fn is_dispensable(flow: &Flow) -> bool {
    flow.real.0.is_multiple_of(3)
}

/// What should be in the table: a flow, and when it expires on a clock that does not wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    flow: Flow,
    expires: u64,
}

impl Known {
    /// Why it may be pushed aside, if it may, and whose turn comes first.
    fn rank(&self, now: u64) -> Option<(Victim, (u8, u64))> {
        let state = self.flow.state;
        if self.expires <= now {
            Some((Victim::Expired, (0, self.expires)))
        } else if [FlowState::FinWait, FlowState::TimeWait, FlowState::Closed].contains(&state) {
            Some((Victim::Closing, (1, self.expires)))
        } else if ["syn-received", "midway", "udp-new", "sctp-new", "template-new"].contains(&state.name()) {
            Some((Victim::Probation, (2, self.expires)))
        } else if is_dispensable(&self.flow) {
            Some((Victim::Dispensable, (3, 0)))
        } else {
            None
        }
    }
}

/// The table and what should be in it.
struct Pair {
    table: FlowTable,
    model: HashMap<FlowKey, Known>,
    /// The tick that the table calls 0.
    start: u32,
    now: u64,
}

impl Pair {
    fn tick(&self, moment: u64) -> Tick {
        Tick::new(self.start + moment as u32)
    }

    fn contents(&self) -> HashMap<FlowKey, Flow> {
        let mut contents = HashMap::new();
        for (key, flow) in self.table.reader().iter() {
            assert!(contents.insert(key, flow).is_none(), "{key:?} occurs twice");
        }
        contents
    }

    fn held(&self, service: ServiceId) -> usize {
        self.model.keys().filter(|key| key.service == service).count()
    }

    fn packet(&mut self, n: u32, state: FlowState, real: u16, timeout: u32) {
        let key = key(n);
        let slot = self.table.slot(to(&key), &key);
        let expires = self.now + u64::from(timeout);
        let flow =
            Flow { real: RealSlot(real), epoch: (real & 0xf) as u8, state, expires: self.tick(expires) };
        let found = self.table.find(slot, &key);
        let known = self.model.get(&key).map(|known| known.flow);
        assert_eq!(found.map(|(_, flow)| flow), known);
        assert_eq!(self.table.reader().find(to(&key), &key), known);
        if let Some((position, _)) = found {
            self.table.update(position, key.service, flow);
            self.model.insert(key, Known { flow, expires });
            return;
        }
        let share = SHARES[usize::from(key.service.0)];
        let sated = self.held(key.service) >= (MIN_ENTRIES * usize::from(share) / 1000).max(1);
        // Whoever has the same two buckets, and may be pushed aside: nobody may have been passed over.
        let best = |pair: &Pair| {
            let mates = pair.model.iter().filter(|(mate, _)| pair.table.slot(to(mate), mate) == slot);
            let mates = mates.filter(|(mate, _)| !sated || mate.service == key.service);
            mates.filter_map(|(_, known)| known.rank(pair.now)).map(|(_, rank)| rank).min()
        };
        let best = best(self);
        let now = self.tick(self.now);
        match self.table.insert(slot, &key, flow, now, share, |_, flow| is_dispensable(flow)) {
            Inserted::Free => assert!(!sated),
            Inserted::Replaced(old, victim, why) => {
                let known = self.model.remove(&old).expect("it was remembered");
                assert_eq!(known.flow, victim);
                let (reason, rank) = known.rank(self.now).expect("it may be replaced");
                assert_eq!(reason, why);
                assert!(best.is_none_or(|best| rank <= best), "{known:?} went before {best:?}");
                assert!(!sated || old.service == key.service);
            }
            Inserted::Refused => {
                assert_eq!(best, None);
                let settled = self.model.values().filter(|known| known.rank(self.now).is_none());
                assert!(sated || settled.count() >= 8);
                return;
            }
        }
        self.model.insert(key, Known { flow, expires });
    }

    fn remove(&mut self, n: u32) {
        let key = key(n);
        if let Some((position, _)) = self.table.find(self.table.slot(to(&key), &key), &key) {
            self.table.remove(position);
            assert!(self.model.remove(&key).is_some());
        }
    }

    fn age(&mut self, buckets: usize) {
        let mut told = HashMap::new();
        self.table.age(buckets, self.tick(self.now), |key, flow, aged| {
            if aged == Aged::Alive {
                return;
            }
            assert!(told.insert(key, flow).is_none(), "{key:?} was forgotten twice");
        });
        let all = buckets >= self.table.buckets();
        let now = self.now;
        self.model.retain(|key, known| match told.remove(key) {
            Some(flow) => {
                assert_eq!(flow, known.flow);
                assert!(known.expires <= now, "{known:?} was forgotten too early");
                false
            }
            None => {
                assert!(!(all && known.expires <= now), "{known:?} was overlooked");
                true
            }
        });
        assert!(told.is_empty(), "{told:?} was not there");
    }

    fn check(&self) {
        let model: HashMap<FlowKey, Flow> =
            self.model.iter().map(|(key, known)| (*key, known.flow)).collect();
        assert_eq!(self.contents(), model);
        assert_eq!(self.table.len(), model.len());
        assert_eq!(self.table.is_empty(), model.is_empty());
        for service in (0..SHARES.len() as u16).map(ServiceId) {
            assert_eq!(self.table.held(service), self.held(service));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_table_remembers_what_a_hash_map_remembers(
        ops in proptest::collection::vec(op(), 1..600), start in 0u32..1 << 24, boot_key in any::<u64>(),
    ) {
        let table = FlowTable::new(Capacity::each(MIN_ENTRIES), boot_key);
        let mut pair = Pair { table, model: HashMap::new(), start, now: 0 };
        for op in ops {
            match op {
                Op::Packet { key, state, real, timeout } => pair.packet(key, state, real, timeout),
                Op::Remove { key } => pair.remove(key),
                Op::Wait(ticks) => pair.now += u64::from(ticks),
                Op::Age(buckets) => pair.age(buckets),
            }
            pair.check();
        }
    }
}

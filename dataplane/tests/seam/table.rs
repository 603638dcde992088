//! The flow table: who finds room, who makes it, and what it costs. Against a model: `model`; beside readers:
//! `readers`.

mod model;
mod readers;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::table::{Aged, Inserted, MIN_ENTRIES, Victim};
use shunt_dataplane::flow::{Capacity, Destination, Flow, FlowKey, FlowState, FlowTable, Timeouts};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};
use shunt_dataplane::packet::{Address, Protocol};

/// Where every flow here goes: what tells their buckets apart is the key and the boot key.
const TO: Destination = Destination::new(Address::from_v4(0xc000_020a), Protocol::Tcp);
const WEB: ServiceId = ServiceId(1);
const DNS: ServiceId = ServiceId(2);
/// The whole table.
const ALL: u16 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Client number `n`: 198.18.0.0 + n, 2001:db8::n.
fn client(family: Family, n: u32) -> Address {
    match family {
        Family::V4 => Address::from_v4(0xc612_0000_u32.wrapping_add(n)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n))).into(),
    }
}

fn key(family: Family, n: u32, service: ServiceId) -> FlowKey {
    FlowKey::new(client(family, n), 40_000, 443, service)
}

/// Keys that all have the same two buckets; key number `n` is one of `service(n)`.
fn mates(table: &FlowTable, family: Family, service: impl Fn(usize) -> ServiceId) -> Vec<FlowKey> {
    let wanted = table.slot(TO, &key(family, 0, service(0)));
    let mut mates = Vec::new();
    for n in 0.. {
        let key = key(family, n, service(mates.len()));
        if table.slot(TO, &key) == wanted {
            mates.push(key);
        }
        if mates.len() == 20 {
            break;
        }
    }
    mates
}

fn flow(state: FlowState, real: u16, expires: u32) -> Flow {
    Flow { real: RealSlot(real), epoch: 0, state, expires: Tick::new(expires) }
}

/// Inserts at tick 0, for a service that may have everything; nothing is dispensable.
fn insert(table: &mut FlowTable, key: &FlowKey, flow: Flow) -> Inserted {
    table.insert(table.slot(TO, key), key, flow, Tick::new(0), ALL, |_, _| false)
}

fn real_of(table: &FlowTable, key: &FlowKey) -> Option<u16> {
    table.find(table.slot(TO, key), key).map(|(_, flow)| flow.real.0)
}

#[test]
fn a_full_table_refuses_newcomers_and_forgets_no_established_flow() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(1024), 99);
        let mut remembered = Vec::new();
        for n in 0..20_000 {
            let key = key(family, n, WEB);
            match insert(&mut table, &key, flow(FlowState::Established, n as u16, 3600)) {
                Inserted::Free => remembered.push((n, key)),
                Inserted::Refused => {}
                Inserted::Replaced(_, victim, _) => panic!("{victim:?} had to go"),
            }
        }
        assert_eq!(remembered.len(), 1024, "every place of the family is taken in the end");
        assert_eq!((table.len(), table.held(WEB)), (1024, 1024));
        for (n, key) in remembered {
            assert_eq!(real_of(&table, &key), Some(n as u16));
        }
        // The other family has its own room.
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        let newcomer = flow(FlowState::Established, 1, 3600);
        assert_eq!(insert(&mut table, &key(other, 0, WEB), newcomer), Inserted::Free);
    }
}

/// Newcomers without a place, one in a million, when a table is filled up to so many tenths of its capacity.
fn turned_away(family: Family, tenths: usize) -> usize {
    let mut table = FlowTable::new(Capacity::each(1 << 19), 99);
    let flows = (1 << 19) * tenths / 10;
    let established = flow(FlowState::Established, 0, 3600);
    let refused = (0..flows as u32)
        .filter(|&n| insert(&mut table, &key(family, n, WEB), established) != Inserted::Free);
    refused.count() * 1_000_000 / flows
}

#[test]
fn a_table_that_is_not_nearly_full_turns_hardly_anybody_away() {
    for family in FAMILIES {
        let found = [5, 6, 8].map(|tenths| turned_away(family, tenths));
        println!("{family:?}: of a million newcomers {found:?} find no room at loads of 0.5, 0.6 and 0.8");
        for (found, most) in found.into_iter().zip([5, 150, 12_000]) {
            assert!(found <= most, "{family:?}: {found} of a million, not {most}");
        }
    }
}

#[test]
fn where_a_flow_stands_depends_on_its_destination_and_on_the_boot() {
    // All flows here go to one destination; `turned_away` shows that they find room. Two boots put them elsewhere.
    for family in FAMILIES {
        let tables = [1, 2].map(|boot_key| FlowTable::new(Capacity::each(1 << 18), boot_key));
        let keys: Vec<FlowKey> = (0..1000).map(|n| key(family, n, WEB)).collect();
        let slots: HashSet<String> =
            keys.iter().map(|key| format!("{:?}", tables[0].slot(TO, key))).collect();
        assert_eq!(slots.len(), keys.len(), "no two have the same two buckets");
        assert!(keys.iter().all(|key| tables[0].slot(TO, key) != tables[1].slot(TO, key)));
        let to = |vip, protocol| tables[0].slot(Destination::new(Address::from_v4(vip), protocol), &keys[0]);
        assert_ne!(to(1, Protocol::Tcp), to(2, Protocol::Tcp));
        assert_ne!(to(1, Protocol::Tcp), to(1, Protocol::Udp));
    }
}

#[test]
fn a_newcomer_takes_the_place_of_the_expired_before_the_closing_before_those_on_probation_before_the_dispensable()
 {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let keys = mates(&table, family, |_| WEB);
        let now = Tick::new(1000);
        let neighbours = [
            (FlowState::Established, 1001),
            (FlowState::Midway, 1200),
            (FlowState::FinWait, 1400),
            (FlowState::SynReceived, 1100),
            (FlowState::TimeWait, 1300),
            // Real servers 5 and 7 are what the scheduler would say.
            (FlowState::Udp, 5000),
            (FlowState::Established, 1000),
            (FlowState::Sctp, 999),
        ];
        let (remembered, newcomers) = keys.split_at(neighbours.len());
        for (n, (state, expires)) in neighbours.into_iter().enumerate() {
            let inserted = insert(&mut table, &remembered[n], flow(state, n as u16, expires));
            assert_eq!(inserted, Inserted::Free);
        }
        let newcomer = flow(FlowState::Established, 100, 5000);
        let mut order = Vec::new();
        for key in newcomers {
            let slot = table.slot(TO, key);
            let inserted = table.insert(slot, key, newcomer, now, ALL, |key, flow| {
                assert_eq!(remembered.iter().position(|k| k == key).unwrap_or(100), usize::from(flow.real.0));
                [5, 7].contains(&flow.real.0)
            });
            match inserted {
                Inserted::Replaced(old, flow, why) => {
                    assert_eq!(old, remembered[usize::from(flow.real.0)]);
                    assert_eq!(real_of(&table, &old), None);
                    assert_eq!(real_of(&table, key), Some(100));
                    order.push((flow.real.0, why));
                }
                Inserted::Refused => break,
                Inserted::Free => panic!("the buckets are full"),
            }
        }
        let [expired, closing, probation, dispensable] =
            [Victim::Expired, Victim::Closing, Victim::Probation, Victim::Dispensable];
        assert_eq!(
            order,
            [
                (7, expired),
                (6, expired),
                (4, closing),
                (2, closing),
                (3, probation),
                (1, probation),
                (5, dispensable),
            ]
        );
        // What is left: an established flow with a tick to go, and newcomers.
        assert_eq!(real_of(&table, &remembered[0]), Some(0));
        assert_eq!((table.len(), table.held(WEB)), (8, 8));
    }
}

#[test]
fn a_service_that_holds_its_share_may_replace_flows_of_its_own_only() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let keys = mates(&table, family, |n| if n % 2 == 0 { WEB } else { DNS });
        let mut put = |n: usize, state, share| {
            let (key, slot) = (&keys[n], table.slot(TO, &keys[n]));
            let inserted = table.insert(slot, key, flow(state, 0, 240), Tick::new(0), share, |_, _| false);
            match inserted {
                Inserted::Free => ("free", table.held(WEB), table.held(DNS)),
                Inserted::Replaced(old, ..) if old.service == WEB => {
                    ("web", table.held(WEB), table.held(DNS))
                }
                Inserted::Replaced(..) => ("dns", table.held(WEB), table.held(DNS)),
                Inserted::Refused => ("none", table.held(WEB), table.held(DNS)),
            }
        };
        let (new, settled) = (FlowState::SynReceived, FlowState::Established);
        for n in 0..6 {
            assert_eq!(put(n, new, ALL), ("free", (n + 2) / 2, n.div_ceil(2)));
        }
        // 47 of 1000 are 3 of 64: WEB holds its share, and takes no free entry, though there are two.
        for n in [6, 8, 10] {
            assert_eq!(put(n, settled, 47), ("web", 3, 3));
        }
        // With nothing left of its own to push aside it is refused, whatever DNS has on probation.
        assert_eq!(put(12, settled, 47), ("none", 3, 3));
        // With a larger share there is room, and then the probation of others makes some.
        assert_eq!(put(12, settled, 70), ("free", 4, 3));
        assert_eq!(put(7, new, 100), ("free", 4, 4));
        assert_eq!(put(14, settled, 100), ("dns", 5, 3));
        assert_eq!(put(9, settled, 100), ("dns", 5, 3));
    }
}

#[test]
fn a_share_is_one_entry_at_least() {
    let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
    for (n, expected) in [(0, Inserted::Free), (1, Inserted::Refused)] {
        let key = key(Family::V4, n, WEB);
        let slot = table.slot(TO, &key);
        let established = flow(FlowState::Established, 0, 3600);
        assert_eq!(table.insert(slot, &key, established, Tick::new(0), 0, |_, _| false), expected);
    }
}

#[test]
fn a_flood_of_one_service_costs_another_no_flow_and_no_newcomer_its_place() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(8192), 99);
        let (mut replaced, mut refused) = (0, 0);
        let mut theirs = Vec::new();
        for n in 0..200_000u32 {
            let now = Tick::new(n / 1000);
            let attack = key(family, 1_000_000 + n, WEB);
            let syn = flow(FlowState::SynReceived, 0, n / 1000 + 240);
            match table.insert(table.slot(TO, &attack), &attack, syn, now, 300, |_, _| false) {
                Inserted::Free => {}
                Inserted::Replaced(old, ..) => {
                    assert_eq!(old.service, WEB, "number {n}");
                    replaced += 1;
                }
                Inserted::Refused => refused += 1,
            }
            // Beside it another service has newcomers, up to two tenths of the table; half get no further.
            if n % 120 == 0 && theirs.len() < 1638 {
                let state = if n % 240 == 0 { FlowState::Established } else { FlowState::SynReceived };
                let key = key(family, n, DNS);
                let flow = flow(state, n as u16, n / 1000 + 3600);
                let inserted = table.insert(table.slot(TO, &key), &key, flow, now, ALL, |_, _| false);
                assert!(!matches!(inserted, Inserted::Refused), "number {n}");
                theirs.push((n as u16, key));
            }
        }
        assert_eq!(theirs.len(), 1638);
        for (real, key) in &theirs {
            assert_eq!(real_of(&table, key), Some(*real));
        }
        assert_eq!((table.held(WEB), table.held(DNS)), (8192 * 300 / 1000, theirs.len()));
        assert!(replaced > 0 && refused > 0, "{replaced} replaced, {refused} refused");
    }
}

#[test]
fn a_removed_flow_is_forgotten_and_its_place_free() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let keys = mates(&table, family, |_| WEB);
        for key in &keys[..8] {
            insert(&mut table, key, flow(FlowState::Established, 0, 3600));
        }
        let (position, _) = table.find(table.slot(TO, &keys[3]), &keys[3]).expect("remembered");
        table.remove(position);
        // Nobody stands there any more.
        table.remove(position);
        assert_eq!(real_of(&table, &keys[3]), None);
        assert_eq!((table.len(), table.held(WEB)), (7, 7));
        assert_eq!(insert(&mut table, &keys[8], flow(FlowState::Established, 0, 3600)), Inserted::Free);
    }
}

#[test]
fn a_template_is_no_flow() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let template = FlowKey::template(client(family, 7), WEB);
        let timeouts = Timeouts::default().with(FlowState::Template, 100);
        let now = Tick::new(5);
        let expires = timeouts.expiry(FlowState::Template, now);
        let flow = Flow { real: RealSlot(3), epoch: 2, state: FlowState::Template, expires };
        assert_eq!(insert(&mut table, &template, flow), Inserted::Free);
        assert_eq!(real_of(&table, &key(family, 7, WEB)), None);
        assert_eq!(table.reader().iter().collect::<Vec<_>>(), [(template, flow)]);
        let mut gone = Vec::new();
        table.age(table.buckets(), Tick::new(104), |key, _, aged| {
            if aged == Aged::Forgotten {
                gone.push(key);
            }
        });
        assert_eq!(gone, []);
        table.age(table.buckets(), Tick::new(105), |key, _, aged| {
            if aged == Aged::Forgotten {
                gone.push(key);
            }
        });
        assert_eq!(gone, [template]);
        assert!(table.is_empty());
    }
}

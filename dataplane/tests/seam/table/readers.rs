//! Other workers read while one writes: they must never find one flow's server under another's key, nor a key that
//! nobody ever had, nor miss a flow that stands there.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::fragments::Whither;
use shunt_dataplane::flow::table::MIN_ENTRIES;
use shunt_dataplane::flow::{Capacity, FlowKey, FlowState, FlowTable, FragmentTable};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};

use super::{FAMILIES, Family, TO, WEB, client, flow, insert, mates};

const ROUNDS: u32 = 2_000_000;

/// Runs `write` on a thread of its own, and `read` beside it until that is done and once more.
fn beside(write: impl FnOnce() + Send, mut read: impl FnMut()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write();
            done.store(true, Ordering::Release);
        });
        loop {
            let last = done.load(Ordering::Acquire);
            read();
            if last {
                break;
            }
        }
    });
}

#[test]
fn a_reader_never_takes_the_server_of_one_flow_for_that_of_another() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let reader = table.reader();
        // All have the same eight places.
        let keys = mates(&table, family, |_| WEB);
        let right = |key: &FlowKey| keys.iter().position(|k| k == key).map(|n| RealSlot(n as u16));
        let mut found = 0u64;
        let write = || {
            // Newcomers on probation push each other out all the time.
            for n in 0..ROUNDS {
                let n = n as usize % keys.len();
                let key = &keys[n];
                if table.find(table.slot(TO, key), key).is_none() {
                    insert(&mut table, key, flow(FlowState::SynReceived, n as u16, 240));
                }
                // Some find a free place.
                let old = &keys[(n * n + 7) % keys.len()];
                if let Some((position, _)) = table.find(table.slot(TO, old), old) {
                    table.remove(position);
                }
            }
        };
        beside(write, || {
            for key in &keys {
                if let Some(flow) = reader.find(TO, key) {
                    found += 1;
                    assert_eq!(Some(flow.real), right(key), "after {found} good answers");
                }
            }
            for (key, flow) in reader.iter() {
                assert_eq!(Some(flow.real), right(&key), "in a walk");
            }
        });
        assert!(found > 0);
    }
}

/// The words of an IPv6 key are written one after the other. All flows here have the same meta word, so that it says
/// nothing about which key it belongs to.
#[test]
fn a_reader_never_sees_a_key_that_is_half_one_and_half_another() {
    let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
    let reader = table.reader();
    let half = |upper: u16, lower: u16| {
        let bits = 0x2001_0db8 << 96 | u128::from(upper) << 64 | u128::from(lower);
        FlowKey::new(IpAddr::V6(Ipv6Addr::from_bits(bits)).into(), lower, 443, WEB)
    };
    let whole = |n| half(n, n);
    let mut seen = 0u64;
    let write = || {
        for n in 0..ROUNDS {
            let key = whole((n % 500) as u16);
            if table.find(table.slot(TO, &key), &key).is_none() {
                insert(&mut table, &key, flow(FlowState::SynReceived, 7, 240));
            }
        }
    };
    beside(write, || {
        for (key, _) in reader.iter() {
            seen += 1;
            assert_eq!(key, whole(key.client_port), "after {seen} good keys");
        }
    });
    assert!(seen > 0);
}

#[test]
fn a_flow_that_stands_there_is_found_however_often_it_is_updated() {
    for family in FAMILIES {
        let mut table = FlowTable::new(Capacity::each(MIN_ENTRIES), 99);
        let reader = table.reader();
        let key = FlowKey::new(client(family, 1), 40_000, 443, WEB);
        insert(&mut table, &key, flow(FlowState::Established, 7, 0));
        let write = || {
            for n in 0..ROUNDS {
                let (position, _) = table.find(table.slot(TO, &key), &key).expect("it stands there");
                table.update(position, key.service, flow(FlowState::Established, 7, n));
            }
        };
        let mut last = 0;
        beside(write, || {
            for _ in 0..100 {
                let expires = reader.find(TO, &key).expect("it stands there").expires.number();
                assert!(expires >= last, "{expires} after {last}");
                last = expires;
                assert_eq!(reader.iter().count(), 1);
            }
        });
        assert_eq!(last, ROUNDS - 1);
    }
}

#[test]
fn a_reader_never_sends_the_fragments_of_one_datagram_after_another() {
    let mut table = FragmentTable::new(64, 99);
    let reader = table.reader();
    let src = client(Family::V4, 1);
    let tags: Vec<u64> = (0..300).map(|id| table.tag(src, client(Family::V4, 2), 17, id)).collect();
    let whither = |n: usize| Whither { service: ServiceId(n as u16), real: RealSlot(!n as u16), epoch: 3 };
    let mut found = 0u64;
    let write = || {
        for n in 0..ROUNDS as usize {
            let n = n % tags.len();
            table.insert(tags[n], whither(n), Tick::new(0));
        }
    };
    beside(write, || {
        for (n, tag) in tags.iter().enumerate() {
            if let Some(answer) = reader.find(*tag, Tick::new(1)) {
                found += 1;
                assert_eq!(answer, whither(n), "after {found} good answers");
            }
        }
    });
    assert!(found > 0);
}

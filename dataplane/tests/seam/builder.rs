//! The builder of forwarding states: ids that stay, invariants that hold, and every error.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shunt_dataplane::forwarding::{
    BuildError, Builder, ForwardingState, Ports, RealSlot, RealSpec, RealState, ServiceId, ServiceKey,
    ServiceSpec,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::Address;
use shunt_dataplane::port::PortId;

use crate::rig::{address, dns, down, draining, http, path, service, up, weighted};

fn empty() -> ForwardingState {
    ForwardingState::empty(HashKey([7, 11]))
}

fn build(previous: &ForwardingState, specs: &[ServiceSpec]) -> Result<ForwardingState, BuildError> {
    Builder::after(previous, 2, 2).build(specs)
}

fn key(n: u16) -> ServiceKey {
    ServiceKey { ports: Ports::exact(1000 + n), ..http() }
}

type Place = (ServiceId, RealSlot, u8);

/// Where everything is: ids of services, and of their real servers slots and epochs.
fn places(
    state: &ForwardingState,
) -> (BTreeMap<ServiceKey, ServiceId>, BTreeMap<(ServiceKey, Address), Place>) {
    let mut reals = BTreeMap::new();
    let services = state.services().map(|(id, service)| {
        for (slot, real) in service.reals() {
            reals.insert((*service.key(), real.address()), (id, slot, real.epoch()));
        }
        (*service.key(), id)
    });
    (services.collect(), reals)
}

/// All that can be seen of a state, but for the counters.
fn digest(state: &ForwardingState) -> Vec<String> {
    let services = state.services().map(|(id, service)| {
        let reals: Vec<_> = service
            .reals()
            .map(|(slot, real)| {
                (slot, real.address(), real.weight(), real.state(), real.path().copied(), real.epoch())
            })
            .collect();
        let table = service.scheduler().maglev().map(|table| table.slots().to_vec());
        format!("{} {id:?} {:?} {reals:?} {table:?}", state.generation(), service.key())
    });
    services.collect()
}

fn check(state: &ForwardingState, specs: &[ServiceSpec]) {
    assert_eq!(state.services().count(), specs.len());
    for spec in specs {
        let id = state.find(&spec.key).expect("every service is found");
        let service = state.service(id).expect("every id leads to a service");
        assert!(service.is_live());
        assert_eq!(service.key(), &spec.key);
        assert_eq!(service.reals().count(), spec.reals.len());
        assert_eq!(service.counters().len(), 2);
        let mut newcomers_go_to = BTreeSet::new();
        for wanted in &spec.reals {
            let (slot, real) =
                service.reals().find(|(_, real)| real.address() == wanted.address).expect("is there");
            assert!(std::ptr::eq(service.real(slot).expect("slots are dense"), real));
            assert_eq!(real.weight(), wanted.weight);
            assert_eq!(real.counters().len(), 2);
            let expected = match (wanted.path, wanted.healthy, wanted.weight) {
                (None, ..) | (_, false, _) => RealState::Down,
                (_, _, 0) => RealState::Draining,
                _ => RealState::Up,
            };
            assert_eq!(real.state(), expected);
            assert_eq!(real.path().copied(), wanted.path, "one that is down keeps its path");
            if expected == RealState::Up {
                newcomers_go_to.insert(slot.0);
            }
            assert_eq!(service.holder(slot, real.epoch()).is_some(), expected != RealState::Down);
            assert!(service.tenant(slot, (real.epoch() + 1) & 0xf).is_none());
        }
        let scheduled: BTreeSet<u16> = service
            .scheduler()
            .maglev()
            .map(|table| table.slots().iter().copied().collect())
            .unwrap_or_default();
        assert_eq!(scheduled, newcomers_go_to, "new flows go to those that are up and to no other");
    }
}

fn specs() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let real = (0u16..8, 0u16..6).prop_map(|(n, kind)| {
        let unreachable = RealSpec { path: None, ..up(n) };
        let drained = RealSpec { healthy: false, ..draining(n) };
        [up(n), weighted(n, 7), draining(n), down(n), unreachable, drained][kind as usize]
    });
    let reals = proptest::collection::vec(real, 0..8).prop_map(|mut reals| {
        let mut known = BTreeSet::new();
        reals.retain(|real| known.insert(real.address));
        reals
    });
    let services = proptest::collection::vec((0u16..5, reals), 0..5);
    services.prop_map(|services| {
        let mut known = BTreeSet::new();
        let services = services.into_iter().filter(|(n, _)| known.insert(*n));
        services.map(|(n, reals)| service(key(n), reals)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ids_stay_whatever_comes_and_goes(history in proptest::collection::vec(specs(), 1..10)) {
        let (mut services, mut reals) = (BTreeMap::new(), BTreeMap::new());
        let mut state = empty();
        for specs in &history {
            let next = build(&state, specs).unwrap();
            prop_assert_eq!(next.generation(), state.generation() + 1);
            // Pure: once more, and the same comes out.
            prop_assert_eq!(digest(&next), digest(&build(&state, specs).unwrap()));
            check(&next, specs);
            let now = places(&next);
            for (key, id) in now.0 {
                prop_assert_eq!(*services.entry(key).or_insert(id), id, "{:?}", key);
            }
            for (key, place) in now.1 {
                prop_assert_eq!(*reals.entry(key).or_insert(place), place, "{:?}", key);
            }
            state = next;
        }
        let ids: BTreeSet<_> = services.values().collect();
        prop_assert_eq!(ids.len(), services.len(), "no two services share an id");
        let taken: BTreeSet<_> = reals.values().collect();
        prop_assert_eq!(taken.len(), reals.len(), "no two real servers share a slot");
    }
}

#[test]
fn the_same_specification_again_reuses_the_tables() {
    let specs = [service(http(), [up(1), weighted(2, 3)])];
    let first = build(&empty(), &specs).unwrap();
    let second = build(&first, &specs).unwrap();
    let table = |state: &ForwardingState| {
        let (_, service) = state.services().next().unwrap();
        std::ptr::from_ref(service.scheduler().maglev().unwrap())
    };
    assert_eq!(table(&first), table(&second));
}

#[test]
fn the_order_of_a_specification_does_not_change_where_new_flows_go() {
    let owners = |reals: &[u16]| -> Vec<Address> {
        let state = build(&empty(), &[service(http(), reals.iter().map(|&n| weighted(n, n)))]).unwrap();
        let (_, service) = state.services().next().unwrap();
        let slots = service.scheduler().maglev().unwrap().slots().to_vec();
        slots.iter().map(|&slot| service.real(RealSlot(slot)).unwrap().address()).collect()
    };
    assert_eq!(owners(&[1, 2, 3, 4]), owners(&[3, 1, 4, 2]));
}

#[test]
fn a_service_twice_is_an_error() {
    let specs = [service(http(), [up(1)]), service(dns(), [up(1)]), service(http(), [up(2)])];
    assert_eq!(build(&empty(), &specs).err(), Some(BuildError::DuplicateService(http())));
}

#[test]
fn a_real_server_twice_is_an_error_in_a_new_service_and_in_an_old_one() {
    let specs = [service(http(), [up(1), up(2), weighted(1, 5)])];
    let error = BuildError::DuplicateReal(http(), address(1));
    assert_eq!(build(&empty(), &specs).err(), Some(error.clone()));
    let old = build(&empty(), &[service(http(), [up(1)])]).unwrap();
    assert_eq!(build(&old, &specs).err(), Some(error.clone()));
    let gone = build(&old, &[]).unwrap();
    assert_eq!(build(&gone, &specs).err(), Some(error.clone()));
}

#[test]
fn a_port_that_does_not_exist_is_an_error() {
    let mut real = up(1);
    real.path = Some(path(1, 2));
    let error = BuildError::NoSuchPort(http(), address(1), PortId(2));
    assert_eq!(build(&empty(), &[service(http(), [real])]).err(), Some(error.clone()));
}

#[test]
fn more_services_than_ids_are_an_error() {
    // 65536 fit.
    let mut specs: Vec<ServiceSpec> =
        (0..=u16::MAX).map(|port| service(ServiceKey { ports: Ports::exact(port), ..http() }, [])).collect();
    let full = build(&empty(), &specs).unwrap();
    assert_eq!(full.services().count(), 65_536);
    specs.push(service(dns(), []));
    assert_eq!(build(&empty(), &specs).err(), Some(BuildError::TooManyServices));
    assert_eq!(build(&full, &specs).err(), Some(BuildError::TooManyServices));
    // One gives way to another.
    specs.swap_remove(7);
    let changed = build(&full, &specs).unwrap();
    assert_eq!(changed.find(&dns()), Some(ServiceId(7)));
    assert_eq!(changed.services().count(), 65_536);
}

#[test]
fn more_real_servers_than_slots_are_an_error() {
    // The last slot is nobody's.
    let mut reals: Vec<_> = (0..u16::MAX).map(down).collect();
    let full = build(&empty(), &[service(http(), reals.clone())]).unwrap();
    assert_eq!(full.services().next().unwrap().1.reals().count(), 65_535);
    let mut one_more = down(0);
    one_more.address = Address::from_v4(0xcb00_7101);
    reals.push(one_more);
    let error = BuildError::TooManyReals(http());
    assert_eq!(build(&empty(), &[service(http(), reals.clone())]).err(), Some(error.clone()));
    assert_eq!(build(&full, &[service(http(), reals)]).err(), Some(error.clone()));
}

#[test]
fn few_tombstones_are_kept_and_the_oldest_goes_first() {
    let mut state = build(&empty(), &[service(http(), [up(0)])]).unwrap();
    for n in 1..500u16 {
        state = build(&state, &[service(http(), [up(n)])]).unwrap();
        let (_, service) = state.services().next().unwrap();
        let (slot, real) = service.reals().next().unwrap();
        // The 66 first slots in turn, then again from the first, each time with the next epoch.
        assert_eq!((slot.0, real.epoch()), (n % 66, (n / 66) as u8), "{n}");
    }
}

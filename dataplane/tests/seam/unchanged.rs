//! What is handed on from one forwarding state to the next, and what services share: a state that came about by changes is
//! that of somebody who started with the last configuration.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shunt_dataplane::forwarding::{
    BuildError, Builder, ForwardingState, Options, Path, Ports, RealSlot, RealSpec, RealState, Service,
    ServiceId, ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::Address;
use shunt_dataplane::port::PortId;
use shunt_dataplane::schedule::maglev::MaglevTable;
use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::rig::{http, path, service, up, weighted, with};

const POLICIES: [Policy; 4] =
    [Policy::Maglev, Policy::Wlc, Policy::Rr, Policy::Sh(HashFlags { port: true, fallback: false })];

fn empty() -> ForwardingState {
    ForwardingState::empty(HashKey([7, 11]))
}

fn build(previous: &ForwardingState, specs: &[ServiceSpec]) -> ForwardingState {
    Builder::after(previous, 2, 2).build(specs).expect("the specification is right")
}

fn key(n: u16) -> ServiceKey {
    ServiceKey { ports: Ports::exact(1000 + n), ..http() }
}

fn live(state: &ForwardingState) -> Vec<(ServiceId, ServiceKey)> {
    state.services().map(|(id, service)| (id, *service.key())).collect()
}

fn find(state: &ForwardingState, key: ServiceKey) -> &Service {
    state.service(state.find(&key).expect("it is configured")).expect("every id leads to a service")
}

fn table(state: &ForwardingState, n: u16) -> &MaglevTable {
    find(state, key(n)).scheduler().maglev().expect("it has real servers")
}

/// Weight, share, thresholds, state, whether flows are kept, and the way to it.
type Facts = (u16, u16, Thresholds, RealState, bool, Option<Path>);

/// All that a packet could tell of a service, in the words of the configuration: neither ids nor slots are in it.
#[derive(Debug, PartialEq)]
struct Behaviour {
    options: Options,
    reals: BTreeMap<Address, Facts>,
    /// In the order in which a policy goes through them.
    candidates: Vec<(Address, u16, u16)>,
    table: Option<Vec<Address>>,
}

fn behaviour(state: &ForwardingState) -> BTreeMap<ServiceKey, Behaviour> {
    state.services().map(|(_, service)| (*service.key(), of(state, service))).collect()
}

fn of(state: &ForwardingState, service: &Service) -> Behaviour {
    let found = find(state, *service.key());
    assert!(std::ptr::eq(found, service), "who is listed is also found");
    let address = |slot: u16| service.real(RealSlot(slot)).expect("every candidate has a slot").address();
    let reals = service.reals().map(|(_, real)| {
        let path = real.path().copied();
        let facts = (real.weight(), real.share(), real.thresholds(), real.state(), real.keeps_flows(), path);
        (real.address(), facts)
    });
    let candidates = service.scheduler().candidates().iter();
    let table = service.scheduler().maglev();
    Behaviour {
        options: *service.options(),
        reals: reals.collect(),
        candidates: candidates.map(|c| (address(c.slot), c.port, c.weight)).collect(),
        table: table.map(|table| table.slots().iter().map(|&slot| address(slot)).collect()),
    }
}

/// A small change of a configuration: which service and which of its real servers, what is done, and how much.
type Change = (u16, u16, u8, u16);

fn change(specs: &mut Vec<ServiceSpec>, (n, real, kind, value): Change) {
    let Some(spec) = specs.iter_mut().find(|spec| spec.key == key(n)) else {
        // With the real servers of another, so that there is something to share.
        let reals: Vec<RealSpec> =
            specs.first().map_or_else(|| (0..3).map(|n| weighted(n, 3)).collect(), |s| s.reals.clone());
        return specs.push(service(key(n), reals));
    };
    let at = usize::from(real) % spec.reals.len().max(1);
    let is_new = spec.reals.iter().all(|known| known.address != up(real).address);
    match (kind, spec.reals.get_mut(at)) {
        (0, _) => specs.retain(|spec| spec.key != key(n)),
        (1, _) if is_new => spec.reals.insert(at, weighted(real, 2)),
        (2, _) => spec.options.policy = POLICIES[usize::from(value) % POLICIES.len()],
        (3, _) => spec.options.strict = value > 1,
        (4, _) => spec.reals.rotate_left(at),
        (5, Some(_)) => drop(spec.reals.remove(at)),
        (6, Some(real)) => (real.weight, real.share) = (value, real.share.clamp(value.min(1), value)),
        (7, Some(real)) => real.share = value.max(1).min(real.weight),
        (8, Some(real)) => real.healthy = value > 1,
        (9, Some(known)) => known.path = (value > 0).then(|| path(value, 1)),
        (10, Some(real)) => real.thresholds.upper = value.into(),
        (11, Some(real)) => real.keeps_flows = value > 1,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_state_that_came_about_by_changes_is_that_of_its_last_configuration(
        history in proptest::collection::vec(
            proptest::collection::vec((0u16..4, 0u16..5, 0u8..12, 0u16..4), 1..4), 1..16,
        ),
    ) {
        let (mut specs, mut state) = (Vec::new(), empty());
        for changes in history {
            let before = specs.clone();
            changes.into_iter().for_each(|it| change(&mut specs, it));
            let next = build(&state, &specs);
            prop_assert_eq!(behaviour(&next), behaviour(&build(&empty(), &specs)));
            if next.serves_as(&state) {
                prop_assert_eq!(live(&next), live(&state));
            }
            // Who stays keeps counting where it counted.
            for spec in before.iter().filter(|old| specs.iter().any(|new| new.key == old.key)) {
                let (old, new) = (find(&state, spec.key), find(&next, spec.key));
                prop_assert!(std::ptr::eq(&**old.counters(), &**new.counters()));
                for (slot, real) in new.reals() {
                    if let Some((was, known)) = old.reals().find(|(_, r)| r.address() == real.address()) {
                        prop_assert_eq!((was, known.epoch()), (slot, real.epoch()));
                        prop_assert!(std::ptr::eq(&**known.counters(), &**real.counters()));
                    }
                }
            }
            state = next;
        }
    }
}

#[test]
fn a_service_that_nothing_happened_to_is_handed_on_and_its_neighbour_is_built() {
    let mut specs = [service(key(1), [up(1), up(2)]), service(key(2), [up(1), up(2)])];
    let first = build(&empty(), &specs);
    specs[1].reals[0].weight = 7;
    specs[1].reals[0].share = 7;
    let second = build(&first, &specs);
    let reals =
        |state: &ForwardingState, n| std::ptr::from_ref(find(state, key(n)).real(RealSlot(0)).unwrap());
    assert_eq!(reals(&first, 1), reals(&second, 1));
    assert_ne!(reals(&first, 2), reals(&second, 2));
    assert_eq!(find(&second, key(2)).real(RealSlot(0)).unwrap().weight(), 7);
}

#[test]
fn while_the_same_services_live_they_are_found_by_the_same_memory() {
    let mut specs = vec![service(key(1), [up(1)]), service(key(2), [up(1)])];
    let first = build(&empty(), &specs);
    specs[1].reals[0].weight = 0;
    specs.reverse();
    let second = build(&first, &specs);
    assert!(second.serves_as(&first));
    let fewer = build(&second, &specs[1..]);
    assert!(!fewer.serves_as(&second));
    assert_eq!((fewer.find(&key(1)).is_some(), fewer.find(&key(2))), (true, None));
    let again = build(&fewer, &specs);
    assert!(!again.serves_as(&fewer));
    assert_eq!(live(&again), live(&second));
    specs[0].key = key(3);
    let other = build(&again, &specs);
    assert!(!other.serves_as(&again));
    assert_eq!((other.find(&key(2)), other.find(&key(3)).is_some()), (None, true));
}

#[test]
fn a_service_that_occurs_twice_is_an_error_whether_it_is_new_or_known() {
    let twice = [service(key(1), [up(1)]), service(key(1), [up(2)])];
    let known = build(&empty(), &twice[..1]);
    for before in [empty(), known] {
        let error = Builder::after(&before, 2, 2).build(&twice).unwrap_err();
        assert_eq!(error, BuildError::DuplicateService(key(1)));
    }
}

#[test]
fn a_service_that_was_away_is_not_taken_for_one_that_nothing_happened_to() {
    let specs = [service(key(1), [up(1), up(2)]), service(key(2), [])];
    let first = build(&empty(), &specs);
    let away = build(&first, &[]);
    assert!(away.find(&key(1)).is_none());
    let back = build(&away, &specs);
    assert_eq!(behaviour(&back), behaviour(&first));
    assert!(std::ptr::eq(&**find(&back, key(1)).counters(), &**find(&first, key(1)).counters()));
}

#[test]
fn a_port_that_went_away_is_an_error_also_in_a_service_that_nothing_happened_to() {
    let specs = [service(key(1), [up(1)])];
    let first = build(&empty(), &specs);
    let error = Builder::after(&first, 2, 1).build(&specs).unwrap_err();
    assert_eq!(error, BuildError::NoSuchPort(key(1), up(1).address, PortId(1)));
}

#[test]
fn services_with_the_same_real_servers_share_a_table() {
    let reals = [up(1), weighted(2, 3)];
    let specs = [service(key(1), reals), service(key(2), reals), service(key(3), [up(1), weighted(2, 4)])];
    let state = build(&empty(), &specs);
    assert!(table(&state, 1).is_shared_with(table(&state, 2)));
    assert!(!table(&state, 1).is_shared_with(table(&state, 3)));
    assert_ne!(table(&state, 1), table(&state, 3));
}

#[test]
fn a_newcomer_shares_the_table_of_a_service_that_was_there_before() {
    let mut specs = vec![service(key(1), [up(1), up(2)])];
    let first = build(&empty(), &specs);
    specs.push(service(key(2), [up(1), up(2)]));
    let second = build(&first, &specs);
    assert!(table(&second, 2).is_shared_with(table(&first, 1)));
}

#[test]
fn the_same_real_servers_in_other_slots_have_a_table_of_their_own() {
    // The slots of the second are the other way round: a shared table would send every flow to the wrong one.
    let specs = [service(key(1), [up(1), up(2)]), service(key(2), [up(2), up(1)])];
    let state = build(&empty(), &specs);
    assert!(!table(&state, 1).is_shared_with(table(&state, 2)));
    assert_eq!(of(&state, find(&state, key(1))).table, of(&state, find(&state, key(2))).table);
}

#[test]
fn another_policy_is_a_change() {
    let before = build(&empty(), &[service(key(1), [up(1), up(2)])]);
    let specs = [with(key(1), [up(1), up(2)], |options| options.policy = Policy::Wlc)];
    let after = build(&before, &specs);
    assert!(find(&after, key(1)).scheduler().maglev().is_none());
}

//! What is foretold of each flow under another state is what its next packet then meets.

use std::collections::HashMap;

use proptest::prelude::*;
use shunt_dataplane::director::{Fate, fate};
use shunt_dataplane::forwarding::{Builder, OnFailure, Ports, RealSpec, ServiceKey, ServiceSpec, Thresholds};
use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::craft::{ACK, Craft, ROUTER_MAC, SYN, client, client_port};
use crate::rig::{PORTS, Rig, dns, down, draining, http, real_of, service, up, weighted, with};

const FLOWS: u32 = 30;

/// One side of a change.
#[derive(Debug, Clone)]
struct Side {
    /// Numbers and kinds of the real servers.
    reals: Vec<(u16, u8)>,
    policy: Policy,
    on_failure: OnFailure,
    strict: bool,
    /// The service of one port, and the one of a range with that port in it.
    has: (bool, bool),
}

fn side() -> impl Strategy<Value = Side> {
    let fallback = HashFlags { port: true, fallback: true };
    let policies = vec![
        Policy::Maglev,
        Policy::Rr,
        Policy::Wlc,
        Policy::Sh(HashFlags::default()),
        Policy::Sh(fallback),
        Policy::Mh(HashFlags::default()),
        Policy::Mh(fallback),
        Policy::Fo,
        Policy::Lblcr,
    ];
    let failures = vec![OnFailure::Reset, OnFailure::Rehash, OnFailure::Keep];
    let has = prop_oneof![4 => Just((true, true)), 1 => Just((false, true)), 2 => Just((true, false)), 1 => Just((false, false))];
    (
        proptest::collection::vec((0..5u16, 0u8..5), 0..5),
        prop::sample::select(policies),
        prop::sample::select(failures),
        any::<bool>(),
        has,
    )
        .prop_map(|(reals, policy, on_failure, strict, has)| Side {
            reals,
            policy,
            on_failure,
            strict,
            has,
        })
}

fn specs(side: &Side) -> Vec<ServiceSpec> {
    let mut reals: Vec<RealSpec> = Vec::new();
    for &(n, kind) in &side.reals {
        let no_way = RealSpec { path: None, ..down(n) };
        let real = [up(n), weighted(n, 5), draining(n), down(n), no_way][usize::from(kind)];
        if reals.iter().all(|known| known.address != real.address) {
            reals.push(real);
        }
    }
    let range = ServiceKey { ports: Ports { first: 1, last: 1000 }, ..http() };
    let chosen = [(side.has.0, http()), (side.has.1, range), (true, dns())];
    let service = |key| {
        with(key, reals.iter().copied(), |options| {
            (options.policy, options.on_failure, options.strict) =
                (side.policy, side.on_failure, side.strict);
        })
    };
    chosen.into_iter().filter(|(is_there, _)| *is_there).map(|(_, key)| service(key)).collect()
}

/// The packet that is judged by: a third of the connections are no more than a SYN.
fn next(n: u32) -> [Craft; 2] {
    [Craft::tcp(n, if n.is_multiple_of(3) { SYN } else { ACK }), Craft::udp(n)]
}

/// What each flow's next packet should meet when `after` follows, and what it meets.
fn foretold_and_met(before: &Side, after: &Side) -> Vec<(String, Fate, Fate)> {
    let mut rig = Rig::new(1, 1024);
    rig.publish(&specs(before));
    let mut held = HashMap::new();
    for n in 0..FLOWS {
        rig.send(0, 0, &Craft::tcp(n, SYN).bytes());
        for (protocol, craft) in [6, 17].into_iter().zip(next(n)) {
            let sent = rig.send(0, 0, &craft.bytes()).filter(|(_, frame)| frame[..6] != ROUTER_MAC);
            held.insert((protocol, n), sent.map(|(_, frame)| real_of(&frame)));
        }
    }
    let builder = Builder::after(rig.state(), 1, usize::from(PORTS)).on_trial();
    let trial = builder.build(&specs(after)).expect("the specification is right");
    let now = shunt_dataplane::clock::Tick::from_millis(rig.now);
    let mut fates = HashMap::new();
    for (key, flow) in rig.flows(0) {
        let service = rig.state().service(key.service).expect("it was there");
        let n = (0..FLOWS).find(|&n| (key.client, key.client_port) == (client(n).into(), client_port(n)));
        let n = n.expect("one of the flows of the test");
        fates.insert((service.key().protocol as u8, n), fate(rig.state(), &trial, &key, &flow, now));
    }
    rig.publish(&specs(after));
    let mut all = Vec::new();
    for n in 0..FLOWS {
        for (protocol, craft) in [6u8, 17].into_iter().zip(next(n)) {
            let Some(foretold) = fates.get(&(protocol, n)) else { continue };
            let met = match rig.send(0, 0, &craft.bytes()) {
                None => Fate::Refused,
                Some((_, answer)) if answer[..6] == ROUTER_MAC => Fate::Reset,
                Some((_, frame)) if Some(real_of(&frame)) == held[&(protocol, n)] => Fate::Kept,
                Some(_) => Fate::Moved,
            };
            all.push((format!("protocol {protocol}, client {n}"), *foretold, met));
        }
    }
    all
}

#[test]
fn every_fate_is_foretold_and_met() {
    let side = |reals: &[(u16, u8)], on_failure| Side {
        reals: reals.to_vec(),
        policy: Policy::Maglev,
        on_failure,
        strict: false,
        has: (true, false),
    };
    let before = side(&[(1, 0), (2, 0)], OnFailure::Reset);
    let count = |after: &Side| {
        let mut counts: HashMap<Fate, usize> = HashMap::new();
        for (what, foretold, met) in foretold_and_met(&before, after) {
            assert_eq!(foretold, met, "{what}");
            *counts.entry(met).or_default() += 1;
        }
        [Fate::Kept, Fate::Moved, Fate::Reset, Fate::Refused]
            .map(|fate| counts.get(&fate).copied().unwrap_or(0))
    };
    let [kept, moved, reset, refused] = count(&side(&[(2, 0)], OnFailure::Reset));
    assert!(kept > 0 && moved > 0 && reset > 0 && refused == 0, "{kept} {moved} {reset} {refused}");
    let [kept, moved, reset, refused] = count(&side(&[(2, 0)], OnFailure::Rehash));
    assert!(kept > 0 && moved > 0 && reset == 0 && refused == 0, "{kept} {moved} {reset} {refused}");
    assert_eq!(count(&side(&[], OnFailure::Rehash)), [0, 0, 0, 2 * FLOWS as usize]);
    assert_eq!(count(&side(&[(3, 0)], OnFailure::Keep)), [2 * FLOWS as usize, 0, 0, 0]);
}

#[test]
fn a_state_on_trial_leaves_no_trace_in_the_one_in_force() {
    let mut rig = Rig::new(1, 1024);
    let limited = |upper| {
        let thresholds = Thresholds { upper, lower: 0 };
        [service(http(), [RealSpec { thresholds, ..up(1) }])]
    };
    rig.publish(&limited(10));
    for n in 0..8 {
        assert_eq!(rig.real(0, &Craft::tcp(n, SYN).bytes()), Some(1));
    }
    let trial =
        Builder::after(rig.state(), 1, usize::from(PORTS)).on_trial().build(&limited(5)).expect("right");
    let is_overloaded = |state: &shunt_dataplane::forwarding::ForwardingState| {
        state
            .services()
            .next()
            .is_some_and(|(_, service)| service.reals().next().is_some_and(|(_, real)| real.is_overloaded()))
    };
    assert!(is_overloaded(&trial) && !is_overloaded(rig.state()));
    assert_eq!(rig.real(0, &Craft::tcp(8, SYN).bytes()), Some(1), "it takes new flows as before");
}

proptest! {
    #[test]
    fn what_is_foretold_is_what_happens(before in side(), after in side()) {
        // Of a flow that another service takes over by turn, nobody knows whether it is the turn of who has it.
        let is_by_turn = !matches!(after.policy, Policy::Maglev | Policy::Sh(_) | Policy::Mh(_));
        for (what, foretold, met) in foretold_and_met(&before, &after) {
            let is_its_turn = is_by_turn && before.has != after.has && (foretold, met) == (Fate::Moved, Fate::Kept);
            prop_assert!(foretold == met || is_its_turn, "{}: {:?}, {:?}", what, foretold, met);
        }
    }
}

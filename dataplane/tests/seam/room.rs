//! Flows that the table has no room for, and flows that must not lose theirs.

use std::collections::{BTreeMap, BTreeSet};

use shunt_dataplane::forwarding::{Options, ServiceSpec};
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::stats::WorkerStats;

use crate::craft::{ACK, Craft, SYN, client, client_port};
use crate::rig::{Rig, http, service, up};

fn web(options: Options) -> ServiceSpec {
    ServiceSpec { options, ..service(http(), (1..=4).map(up)) }
}

fn connect(rig: &mut Rig, n: u32) -> Option<u16> {
    let real = rig.real(0, &Craft::tcp(n, SYN).bytes());
    assert_eq!(rig.real(0, &Craft::tcp(n, ACK).bytes()), real);
    real
}

/// Whatever the policy, the packets of one flow go to one real server, remembered or not.
#[test]
fn a_flow_that_finds_no_room_is_not_scattered() {
    for policy in [Policy::Rr, Policy::Wrr, Policy::Wlc, Policy::Sed, Policy::Twos, Policy::Maglev] {
        let mut rig = Rig::new(1, 256);
        rig.publish(&[web(Options { policy, ..Options::default() })]);
        for n in 0..2_000 {
            connect(&mut rig, n);
        }
        // With maglev the newcomers take the places of flows that lose nothing.
        let count = |stats: &WorkerStats| stats.flows_refused.value() + stats.flows_dispensed.value();
        assert!(rig.total(count) > 1_000, "{policy}");
        let mut shares: BTreeMap<u16, u32> = BTreeMap::new();
        for n in 2_000..3_000 {
            let mut reals = BTreeSet::new();
            for flags in [SYN, ACK, ACK, ACK] {
                reals.extend(rig.real(0, &Craft::tcp(n, flags).bytes()));
            }
            assert_eq!(reals.len(), 1, "{policy}: flow {n}");
            *shares.entry(reals.pop_first().unwrap()).or_default() += 1;
        }
        assert!(shares.len() == 4 && shares.values().all(|&share| share > 150), "{policy}: {shares:?}");
    }
}

/// To forget a flow is harmless only if its next packet goes where it went before.
#[test]
fn established_flows_that_the_hash_could_not_restore_survive_a_syn_flood() {
    let strict = web(Options { strict: true, ..Options::default() });
    let mut rig = Rig::new(1, 256);
    rig.publish(&[strict]);
    // As many connections as there is room for: the table holds nothing else.
    let mut known = BTreeMap::new();
    for n in 0..1_000 {
        let real = rig.real(0, &Craft::tcp(n, SYN).bytes());
        let (address, port) = (client(n).into(), client_port(n));
        if rig.flows(0).iter().any(|(key, _)| (key.client, key.client_port) == (address, port)) {
            assert_eq!(rig.real(0, &Craft::tcp(n, ACK).bytes()), real);
            known.insert(n, real);
        }
    }
    assert!(known.len() > 200, "{}", known.len());
    for n in 10_000..20_000 {
        rig.real(0, &Craft::tcp(n, SYN).bytes());
    }
    for (n, real) in known {
        assert_eq!(rig.real(0, &Craft::tcp(n, ACK).bytes()), real, "flow {n}");
    }
}

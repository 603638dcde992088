//! The schedulers with real frames through the director: what IPVS chose, on one worker, and exact shares on several.

use std::path::PathBuf;

use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::craft::{ACK, Craft, FIN, SYN};
use crate::rig::{Rig, address, http, weighted, with};

const NO_FLAGS: HashFlags = HashFlags { port: false, fallback: false };

/// What IPVS chose: `tests/schedulers/README.md` says how it was recorded.
fn recorded(name: &str) -> Vec<u16> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/schedulers");
    let text = std::fs::read_to_string(folder.join(name).with_extension("sequence")).expect(name);
    text.split_whitespace().map(|n| n.parse().expect(name)).collect()
}

/// The connections of the recording, with segments instead of a model of loads. Hashes of the policies that look at
/// addresses would be others: the real servers and the VIP have other addresses here.
#[test]
fn whole_connections_are_scheduled_as_ipvs_did() {
    for (name, policy, stays) in [
        ("rr-seq", Policy::Rr, false),
        ("wrr-seq", Policy::Wrr, false),
        ("lc-seq", Policy::Lc, false),
        ("lc-hold600", Policy::Lc, true),
        ("wlc-seq", Policy::Wlc, false),
        ("wlc-hold600", Policy::Wlc, true),
        ("sed-seq", Policy::Sed, false),
        ("sed-hold600", Policy::Sed, true),
        ("nq-seq", Policy::Nq, false),
        ("nq-hold600", Policy::Nq, true),
        ("fo-seq", Policy::Fo, false),
        ("fo-hold600", Policy::Fo, true),
        ("ovf-seq", Policy::Ovf, false),
    ] {
        let mut rig = Rig::new(1, 8192);
        rig.publish(&[with(http(), (1..4).map(|n| weighted(n, n)), |options| options.policy = policy)]);
        for (n, expected) in recorded(name).into_iter().enumerate() {
            let segments: &[u8] = if stays { &[SYN, ACK] } else { &[SYN, ACK, FIN | ACK, ACK] };
            for flags in segments {
                let craft = Craft {
                    src: [192, 0, 2, 20 + (n % 200) as u8].into(),
                    src_port: 20_000 + n as u16,
                    ..Craft::tcp(0, *flags)
                };
                assert_eq!(rig.real(0, &craft.bytes()), Some(expected), "{name}, connection {n}");
            }
        }
        rig.check_gauges();
    }
}

#[test]
fn round_robin_shares_exactly_among_several_workers() {
    for (policy, weights, shares) in [
        (Policy::Rr, [1, 1, 1, 1], [300, 300, 300, 300]),
        (Policy::Wrr, [1, 2, 3, 6], [100, 200, 300, 600]),
        (Policy::Wlc, [1, 2, 3, 6], [100, 200, 300, 600]),
    ] {
        let mut rig = Rig::new(3, 8192);
        let reals = (0..4).map(|n| weighted(n, weights[usize::from(n)]));
        rig.publish(&[with(http(), reals, |options| options.policy = policy)]);
        let mut went = [0; 4];
        for n in 0..1200 {
            // Not one after the other: as flows come.
            let worker = (n * n % 7 % 3) as usize;
            went[usize::from(rig.real(worker, &Craft::tcp(n, SYN).bytes()).expect("forwarded"))] += 1;
        }
        assert_eq!(went, shares, "{policy}");
    }
}

#[test]
fn policies_that_hash_say_the_same_on_every_worker_and_after_a_change_of_director() {
    for policy in [Policy::Maglev, Policy::Sh(NO_FLAGS), Policy::Dh, Policy::Mh(NO_FLAGS)] {
        let spec =
            || [with(http(), (0..7).map(|n| weighted(n, 1 + n % 3)), |options| options.policy = policy)];
        let mut rig = Rig::new(1, 8192);
        rig.publish(&spec());
        let owners: Vec<_> = (0..500).map(|n| rig.real(0, &Craft::tcp(n, SYN).bytes())).collect();
        let mut heir = Rig::new(2, 8192);
        heir.publish(&spec());
        let now: Vec<_> = (0..500).map(|n| heir.real(n as usize % 2, &Craft::tcp(n, ACK).bytes())).collect();
        assert_eq!(owners, now, "{policy}");
    }
}

#[test]
fn every_policy_forwards_both_families_and_draining_takes_nothing_new() {
    let fallback = HashFlags { port: true, fallback: true };
    for policy in [
        Policy::Maglev,
        Policy::Rr,
        Policy::Wrr,
        Policy::Lc,
        Policy::Wlc,
        Policy::Sed,
        Policy::Nq,
        Policy::Sh(fallback),
        Policy::Mh(fallback),
        Policy::Fo,
        Policy::Ovf,
        Policy::Lblc,
        Policy::Lblcr,
        Policy::Twos,
    ] {
        let mut rig = Rig::new(1, 8192);
        // So much that it never overflows.
        let reals = [weighted(1, 400), weighted(2, 0), weighted(3, 800)];
        rig.publish(&[http(), crate::rig::six(http())].map(|key| with(key, reals, |o| o.policy = policy)));
        for n in 0..300 {
            for craft in [Craft::tcp(n, SYN), Craft::tcp(n, SYN).v6()] {
                let real = rig.real(0, &craft.bytes());
                assert!(real == Some(1) || real == Some(3), "{policy}: {real:?}");
            }
        }
        let (_, service) = rig.state().services().next().expect("two");
        let (_, drained) = service.reals().find(|(_, real)| real.address() == address(2)).expect("there");
        assert_eq!(drained.counters().total(|c| &c.flows), 0, "{policy}");
        rig.check_gauges();
    }
}

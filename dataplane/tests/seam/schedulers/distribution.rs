//! What shares 10,000 connections give to weights 1:2:3, and that the documentation says so.

use std::fmt::Write;
use std::path::PathBuf;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::schedule::Policy;

use super::{Loads, NO_FLAGS, PORT, build, question, three, v4};

const CONNECTIONS: u32 = 10_000;

/// Shares of three real servers and of nobody.
type Shares = [u32; 4];

/// What an algorithm promises.
enum Promise {
    /// These shares, to the connection.
    Exactly(Shares),
    /// These weights' shares, each to within so many connections.
    Near([u32; 3], u32),
}

use Promise::{Exactly, Near};

const ALL_TO_HEAVIEST: Promise = Exactly([0, 0, CONNECTIONS, 0]);
const ALIKE: Promise = Exactly([3_333, 3_333, 3_334, 0]);
const BY_WEIGHT: Promise = Exactly([1_667, 3_333, 5_000, 0]);

/// Policy; closed at once; held open.
const PROMISES: [(Policy, Promise, Promise); 17] = [
    // The table is within 0.01 % of the weights; three standard deviations of 10,000 draws.
    (Policy::Maglev, Near([1, 2, 3], 150), Near([1, 2, 3], 150)),
    (Policy::Rr, ALIKE, ALIKE),
    (Policy::Wrr, BY_WEIGHT, BY_WEIGHT),
    (Policy::Lc, ALIKE, ALIKE),
    (Policy::Wlc, BY_WEIGHT, BY_WEIGHT),
    // They do not count what was closed. Held open, the last round of six lacks an rs2 and an rs1.
    (Policy::Sed, ALL_TO_HEAVIEST, Exactly([1_666, 3_333, 5_001, 0])),
    (Policy::Nq, ALL_TO_HEAVIEST, Exactly([1_666, 3_333, 5_001, 0])),
    // 256 buckets, 42 rounds of six and four more; a multiplication spreads neighbours evenly.
    (Policy::Sh(NO_FLAGS), Near([42, 85, 129], 30), Near([42, 85, 129], 30)),
    (Policy::Sh(PORT), Near([42, 85, 129], 30), Near([42, 85, 129], 30)),
    // One VIP, one bucket.
    (Policy::Dh, ALL_TO_HEAVIEST, ALL_TO_HEAVIEST),
    (Policy::Mh(NO_FLAGS), Near([1, 2, 3], 150), Near([1, 2, 3], 150)),
    (Policy::Mh(PORT), Near([1, 2, 3], 150), Near([1, 2, 3], 150)),
    (Policy::Fo, ALL_TO_HEAVIEST, ALL_TO_HEAVIEST),
    // Each until it has one more than its weight, then nobody.
    (Policy::Ovf, ALL_TO_HEAVIEST, Exactly([2, 3, 4, CONNECTIONS - 9])),
    // Each until it has one more than its weight, and the last for good: nobody is below half his weight any more.
    (Policy::Lblc, ALL_TO_HEAVIEST, Exactly([CONNECTIONS - 7, 3, 4, 0])),
    // Then all are in the set, which shares by weight.
    (Policy::Lblcr, ALL_TO_HEAVIEST, Near([1, 2, 3], 3)),
    // It counts what was closed too, and a real server that is behind wins every draw it is in.
    (Policy::Twos, Near([1, 2, 3], 30), Near([1, 2, 3], 30)),
];

fn shares(policy: Policy, are_held: bool) -> Shares {
    let scheduler = build(policy, &three(), None);
    let mut loads = Loads::idle(3);
    let mut shares = [0; 4];
    for n in 0..CONNECTIONS {
        let client = v4(198, 19, (n >> 8) as u8, n as u8);
        let question = question(client, 1_024 + (n * 7 % 60_000) as u16, Tick::new(n / 100));
        match scheduler.pick(&question, &loads) {
            Some(slot) => {
                shares[slot as usize] += 1;
                if are_held { loads.hold(slot) } else { loads.close(slot) }
            }
            None => shares[3] += 1,
        }
    }
    shares
}

fn keeps(promise: &Promise, shares: Shares) -> bool {
    match promise {
        Exactly(promised) => *promised == shares,
        Near(weights, slack) => {
            let total: u32 = weights.iter().sum();
            let promised = weights.map(|weight| CONNECTIONS * weight / total);
            shares[3] == 0
                && promised.iter().zip(shares).all(|(promised, share)| promised.abs_diff(share) <= *slack)
        }
    }
}

fn table() -> String {
    let mut table =
        String::from("| scheduler | closed at once: rs1, rs2, rs3, nobody | held open |\n|---|---|---|\n");
    let cell = |[one, two, three, nobody]: Shares| format!("{one}, {two}, {three}, {nobody}");
    for (policy, ..) in &PROMISES {
        let (closed, held) = (cell(shares(*policy, false)), cell(shares(*policy, true)));
        writeln!(table, "| {policy} | {closed} | {held} |").unwrap();
    }
    table
}

#[test]
fn every_policy_keeps_its_promise() {
    for (policy, closed, held) in &PROMISES {
        for (promise, are_held) in [(closed, false), (held, true)] {
            let shares = shares(*policy, are_held);
            assert!(keeps(promise, shares), "{policy}, held {are_held}: {shares:?}");
        }
    }
}

#[test]
fn the_documented_table_is_what_is_measured() {
    let table = table();
    println!("{table}");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/schedule/README.md");
    let documented = std::fs::read_to_string(path).expect("the schedulers have a README");
    assert!(documented.contains(&table), "the README should have:\n{table}");
}

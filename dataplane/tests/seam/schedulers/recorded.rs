//! The policies against what IPVS did: `tests/schedulers/README.md` says how that was recorded.

use std::path::PathBuf;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::schedule::Policy;

use super::{Loads, NO_FLAGS, PORT, build, question, three, v4};

const RUNS: [(&str, Policy); 18] = [
    ("rr-seq", Policy::Rr),
    ("wrr-seq", Policy::Wrr),
    ("lc-seq", Policy::Lc),
    ("lc-hold600", Policy::Lc),
    ("wlc-seq", Policy::Wlc),
    ("wlc-hold600", Policy::Wlc),
    ("sed-seq", Policy::Sed),
    ("sed-hold600", Policy::Sed),
    ("nq-seq", Policy::Nq),
    ("nq-hold600", Policy::Nq),
    ("sh-seq", Policy::Sh(NO_FLAGS)),
    ("sh-port-seq", Policy::Sh(PORT)),
    ("dh-seq", Policy::Dh),
    ("mh-seq", Policy::Mh(NO_FLAGS)),
    ("mh-port-seq", Policy::Mh(PORT)),
    ("fo-seq", Policy::Fo),
    ("fo-hold600", Policy::Fo),
    ("ovf-seq", Policy::Ovf),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/schedulers")
}

#[test]
fn every_policy_chooses_as_ipvs_did_to_the_last_connection() {
    for (name, policy) in RUNS {
        let text = std::fs::read_to_string(folder().join(name).with_extension("sequence")).expect(name);
        let recorded: Vec<u16> = text.split_whitespace().map(|n| n.parse().expect(name)).collect();
        assert_eq!(recorded.len(), if name.ends_with("-hold600") { 600 } else { 1_000 }, "{name}");
        let scheduler = build(policy, &three(), None);
        let mut loads = Loads::idle(3);
        for (n, recorded) in recorded.into_iter().enumerate() {
            let client = question(v4(192, 0, 2, 20 + (n % 200) as u8), 20_000 + n as u16, Tick::default());
            let slot = scheduler.pick(&client, &loads).expect("somebody takes it");
            assert_eq!(slot + 1, recorded, "{name}, connection {n} from {}:{}", client.src, client.src_port);
            // A connection that was closed stays inactive for two minutes, longer than the run took.
            if name.ends_with("-hold600") { loads.hold(slot) } else { loads.close(slot) }
        }
    }
}

#[test]
fn every_recorded_run_is_replayed() {
    let recorded = std::fs::read_dir(folder()).expect("the folder is there");
    let mut recorded: Vec<String> = recorded
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".sequence").map(String::from))
        .collect();
    let mut replayed = RUNS.map(|(name, _)| name.to_string());
    recorded.sort();
    replayed.sort();
    assert_eq!(recorded, replayed);
}

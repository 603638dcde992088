//! Golden packets: frame in -> state -> verdict -> frame out -> exactly these counters moved. One file a case
//! in `tests/golden/`:
//!
//! ```text
//! # Why the case is there.
//! state: one | down | draining | none      (the services of `state`, below)
//! port: hardware | virtual                 (virtual: checksums are completed)
//! before:                                  (frames that came earlier; may occur many times)
//! in:                                      (the frame, hexadecimal, # comment to the end of the line)
//! verdict: forward PORT | drop REASON
//! out: unchanged | hexadecimal on the lines below
//! counters:                                (all that move, but the loop's own: turns, bursts, places of frames)
//!   NAME +N | NAME -N
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Verdicts};
use shunt_dataplane::flow::{Capacity, FlowTable};
use shunt_dataplane::forwarding::ServiceSpec;
use shunt_dataplane::port::PortId;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::{DropReason, Verdict};

use crate::rig::{Rig, counters, dns, down, draining, http, service, state_counters, up};

#[derive(Debug, Default)]
struct Case {
    name: String,
    state: String,
    port: String,
    before: Vec<Vec<u8>>,
    input: Vec<u8>,
    verdict: String,
    /// None: unchanged.
    out: Option<Vec<u8>>,
    counters: BTreeMap<String, i64>,
}

impl Case {
    fn read(path: &Path) -> Case {
        let text = std::fs::read_to_string(path).expect("a case can be read");
        assert!(text.starts_with('#'), "{}: says why it is there in its first line", path.display());
        let name = path.file_stem().expect("a case has a name").to_string_lossy().into_owned();
        let mut case = Case { name, ..Case::default() };
        let mut section = "";
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            if line.trim().is_empty() {
                continue;
            }
            if line.starts_with(' ') {
                case.item(section, line.trim());
                continue;
            }
            let (key, value) = line.split_once(':').expect("`key:` begins a line");
            section = key;
            let value = value.trim().to_string();
            match key {
                "state" => case.state = value,
                "port" => case.port = value,
                "before" => case.before.push(Vec::new()),
                "in" | "counters" => assert!(value.is_empty()),
                "verdict" => case.verdict = value,
                "out" => case.out = if value == "unchanged" { None } else { Some(Vec::new()) },
                _ => panic!("{}: no such key: {key}", case.name),
            }
        }
        case
    }

    fn item(&mut self, section: &str, line: &str) {
        match section {
            "before" => self.before.last_mut().expect("`before:` came first").extend(hex(line)),
            "in" => self.input.extend(hex(line)),
            "out" => self.out.as_mut().expect("`out:` without a value came first").extend(hex(line)),
            "counters" => {
                let (name, change) = line.split_once(' ').expect("NAME +N");
                let change = change.parse().expect("+N or -N");
                assert!(self.counters.insert(name.into(), change).is_none(), "{}: {name} twice", self.name);
            }
            _ => panic!("{}: {line:?} belongs nowhere", self.name),
        }
    }

    fn ingress(&self) -> u8 {
        match self.port.as_str() {
            "hardware" => 0,
            "virtual" => 1,
            other => panic!("{}: no such port: {other}", self.name),
        }
    }

    fn expected(&self) -> Verdict {
        match self.verdict.split_once(' ') {
            Some(("forward", port)) => Verdict::Forward(PortId(port.parse().expect("a number"))),
            Some(("drop", name)) => {
                let reason = DropReason::ALL.into_iter().find(|reason| reason.name() == name);
                Verdict::Drop(reason.unwrap_or_else(|| panic!("{}: no such reason: {name}", self.name)))
            }
            _ => panic!("{}: no such verdict: {}", self.name, self.verdict),
        }
    }
}

fn hex(line: &str) -> Vec<u8> {
    let digits: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {line:?}");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the cases are there").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.iter().all(|path| path.extension().is_some_and(|e| e == "case")));
    paths.iter().map(|path| Case::read(path)).collect()
}

fn state(name: &str) -> Vec<ServiceSpec> {
    let real = match name {
        "one" => up(1),
        "down" => down(1),
        "draining" => draining(1),
        "none" => return Vec::new(),
        other => panic!("no such state: {other}"),
    };
    vec![service(http(), [real]), service(dns(), [real])]
}

/// The director alone: verdict and bytes, also those of a frame that is dropped.
#[test]
fn every_golden_frame_gets_its_verdict_and_its_bytes() {
    for case in cases() {
        let mut rig = Rig::new(1, 64);
        rig.publish(&state(&case.state));
        let stats = Arc::new(WorkerStats::default());
        let mut director = Director::new(0, FlowTable::new(Capacity::each(64), 1), Vec::new(), stats);
        let mut verdicts = Verdicts::new();
        let mut direct = |frame: &mut Vec<u8>| {
            let burst = std::slice::from_mut(frame);
            director.direct(rig.state(), burst, case.ingress() == 1, Tick::new(0), &mut verdicts);
            assert_eq!(verdicts.len(), 1, "{}", case.name);
            verdicts[0]
        };
        for mut frame in case.before.clone() {
            direct(&mut frame);
        }
        let mut frame = case.input.clone();
        assert_eq!(direct(&mut frame), case.expected(), "{}", case.name);
        let out = case.out.as_ref().unwrap_or(&case.input);
        assert_eq!(&frame, out, "{}:\n  is     {frame:02x?}\n  should {out:02x?}", case.name);
    }
}

/// The worker around it: the frame leaves by its port or not at all, and nothing else is counted.
#[test]
fn every_golden_frame_moves_exactly_its_counters() {
    for case in cases() {
        let mut rig = Rig::new(1, 64);
        rig.publish(&state(&case.state));
        for frame in &case.before {
            rig.send(0, case.ingress(), frame);
        }
        let before = all_counters(&rig);
        let (turns, bursts) = (rig.seats[0].stats.turns.value(), rig.seats[0].stats.bursts.value());
        let sent = rig.send(0, case.ingress(), &case.input);
        let moved: BTreeMap<String, i64> = all_counters(&rig)
            .into_iter()
            .map(|(name, value)| (name.clone(), value.wrapping_sub(before[&name]) as i64))
            .filter(|(_, change)| *change != 0)
            .collect();
        assert_eq!(moved, case.counters, "{}: left: what moved, right: what should", case.name);
        match (case.expected(), sent) {
            (Verdict::Forward(PortId(port)), Some((id, bytes))) => {
                assert_eq!(id, port, "{}", case.name);
                assert_eq!(Some(bytes), case.out, "{}", case.name);
            }
            (Verdict::Drop(_), None) => {}
            (expected, sent) => panic!("{}: should be {expected:?}, sent is {sent:02x?}", case.name),
        }
        let stats = &rig.seats[0].stats;
        assert_eq!((stats.turns.value(), stats.bursts.value()), (turns + 1, bursts + 1), "{}", case.name);
        let places = [&stats.frames_free, &stats.frames_filling, &stats.frames_sending];
        let sum: u64 = places.iter().map(|gauge| gauge.value()).sum();
        assert_eq!(sum, stats.frames_total.value(), "{}", case.name);
    }
}

#[test]
fn every_drop_reason_has_a_golden_case() {
    let seen: HashSet<DropReason> = cases()
        .iter()
        .filter_map(|case| match case.expected() {
            Verdict::Drop(reason) | Verdict::Answer(reason) => Some(reason),
            Verdict::Forward(_) | Verdict::Hold => None,
        })
        .collect();
    for reason in DropReason::ALL {
        assert!(seen.contains(&reason), "no file in tests/golden expects `drop {}`", reason.name());
    }
}

fn all_counters(rig: &Rig) -> BTreeMap<String, u64> {
    let mut all = counters(&rig.seats[0].stats);
    all.extend(state_counters(rig.state()));
    all
}

//! Golden packets: frame in -> state -> verdict -> frame out -> exactly these counters moved. One file a case
//! in `tests/golden/`:
//!
//! ```text
//! # Why the case is there.
//! state: REAL OPTION ...                   (the services of `State`, below)
//! port: hardware | virtual                 (virtual: checksums are completed)
//! before: [TIMES]                          (frames that came earlier; may occur many times)
//! in:                                      (the frame, hexadecimal, # comment to the end of the line)
//! wait: MILLISECONDS                       (that go by before the counters are read)
//! verdict: forward PORT | drop REASON | answer REASON | hold
//! out: unchanged | hexadecimal on the lines below
//! counters:                                (all that move, but the loop's own: turns, bursts, places of frames)
//!   NAME +N | NAME -N
//! ```
//!
//! There are three services, tcp 80, udp 53 and sctp 5060 of the VIP, each with one real server. REAL is what becomes
//! of that: `one` (up), `draining`, `down`, `fails` and `goes` (up while the frames of `before` came, then down or
//! removed), or `none`: there are no services. An OPTION is a word of any of these kinds:
//!
//! - `v6`: the VIP is that of IPv6; `any`: every port of it; `ports=FIRST-LAST`: these;
//! - `mtu=BYTES` of the way to the real server; `vlan=ID`, `untagged`: what becomes of tags; `keep_ttl`;
//! - `reset`, `rehash` (unless told otherwise), `keep`: what becomes of the flows of a real server that is gone;
//! - `unreachable`, `refuse`, `silent` (unless told otherwise): what a client is told that no real server takes;
//! - `strict`, `one_packet`, `rr` (the scheduler), `persistence=BITS` (of a client's address, for six minutes);
//! - `mute`: the director may say nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::forwarding::{NoReal, OnFailure, Persistence, Ports, RealSpec, ServiceSpec};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::Vlan;
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::{DropReason, Verdict};

use crate::rig::{Rig, counters, dns, down, draining, http, service, sip, six, state_counters, up};

#[derive(Debug, Default)]
struct Case {
    name: String,
    state: String,
    port: String,
    /// How often, and what.
    before: Vec<(usize, Vec<u8>)>,
    input: Vec<u8>,
    /// Milliseconds.
    wait: u64,
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
                "before" if value.is_empty() => case.before.push((1, Vec::new())),
                "before" => case.before.push((value.parse().expect("a number"), Vec::new())),
                "wait" => case.wait = value.parse().expect("a number"),
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
            "before" => self.before.last_mut().expect("`before:` came first").1.extend(hex(line)),
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
            Some((verdict @ ("drop" | "answer"), name)) => {
                let reason = DropReason::ALL.into_iter().find(|reason| reason.name() == name);
                let reason = reason.unwrap_or_else(|| panic!("{}: no such reason: {name}", self.name));
                if verdict == "drop" { Verdict::Drop(reason) } else { Verdict::Answer(reason) }
            }
            None if self.verdict == "hold" => Verdict::Hold,
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
    let is_case = |path: &PathBuf| path.extension().is_some_and(|e| e == "case");
    assert!(paths.iter().all(|path| is_case(path) || path.ends_with("README.md")));
    paths.retain(is_case);
    paths.iter().map(|path| Case::read(path)).collect()
}

/// The services of a case.
struct State {
    /// While the frames of `before` came.
    before: Vec<ServiceSpec>,
    /// When the frame of `in` comes.
    now: Vec<ServiceSpec>,
    rates: Rates,
}

impl State {
    fn of(case: &Case) -> State {
        let mut words = case.state.split(' ');
        let (before, now): (&[RealSpec], &[RealSpec]) = match words.next().unwrap_or_default() {
            "one" => (&[up(1)], &[up(1)]),
            "draining" => (&[draining(1)], &[draining(1)]),
            "down" => (&[down(1)], &[down(1)]),
            "fails" => (&[up(1)], &[down(1)]),
            "goes" => (&[up(1)], &[]),
            "none" => return State { before: Vec::new(), now: Vec::new(), rates: Rates::default() },
            other => panic!("{}: no such real server: {other}", case.name),
        };
        let options: Vec<&str> = words.collect();
        let services = |reals: &[RealSpec]| -> Vec<ServiceSpec> {
            let specs = [http(), dns(), sip()].map(|key| service(key, reals.iter().copied()));
            specs.into_iter().map(|spec| options.iter().fold(spec, with)).collect()
        };
        let rates = if options.contains(&"mute") { Rates { icmp: 0, reset: 0 } } else { Rates::default() };
        State { before: services(before), now: services(now), rates }
    }
}

/// The service with one more option.
fn with(mut spec: ServiceSpec, option: &&str) -> ServiceSpec {
    let (word, value) = option.split_once('=').unwrap_or((option, ""));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{option}: not a number"));
    let options = &mut spec.options;
    let paths = spec.reals.iter_mut().filter_map(|real| real.path.as_mut());
    match word {
        "v6" => spec.key = six(spec.key),
        "any" => spec.key.ports = Ports::ANY,
        "ports" => {
            let (first, last) = value.split_once('-').expect("two ports");
            spec.key.ports = Ports { first: number(first), last: number(last) };
        }
        "mtu" => paths.for_each(|path| path.mtu = number(value)),
        "vlan" => paths.for_each(|path| path.vlan = Vlan::Tagged(number(value))),
        "untagged" => paths.for_each(|path| path.vlan = Vlan::Untagged),
        "keep_ttl" => options.keep_ttl = true,
        "reset" => options.on_failure = OnFailure::Reset,
        "rehash" => options.on_failure = OnFailure::Rehash,
        "keep" => options.on_failure = OnFailure::Keep,
        "unreachable" => options.no_real = NoReal::Unreachable,
        "refuse" => options.no_real = NoReal::Reset,
        "silent" => options.no_real = NoReal::Silent,
        "strict" => options.strict = true,
        "one_packet" => options.one_packet = true,
        "rr" => options.policy = Policy::Rr,
        "persistence" => {
            // An IPv4 address is the last 32 of 128 bits.
            let unused = if spec.key.address.v4().is_some() { 32 } else { 128 } - u32::from(number(value));
            options.persistence = Some(Persistence { timeout: 360 * 4, mask: u128::MAX << unused });
        }
        "mute" => {}
        _ => panic!("no such option: {option}"),
    }
    spec
}

/// The director alone: verdict and bytes, also those of a frame that is dropped.
#[test]
fn every_golden_frame_gets_its_verdict_and_its_bytes() {
    let mut faults = Vec::new();
    for case in cases() {
        let state = State::of(&case);
        let mut rig = Rig::new(1, 64);
        rig.publish(&state.before);
        let stats = Arc::new(WorkerStats::default());
        let memory = Memory::for_workers(1, Capacity::each(64), 1).pop().expect("one");
        let mut director = Director::new(0, memory, state.rates, stats);
        let mut verdicts = Verdicts::new();
        let mut direct = |rig: &Rig, frame: &mut Vec<u8>| {
            let burst = std::slice::from_mut(frame);
            director.direct(rig.state(), burst, case.ingress() == 1, Tick::new(0), &mut verdicts);
            assert_eq!(verdicts.len(), 1, "{}", case.name);
            verdicts[0]
        };
        for (times, frame) in &case.before {
            for _ in 0..*times {
                direct(&rig, &mut frame.clone());
            }
        }
        rig.publish(&state.now);
        let mut frame = case.input.clone();
        let verdict = direct(&rig, &mut frame);
        if verdict != case.expected() {
            faults.push(format!("{}: is {verdict:?}, should be {:?}", case.name, case.expected()));
        }
        let out = case.out.as_ref().unwrap_or(&case.input);
        if &frame != out {
            faults.push(format!("{}:\n  is     {frame:02x?}\n  should {out:02x?}", case.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The worker around it: the frame leaves by its port or not at all, and nothing else is counted.
#[test]
fn every_golden_frame_moves_exactly_its_counters() {
    let mut faults = Vec::new();
    for case in cases() {
        let state = State::of(&case);
        let mut rig = Rig::with_rates(1, 64, state.rates);
        rig.publish(&state.before);
        for (times, frame) in &case.before {
            for _ in 0..*times {
                rig.send(0, case.ingress(), frame);
            }
        }
        rig.publish(&state.now);
        let before = all_counters(&rig);
        let (turns, bursts) = (rig.seats[0].stats.turns.value(), rig.seats[0].stats.bursts.value());
        let sent = rig.send(0, case.ingress(), &case.input);
        let waited = if case.wait > 0 {
            rig.now += case.wait;
            assert_eq!(rig.turn(0), [], "{}: after a while", case.name);
            1
        } else {
            0
        };
        let moved: BTreeMap<String, i64> = all_counters(&rig)
            .into_iter()
            .map(|(name, value)| (name.clone(), value.wrapping_sub(before[&name]) as i64))
            .filter(|(_, change)| *change != 0)
            .collect();
        if moved != case.counters {
            faults.push(format!("{}:\n  moved  {moved:?}\n  should {:?}", case.name, case.counters));
        }
        match (case.expected(), sent) {
            (Verdict::Forward(PortId(port)), Some(sent))
                if sent.0 == port && Some(&sent.1) == case.out.as_ref() => {}
            (Verdict::Drop(_) | Verdict::Hold, None) => {}
            // Back to where it came from.
            (Verdict::Answer(_), Some(sent))
                if sent.0 == case.ingress() && Some(&sent.1) == case.out.as_ref() => {}
            (expected, sent) => {
                faults.push(format!("{}: should be {expected:?}, sent is {sent:02x?}", case.name))
            }
        }
        let stats = &rig.seats[0].stats;
        let now = (stats.turns.value(), stats.bursts.value());
        assert_eq!(now, (turns + 1 + waited, bursts + 1), "{}", case.name);
        rig.check_frames();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_drop_reason_has_a_golden_case() {
    // Not the verdicts: whether a fragment that waits is dropped is the worker's to say.
    let seen: HashSet<String> = cases().into_iter().flat_map(|case| case.counters.into_keys()).collect();
    for reason in DropReason::ALL {
        let name = format!("drop.{}", reason.name());
        assert!(seen.contains(&name), "no file in tests/golden counts `{name}`");
    }
}

#[test]
fn there_are_hundreds_of_golden_cases() {
    assert!(cases().len() >= 220, "{}", cases().len());
}

fn all_counters(rig: &Rig) -> BTreeMap<String, u64> {
    let mut all = counters(&rig.seats[0].stats);
    all.extend(state_counters(rig.state()));
    all
}

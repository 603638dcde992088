//! The systemd unit, as systemd-analyze(1) sees it.

use std::fs;
use std::process::Command;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/systemd/shunt.service");
/// Of 10: systemd calls what is below 5 "OK". What is left is what a director is for: network, BPF, real-time priority.
const EXPOSURE: f64 = 4.0;

/// Runs a program: whether it succeeded, and all it wrote.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let done =
        Command::new(program).args(arguments).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.success(), text)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shunt.service");
    // The program is where the test has it, and the page is not installed.
    let text = fs::read_to_string(UNIT).unwrap().replace("/usr/sbin/shunt", env!("CARGO_BIN_EXE_shunt"));
    fs::write(&path, text).unwrap();
    let (is_well, said) = run("systemd-analyze", &["verify", "--man=no", path.to_str().unwrap()]);
    // Other units of the machine are not ours to judge.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("shunt")).collect();
    assert!(is_well && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_exposes_no_more_than_a_director_needs() {
    let (_, said) = run("systemd-analyze", &["security", "--offline=true", "--no-pager", UNIT]);
    let line = said.lines().find(|line| line.contains("Overall exposure level")).expect("the verdict");
    let level = line.split_ascii_whitespace().find_map(|word| word.parse::<f64>().ok()).expect("a number");
    assert!(level < EXPOSURE, "{line}");
}

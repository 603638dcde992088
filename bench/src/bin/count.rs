//! Counts the instructions of a frame with callgrind: a figure that a noisy machine does not change. CSV on the standard
//! output.
//!
//! `count`: all rows that are counted. `count --check FILE`: the same, and fails if one has more than 3 % more than FILE
//! says. `count --row SET N BURSTS`: does what is counted; callgrind runs this.

use std::collections::HashMap;
use std::process::{Command, ExitCode};

use shunt_bench::memory::sets::SETS;
use shunt_dataplane::port::BURST;

/// Bursts of a row.
const BURSTS: usize = 200;
/// Rows of more flows, and of more services, than this take callgrind too long to prepare.
const MOST_FLOWS: usize = 1_000;
const MOST_SERVICES: usize = 100;
/// Rows that need a clock or another thread.
const TIMED: [&str; 2] = ["publish", "flood"];
/// What a row may have more than it had.
const MORE: f64 = 1.03;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--row", set, row, bursts] => {
            let number = |text: &str| text.parse::<usize>().expect("a number");
            let set = SETS.iter().find(|known| known.name == set).expect("a set of that name");
            (set.rows)().swap_remove(number(row)).run(number(bursts));
            ExitCode::SUCCESS
        }
        ["--check", file] => check(&counted(), file),
        [] => {
            counted();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("count [--check FILE]");
            ExitCode::FAILURE
        }
    }
}

/// Name of a row, and its instructions a frame.
type Counts = Vec<(String, f64)>;

/// Counts, and tells.
fn counted() -> Counts {
    println!("group,row,parameter,value,unit");
    let mut counts = Counts::new();
    for set in SETS.iter().filter(|set| !TIMED.contains(&set.name)) {
        let mut writing = HashMap::new();
        for (n, row) in (set.rows)().iter().enumerate() {
            let is_of_services = ["services", "stage/lookup"].contains(&row.name.as_str());
            let most = if is_of_services { MOST_SERVICES } else { MOST_FLOWS };
            if row.parameter.parse::<usize>().is_ok_and(|parameter| parameter > most) {
                continue;
            }
            let floor = *writing.entry(row.floor).or_insert_with(|| instructions(set.name, row.floor));
            if row.floor == n {
                continue;
            }
            let (name, count) =
                (format!("{},{},{}", set.name, row.name, row.parameter), instructions(set.name, n) - floor);
            println!("{name},{count:.1},instructions");
            counts.push((name, count));
        }
    }
    counts
}

/// Instructions of a frame of a row, its writing included.
fn instructions(set: &str, row: usize) -> f64 {
    let own = std::env::current_exe().expect("a program knows itself");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*shunt_bench::memory::measured*")
        .arg(own)
        .args(["--row", set, &row.to_string(), &BURSTS.to_string()])
        .output()
        .expect("valgrind is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
    count.unwrap_or_else(|| panic!("valgrind counts nothing: {told}")) / (BURSTS * BURST) as f64
}

fn check(counts: &Counts, file: &str) -> ExitCode {
    let committed = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let before: HashMap<&str, f64> = committed
        .lines()
        .filter_map(|line| {
            let (rest, _unit) = line.rsplit_once(',')?;
            let (name, value) = rest.rsplit_once(',')?;
            Some((name, value.parse().ok()?))
        })
        .collect();
    let mut verdict = ExitCode::SUCCESS;
    for (name, count) in counts {
        match before.get(name.as_str()) {
            // Of few instructions one is much.
            Some(before) if *count > before * MORE + 1.0 => {
                eprintln!(
                    "{name}: {count:.1} instructions a frame, {before:.1} in {file}: more than 3 % more"
                );
                verdict = ExitCode::FAILURE;
            }
            Some(_) => {}
            None => {
                eprintln!("{name} is not in {file}: count anew, and commit that");
                verdict = ExitCode::FAILURE;
            }
        }
    }
    verdict
}

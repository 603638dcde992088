//! Counts the instructions of a frame with callgrind: a figure that a noisy machine does not change.
//!
//! `count`: all rows that are counted, into bench/results. `count --check FILE`: the same, written nowhere, and fails if one
//! has more than 3 % more than FILE says. `count --row SET SITTING ROW BURSTS`: does what is counted; callgrind runs this.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use shunt_bench::memory::sets::SETS;
use shunt_bench::regress::{Count, MORE, judge};
use shunt_bench::report::{Report, parse, read};
use shunt_dataplane::port::BURST;

/// Bursts of a row.
const BURSTS: usize = 200;
/// Rows of more flows, and of more services, than this take callgrind too long to prepare.
const MOST_FLOWS: usize = 1_000;
const MOST_SERVICES: usize = 100;
/// Rows that need a clock or another thread.
const TIMED: [&str; 2] = ["publish", "flood"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--row", set, sitting, row, bursts] => {
            let number = |text: &str| text.parse::<usize>().expect("a number");
            let set = SETS.iter().find(|known| known.name == set).expect("a set of that name");
            let mut rows = (set.sittings)().swap_remove(number(sitting));
            rows.swap_remove(number(row)).run(number(bursts));
            ExitCode::SUCCESS
        }
        ["--check", file] => check(file),
        [] => {
            let path = report(&counted()).write("instructions.csv").expect("bench/results can be written to");
            println!("All figures: {}", path.display());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("count [--check FILE]");
            ExitCode::from(2)
        }
    }
}

fn report(counts: &[Count]) -> Report {
    let mut report = Report::of_this_machine();
    for Count { group, row, parameter, instructions } in counts {
        report.figure(group, row, parameter, *instructions, "instructions");
    }
    report
}

/// Fails if a row has become longer, or is not in `file`.
fn check(file: &str) -> ExitCode {
    let committed = match read(file.as_ref()) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("{file}: {error}");
            return ExitCode::from(2);
        }
    };
    let counts = counted();
    let here = parse(report(&[]).text()).expect("it is ours");
    let faults = judge(&counts, &committed, &here);
    if faults.is_empty() {
        println!(
            "None of {} rows has over {MORE} % more instructions a frame than {file} says.",
            counts.len()
        );
        return ExitCode::SUCCESS;
    }
    eprintln!("\nFrames have become more expensive than {file} says:");
    for fault in &faults {
        eprintln!("  {fault}");
    }
    eprintln!(
        "Make the path as short as it was: the commits since tell what was added to it. If it is worth its price, say so in the \
         commit, and commit what target/release/count writes to bench/results/instructions.csv with it."
    );
    ExitCode::FAILURE
}

/// A row to be counted, and the one of its sitting that writes the same frames.
struct Planned {
    set: &'static str,
    sitting: usize,
    row: usize,
    floor: usize,
    name: String,
    parameter: String,
}

/// Counts on all cores at once, since what others do changes nothing, and tells.
fn counted() -> Vec<Count> {
    let planned = planned();
    let jobs: BTreeSet<Job> = planned.iter().flat_map(|row| [row.job(row.row), row.job(row.floor)]).collect();
    let (jobs, next, counted) = (Vec::from_iter(jobs), AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = instructions(job);
                    counted.lock().unwrap_or_else(PoisonError::into_inner).insert(job, count);
                }
            });
        }
    });
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let counts = planned.iter().map(|row| {
        let instructions = counted[&row.job(row.row)] - counted[&row.job(row.floor)];
        println!("{:<10} {:<22} {:>12} {instructions:>8.1}", row.set, row.name, row.parameter);
        let (group, row, parameter) = (row.set.to_owned(), row.name.clone(), row.parameter.clone());
        Count { group, row, parameter, instructions }
    });
    counts.collect()
}

/// Set, sitting and row, as `--row` takes them.
type Job = (&'static str, usize, usize);

impl Planned {
    fn job(&self, row: usize) -> Job {
        (self.set, self.sitting, row)
    }
}

fn planned() -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for set in SETS.iter().filter(|set| !TIMED.contains(&set.name)) {
        for (sitting, rows) in (set.sittings)().into_iter().enumerate() {
            for (n, row) in rows.into_iter().enumerate() {
                let is_of_services = ["services", "stage/lookup"].contains(&row.name.as_str());
                let most = if is_of_services { MOST_SERVICES } else { MOST_FLOWS };
                let is_large = row.parameter.parse::<usize>().is_ok_and(|parameter| parameter > most);
                let is_told = planned.iter().any(|other| {
                    (other.set, &other.name, &other.parameter) == (set.name, &row.name, &row.parameter)
                });
                if is_large || is_told || row.floor == n {
                    continue;
                }
                let (floor, name, parameter) = (row.floor, row.name, row.parameter);
                planned.push(Planned { set: set.name, sitting, row: n, floor, name, parameter });
            }
        }
    }
    planned
}

/// Instructions of a frame of a row, its writing included.
fn instructions((set, sitting, row): &Job) -> f64 {
    let own = std::env::current_exe().expect("a program knows itself");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*shunt_bench::memory::measured*")
        .arg(own)
        .args(["--row", set, &sitting.to_string(), &row.to_string(), &BURSTS.to_string()])
        .output()
        .unwrap_or_else(|error| {
            panic!("valgrind cannot be run: {error} (sh tests/install-packages.sh bench)")
        });
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
    count.unwrap_or_else(|| panic!("valgrind counts nothing: {told}")) / (BURSTS * BURST) as f64
}

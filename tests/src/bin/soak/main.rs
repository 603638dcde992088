//! Lets everything around a director go wrong, again and again, under 500 requests a second and 50 downloads, and prints what
//! clients lost, what explains it, and what the director holds at the end: the table of `tests/README.md`.
//!
//! `cargo build --release -p shunt && cargo run --release -p shunt-tests --bin soak -- [MINUTES] [FAULT]`; ten minutes unless
//! told otherwise, and all faults. It fails if more was lost than is explained, or anything leaks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shunt_tests::chaos::{Fault, Load, Noticed, Stage};

const LOAD: Load = Load {
    per_second: 500,
    downloads: 50,
    hold: Duration::from_secs(3),
    stop: Duration::from_secs(5),
    reloads: 1000,
};

fn main() {
    let mut words = std::env::args().skip(1);
    let minutes = words.next().map_or(10, |word| word.parse::<u64>().expect("minutes"));
    let wanted = words.next().unwrap_or_default();
    let is_wanted = |fault: &&Fault| format!("{fault:?}").contains(&wanted);
    let faults: Vec<Fault> = Fault::ALL.iter().filter(is_wanted).copied().collect();
    assert!(!faults.is_empty(), "no fault is called {wanted}: {:?}", Fault::ALL);

    let mut stage = Stage::set(LOAD);
    // The first round is for memory that is used again from then on.
    faults.iter().for_each(|fault| stage.suffer(*fault));
    stage.begin();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        faults.iter().for_each(|fault| stage.suffer(*fault));
    }
    let lasted = begin.elapsed();
    let outcome = stage.end();

    println!(
        "| fault | times | requests failed | downloads broken | longest gap | lasted at most | counted meanwhile |\n\
         |---|--:|--:|--:|--:|--:|---|"
    );
    for fault in faults {
        let rows: Vec<&Noticed> = outcome.noticed.iter().filter(|noticed| noticed.fault == fault).collect();
        print(fault, &rows);
    }
    println!(
        "\n{} s, {} faults; frames: {:?}",
        lasted.as_secs(),
        outcome.noticed.len(),
        outcome.tally.frames
    );
    let [before, after] = outcome.held;
    println!("before: {before:?}\nafter:  {after:?}");
    outcome.noticed.iter().for_each(Noticed::check);
    assert!(after.descriptors <= before.descriptors && after.children <= before.children, "something leaks");
    assert!(after.threads <= before.threads + 1, "threads are left");
}

fn print(fault: Fault, rows: &[&Noticed]) {
    let sum = |of: fn(&Noticed) -> usize| rows.iter().map(|noticed| of(noticed)).sum::<usize>();
    let most =
        |of: fn(&Noticed) -> Duration| rows.iter().map(|noticed| of(noticed)).max().unwrap_or_default();
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in rows.iter().flat_map(|noticed| noticed.counted.iter()) {
        *counted.entry(name.to_owned()).or_default() += count;
    }
    let counted: Vec<String> = counted.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!(
        "| {fault:?} | {} | {} of {} | {} of {} | {} ms | {} ms | {} |",
        rows.len(),
        sum(|noticed| noticed.seen.failed.len()),
        sum(|noticed| noticed.seen.made),
        sum(|noticed| noticed.broken.len()),
        sum(|noticed| noticed.downloads),
        most(|noticed| noticed.seen.gap).as_millis(),
        most(|noticed| noticed.lasted).as_millis(),
        counted.join(", ")
    );
    let mut why: BTreeMap<&String, usize> = BTreeMap::new();
    for reason in rows.iter().flat_map(|noticed| noticed.seen.failed.iter().chain(&noticed.broken)) {
        *why.entry(reason).or_default() += 1;
    }
    why.iter().for_each(|(why, times)| eprintln!("{fault:?}: {times} times: {why}"));
}

//! Measures the packet path in memory: rows in turns, medians and quartiles, and ratios of the same rounds.

use std::collections::HashSet;
use std::time::Duration;

use clap::Parser;
use shunt_bench::memory::rounds::{Cost, alternate};
use shunt_bench::memory::sets::SETS;
use shunt_bench::report::Report;

/// How long a sitting goes on, what it needs before it is ready not counted.
const SITTING: Duration = Duration::from_secs(6);
const QUICK_SITTING: Duration = Duration::from_millis(400);
/// What takes longer to make than a look takes in all.
const QUICK_MOST: u32 = 1_000_000;

/// Measures the packet path in memory.
#[derive(Parser)]
struct Arguments {
    /// A look: short sittings, and no table of ten million flows.
    #[arg(long)]
    quick: bool,
    /// Only these sets: what is told is then written nowhere but by --output.
    sets: Vec<String>,
    /// The file of results in bench/results.
    #[arg(long)]
    output: Option<String>,
}

fn main() {
    let Arguments { quick, sets, output } = Arguments::parse();
    if let Some(unknown) = sets.iter().find(|wanted| SETS.iter().all(|set| set.name != **wanted)) {
        let known = SETS.map(|set| set.name).join(", ");
        eprintln!("There is no set {unknown:?}; there are {known}.");
        std::process::exit(2);
    }
    let mut report = Report::of_this_machine();
    println!("{:<10} {:<26} {:>9} {:>9} ns a frame        times the floor", "set", "row", "of", "");
    for set in SETS.iter().filter(|set| sets.is_empty() || sets.iter().any(|wanted| wanted == set.name)) {
        let mut told = HashSet::new();
        for rows in (set.sittings)() {
            let is_large = |parameter: &str| parameter.parse::<u32>().is_ok_and(|flows| flows > QUICK_MOST);
            if quick && rows.iter().any(|row| is_large(&row.parameter)) {
                continue;
            }
            for cost in alternate(rows, if quick { QUICK_SITTING } else { SITTING }) {
                // The floor, and the row of few flows, are there in many sittings.
                if told.insert((cost.name.clone(), cost.parameter.clone())) {
                    tell(&mut report, set.name, &cost);
                }
            }
        }
    }
    let usual = if quick { "quick-memory.csv" } else { "memory.csv" };
    if let Some(name) = output.or(sets.is_empty().then(|| usual.to_owned())) {
        let path = report.write(&name).expect("bench/results can be written to");
        println!("All figures: {}", path.display());
    }
}

fn tell(report: &mut Report, set: &str, cost: &Cost) {
    let Cost { name, parameter, nanoseconds, floors, against } = cost;
    report.spread(set, name, parameter, *nanoseconds, "ns");
    report.spread(set, name, &format!("{parameter} to the floor"), *floors, "ratio");
    let mut line = format!(
        "{set:<10} {name:<26} {parameter:>9} {:>9.2} ({:.2}-{:.2}){:>12.2}",
        nanoseconds.median, nanoseconds.low, nanoseconds.high, floors.median
    );
    if let Some((other, ratio)) = against {
        report.spread(set, name, &format!("{parameter} to {other}"), *ratio, "ratio");
        line += &format!("   {:.3} ({:.3}-{:.3}) times {other}", ratio.median, ratio.low, ratio.high);
    }
    println!("{line}");
}

//! The comparison on veth: every subject beside the others, in turns, several times from scratch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Parser;
use shunt_bench::report::Report;
use shunt_bench::wire::histogram::{BUCKETS, Histogram};
use shunt_bench::wire::statistics::{paired, spread};
use shunt_bench::wire::subject::{Kind, Stand};
use shunt_bench::wire::{cores, interrupt, measure, roll_call};

/// Flows of the searches and of the latencies.
const FLOWS: u32 = 1000;
/// Shares of the loss-free rate at which latency is taken, in per cent.
const LOADS: [u32; 3] = [10, 50, 90];

/// Compares shunt with its peers on veth.
#[derive(Parser)]
struct Arguments {
    /// A look, in a minute.
    #[arg(long)]
    quick: bool,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The file of results in bench/results.
    #[arg(long, default_value = "veth.csv")]
    output: String,
}

/// How much is done.
struct Plan {
    /// Times that everything is set up anew.
    sittings: usize,
    /// Rounds of a sitting.
    rounds: usize,
    flows: &'static [u32],
    window: Duration,
    steps: usize,
    latency: Duration,
}

const FULL: Plan = Plan {
    sittings: 5,
    rounds: 6,
    flows: &[1, FLOWS, 100_000],
    window: Duration::from_millis(200),
    steps: 8,
    latency: Duration::from_millis(500),
};

const QUICK: Plan = Plan {
    sittings: 1,
    rounds: 5,
    flows: &[FLOWS],
    window: Duration::from_millis(100),
    steps: 7,
    latency: Duration::from_millis(200),
};

/// What was measured of one subject.
#[derive(Default)]
struct Figures {
    /// By flows, in the order of the rounds.
    saturated: BTreeMap<u32, Vec<f64>>,
    loss_free: Vec<f64>,
    /// By load.
    latency: BTreeMap<u32, Histogram>,
}

fn main() {
    let arguments = Arguments::parse();
    let _preferred = cores::prefer();
    interrupt::clean_up_at_signals();
    let kinds: Vec<Kind> = if arguments.only.is_empty() {
        Kind::ALL.to_vec()
    } else {
        let named =
            |name: &String| Kind::named(name).unwrap_or_else(|| panic!("there is no subject {name:?}"));
        arguments.only.iter().map(named).collect()
    };
    let kinds = roll_call::present(kinds);
    let plan = if arguments.quick { QUICK } else { FULL };
    let begin = Instant::now();
    let mut figures: Vec<Figures> = kinds.iter().map(|_| Figures::default()).collect();
    for sitting in 1..=plan.sittings {
        eprintln!("== veth: sitting {sitting} of {}, {} s so far", plan.sittings, begin.elapsed().as_secs());
        let mut stands: Vec<Stand> = kinds.iter().map(|kind| kind.stand()).collect();
        sit(&plan, &mut stands, &mut figures);
    }
    let report = report(&kinds, &figures);
    let path = report.write(&arguments.output).expect("bench/results can be written to");
    print(&kinds, &figures);
    println!("\nAll figures: {}", path.display());
}

fn sit(plan: &Plan, stands: &mut [Stand], figures: &mut [Figures]) {
    let mut most = vec![0.0_f64; stands.len()];
    for &flows in plan.flows {
        for _ in 0..plan.rounds {
            for (n, stand) in stands.iter_mut().enumerate() {
                let rate = measure::saturated(stand, flows, plan.window).or_refuse(&stand.name);
                figures[n].saturated.entry(flows).or_default().push(rate.delivered);
                // Too much of it costs a subject something as well: without loss it may reach a little more.
                most[n] = most[n].max((1.5 * rate.delivered).min(rate.offered));
            }
        }
    }
    for (n, stand) in stands.iter_mut().enumerate() {
        figures[n].loss_free.push(measure::loss_free(stand, FLOWS, most[n], plan.steps, plan.window));
    }
    for load in LOADS {
        for (n, stand) in stands.iter_mut().enumerate() {
            let rate = figures[n].loss_free.last().copied().unwrap_or_default() * f64::from(load) / 100.0;
            if rate < 1.0 {
                // Nothing got through without loss: there is no rate to take times at.
                continue;
            }
            let times = measure::paced(stand, FLOWS, rate, plan.latency).times;
            figures[n].latency.entry(load).or_insert_with(|| Histogram::new(vec![0; BUCKETS])).add(&times);
        }
    }
}

fn report(kinds: &[Kind], figures: &[Figures]) -> Report {
    let mut report = Report::of_this_machine();
    report.word("machine", "driver", "", "veth; native XDP; AF_XDP copy mode");
    report.word("machine", "frame", "", "60 bytes; UDP");
    for (kind, figures) in kinds.iter().zip(figures) {
        let name = kind.name();
        for (flows, rates) in &figures.saturated {
            report.spread("veth/saturated", name, &format!("flows={flows}"), spread(rates), "frames/s");
        }
        report.spread(
            "veth/loss_free",
            name,
            &format!("flows={FLOWS}"),
            spread(&figures.loss_free),
            "frames/s",
        );
        for (load, times) in &figures.latency {
            for (quantile, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let parameter = format!("load={load}% {quantile}");
                report.figure("veth/latency", name, &parameter, times.quantile(share) as f64, "ns");
            }
        }
    }
    for (kind, flows, ratio) in ratios(kinds, figures) {
        report.spread("veth/ratio", &format!("shunt/{}", kind.name()), &format!("flows={flows}"), ratio, "");
    }
    report
}

/// What shunt delivers to what each other subject delivers, round by round.
fn ratios(kinds: &[Kind], figures: &[Figures]) -> Vec<(Kind, u32, shunt_bench::wire::statistics::Spread)> {
    let Some(shunt) = kinds.iter().position(|kind| *kind == Kind::Shunt) else { return Vec::new() };
    let others = kinds.iter().zip(figures).filter(|(kind, _)| **kind != Kind::Shunt);
    others
        .flat_map(|(kind, theirs)| {
            theirs
                .saturated
                .iter()
                .map(|(flows, rates)| (*kind, *flows, paired(&figures[shunt].saturated[flows], rates)))
        })
        .collect()
}

fn print(kinds: &[Kind], figures: &[Figures]) {
    println!("\nMillion frames a second on veth, not on a NIC: median (quartiles)");
    println!(
        "{:<18} {:>28} {:>20}  latency at 10/50/90 % of it, p50 and p99, us",
        "", "saturated, 1000 flows", "loss-free"
    );
    let millions = |rates: &[f64]| {
        let spread = spread(rates);
        let [median, low, high] = [spread.median, spread.low, spread.high].map(|rate| rate / 1e6);
        format!("{median:.3} ({low:.3}-{high:.3})")
    };
    for (kind, figures) in kinds.iter().zip(figures) {
        let times: Vec<String> = figures
            .latency
            .values()
            .map(|times| {
                let [half, most] = [0.5, 0.99].map(|share| times.quantile(share) as f64 / 1e3);
                format!("{half:.0} {most:.0}")
            })
            .collect();
        let saturated = figures.saturated.get(&FLOWS).map(|rates| millions(rates)).unwrap_or_default();
        println!(
            "{:<18} {saturated:>28} {:>20}  {}",
            kind.name(),
            millions(&figures.loss_free),
            times.join(" / ")
        );
    }
    for (kind, flows, ratio) in ratios(kinds, figures) {
        println!(
            "shunt to {:<18} {flows:>7} flows: {:.3} ({:.3}-{:.3})",
            kind.name(),
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}

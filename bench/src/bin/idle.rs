//! What an idle director costs, and how long its first frame waits: adaptive, which sleeps, and spinning.

use std::time::{Duration, Instant};

use clap::Parser;
use shunt_bench::report::Report;
use shunt_bench::wire::bed::{Bed, DIRECTOR_MAC, ROUTER_MAC};
use shunt_bench::wire::sink::Arrival;
use shunt_bench::wire::subject::shunt::{Load, Shunt};
use shunt_bench::wire::subject::{Runner, Stand};
use shunt_bench::wire::{cores, interrupt, measure};

/// Frames a second that find a worker asleep: it spins for far less than the 10 ms between them.
const SELDOM: f64 = 100.0;

/// Measures an idle director.
#[derive(Parser)]
struct Arguments {
    /// A look, in some seconds.
    #[arg(long)]
    quick: bool,
}

fn main() {
    let window = Duration::from_secs(if Arguments::parse().quick { 2 } else { 10 });
    let _preferred = cores::prefer();
    interrupt::clean_up_at_signals();
    let mut report = Report::of_this_machine();
    for idle in ["adaptive", "spin"] {
        let bed = Bed::new(1, Arrival::Skb);
        let shunt = Shunt::start(&bed, &Load { idle, ..Load::default() });
        let pid = shunt.pid().expect("it is a process");
        // What the start has left to do is not idleness.
        std::thread::sleep(Duration::from_secs(1));
        let (begin, before) = (Instant::now(), on_processor(pid));
        std::thread::sleep(window);
        let share = (on_processor(pid) - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
        let mut stand = Stand::new("shunt", [DIRECTOR_MAC, ROUTER_MAC], Box::new(shunt), bed);
        let paced = measure::paced(&mut stand, 1, SELDOM, window);
        let [half, most] = [0.5, 0.99].map(|share| paced.times.quantile(share) as f64);
        println!(
            "{idle:<10} {share:6.2} % of a core; a frame every 10 ms is under way {:.1} us (p50), {:.1} us (p99)",
            half / 1e3,
            most / 1e3
        );
        report.figure("veth/idle", idle, "processor", share, "% of a core");
        report.figure("veth/idle", idle, "first frame p50", half, "ns");
        report.figure("veth/idle", idle, "first frame p99", most, "ns");
    }
    let path = report.write("idle.csv").expect("bench/results can be written to");
    println!("All figures: {}", path.display());
}

/// The time that all threads of a process have been on the processor (`/proc/PID/task/TID/schedstat`).
fn on_processor(pid: i32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

//! Does the flow table ever stall? Ten million flows on one worker, each seen twice, with the table aged all the while:
//! the time of every burst of 64 frames, of which the longest count.
//!
//! Wall time has all that the machine does beside: interrupts, other processes, and the hypervisor's. The time that the
//! thread itself was on the processor has less of it. The row without a table shows how much of either is not the table's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_bench::state::state;
use shunt_bench::traffic::{Frames, Traffic};
use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::port::BURST;
use shunt_dataplane::stats::WorkerStats;

const FLOWS: usize = 10_000_000;
/// What a busy worker ages in one turn (`AGE_SLICE` in dataplane/src/worker.rs).
const AGE_SLICE: usize = 128;
const STALL: Duration = Duration::from_millis(1);

fn main() {
    let state = state();
    let stats = Arc::new(WorkerStats::default());
    // A load of 0.6.
    let room = Capacity { ipv4: FLOWS * 10 / 6, ipv6: 0 };
    let began = Instant::now();
    let memory = Memory::for_workers(1, room, 1).pop().expect("one worker");
    println!(
        "A table for {} flows was made in {:.2} s.\n",
        memory.flows.capacity().ipv4,
        began.elapsed().as_secs_f64()
    );
    let mut director = Director::new(0, memory, Rates::default(), stats.clone());
    let mut traffic = Traffic::new(FLOWS);
    let mut frames = traffic.frames();
    let mut verdicts = Verdicts::new();
    let mut pass = |frames: &mut Frames| {
        director.direct(&state, frames, false, Tick::new(0), &mut verdicts);
        director.age(&state, AGE_SLICE, Tick::new(0));
    };

    println!("| bursts of 64 | time | median | 99.99 % | longest | over 1 ms |\n|---|---|--:|--:|--:|--:|");
    measure("no table", &mut traffic, &mut frames, |frames| {
        std::hint::black_box(frames);
    });
    measure("10 M flows begin", &mut traffic, &mut frames, &mut pass);
    measure("10 M flows go on", &mut traffic, &mut frames, &mut pass);
    println!(
        "\n{} flows are remembered, {} found no room.",
        stats.flows.value(),
        stats.flows_refused.value()
    );
}

fn measure(name: &str, traffic: &mut Traffic, frames: &mut Frames, mut pass: impl FnMut(&mut Frames)) {
    let (mut wall, mut own) = (Vec::new(), Vec::new());
    for _ in 0..FLOWS.div_ceil(BURST) {
        traffic.write(frames);
        let (began, before) = (Instant::now(), on_processor());
        pass(frames);
        own.push(on_processor().saturating_sub(before));
        wall.push(began.elapsed());
    }
    for (kind, mut times) in [("wall", wall), ("own", own)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        let stalls = times.iter().filter(|time| **time > STALL).count();
        println!(
            "| {name} | {kind} | {} | {} | {} | {stalls} |",
            micros(at(0.5)),
            micros(at(0.9999)),
            micros(at(1.0))
        );
    }
}

/// How long this thread has been on a processor.
fn on_processor() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

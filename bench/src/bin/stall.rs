//! Does the packet path ever stall? Ten million flows on one worker, whose table is aged all the while: the time of every
//! burst of 64 frames, of which the longest count. Argument: millions of frames, 1000 if there is none.
//!
//! What happens to a thread beside its own work is told apart thus: a burst during which the kernel took the processor
//! away from it (voluntarily or not: `getrusage`) was preempted, and one with a page fault is counted by itself. What the
//! kernel does not count, interrupts and what the hypervisor takes, is in all other bursts; how much that is shows the
//! row that reads no memory: it spins as long as a burst takes, over and over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_bench::state::state;
use shunt_bench::traffic::{Frames, Traffic};
use shunt_dataplane::clock::{TICKS_PER_SECOND, Tick};
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::port::BURST;
use shunt_dataplane::stats::WorkerStats;

const FLOWS: usize = 10_000_000;
/// What a busy worker ages in one turn at most (`AGE_SLICE` in dataplane/src/worker.rs), and in how many seconds all.
const AGE_SLICE: usize = 128;
const AGE_PERIOD: usize = 16;
/// Frames a second that the worker is taken to forward: so time goes by, and so much of the table is to be aged.
const RATE: usize = 10_000_000;
const LONG: Duration = Duration::from_micros(50);

fn main() {
    let millions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let bursts = millions * 1_000_000 / BURST;
    let state = state();
    let stats = Arc::new(WorkerStats::default());
    // A load of 0.6.
    let room = Capacity { ipv4: FLOWS * 10 / 6, ipv6: 0 };
    let began = Instant::now();
    let memory = Memory::for_workers(1, room, 1).pop().expect("one worker");
    println!(
        "A table for {} flows was made in {:.2} s; {} MiB of this program are in huge pages.\n",
        memory.flows.capacity().ipv4,
        began.elapsed().as_secs_f64(),
        huge_mebibytes()
    );
    let mut director = Director::new(0, memory, Rates::default(), stats.clone());
    let mut traffic = Traffic::new(FLOWS);
    let mut frames: Frames = traffic.frames();
    let mut verdicts = Verdicts::new();
    let (buckets, mut seen, mut aged) = (director.flows().buckets(), 0, 0);
    let mut pass = |frames: &mut Frames| {
        let now = Tick::new((seen * TICKS_PER_SECOND as usize / RATE) as u32);
        seen += BURST;
        director.direct(&state, frames, false, now, &mut verdicts);
        // A worker's clock has milliseconds: what is due then is aged in slices, one a burst.
        let due = buckets * (seen / (RATE / 1_000)) / (1_000 * AGE_PERIOD);
        let slice = (due - aged).min(AGE_SLICE);
        aged += slice;
        director.age(&state, slice, now);
    };

    println!(
        "| bursts of 64 | number | median | 99.99 % | longest | over 50 µs | longest, preempted | longest, with a page fault |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    measure("10 M flows begin", FLOWS.div_ceil(BURST), &mut traffic, &mut frames, &mut pass);
    let median = measure("10 M flows go on", bursts, &mut traffic, &mut frames, &mut pass);
    let spin = |_: &mut Frames| {
        let began = Instant::now();
        while began.elapsed() < median {
            std::hint::spin_loop();
        }
    };
    measure("nothing but the time", bursts, &mut traffic, &mut frames, spin);
    println!(
        "\n{} flows are remembered, {} found no room.",
        stats.flows.value(),
        stats.flows_refused.value()
    );
}

/// Times of bursts, in tenths of a microsecond.
struct Times {
    bins: Vec<u64>,
    longest: Duration,
    preempted: Duration,
    faulted: Duration,
    long: u64,
}

fn measure(
    name: &str,
    bursts: usize,
    traffic: &mut Traffic,
    frames: &mut Frames,
    mut pass: impl FnMut(&mut Frames),
) -> Duration {
    let zero = Duration::ZERO;
    let mut times = Times { bins: vec![0; 10_000], longest: zero, preempted: zero, faulted: zero, long: 0 };
    let mut before = Interruptions::now();
    for _ in 0..bursts {
        traffic.write(frames);
        let began = Instant::now();
        pass(frames);
        let took = began.elapsed();
        let after = Interruptions::now();
        if after.switches != before.switches {
            times.preempted = times.preempted.max(took);
        } else if after.faults != before.faults {
            times.faulted = times.faulted.max(took);
        } else {
            let bin = (took.as_nanos() as usize / 100).min(times.bins.len() - 1);
            times.bins[bin] += 1;
            times.longest = times.longest.max(took);
            times.long += u64::from(took > LONG);
        }
        before = after;
    }
    let (median, most) = (times.at(0.5), times.at(0.9999));
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    let [longest, preempted, faulted] = [times.longest, times.preempted, times.faulted].map(micros);
    println!(
        "| {name} | {bursts} | {} | {} | {longest} | {} | {preempted} | {faulted} |",
        micros(median),
        micros(most),
        times.long
    );
    median
}

impl Times {
    fn at(&self, share: f64) -> Duration {
        let wanted = (self.bins.iter().sum::<u64>() as f64 * share) as u64;
        let mut sum = 0;
        let bin = self.bins.iter().position(|count| {
            sum += count;
            sum > wanted
        });
        Duration::from_nanos(bin.unwrap_or(self.bins.len()) as u64 * 100)
    }
}

/// What the kernel counts of this thread.
struct Interruptions {
    switches: i64,
    faults: i64,
}

impl Interruptions {
    fn now() -> Interruptions {
        // SAFETY: a structure of plain numbers, filled in by the call.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        Interruptions {
            switches: usage.ru_nvcsw + usage.ru_nivcsw,
            faults: usage.ru_minflt + usage.ru_majflt,
        }
    }
}

/// Memory of this process in transparent huge pages.
fn huge_mebibytes() -> u64 {
    let told = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

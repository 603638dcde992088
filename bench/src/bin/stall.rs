//! Does the packet path ever stall? Ten million flows on one worker, whose table is aged all the while: the time of every
//! burst of 64 frames, of which the longest count.
//!
//! What happens to a thread beside its own work is told apart thus, for each burst that is long:
//! - *switched*: the kernel gave the processor to somebody else meanwhile (`getrusage`);
//! - *faulted*: a page was not there;
//! - *stolen*: without the time that the hypervisor says it took (the clock of the thread does not count that, where the
//!   kernel has `PARAVIRT_TIME_ACCOUNTING`), it is not long;
//! - *unexplained*: all else: interrupts, what the hypervisor does not tell, and stalls of the path itself.
//!
//! Two things tell what is in the last heap. The flows come in the same order round after round, so what a bucket, a page
//! or a line of the table does to a burst it does again: each place of the round has its *best* time, the longest of which is
//! what the path needs by itself, and places that were long *more than once* are to be no more than chance has it. And two
//! rows are the machine's: one reads as many lines of as much plain memory, in which there is nothing, and the other spins for
//! as long as a burst takes and reads none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use shunt_bench::memory::on_processor;
use shunt_bench::report::Report;
use shunt_bench::state::state;
use shunt_bench::traffic::{Frames, Traffic};
use shunt_bench::wire::{cores, interrupt};
use shunt_dataplane::clock::{TICKS_PER_SECOND, Tick};
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::port::BURST;
use shunt_dataplane::prefetch::prefetch;
use shunt_dataplane::stats::WorkerStats;

const FLOWS: usize = 10_000_000;
/// What a busy worker ages in one turn at most (`AGE_SLICE` in dataplane/src/worker.rs), and in how many seconds all.
const AGE_SLICE: usize = 128;
const AGE_PERIOD: usize = 16;
/// Frames a second that the worker is taken to forward: so time goes by, and so much of the table is to be aged.
const RATE: usize = 10_000_000;
const LONG: Duration = Duration::from_micros(50);

/// Looks for stalls of the packet path.
#[derive(Parser)]
struct Arguments {
    /// Millions of frames: the path has them, and the row that only spins as long.
    #[arg(default_value_t = 1_000)]
    millions: usize,
}

fn main() {
    let bursts = Arguments::parse().millions * 1_000_000 / BURST;
    interrupt::clean_up_at_signals();
    let _preferred = cores::prefer();
    // On one processor: who is moved finds nothing in its caches.
    cores::pin(cores::subject());
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
    let memory_entries = memory.flows.capacity().ipv4;
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

    let mut report = Report::of_this_machine();
    println!(
        "| bursts of 64 | number | median | 99.99 % | switched | faulted | stolen | unexplained | of these again | by chance | longest of the best |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let round = traffic.round().div_ceil(BURST);
    let begin = measure(round, round, &mut traffic, &mut frames, &mut pass);
    begin.tell("10 M flows begin", &mut report);
    let go_on = measure(bursts, round, &mut traffic, &mut frames, &mut pass);
    go_on.tell("10 M flows go on", &mut report);
    let plain = PlainMemory::of(16 * memory_entries);
    let mut sum = 0;
    let reads = measure(bursts, round, &mut traffic, &mut frames, |frames| sum ^= plain.read(frames));
    reads.tell("as many reads of plain memory", &mut report);
    std::hint::black_box(sum);
    let median = go_on.at(0.5);
    let spin = |_: &mut Frames| {
        let began = Instant::now();
        while began.elapsed() < median {
            std::hint::spin_loop();
        }
    };
    // It is a rate that counts: a quarter will do.
    let nothing = measure(bursts / 4, round, &mut traffic, &mut frames, spin);
    nothing.tell("nothing but the time", &mut report);
    println!(
        "\n{} flows are remembered, {} found no room.",
        stats.flows.value(),
        stats.flows_refused.value()
    );
    let path = report.write("stall.csv").expect("bench/results can be written to");
    println!("All figures: {}", path.display());
}

/// As much memory as the table has, advised as the table's is, and nothing in it.
struct PlainMemory(Vec<[u64; 8]>);

impl PlainMemory {
    fn of(bytes: usize) -> PlainMemory {
        let lines = bytes / 64;
        let mut memory = Vec::with_capacity(lines);
        // SAFETY: advice about memory of its own; that it begins and ends within a page is the kernel's to refuse or to round.
        let advised = unsafe {
            let begin = memory.as_mut_ptr() as usize;
            let begin = begin.next_multiple_of(2 << 20);
            libc::madvise(begin as *mut libc::c_void, bytes - (2 << 20), libc::MADV_HUGEPAGE)
        };
        if advised != 0 {
            eprintln!("no huge pages for plain memory");
        }
        memory.resize(lines, [1; 8]);
        PlainMemory(memory)
    }

    /// Reads two lines for each frame, which its flow decides on, fetched over the burst as the path does it.
    #[inline(never)]
    fn read(&self, frames: &Frames) -> u64 {
        let lines = self.0.len() as u64;
        let places = frames.each_ref().map(|frame| {
            let word =
                |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
            let mixed = (u64::from(word(26)) << 32 | u64::from(word(34))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            [mixed >> 32, mixed.rotate_left(17) & 0xffff_ffff].map(|half| ((half * lines) >> 32) as usize)
        });
        for place in places.iter().flatten() {
            prefetch(self.0.as_ptr().wrapping_add(*place));
        }
        places.iter().flatten().fold(0, |sum, place| sum ^ self.0[*place][0])
    }
}

/// Why a burst was long.
#[derive(Clone, Copy)]
enum Cause {
    Switched,
    Faulted,
    Stolen,
    Unexplained,
}

/// Times of bursts.
struct Times {
    /// In tenths of a microsecond, all of them.
    bins: Vec<u64>,
    /// How many were long, and the longest, by cause.
    long: [(u64, Duration); 4],
    /// By place in the round: the shortest time, nanoseconds, and how often it was long without a reason.
    places: Vec<(u32, u32)>,
}

fn measure(
    bursts: usize,
    round: usize,
    traffic: &mut Traffic,
    frames: &mut Frames,
    mut pass: impl FnMut(&mut Frames),
) -> Times {
    let none = (0, Duration::ZERO);
    let mut times = Times { bins: vec![0; 10_000], long: [none; 4], places: vec![(u32::MAX, 0); round] };
    let (mut before, mut ended) = (Interruptions::now(), Instant::now());
    for burst in 0..bursts {
        traffic.write(&mut *frames);
        let began = Instant::now();
        pass(frames);
        let took = began.elapsed();
        let (after, now) = (Interruptions::now(), Instant::now());
        let stolen = (now - ended).saturating_sub(after.on_processor.saturating_sub(before.on_processor));
        let cause = if after.switches != before.switches {
            Cause::Switched
        } else if after.faults != before.faults {
            Cause::Faulted
        } else if took.saturating_sub(stolen) <= LONG {
            Cause::Stolen
        } else {
            Cause::Unexplained
        };
        times.count(burst % round, took, cause);
        (before, ended) = (after, now);
    }
    times
}

impl Times {
    fn count(&mut self, place: usize, took: Duration, cause: Cause) {
        let bin = (took.as_nanos() as usize / 100).min(self.bins.len() - 1);
        self.bins[bin] += 1;
        let (best, again) = &mut self.places[place];
        *best = (*best).min(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        if took > LONG {
            let (number, longest) = &mut self.long[cause as usize];
            *number += 1;
            *longest = took.max(*longest);
            *again += u32::from(matches!(cause, Cause::Unexplained));
        }
    }

    /// Long bursts without a reason at a place where there was one before; and how many chance would have there, if
    /// all places were alike.
    fn again(&self) -> (u64, f64) {
        let again = self.places.iter().map(|(_, long)| u64::from(long.saturating_sub(1))).sum();
        let (number, places) = (self.long[Cause::Unexplained as usize].0 as f64, self.places.len() as f64);
        // So many places are expected to be met at all.
        let met = places * (1.0 - (1.0 - 1.0 / places).powf(number));
        (again, number - met)
    }

    /// What the slowest place of the round takes when nothing disturbs it; none if each was met once only.
    fn longest_best(&self) -> Option<Duration> {
        let is_met_again = self.bins.iter().sum::<u64>() >= 2 * self.places.len() as u64;
        let best = self.places.iter().map(|(best, _)| *best).max().filter(|_| is_met_again);
        best.map(|best| Duration::from_nanos(best.into()))
    }

    fn tell(&self, name: &str, report: &mut Report) {
        let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        let long = self.long.map(|(number, longest)| format!("{number}, {}", micros(longest)));
        let bursts: u64 = self.bins.iter().sum();
        let (again, chance) = self.again();
        println!(
            "| {name} | {bursts} | {} | {} | {} | {again} | {chance:.1} | {} |",
            micros(self.at(0.5)),
            micros(self.at(0.9999)),
            long.join(" | "),
            self.longest_best().map_or_else(|| "-".into(), micros)
        );
        let mut figure = |parameter: &str, value: f64, unit: &str| {
            report.figure("stall", name, parameter, value, unit);
        };
        figure("bursts", bursts as f64, "bursts");
        figure("median", self.at(0.5).as_secs_f64() * 1e6, "us");
        if let Some(best) = self.longest_best() {
            figure("longest_of_the_best", best.as_secs_f64() * 1e6, "us");
        }
        for (cause, (number, longest)) in
            ["switched", "faulted", "stolen", "unexplained"].iter().zip(self.long)
        {
            figure(&format!("over_50us_{cause}"), number as f64, "bursts");
            figure(&format!("longest_{cause}"), longest.as_secs_f64() * 1e6, "us");
        }
        figure("unexplained_again", again as f64, "bursts");
        figure("unexplained_again_by_chance", chance, "bursts");
    }

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
    /// Its time on the processor, but for what the hypervisor has taken of that and told.
    on_processor: Duration,
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
            on_processor: on_processor(),
        }
    }
}

/// Memory of this process in transparent huge pages.
fn huge_mebibytes() -> u64 {
    let told = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

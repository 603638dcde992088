//! The generator: `bpf/generator.bpf.c`, run by the kernel on one core for as long as it shall send.
//!
//! The kernel takes a grace period of RCU to begin such a run, and another to end it: milliseconds, but a tenth of a second or
//! seconds on a machine where a spinning subject keeps others from their core. So a run begins by sending nothing, and
//! whoever measures has the subject sleep until it has begun.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use aya::programs::{ProgramError, TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, Pod};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, gettid};
use shunt_tests::Namespace;

use crate::wire::cores;

/// Bytes of a frame, without FCS.
pub const FRAME: usize = 60;
/// Where all frames go: 192.0.2.10, port 80, UDP.
pub const VIP: [u8; 4] = [192, 0, 2, 10];

/// Frames that the kernel sends on at once: with and without a pace.
const PACED_BATCH: u32 = 8;
const BATCH: u32 = 64;
/// Mirrors `HOLD`.
const HOLD: u64 = u64::MAX;
/// A run begins within this, however busy the machine is.
const START: Duration = Duration::from_secs(60);
/// Ends a run of the kernel (`bpf_test_timer_continue` in net/bpf/test_run.c).
const END: Signal = Signal::SIGUSR1;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Frames a second; none: as many as the core can make.
    pub rate: Option<f64>,
    /// Flows, at least one.
    pub flows: u32,
    /// Whose MAC address the frames have as destination, and as source.
    pub destination: [u8; 6],
    /// See `destination`.
    pub source: [u8; 6],
}

/// Mirrors `struct plan`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Plan {
    interval: u64,
    interface: u32,
    flows: u32,
    destination: [u8; 6],
    source: [u8; 6],
    vip: [u8; 4],
}

// SAFETY: repr(C) without padding (8 + 4 + 4 + 6 + 6 + 4 = 32), and any bytes are a value of it.
unsafe impl Pod for Plan {}

/// Mirrors `struct progress`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Progress {
    due: u64,
    sent: u64,
    held: u64,
    flow: u32,
    zero: u32,
}

// SAFETY: as above (8 + 8 + 8 + 4 + 4 = 32).
unsafe impl Pod for Progress {}

/// The generator of one bed.
pub struct Generator {
    runner: Runner,
    plan: Array<MapData, Plan>,
    interface: u32,
}

/// What a thread of its own has the kernel run.
struct Runner {
    ebpf: Ebpf,
    namespace: Namespace,
    core: usize,
}

/// Generators that the kernel runs: they send as they are told.
pub struct Running<'a> {
    runners: Vec<&'a Runner>,
    plans: Vec<(&'a mut Array<MapData, Plan>, u32)>,
    traffic: Traffic,
}

impl Running<'_> {
    /// From here on they send.
    pub fn send(&mut self) {
        let rate = self.traffic.rate.map(|rate| rate / self.plans.len() as f64);
        self.set(rate.map_or(0, |rate| (1e9 * 1024.0 / rate) as u64));
    }

    /// From here on they send nothing.
    pub fn hold(&mut self) {
        self.set(HOLD);
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.runners.iter().map(|runner| runner.progress().sent).sum()
    }

    fn set(&mut self, interval: u64) {
        let Traffic { flows, destination, source, .. } = self.traffic;
        for (plan, interface) in &mut self.plans {
            let traffic = Plan { interval, interface: *interface, flows, destination, source, vip: VIP };
            plan.set(0, traffic, 0).expect("row 0 is always there");
        }
    }
}

/// The kernel runs all of `generators` while `work` runs, which has them send `traffic`. A rate is that of all together.
#[track_caller]
pub fn during<T>(
    generators: &mut [Generator],
    traffic: &Traffic,
    work: impl FnOnce(&mut Running<'_>) -> T,
) -> T {
    let batch = if traffic.rate.is_some() { PACED_BATCH } else { BATCH };
    let (runners, plans) = generators
        .iter_mut()
        .map(|Generator { runner, plan, interface }| (&*runner, (plan, *interface)))
        .unzip();
    let mut running = Running { runners, plans, traffic: *traffic };
    running.hold();
    let held: Vec<u64> = running.runners.iter().map(|runner| runner.progress().held).collect();
    let stop = &AtomicBool::new(false);
    do_nothing_at(END);
    std::thread::scope(|scope| {
        let (begun, begins) = mpsc::channel();
        let senders: Vec<_> = running
            .runners
            .iter()
            .map(|&runner| {
                let begun = begun.clone();
                scope.spawn(move || {
                    runner.namespace.enter(|| {
                        cores::pin(runner.core);
                        begun.send(gettid()).expect("the other end waits");
                        runner.run(batch, stop);
                    });
                })
            })
            .collect();
        let threads: Vec<Pid> =
            senders.iter().map(|_| begins.recv().expect("a generator's thread starts")).collect();
        let end = Ender { threads: &threads, stop };
        let deadline = Instant::now() + START;
        let has_begun = |(runner, held): (&&Runner, &u64)| runner.progress().held != *held;
        while !running.runners.iter().zip(&held).all(has_begun) {
            assert!(!senders.iter().any(|sender| sender.is_finished()), "a generator's thread has ended");
            assert!(
                Instant::now() < deadline,
                "the kernel does not begin to run the generator within {} s: something keeps a core to itself, and no \
                 grace period of RCU ends",
                START.as_secs()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        let result = work(&mut running);
        running.hold();
        drop(end);
        // Again and again: a signal that comes before the system call ends nothing.
        while !senders.iter().all(|sender| sender.is_finished()) {
            threads.iter().copied().for_each(interrupt);
            std::thread::sleep(Duration::from_millis(1));
        }
        result
    })
}

impl Generator {
    /// Loads it, to send from a core on the interface of this index of `namespace`.
    #[track_caller]
    pub fn load(namespace: Namespace, interface: u32, core: usize) -> Generator {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator.bpf.o"));
        let mut ebpf = Ebpf::load(object).unwrap_or_else(|fault| panic!("generator.bpf.o: {fault}"));
        let program: &mut Xdp =
            ebpf.program_mut("generate").expect("it is in the object").try_into().expect("it is XDP");
        program.load().unwrap_or_else(|fault| panic!("the generator: {fault}"));
        let plan = ebpf.take_map("plan").expect("it is in the object");
        let plan = plan.try_into().expect("its layout is that of the object");
        Generator { runner: Runner { ebpf, namespace, core }, plan, interface }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.runner.progress().sent
    }
}

impl Runner {
    fn progress(&self) -> Progress {
        let map = self.ebpf.map("progress").expect("it is in the object");
        let map: Array<&MapData, Progress> = map.try_into().expect("its layout is that of the object");
        map.get(&0, 0).expect("row 0 is always there")
    }

    fn run(&self, batch: u32, stop: &AtomicBool) {
        let program: &Xdp =
            self.ebpf.program("generate").expect("it is in the object").try_into().expect("it is XDP");
        let frame = [0; FRAME];
        // Relaxed: nothing else is read because of it.
        while !stop.load(Ordering::Relaxed) {
            let options = TestRunOptions {
                data_in: Some(&frame),
                repeat: u32::MAX,
                attrs: TestRunAttrs::new().xdp_live_frames(batch),
                ..TestRunOptions::new()
            };
            match program.test_run(options) {
                Ok(_) => {}
                Err(ProgramError::SyscallError(error)) if error.io_error.kind() == ErrorKind::Interrupted => {
                }
                Err(fault) => panic!("the kernel sends no live frames (it takes Linux 5.18): {fault:?}"),
            }
        }
    }
}

/// Tells the generators' threads to end, also when what they send for panics.
struct Ender<'a> {
    threads: &'a [Pid],
    stop: &'a AtomicBool,
}

impl Drop for Ender<'_> {
    fn drop(&mut self) {
        // Relaxed: nothing else is read because of it.
        self.stop.store(true, Ordering::Relaxed);
        self.threads.iter().copied().for_each(interrupt);
    }
}

fn interrupt(thread: Pid) {
    // SAFETY: takes numbers only. A thread that has ended gets nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.as_raw(), END as libc::c_int) };
}

/// The signal shall interrupt a system call and do nothing else.
fn do_nothing_at(signal: Signal) {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, which is safe at any moment.
    unsafe { sigaction(signal, &action) }.expect("a signal that can be handled");
}

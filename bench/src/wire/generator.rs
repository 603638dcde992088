//! The generator: `bpf/generator.bpf.c`, run by the kernel on one core for as long as it shall send.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

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
    flow: u32,
    zero: u32,
}

// SAFETY: as above (8 + 8 + 4 + 4 = 24).
unsafe impl Pod for Progress {}

/// The generator of one bed.
pub struct Generator {
    ebpf: Ebpf,
    namespace: Namespace,
    interface: u32,
    core: usize,
}

/// All of `generators` send while `work` runs, which is given what tells the frames sent so far. A rate is that of all
/// together.
#[track_caller]
pub fn during<T>(
    generators: &mut [Generator],
    traffic: &Traffic,
    work: impl FnOnce(&dyn Fn() -> u64) -> T,
) -> T {
    let rate = traffic.rate.map(|rate| rate / generators.len() as f64);
    generators.iter_mut().for_each(|generator| generator.plan(&Traffic { rate, ..*traffic }));
    let batch = if rate.is_some() { PACED_BATCH } else { BATCH };
    let (generators, stop) = (&*generators, &AtomicBool::new(false));
    do_nothing_at(END);
    std::thread::scope(|scope| {
        let (begun, begins) = mpsc::channel();
        let senders: Vec<_> = generators
            .iter()
            .map(|generator| {
                let begun = begun.clone();
                scope.spawn(move || {
                    generator.namespace.enter(|| {
                        cores::pin(generator.core);
                        begun.send(gettid()).expect("the other end waits");
                        generator.run(batch, stop);
                    });
                })
            })
            .collect();
        let threads: Vec<Pid> =
            senders.iter().map(|_| begins.recv().expect("a generator's thread starts")).collect();
        let end = Ender { threads: &threads, stop };
        let result = work(&|| generators.iter().map(Generator::sent).sum());
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
        Generator { ebpf, namespace, interface, core }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        let map = self.ebpf.map("progress").expect("it is in the object");
        let map: Array<&MapData, Progress> = map.try_into().expect("its layout is that of the object");
        map.get(&0, 0).expect("row 0 is always there").sent
    }

    fn plan(&mut self, traffic: &Traffic) {
        let interval = traffic.rate.map_or(0, |rate| (1e9 * 1024.0 / rate) as u64);
        let Traffic { flows, destination, source, .. } = *traffic;
        let plan = Plan { interval, interface: self.interface, flows, destination, source, vip: VIP };
        let map = self.ebpf.map_mut("plan").expect("it is in the object");
        let mut map: Array<&mut MapData, Plan> = map.try_into().expect("its layout is that of the object");
        map.set(0, plan, 0).expect("row 0 is always there");
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

//! What can be done to a running director from outside, so that it meets what it should never meet and has nothing in it for
//! the sake of tests: a thread of it that stands still, and a ring in which the kernel seems to lie.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// More frames than any ring has.
const TOO_MANY: u32 = 1_000_000;

/// A thread that stands still until this is dropped, or it is killed. (One thread cannot be stopped by a signal: that stops
/// the whole process.)
pub struct Frozen {
    thaw: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Frozen {
    /// Stops the thread called `name` of process `pid`. On return it stands still.
    #[track_caller]
    pub fn new(pid: i32, name: &str) -> Frozen {
        let thread = thread(pid, name);
        let (thaw, thawed) = channel();
        let (stopped, stands) = channel();
        // Whoever stops a thread has to be there as long as it stands, and to bury it if it dies.
        let tracer = std::thread::spawn(move || trace(thread, &stopped, &thawed));
        stands.recv().expect("root may stop every thread");
        Frozen { thaw: Some(thaw), tracer: Some(tracer) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.thaw.take());
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

fn trace(thread: Pid, stopped: &Sender<()>, thawed: &Receiver<()>) {
    ptrace::seize(thread, ptrace::Options::empty()).expect("root may trace every thread");
    ptrace::interrupt(thread).expect("it was seized just now");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
    let _ = stopped.send(());
    let look = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
    while matches!(thawed.try_recv(), Err(TryRecvError::Empty)) {
        match waitpid(thread, Some(look)) {
            Ok(WaitStatus::StillAlive | WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Killed.
            _ => return,
        }
    }
    let _ = ptrace::detach(thread, None);
}

/// The number of the thread called `name` of process `pid`.
#[track_caller]
pub fn thread(pid: i32, name: &str) -> Pid {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    let is_it = |comm: String| comm.trim_end() == name;
    let found = tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(is_it));
    let found = found.unwrap_or_else(|| panic!("process {pid} has no thread {name}"));
    let number = found.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    Pid::from_raw(number.expect("the kernel calls threads by their numbers"))
}

/// Where process `pid` has the RX rings of its AF_XDP sockets.
#[track_caller]
pub fn rings(pid: i32) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
    // linux/if_xdp.h: XDP_PGOFF_RX_RING is 0.
    let ring = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (range, offset, path) = (words.next()?, words.nth(1)?, words.nth(2)?);
        let is_ring = path.starts_with("socket:[") && offset == "00000000";
        is_ring.then(|| u64::from_str_radix(range.split('-').next()?, 16).ok()).flatten()
    };
    maps.lines().filter_map(ring).collect()
}

/// In this RX ring of process `pid` there seem to be more frames than there are: no kernel does that, and the worker that has
/// the ring, if built with overflow checks as for tests, finds its own count wrong. False: the ring is gone. The kernel puts it right with the next frame that comes in, if
/// the worker has not looked before.
#[track_caller]
pub fn spoil(pid: i32, ring: u64) -> bool {
    let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
    let memory = memory.expect("root may write to the memory of every process");
    // net/xdp/xsk_queue.h, `struct xdp_ring`: the producer's count comes first.
    let mut producer = [0; 4];
    memory.read_exact_at(&mut producer, ring).is_ok() && {
        let more = u32::from_ne_bytes(producer).wrapping_add(TOO_MANY);
        memory.write_all_at(&more.to_ne_bytes(), ring).is_ok()
    }
}

/// Sends a signal to the thread called `name` of process `pid`.
#[track_caller]
pub fn signal(pid: i32, name: &str, signal: Signal) {
    let thread = thread(pid, name);
    // SAFETY: takes numbers only.
    let done = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread.as_raw(), signal as i32) };
    assert_eq!(done, 0, "{signal} to {name}: {}", std::io::Error::last_os_error());
}

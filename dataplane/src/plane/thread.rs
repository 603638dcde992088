//! The thread of a worker, from its start to what it leaves.
//!
//! *Invariant*: whatever way it ends but with the process, its ports are closed, the XDP program has been told that it is no
//! more, and its memory is left for another one, unless its ports panic too.

use std::any::Any;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::clock::Clock;
use crate::confine::confine;
use crate::port::Port;
use crate::worker::{Idle, Remains, Worker};
use crate::xsk::beat::Beat;
use crate::xsk::program::OpenError;

/// What the names of workers' threads begin with; the number follows.
pub const NAME: &str = "worker-";

/// What all workers obey.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) stop: Arc<AtomicBool>,
    /// Readable when they are to stop.
    pub(super) wake: Arc<OwnedFd>,
    pub(super) clock: Clock,
    pub(super) idle: Idle,
}

/// A thread that runs, or has ended and was not looked at yet.
pub(super) struct WorkerThread(JoinHandle<Left>);

/// What a worker leaves.
pub(super) struct Left {
    pub(super) memory: Remains,
    /// Its last words; none: it was told to stop.
    pub(super) panic: Option<String>,
}

impl WorkerThread {
    /// Starts worker number `n`, which sleeps until one of `sockets` is readable.
    ///
    /// # Errors
    /// The kernel starts no thread, or does not take its rights from it: the worker is gone.
    pub(super) fn start<P>(
        n: usize,
        mut worker: Worker<P>,
        sockets: Vec<RawFd>,
        beat: Beat,
        core: Option<usize>,
        orders: Orders,
    ) -> Result<WorkerThread, OpenError>
    where
        P: Port + Send + 'static,
        P::Frame: Send,
    {
        let (tell, confined) = sync_channel(1);
        let run = move || {
            // SAFETY: takes nothing, and cannot fail.
            worker.stats().thread.set(unsafe { libc::gettid() } as u64);
            if let Some(id) = core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            let is_confined = confine();
            let may_run = is_confined.is_ok();
            // Whoever starts it waits for that.
            let _ = tell.send(is_confined);
            if !may_run {
                return Left { memory: worker.into_memory(), panic: None };
            }
            // What a panic leaves half done is thrown away with the ports; what stays is memory that has no half-written
            // entries, and is counted anew before it is used again.
            let panic = catch_unwind(AssertUnwindSafe(|| turn(&mut worker, &sockets, beat, &orders)));
            Left { memory: worker.into_memory(), panic: panic.err().map(|panic| words(&*panic)) }
        };
        let thread =
            thread::Builder::new().name(format!("{NAME}{n}")).spawn(run).map_err(OpenError::Thread)?;
        let confined = confined.recv().unwrap_or_else(|_| Err(io::Error::other("it ended")));
        confined.map_err(OpenError::Confine)?;
        Ok(WorkerThread(thread))
    }

    /// Whether it runs no more.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// What it leaves, once it has ended. Waits for that.
    ///
    /// # Errors
    /// Why it leaves nothing.
    pub(super) fn left(self) -> Result<Left, String> {
        self.0.join().map_err(|panic| words(&*panic))
    }

    /// Waits for its end until then. One that hangs is left to the end of the process: nothing else ends it.
    pub(super) fn end(self, by: Instant) {
        while !self.has_ended() && Instant::now() < by {
            thread::sleep(Duration::from_millis(1));
        }
        if self.has_ended() {
            // What it said last was said when it did.
            let _ = self.left();
        }
    }
}

/// Until it is told to stop. The beat ends with this.
fn turn<P: Port>(worker: &mut Worker<P>, sockets: &[RawFd], beat: Beat, orders: &Orders) {
    let wake = orders.wake.as_raw_fd();
    let mut poll: Vec<libc::pollfd> = sockets
        .iter()
        .chain([&wake])
        .map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
        .collect();
    let sleep = |timeout| {
        // SAFETY: `poll` is an array of the length given.
        unsafe { libc::poll(poll.as_mut_ptr(), poll.len() as libc::nfds_t, timeout) };
    };
    worker.run(orders.clock, orders.idle, &orders.stop, |now| beat.strike(now), sleep);
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

//! The clock of the VRRP thread. Timers of tokio are rounded to milliseconds, which is a tenth of the shortest interval of
//! adverts; and a thread that must wait for a busy worker on its core is late however good its timer is.
//!
//! timerfd_create(2), sched(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of the kernel with its full resolution.
#[derive(Debug)]
pub(super) struct Clock {
    timer: AsyncFd<Timer>,
    set: Option<Instant>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl Clock {
    /// Must be called on a tokio runtime.
    pub(super) fn new() -> io::Result<Clock> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // SAFETY: the timer owns its descriptor, which stays open and the same until the timer is dropped, and the
        // `AsyncFd` owns the timer until then.
        let timer = unsafe { AsyncFd::register_with_interest(Timer(timer), Interest::READABLE)? };
        Ok(Clock { timer, set: None })
    }

    /// Rings at `deadline`, at once if that is over; never without one. What was set before is forgotten.
    pub(super) fn set(&mut self, now: Instant, deadline: Option<Instant>) {
        if self.set == deadline {
            return;
        }
        self.set = deadline;
        let timer = &self.timer.get_ref().0;
        let result = match deadline {
            // Zero would stop it.
            Some(deadline) => {
                let wait = deadline.saturating_duration_since(now).max(Duration::from_nanos(1));
                timer.set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty())
            }
            None => timer.unset(),
        };
        if let Err(errno) = result {
            unreachable!("a timer takes any time from a nanosecond on: {errno}");
        }
    }

    /// Waits until it rings. Cancel-safe.
    pub(super) async fn rung(&mut self) {
        loop {
            // An error of the runtime is one of all descriptors: whoever waits for this one would wait for ever.
            let Ok(mut ready) = self.timer.readable().await else { return };
            let mut expirations = [0; 8];
            match nix::unistd::read(&self.timer.get_ref().0, &mut expirations) {
                Ok(_) => {
                    self.set = None;
                    return;
                }
                // Set anew since.
                Err(_) => ready.clear_ready(),
            }
        }
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Lets this thread run before all that are not real-time, if the kernel allows it.
pub(super) fn first_in_line() {
    if let Err(error) = real_time() {
        tracing::debug!(%error, "the VRRP thread has no real-time priority (CAP_SYS_NICE)");
    }
}

/// Gives this thread the lowest real-time priority.
pub(crate) fn real_time() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // Threads and programs that it starts are ordinary again.
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter lives through the call; 0 is this thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

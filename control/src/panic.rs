//! What a panic ends. A worker, or the thread of VRRP, ends alone: control sees it, gives the addresses up and says why, or
//! starts another worker. Any other panic ends the process at once: a task of control that is not there any more would go
//! unnoticed, and half a director is none. (The guard takes the addresses away then.)

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use shunt_dataplane::plane::THREAD_NAME;

use crate::vrrp;

/// Panics that are being told.
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// From here on, in all threads.
pub fn end_by_thread() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // Relaxed, both: nothing else is read because of it.
        TOLD.fetch_add(1, Ordering::Relaxed);
        say(panic);
        TOLD.fetch_sub(1, Ordering::Relaxed);
        if !thread::current().name().is_some_and(ends_alone) {
            std::process::abort();
        }
    }));
}

/// Whether a thread is telling of its panic: a backtrace (RUST_BACKTRACE) may take seconds.
pub fn is_told() -> bool {
    TOLD.load(Ordering::Relaxed) > 0
}

fn ends_alone(thread: &str) -> bool {
    thread.starts_with(THREAD_NAME) || thread == vrrp::thread::NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_end_alone_who_are_watched() {
        assert!(ends_alone("worker-0") && ends_alone("shunt-vrrp"));
        assert!(!ends_alone("main") && !ends_alone("tokio-runtime-worker"));
    }
}

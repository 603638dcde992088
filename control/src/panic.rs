//! What a panic ends. A worker, or the thread of VRRP, ends alone: control sees it, gives the addresses up and says why, or
//! starts another worker. Any other panic ends the process at once: a task of control that is not there any more would go
//! unnoticed, and half a director is none. (The guard takes the addresses away then.)

use std::panic;
use std::thread;

use shunt_dataplane::plane::THREAD_NAME;

use crate::vrrp;

/// From here on, in all threads.
pub fn end_by_thread() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        if !thread::current().name().is_some_and(ends_alone) {
            std::process::abort();
        }
    }));
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

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
        let thread = thread::current();
        match thread.name() {
            // It may open no file (`shunt_dataplane::confine`), so that there is no trace of its calls (RUST_BACKTRACE).
            Some(name) if name.starts_with(THREAD_NAME) => eprintln!("thread '{name}' {panic}"),
            Some(vrrp::thread::NAME) => say(panic),
            _ => {
                say(panic);
                std::process::abort();
            }
        }
    }));
}

//! Ctrl-C in the middle of a run leaves nothing behind: namespaces are named, and would outlive this process.

use nix::sys::signal::{SigSet, Signal};

use crate::wire::cores::Preferred;

/// From here on SIGINT and SIGTERM take the namespaces away, with all that runs in them, and end the process. To be
/// called before any thread is started: threads inherit that they leave these signals alone, programs do not.
pub fn clean_up_at_signals() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().expect("signals can be blocked");
    std::thread::spawn(move || {
        let signal = signals.wait().expect("signals can be waited for");
        shunt_tests::sweep::own();
        drop(Preferred);
        std::process::exit(128 + signal as i32);
    });
}

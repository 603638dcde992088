//! One thread that lives as long as the test process and starts every long-lived child.
//!
//! A child asks the kernel to be killed when its parent dies (`PR_SET_PDEATHSIG`), and that "parent" is the *thread* that
//! made it, not the process. A child started by a helper thread would die with that thread; one started here dies
//! exactly with the test process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

/// A child to start, and where to send it.
type Request = (Command, Sender<io::Result<Child>>);

/// Starts `command` from the spawner's thread.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    // Whoever asked may have gone; then the child goes too, since nobody would end it.
                    if let Err(unwanted) = answer.send(command.spawn())
                        && let Ok(mut child) = unwanted.0
                    {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            })
            .expect("a thread for the spawner");
        requests
    });
    let (answer, child) = channel();
    spawner.send((command, answer)).expect("the spawner lives as long as the process");
    child.recv().expect("the spawner answers every request")
}

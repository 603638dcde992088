//! A child process that keeps running: its log is followed, its end is certain.
//!
//! Invariants: the pid is the program's own; the process does not outlive this value (`Drop` kills it), nor the test
//! process, however that ends (the kernel kills it).

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::log::{Log, NoLine, Stream};
use crate::{spawner, wait};

/// How many lines of its log a process shows when the test fails.
const LAST_WORDS: usize = 40;
/// How long the kernel may take to end a process that was killed, on a machine that is busy with other things.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A running program, or one that has ended and left its log.
pub struct Process {
    name: String,
    child: Child,
    log: Log,
}

impl Process {
    /// Starts `command`, from a thread that lives as long as the test process.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match spawner::spawn(command) {
            Ok(child) => child,
            Err(fault) => panic!("{name} does not start: {fault}"),
        };
        let log = Log::default();
        log.follow(Stream::Out, child.stdout.take().expect("stdout is piped"));
        log.follow(Stream::Err, child.stderr.take().expect("stderr is piped"));
        Process { name, child, log }
    }

    /// The pid of the program itself.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid is positive")
    }

    /// What it has written so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line that contains `pattern`, wherever in the log; panics with the whole log if it does not come.
    #[track_caller]
    pub fn wait_for_line(&self, pattern: &str, deadline: Duration) -> String {
        self.wait_for_line_from(0, pattern, deadline)
    }

    /// As [`Process::wait_for_line`], from the `mark` on that [`Log::mark`] gave earlier.
    #[track_caller]
    pub fn wait_for_line_from(&self, mark: usize, pattern: &str, deadline: Duration) -> String {
        match self.log.wait_for(mark, deadline, |line| line.contains(pattern)) {
            Ok(line) => line,
            Err(why) => {
                let why = match why {
                    NoLine::Deadline => format!("{deadline:?} have passed"),
                    NoLine::Closed => "it has ended".to_owned(),
                };
                panic!(
                    "{} wrote no line with {pattern:?}, and {why}; its log:\n{}",
                    self.name,
                    self.log.text()
                )
            }
        }
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        // While the child is not reaped its pid cannot belong to anybody else.
        if self.ended().is_none() {
            kill(Pid::from_raw(self.pid()), signal)
                .unwrap_or_else(|fault| panic!("{signal} to {}: {fault}", self.name));
        }
    }

    /// Waits until it ends by itself; panics with its log if `deadline` passes.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        match wait::try_until(deadline, || self.ended()) {
            Some(status) => {
                // So that the log is complete; a grandchild that holds the streams open may not hold up the test.
                self.log.wait_closed(Duration::from_secs(1));
                status
            }
            None => panic!("{} still runs after {deadline:?}; its log:\n{}", self.name, self.log.text()),
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(deadline)
    }

    /// Ends it with no chance to clean up (SIGKILL), as a crash would.
    #[track_caller]
    pub fn kill9(&mut self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.wait(KILL_DEADLINE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        if running {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let failed = self.child.try_wait().ok().flatten().is_some_and(|status| {
            // Killed by us just now, stopped in order, or ended well: nothing to complain about.
            !running && !status.success() && status.signal().is_none()
        });
        if std::thread::panicking() || failed {
            let text = self.log.text();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
            if !last.is_empty() {
                eprintln!("--- last lines of {}:\n{}", self.name, last.join("\n"));
            }
        }
    }
}

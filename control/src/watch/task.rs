//! What a thread of this process does, as the kernel says (proc_pid_stat(5)).

use std::fmt;

/// CPU time, in ticks of 10 ms, in which a worker that works has taken a thousand turns.
const MANY: u64 = 5;

/// A thread at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// The kernel's letter for its state.
    pub(super) state: char,
    /// CPU time used so far, in ticks.
    pub(super) ticks: u64,
}

/// What it has been doing for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It could run, and its core has no time for it.
    WaitsForCore,
    Runs,
    Stopped,
    WaitsInKernel,
    Sleeps,
    Ended,
}

impl Task {
    /// Thread number `thread` of this process; none: the kernel does not say.
    pub(super) fn of(thread: u64) -> Option<Task> {
        Task::parse(&std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Task> {
        // Behind the name, which may have anything in it, also brackets and blanks.
        let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        // Fields 14 and 15 of the line: user and system time.
        let mut times = words.skip(10).map(|word| word.parse::<u64>().ok());
        Some(Task { state, ticks: times.next()?? + times.next()?? })
    }

    /// What it has been doing since it was like that.
    pub(super) fn since(&self, before: Option<&Task>) -> Doing {
        let used = before.map_or(0, |before| self.ticks.saturating_sub(before.ticks));
        match self.state {
            'R' if used < MANY => Doing::WaitsForCore,
            'R' => Doing::Runs,
            't' | 'T' => Doing::Stopped,
            'D' => Doing::WaitsInKernel,
            'Z' | 'X' => Doing::Ended,
            _ => Doing::Sleeps,
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::WaitsForCore => "its thread waits for its core",
            Doing::Runs => "its thread runs, and comes to no end",
            Doing::Stopped => "its thread was stopped, as debuggers do",
            Doing::WaitsInKernel => "its thread waits in the kernel for a device",
            Doing::Sleeps => "its thread sleeps, and nothing wakes it",
            Doing::Ended => "its thread has ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_line_is_read_behind_the_name() {
        let line = "41 (worker-0 ) R) S 1 41 41 0 -1 4194368 100 0 0 0 12 34 0 0 20 0 4 0 99 1 1";
        assert_eq!(Task::parse(line), Some(Task { state: 'S', ticks: 46 }));
        assert_eq!(Task::parse("41 (a) S 1 41"), None);
        assert_eq!(Task::parse(""), None);
    }

    #[test]
    fn a_thread_of_this_process_can_be_looked_at() {
        let task =
            Task::of(std::process::id().into()).expect("the first thread has the number of the process");
        assert!(task.state.is_ascii_alphabetic());
    }
}

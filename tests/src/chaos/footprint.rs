//! What a process holds: what grows here with every fault is a leak.

use std::fs;

/// What a process holds at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footprint {
    /// Memory in RAM, KiB.
    pub resident: u64,
    /// Open files.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Processes that it has started and that have not ended, or that it has not taken note of.
    pub children: usize,
}

impl Footprint {
    /// Of the process `pid`. Panics if it does not run.
    #[track_caller]
    pub fn of(pid: i32) -> Footprint {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("proc_pid_status(5)");
            line.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok()).expect("a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        let children = fs::read_dir("/proc").expect("it is mounted").filter(|entry| {
            let stat =
                entry.as_ref().ok().and_then(|entry| fs::read_to_string(entry.path().join("stat")).ok());
            // The second field after the name, which may hold anything.
            let parent =
                stat.as_deref().and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
            parent == Some(pid)
        });
        Footprint {
            resident: field("VmRSS:"),
            descriptors,
            threads: field("Threads:") as usize,
            children: children.count(),
        }
    }
}

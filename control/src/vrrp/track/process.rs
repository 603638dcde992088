//! Tracked processes: how many of a program run (keepalived's `vrrp_track_process`).
//!
//! /proc is read once a second. keepalived has the kernel tell it of each fork (the process connector, `CN_PROC`), which
//! containers and many kernels do not have, and which costs at each fork of anybody; a second is what this costs instead.
//!
//! *Invariants*
//! - one thread reads /proc, and never two at a time;
//! - a zombie is not running;
//! - `cmdline` is read only where `comm` does not decide: it can wait for pages that were swapped out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::board::Board;
use crate::model::{ArgumentMatch, TrackProcess};

/// Between two counts.
const LOOK: Duration = Duration::from_secs(1);

/// The kernel keeps so much of a name (`TASK_COMM_LEN`, without the NUL).
const COMM: usize = 15;

/// Counts them until the end. `known`: what is known already.
pub(super) async fn watch(wanted: Vec<TrackProcess>, known: BTreeMap<String, bool>, board: Arc<Board>) {
    let wanted = Arc::new(wanted);
    let mut opinions: Vec<Opinion> = wanted
        .iter()
        .map(|process| Opinion { known: known.get(&process.name).copied(), other: None })
        .collect();
    let mut turns = tokio::time::interval(LOOK);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let processes = wanted.clone();
        let Ok(counts) = tokio::task::spawn_blocking(move || count(Path::new("/proc"), &processes)).await
        else {
            // The runtime ends.
            return;
        };
        for ((process, count), opinion) in wanted.iter().zip(counts).zip(&mut opinions) {
            let well = process.quorum <= count && process.quorum_max.is_none_or(|most| count <= most);
            if opinion.form(Instant::now(), well, process) {
                let change = if well { "gained" } else { "lost" };
                tracing::info!("Quorum {change} for tracked process {} ({count} running)", process.name);
                board.process(&process.name, well);
            }
        }
    }
}

/// What is believed of a process.
struct Opinion {
    known: Option<bool>,
    /// Since when it looks otherwise.
    other: Option<Instant>,
}

impl Opinion {
    /// Whether it changes by what is seen now. The first sight is believed.
    fn form(&mut self, now: Instant, well: bool, process: &TrackProcess) -> bool {
        if self.known == Some(well) {
            self.other = None;
            return false;
        }
        let delay = if well { process.fork_delay } else { process.terminate_delay };
        let since = *self.other.get_or_insert(now);
        if self.known.is_some() && now.duration_since(since) < delay {
            return false;
        }
        (self.known, self.other) = (Some(well), None);
        true
    }
}

/// How many of each there are.
fn count(proc: &Path, wanted: &[TrackProcess]) -> Vec<u32> {
    let mut counts = vec![0; wanted.len()];
    // No /proc, no processes.
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            // One that ends meanwhile is not there.
            let _ = count_one(&entry.path(), wanted, &mut counts);
        }
    }
    counts
}

fn count_one(process: &Path, wanted: &[TrackProcess], counts: &mut [u32]) -> std::io::Result<()> {
    let comm = std::fs::read(process.join("comm"))?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let mut line: Option<Vec<u8>> = None;
    for (wanted, count) in wanted.iter().zip(counts) {
        let by_comm = wanted.arguments.is_none() && !wanted.full_command && is_called(comm, wanted);
        if !by_comm {
            if line.is_none() {
                line = Some(std::fs::read(process.join("cmdline"))?);
            }
            if !line.as_deref().is_some_and(|line| matches(comm, line, wanted)) {
                continue;
            }
        }
        if is_zombie(process)? {
            return Ok(());
        }
        *count += 1;
    }
    Ok(())
}

/// Whether this is the name that the kernel has of the program.
fn is_called(comm: &[u8], wanted: &TrackProcess) -> bool {
    let name = file_name(wanted.process.as_bytes());
    comm == &name[..name.len().min(COMM)]
}

/// Whether a command line is that of the program, with the arguments that it must have.
fn matches(comm: &[u8], line: &[u8], wanted: &TrackProcess) -> bool {
    // Kernel threads have none.
    let Some(line) = line.strip_suffix(b"\0").or((!line.is_empty()).then_some(line)) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    let name = wanted.process.as_bytes();
    let is_it = program == name
        || (!wanted.full_command && (file_name(program) == file_name(name) || is_called(comm, wanted)));
    let Some(arguments) = &wanted.arguments else { return is_it };
    let words: Vec<&[u8]> = words.collect();
    let same = |(word, argument): (&&[u8], &String)| *word == argument.as_bytes();
    is_it
        && match wanted.matching {
            ArgumentMatch::Exact => words.len() == arguments.len() && words.iter().zip(arguments).all(same),
            ArgumentMatch::Initial => words.len() >= arguments.len() && words.iter().zip(arguments).all(same),
            ArgumentMatch::Partial => match arguments.split_last() {
                None => true,
                Some((last, first)) => {
                    words.len() >= arguments.len()
                        && words.iter().zip(first).all(same)
                        && words[first.len()].starts_with(last.as_bytes())
                }
            },
        }
}

/// `/usr/sbin/haproxy`: `haproxy`.
fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Whether it has ended, and nobody has asked how.
fn is_zombie(process: &Path) -> std::io::Result<bool> {
    let stat = std::fs::read(process.join("stat"))?;
    // The name, which is in parentheses, may have any character, also a parenthesis.
    let state = stat.iter().rposition(|byte| *byte == b')').and_then(|end| stat.get(end + 2));
    Ok(matches!(state, Some(b'Z' | b'X')))
}

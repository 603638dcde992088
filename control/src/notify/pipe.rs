//! Named pipes (`notify_fifo`, `lvs_notify_fifo`): a line for every change, for a program that goes on running.
//!
//! A pipe is opened for reading and writing, so that it is there whether anybody reads or not, and what is written before
//! a reader comes is kept for it as long as the pipe has room (64 KiB). After that lines are lost, and counted.
//!
//! *Invariants*
//! - writing never waits, and a line is written whole or not at all (`PIPE_BUF`, pipe(7));
//! - what is not a pipe of the director's or of root's is not written to: somebody may have put it there;
//! - a pipe that was made is removed at the end, one that was found is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use tokio::time::Instant;

use super::{Stage, Tasks};
use crate::model::{self, Scripts};
use crate::script;

/// How long a reader gets to read the last lines, and to end by itself once the pipe is gone.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How often it is looked whether the last lines were read: no event tells of it.
const LOOK: Duration = Duration::from_millis(10);

/// All pipes of a configuration.
pub(super) struct Pipes(Vec<Pipe>);

struct Pipe {
    wanted: model::Pipe,
    file: File,
    /// It was made here, and is to be removed.
    made: bool,
    /// Lines lost since the pipe was last found full.
    lost: AtomicU64,
    /// Dropped with the pipe, which ends the reader.
    reader: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Pipes {
    /// Opens them and starts their readers; one that cannot be is logged and left out.
    pub(super) fn open(wanted: Vec<model::Pipe>, rules: &Scripts, tasks: &Tasks) -> Pipes {
        let mut pipes = Pipes(Vec::new());
        pipes.set(wanted, rules, tasks);
        pipes
    }

    /// Keeps those that are wanted still, closes the others, opens new ones.
    pub(super) fn set(&mut self, wanted: Vec<model::Pipe>, rules: &Scripts, tasks: &Tasks) {
        self.0.retain(|pipe| wanted.contains(&pipe.wanted));
        for wanted in wanted {
            if self.0.iter().any(|pipe| pipe.wanted.path == wanted.path) {
                continue;
            }
            match Pipe::open(wanted, rules, tasks) {
                Ok(pipe) => self.0.push(pipe),
                Err(reason) => tracing::error!("{reason}; nothing is written there"),
            }
        }
    }

    /// Writes a line to each.
    pub(super) fn write(&self, line: &str) {
        for pipe in &self.0 {
            pipe.write(line);
        }
    }

    /// Pipes that are written to.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Lines that are lost since a pipe was found full, in all of them.
    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.0.iter().map(|pipe| pipe.lost.load(Ordering::Relaxed)).sum()
    }

    /// Gives readers that there are a moment to read the last lines, then removes the pipes.
    pub(super) async fn close(self) {
        let until = Instant::now() + LAST_LINES;
        while Instant::now() < until && self.0.iter().any(Pipe::is_awaited) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Pipe {
    fn open(wanted: model::Pipe, rules: &Scripts, tasks: &Tasks) -> Result<Pipe, String> {
        let path = &wanted.path;
        let in_words = |what: &str, error: &dyn std::fmt::Display| {
            format!("the notify pipe {} {what}: {error}", path.display())
        };
        // Mode 0644, less the umask, as keepalived makes it.
        let made = match mkfifo(path, Mode::from_bits_truncate(0o644)) {
            Ok(()) => true,
            Err(nix::Error::EEXIST) => false,
            Err(error) => return Err(in_words("cannot be made", &error)),
        };
        let file = open_pipe(path).map_err(|error| {
            if made {
                // It is of no use to anybody. What is wrong with it is said below.
                let _ = std::fs::remove_file(path);
            }
            in_words("cannot be used", &error)
        })?;
        let reader = wanted.reader.clone().map(|reader| startreader(reader, path, rules, tasks));
        Ok(Pipe { wanted, file, made, lost: AtomicU64::new(0), reader })
    }

    fn write(&self, line: &str) {
        let path = self.wanted.path.display();
        // A longer line would not be written whole. Only the name of a group can make it that long.
        let written = line.len() <= libc::PIPE_BUF && (&self.file).write(line.as_bytes()).is_ok();
        if !written {
            if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("the notify pipe {path} is full: nobody reads it; lines are lost");
            }
        } else if let lost @ 1.. = self.lost.swap(0, Ordering::Relaxed) {
            tracing::warn!("the notify pipe {path} is read again; {lost} lines were lost");
        }
    }

    /// Whether a reader was started that has not read everything.
    fn is_awaited(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| !reader.is_closed()) && unread(&self.file) > 0
    }
}

impl Drop for Pipe {
    /// The name goes before the pipe is closed, lest a reader that sees the end opens it anew.
    fn drop(&mut self) {
        let same = |found: &std::fs::Metadata, ours: &std::fs::Metadata| {
            (found.dev(), found.ino()) == (ours.dev(), ours.ino())
        };
        let path = &self.wanted.path;
        let ours = matches!((path.symlink_metadata(), self.file.metadata()), (Ok(a), Ok(b)) if same(&a, &b));
        if self.made
            && ours
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!("the notify pipe {} could not be removed: {error}", path.display());
        }
    }
}

fn open_pipe(path: &Path) -> io::Result<File> {
    // O_NONBLOCK also keeps what is not a pipe from being waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.file_type().is_fifo() {
        return Err(io::Error::other("there is something else of that name, which is not a named pipe"));
    }
    if facts.uid() != 0 && facts.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to somebody else (user {})", facts.uid())));
    }
    Ok(file)
}

/// Runs the reader until the pipe is closed. One that ends before is not started again, as with keepalived.
fn startreader(
    reader: model::Command,
    path: &Path,
    rules: &Scripts,
    tasks: &Tasks,
) -> tokio::sync::oneshot::Sender<()> {
    let (open, mut closed) = tokio::sync::oneshot::channel::<()>();
    let (path, rules, tasks) = (path.display().to_string(), rules.clone(), tasks.clone());
    tokio::spawn(async move {
        let name = reader.argv.first().cloned().unwrap_or_default();
        let mut running = match script::start(&reader, &rules, std::slice::from_ref(&path)).await {
            Ok(running) => running,
            Err(error) => return tracing::error!("the reader of {path}: {error}"),
        };
        tokio::select! {
            ended = running.ended() => match ended {
                Ok(status) => {
                    let outcome = script::Outcome::from(status);
                    return tracing::error!("the reader of {path}, {name}, {outcome}; it is not started again");
                }
                Err(error) => return tracing::error!("the reader of {path}, {name}: {error}"),
            },
            _ = &mut closed => {}
        }
        let end = async {
            if tokio::time::timeout(LAST_LINES, running.ended()).await.is_err() {
                let _ = running.end().await;
            }
        };
        tokio::select! {
            () = end => {}
            () = tasks.reached(Stage::Over) => {}
        }
    });
    open
}

/// Bytes in a pipe that nobody has read.
fn unread(file: &File) -> libc::c_int {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which `bytes` is.
    let result =
        unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(file), libc::FIONREAD, &raw mut bytes) };
    if result == 0 { bytes } else { 0 }
}

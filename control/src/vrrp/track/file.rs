//! A tracked file: the number in it, read when it changes (keepalived's `track_file`).
//!
//! inotify(7) tells of changes at once; a look each second finds those that it does not tell of: on network file
//! systems, and where the directory is made later.
//!
//! *Invariants*
//! - nothing waits for the file on the runtime's thread: it may be on a disk or a server that does not answer;
//! - an empty file is believed at the second look only: who writes it may have just begun.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::board::Board;
use crate::health::file::{number, read};

/// Between two looks at a file of which nothing is told.
const LOOK: Duration = Duration::from_secs(1);

/// How long who empties a file has to write it.
const WRITING: Duration = Duration::from_millis(50);

/// How a file is made that is to be there.
pub(super) struct Init {
    /// What is written.
    pub(super) number: i64,
    /// Also if it is there.
    pub(super) overwrite: bool,
}

/// Watches it until the end.
pub(super) async fn watch(name: String, path: PathBuf, init: Option<Init>, board: Arc<Board>) {
    if let Some(init) = init {
        let target = path.clone();
        match tokio::task::spawn_blocking(move || make(&target, &init)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!("track file {name}: {} could not be initialised: {error}", path.display());
            }
            Err(_) => return,
        }
    }
    let mut watch = None;
    let mut complaint = None;
    let mut last = None;
    loop {
        if watch.is_none() {
            let path = path.clone();
            watch = tokio::task::spawn_blocking(move || Watch::new(&path).ok()).await.ok().flatten();
        }
        match number_in(&path).await {
            Ok(number) => {
                complaint = None;
                if last.replace(number) != Some(number) {
                    tracing::info!("track file {name} has {number}");
                    board.file(&name, number);
                }
            }
            Err(reason) => {
                // keepalived's way: what cannot be understood changes nothing, and is 0 at the start.
                board.file(&name, *last.get_or_insert(0));
                if complaint.replace(reason.clone()).as_ref() != Some(&reason) {
                    tracing::warn!("track file {name}: {reason}");
                }
            }
        }
        tokio::select! {
            () = told(&mut watch) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The number in a file; 0 if it has none.
async fn number_in(path: &Path) -> Result<i64, String> {
    let mut text = look(path).await?;
    if text.is_empty() {
        tokio::time::sleep(WRITING).await;
        text = look(path).await?;
    }
    match number(&text) {
        Some(number) => Ok(number),
        None if !has_digits(&text) => Ok(0),
        None => Err(format!("the number in {} is out of range", path.display())),
    }
}

/// Whether a number begins the text, however large.
fn has_digits(text: &[u8]) -> bool {
    match text.trim_ascii_start() {
        [b'-' | b'+', digit, ..] | [digit, ..] => digit.is_ascii_digit(),
        [] => false,
    }
}

async fn look(path: &Path) -> Result<Vec<u8>, String> {
    let (path, name) = (path.to_owned(), path.display().to_string());
    match tokio::task::spawn_blocking(move || read(&path)).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(format!("{name} cannot be read: {error}")),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

/// Writes the number. What is no plain file, or a link to one, is left alone: somebody may have put it there.
fn make(path: &Path, init: &Init) -> io::Result<()> {
    let mut open = OpenOptions::new();
    open.write(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut file = match open.create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !init.overwrite => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open.create_new(false).open(path)?,
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    file.set_len(0)?;
    writeln!(file, "{}", init.number)
}

/// So that tokio can wait for it.
struct Ear(Inotify);

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The directory of a file, watched.
struct Watch {
    inotify: AsyncFd<Ear>,
    file: OsString,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Watch> {
        let none = || io::Error::from(io::ErrorKind::InvalidInput);
        let file = path.file_name().ok_or_else(none)?.to_owned();
        let directory = path.parent().ok_or_else(none)?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let what = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, what)?;
        // SAFETY: the descriptor is the same, and open, as long as the `Ear` lives; nothing takes it out of the `AsyncFd`,
        // which owns it.
        let inotify = unsafe { AsyncFd::register_with_interest(Ear(inotify), Interest::READABLE)? };
        Ok(Watch { inotify, file })
    }

    /// Waits until something happened to the file. False: the directory is watched no more.
    async fn told(&self) -> bool {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else { return false };
            match self.inotify.get_ref().0.read_events() {
                Ok(events) => {
                    if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) {
                        return false;
                    }
                    let ours = |name: &Option<OsString>| name.as_ref().is_none_or(|name| *name == self.file);
                    if events.iter().any(|event| ours(&event.name)) {
                        return true;
                    }
                }
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(_) => return false,
            }
        }
    }
}

/// Waits for a change; for ever if nothing is watched.
async fn told(watch: &mut Option<Watch>) {
    match watch {
        None => std::future::pending().await,
        Some(open) => {
            if !open.told().await {
                *watch = None;
            }
        }
    }
}

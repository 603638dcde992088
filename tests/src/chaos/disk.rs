//! A small disk that one program alone sees, with its log on it: it can be filled without harm to anybody else.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait;

const SOON: Duration = Duration::from_secs(30);
const LOG: &str = "log";
const FILLER: &str = "filler";

/// The disk.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// As seen from here, once the program runs.
    seen: PathBuf,
    log: Option<File>,
}

impl Disk {
    /// A disk at `folder`, which is there.
    pub fn at(folder: &Path) -> Disk {
        Disk { folder: folder.to_owned(), seen: PathBuf::new(), log: None }
    }

    /// The lines of a shell script after which a program has it, and writes its log there.
    pub fn script(&self) -> String {
        let folder = self.folder.display();
        format!("mount -t tmpfs -o size=2m none '{folder}'\nexec 2>'{folder}/{LOG}'\n")
    }

    /// The program with this pid has it.
    #[track_caller]
    pub fn is_of(&mut self, pid: i32) {
        let inside = self.folder.strip_prefix("/").expect("the lab's folder has a full path");
        self.seen = PathBuf::from(format!("/proc/{pid}/root")).join(inside);
        // Kept open: it can be read when the program is gone.
        let log = wait::until(SOON, "the log", || File::open(self.seen.join(LOG)).ok());
        self.log = Some(log);
    }

    /// Fills it to the last byte.
    #[track_caller]
    pub fn fill(&self) {
        let mut filler = File::create(self.seen.join(FILLER)).expect("the program runs");
        loop {
            match filler.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{}: {error}", self.seen.display()),
            }
        }
    }

    /// Makes room again.
    #[track_caller]
    pub fn clear(&self) {
        std::fs::remove_file(self.seen.join(FILLER)).expect("it was filled");
    }

    /// How long the log is, bytes.
    pub fn mark(&self) -> u64 {
        self.log.as_ref().and_then(|log| log.metadata().ok()).map_or(0, |data| data.len())
    }

    /// The log from `mark` on.
    pub fn text(&self, mark: u64) -> String {
        let Some(log) = &self.log else { return String::new() };
        let mut text = vec![0; self.mark().saturating_sub(mark) as usize];
        let read = log.read_at(&mut text, mark).unwrap_or(0);
        String::from_utf8_lossy(&text[..read]).into_owned()
    }

    /// Waits until the log says `words`, from `mark` on.
    #[track_caller]
    pub fn until_said(&self, mark: u64, words: &str) {
        let said = wait::try_until(SOON, || self.text(mark).contains(words).then_some(()));
        assert!(said.is_some(), "the log does not say {words:?}:\n{}", self.text(mark));
    }
}

//! What a keepalived.conf depends on beside its own text: the files that it includes, and which of the hosts that share
//! it this one is. A seam, so that tests and fuzzers read includes from memory and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::bundle::Trace;
use super::error::Faults;
use super::source::Source;

/// As the shell matches: a wildcard stands for no `/` and for no dot at the beginning of a name.
const WILDCARDS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// How a configuration is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// What `@NAME` at the beginning of a line of a keepalived.conf is compared with. By default the host's name up to
    /// its first dot.
    pub config_id: String,
    /// Where included files are looked for.
    pub files: Files,
}

/// Where included files are looked for.
#[derive(Debug, Clone)]
pub enum Files {
    /// The file system.
    Disk,
    /// Texts by their paths; there are no others.
    Memory(BTreeMap<PathBuf, String>),
    /// The file system, and what it answers is noted.
    Traced(Arc<Mutex<Trace>>),
    /// What somebody noted.
    Sent(Arc<Trace>),
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    Missing,
    File,
    /// Something that is not read, and why.
    Unfit(String),
}

impl Default for Options {
    fn default() -> Options {
        // As in uname(2); a host without a name has no lines of its own.
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let config_id = name.trim().split('.').next().unwrap_or_default().to_owned();
        Options { config_id, files: Files::Disk }
    }
}

impl Files {
    pub(super) fn entry(&self, path: &Path) -> Entry {
        match self {
            Files::Disk => match fs::metadata(path) {
                Ok(metadata) => fitness(&metadata),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    Entry::Missing
                }
                Err(error) => Entry::Unfit(format!("cannot be read: {error}")),
            },
            Files::Memory(texts) if texts.contains_key(path) => Entry::File,
            Files::Memory(_) => Entry::Missing,
            Files::Traced(trace) => {
                let entry = Files::Disk.entry(path);
                noted(trace).note_entry(path, &entry);
                entry
            }
            Files::Sent(trace) => trace.entry(path),
        }
    }

    /// At most `most` paths that match `pattern`, sorted.
    pub(super) fn matching(&self, pattern: &str, most: usize) -> Result<Vec<PathBuf>, String> {
        match self {
            Files::Traced(trace) => {
                let paths = Files::Disk.matching(pattern, most)?;
                noted(trace).note_matching(pattern, &paths);
                return Ok(paths);
            }
            Files::Sent(trace) => return trace.matching(pattern),
            Files::Disk | Files::Memory(_) => {}
        }
        // `**` is a directory tree to the library; to keepalived it is one more `*`.
        let mut pattern = pattern.to_owned();
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        let wrong = |error: glob::PatternError| format!("is not a file pattern: {}", error.msg);
        let mut paths: Vec<PathBuf> = match self {
            Files::Memory(texts) => {
                let pattern = Pattern::new(&pattern).map_err(wrong)?;
                let paths = texts.keys().filter(|path| pattern.matches_path_with(path, WILDCARDS));
                paths.take(most).cloned().collect()
            }
            _ => {
                // What cannot be looked into has no files for us.
                let paths = glob::glob_with(&pattern, WILDCARDS).map_err(wrong)?;
                paths.filter_map(Result::ok).take(most).collect()
            }
        };
        paths.sort();
        Ok(paths)
    }

    pub(super) fn read(&self, path: &Path) -> Result<Source, Faults> {
        match self {
            Files::Disk => Source::read_part(path),
            Files::Memory(texts) => {
                let text = texts.get(path).cloned().unwrap_or_default();
                Source::part(&path.display().to_string(), text.into_bytes())
            }
            Files::Traced(trace) => {
                let source = Source::read_part(path)?;
                noted(trace).note_read(path, &source);
                Ok(source)
            }
            Files::Sent(trace) => trace.read(path),
        }
    }

    /// The same for all paths that lead to one file.
    pub(super) fn identity(&self, path: &Path) -> PathBuf {
        match self {
            Files::Disk => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            Files::Memory(_) => path.to_owned(),
            Files::Traced(trace) => {
                let identity = Files::Disk.identity(path);
                noted(trace).note_identity(path, &identity);
                identity
            }
            Files::Sent(trace) => trace.identity(path),
        }
    }
}

fn noted(trace: &Mutex<Trace>) -> MutexGuard<'_, Trace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// keepalived skips what is not a plain file, and plain files that can be executed.
fn fitness(metadata: &Metadata) -> Entry {
    let unfit = |why: &str| Entry::Unfit(why.to_owned());
    if metadata.is_dir() {
        unfit("is a directory")
    } else if !metadata.is_file() {
        unfit("is not a regular file")
    } else if metadata.permissions().mode() & 0o111 != 0 {
        unfit("is executable, which a configuration is not")
    } else {
        Entry::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, mode: u32) {
        fs::write(path, "x\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_plain_files_that_are_no_programs_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write(&path("a.conf"), 0o644);
        write(&path("run"), 0o755);
        let entry = |name: &str| Files::Disk.entry(&path(name));
        assert_eq!(entry("a.conf"), Entry::File);
        assert_eq!(entry("b.conf"), Entry::Missing);
        assert_eq!(entry("a.conf/b.conf"), Entry::Missing);
        assert!(matches!(entry("run"), Entry::Unfit(why) if why.contains("executable")));
        assert!(matches!(entry("."), Entry::Unfit(why) if why.contains("directory")));
        assert!(
            matches!(Files::Disk.entry(Path::new("/dev/zero")), Entry::Unfit(why) if why.contains("regular"))
        );
    }

    #[test]
    fn wildcards_match_as_in_a_shell_on_disk_and_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["b.conf", "a.conf", ".hidden.conf", "sub/c.conf", "a.txt"];
        fs::create_dir(directory.path().join("sub")).unwrap();
        names.iter().for_each(|name| write(&directory.path().join(name), 0o644));
        let texts = names.iter().map(|name| (directory.path().join(name), String::new())).collect();
        for files in [Files::Disk, Files::Memory(texts)] {
            let matching = |pattern: &str| {
                let pattern = directory.path().join(pattern);
                let paths = files.matching(pattern.to_str().unwrap(), 9).unwrap();
                let names = paths.iter().map(|path| path.strip_prefix(directory.path()).unwrap());
                names.map(|name| name.display().to_string()).collect::<Vec<_>>()
            };
            assert_eq!(matching("*.conf"), ["a.conf", "b.conf"], "{files:?}");
            assert_eq!(matching("**.conf"), ["a.conf", "b.conf"], "{files:?}");
            assert_eq!(matching("?.[ct]*"), ["a.conf", "a.txt", "b.conf"], "{files:?}");
            assert_eq!(matching("*/*.conf"), ["sub/c.conf"], "{files:?}");
            assert!(files.matching("[", 9).is_err());
        }
    }

    #[test]
    fn the_config_id_is_the_short_name_of_the_host() {
        let id = Options::default().config_id;
        assert!(!id.is_empty() && !id.contains(['.', '\n']), "{id:?}");
    }
}

//! The way to a program: where it is, every name and link that leads there, and whether its user can go it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::PATH;
use super::user::{Identity, group_name, user_name};

/// Symbolic links one path may have, as the kernel counts them (path_resolution(7)).
const LINKS: usize = 40;

/// Every step of a path.
#[derive(Debug)]
pub(super) struct Walk {
    /// Directories, links and at last the file, in the order in which the kernel meets them.
    pub steps: Vec<Step>,
    /// The file at the end, free of links.
    pub file: PathBuf,
}

/// One step of a path.
#[derive(Debug)]
pub(super) struct Step {
    pub path: PathBuf,
    /// Of the link itself, if it is one.
    pub facts: Metadata,
}

/// Where a path cannot be followed.
#[derive(Debug)]
pub(super) struct Fault {
    path: PathBuf,
    error: io::Error,
}

/// The absolute path of a program that is named by it, or to be found in [`PATH`].
pub(super) fn path_of(name: &str, identity: &Identity) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.starts_with('/') {
        return Ok(name.into());
    }
    if name.contains('/') {
        return Err("its path does not begin with /; write the whole path".to_owned());
    }
    let found: Vec<PathBuf> = in_path(name).collect();
    // As execvp: what cannot be executed does not hide what can.
    let best = found.iter().find(|path| walk(path).is_ok_and(|walk| executable(&walk, identity).is_ok()));
    best.or(found.first()).cloned().ok_or_else(|| format!("there is no such program in {PATH}"))
}

/// Says that a program is missing, and what may have been meant.
pub(super) fn missing(name: &str, fault: Fault) -> String {
    let file = Path::new(name).file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let what = match fault.error.kind() {
        io::ErrorKind::NotFound if fault.path == Path::new(name) => "it does not exist".to_owned(),
        io::ErrorKind::NotFound => format!("{} does not exist", fault.path.display()),
        io::ErrorKind::NotADirectory => format!("{} is not a directory", fault.path.display()),
        _ => format!("{}: {}", fault.path.display(), fault.error),
    };
    match in_path(file).next() {
        Some(other) => format!("{what}; did you mean {}?", other.display()),
        None => what,
    }
}

/// Follows a path step by step, as the kernel does.
pub(super) fn walk(path: &Path) -> Result<Walk, Fault> {
    let mut to_go: Vec<OsString> = names(path);
    let mut file = PathBuf::from("/");
    let mut steps = vec![step(&file)?];
    let mut links = 0;
    while let Some(name) = to_go.pop() {
        if name == ".." {
            file.pop();
            continue;
        }
        let next = step(&file.join(name))?;
        if next.facts.is_symlink() {
            let fault = |error| Fault { path: next.path.clone(), error };
            links += 1;
            if links > LINKS {
                return Err(fault(io::Error::from_raw_os_error(libc::ELOOP)));
            }
            let target = std::fs::read_link(&next.path).map_err(fault)?;
            if target.is_absolute() {
                file = PathBuf::from("/");
            }
            to_go.extend(names(&target));
        } else if !to_go.is_empty() && !next.facts.is_dir() {
            return Err(Fault { path: next.path, error: io::ErrorKind::NotADirectory.into() });
        } else {
            file = next.path.clone();
        }
        steps.push(next);
    }
    Ok(Walk { steps, file })
}

/// Whether the user may go this way, and execute what is at its end.
pub(super) fn executable(walk: &Walk, identity: &Identity) -> Result<(), String> {
    let (file, way) = walk.steps.split_last().expect("a walk begins with the root directory");
    // A path can end with "..", and then the last step is not where it leads.
    if file.path != walk.file || file.facts.is_dir() {
        return Err(format!("{} is a directory", walk.file.display()));
    }
    if !file.facts.is_file() {
        return Err(format!("{} is not a regular file", file.path.display()));
    }
    if let Some(closed) = way.iter().find(|step| step.facts.is_dir() && !may_execute(&step.facts, identity)) {
        return Err(format!(
            "user '{}' may not enter {} (owned by {}, {}, mode {:04o})",
            identity.name,
            closed.path.display(),
            user_name(closed.facts.uid()),
            group_name(closed.facts.gid()),
            closed.mode()
        ));
    }
    if !may_execute(&file.facts, identity) {
        return Err(format!(
            "{} is not executable for user '{}' (mode {:04o}); chmod +x makes it so",
            file.path.display(),
            identity.name,
            file.mode()
        ));
    }
    Ok(())
}

fn may_execute(facts: &Metadata, identity: &Identity) -> bool {
    let bit = if identity.uid.is_root() {
        // Root enters every directory, and executes what anybody may.
        return facts.is_dir() || facts.mode() & 0o111 != 0;
    } else if identity.uid.as_raw() == facts.uid() {
        0o100
    } else if identity.is_member(facts.gid()) {
        0o010
    } else {
        0o001
    };
    facts.mode() & bit != 0
}

fn in_path(file: &str) -> impl Iterator<Item = PathBuf> {
    PATH.split(':').map(move |directory| Path::new(directory).join(file)).filter(|path| path.is_file())
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn step(path: &Path) -> Result<Step, Fault> {
    match path.symlink_metadata() {
        Ok(facts) => Ok(Step { path: path.to_owned(), facts }),
        Err(error) => Err(Fault { path: path.to_owned(), error }),
    }
}

impl Step {
    /// The permission bits, as chmod(1) writes them.
    pub(super) fn mode(&self) -> u32 {
        self.facts.permissions().mode() & 0o7777
    }
}

//! `enable_script_security`: what runs with root's rights must be root's alone, and the way to it as well.
//!
//! Whoever can write a directory on the way can put another file in the place of the program. The way is therefore walked
//! as the kernel walks it: each directory, each symbolic link, each directory on the way to where the link points.
//!
//! As with keepalived (`check_script_secure`) it is the program itself that is examined: of `sh /tmp/check.sh` that is
//! `sh`, and neither its arguments nor the interpreter of a `#!` line.

use std::os::unix::fs::MetadataExt;

use super::search::{Step, Walk};
use super::user::{Identity, group_name, user_name};

/// The first step on the way to a program with root's rights that somebody else than root can change, and how; none if
/// there is no such step, or the program has no such rights.
pub(super) fn weakness(walk: &Walk, identity: &Identity) -> Option<String> {
    let file = walk.steps.last().expect("a walk begins with the root directory");
    let (mode, facts) = (file.mode(), &file.facts);
    let becomes_root =
        (facts.uid() == 0 && mode & 0o4100 == 0o4100) || (facts.gid() == 0 && mode & 0o2010 == 0o2010);
    if !identity.is_root() && !becomes_root {
        return None;
    }
    walk.steps.iter().find_map(weakness_of)
}

/// The first step on the way to any program that everybody can change. keepalived lets that be if the program has not
/// root's rights; but then everybody has those of its user.
pub(super) fn openness(walk: &Walk) -> Option<String> {
    walk.steps.iter().find_map(openness_of)
}

fn openness_of(step: &Step) -> Option<String> {
    let (path, facts, mode) = (step.path.display(), &step.facts, step.mode());
    // The mode of a link means nothing. In a sticky directory nobody moves the files of others.
    let is_open = mode & 0o002 != 0 && !facts.is_symlink() && !(facts.is_dir() && mode & 0o1000 != 0);
    is_open.then(|| format!("{path} is writable by everybody (mode {mode:04o})"))
}

fn weakness_of(step: &Step) -> Option<String> {
    let (path, facts, mode) = (step.path.display(), &step.facts, step.mode());
    if facts.uid() != 0 {
        return Some(format!("{path} is owned by {} (mode {mode:04o})", user_name(facts.uid())));
    }
    if let Some(open) = openness_of(step) {
        return Some(open);
    }
    // As above.
    if facts.is_symlink() || (facts.is_dir() && mode & 0o1000 != 0) {
        return None;
    }
    if mode & 0o020 != 0 && facts.gid() != 0 {
        return Some(format!("{path} is writable by {} (mode {mode:04o})", group_name(facts.gid())));
    }
    None
}

//! Taking labs away: one's own at its end, and those whose test process was killed before it could.
//!
//! Invariant: only namespaces named `shunt-PID-...` are touched, and only processes inside them, each by its pid. The
//! namespaces of a process that lives are its own business. The same holds for the folders `shunt-lab-PID-...`.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::{FOLDER, feed, pids_in};
use crate::privilege::SYSTEM_PATH;

/// What the name of every namespace of every lab begins with.
const PREFIX: &str = "shunt-";

/// What the name of the folder of every lab begins with.
const FOLDER_PREFIX: &str = "shunt-lab-";
/// A file that says that a lab's folder shall stay.
pub(crate) const KEPT: &str = "kept-on-request";

/// A number that no other lab of this process has.
pub(crate) fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: the number only has to be different for every lab.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The name of the namespace `role` of lab `lab` of this process.
pub(crate) fn name(lab: usize, role: &str) -> String {
    format!("{PREFIX}{}-{lab}-{role}", std::process::id())
}

/// What the name of the folder of a lab of this process begins with.
pub(crate) fn folder_prefix() -> String {
    format!("{FOLDER_PREFIX}{}-", std::process::id())
}

/// Removes what labs of dead processes have left.
pub fn leftovers() {
    // A dead process may have had our pid; what carries our pid is a leftover only before we make anything.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| remove(&namespaces(|pid| pid == std::process::id())));
    let dead = |pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists();
    remove(&namespaces(dead));
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for folder in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = folder.file_name().and_then(|name| name.to_str());
        if name.and_then(folder_owner).is_some_and(dead) && !folder.join(KEPT).exists() {
            // Another process may be at it too; what it leaves is for the next.
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

/// Removes all labs of this process, for one that is about to end with no chance to drop them.
pub fn own() {
    remove(&namespaces(|pid| pid == std::process::id()));
}

/// Ends every process in the named namespaces and deletes them. Never panics: it runs while a test unwinds.
pub(crate) fn remove(names: &[String]) {
    if names.is_empty() {
        return;
    }
    for name in names {
        // A name that is no mount (a half-made namespace) is a plain file: no process can be "in" that.
        let Ok(here) = std::fs::metadata(Path::new(FOLDER).join(name)) else { continue };
        for pid in pids_in(here.dev(), here.ino()) {
            if pid.unsigned_abs() != std::process::id() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    let mut ip = Command::new("ip");
    // -force: one namespace that somebody else has swept must not keep the others.
    ip.args(["-force", "-batch", "-"]).env("PATH", SYSTEM_PATH);
    let script: String = names.iter().map(|name| format!("netns del {name}\n")).collect();
    if let Err(complaint) = feed(ip, &script) {
        let left: BTreeSet<&String> =
            names.iter().filter(|name| Path::new(FOLDER).join(name.as_str()).exists()).collect();
        if !left.is_empty() {
            eprintln!("namespaces are left behind ({left:?}): {complaint}");
        }
    }
}

/// The namespaces of labs whose process `chosen` accepts.
fn namespaces(chosen: impl Fn(u32) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| owner(name).is_some_and(&chosen))
        .collect()
}

/// The pid in the name of a namespace, if a lab made it: `shunt-PID-LAB-ROLE`.
fn owner(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let pid = parts.next()?.parse().ok()?;
    let _lab: usize = parts.next()?.parse().ok()?;
    parts.next().map(|_role| pid)
}

/// The pid in the name of a lab's folder: `shunt-lab-PID-RANDOM`.
fn folder_owner(name: &str) -> Option<u32> {
    name.strip_prefix(FOLDER_PREFIX)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_labs_have_an_owner() {
        assert_eq!(folder_owner("shunt-lab-4711-a1b2c3"), Some(4711));
        for foreign in ["shunt-lab-", "shunt-lab-4711", "shunt-lab-x-a1b2c3", "4711-a1b2c3"] {
            assert_eq!(folder_owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_names_of_labs_have_an_owner() {
        assert_eq!(owner("shunt-4711-0-rs1"), Some(4711));
        for foreign in
            ["shunt", "shunt-demo", "shunt-4711", "shunt-4711-x-rs1", "other-4711-0-rs1", "shunt--0-rs1"]
        {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}

//! Taking labs away: one's own at its end, and those whose test process was killed before it could.
//!
//! Invariant: only namespaces named `shunt-PID-...` are touched, and only processes inside them, each by its pid. The
//! namespaces of a process that lives are its own business.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::{FOLDER, feed, pids_in};
use crate::privilege::SYSTEM_PATH;

/// What the name of every namespace of every lab begins with.
const PREFIX: &str = "shunt-";

/// The name of the namespace `role` of lab `lab` of this process.
pub(crate) fn name(lab: usize, role: &str) -> String {
    format!("{PREFIX}{}-{lab}-{role}", std::process::id())
}

/// Removes what labs of dead processes have left.
pub fn leftovers() {
    // A dead process may have had our pid; what carries our pid is a leftover only before we make anything.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| remove(&namespaces(|pid| pid == std::process::id())));
    remove(&namespaces(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists()));
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

#[cfg(test)]
mod tests {
    use super::*;

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

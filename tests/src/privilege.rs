//! What a machine must have before a lab can stand on it. A test that cannot run *fails*: a suite that skips what it
//! exists to show is green for the wrong reason.

use std::path::PathBuf;

/// The programs a lab calls, and the Debian package each comes from.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("iptables-restore", "iptables"),
    ("nft", "nftables"),
    ("keepalived", "keepalived"),
];

/// A user's `PATH` on Debian lacks the folders of the system's programs; commands of the lab search them too.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Panics unless this process is root and every program of a lab is installed, saying all that is missing at once.
#[track_caller]
pub fn require_root() {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root: namespaces, raw sockets and XDP need it; run the tests as root".to_owned());
    }
    let packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        missing.push(format!("programs: run `apt-get install {}`", packages.join(" ")));
    }
    assert!(missing.is_empty(), "the lab cannot stand here, it lacks\n  {}", missing.join("\n  "));
}

/// Where `program` lies, if it is installed.
fn find(program: &str) -> Option<PathBuf> {
    SYSTEM_PATH.split(':').map(|folder| PathBuf::from(folder).join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_and_nonsense_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-at-all").is_none());
    }
}

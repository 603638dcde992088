//! Who else on this machine does what shunt does: keepalived, IPVS, another shunt.
//!
//! proc(5); a process of another network namespace is another machine.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

use super::programs::{name, pids};
use super::report::Finding;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Processes of keepalived that nobody of them has started.
    pub(super) keepalived: Vec<i32>,
    /// systemd started them.
    pub(super) as_unit: bool,
    /// Virtual services of IPVS; none: its module is not loaded.
    pub(super) ipvs: Option<usize>,
}

/// What is at the admin socket's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Daemon {
    /// Nobody.
    None,
    /// A shunt, this process.
    Runs(i32),
    /// Something that is no socket.
    NoSocket,
    /// It cannot be looked at.
    Hidden(String),
}

impl Facts {
    pub(super) fn gather() -> Facts {
        let here = fs::read_link("/proc/self/ns/net").ok();
        let is_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/net")).ok() == here;
        let all: Vec<i32> =
            pids().into_iter().filter(|pid| name(*pid) == "keepalived").filter(is_here).collect();
        let keepalived: Vec<i32> = all
            .iter()
            .copied()
            .filter(|pid| parent(*pid).is_none_or(|parent| !all.contains(&parent)))
            .collect();
        let in_unit = |pid: &i32| {
            let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            group.contains("/keepalived.service")
        };
        let as_unit = !keepalived.is_empty() && keepalived.iter().all(in_unit);
        Facts {
            keepalived,
            as_unit,
            ipvs: fs::read_to_string("/proc/net/ip_vs").ok().map(|text| services(&text)),
        }
    }

    pub(super) fn findings(&self) -> [Finding; 2] {
        [self.keepalived(), self.ipvs()]
    }

    fn keepalived(&self) -> Finding {
        if self.keepalived.is_empty() {
            return Finding::ok("keepalived", "does not run");
        }
        let pids: Vec<String> = self.keepalived.iter().map(i32::to_string).collect();
        let pids = pids.join(" ");
        let what = format!("runs (process {pids}): two programs cannot hold the same addresses");
        let command = if self.as_unit {
            "systemctl disable --now keepalived".to_owned()
        } else {
            format!("kill {pids}")
        };
        Finding::fail("keepalived", what).run(command)
    }

    fn ipvs(&self) -> Finding {
        match self.ipvs {
            None => Finding::ok("ipvs", "is not loaded"),
            Some(0) => Finding::warn("ipvs", "is loaded and has no service").run("modprobe -r ip_vs"),
            Some(count) => Finding::fail(
                "ipvs",
                format!(
                    "forwards {}: shunt takes the frames of the same ones first",
                    crate::config::counted(count, "service")
                ),
            )
            .run("/sbin/ipvsadm -C"),
        }
    }
}

impl Daemon {
    /// Connects, and says nothing: the daemon takes no notice.
    pub(super) fn at(socket: &Path) -> Daemon {
        match UnixStream::connect(socket) {
            Ok(stream) => match getsockopt(&stream, sockopt::PeerCredentials) {
                Ok(peer) => Daemon::Runs(peer.pid()),
                Err(error) => Daemon::Hidden(error.to_string()),
            },
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Daemon::None,
                ErrorKind::ConnectionRefused if is_socket(socket).unwrap_or(true) => Daemon::None,
                ErrorKind::ConnectionRefused => Daemon::NoSocket,
                _ => Daemon::Hidden(error.to_string()),
            },
        }
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Daemon::Runs(pid) => Some(*pid),
            _ => None,
        }
    }

    pub(super) fn finding(&self, socket: &Path) -> Finding {
        let shown = socket.display();
        match self {
            Daemon::None => Finding::ok("socket", format!("no other shunt answers on {shown}")),
            Daemon::Runs(pid) => Finding::ok(
                "socket",
                format!(
                    "shunt runs here (process {pid}) and is not disturbed: what it does is asked of it, and whether \
                     another one could start is not tested"
                ),
            ),
            Daemon::NoSocket => Finding::fail("socket", format!("{shown} exists and is not a socket"))
                .run(format!("mv '{shown}' '{shown}.old'")),
            Daemon::Hidden(why) => Finding::unseen("socket", &format!("{shown}: {why}")),
        }
    }
}

fn is_socket(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.file_type().is_socket())
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Lines of /proc/net/ip_vs that are services: `TCP  C000020A:0050 wrr`, `FWM  00000001 wlc`.
fn services(text: &str) -> usize {
    let is_service =
        |line: &&str| ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|kind| line.starts_with(kind));
    text.lines().filter(is_service).count()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::doctor::report::{Fix, Level};

    fn of(facts: Facts) -> [(Level, Option<Fix>); 2] {
        facts.findings().map(|finding| (finding.level, finding.fix))
    }

    #[test]
    fn keepalived_is_ended_the_way_it_was_started() {
        let run = |command: &str| (Level::Fail, Some(Fix::Run(command.to_owned())));
        let by_hand = Facts { keepalived: vec![7, 9], ..Facts::default() };
        assert_eq!(of(by_hand.clone())[0], run("kill 7 9"));
        assert_eq!(of(Facts { as_unit: true, ..by_hand })[0], run("systemctl disable --now keepalived"));
        assert_eq!(of(Facts::default()), [(Level::Ok, None), (Level::Ok, None)]);
    }

    #[test]
    fn ipvs_with_services_fails_and_without_is_a_warning() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  C000020A:0050 wrr \n  \
                    -> C0000215:0050      Route   1      0          0         \nFWM  00000001 wlc \n";
        assert_eq!(services(text), 2);
        let with = |services| of(Facts { ipvs: Some(services), ..Facts::default() })[1].0;
        assert_eq!((with(2), with(0)), (Level::Fail, Level::Warn));
    }

    #[test]
    fn whoever_answers_on_the_socket_is_known_by_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shunt.sock");
        assert_eq!(Daemon::at(&path), Daemon::None);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(Daemon::at(&path).pid(), Some(std::process::id() as i32));
        drop(listener);
        assert_eq!(Daemon::at(&path), Daemon::None, "a socket that a killed one has left");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(Daemon::at(&path), Daemon::NoSocket);
        assert_eq!(Daemon::at(&path).finding(&path).level, Level::Fail);
    }
}

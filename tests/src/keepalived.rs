//! keepalived, the peer that shunt has to get along with, on a director's host.
//!
//! Only its VRRP half (`-P`): the kernel of the machine need not have IPVS, and shunt shows its forwarding against IPVS
//! elsewhere. Its pid files and its log are its own, so that any number runs side by side.
//!
//! *Invariant*: it is ended by pid. The VRRP process is a child of the one that was started: a crash is the end of both,
//! the child first (it would else be told to stop in order by the death of its parent).

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::director::Mounts;
use crate::host::Host;
use crate::lab::Lab;
use crate::log::Log;
use crate::process::Process;
use crate::wait;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// A running keepalived.
pub struct Keepalived {
    host: Host,
    folder: PathBuf,
    mounts: Mounts,
    process: Process,
}

impl Keepalived {
    /// Starts it on director number `n` of `lab`. On return its VRRP process reads its configuration.
    #[track_caller]
    pub fn start(lab: &Lab, n: usize, config: &str) -> Keepalived {
        Keepalived::start_amid(lab, n, &[("keepalived.conf", config)], Mounts::new())
    }

    /// Starts it with several files in one folder, the first is its configuration; and with other files of the machine
    /// than there are.
    #[track_caller]
    pub fn start_amid(lab: &Lab, n: usize, files: &[(&str, &str)], mounts: Mounts) -> Keepalived {
        let host = lab.director(n).clone();
        let folder = lab.file(&format!("{}-keepalived", host.role()));
        std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
        let (_, text) = files.first().expect("a configuration");
        Keepalived::launch(host, folder, mounts, text)
    }

    /// Starts it again after it has ended.
    #[track_caller]
    pub fn start_again(&mut self, config: &str) {
        assert!(self.process.ended().is_some(), "keepalived on {} still runs", self.host.role());
        // What a crash has left; a service manager would have it on a file system that does not survive.
        let _ = std::fs::remove_file(self.folder.join("keepalived.pid"));
        let _ = std::fs::remove_file(self.folder.join("vrrp.pid"));
        *self = Keepalived::launch(self.host.clone(), self.folder.clone(), self.mounts.clone(), config);
    }

    #[track_caller]
    fn launch(host: Host, folder: PathBuf, mounts: Mounts, config: &str) -> Keepalived {
        let file = folder.join("keepalived.conf");
        std::fs::write(&file, config).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        let mut command = host.command_with_mounts("keepalived", &mounts);
        // In the foreground, logging here and nowhere else, in detail, VRRP only, not started again when its child dies.
        // Where there is no syslog, libc would write each line to the console as well (`LOG_CONS`), and a serial one stops
        // a whole core for milliseconds a line: directors beside it were late by seconds.
        command.args(["-n", "-l", "-G", "-D", "-P", "-R", "-f"]).arg(&file);
        command.arg("-p").arg(folder.join("keepalived.pid")).arg("-r").arg(folder.join("vrrp.pid"));
        let process = host.spawn(command);
        process.wait_for_line("Opening file", START);
        let keepalived = Keepalived { host, folder, mounts, process };
        wait::until(START, "the VRRP process of keepalived", || keepalived.child());
        keepalived
    }

    /// Puts another configuration in force (SIGHUP).
    #[track_caller]
    pub fn reload(&mut self, config: &str) {
        let file = self.config();
        std::fs::write(&file, config).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        let mark = self.log().mark();
        self.process.signal(Signal::SIGHUP);
        self.process.wait_for_line_from(mark, "Reload complete", START);
    }

    /// Ends it in order (SIGTERM).
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP)
    }

    /// Ends it as a crash would (SIGKILL).
    #[track_caller]
    pub fn kill9(&mut self) -> ExitStatus {
        if let Some(child) = self.child() {
            // It may have ended by itself a moment ago.
            let _ = kill(child, Signal::SIGKILL);
        }
        self.process.kill9()
    }

    /// Its VRRP process.
    fn child(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.join("vrrp.pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// Its log so far.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The process, for what this type has no word for.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("keepalived.conf")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

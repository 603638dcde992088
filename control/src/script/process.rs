//! One run of a program: started with the rights of its user, waited for, ended with all its children.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::output::Output;
use super::user::Identity;
use super::{PATH, Program};
use crate::descriptors;

/// From SIGTERM to SIGKILL (keepalived's).
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How a program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// The first line it printed, on standard output or standard error, at most 200 bytes; empty: none.
    pub first_line: String,
    /// The last line it printed.
    pub last_line: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this status, 0-255.
    Exited(i32),
    /// By a signal that was not the director's.
    Signaled(i32),
    /// By the director, at the time limit.
    TimedOut,
}

/// A program that runs. Dropped, it is killed with its whole process group.
pub struct Running {
    child: Child,
    /// Its process group, until it ended and was collected: the number is somebody else's after that.
    group: Option<Pid>,
    output: Output,
}

impl Program {
    /// Runs it with `extra` arguments. After `limit` its process group gets SIGTERM, and 2 s later SIGKILL; the same at
    /// once if the future is dropped. What it left running when it ended by itself is let live, as keepalived does.
    ///
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// The kernel does not start it: no such interpreter, no more processes or descriptors.
    pub async fn run(&self, extra: &[String], limit: Duration) -> io::Result<Ended> {
        let mut running = self.start(extra)?;
        let outcome = match tokio::time::timeout(limit, running.ended()).await {
            Ok(status) => Outcome::from(status?),
            Err(_) => {
                running.end().await?;
                Outcome::TimedOut
            }
        };
        Ok(Ended { outcome, first_line: running.output.first_line(), last_line: running.output.last_line() })
    }

    /// Starts it with `extra` arguments; see [`Program::run`].
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn start(&self, extra: &[String]) -> io::Result<Running> {
        let (output, stdout, stderr) = Output::new()?;
        let mut command = Command::new(&self.file);
        command
            .arg0(&self.argv[0])
            .args(&self.argv[1..])
            .args(extra)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.identity.home)
            .env("USER", &self.identity.name)
            .env("LOGNAME", &self.identity.name)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        let become_user = become_user(&self.identity);
        // SAFETY: the closure makes system calls only, takes no lock and allocates nothing, in the single thread
        // of the child.
        unsafe { command.pre_exec(become_user) };
        let child = command.spawn()?;
        let group = child.id().map(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, group, output })
    }
}

impl Running {
    /// Waits for its end, however long it takes. Can be dropped and called again.
    ///
    /// # Errors
    /// The kernel does not know it: `unreachable` but for a bug of the kernel's.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = tokio::select! {
            biased;
            status = self.child.wait() => status?,
            never = self.output.read() => match never {},
        };
        self.group = None;
        self.output.finish();
        Ok(status)
    }

    /// Ends it and its process group: SIGTERM, after 2 s SIGKILL. It takes no longer than that.
    ///
    /// # Errors
    /// As [`Running::ended`].
    pub async fn end(&mut self) -> io::Result<()> {
        let Some(group) = self.group else { return Ok(()) };
        signal(group, Signal::SIGTERM);
        let ended = tokio::time::timeout(GRACE, self.ended()).await;
        // Also if the leader has ended: its children have had the signal too, and may have ignored it. The group's
        // number cannot belong to others already: process numbers are given out in a circle.
        signal(group, Signal::SIGKILL);
        match ended {
            Ok(status) => status.map(drop),
            Err(_) => self.ended().await.map(drop),
        }
    }
}

impl Drop for Running {
    /// tokio collects the zombie.
    fn drop(&mut self) {
        if let Some(group) = self.group {
            signal(group, Signal::SIGKILL);
        }
    }
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Outcome {
        match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exited(code),
            (None, Some(signal)) => Outcome::Signaled(signal),
            (None, None) => unreachable!("wait(2) without WUNTRACED reports ends only"),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Outcome::Exited(status) => write!(f, "exited with status {status}"),
            Outcome::Signaled(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "was ended by {signal}"),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Outcome::TimedOut => f.write_str("timed out"),
        }
    }
}

/// What to do about a program that the kernel does not start.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => " (the interpreter that its first line names, `#!...`, does not exist)",
        Some(libc::EACCES) => {
            " (its file system is mounted noexec, its interpreter is not executable, or a security module forbids it)"
        }
        Some(libc::EPERM) => {
            " (to run as its user it takes CAP_SETUID and CAP_SETGID, which shunt was not given)"
        }
        _ => "",
    }
}

/// What the child does between fork and exec to be its user's alone.
fn become_user(identity: &Identity) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
    let groups: Vec<libc::gid_t> = identity.groups.iter().map(|group| group.as_raw()).collect();
    let (uid, gid) = (identity.uid.as_raw(), identity.gid.as_raw());
    let director = std::process::id().cast_signed();
    // Who is not root cannot become another, and is itself already.
    let is_root = nix::unistd::geteuid().is_root();
    let files = descriptors::limit_of_programs();
    move || {
        // A signal that the director ignores stays ignored over exec. Those that cannot be set fail, harmlessly.
        for number in 1..=64 {
            // SAFETY: no code runs for SIG_DFL.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        if let Some(files) = &files {
            // SAFETY: `files` is what it reads.
            check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, files) })?;
        }
        if is_root {
            // SAFETY: `groups` is that long.
            check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
            // SAFETY: it takes numbers only.
            check(unsafe { libc::setresgid(gid, gid, gid) })?;
            // SAFETY: it takes numbers only.
            check(unsafe { libc::setresuid(uid, uid, uid) })?;
        }
        // After the user has changed, which unsets it. It dies with the director, also if that is killed.
        // SAFETY: it takes numbers only.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        // SAFETY: it takes nothing.
        if unsafe { libc::getppid() } != director {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // All descriptors have O_CLOEXEC; those that a C library forgot get it here. Older kernels cannot, harmlessly.
        // SAFETY: it takes numbers only; std's own pipe to the parent stays open until exec.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Nobody left in the group is what was wanted.
fn signal(group: Pid, signal: Signal) {
    let _ = killpg(group, signal);
}

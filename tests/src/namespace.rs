//! A network namespace: where the commands, sockets and threads of one host of the lab live.
//!
//! Invariants: a namespace is named under `/run/netns`, so `ip netns exec` works on it while a test is being looked
//! at; the lab deletes it, not this type, of which there are many clones.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

use crate::privilege::SYSTEM_PATH;
use crate::process::Process;

/// Where named namespaces are, by convention of iproute2.
pub(crate) const FOLDER: &str = "/run/netns";

/// A network namespace that exists under a name.
#[derive(Clone)]
pub struct Namespace {
    name: Arc<str>,
    file: Arc<File>,
}

impl Namespace {
    /// Opens the namespace `name`.
    pub(crate) fn open(name: &str) -> io::Result<Namespace> {
        let file = File::open(PathBuf::from(FOLDER).join(name))?;
        Ok(Namespace { name: name.into(), file: Arc::new(file) })
    }

    /// The name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in this namespace, as itself: its pid is the program's own, with no wrapper around it.
    ///
    /// It is killed when the thread that starts it ends. That suits a command which is waited for (`output`,
    /// `status`); one that shall keep running is started with [`Namespace::spawn`].
    pub fn command(&self, program: &str) -> Command {
        self.prepared(program, false)
    }

    /// As [`Namespace::command`], and `/sys/class/net` shows the interfaces of this namespace, as `ip netns exec`
    /// has it. For programs that look there; the bpf file system is not to be found below this `/sys`.
    pub fn command_with_sysfs(&self, program: &str) -> Command {
        self.prepared(program, true)
    }

    fn prepared(&self, program: &str, with_sysfs: bool) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:{SYSTEM_PATH}")).stdin(Stdio::null());
        let namespace = Arc::clone(&self.file);
        let parent = getpid();
        let enter = move || enter(&namespace, parent, with_sysfs);
        // SAFETY: between fork and exec, `enter` only makes system calls on values prepared before the fork; it takes
        // no lock and allocates nothing, also when it fails (its errors are bare error numbers).
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Starts a command made by [`Namespace::command`] and follows what it writes.
    #[track_caller]
    pub fn spawn(&self, command: Command) -> Process {
        Process::start(command)
    }

    /// Runs a command to its end and returns what it wrote; panics with its complaint if it fails.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        match self.try_run(program, arguments) {
            Ok(output) => output,
            Err(complaint) => panic!("in {}: {complaint}", self.name),
        }
    }

    /// Runs a command to its end: what it wrote, or why it failed.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(program).args(arguments).output();
        judge(&format!("{program} {}", arguments.join(" ")), output)
    }

    /// Runs a command with `input` on its standard input; panics with its complaint if it fails.
    #[track_caller]
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(program);
        command.args(arguments);
        match feed(command, input) {
            Ok(output) => output,
            Err(complaint) => panic!("in {}: {complaint}", self.name),
        }
    }

    /// Runs the lines of `script`, each one command of `ip` without the word `ip`.
    #[track_caller]
    pub fn ip(&self, script: &str) -> String {
        self.feed("ip", &["-batch", "-"], script)
    }

    /// Runs `work` on a thread that is in this namespace. A socket opened there stays there, wherever it is used.
    #[track_caller]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|fault| panic!("setns to {}: {fault} (are you root?)", self.name));
            work()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Writes kernel settings below `net.` of this namespace, as in `("ipv4.ip_forward", "1")`.
    #[track_caller]
    pub fn sysctl(&self, settings: &[(&str, &str)]) {
        self.enter(|| {
            for (key, value) in settings {
                let path = setting(key);
                std::fs::write(&path, value).unwrap_or_else(|fault| panic!("{value} to {path}: {fault}"));
            }
        });
    }

    /// As [`Namespace::sysctl`], for settings that not every kernel has.
    #[track_caller]
    pub(crate) fn sysctl_if_there(&self, settings: &[(&str, &str)]) {
        let is_there = |key: &str| std::path::Path::new(&setting(key)).exists();
        let there: Vec<_> =
            self.enter(|| settings.iter().copied().filter(|(key, _)| is_there(key)).collect());
        self.sysctl(&there);
    }

    /// The processes whose main thread is in this namespace.
    pub fn pids(&self) -> Vec<i32> {
        self.file.metadata().map(|here| pids_in(here.dev(), here.ino())).unwrap_or_default()
    }
}

/// The file of a kernel setting below `net.`.
fn setting(key: &str) -> String {
    format!("/proc/sys/net/{}", key.replace('.', "/"))
}

/// The processes in the namespace that the kernel knows as file `inode` on `device`.
pub(crate) fn pids_in(device: u64, inode: u64) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            std::fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|there| there.dev() == device && there.ino() == inode)
        })
        .collect()
}

/// Runs `command` with `input` to its end: what it wrote, or why it failed.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<String, String> {
    let output =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().and_then(
            |mut child| {
                // The pipe is closed at the end of this statement; without that the child would wait for more.
                let written = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
                let output = child.wait_with_output()?;
                // A child that failed early closes the pipe: its own complaint says more than "broken pipe".
                if output.status.success() { written.map(|()| output) } else { Ok(output) }
            },
        );
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    judge(&format!("{} <<END\n{}\nEND", words.join(" "), input.trim_end()), output)
}

fn judge(command: &str, output: io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|fault| format!("`{command}` does not start: {fault}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{command}` failed ({}): {}", output.status, complaint.trim()))
}

/// Moves the calling process, fresh from fork, to the namespace, and ties its life to its parent's.
fn enter(namespace: &File, parent: Pid, with_sysfs: bool) -> io::Result<()> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    if with_sysfs {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        // Slave: what is mounted here must not travel back to the machine's own tree.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)?;
    }
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above; then no signal will ever come.
    if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

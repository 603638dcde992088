//! A machine of its own as far as systemd is concerned: systemd is process 1 in namespaces of its own, over a copy of this
//! machine's files that forgets what was written. What it may not touch of the kernel is mounted read-only, as in a
//! container (systemd's CONTAINER_INTERFACE).
//!
//! Invariants: nothing is left: its processes end with process 1, its mounts with its namespaces, and process 1 with
//! this value, or with the test process.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::Process;
use crate::wait;

/// How long it may take to start, on a machine that is busy with other things.
const BOOT: Duration = Duration::from_secs(60);
/// What process 1 is started by: it sees the namespaces first. $1: a folder of its own.
const SCRIPT: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
for of_the_host in sys irq bus fs; do mount --bind "proc/$of_the_host" "proc/$of_the_host"; mount -o remount,bind,ro "proc/$of_the_host"; done
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -o remount,bind,ro sys
for scratch in dev run tmp; do mount -t tmpfs tmpfs "$scratch"; done
for device in null zero full random urandom tty; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
rm -f usr/sbin/policy-rc.d
pivot_root . mnt
umount -l /mnt
ip link set lo up
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
"#;

/// A running one.
pub struct Machine {
    /// Whoever started process 1, and waits for its end.
    unshare: Process,
    /// Process 1, as this machine numbers it.
    init: i32,
}

impl Machine {
    /// Starts one; `folder` is empty, and remains so. On return all that belongs to its start has been done.
    #[track_caller]
    pub fn start(folder: &Path) -> Machine {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup"]);
        command.args(["sh", "-c", SCRIPT, "machine"]).arg(folder);
        // SAFETY: prctl is async-signal-safe.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
        let unshare = Process::start(command);
        let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
        let init = wait::until(BOOT, "process 1", || {
            let init: i32 = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let program = std::fs::read_link(format!("/proc/{init}/exe")).ok()?;
            program.ends_with("systemd").then_some(init)
        });
        let machine = Machine { unshare, init };
        wait::until(BOOT, "systemd's bus", || machine.path("run/systemd/private").exists().then_some(()));
        let state = machine.output("systemctl is-system-running --wait");
        assert!(state.status.success(), "{state:?}");
        machine
    }

    /// Where this machine sees one of its files.
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init)).join(file)
    }

    /// Runs a line of a shell there.
    pub fn output(&self, line: &str) -> Output {
        let init = self.init.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &init, "-m", "-p", "-n", "-u", "-i", "-C", "sh", "-c", line]).current_dir("/");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.output().expect("nsenter starts")
    }

    /// As [`Machine::output`]: what it wrote; it must not fail.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success(), "{line}: {}\n{out}{err}", output.status);
        out
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show --value --property={name} {unit}")).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Not its parent: somebody has to take note of its end.
        let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        self.unshare.wait(BOOT);
    }
}

//! shunt itself, running on a director's host.
//!
//! What the lab relies on: `shunt run --config FILE` says a line with `ready: ` on standard error when it forwards, one
//! with `reloaded` or `refused` after SIGHUP, and `shunt show WHAT --json` prints JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::host::Host;
use crate::lab::Lab;
use crate::log::{Log, NoLine};
use crate::process::Process;

/// Names the binary to test, if it is not the one that cargo has built beside the test.
const BINARY: &str = "SHUNT_BIN";
/// Tells shunt where its control socket is.
const SOCKET: &str = "SHUNT_SOCKET";

/// The word of the line that says that it forwards.
pub const READY: &str = "ready: ";
/// The word of the line that says that a new configuration is in force.
pub const RELOADED: &str = "reloaded";
/// The word of the line that says that a new configuration is bad and the old one stays.
pub const REFUSED: &str = "refused";

const START: Duration = Duration::from_secs(20);
const RELOAD: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(10);

/// A running shunt.
pub struct Director {
    host: Host,
    config: PathBuf,
    socket: PathBuf,
    mounts: Mounts,
    /// Runs before it.
    script: String,
    process: Process,
}

/// What a program sees in place of files of the machine, and where.
pub type Mounts = Vec<(PathBuf, PathBuf)>;

/// How a shunt ended that did not get ready.
#[derive(Debug)]
pub struct Failure {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it wrote.
    pub log: String,
}

impl Director {
    /// Starts shunt on director number `n` of `lab`. On return it forwards; panics with its log if it does not get
    /// that far.
    #[track_caller]
    pub fn start(lab: &Lab, n: usize, config: &str) -> Director {
        let director = Director::launch(lab, n, config);
        director.process.wait_for_line(READY, START);
        director
    }

    /// Starts shunt with a configuration or on a machine that it may refuse: what it says then.
    #[track_caller]
    pub fn try_start(lab: &Lab, n: usize, config: &str) -> Result<Director, Failure> {
        let mut director = Director::launch(lab, n, config);
        match director.process.log().wait_for(0, START, |line| line.contains(READY)) {
            Ok(_) => Ok(director),
            Err(NoLine::Closed) => {
                let status = director.process.wait(STOP);
                Err(Failure { status, log: director.process.log().text() })
            }
            Err(NoLine::Deadline) => {
                panic!("shunt neither gets ready nor ends; its log:\n{}", director.process.log().text())
            }
        }
    }

    /// Starts shunt and does not wait for anything.
    #[track_caller]
    pub fn launch(lab: &Lab, n: usize, config: &str) -> Director {
        let host = lab.director(n).clone();
        let folder = lab.file(host.role());
        std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        let (path, socket) = (folder.join("shunt.toml"), folder.join("shunt.sock"));
        Director::launch_with(host, config, path, socket, Mounts::new(), String::new())
    }

    /// Starts shunt with several files in one folder: the first is its configuration, and includes the others.
    #[track_caller]
    pub fn start_with(lab: &Lab, n: usize, files: &[(&str, &str)]) -> Director {
        Director::start_amid(lab, n, files, Mounts::new())
    }

    /// As [`Director::start_with`], with other files of the machine than there are.
    #[track_caller]
    pub fn start_amid(lab: &Lab, n: usize, files: &[(&str, &str)], mounts: Mounts) -> Director {
        let director = Director::launch_amid(lab, n, files, mounts);
        director.process.wait_for_line(READY, START);
        director
    }

    /// As [`Director::start_amid`], and does not wait for anything.
    #[track_caller]
    pub fn launch_amid(lab: &Lab, n: usize, files: &[(&str, &str)], mounts: Mounts) -> Director {
        let host = lab.director(n).clone();
        let folder = lab.file(host.role());
        std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
        let (config, text) = files.first().expect("a configuration");
        Director::launch_with(
            host,
            text,
            folder.join(config),
            folder.join("shunt.sock"),
            mounts,
            String::new(),
        )
    }

    /// Starts shunt after the lines of a shell script, as [`Host::command_after`] has it, and does not wait for anything.
    #[track_caller]
    pub fn launch_after(lab: &Lab, n: usize, config: &str, script: String) -> Director {
        let host = lab.director(n).clone();
        let folder = lab.file(host.role());
        std::fs::create_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        let (path, socket) = (folder.join("shunt.toml"), folder.join("shunt.sock"));
        Director::launch_with(host, config, path, socket, Mounts::new(), script)
    }

    /// Starts another shunt with the files of this one, after this one has ended: as a service manager would.
    #[track_caller]
    pub fn start_again(&mut self, config: &str) {
        assert!(self.process.ended().is_some(), "shunt on {} still runs", self.host.role());
        let (host, path, socket) = (self.host.clone(), self.config.clone(), self.socket.clone());
        let (mounts, script) = (self.mounts.clone(), self.script.clone());
        *self = Director::launch_with(host, config, path, socket, mounts, script);
        self.process.wait_for_line(READY, START);
    }

    #[track_caller]
    fn launch_with(
        host: Host,
        config: &str,
        path: PathBuf,
        socket: PathBuf,
        mounts: Mounts,
        script: String,
    ) -> Director {
        std::fs::write(&path, config).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        let program = binary().to_string_lossy().into_owned();
        let mut command = match script.is_empty() {
            true => host.command_with_mounts(&program, &mounts),
            false => host.command_after(&script, &program),
        };
        command.env(SOCKET, &socket).args(["run", "--config"]).arg(&path);
        let process = host.spawn(command);
        Director { host, config: path, socket, mounts, script, process }
    }

    /// Puts another configuration in force. Returns the line that says so, or the one that says why not.
    #[track_caller]
    pub fn reload(&mut self, config: &str) -> Result<String, String> {
        std::fs::write(&self.config, config)
            .unwrap_or_else(|fault| panic!("{}: {fault}", self.config.display()));
        let mark = self.process.log().mark();
        self.process.signal(Signal::SIGHUP);
        let verdict = |line: &str| line.contains(RELOADED) || line.contains(REFUSED);
        match self.process.log().wait_for(mark, RELOAD, verdict) {
            Ok(line) if line.contains(REFUSED) => Err(line),
            Ok(line) => Ok(line),
            Err(why) => panic!("no answer to SIGHUP ({why:?}); the log:\n{}", self.process.log().text()),
        }
    }

    /// What `shunt show WHAT --json` says.
    #[track_caller]
    pub fn show(&self, what: &str) -> Value {
        let text = self.ask(&["show", what, "--json"]).unwrap_or_else(|complaint| panic!("{complaint}"));
        serde_json::from_str(&text)
            .unwrap_or_else(|fault| panic!("shunt show {what} --json: {fault}:\n{text}"))
    }

    /// Runs another subcommand of shunt against this one: what it wrote, or its complaint.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = command(&self.host, &self.socket).args(arguments).output();
        let output = output.map_err(|fault| format!("shunt does not start: {fault}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("shunt {} failed ({}): {complaint}", arguments.join(" "), output.status))
    }

    /// Ends it in order (SIGTERM).
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP)
    }

    /// Ends it as a crash would (SIGKILL).
    #[track_caller]
    pub fn kill9(&mut self) -> ExitStatus {
        self.process.kill9()
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.process.pid()
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
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A command `shunt` on `host`, with its control socket at `socket`; the arguments are to be added.
#[track_caller]
pub fn command(host: &Host, socket: &Path) -> Command {
    let mut command = host.command_with_sysfs(&binary().to_string_lossy());
    command.env(SOCKET, socket);
    command
}

/// The shunt to test: what `SHUNT_BIN` names, or else what cargo has built in the profile of this test. Panics, saying
/// what to run, if there is none.
#[track_caller]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(BINARY).map(PathBuf::from) {
        assert!(path.is_file(), "{BINARY} names {}, which is no file", path.display());
        return path;
    }
    let test = std::env::current_exe().expect("a process knows its program");
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM.
    let beside =
        test.ancestors().skip(1).take(2).map(|folder| folder.join("shunt")).find(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!(
            "there is no shunt beside {}: run `cargo build -p shunt` (with --release for a release test), or set {BINARY}",
            test.display()
        )
    })
}

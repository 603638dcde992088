//! The program itself, as an operator runs it: `shunt run` with a configuration file.

use std::fmt::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use shunt_tests::{Process, director};
use tempfile::TempDir;

use crate::wire::bed::{Bed, INTERFACE, REAL_SERVERS, mac, real_server_mac};
use crate::wire::cores;
use crate::wire::subject::Runner;

const START: Duration = Duration::from_secs(60);

/// What it is given to do.
#[derive(Debug, Clone)]
pub struct Load {
    /// What a worker does when no frame comes: `adaptive` or `spin`.
    pub idle: &'static str,
    /// Flows a worker remembers.
    pub flows: u32,
    /// Cores of the workers, one a queue.
    pub cores: Vec<usize>,
    /// Virtual services.
    pub services: usize,
}

impl Default for Load {
    fn default() -> Load {
        Load { idle: "adaptive", flows: 1 << 20, cores: vec![cores::subject()], services: 1 }
    }
}

/// The running program.
pub struct Shunt {
    process: Process,
    folder: TempDir,
}

impl Shunt {
    /// Starts it. On return it forwards.
    #[track_caller]
    pub fn start(bed: &Bed, load: &Load) -> Shunt {
        let folder = tempfile::tempdir().expect("a folder for the configuration");
        let file = folder.path().join("shunt.toml");
        std::fs::write(&file, configuration(load)).expect("the folder is ours");
        let mut command = bed.director().command_with_sysfs(&director::binary().to_string_lossy());
        command.env("SHUNT_SOCKET", folder.path().join("shunt.sock"));
        command.args(["run", "--config"]).arg(&file);
        let process = bed.director().spawn(command);
        process.wait_for_line(director::READY, START);
        Shunt { process, folder }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its configuration file.
    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("shunt.toml")
    }
}

impl Runner for Shunt {
    fn pause(&mut self) {
        self.process.signal(Signal::SIGSTOP);
    }

    fn resume(&mut self) {
        self.process.signal(Signal::SIGCONT);
    }

    fn pid(&self) -> Option<i32> {
        Some(self.process.pid())
    }
}

/// The configuration for a load: the service of the generator's frames first, then those that nobody uses. All have the
/// same ten real servers, whose MAC addresses are given.
pub fn configuration(load: &Load) -> String {
    let Load { idle, flows, cores, services } = load;
    let mut text = format!(
        "[director]\ninterfaces = [\"{INTERFACE}\"]\ncores = {cores:?}\nflows_per_worker = {flows}\n\
         flows_per_worker_ipv6 = 65536\nidle = \"{idle}\"\n"
    );
    for service in 0..*services {
        // A thousand ports of each VIP.
        let (vip, port) = (service / 1000, 80 + service % 1000);
        let vip = if vip == 0 { "192.0.2.10".to_owned() } else { format!("203.0.113.{vip}") };
        writeln!(text, "[[service]]\nvip = \"{vip}\"\nport = {port}\nprotocol = \"udp\"").expect("a string");
        for n in 0..REAL_SERVERS {
            let (address, mac) = (21 + n, mac(real_server_mac(n)));
            writeln!(text, "[[service.real]]\naddress = \"192.0.2.{address}\"\nmac = \"{mac}\"")
                .expect("a string");
        }
    }
    text
}

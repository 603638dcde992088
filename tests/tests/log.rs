//! Whoever reads the log, or does not, cannot stop the director.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shunt_tests::address::VIP;
use shunt_tests::director::{READY, command};
use shunt_tests::{Lab, Service, WebServer, config, expect, snapshot, wait};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing_and_is_no_reason_to_leave_anything() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (path, socket) = (lab.file("shunt.toml"), lab.file("shunt.sock"));
    std::fs::write(&path, config::file(&lab, &[Service::tcp(80).all(&lab)])).unwrap();
    let mut run = command(lab.director(0), &socket);
    run.args(["run", "--config"]).arg(&path).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut shunt: Child = run.spawn().expect("shunt starts");
    let log = BufReader::new(shunt.stderr.take().expect("piped"));
    let ready = log.lines().map_while(Result::ok).any(|line| line.contains(READY));
    // `any` has dropped the reading end.
    assert!(ready);

    let pid = Pid::from_raw(shunt.id() as i32);
    let generation = || {
        let show = command(lab.director(0), &socket).args(["show", "services", "--json"]).output().unwrap();
        let view: serde_json::Value = serde_json::from_slice(&show.stdout).ok()?;
        view["generation"].as_u64()
    };
    for _ in 0..3 {
        let before = generation();
        kill(pid, Signal::SIGHUP).unwrap();
        wait::until(SOON, "the reload", || generation().filter(|now| Some(*now) > before));
    }
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    let status = wait::until(SOON, "the end", || shunt.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(!snapshot::has(lab.director(0), "eth0", VIP));
    assert!(!socket.exists());
}

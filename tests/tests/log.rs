//! Whoever reads the log, or does not, cannot stop the director.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shunt_tests::address::VIP;
use shunt_tests::director::{READY, binary, command};
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

#[test]
fn a_program_reads_json_line_by_line() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (path, socket) = (lab.file("shunt.toml"), lab.file("shunt.sock"));
    std::fs::write(&path, config::file(&lab, &[Service::tcp(80).all(&lab)])).unwrap();
    let mut run = command(lab.director(0), &socket);
    run.args(["run", "--log", "json", "--config"]).arg(&path).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut shunt = run.spawn().expect("shunt starts");
    let pid = Pid::from_raw(shunt.id() as i32);
    let mut messages = Vec::new();
    for line in BufReader::new(shunt.stderr.take().expect("piped")).lines() {
        let line = line.unwrap();
        let entry: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert!(entry["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert_eq!(entry["level"], "INFO", "{line}");
        let message = entry["message"].as_str().unwrap_or_else(|| panic!("no message in {line}")).to_owned();
        if message.contains(READY) {
            kill(pid, Signal::SIGTERM).unwrap();
        }
        messages.push(message);
    }
    assert!(shunt.wait().unwrap().success());
    assert_eq!(messages.last().map(String::as_str), Some("stopped by SIGTERM"), "{messages:#?}");
}

/// The machine of the tests need not have systemd: a socket stands in for the journal's.
#[test]
fn the_journal_gets_the_log_and_without_one_shunt_does_not_start() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (path, socket) = (lab.file("shunt.toml"), lab.file("shunt.sock"));
    std::fs::write(&path, config::file(&lab, &[Service::tcp(80).all(&lab)])).unwrap();
    let folder = lab.file("journal");
    std::fs::create_dir(&folder).unwrap();
    let shunt = |journal: &str| {
        // A /run of its own, in a mount namespace from which nothing travels back.
        let script = format!("mount -t tmpfs none /run && {journal} exec \"$0\" \"$@\"");
        let mut run = lab.director(0).command_with_sysfs("sh");
        run.args(["-c", &script]).arg(binary()).args(["run", "--log", "journald", "--config"]).arg(&path);
        run.env("SHUNT_SOCKET", &socket).stderr(Stdio::piped());
        run
    };
    let refused = shunt("").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("choose --log human or --log json: No such file or directory"), "{complaint}");

    let journal = UnixDatagram::bind(folder.join("socket")).unwrap();
    journal.set_read_timeout(Some(SOON)).unwrap();
    let place = "/run/systemd/journal";
    let mut running = shunt(&format!("mkdir -p {place} && mount --bind '{}' {place} &&", folder.display()))
        .spawn()
        .unwrap();
    let mut entry = [0; 64 * 1024];
    loop {
        let length = journal.recv(&mut entry).expect("an entry");
        let entry = String::from_utf8_lossy(&entry[..length]);
        assert!(entry.starts_with("PRIORITY=6\nSYSLOG_IDENTIFIER=shunt\nMESSAGE"), "{entry}");
        if entry.contains(READY) {
            break;
        }
    }
    kill(Pid::from_raw(running.id() as i32), Signal::SIGTERM).unwrap();
    assert!(running.wait().unwrap().success());
    let mut said = String::new();
    running.stderr.take().expect("piped").read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "nothing is said twice");
}

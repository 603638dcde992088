//! What makes a director yield, in the lab: its real servers, files, processes and scripts; and who is told of it, in which
//! order.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::VIP;
use shunt_tests::{Director, Host, Lab, Service, WebServer, config, holds, wait};

const SOON: Duration = Duration::from_secs(20);

/// A virtual router of version 3 with the VIP, ten adverts a second, and more lines; two tables may follow it.
fn router(priority: u8, lines: &str) -> String {
    format!(
        "[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\npriority = {priority}\n\
         interval = \"100ms\"\naddresses = [\"{VIP}/24\"]\n{lines}\n"
    )
}

#[track_caller]
fn until_holds(host: &Host, wanted: bool) {
    let what = format!("{} to {} the VIP", host.role(), if wanted { "hold" } else { "give up" });
    wait::until(SOON, &what, || (holds(host, VIP) == wanted).then_some(()));
}

fn shown(director: &Director) -> Value {
    director.show("vrrp")["routers"][0].clone()
}

#[track_caller]
fn until_priority(director: &Director, priority: u8) {
    wait::until(SOON, &format!("priority {priority}"), || {
        (shown(director)["priority"] == priority).then_some(())
    });
}

/// No packet leaves the host for `to`.
fn cut_off(host: &Host, to: IpAddr) {
    let rules = format!(
        "add table inet cut\nadd chain inet cut output {{ type filter hook output priority 0; }}\n\
         add rule inet cut output ip daddr {to} drop\n"
    );
    host.feed("nft", &["-f", "-"], &rules);
}

#[test]
fn a_director_that_reaches_no_real_server_yields_until_it_does() {
    let lab = Lab::builder().directors(2).real_servers(1).build();
    let _servers = WebServer::on_all(&lab);
    let check = r#"{ type = "tcp", interval = "300ms", timeout = "200ms", rise = 1, fall = 2 }"#;
    let service = Service::tcp(80).with("vip_check = false").checked(check).all(&lab);
    let file = |priority| {
        config::file(&lab, std::slice::from_ref(&service))
            + &router(priority, "[vrrp.router.track]\nreal_servers = -60")
    };
    let first = Director::start(&lab, 0, &file(150));
    let _second = Director::start(&lab, 1, &file(100));
    until_holds(lab.director(0), true);
    cut_off(lab.director(0), lab.real_server(0).address());
    until_priority(&first, 90);
    until_holds(lab.director(1), true);
    until_holds(lab.director(0), false);
    lab.director(0).run("nft", &["delete", "table", "inet", "cut"]);
    until_priority(&first, 150);
    until_holds(lab.director(0), true);
    until_holds(lab.director(1), false);
}

#[test]
fn files_processes_and_scripts_change_the_priority_or_are_a_fault() {
    let lab = Lab::builder().directors(1).real_servers(0).build();
    let [number, answer] = ["number", "answer"].map(|name| lab.file(name));
    std::fs::write(&number, "0").unwrap();
    std::fs::write(&answer, "0").unwrap();
    let script = program(&lab, "check.sh", &format!("exit $(cat {})", answer.display()));
    let text = config::file(&lab, &[])
        + &router(
            100,
            "[vrrp.router.track]\nfiles = [{ name = \"load\", weight = -2 }]\n\
             processes = [{ name = \"sleeper\", weight = 30 }]\nscripts = [\"answer\"]\n",
        )
        + &format!(
            "[[vrrp.file]]\nname = \"load\"\npath = \"{}\"\n\
             [[vrrp.process]]\nname = \"sleeper\"\nprocess = \"sleep\"\narguments = [\"86399\"]\n\
             [[vrrp.script]]\nname = \"answer\"\ncommand = \"{script}\"\ninterval = \"200ms\"\n",
            number.display()
        );
    let director = Director::start(&lab, 0, &text);
    until_holds(lab.director(0), true);
    until_priority(&director, 100);
    std::fs::write(&number, "10").unwrap();
    until_priority(&director, 80);
    let mut sleeper = lab.director(0).command("sleep");
    let mut sleeper = lab.director(0).spawn({
        sleeper.arg("86399");
        sleeper
    });
    until_priority(&director, 110);
    std::fs::write(&answer, "1").unwrap();
    until_holds(lab.director(0), false);
    let row = shown(&director);
    assert_eq!(row["state"], "FAULT", "{row:#}");
    assert!(row["fault"].as_str().unwrap().contains("answer"), "{row:#}");
    std::fs::write(&answer, "0").unwrap();
    until_holds(lab.director(0), true);
    sleeper.stop(SOON);
    until_priority(&director, 80);
}

#[test]
fn programs_are_told_in_order_and_pipes_of_everything() {
    let lab = Lab::builder().directors(1).real_servers(0).build();
    let (told, piped) = (lab.file("told"), lab.file("piped"));
    // Slower than what it is told of.
    let script = program(&lab, "told.sh", &format!("sleep 0.3\necho $* >> {}", told.display()));
    let active = program(&lab, "active.sh", &format!("echo active >> {}", told.display()));
    let reader = program(&lab, "reader.sh", &format!("exec cat $1 >> {}", piped.display()));
    let text = config::file(&lab, &[])
        + &format!("[[vrrp.pipe]]\npath = \"{}\"\nreader = \"{reader}\"\n", lab.file("pipe").display())
        + &router(100, &format!("notify = \"{script}\"\nnotify_active = \"{active}\"\n"));
    let mut director = Director::start(&lab, 0, &text);
    until_holds(lab.director(0), true);
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let ended = |path: &Path, with: &str| {
        wait::until(SOON, with, || lines(path).trim_end().ends_with(with).then_some(()));
    };
    ended(&told, "INSTANCE web MASTER 100");
    lab.director(0).run("ip", &["link", "set", "eth0", "down"]);
    ended(&told, "INSTANCE web FAULT 100");
    lab.director(0).run("ip", &["link", "set", "eth0", "up"]);
    until_holds(lab.director(0), true);
    director.stop();
    let told = lines(&told);
    // States that passed before it was their turn need not be told.
    assert!(told.contains("active\nINSTANCE web MASTER 100\n"), "{told}");
    assert!(told.ends_with("INSTANCE web STOP 100\n"), "{told}");
    assert_eq!(
        lines(&piped).lines().collect::<Vec<_>>(),
        ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"]
            .map(|state| format!("INSTANCE \"web\" {state} 100"))
    );
}

#[test]
fn a_script_that_is_missing_or_that_others_may_write_stops_the_start_and_is_named_with_its_line() {
    let lab = Lab::builder().directors(1).real_servers(0).build();
    let unsafe_script = program(&lab, "unsafe.sh", "exit 0");
    assert!(std::process::Command::new("chmod").args(["o+w", &unsafe_script]).status().unwrap().success());
    for (run, security, words) in
        [("/usr/bin/no-such-program", false, "no-such-program"), (&unsafe_script, true, "writable")]
    {
        let text = config::file(&lab, &[])
            + &router(100, "[vrrp.router.track]\nscripts = [\"chk\"]\n")
            + &format!(
                "[[vrrp.script]]\nname = \"chk\"\ncommand = \"{run}\"\ninterval = \"1s\"\n[scripts]\nsecurity = {security}\nuser = \"root\"\n"
            );
        let failure = Director::try_start(&lab, 0, &text).err().expect("it does not start");
        assert!(failure.log.contains(words) && failure.log.contains("shunt.toml:"), "{}", failure.log);
    }
}

/// An executable shell script; its path.
fn program(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.file(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    let path = path.to_string_lossy().into_owned();
    assert!(std::process::Command::new("chmod").args(["755", &path]).status().unwrap().success());
    path
}

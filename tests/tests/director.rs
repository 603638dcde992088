//! How the lab drives a shunt, shown on a script that only says what shunt says.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use shunt_tests::{Director, Lab};

const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
run)
  grep -q bad "$3" && { echo "bad: line 1" >&2; exit 1; }
  trap 'if grep -q bad "$3"; then echo "refused: bad" >&2; else echo "reloaded: generation 2" >&2; fi' HUP
  trap 'echo bye >&2; exit 0' TERM
  echo "ready: 1 service, 2 of 2 up" >&2
  # Short: a signal that comes just before `wait` is seen after it only.
  while :; do sleep 0.1 & wait $!; done ;;
show) echo "{\"what\": \"$2\", \"socket\": \"$SHUNT_SOCKET\", \"links\": \"$(echo $(ls /sys/class/net))\"}" ;;
*) echo "no such command" >&2; exit 2 ;;
esac
"#;

/// What the next test starts with the script in shunt's place: a process cannot safely change its own environment.
#[test]
#[ignore = "a helper of the next test"]
fn with_the_script_for_a_shunt() {
    let lab = Lab::builder().build();
    let mut director = Director::start(&lab, 0, "good");
    assert_eq!(director.reload("better").as_deref(), Ok("reloaded: generation 2"));
    assert_eq!(director.reload("bad").expect_err("it is bad"), "refused: bad");
    let shown = director.show("services");
    assert_eq!(shown["what"], "services");
    assert_eq!(shown["socket"].as_str(), director.socket().to_str());
    assert_eq!(shown["links"], "eth0 lo", "below /sys are the interfaces of the director's host");
    assert!(director.ask(&["dance"]).expect_err("it cannot").contains("no such command"));

    assert!(director.stop().success());
    assert!(director.log().text().ends_with("bye\n"));
    director.start_again("good");
    assert!(!director.kill9().success());

    let failure = Director::try_start(&lab, 0, "bad").err().expect("it does not start");
    assert_eq!((failure.status.code(), failure.log.as_str()), (Some(1), "bad: line 1\n"));
}

#[test]
fn a_director_is_started_reloaded_asked_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("shunt");
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "with_the_script_for_a_shunt", "--nocapture"])
        .env("SHUNT_BIN", script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_missing_shunt_is_said_with_what_to_run() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "with_the_script_for_a_shunt", "--nocapture"])
        .env("SHUNT_BIN", "/nowhere/shunt")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("SHUNT_BIN names /nowhere/shunt"), "{said}");
}

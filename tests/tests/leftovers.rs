//! However shunt ends, the machine is as it was; and what a crash leaves, the next start takes over.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shunt_tests::address::VIP;
use shunt_tests::bpf::Objects;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::{Director, Host, Lab, Service, WebServer, expect, snapshot, wait};

const SOON: Duration = Duration::from_secs(20);

fn config(lab: &Lab) -> String {
    config::file(lab, &[Service::tcp(80).checked(QUICK_CHECK).all(lab)])
}

fn serves(lab: &Lab) {
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
}

/// The BPF objects of a running shunt: all that it should have.
fn objects(director: &Director) -> Objects {
    let objects = Objects::of(director.pid());
    assert!(
        objects.programs.len() == 1 && objects.maps.len() >= 4 && objects.links.len() == 1,
        "{objects:?}"
    );
    assert_eq!(objects.left(), objects, "the kernel knows them");
    objects
}

/// Waits until the kernel has freed them: it does so when no processor can be using them any more.
fn until_freed(objects: &Objects) {
    wait::until(SOON, &format!("{objects:?} to be freed"), || objects.left().is_empty().then_some(()));
}

/// Nothing of a shunt that has ended is there but, perhaps, its VIP.
fn is_gone(host: &Host, director: &Director, objects: &Objects) {
    assert!(!Path::new(&format!("/proc/{}/task", director.pid())).exists(), "no process, so no thread");
    // Of one that was killed its guard has something to do first.
    wait::until(SOON, "no program", || (!snapshot::has_xdp(host, "eth0")).then_some(()));
    until_freed(objects);
}

/// Ends a shunt in order by `signal`, in the middle of its work.
fn ends_in_order(signal: Signal) {
    let lab = Lab::builder().queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let before = snapshot::of(host);
    let mut director = Director::start(&lab, 0, &config(&lab));
    serves(&lab);
    let objects = objects(&director);
    assert!(
        snapshot::has_xdp(host, "eth0") && snapshot::has(host, "eth0", VIP) && director.socket().exists()
    );

    director.process().signal(signal);
    let status = director.process().wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", director.log().text());
    let log = director.log().text();
    assert!(log.contains(&format!("stopped by {signal}")), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "nothing was out of order:\n{log}");
    is_gone(host, &director, &objects);
    assert!(!director.socket().exists());
    assert_eq!(snapshot::of(host), before);
}

#[test]
fn sigterm_leaves_nothing() {
    ends_in_order(Signal::SIGTERM);
}

#[test]
fn sigint_leaves_nothing() {
    ends_in_order(Signal::SIGINT);
}

#[test]
fn a_killed_shunt_leaves_a_socket_that_the_next_replaces() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let before = snapshot::of(host);
    let mut director = Director::start(&lab, 0, &config(&lab));
    serves(&lab);
    let killed = objects(&director);
    director.kill9();
    // The kernel takes away what hangs on the process, its guard the address, and nobody a file.
    is_gone(host, &director, &killed);
    assert!(!snapshot::has(host, "eth0", VIP) && director.socket().exists());

    director.start_again(&config(&lab));
    let log = director.log().text();
    assert!(log.contains("shunt.sock was left by an earlier run: replaced"), "{log}");
    serves(&lab);
    let objects = objects(&director);
    assert!(director.stop().success());
    is_gone(host, &director, &objects);
    assert!(!director.socket().exists());
    assert_eq!(snapshot::of(host), before);
}

/// Kills a shunt, and before it the process that would take its VIP away.
fn kill_with_guard(director: &mut Director) {
    let parent = format!("PPid:\t{}\n", director.pid());
    let is_its = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&parent))
    };
    let guard = director.host().pids().into_iter().find(is_its).expect("it has a guard");
    kill(Pid::from_raw(guard), Signal::SIGKILL).expect("it runs");
    director.kill9();
}

#[test]
fn a_vip_that_an_earlier_shunt_left_is_taken_over_or_goes() {
    let lab = Lab::builder().build();
    let host = lab.director(0);
    let before = snapshot::of(host);
    let mut director = Director::start(&lab, 0, &config(&lab));
    kill_with_guard(&mut director);
    assert!(snapshot::has(host, "eth0", VIP));
    director.start_again(&config(&lab));
    let log = director.log().text();
    assert!(log.contains("192.0.2.10 on eth0 was left by an earlier run of shunt: taken over"), "{log}");
    kill_with_guard(&mut director);
    assert!(snapshot::has(host, "eth0", VIP));
    director.start_again(&config::file(&lab, &[]));
    assert!(!snapshot::has(host, "eth0", VIP));
    assert!(director.stop().success());
    assert_eq!(snapshot::of(host), before);
}

#[test]
fn a_vip_of_the_operator_stays() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    host.add_address(VIP, "eth0");
    let before = snapshot::of(host);
    let mut director = Director::start(&lab, 0, &config(&lab));
    assert!(director.log().text().contains("192.0.2.10 found on eth0: used, and left there at the end"));
    serves(&lab);
    assert!(director.stop().success());
    assert_eq!(snapshot::of(host), before);
    // Also when the shunt that found it was killed: the next one does not take it for its own.
    director.start_again(&config(&lab));
    director.kill9();
    director.start_again(&config(&lab));
    serves(&lab);
    assert!(director.stop().success());
    assert_eq!(snapshot::of(host), before);
}

#[test]
fn a_vip_that_somebody_removes_is_put_back() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &config(&lab));
    lab.director(0).remove_address(VIP, "eth0");
    wait::until(SOON, "the VIP to be back", || snapshot::has(lab.director(0), "eth0", VIP).then_some(()));
    serves(&lab);
    assert!(director.log().text().contains("was removed from eth0 by somebody"));
}

#[test]
fn ten_starts_and_stops_leave_nothing() {
    let lab = Lab::builder().two_legged().queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let before = snapshot::of(host);
    let mut director = Director::start(&lab, 0, &config(&lab));
    let mut all = Vec::new();
    for round in 1..=10 {
        if round > 1 {
            director.start_again(&config(&lab));
        }
        serves(&lab);
        all.push(Objects::of(director.pid()));
        assert!(director.stop().success(), "round {round}");
        assert_eq!(snapshot::of(host), before, "round {round}");
        assert!(!director.socket().exists(), "round {round}");
    }
    // Two interfaces, so two programs a start; none of an earlier one lived on in a later one.
    all.iter()
        .for_each(|objects| assert_eq!((objects.programs.len(), objects.links.len()), (2, 2), "{all:?}"));
    all.iter().for_each(until_freed);
}

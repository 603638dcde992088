//! A worker that hangs or dies, and a director that stands still: noticed, said, acted on, and no black hole.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use shunt_dataplane::xsk::beat::LIFE;
use shunt_tests::address::VIP;
use shunt_tests::bpf::Objects;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::harm::{self, Frozen};
use shunt_tests::peer::holds;
use shunt_tests::{
    Director, Downloads, Host, Lab, Requests, Service, Tally, WebServer, expect, snapshot, wait,
};

const SOON: Duration = Duration::from_secs(20);
const PRIORITIES: [u8; 2] = [150, 100];

/// What director `n` of a pair reads: an advert a second, so that who waits for three of them takes over late.
fn file(lab: &Lab, n: usize) -> String {
    let service = Service::tcp(80).checked(QUICK_CHECK).all(lab);
    format!(
        "{}\n[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\npriority = {}\ninterval = \"1s\"\n\
         addresses = [\"{VIP}/24\"]\n",
        config::file(lab, &[service]),
        PRIORITIES[n]
    )
}

#[track_caller]
fn until_holds(host: &Host, wanted: bool) {
    let what = format!("{} to {} the VIP", host.role(), if wanted { "hold" } else { "give up" });
    wait::until(SOON, &what, || (holds(host, VIP) == wanted).then_some(()));
}

#[track_caller]
fn until_answered(requests: &Requests) {
    let now = Instant::now();
    wait::until(SOON, "an answer", || requests.is_answered_since(now).then_some(()));
}

fn worker(director: &Director, n: usize) -> Value {
    director.show("workers")["workers"][n].clone()
}

/// A worker of a director meets what cannot be, and panics.
#[track_caller]
fn kill_worker(director: &mut Director) {
    let (pid, mark) = (director.pid(), director.log().mark());
    let ring = harm::rings(pid)[0];
    wait::until(SOON, "a worker to die", || {
        harm::spoil(pid, ring);
        let text = director.log().text();
        text.lines().skip(mark).any(|line| line.contains("died: attempt to subtract")).then_some(())
    });
}

/// Nothing of a director that has ended is there.
#[track_caller]
fn is_gone(host: &Host, objects: &Objects) {
    wait::until(SOON, "its BPF objects to be freed", || objects.left().is_empty().then_some(()));
    assert!(!snapshot::has_xdp(host, "eth0") && !holds(host, VIP));
}

#[test]
fn a_worker_that_hangs_is_noticed_within_a_second_and_the_other_director_takes_over_at_once() {
    let lab = Lab::builder().directors(2).queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let before = snapshot::of(lab.director(0));
    let mut first = Director::start(&lab, 0, &file(&lab, 0));
    until_holds(lab.director(0), true);
    let second = Director::start(&lab, 1, &file(&lab, 1));
    let requests = Requests::start(lab.client(0), (VIP, 80).into(), 50);
    until_answered(&requests);
    let objects = Objects::of(first.pid());

    let hung = Instant::now();
    let frozen = Frozen::new(first.pid(), "worker-1");
    let line = first.process().wait_for_line("worker 1 hangs", SOON);
    eprintln!("noticed after {:?}", hung.elapsed());
    assert!(line.contains("ERROR") && line.contains("stopped, as debuggers do"), "{line}");
    // Seen to stand still for 0.7 s, by looks that are 0.1 s apart.
    let silence = line.split("no turn for ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(silence.and_then(|text| text.parse().ok()).is_some_and(|s: f64| s < 1.0), "{line}");

    let status = first.process().wait(SOON);
    assert_eq!(status.code(), Some(1), "{}", first.log().text());
    drop(frozen);
    until_holds(lab.director(1), true);
    until_answered(&requests);
    // It was told to take over, and waited for nothing.
    let counters = second.show("vrrp")["routers"][0]["counters"].clone();
    assert_eq!(counters["priority_zero_received"], 1, "{counters:#}");
    is_gone(lab.director(0), &objects);
    assert_eq!(snapshot::of(lab.director(0)), before);
    assert!(!first.socket().exists() && first.log().text().contains("worker 1 has taken no turn"));
    assert_eq!(worker(&second, 1)["state"], "up");
}

#[test]
fn a_director_that_stands_still_forwards_nothing_stale_and_goes_on_when_it_can() {
    let lab = Lab::builder().directors(2).build();
    let _servers = WebServer::on_all(&lab);
    let mut first = Director::start(&lab, 0, &file(&lab, 0));
    until_holds(lab.director(0), true);
    let _second = Director::start(&lab, 1, &file(&lab, 1));
    let requests = Requests::start(lab.client(0), (VIP, 80).into(), 50);
    until_answered(&requests);

    first.process().signal(Signal::SIGSTOP);
    until_holds(lab.director(1), true);
    until_answered(&requests);
    // What the program left to the kernel it still does: the host answers.
    lab.client(0).run("ping", &["-c", "1", "-W", "5", &lab.director(0).address().to_string()]);
    first.process().signal(Signal::SIGCONT);
    until_holds(lab.director(1), false);
    until_holds(lab.director(0), true);
    until_answered(&requests);
    let tally = Tally::settled(&first);
    assert!(tally.dropped("worker_stalled") > 0, "{tally:#?}");
    tally.check();
    // Nobody held it against the worker.
    let log = first.log().text();
    assert!(!log.contains("hangs") && !log.contains("no turn"), "{log}");
    assert_eq!(worker(&first, 0)["state"], "up");
}

#[test]
fn control_that_stands_still_costs_no_frame_and_blames_no_worker_for_it() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let mut requests = Requests::start(lab.client(0), (VIP, 80).into(), 50);
    until_answered(&requests);
    let (frozen, since) = (Frozen::new(director.pid(), "shunt"), Instant::now());
    // Longer than anybody without a sign of life is believed in.
    let later = since + 2 * LIFE;
    wait::until(SOON, "an answer after that", || requests.is_answered_since(later).then_some(()));
    drop(frozen);
    let tally = Tally::of(&director);
    assert_eq!(tally.dropped("worker_stalled"), 0, "{tally:#?}");
    requests.stop();
    assert_eq!(requests.seen(since, Instant::now()).failed, Vec::<String>::new());
    let log = director.log().text();
    assert!(!log.contains("hangs") && !log.contains("no turn"), "{log}");
    assert_eq!(worker(&director, 0)["state"], "up");
}

#[test]
fn another_worker_takes_the_place_of_one_that_panics_with_its_flows() {
    let lab = Lab::builder().queues(2).build();
    let servers = WebServer::on_all(&lab);
    servers.iter().for_each(Downloads::prepare);
    let host = lab.director(0);
    let before = snapshot::of(host);
    // A scheduler that no hash reproduces: a flow that is forgotten breaks.
    let service = Service::tcp(80).checked(QUICK_CHECK).with("scheduler = \"rr\"").all(&lab);
    let text = config::with(&lab, "worker_failure = \"restart\"", &[service]);
    let mut director = Director::start(&lab, 0, &text);
    let downloads = Downloads::start(lab.client(0), (VIP, 80).into(), 20, &[]);
    let objects = Objects::of(director.pid());

    kill_worker(&mut director);
    let line = director.process().wait_for_line("is in the place of the one that died", SOON);
    downloads.go_on();
    assert_eq!(downloads.broken(), Vec::<String>::new(), "{line}");
    expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap();
    let restarts = |n| worker(&director, n)["restarts"].as_u64();
    assert_eq!(restarts(0).zip(restarts(1)).map(|(a, b)| a + b), Some(1), "{line}");
    let view = director.show("workers");
    for worker in view["workers"].as_array().unwrap() {
        assert!(worker["state"] == "up" && worker["queues"].as_array().unwrap().len() == 1, "{view:#}");
    }
    assert!(director.log().text().contains("died: attempt to subtract with overflow"), "{line}");

    assert_eq!(harm::rings(director.pid()).len(), 2, "those of the dead worker are unmapped");

    // What happens again and again is no accident.
    for _ in 0..2 {
        let mark = director.log().mark();
        kill_worker(&mut director);
        director.process().wait_for_line_from(mark, "is in the place of", SOON);
    }
    drop(downloads);
    kill_worker(&mut director);
    let status = director.process().wait(SOON);
    assert_eq!(status.code(), Some(1), "{}", director.log().text());
    assert!(director.log().text().contains("too many have in the last minute"));
    is_gone(host, &objects);
    assert_eq!(snapshot::of(host), before);
}

#[test]
fn a_worker_that_takes_the_process_down_leaves_no_address_behind() {
    let lab = Lab::builder().directors(2).build();
    let _servers = WebServer::on_all(&lab);
    let mut first = Director::start(&lab, 0, &file(&lab, 0));
    until_holds(lab.director(0), true);
    let _second = Director::start(&lab, 1, &file(&lab, 1));
    let requests = Requests::start(lab.client(0), (VIP, 80).into(), 50);
    until_answered(&requests);
    let objects = Objects::of(first.pid());

    harm::signal(first.pid(), "worker-0", Signal::SIGABRT);
    first.process().wait(SOON);
    until_holds(lab.director(0), false);
    until_holds(lab.director(1), true);
    until_answered(&requests);
    is_gone(lab.director(0), &objects);
}

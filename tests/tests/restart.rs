//! A director is ended and started anew under load: of the flows it remembered only those break that the hash cannot tell
//! again, and how many these are was to be seen before.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use shunt_tests::address::VIP;
use shunt_tests::shown::{self, Explained};
use shunt_tests::{Director, Downloads, Lab, Requests, Service, Tally, WebServer, config, wait};

/// Flows at risk are counted as the table is looked through, which takes 16 s.
const COUNTED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);
const PER_SECOND: u32 = 200;
const DOWNLOADS: usize = 50;
/// In force when the downloads begin, and when the director is ended: one real server has gone, two have come, and one drains.
const BEFORE: [Option<u32>; 6] = [Some(1), Some(1), Some(1), Some(1), None, None];
const AFTER: [Option<u32>; 6] = [Some(1), Some(1), Some(0), None, Some(1), Some(1)];

/// How a director ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Terminated,
    Killed,
}

struct Scene {
    // In the order in which they have to go.
    requests: Requests,
    downloads: Downloads,
    director: Director,
    _servers: Vec<WebServer>,
    lab: Lab,
    scheduler: &'static str,
}

impl Scene {
    #[track_caller]
    fn set(scheduler: &'static str) -> Scene {
        let lab = Lab::builder().real_servers(BEFORE.len()).build();
        let servers = WebServer::on_all(&lab);
        servers.iter().for_each(Downloads::prepare);
        let mut director = Director::start(&lab, 0, &text(&lab, scheduler, &BEFORE));
        let begin = Instant::now();
        let requests = Requests::start(lab.client(0), (VIP, 80).into(), PER_SECOND);
        wait::until(SOON, "an answer", || requests.is_answered_since(begin).then_some(()));
        // Those of a real server that is taken away end with it, whatever becomes of the director.
        let downloads = Downloads::start(lab.client(0), (VIP, 80).into(), DOWNLOADS, &["rs4"]);
        director.reload(&text(&lab, scheduler, &AFTER)).expect("a right configuration");
        for server in [4, 5] {
            shown::until_state(&director, lab.real_server(server).address(), "up");
        }
        downloads.go_on();
        assert_eq!(downloads.broken(), Vec::<String>::new(), "the change itself breaks none");
        Scene { requests, downloads, director, _servers: servers, lab, scheduler }
    }

    /// What is known of the flow of each download.
    #[track_caller]
    fn flows(&self) -> Vec<Explained> {
        let client = self.lab.client(0).address();
        self.downloads
            .ports()
            .into_iter()
            .map(|port| shown::explained(&self.director, client, port))
            .collect()
    }

    /// Ends the director and starts it; on return those who can go on have done so.
    #[track_caller]
    fn restart(&mut self, end: End) {
        match end {
            End::Terminated => assert!(self.director.stop().success()),
            End::Killed => drop(self.director.kill9()),
        }
        self.director.start_again(&text(&self.lab, self.scheduler, &AFTER));
        let now = Instant::now();
        wait::until(SOON, "an answer", || self.requests.is_answered_since(now).then_some(()));
        self.downloads.go_on();
    }
}

fn text(lab: &Lab, scheduler: &str, weights: &[Option<u32>]) -> String {
    let service = Service::tcp(80).with(&format!("scheduler = {scheduler}"));
    config::file(lab, &[service.weighted(lab, weights)])
}

/// With a policy that hashes it is known of each flow whether it will break. `scheduler`: as TOML has it.
#[track_caller]
fn exactly_those_break(end: End, scheduler: &'static str) {
    let mut scene = Scene::set(scheduler);
    let at_risk: BTreeSet<u16> =
        scene.flows().iter().filter(|flow| flow.real != flow.hashed).map(|flow| flow.port).collect();
    assert!((1..DOWNLOADS).contains(&at_risk.len()), "some, not all: {at_risk:?}");
    wait::until(COUNTED, &format!("{} flows at risk", at_risk.len()), || {
        let counted = shown::sum(&scene.director.show("workers"), &["at_risk"]);
        (counted == at_risk.len() as u64).then_some(())
    });
    let from = Instant::now();
    scene.restart(end);
    scene.requests.stop();
    let seen = scene.requests.seen(from, Instant::now());
    let broken = scene.downloads.broken_ports();
    println!(
        "{end:?}: of {DOWNLOADS} downloads {} were at risk, and {} broke; {} of {} requests failed, and for {:?} none was answered",
        at_risk.len(),
        broken.len(),
        seen.failed.len(),
        seen.made,
        seen.gap
    );
    assert_eq!(broken, at_risk, "{:?}\n{}", scene.downloads.broken(), scene.director.log().text());
    assert_eq!(seen.failed, Vec::<String>::new(), "requests wait for an answer");
    Tally::settled(&scene.director).check();
}

#[test]
fn a_restart_breaks_exactly_the_downloads_that_the_hash_cannot_tell_again() {
    exactly_those_break(End::Terminated, r#""maglev""#);
}

#[test]
fn a_crash_and_a_start_break_exactly_the_downloads_that_the_hash_cannot_tell_again() {
    exactly_those_break(End::Killed, "\"mh\"\nscheduler_flags = [\"mh-port\"]");
}

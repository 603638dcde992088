//! Connections outlive a director, both ways round.

use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::failover::{Event, Setup, run};
use shunt_tests::{Director, Lab, Tally, WebServer, expect, shown, wire};

fn setup(scheduler: &'static str) -> Setup {
    let interval = Duration::from_millis(100);
    Setup {
        scheduler: Some(scheduler),
        version: 3,
        interval,
        per_second: 50,
        downloads: 12,
        // On a machine with busy cores flows may be told later than they should.
        rest: Duration::from_secs(2),
    }
}

/// Real servers were added and removed since the downloads began; those that begin while one director is away are unknown
/// to it when it comes back.
fn downloads_outlive(scheduler: &'static str, event: Event) {
    let outcome = run(setup(scheduler), event);
    assert_eq!(outcome.away.downloads, 12);
    assert_eq!(outcome.away.broken, Vec::<String>::new(), "when it went");
    assert_eq!(outcome.back.downloads, 24);
    assert_eq!(outcome.back.broken, Vec::<String>::new(), "when it came back");
    assert_eq!(
        outcome.away.seen.failed,
        Vec::<String>::new(),
        "who asks meanwhile waits, and is not refused"
    );
}

#[test]
fn downloads_outlive_the_crash_of_a_director_that_hashes_and_its_return() {
    downloads_outlive("maglev", Event::Kill);
}

#[test]
fn downloads_outlive_the_crash_of_a_director_that_goes_by_turn_and_its_return() {
    downloads_outlive("rr", Event::Kill);
}

#[test]
fn downloads_outlive_a_pulled_cable_and_its_return() {
    downloads_outlive("maglev", Event::Unplug);
}

#[test]
fn a_backup_forwards_what_a_router_that_has_not_heard_yet_sends_to_it() {
    let lab = Lab::builder().directors(2).real_servers(3).build();
    let _servers = WebServer::on_all(&lab);
    let setup = setup("maglev");
    let [first, second] = [0, 1].map(|n| Director::start(&lab, n, &setup.config(&lab, n, &[0, 1, 2])));
    shown::until_state(&second, lab.real_server(2).address(), "up");
    shunt_tests::wait::until(Duration::from_secs(20), "the first director to be active alone", || {
        let holds = |director: &Director| shunt_tests::peer::holds(director.host(), VIP);
        (holds(&first) && !holds(&second)).then_some(())
    });
    let stale = format!("neigh replace {VIP} lladdr {} nud permanent dev eth0\n", lab.director(1).mac());
    lab.router().ip(&stale);
    assert_eq!(wire::neighbor(lab.router(), VIP), Some(lab.director(1).mac()));
    let before = [Tally::of(&first).tx, Tally::of(&second).tx];
    expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap();
    let after = [Tally::of(&first).tx, Tally::of(&second).tx];
    assert_eq!(after[0], before[0], "nothing came to the one that has the address");
    // A SYN, an ACK, the request, a FIN and its ACK at least, of each.
    assert!(after[1] >= before[1] + 4 * 20, "{before:?} {after:?}");
    assert!(!shunt_tests::peer::holds(second.host(), VIP), "it is a backup still");
}

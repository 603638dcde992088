//! A real server that its check finds well and that real clients cannot use is taken out by what they do: they send
//! their SYN again and again.

use std::time::{Duration, Instant};

use shunt_tests::address::VIP;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::{Director, Lab, Service, WebServer, expect, shown, wait};

const LONG: Duration = Duration::from_secs(120);
/// Long enough for a client to send its SYN a second and a third time, after one and three seconds.
const PATIENCE: Duration = Duration::from_secs(4);
const CLIENTS: usize = 20;

/// As many connections at once as there are threads; how many were made.
fn connections(lab: &Lab) -> usize {
    std::thread::scope(|scope| {
        let connect = || lab.client(0).connect((VIP, 80).into(), PATIENCE).is_ok();
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().expect("no panic"))).sum()
    })
}

#[test]
fn a_real_server_that_only_its_check_can_reach_is_taken_out_and_comes_back() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80)
        .checked(QUICK_CHECK)
        .table("[service.passive]\nfailures = \"50%\"\nwindow = \"10s\"\nminimum = 5\nhold = \"5s\"")
        .all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let address = lab.real_server(0).address();
    // While both are well, nobody is taken out.
    assert_eq!(expect::answered(&lab.client(0).get_many(VIP, 50)).unwrap().len(), 2);
    assert_eq!(shown::real(&director, address)["state"], "up");

    // A firewall that somebody forgot: it drops clients, and no check, not even the one through the VIP, is one.
    lab.real_server(0).feed(
        "nft",
        &["-f", "-"],
        &format!(
            "add table inet forgotten\n\
             add chain inet forgotten input {{ type filter hook input priority 0; }}\n\
             add rule inet forgotten input ip saddr 198.51.100.0/24 ip daddr {VIP} drop\n"
        ),
    );
    let start = Instant::now();
    while shown::real(&director, address)["state"] != "down" {
        assert!(start.elapsed() < LONG, "{:#}", director.show("reals"));
        connections(&lab);
    }
    let row = shown::real(&director, address);
    assert!(row["reason"].is_string(), "it says why: {row:#}");
    let health = director.show("health");
    assert!(health.to_string().contains("\"up\""), "its check still passes: {health:#}");

    // The rule goes; when it has been held out long enough it is tried again, and serves.
    lab.real_server(0).run("nft", &["delete", "table", "inet", "forgotten"]);
    shown::until_state(&director, address, "up");
    wait::until(LONG, "an answer of the first real server", || {
        let answer = lab.client(0).get(VIP);
        (answer.server.as_deref() == Some("rs1")).then_some(())
    });
    assert_eq!(expect::answered(&lab.client(0).get_many(VIP, 50)).unwrap().len(), 2);
    assert_eq!(shown::real(&director, address)["state"], "up");
}

#[test]
fn without_the_option_nobody_is_taken_out() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    lab.real_server(0).feed(
        "nft",
        &["-f", "-"],
        &format!(
            "add table inet forgotten\n\
             add chain inet forgotten input {{ type filter hook input priority 0; }}\n\
             add rule inet forgotten input ip saddr 198.51.100.0/24 ip daddr {VIP} drop\n"
        ),
    );
    for _ in 0..2 {
        let made = connections(&lab);
        assert!(made < CLIENTS, "some clients meet the server that drops");
    }
    assert_eq!(shown::real(&director, lab.real_server(0).address())["state"], "up");
}

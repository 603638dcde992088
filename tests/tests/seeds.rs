//! Set-ups that people run today (`tests/seeds`), on shunt as they are written: configuration, health and scheduling. The
//! addresses are the lab's; times are keepalived's, so these tests take as long as a real failure does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shunt_tests::address::{Segment, VIP};
use shunt_tests::{Director, Lab, Tally, VipHolding, Watch, WebServer, expect, seed, shown, snapshot, wait};

/// What a busy machine may add to the time in which a failure is noticed.
const SLACK: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);

const SEED_0: &[(&str, &str)] =
    &[("192.168.100.20", "192.0.2.10"), ("192.168.100.3", "192.0.2.21"), ("192.168.100.4", "192.0.2.22")];
const SEED_1: &[(&str, &str)] = &[
    ("10.0.0.5", "192.0.2.10"),
    ("10.0.0.3", "192.0.2.21"),
    ("10.0.0.4", "192.0.2.22"),
    ("10.0.0.254", "192.0.2.23"),
];
const SEED_2: &[(&str, &str)] =
    &[("192.168.10.110", "192.0.2.10"), ("192.168.10.103", "192.0.2.21"), ("192.168.10.104", "192.0.2.22")];

/// Waits until real server `n` is in this state; how long that took.
#[track_caller]
fn time_until(lab: &Lab, director: &Director, n: usize, state: &str, deadline: Duration) -> Duration {
    let (begin, address) = (Instant::now(), lab.real_server(n).address());
    wait::until(deadline, &format!("real server {} to be {state}", n + 1), || {
        (shown::real(director, address)["state"] == state).then_some(())
    });
    begin.elapsed()
}

fn shares(lab: &Lab, client: usize, count: usize) -> BTreeMap<String, usize> {
    expect::answered(&lab.client(client).get_many(VIP, count)).unwrap()
}

/// A director that is alone, and has taken over.
#[track_caller]
fn active(director: Director) -> Director {
    wait::until(Duration::from_secs(20), "the VIP to be held", || {
        director.log().text().contains("Sending gratuitous ARP on").then_some(())
    });
    director
}

#[test]
fn seed_0_a_web_farm_with_round_robin_and_tcp_checks() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    host.ip("link set eth0 name enp5s0f0\n");
    // The VIP was there before, left over or put there by hand.
    host.add_address(VIP, "enp5s0f0");
    let text = seed::text("0-lvs-dr-centos/reconstructed.conf", SEED_0);
    let mut director = active(Director::start(&lab, 0, &text));
    let half = BTreeMap::from([("rs1".to_owned(), 10), ("rs2".to_owned(), 10)]);
    let watch = Watch::start(&lab, 0);
    assert_eq!(shares(&lab, 0, 20), half, "round robin");
    watch.stop().check();

    shown::until_probed(&director, 1);
    servers[0].stop();
    // delay_loop 6, retry 1, a second before it: the port refuses.
    let took = time_until(&lab, &director, 0, "down", Duration::from_secs(7) + SLACK);
    assert_eq!(shares(&lab, 0, 20), BTreeMap::from([("rs2".to_owned(), 20)]), "after {took:?}");
    servers[0].start_again();
    time_until(&lab, &director, 0, "up", Duration::from_secs(6) + SLACK);
    assert_eq!(shares(&lab, 0, 20), half);

    assert!(director.stop().success());
    for _ in 0..3 {
        director.start_again(&text);
        assert!(director.stop().success());
    }
    assert!(
        !snapshot::has(host, "enp5s0f0", VIP),
        "whoever put it there: it is a virtual router's, as with keepalived"
    );
}

#[test]
fn seed_1_as_it_was_published_is_refused_with_what_is_wrong() {
    let lab = Lab::builder().build();
    let published = seed::text("1-lvs-keepalived-dsr/lb1.keepalived.conf", SEED_1);
    let listing = Director::try_start(&lab, 0, &seed::numbered(&published)).err().expect("it is a listing");
    assert!(listing.log.contains("numbered listing pasted from a web page"), "{}", listing.log);
    assert_eq!(listing.log.matches(" error: ").count(), 1, "{}", listing.log);
    let typo = Director::try_start(&lab, 0, &published).err().expect("it has a typo");
    assert!(typo.log.contains("virtusl_server") && typo.log.contains("virtual_server"), "{}", typo.log);
    assert_eq!(typo.log.matches(" error: ").count(), 1, "one for the whole block: {}", typo.log);
    assert!(!snapshot::has(lab.director(0), "eth0", VIP), "nothing was applied");
}

#[test]
fn seed_1_with_its_typo_corrected_keeps_clients_together_and_says_sorry() {
    let lab = Lab::builder().clients(4).real_servers(3).vip_holding(VipHolding::NatRedirect).build();
    let mut servers = WebServer::on_all(&lab);
    let published = seed::text("1-lvs-keepalived-dsr/lb1.keepalived.conf", SEED_1);
    let director = active(Director::start(&lab, 0, &published.replace("virtusl_server", "virtual_server")));
    let warned = director.log().text();
    for what in ["nopreempt", "nb_get_retry", "`;`"] {
        assert!(warned.contains(what), "a warning about {what}: {warned}");
    }

    // Four clients, ten connections each: each stays where it is, and they are shared out evenly.
    let of_clients: Vec<_> = (0..4).map(|client| shares(&lab, client, 10)).collect();
    let mut clients = BTreeMap::new();
    for shares in &of_clients {
        assert_eq!(shares.len(), 1, "a client stays: {of_clients:?}");
        *clients.entry(shares.keys().next().unwrap().clone()).or_insert(0) += 1;
    }
    assert_eq!(clients, BTreeMap::from([("rs1".to_owned(), 2), ("rs2".to_owned(), 2)]));

    shown::until_probed(&director, 1);
    servers[0].stop();
    // delay_loop 6, three retries, three seconds apart: the port refuses.
    time_until(&lab, &director, 0, "down", Duration::from_secs(15) + SLACK);
    let row = shown::real(&director, lab.real_server(0).address());
    assert_eq!((&row["effective_weight"], &row["keeps_flows"]), (&0.into(), &true.into()), "{row:#}");
    // Its clients are forgotten at once, and served.
    for client in 0..4 {
        assert_eq!(shares(&lab, client, 3), BTreeMap::from([("rs2".to_owned(), 3)]));
    }

    servers[1].stop();
    let sorry = lab.real_server(2).address();
    wait::until(Duration::from_secs(15) + SLACK, "the sorry server", || {
        (shown::real(&director, sorry)["state"] == "up").then_some(())
    });
    assert!(director.log().text().contains("Lost quorum 1-0=1 > 0 for VS [192.0.2.10]:tcp:80"));
    for client in 0..4 {
        assert_eq!(shares(&lab, client, 3), BTreeMap::from([("rs3".to_owned(), 3)]));
    }
    servers[1].start_again();
    time_until(&lab, &director, 1, "up", Duration::from_secs(6) + SLACK);
    wait::until(SOON, "the sorry server to stand by", || {
        (shown::real(&director, sorry)["state"] == "down").then_some(())
    });
    for client in 0..4 {
        assert_eq!(shares(&lab, client, 3), BTreeMap::from([("rs2".to_owned(), 3)]));
    }
    Tally::settled(&director).check();
}

#[test]
fn seed_1_a_host_that_falls_silent_is_found_out_in_time() {
    let lab = Lab::builder().real_servers(3).build();
    let _servers = WebServer::on_all(&lab);
    let published = seed::text("1-lvs-keepalived-dsr/lb2.keepalived.conf", SEED_1);
    let director = active(Director::start(&lab, 0, &published.replace("virtusl_server", "virtual_server")));
    shares(&lab, 0, 2);
    shown::until_probed(&director, 1);
    lab.unplug(lab.real_server(0), Segment::Lan);
    // delay_loop 6, four attempts of 3 s, three gaps of 3 s.
    time_until(&lab, &director, 0, "down", Duration::from_secs(27) + SLACK);
    assert_eq!(shares(&lab, 0, 10), BTreeMap::from([("rs2".to_owned(), 10)]));
}

#[test]
fn seed_2_a_group_an_include_and_a_health_page() {
    let lab = Lab::builder().build();
    let servers = WebServer::on_all(&lab);
    let page = |n: usize| servers[n].file("health_check.html", 10, 1);
    let pages = [page(0), page(1)];
    let text = seed::text("2-lvs-dsr-lab/keepalived.conf", &SEED_2[..1]);
    let web = seed::text("2-lvs-dsr-lab/web_servers.conf", SEED_2);
    let mut director =
        active(Director::start_with(&lab, 0, &[("keepalived.conf", &text), ("web_servers.conf", &web)]));
    let half = BTreeMap::from([("rs1".to_owned(), 10), ("rs2".to_owned(), 10)]);
    assert_eq!(shares(&lab, 0, 20), half, "weighted round robin, 1:1");

    shown::until_probed(&director, 1);
    std::fs::remove_file(&pages[0]).unwrap();
    // delay_loop 3, one retry after 3 s: status 404.
    time_until(&lab, &director, 0, "down", Duration::from_secs(6) + SLACK);
    let why = shown::real(&director, lab.real_server(0).address())["reason"].to_string();
    assert!(why.contains("404"), "{why}");
    assert_eq!(shares(&lab, 0, 10), BTreeMap::from([("rs2".to_owned(), 10)]));
    page(0);
    time_until(&lab, &director, 0, "up", Duration::from_secs(3) + SLACK);

    // The included file changes: three quarters for one of them.
    let included = director.config().with_file_name("web_servers.conf");
    let second = web.rfind("weight 1").unwrap();
    let changed = format!("{}weight 3{}", &web[..second], &web[second + "weight 1".len()..]);
    std::fs::write(&included, changed).unwrap();
    director.reload(&text).unwrap();
    assert_eq!(
        shares(&lab, 0, 20),
        BTreeMap::from([("rs1".to_owned(), 5), ("rs2".to_owned(), 15)]),
        "weighted round robin, 1:3"
    );

    // Without it nothing is changed.
    std::fs::remove_file(&included).unwrap();
    director.reload(&text).expect_err("a file is missing");
    director.process().wait_for_line("web_servers.conf does not exist", SOON);
    assert_eq!(shares(&lab, 0, 20).len(), 2);

    lab.unplug(lab.real_server(1), Segment::Lan);
    // delay_loop 3, two attempts of 3 s, 3 s between them.
    time_until(&lab, &director, 1, "down", Duration::from_secs(12) + SLACK);
    assert_eq!(shares(&lab, 0, 10), BTreeMap::from([("rs1".to_owned(), 10)]));
}

//! IPv6 throughout: all that `forwarding.rs` shows of IPv4, and both families side by side.

use std::time::Duration;

use shunt_tests::address::{VIP, VIP6};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::expect::{self, Shares};
use shunt_tests::{
    Director, Lab, LabBuilder, Service, Tally, VipHolding, Watch, WebServer, echo, payload, shown,
};

const SOON: Duration = Duration::from_secs(60);
const ECHO: u16 = 7;

/// A web service and an echo service, of both families.
fn services(lab: &Lab) -> [Service; 4] {
    [
        Service::tcp(80).checked(QUICK_CHECK).all(lab),
        Service::tcp(80).on(VIP6).checked(QUICK_CHECK).all(lab),
        Service::udp(ECHO).all(lab),
        Service::udp(ECHO).on(VIP6).all(lab),
    ]
}

/// Requests and datagrams through the VIPs of both families, and everything that must hold of them.
fn both_families(lab: LabBuilder) {
    const REQUESTS: usize = 60;
    let lab = lab.clients(2).real_servers(3).ipv6().build();
    let _servers = WebServer::on_all(&lab);
    let echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, ECHO)).collect();
    let watch = Watch::start(&lab, 0);
    let director = Director::start(&lab, 0, &config::file(&lab, &services(&lab)));

    for vip in [VIP6, VIP] {
        let mut shares = Shares::new();
        for client in lab.clients() {
            for (server, count) in expect::answered(&client.get_many(vip, REQUESTS)).unwrap() {
                *shares.entry(server).or_default() += count;
            }
        }
        assert_eq!(shares.values().sum::<usize>(), 2 * REQUESTS);
        assert_eq!(shares.len(), 3, "each real server has a share: {shares:?}");
        for n in 0..20 {
            let question = format!("datagram {n}");
            let answer = echo::ask(lab.client(n % 2), (vip, ECHO).into(), &question, SOON).unwrap();
            assert!(answer.starts_with("rs") && answer.ends_with(&format!(" {question}")), "{answer}");
        }
    }
    assert_eq!(echoes.iter().map(echo::Echo::answered).sum::<usize>(), 40);

    let tally = Tally::settled(&director);
    assert_eq!(tally.refused(), 0, "{tally:#?}");
    assert!(tally.completed > 0, "clients leave checksums to hardware that is not there: {tally:#?}");
    let seen = watch.stop();
    assert_eq!(tally.tx, seen.check() as u64, "what shunt says that it sent was on the cable");
    for vip in [VIP6, VIP] {
        assert!(expect::asked_for(&seen.arp, vip), "{vip}");
        assert!(seen.owner_answers_arp(vip).unwrap() > 0, "{vip}");
    }
}

#[test]
fn clients_of_both_families_are_served_side_by_side() {
    both_families(Lab::builder());
}

#[test]
fn clients_of_both_families_are_served_where_real_servers_redirect_by_nat() {
    both_families(Lab::builder().vip_holding(VipHolding::NatRedirect));
}

#[test]
fn clients_of_both_families_are_served_by_a_director_with_two_legs() {
    both_families(Lab::builder().two_legged());
}

#[test]
fn clients_of_both_families_are_served_by_two_workers() {
    both_families(Lab::builder().queues(2));
}

#[test]
fn a_large_download_over_ipv6_arrives_whole_and_past_the_director() {
    const BYTES: u64 = 48 << 20;
    let lab = Lab::builder().ipv6().build();
    let servers = WebServer::on_all(&lab);
    let digests: Vec<_> =
        servers.iter().map(|server| payload::digest(&server.file("big", BYTES, 6))).collect();
    let _director = Director::start(&lab, 0, &config::file(&lab, &services(&lab)));
    // What must not be: an answer that crosses the director's port.
    // (One to the director itself answers a check.)
    let filter = format!("src host {VIP6} and tcp and not dst host {}", lab.director(0).address6());
    let answers = lab.capture(lab.director(0).port(), &filter);
    let file = lab.file("big");
    let mut download = lab.client(0).download(VIP6, "/big", &file, None);
    assert!(download.wait(SOON).success(), "{}", download.log().text());
    assert_eq!(payload::digest(&file), digests[0]);
    let crossing = answers.stop();
    assert!(crossing.is_empty(), "{crossing:#?}");
}

#[test]
fn an_upload_over_ipv6_arrives_whole() {
    let lab = Lab::builder().ipv6().build();
    let servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &services(&lab)));
    let file = lab.file("up");
    payload::write(&file, 24 << 20, 7).expect("there is room for it");
    let mut upload = lab.client(0).upload(VIP6, &file, "kept", None);
    assert!(upload.wait(SOON).success(), "{}", upload.log().text());
    let kept: Vec<_> = servers.iter().filter_map(|server| server.uploaded("kept")).collect();
    assert!(matches!(&kept[..], [path] if payload::digest(path) == payload::digest(&file)), "{kept:?}");
    let tally = Tally::settled(&director);
    assert_eq!(tally.refused(), 0, "{tally:#?}");
}

#[test]
fn a_real_server_that_dies_is_taken_out_by_its_check_over_ipv6_and_comes_back() {
    let lab = Lab::builder().ipv6().build();
    let mut servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).on(VIP6).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let serving = || expect::answered(&lab.client(0).get_many(VIP6, 60)).unwrap();
    assert_eq!(serving().len(), 2);
    let address = lab.real_server(0).address6();
    servers[0].kill9();
    shown::until_state(&director, address, "down");
    assert_eq!(serving(), Shares::from([("rs2".to_owned(), 60)]));
    servers[0].start_again();
    shown::until_state(&director, address, "up");
    assert_eq!(serving().len(), 2);
}

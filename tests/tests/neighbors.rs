//! The real servers as the director knows them: their MAC addresses, their health, and the link to them. Each changes,
//! and the traffic follows.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::address::{Mac, Segment, VIP};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::tally::list;
use shunt_tests::{Director, Lab, Service, Tally, Watch, WebServer, craft, expect, wait};

const SOON: Duration = Duration::from_secs(30);

/// What `shunt show reals` says of the real server at `address`.
fn real(director: &Director, address: IpAddr) -> Value {
    let view = director.show("reals");
    let address = address.to_string();
    let found = list(&view["reals"]).iter().find(|real| real["address"] == address.as_str());
    found.unwrap_or_else(|| panic!("no {address} in {view:#}")).clone()
}

/// Waits until what is said of it pleases `wanted`.
#[track_caller]
fn until_real(director: &Director, address: IpAddr, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait::until(SOON, &format!("{address} to {what}"), || {
        Some(real(director, address)).filter(|real| wanted(real))
    })
}

/// A hundred requests, and who answers them.
#[track_caller]
fn serves(lab: &Lab, servers: usize) {
    let shares = expect::answered(&lab.client(0).get_many(VIP, 100)).unwrap();
    assert_eq!(shares.len(), servers, "{shares:?}");
}

#[test]
fn a_real_server_that_nobody_is_gets_nothing_and_the_reason_is_shown() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let nobody: IpAddr = Ipv4Addr::new(192, 0, 2, 99).into();
    let service = Service::tcp(80).all(&lab).real(nobody, 100);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let row =
        until_real(&director, nobody, "be down", |real| real["reason"] == "does not answer ARP on eth0");
    assert_eq!((&row["state"], &row["mac"]), (&Value::from("down"), &Value::Null));
    // With its weight it would have nearly every flow.
    serves(&lab, 2);
    assert!(director.ask(&["show", "reals"]).expect("it runs").contains("does not answer ARP on eth0"));

    // It turns up.
    lab.real_server(0).ip("addr add 192.0.2.99/24 dev eth0\n");
    until_real(&director, nobody, "be up", |real| real["state"] == "up");
}

const NEW_MAC: Mac = Mac([0x02, 0, 0, 0, 0xe9, 0x21]);

#[test]
fn traffic_follows_a_mac_address_that_is_announced() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    serves(&lab, 2);
    let server = lab.real_server(0);
    server.ip(&format!("link set eth0 address {NEW_MAC}\n"));
    let IpAddr::V4(address) = server.address() else { unreachable!("the lab speaks IPv4") };
    let announcement = craft::arp_announcement(NEW_MAC, address);
    let socket = server.packet_socket();
    until_real(&director, server.address(), "have its new MAC address", |real| {
        // Again and again: within a second of the last change the kernel ignores it (`locktime` in arp(7)).
        socket.send(&announcement);
        real["mac"] == NEW_MAC.to_string().as_str()
    });
    let log = director.log().text();
    assert!(
        log.contains("192.0.2.21 has another MAC address: 02:00:00:00:e0:21 before, 02:00:00:00:e9:21 now"),
        "{log}"
    );
    let watch = Watch::start(&lab, 0);
    serves(&lab, 2);
    let mut seen = watch.stop();
    seen.cast.real_servers[0] = NEW_MAC;
    seen.check();
}

#[test]
fn traffic_follows_a_mac_address_that_nobody_announces() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    serves(&lab, 2);
    let server = lab.real_server(0);
    server.ip(&format!("link set eth0 address {NEW_MAC}\n"));
    // Its checks fail, which makes the director ask for it anew.
    until_real(&director, server.address(), "be up at its new MAC address", |real| {
        real["state"] == "up" && real["mac"] == NEW_MAC.to_string().as_str()
    });
    serves(&lab, 2);
}

#[test]
fn flushing_the_neighbours_again_and_again_loses_no_request() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let done = AtomicBool::new(false);
    let flushes = std::thread::scope(|scope| {
        let flusher = scope.spawn(|| {
            let mut flushes = 0;
            // Relaxed: the flag orders nothing else.
            while !done.load(Ordering::Relaxed) {
                lab.director(0).run("ip", &["neighbour", "flush", "dev", "eth0"]);
                flushes += 1;
            }
            flushes
        });
        // In small portions: if requests fail, the test does so soon.
        let failed = (0..50).find_map(|_| expect::answered(&lab.client(0).get_many(VIP, 10)).err());
        done.store(true, Ordering::Relaxed);
        let flushes = flusher.join().expect("flushing works");
        assert!(failed.is_none(), "{failed:?}");
        flushes
    });
    assert!(flushes >= 10, "{flushes}");
    let tally = Tally::settled(&director);
    tally.check();
    assert_eq!(tally.refused(), 0, "{tally:#?}");
    let log = director.log().text();
    assert!(!log.contains("is down"), "nobody was ever down:\n{log}");
}

#[test]
fn a_stopped_service_is_down_after_its_checks_and_up_again_when_it_is_back() {
    const INTERVAL: Duration = Duration::from_millis(300);
    const TIMEOUT: Duration = Duration::from_millis(200);
    const FALL: u32 = 3;
    const CHECK: &str = r#"{ type = "tcp", interval = "300ms", timeout = "200ms", rise = 2, fall = 3 }"#;
    // For `shunt show`, and for cores that compile something else.
    const SLACK: Duration = Duration::from_secs(3);
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    serves(&lab, 2);
    let address = lab.real_server(0).address();

    let stopped = Instant::now();
    servers[0].stop();
    let row = until_real(&director, address, "be down", |real| real["state"] == "down");
    let took = stopped.elapsed();
    assert!(row["reason"].as_str().expect("a reason").contains("check failed: "), "{row:#}");
    assert!(took < INTERVAL * FALL + TIMEOUT + SLACK, "{took:?}");
    // One failure is not enough: three are two intervals apart, or a little less if the first was late.
    assert!(took > INTERVAL, "{took:?}");
    serves(&lab, 1);
    let health = director.show("health");
    let check =
        list(&health["health"]).iter().find(|row| row["address"] == address.to_string()).expect("its check");
    assert_eq!(check["status"], "down");

    servers[0].start_again();
    let back = Instant::now();
    until_real(&director, address, "be up", |real| real["state"] == "up");
    assert!(back.elapsed() < INTERVAL * 2 + TIMEOUT + SLACK, "{:?}", back.elapsed());
    serves(&lab, 2);
}

#[test]
fn a_director_forwards_again_when_its_interface_is_up_again() {
    let lab = Lab::builder().queues(2).build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let host = lab.director(0);
    let address = lab.real_server(0).address();
    serves(&lab, 2);

    host.ip("link set eth0 down\n");
    until_real(&director, address, "be down", |real| real["reason"] == "eth0 is down");
    host.ip("link set eth0 up\n");
    let all_up = || {
        lab.real_servers().for_each(|server| {
            until_real(&director, server.address(), "be up", |real| real["state"] == "up");
        })
    };
    all_up();
    serves(&lab, 2);

    // The cable is pulled and plugged in again.
    lab.unplug(host, Segment::Lan);
    until_real(&director, address, "be down", |real| real["reason"] == "eth0 has no carrier");
    lab.plug(host, Segment::Lan);
    all_up();
    serves(&lab, 2);
    Tally::settled(&director).check();
}

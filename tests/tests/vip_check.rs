//! Checks through the VIP, in the lab: what is wrong on a real server is found out, named in words, and forgotten when it is
//! mended, while the server's own check sees nothing of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::address::{VIP, VIP6};
use shunt_tests::config;
use shunt_tests::tally::list;
use shunt_tests::{Director, Host, Lab, Service, VipHolding, Watch, WebServer, expect, shown, wait};

const SOON: Duration = Duration::from_secs(20);
const CHECK: &str = r#"{ type = "tcp", interval = "1s", timeout = "400ms", rise = 1, fall = 3 }"#;
/// A fault is found within the interval of the check, and a round that looks into it; half of this is for a busy machine.
const FOUND_WITHIN: Duration = Duration::from_secs(1 + 2);

/// The row of the check through the VIP of the real server at `address`.
#[track_caller]
fn row(director: &Director, address: IpAddr) -> Value {
    let view = director.show("health");
    let address = address.to_string();
    let rows = list(&view["health"]).iter();
    let mut found = rows.filter(|row| row["type"] == "vip" && row["address"] == address.as_str());
    found.next().unwrap_or_else(|| panic!("no check through the VIP of {address} in {view:#}")).clone()
}

/// Waits for a fault that was made at this moment.
#[track_caller]
fn until_fault(director: &Director, address: IpAddr, fault: &str, made: Instant) -> Value {
    let row = wait::until(SOON, &format!("{address} to be found with {fault}"), || {
        Some(row(director, address)).filter(|row| row["fault"] == fault)
    });
    assert!(made.elapsed() < FOUND_WITHIN, "{fault} was found {:?} after it was made", made.elapsed());
    row
}

#[track_caller]
fn until_well(director: &Director, address: IpAddr) {
    wait::until(SOON, &format!("{address} to be well"), || {
        let row = row(director, address);
        (row["status"] == "up" && row["fault"].is_null()).then_some(())
    });
    shown::until_state(director, address, "up");
}

/// The words and the remedy say this; the server is out for it, though its own check passes; then it is mended.
#[track_caller]
fn found_and_mended(
    director: &Director,
    address: IpAddr,
    fault: &str,
    words: [&str; 2],
    make: impl FnOnce(),
    mend: impl FnOnce(),
) {
    let made = Instant::now();
    make();
    let row = until_fault(director, address, fault, made);
    assert_eq!(row["status"], "down", "{row:#}");
    for (key, words) in ["diagnosis", "remedy"].iter().zip(words) {
        assert!(row[key].as_str().unwrap().contains(words), "{row:#}");
    }
    shown::until_state(director, address, "down");
    let reason = shown::real(director, address)["reason"].clone();
    assert_eq!(reason.as_str(), Some(&*format!("VIP check failed: {}", row["diagnosis"].as_str().unwrap())));
    let checks = director.show("health");
    let mut own = list(&checks["health"]).iter().filter(|row| row["type"] == "tcp");
    assert!(own.all(|row| row["status"] == "up"), "{checks:#}");
    mend();
    until_well(director, address);
}

fn drop_at(host: &Host, family: &str, vip: IpAddr) {
    let rules = format!(
        "add table inet forgotten\n\
         add chain inet forgotten input {{ type filter hook input priority 0; }}\n\
         add rule inet forgotten input {family} daddr {vip} tcp dport 80 drop\n"
    );
    host.feed("nft", &["-f", "-"], &rules);
}

#[test]
fn what_an_own_check_cannot_see_takes_the_server_out_and_names_the_fault() {
    let lab = Lab::builder().ipv6().build();
    let _servers = WebServer::on_all(&lab);
    let first = lab.real_server(0);
    // Whatever the director's kernel thinks of the answers: a reset from it to a VIP would pass here.
    let resets = lab.capture("br-lan", "tcp[tcpflags] & tcp-rst != 0 and src host 192.0.2.2 and ip[8] > 2");
    let resets6 =
        lab.capture("br-lan", "ip6[53] & 4 != 0 and ip6[6] == 6 and src host 2001:db8:2::2 and ip6[7] > 2");
    let services = [VIP, VIP6].map(|vip| Service::tcp(80).on(vip).checked(CHECK).all(&lab));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    for (vip, address, family) in [(VIP, first.address(), "ip"), (VIP6, first.address6(), "ip6")] {
        until_well(&director, address);
        let missing = format!("{address} does not have {vip}");
        let add = format!("ip addr add {vip}/");
        let words = [&*missing, &*add];
        found_and_mended(
            &director,
            address,
            "vip_missing",
            words,
            || first.remove_address(vip, "lo"),
            || first.add_address(vip, "lo"),
        );
        // Clients are served by the other meanwhile, and by both now.
        let words = ["drops port 80", "nft list ruleset"];
        found_and_mended(
            &director,
            address,
            "filtered",
            words,
            || drop_at(first, family, vip),
            || drop(first.run("nft", &["delete", "table", "inet", "forgotten"])),
        );
    }
    let log = director.log().text();
    assert!(log.contains("does not have 192.0.2.10; run there: ip addr add 192.0.2.10/32 dev lo"), "{log}");
    for seen in [resets.stop(), resets6.stop()] {
        // Its own checks at a real server's address end so; none may go to a VIP.
        let to_vip: Vec<_> =
            seen.iter().filter(|frame| [VIP, VIP6].iter().any(|vip| frame.is_to(*vip))).collect();
        assert!(to_vip.is_empty(), "{to_vip:#?}");
    }
}

#[test]
fn who_answers_arp_for_the_vip_is_reported_and_goes_on_serving() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (first, address) = (lab.real_server(0), lab.real_server(0).address());
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(CHECK).all(&lab)]));
    until_well(&director, address);
    let made = Instant::now();
    first.sysctl(&[("ipv4.conf.all.arp_ignore", "0")]);
    let row = until_fault(&director, address, "answers_arp", made);
    assert_eq!(row["status"], "up");
    assert!(row["remedy"].as_str().unwrap().contains("arp_ignore=1"), "{row:#}");
    assert_eq!(shown::real(&director, address)["state"], "up");
    first.sysctl(&[("ipv4.conf.all.arp_ignore", "1")]);
    until_well(&director, address);
}

#[test]
fn a_server_that_listens_elsewhere_is_told_from_one_that_is_stopped() {
    let lab = Lab::builder().build();
    let mut servers = WebServer::on_all(&lab);
    let (first, address) = (lab.real_server(0), lab.real_server(0).address());
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(CHECK).all(&lab)]));
    until_well(&director, address);
    let made = Instant::now();
    servers[0].stop();
    until_fault(&director, address, "port_closed", made);
    shown::until_state(&director, address, "down");
    assert!(shown::real(&director, address)["reason"].as_str().unwrap().starts_with("check failed"));
    let made = Instant::now();
    let elsewhere = first.enter(|| std::net::TcpListener::bind((address, 80)).unwrap());
    until_fault(&director, address, "port_closed_on_vip", made);
    drop(elsewhere);
    servers[0].start_again();
    until_well(&director, address);
}

#[test]
fn a_redirecting_server_is_well_and_clients_frames_are_untouched_by_the_checks() {
    let lab = Lab::builder().vip_holding(VipHolding::NatRedirect).build();
    let _servers = WebServer::on_all(&lab);
    let watch = Watch::start(&lab, 0);
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(CHECK).all(&lab)]));
    for server in lab.real_servers() {
        until_well(&director, server.address());
    }
    assert_eq!(expect::answered(&lab.client(0).get_many(VIP, 50)).unwrap().len(), 2);
    watch.stop().check();
}

#[test]
fn a_pulled_cable_a_narrow_one_and_another_mac_address_are_told_apart() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (first, address) = (lab.real_server(0), lab.real_server(0).address());
    let segment = lab.server_segment();
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(CHECK).all(&lab)]));
    until_well(&director, address);
    let made = Instant::now();
    lab.set_mtu(first, segment, 1400);
    let row = until_fault(&director, address, "mtu_too_small", made);
    assert!(row["diagnosis"].as_str().unwrap().contains("1500 bytes"), "{row:#}");
    shown::until_state(&director, address, "down");
    lab.set_mtu(first, segment, 1500);
    until_well(&director, address);
    let made = Instant::now();
    lab.unplug(first, segment);
    until_fault(&director, address, "host_dead", made);
    shown::until_state(&director, address, "down");
    lab.plug(first, segment);
    until_well(&director, address);
}

#[test]
fn a_fault_is_a_metric() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let (first, address) = (lab.real_server(0), lab.real_server(0).address());
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(CHECK).all(&lab)]));
    until_well(&director, address);
    let line = format!(
        "shunt_vip_fault{{service=\"192.0.2.10:80/tcp\",real_server=\"{address}\",fault=\"vip_missing\"}} 1"
    );
    let metrics = || director.show("metrics").as_str().expect("a text").to_owned();
    assert!(!metrics().contains("shunt_vip_fault{"), "{}", metrics());
    first.remove_address(VIP, "lo");
    wait::until(SOON, &line, || metrics().contains(&line).then_some(()));
}

//! What the machine is like when shunt starts: what is in the way, what is out of date, what is probably not meant.

use std::time::Duration;

use shunt_tests::address::{VIP, vip};
use shunt_tests::{Director, Lab, Service, WebServer, config, expect, snapshot, wait};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_mac_address_that_nobody_confirmed_lately_is_asked_for_anew() {
    let lab = Lab::builder().real_servers(1).build();
    let _servers = WebServer::on_all(&lab);
    let host = lab.director(0);
    let address = lab.real_server(0).address();
    // Another machine had the address some time ago.
    host.ip(&format!("neigh replace {address} lladdr 02:00:00:00:99:99 nud stale dev eth0\n"));
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let shares = expect::answered(&lab.client(0).get_many(VIP, 5)).unwrap();
    assert_eq!(shares["rs1"], 5);
    assert_eq!(director.show("reals")["reals"][0]["mac"], lab.real_server(0).mac().to_string());
}

#[test]
fn a_start_that_fails_half_way_takes_back_the_vips_it_added() {
    let lab = Lab::builder().vips(2).build();
    let host = lab.director(0);
    // The kernel refuses a second address that differs only in its peer: the second VIP cannot be added.
    host.ip(&format!("address add 203.0.113.5 peer {}/32 dev eth0 scope link\n", vip(1)));
    let before = snapshot::of(host);
    let services = [Service::tcp(80).all(&lab), Service::tcp(80).on(vip(1)).all(&lab)];
    let failure =
        Director::try_start(&lab, 0, &config::file(&lab, &services)).err().expect("it cannot start");
    assert_eq!(failure.status.code(), Some(1), "{}", failure.log);
    assert!(failure.log.contains(&vip(1).to_string()), "{}", failure.log);
    wait::until(SOON, "everything to be as before", || (snapshot::of(host) == before).then_some(()));
}

#[test]
fn a_vip_that_is_the_machines_own_address_is_pointed_out() {
    let lab = Lab::builder().build();
    let own = lab.director(0).address();
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(2222).on(own).all(&lab)]));
    let log = director.log().text();
    assert!(
        log.contains("warning: service.vip") && log.contains("own address on eth0: tcp port 2222"),
        "{log}"
    );
}

#[test]
fn the_routers_address_and_a_broadcast_address_are_refused_as_vips() {
    let lab = Lab::builder().build();
    // The way to the clients: a director has one if it is to be reached by its own address.
    lab.director(0).ip("route replace 198.51.100.0/24 via 192.0.2.1\n");
    let services =
        ["192.0.2.1", "192.0.2.255"].map(|vip| Service::tcp(80).on(vip.parse().unwrap()).all(&lab));
    let failure = Director::try_start(&lab, 0, &config::file(&lab, &services)).err().expect("it is refused");
    assert_eq!(failure.status.code(), Some(1));
    for message in ["192.0.2.1 is a router", "192.0.2.255 is the broadcast address of 192.0.2.2/24"] {
        assert!(failure.log.contains(message), "{}", failure.log);
    }
}

//! VRRP over IPv6: adverts from link-local addresses, neighbour advertisements where IPv4 has gratuitous ARP.

use std::net::IpAddr;

use shunt_tests::address::{VIP, VIP6};
use shunt_tests::peer::{Peer, each_way, until_only_holds};
use shunt_tests::vrrp::{Advert, GROUP6};
use shunt_tests::wire::{self, Listener, Wire};
use shunt_tests::{Instance, Lab, wait};

#[test]
fn ipv6_hands_over_in_order_and_after_a_crash() {
    each_way(|pair| {
        let lab = Lab::builder().directors(2).real_servers(0).ipv6().build();
        let local: IpAddr = "fe80::10".parse().unwrap();
        let config = |priority| {
            let addresses = vec![local.to_string(), format!("{VIP6}/64")];
            Instance { addresses, ..Instance::fast(priority) }.to_string()
        };
        let configs = [config(150), config(100)];
        let wire = Wire::tap(&lab);
        let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        until_only_holds(&peers, 0, VIP6);
        until_only_holds(&peers, 0, local);
        lab.client(0).run("ping", &["-6", "-c", "1", "-W", "5", &VIP6.to_string()]);
        Listener::open(&lab).wait_for(lab.director(0), 3);
        let first = wire.stop();
        let mac = lab.director(0).mac();
        let good = Advert { interval: 20, ..Advert::new(3, mac, mac.link_local(), 51, 150) };
        let good = good.of(&[local, VIP6]);
        assert_eq!(good.destination, GROUP6);
        for heard in first.of(lab.director(0)) {
            assert_eq!(Advert { destination_mac: None, ..heard.advert.clone() }, good);
        }
        assert_eq!(first.announced(VIP6).len(), 5, "{:?}", first.announced(VIP6));
        assert!(first.announced(local).iter().all(|(_, at)| *at == mac));

        let wire = Wire::tap(&lab);
        let listener = Listener::open(&lab);
        peers[0].stop();
        listener.wait_for_stop(lab.director(0));
        until_only_holds(&peers, 1, VIP6);
        wait::until(std::time::Duration::from_secs(10), "the router to hear where the VIP is", || {
            (wire::neighbor(lab.router(), VIP6) == Some(lab.director(1).mac())).then_some(())
        });
        let in_order = wire.stop();
        assert!(in_order.announced(VIP6).iter().any(|(_, at)| *at == lab.director(1).mac()));
        peers[0].start_again(&configs[0]);
        until_only_holds(&peers, 0, VIP6);
        peers[0].kill9();
        peers[1].until_holding(VIP6, true);
        lab.client(0).run("ping", &["-6", "-c", "1", "-W", "5", &VIP6.to_string()]);
    });
}

#[test]
fn both_families_have_a_router_each_under_one_number() {
    each_way(|pair| {
        let lab = Lab::builder().directors(2).real_servers(0).ipv6().build();
        let config = |priority| {
            let six = Instance {
                name: "VI_6".to_owned(),
                addresses: vec!["fe80::10".to_owned(), VIP6.to_string()],
                ..Instance::fast(priority)
            };
            format!("{}{six}", Instance::fast(priority))
        };
        let configs = [config(150), config(100)];
        let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        for vip in [VIP, VIP6] {
            until_only_holds(&peers, 0, vip);
        }
        peers[0].stop();
        for vip in [VIP, VIP6] {
            until_only_holds(&peers, 1, vip);
        }
    });
}

//! Adverts to peers by name, where a network carries no multicast.

use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::peer::{Peer, each_way, until_only};
use shunt_tests::vrrp::{Advert, Sum};
use shunt_tests::wire::Wire;
use shunt_tests::{Instance, Lab, wait};

fn lab() -> Lab {
    Lab::builder().directors(2).real_servers(0).build()
}

#[test]
fn unicast_goes_to_the_peer_alone_and_hands_over() {
    each_way(|pair| {
        let lab = lab();
        let [first, second] = [0, 1].map(|n| lab.director(n).address());
        for (version, base) in [(3, Instance::fast as fn(u8) -> Instance), (2, Instance::slow)] {
            let config = |priority, from, to| {
                let instance = base(priority).unicast(from, to);
                if version == 2 { instance.password("secret") } else { instance }.to_string()
            };
            let configs = [config(150, first, second), config(100, second, first)];
            let wire = Wire::tap(&lab);
            let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
            until_only(&peers, 0);
            peers[0].stop();
            until_only(&peers, 1);
            peers[0].start_again(&configs[0]);
            until_only(&peers, 0);
            peers[0].kill9();
            peers[1].until_active();
            let seen = wire.stop();
            for (n, priority, from, to) in [(0, 150, first, second), (1, 100, second, first)] {
                let good = Advert::new(version, lab.director(n).mac(), from, 51, priority).of(&[VIP]);
                let good = Advert { destination: to, ..good };
                let good = match version {
                    2 => good.password("secret"),
                    _ => Advert { interval: 20, ..good },
                };
                let mut count = 0;
                for heard in seen.of(lab.director(n)).filter(|heard| heard.advert.priority != 0) {
                    let advert = Advert { destination_mac: None, ..heard.advert.clone() };
                    assert_eq!(advert, good);
                    assert_eq!(heard.advert.destination_mac, Some(lab.director(1 - n).mac()));
                    count += 1;
                }
                assert!(count > 0, "{}", seen.story());
            }
            let stops: Vec<_> = seen.of(lab.director(0)).filter(|heard| heard.advert.priority == 0).collect();
            assert!(stops.len() == 1 && stops[0].advert.sum == Sum::Right, "{stops:?}");
            drop(peers);
            // What the crash has left.
            if shunt_tests::peer::holds(lab.director(0), VIP) {
                lab.director(0).remove_address(VIP, "eth0");
            }
        }
    });
}

#[test]
fn a_peer_that_is_not_listed_is_not_heard_where_sources_are_checked() {
    each_way(|pair| {
        let lab = lab();
        let [first, second] = [0, 1].map(|n| lab.director(n).address());
        let stranger = lab.router().address();
        // The second expects the router, and hears the first.
        let a = Instance::fast(150).unicast(first, second).with("check_unicast_src").to_string();
        let b = Instance::fast(100).unicast(second, stranger).with("check_unicast_src").to_string();
        let peers = Peer::both(pair, &lab, [&a, &b]);
        for peer in &peers {
            peer.until_active();
        }
        wait::until(Duration::from_secs(10), "the second to name the stranger", || {
            let text = peers[1].log().text();
            text.lines().any(|line| line.contains("VI_1") && line.contains(&first.to_string())).then_some(())
        });
        assert!(peers[1].holds(VIP));
    });
}

#[test]
fn a_router_of_multicast_does_not_hear_unicast_nor_the_other_way_round() {
    each_way(|pair| {
        let lab = lab();
        let [first, second] = [0, 1].map(|n| lab.director(n).address());
        let a = Instance::fast(150).unicast(first, second).to_string();
        let b = Instance::fast(100).to_string();
        let peers = Peer::both(pair, &lab, [&a, &b]);
        for peer in &peers {
            peer.until_active();
        }
    });
}

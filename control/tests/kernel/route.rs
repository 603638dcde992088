//! The way to a real server.

use shunt::netlink::Netlink;
use shunt::route::{Reach, reach};

use crate::namespace::Namespace;

#[test]
fn the_way_to_a_real_server_is_told_apart() {
    let (director, _real) = Namespace::pair_with_ipv6();
    director.ip("route add 198.51.100.0/24 via 192.0.2.21");
    director.ip("route add 2001:db8:1::/48 via 2001:db8::21");
    director.ip("route add blackhole 198.18.0.0/24");
    director.ip("route add unreachable 198.18.1.0/24");
    director.ip("route add prohibit 198.18.2.0/24");
    let index = director.index("d0");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let gateway = |text: &str| Reach::ViaGateway { gateway: text.parse().unwrap(), index };
        for (address, expected) in [
            ("192.0.2.21", Reach::OnLink { index, mtu: None }),
            ("2001:db8::21", Reach::OnLink { index, mtu: None }),
            ("198.51.100.7", gateway("192.0.2.21")),
            ("2001:db8:1::7", gateway("2001:db8::21")),
            ("192.0.2.1", Reach::Local),
            ("127.0.0.1", Reach::Local),
            ("2001:db8::1", Reach::Local),
            ("192.0.2.255", Reach::Unreachable),
            ("203.0.113.7", Reach::Unreachable),
            ("2001:db8:ffff::7", Reach::Unreachable),
            ("198.18.0.7", Reach::Unreachable),
            ("198.18.1.7", Reach::Unreachable),
            ("198.18.2.7", Reach::Unreachable),
        ] {
            assert_eq!(reach(&netlink, address.parse().unwrap(), None).await.unwrap(), expected, "{address}");
        }
    });
}

#[test]
fn a_route_may_say_how_long_packets_may_be() {
    let (director, _real) = Namespace::pair_with_ipv6();
    director.ip("route add 192.0.2.128/25 dev d0 mtu 1400");
    director.ip("route add 2001:db8:2::/64 dev d0 mtu 1300");
    let index = director.index("d0");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        for (address, mtu) in
            [("192.0.2.129", Some(1400)), ("192.0.2.21", None), ("2001:db8:2::21", Some(1300))]
        {
            let found = reach(&netlink, address.parse().unwrap(), None).await.unwrap();
            assert_eq!(found, Reach::OnLink { index, mtu }, "{address}");
        }
    });
}

#[test]
fn the_way_by_one_interface_is_asked_for_by_its_index() {
    let (director, _real) = Namespace::pair_with_ipv6();
    // The same network once more, behind another wire, and less preferred.
    director.ip("link add e0 type veth peer name e1");
    director.ip("link set e0 up");
    director.ip("link set e1 up");
    director.ip("route add 192.0.2.0/24 dev e0 metric 1000");
    director.ip("route add 2001:db8::/64 dev e0 metric 5000");
    let (first, second) = (director.index("d0"), director.index("e0"));
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        for address in ["192.0.2.21", "2001:db8::21"] {
            let address = address.parse().unwrap();
            for (by, index) in [(None, first), (Some(first), first), (Some(second), second)] {
                let found = reach(&netlink, address, by).await.unwrap();
                assert_eq!(found, Reach::OnLink { index, mtu: None }, "{address} by {by:?}");
            }
        }
    });
}

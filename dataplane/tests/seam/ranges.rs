//! Services with several ports: one port before a range, a narrow range before a wide one, any port last.

use shunt_dataplane::forwarding::{Ports, ServiceKey};
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, SYN};
use crate::rig::{Rig, dns, http, service, six, up};

fn ports(first: u16, last: u16) -> ServiceKey {
    ServiceKey { ports: Ports { first, last }, ..http() }
}

#[test]
fn the_narrowest_service_that_has_the_port_takes_the_packet() {
    let mut rig = Rig::new(1, 1024);
    let services = [
        (ServiceKey { ports: Ports::ANY, ..http() }, 1),
        (ports(8000, 8100), 2),
        (ports(8050, 8060), 3),
        (ports(8055, 8055), 4),
        (ServiceKey { ports: Ports::ANY, ..dns() }, 5),
        (six(ports(1, 1024)), 6),
    ];
    for rotation in 0..services.len() {
        let mut order = services;
        order.rotate_left(rotation);
        rig.publish(&order.map(|(key, real)| service(key, [up(real)])));
        for (port, real) in [
            (1, 1),
            (80, 1),
            (7999, 1),
            (8000, 2),
            (8049, 2),
            (8050, 3),
            (8054, 3),
            (8055, 4),
            (8056, 3),
            (8060, 3),
            (8061, 2),
            (8100, 2),
            (8101, 1),
            (65_535, 1),
        ] {
            let went = rig.real(0, &Craft { dst_port: port, ..Craft::tcp(1, SYN) }.bytes());
            assert_eq!(went, Some(real), "port {port}, rotated by {rotation}");
        }
        assert_eq!(rig.real(0, &Craft { dst_port: 9, ..Craft::udp(1) }.bytes()), Some(5));
        assert_eq!(rig.real(0, &Craft { dst_port: 1024, ..Craft::tcp(1, SYN).v6() }.bytes()), Some(6));
        assert_eq!(rig.real(0, &Craft { dst_port: 1025, ..Craft::tcp(1, SYN).v6() }.bytes()), None);
    }
    assert_eq!(rig.dropped(DropReason::NoService), services.len() as u64);
    rig.check_gauges();
}

#[test]
fn flows_to_two_ports_of_a_range_are_two_flows() {
    let mut rig = Rig::new(2, 1024);
    rig.publish(&[service(ports(8000, 8100), (0..5).map(up))]);
    let craft = |port, flags| Craft { dst_port: port, ..Craft::tcp(1, flags) }.bytes();
    let went: Vec<_> = (8000..=8100).map(|port| rig.real(0, &craft(port, SYN))).collect();
    assert_eq!(rig.flows(0).len(), 101);
    assert!((0..5).all(|n| went.contains(&Some(n))), "each port is hashed for itself: {went:?}");
    rig.publish(&[service(ports(8000, 8100), (0..50).map(up))]);
    for worker in [0, 1] {
        let now: Vec<_> = (8000..=8100).map(|port| rig.real(worker, &craft(port, ACK))).collect();
        assert_eq!(now, went);
    }
    rig.check_gauges();
}

#[test]
fn a_narrower_service_that_comes_later_takes_new_flows_and_old_ones() {
    let mut rig = Rig::new(1, 64);
    let wide = service(ServiceKey { ports: Ports::ANY, ..http() }, [up(1)]);
    rig.publish(std::slice::from_ref(&wide));
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.publish(&[wide.clone(), service(http(), [up(2)])]);
    // A flow is one of its service: as with IPVS, it is another connection by now.
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(2));
    rig.publish(&[wide]);
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
}

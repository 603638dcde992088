//! Persistence: the flows of one client go to one real server.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_dataplane::flow::{Flow, FlowKey, FlowState, Timeouts};
use shunt_dataplane::forwarding::{OnFailure, Persistence, Ports, RealSpec, ServiceKey, ServiceSpec};
use shunt_dataplane::schedule::Policy;

use crate::craft::{ACK, Craft, FIN, SYN, VIP6};
use crate::rig::{Rig, dns, down, draining, http, six, up, with};

const SECOND: u32 = 4;
/// Seconds.
const TIMEOUT: u32 = 100;

/// A service whose clients are networks of `bits` bits. Round robin: without templates every flow goes elsewhere.
fn persistent(key: ServiceKey, bits: u32, reals: impl IntoIterator<Item = RealSpec>) -> ServiceSpec {
    let unused = if key.address.v4().is_some() { 32 } else { 128 } - bits;
    with(key, reals, |options| {
        options.policy = Policy::Rr;
        options.persistence = Some(Persistence { timeout: TIMEOUT * SECOND, mask: u128::MAX << unused });
    })
}

/// A segment from 198.18.`net`.`host`.
fn from(net: u8, host: u8, port: u16, flags: u8) -> Vec<u8> {
    Craft { src: Ipv4Addr::new(198, 18, net, host), src_port: port, ..Craft::tcp(0, flags) }.bytes()
}

fn templates(rig: &Rig, worker: usize) -> Vec<(FlowKey, Flow)> {
    rig.flows(worker).into_iter().filter(|(_, flow)| flow.state.is_template()).collect()
}

#[test]
fn flows_of_one_network_go_to_one_real_server_and_those_of_others_elsewhere() {
    let mut rig = Rig::new(1, 4096);
    rig.publish(&[persistent(http(), 24, (0..5).map(up))]);
    let mut owners = Vec::new();
    for net in 0..10 {
        let first = rig.real(0, &from(net, 1, 1000, SYN)).expect("forwarded");
        for host in 1..50 {
            assert_eq!(rig.real(0, &from(net, host, 2000 + u16::from(host), SYN)), Some(first));
        }
        owners.push(first);
    }
    assert!(owners[..5].iter().all(|owner| owners.iter().filter(|o| *o == owner).count() == 2), "{owners:?}");
    assert_eq!(templates(&rig, 0).len(), 10);
    rig.check_gauges();
}

#[test]
fn a_template_is_listed_under_the_network_of_its_client() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[persistent(http(), 24, [up(1)]), persistent(six(http()), 48, [up(1)])]);
    rig.real(0, &from(3, 77, 1000, SYN));
    rig.real(0, &Craft::tcp(1, SYN).v6().bytes());
    let listed: Vec<_> = templates(&rig, 0)
        .into_iter()
        .map(|(key, flow)| (key.client.to_string(), key.client_port, key.dst_port, flow.state))
        .collect();
    let template = |client: &str| (client.to_string(), 0, 0, FlowState::TemplateNew);
    assert_eq!(listed, [template("198.18.3.0"), template("2001:db8:1::")]);
    for key in [http(), six(http())] {
        let service = rig.state().service(rig.state().find(&key).expect("configured")).expect("configured");
        let (_, real) = service.reals().next().expect("one");
        assert_eq!(real.counters().total(|c| &c.templates), 1);
        assert_eq!(real.load().active, 1, "a template is no flow");
    }
}

#[test]
fn an_ipv6_prefix_is_a_client() {
    let mut rig = Rig::new(1, 4096);
    rig.publish(&[persistent(six(http()), 64, (0..5).map(up))]);
    let from = |net: u16, host: u16| {
        let src = Ipv6Addr::new(0x2001, 0xdb8, 5, net, host, 0, 0, host);
        Craft { v6: Some((src, VIP6)), ..Craft::tcp(0, SYN).v6() }.bytes()
    };
    let owners: Vec<_> = (0..5).map(|net| rig.real(0, &from(net, 1)).expect("forwarded")).collect();
    for (net, owner) in owners.iter().enumerate() {
        for host in 2..40 {
            assert_eq!(rig.real(0, &from(net as u16, host)), Some(*owner));
        }
    }
    let mut all = owners;
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
}

#[test]
fn all_ports_of_a_service_share_the_template() {
    let mut rig = Rig::new(1, 4096);
    rig.publish(&[persistent(ServiceKey { ports: Ports::ANY, ..http() }, 32, (0..5).map(up))]);
    let first = rig.real(0, &Craft::tcp(1, SYN).bytes());
    for port in 1..100 {
        assert_eq!(rig.real(0, &Craft { dst_port: port, ..Craft::tcp(1, SYN) }.bytes()), first);
    }
}

#[test]
fn a_client_is_forgotten_a_timeout_after_its_last_flow() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[persistent(dns(), 32, (0..2).map(up))]);
    let timeouts = Timeouts::default().with(FlowState::UdpNew, SECOND).with(FlowState::Udp, SECOND);
    let mut spec = persistent(dns(), 32, (0..2).map(up));
    spec.options.timeouts = timeouts;
    rig.publish(&[spec]);
    let first = rig.real(0, &Craft::udp(1).bytes());
    rig.wait(u64::from(TIMEOUT) - 1);
    assert_eq!(rig.real(0, &Craft { src_port: 7, ..Craft::udp(1) }.bytes()), first, "still known");
    rig.wait(u64::from(TIMEOUT) - 1);
    assert_eq!(templates(&rig, 0).len(), 1, "its second flow counts");
    rig.wait(18);
    assert!(rig.flows(0).is_empty());
    // Round robin: the other one's turn.
    assert_ne!(rig.real(0, &Craft::udp(1).bytes()), first);
}

#[test]
fn a_template_outlives_the_flows_of_its_client() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[persistent(http(), 32, (0..2).map(up))]);
    let first = rig.real(0, &from(1, 1, 1000, SYN));
    rig.real(0, &from(1, 1, 1000, ACK));
    // Established: remembered for 900 s, far longer than a template by itself. A second flow must not shorten that.
    rig.wait(10);
    assert_eq!(rig.real(0, &from(1, 1, 1001, SYN)), first);
    rig.wait(700);
    assert_eq!(rig.real(0, &from(1, 1, 1002, SYN)), first);
    // One that goes on and on.
    for _ in 0..40 {
        rig.wait(60);
        assert_eq!(rig.real(0, &from(1, 1, 1002, ACK)), first);
    }
    assert_eq!(rig.real(0, &from(1, 1, 1003, SYN)), first);
    rig.check_gauges();
    rig.expire_all();
    assert!(rig.flows(0).is_empty());
}

#[test]
fn workers_agree_on_a_client_and_each_has_its_template() {
    let mut rig = Rig::new(4, 4096);
    rig.publish(&[persistent(http(), 32, (0..7).map(up))]);
    for host in 1..60 {
        let first = rig.real(usize::from(host) % 4, &from(1, host, 1000, SYN));
        for worker in 0..4 {
            let port = 2000 + worker as u16;
            assert_eq!(rig.real(worker, &from(1, host, port, SYN)), first, "worker {worker}");
        }
    }
    assert!((0..4).all(|worker| templates(&rig, worker).len() == 59));
    rig.check_gauges();
}

#[test]
fn workers_that_saw_a_client_at_the_same_moment_agree_from_its_next_flow_on() {
    // Two templates that differ: one made while the other worker's had not been there. By hand: without
    // persistence for a moment, a worker schedules on its own.
    let mut rig = Rig::new(2, 4096);
    let persistent = |reals: &[RealSpec]| [persistent(http(), 32, reals.iter().copied())];
    rig.publish(&persistent(&[up(1)]));
    assert_eq!(rig.real(1, &from(1, 1, 1000, SYN)), Some(1));
    // Worker 1's template is void for now, worker 0 makes another.
    rig.publish(&persistent(&[down(1), up(2)]));
    assert_eq!(rig.real(0, &from(1, 1, 1001, SYN)), Some(2));
    rig.publish(&persistent(&[up(1), up(2)]));
    for n in 0..10 {
        assert_eq!(rig.real(n % 2, &from(1, 1, 2000 + n as u16, SYN)), Some(2), "as the lowest worker says");
    }
    rig.check_gauges();
}

#[test]
fn a_template_follows_its_flow_to_another_worker() {
    let mut rig = Rig::new(2, 64);
    rig.publish(&[persistent(http(), 32, (0..2).map(up))]);
    let first = rig.real(0, &from(1, 1, 1000, SYN));
    // From now on on another queue, for longer than worker 0 remembers anything.
    for _ in 0..50 {
        rig.wait(30);
        assert_eq!(rig.real(1, &from(1, 1, 1000, ACK)), first);
    }
    assert!(rig.flows(0).is_empty());
    assert_eq!(rig.real(1, &from(1, 1, 1001, SYN)), first);
    rig.check_gauges();
}

#[test]
fn a_draining_real_server_keeps_its_clients_and_gets_no_other() {
    let mut rig = Rig::new(1, 4096);
    rig.publish(&[persistent(http(), 32, [up(1)])]);
    assert_eq!(rig.real(0, &from(1, 1, 1000, SYN)), Some(1));
    rig.publish(&[persistent(http(), 32, [draining(1), up(2)])]);
    assert_eq!(rig.real(0, &from(1, 1, 1001, SYN)), Some(1));
    assert_eq!(rig.real(0, &from(1, 2, 1000, SYN)), Some(2));
}

#[test]
fn a_real_server_that_is_down_loses_its_clients_even_where_flows_are_kept() {
    for on_failure in [OnFailure::Keep, OnFailure::Rehash, OnFailure::Reset] {
        let mut rig = Rig::new(1, 4096);
        let services = |reals: &[RealSpec]| {
            let mut spec = persistent(http(), 32, reals.iter().copied());
            spec.options.on_failure = on_failure;
            [spec]
        };
        rig.publish(&services(&[up(1)]));
        for flags in [SYN, ACK] {
            assert_eq!(rig.real(0, &from(1, 1, 1000, flags)), Some(1));
        }
        rig.publish(&services(&[down(1), up(2)]));
        assert_eq!(rig.real(0, &from(1, 1, 1001, SYN)), Some(2));
        // And they stay when it is back.
        rig.publish(&services(&[up(1), up(2)]));
        assert_eq!(rig.real(0, &from(1, 1, 1002, SYN)), Some(2));
        rig.check_gauges();
    }
}

#[test]
fn a_flood_of_clients_pushes_out_no_settled_template() {
    let mut rig = Rig::new(1, 1024);
    rig.publish(&[persistent(http(), 32, (0..5).map(up))]);
    let mut owners = Vec::new();
    for host in 1..=100 {
        owners.push(rig.real(0, &from(1, host, 1000, SYN)));
        rig.real(0, &from(1, host, 1000, ACK));
        rig.real(0, &from(1, host, 1000, FIN | ACK));
    }
    assert!(templates(&rig, 0).iter().all(|(_, flow)| flow.state == FlowState::Template));
    for n in 0..100_000u32 {
        let src = Ipv4Addr::from_bits(Ipv4Addr::new(198, 19, 0, 1).to_bits() + n % 0xffff);
        rig.real(0, &Craft { src, ..Craft::tcp(n, SYN) }.bytes()).expect("forwarded");
    }
    for (host, owner) in (1..=100).zip(owners) {
        assert_eq!(rig.real(0, &from(1, host, 1001, SYN)), owner, "client {host}");
    }
    rig.check_gauges();
}

#[test]
fn gauges_stay_right_when_a_template_takes_the_place_of_its_own_flow() {
    // Two buckets of a part: everything is in everything's way.
    let mut rig = Rig::new(1, 64);
    rig.publish(&[persistent(http(), 32, (0..5).map(up))]);
    for round in 0..40u16 {
        for host in 1..60 {
            for flags in [SYN, ACK, FIN | ACK, SYN] {
                rig.real(0, &from(1, host, 1000 + round % 3, flags)).expect("forwarded");
            }
        }
        rig.check_gauges();
        rig.now += 130_000;
    }
    rig.expire_all();
    rig.check_gauges();
    assert!(rig.flows(0).is_empty());
}

//! Floods: what one costs those who are not meant.

use std::net::Ipv4Addr;

use shunt_dataplane::forwarding::{Ports, ServiceKey};
use shunt_dataplane::schedule::Policy;

use crate::craft::{ACK, Craft, SYN};
use crate::rig::{Rig, http, up, with};

fn other() -> ServiceKey {
    ServiceKey { ports: Ports::exact(81), ..http() }
}

/// A SYN from source number `n` of a million, in 198.18.0.0/15.
fn flood(n: u32, port: u16) -> Vec<u8> {
    let src = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + n % 0x1_fffe);
    Craft { src, src_port: 1024 + (n / 0x1_fffe) as u16, dst_port: port, ..Craft::tcp(0, SYN) }.bytes()
}

#[test]
fn a_flood_on_one_service_leaves_the_flows_of_another_alone_and_keeps_within_its_share() {
    let mut rig = Rig::new(1, 4096);
    // Round robin: whoever is forgotten would go elsewhere.
    let share = |key, share| {
        with(key, (0..5).map(up), |options| {
            options.table_share = share;
            options.policy = Policy::Rr;
        })
    };
    rig.publish(&[share(http(), 1000), share(other(), 250)]);
    // Even handshakes that have just begun, which are the first to go otherwise.
    let owners: Vec<_> = (0..1000).map(|n| rig.real(0, &Craft::tcp(n, SYN).bytes())).collect();
    for n in 0..50_000 {
        rig.real(0, &flood(n, 81)).expect("forwarded all the same");
    }
    let held = rig.flows(0).iter().filter(|(key, _)| key.dst_port == 81).count();
    assert_eq!(held, 1024);
    for (n, owner) in owners.iter().enumerate() {
        assert_eq!(rig.real(0, &Craft::tcp(n as u32, ACK).bytes()), *owner);
    }
    let completed: u64 = rig
        .state()
        .services()
        .flat_map(|(_, service)| {
            service.reals().map(|(_, real)| real.counters().total(|c| &c.handshakes_completed))
        })
        .sum();
    assert_eq!(completed, 1000, "every handshake was remembered");
    rig.check_gauges();
}

#[test]
fn a_syn_flood_of_a_million_sources_moves_none_of_a_thousand_connections() {
    let mut rig = Rig::new(1, 4096);
    let spec = |reals: u16| [with(http(), (0..reals).map(up), |_| ())];
    rig.publish(&spec(5));
    let mut owners = Vec::new();
    for n in 0..1000 {
        owners.push(rig.real(0, &Craft::tcp(n, SYN).bytes()));
        assert_eq!(rig.real(0, &Craft::tcp(n, ACK).bytes()), owners[n as usize]);
    }
    for n in 0..1_000_000 {
        rig.real(0, &flood(n, 80)).expect("forwarded");
    }
    assert!(rig.total(|stats| stats.flows_evicted.value()) > 900_000);
    // By now the hash would say something else of most.
    rig.publish(&spec(50));
    for (n, owner) in owners.iter().enumerate() {
        assert_eq!(rig.real(0, &Craft::tcp(n as u32, ACK).bytes()), *owner, "connection {n}");
    }
    rig.check_gauges();
    rig.check_frames();
}

//! Services whose datagrams are each a flow of its own.

use shunt_dataplane::forwarding::ServiceSpec;
use shunt_dataplane::schedule::Policy;

use crate::craft::{Craft, SYN};
use crate::rig::{Rig, dns, down, http, six, up, with};

fn services(reals: u16) -> Vec<ServiceSpec> {
    [dns(), six(dns()), http()]
        .map(|key| {
            with(key, (0..reals).map(up), |options| {
                options.one_packet = true;
                options.policy = Policy::Rr;
            })
        })
        .into()
}

#[test]
fn datagrams_of_one_client_are_scheduled_each_for_itself_and_none_is_remembered() {
    for v6 in [false, true] {
        let mut rig = Rig::new(1, 64);
        rig.publish(&services(3));
        let craft = Craft::udp(1);
        let frame = if v6 { craft.v6() } else { craft }.bytes();
        let went: Vec<u16> = (0..9).map(|_| rig.real(0, &frame).expect("forwarded")).collect();
        assert_eq!(went[..3], went[3..6]);
        let mut all = went[..3].to_vec();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert!(rig.flows(0).is_empty());
        let id = rig.state().find(&if v6 { six(dns()) } else { dns() }).expect("configured");
        let service = rig.state().service(id).expect("configured");
        assert_eq!(service.counters().total(|c| &c.flows), 9);
        for (_, real) in service.reals() {
            let counters = real.counters();
            assert_eq!((counters.total(|c| &c.flows), counters.total(|c| &c.frames)), (3, 3));
        }
        rig.check_gauges();
    }
}

#[test]
fn a_real_server_that_goes_down_gets_no_further_datagram() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&services(2));
    rig.publish(&[with(dns(), [up(0), down(1)], |options| options.one_packet = true)]);
    for n in 0..50 {
        assert_eq!(rig.real(0, &Craft::udp(n).bytes()), Some(0));
    }
    assert_eq!(rig.total(|stats| stats.flows_moved.value()), 0);
}

#[test]
fn connections_of_such_a_service_are_remembered_all_the_same() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&services(3));
    let first = rig.real(0, &Craft::tcp(1, SYN).bytes());
    for _ in 0..5 {
        assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), first);
    }
    assert_eq!(rig.flows(0).len(), 1);
}

//! ICMP errors about what a real server sent: to that real server, whoever knows which it is, or to nobody.

use shunt_dataplane::forwarding::ServiceSpec;
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, SYN, icmp_error};
use crate::rig::{Rig, dns, down, http, sip, six, up, with};

/// What routers say of the answers to this packet: too big, host unreachable, time exceeded.
fn errors(craft: &Craft) -> [Vec<u8>; 3] {
    let kinds = match craft.v6 {
        None => [(3, 4, 1400), (3, 1, 0), (11, 0, 0)],
        Some(_) => [(2, 0, 1400), (1, 3, 0), (3, 0, 0)],
    };
    kinds.map(|(kind, code, rest)| icmp_error(kind, code, rest, &craft.clone().reverse().ip()))
}

/// A packet of every protocol and family from client `n`.
fn crafts(n: u32) -> [Craft; 6] {
    let crafts = [Craft::tcp(n, SYN), Craft::udp(n), Craft::sctp(n)];
    let [tcp, udp, sctp] = crafts.clone().map(Craft::v6);
    let [a, b, c] = crafts;
    [a, b, c, tcp, udp, sctp]
}

fn services(policy: Policy, reals: u16) -> Vec<ServiceSpec> {
    let keys = [http(), dns(), sip(), six(http()), six(dns()), six(sip())];
    keys.map(|key| with(key, (0..reals).map(up), |options| options.policy = policy)).into()
}

#[test]
fn an_error_goes_to_the_real_server_of_the_flow_it_is_about_on_every_worker() {
    let mut rig = Rig::new(3, 4096);
    // Round robin: only who remembers can know.
    rig.publish(&services(Policy::Rr, 7));
    for n in 0..30 {
        for craft in crafts(n) {
            let real = rig.real(1, &craft.bytes()).expect("forwarded");
            for worker in 0..3 {
                for error in errors(&craft) {
                    assert_eq!(
                        rig.real(worker, &error),
                        Some(real),
                        "client {n}, worker {worker}, {craft:?}"
                    );
                }
            }
        }
    }
    assert_eq!(rig.total(|stats| stats.flows_adopted.value()), 0, "an error is no packet of its flow");
    assert!(rig.flows(0).is_empty() && rig.flows(2).is_empty());
    rig.check_gauges();
}

#[test]
fn an_error_about_a_flow_that_nobody_remembers_goes_where_the_hash_says() {
    let mut rig = Rig::new(1, 4096);
    rig.publish(&services(Policy::Maglev, 7));
    for n in 0..30 {
        for craft in crafts(n) {
            let [error, ..] = errors(&craft);
            let told = rig.real(0, &error).expect("forwarded");

            assert_eq!(rig.real(0, &craft.bytes()), Some(told));
        }
    }
}

#[test]
fn an_error_leaves_no_trace_but_its_count() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&services(Policy::Maglev, 1));
    assert_eq!(rig.real(0, &errors(&Craft::tcp(1, SYN))[0]), Some(0));
    assert!(rig.flows(0).is_empty());
    rig.real(0, &Craft::tcp(1, SYN).bytes());
    let before = rig.flows(0);
    rig.now += 10_000;
    assert_eq!(rig.real(0, &errors(&Craft::tcp(1, SYN))[0]), Some(0));
    assert_eq!(rig.flows(0), before, "it does not lengthen the life of the flow");
    let id = rig.state().find(&http()).expect("configured");
    let service = rig.state().service(id).expect("configured");
    let counters = service.counters();
    assert_eq!((counters.total(|c| &c.frames), counters.total(|c| &c.flows)), (3, 1));
}

#[test]
fn an_error_that_concerns_nobody_is_dropped() {
    let mut rig = Rig::new(2, 64);
    rig.publish(&services(Policy::Rr, 3));
    for craft in crafts(1) {
        assert_eq!(rig.real(0, &errors(&craft)[0]), None);
    }
    assert_eq!(rig.dropped(DropReason::IcmpUnrelated), 6);
    // The real server is down: it has nothing to adjust.
    rig.publish(&[with(http(), [up(1)], |_| ())]);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.publish(&[with(http(), [down(1), up(2)], |_| ())]);
    assert_eq!(rig.real(0, &errors(&Craft::tcp(1, SYN))[0]), None);
    assert_eq!(rig.dropped(DropReason::NoReal), 1);
}

#[test]
fn an_own_copy_that_has_expired_does_not_hide_that_of_another_worker() {
    let mut rig = Rig::new(2, 64);
    rig.publish(&services(Policy::Rr, 3));
    let real = rig.real(0, &Craft::tcp(1, SYN).bytes());
    for _ in 0..2 {
        assert_eq!(rig.real(1, &Craft::tcp(1, ACK).bytes()), real);
    }
    rig.now += 61_000;
    assert_eq!(rig.real(0, &errors(&Craft::tcp(1, ACK))[0]), real);
}

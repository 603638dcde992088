//! Connection thresholds: a real server with too many flows takes no new ones, as in IPVS
//! (net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_bind_dest` and `ip_vs_unbind_dest`).

use shunt_dataplane::forwarding::{RealSpec, Thresholds};
use shunt_dataplane::schedule::Policy;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, dns, http, up, with};

fn limited(n: u16, upper: u32, lower: u32) -> RealSpec {
    RealSpec { thresholds: Thresholds { upper, lower }, ..up(n) }
}

/// Ends a flow, and lets the table forget it.
fn end(rig: &mut Rig, n: u32) {
    rig.real(0, &Craft::tcp(n, ACK).bytes());
    rig.real(0, &Craft::tcp(n, RST).bytes());
}

const POLICIES: [Policy; 6] =
    [Policy::Maglev, Policy::Rr, Policy::Wrr, Policy::Lc, Policy::Wlc, Policy::Twos];

#[test]
fn at_its_upper_threshold_a_real_server_takes_no_new_flow_and_keeps_the_old_ones() {
    for policy in POLICIES {
        let mut rig = Rig::new(2, 4096);
        rig.publish(&[with(http(), [limited(1, 10, 0), up(2)], |options| options.policy = policy)]);
        let went: Vec<_> = (0..200).map(|n| rig.real(n as usize % 2, &Craft::tcp(n, SYN).bytes())).collect();
        assert_eq!(
            went.iter().filter(|real| **real == Some(1)).count(),
            10,
            "{policy}: on all workers together"
        );
        for (n, real) in went.iter().enumerate() {
            assert_eq!(rig.real(n % 2, &Craft::tcp(n as u32, ACK).bytes()), *real, "{policy}");
        }
        rig.check_gauges();
    }
}

#[test]
fn with_all_at_their_thresholds_nobody_takes_it() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[with(http(), [limited(1, 3, 0), limited(2, 3, 0)], |options| {
        options.policy = Policy::Wlc
    })]);
    let took = (0..20).filter(|&n| rig.real(0, &Craft::tcp(n, SYN).bytes()).is_some()).count();
    assert_eq!(took, 6);
}

/// Flows that a real server with these thresholds must lose, after it was full, until it takes new ones.
fn losses(upper: u32, lower: u32) -> u32 {
    let mut rig = Rig::new(1, 1024);
    rig.publish(&[with(http(), [limited(1, upper, lower)], |_| ())]);
    for n in 0..upper {
        assert_eq!(rig.real(0, &Craft::tcp(n, SYN).bytes()), Some(1));
    }
    assert_eq!(rig.real(0, &Craft::tcp(upper, SYN).bytes()), None);
    for lost in 1..=upper {
        end(&mut rig, lost - 1);
        // Closed for 10 s; the table is walked through in 16. The others are still there.
        for flow in lost..upper {
            rig.real(0, &Craft::tcp(flow, ACK).bytes());
        }
        rig.wait(28);
        if rig.real(0, &Craft::tcp(1000 + lost, SYN).bytes()).is_some() {
            return lost;
        }
    }
    panic!("it never took one again");
}

#[test]
fn it_takes_new_flows_again_below_the_lower_threshold_or_three_quarters_of_the_upper() {
    // 12 flows, and again below 4: at 3.
    assert_eq!(losses(12, 4), 9);
    assert_eq!(losses(12, 12), 1);
    // Below three quarters: at 8 of 12.
    assert_eq!(losses(12, 0), 4);
    assert_eq!(losses(2, 0), 1);
}

#[test]
fn inactive_flows_count_as_well() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[with(http(), [limited(1, 2, 0)], |_| ()), with(dns(), [limited(1, 2, 0)], |_| ())]);
    for n in 0..2 {
        for flags in [SYN, ACK, FIN | ACK] {
            assert_eq!(rig.real(0, &Craft::tcp(n, flags).bytes()), Some(1));
        }
        assert_eq!(rig.real(0, &Craft::udp(n).bytes()), Some(1));
    }
    assert_eq!(rig.real(0, &Craft::tcp(7, SYN).bytes()), None);
    assert_eq!(rig.real(0, &Craft::udp(7).bytes()), None);
}

#[test]
fn new_thresholds_count_for_the_flows_there_are() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[with(http(), [up(1)], |_| ())]);
    for n in 0..5 {
        assert_eq!(rig.real(0, &Craft::tcp(n, SYN).bytes()), Some(1));
    }
    rig.publish(&[with(http(), [limited(1, 5, 0)], |_| ())]);
    assert_eq!(rig.real(0, &Craft::tcp(9, SYN).bytes()), None);
    rig.publish(&[with(http(), [limited(1, 7, 0)], |_| ())]);
    assert_eq!(rig.real(0, &Craft::tcp(9, SYN).bytes()), Some(1));
    rig.publish(&[with(http(), [up(1)], |_| ())]);
    assert_eq!(rig.real(0, &Craft::tcp(10, SYN).bytes()), Some(1));
}

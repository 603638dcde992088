//! Whom a flow belongs to, whatever happens to the set of real servers.

use std::collections::HashMap;

use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, dns, down, draining, http, service, up, weighted};

const FLOWS: u32 = 20_000;

/// Which real server each flow gets, as seen by one worker.
fn whereto(rig: &mut Rig, worker: usize, flags: u8) -> Vec<u16> {
    (0..FLOWS).map(|n| rig.real(worker, &Craft::tcp(n, flags).bytes()).expect("forwarded")).collect()
}

fn moved(rig: &Rig) -> u64 {
    rig.total(|stats| stats.flows_moved.value())
}

#[test]
fn removing_one_of_ten_moves_under_one_per_cent_of_the_others_without_memory() {
    let mut before = Rig::new(1, 65_536);
    before.publish(&[service(http(), (0..10).map(up))]);
    let owners = whereto(&mut before, 0, SYN);
    for gone in 0..10 {
        // A director that has just taken over: its flow table is empty.
        let mut after = Rig::new(1, 65_536);
        after.publish(&[service(http(), (0..10).filter(|&n| n != gone).map(up))]);
        let others: Vec<(u16, u16)> = owners
            .iter()
            .zip(whereto(&mut after, 0, ACK))
            .filter(|(owner, _)| **owner != gone)
            .map(|(owner, now)| (*owner, now))
            .collect();
        let moved = others.iter().filter(|(owner, now)| owner != now).count();
        assert!(moved * 100 < others.len(), "without {gone}: {moved} of {} moved", others.len());
    }
}

#[test]
fn removing_one_of_ten_moves_none_of_the_others_that_are_remembered() {
    let mut rig = Rig::new(1, 65_536);
    rig.publish(&[service(http(), (0..10).map(up))]);
    let owners = whereto(&mut rig, 0, SYN);
    rig.publish(&[service(http(), (0..9).map(up))]);
    let now = whereto(&mut rig, 0, ACK);
    for (owner, now) in owners.iter().zip(&now) {
        assert!(owner == now || *owner == 9);
        assert_ne!(*now, 9);
    }
    assert_eq!(moved(&rig), owners.iter().filter(|&&owner| owner == 9).count() as u64);
    rig.check_gauges();
}

#[test]
fn adding_real_servers_moves_no_remembered_flow() {
    let mut rig = Rig::new(1, 65_536);
    rig.publish(&[service(http(), (0..3).map(up))]);
    let owners = whereto(&mut rig, 0, SYN);
    rig.publish(&[service(http(), (0..30).map(up))]);
    assert_eq!(whereto(&mut rig, 0, ACK), owners);
    assert_eq!(moved(&rig), 0);
}

#[test]
fn draining_real_keeps_old_flows_and_takes_no_new_ones() {
    let mut rig = Rig::new(1, 65_536);
    rig.publish(&[service(http(), [up(1), up(2)])]);
    let owners = whereto(&mut rig, 0, SYN);
    rig.publish(&[service(http(), [up(1), draining(2)])]);
    assert_eq!(whereto(&mut rig, 0, ACK), owners);
    for n in FLOWS..2 * FLOWS {
        assert_eq!(rig.real(0, &Craft::tcp(n, SYN).bytes()), Some(1));
    }
    assert_eq!(moved(&rig), 0);
}

#[test]
fn the_flows_of_a_down_real_move_once_and_come_to_rest() {
    let mut rig = Rig::new(1, 65_536);
    rig.publish(&[service(http(), (0..4).map(up))]);
    let owners = whereto(&mut rig, 0, SYN);
    rig.publish(&[service(http(), [up(0), up(1), up(2), down(3)])]);
    let refugees = owners.iter().filter(|&&owner| owner == 3).count() as u64;
    assert!(refugees > 0);
    let now = whereto(&mut rig, 0, ACK);
    for (owner, now) in owners.iter().zip(&now) {
        assert!(owner == now || *owner == 3);
        assert_ne!(*now, 3);
    }
    assert_eq!(moved(&rig), refugees);
    // At rest, also when the server comes back: a flow that has moved has nothing to go back to.
    assert_eq!(whereto(&mut rig, 0, ACK), now);
    rig.publish(&[service(http(), (0..4).map(up))]);
    assert_eq!(whereto(&mut rig, 0, ACK), now);
    assert_eq!(moved(&rig), refugees);
    rig.check_gauges();
}

#[test]
fn flows_wait_for_their_real_server_while_no_other_is_up() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(1)])]);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.publish(&[service(http(), [down(1)])]);
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), None);
    assert_eq!(rig.seats[0].stats.drops(DropReason::NoReal).value(), 1);
    rig.publish(&[service(http(), [up(1), up(2), up(3)])]);
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
    assert_eq!(moved(&rig), 0);
    rig.check_gauges();
}

#[test]
fn a_real_server_that_is_removed_and_added_again_keeps_its_slot_and_its_flows() {
    let mut rig = Rig::new(1, 65_536);
    let all = [service(http(), (0..4).map(up))];
    rig.publish(&all);
    let owners = whereto(&mut rig, 0, SYN);
    let slots = |rig: &Rig| -> HashMap<_, _> {
        let (_, service) = rig.state().services().next().expect("one service");
        service.reals().map(|(slot, real)| (real.address(), (slot, real.epoch()))).collect()
    };
    let before = slots(&rig);
    rig.publish(&[service(http(), (0..3).map(up))]);
    assert_eq!(slots(&rig).len(), 3);
    // In another order, too.
    rig.publish(&[service(http(), (0..4).rev().map(up))]);
    assert_eq!(slots(&rig), before);
    assert_eq!(whereto(&mut rig, 0, ACK), owners);
    rig.check_gauges();
}

#[test]
fn a_slot_with_a_new_tenant_does_not_inherit_flows() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(1)])]);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    // Newcomers one after another, until one sits in the first one's slot.
    let slot_of = |rig: &Rig, n| {
        let (_, service) = rig.state().services().next().expect("one service");
        service.reals().find(|(_, real)| real.address() == crate::rig::address(n)).map(|(slot, _)| slot.0)
    };
    assert_eq!(slot_of(&rig, 1), Some(0));
    let heir = (2..200).find(|&n| {
        rig.publish(&[service(http(), [draining(n), up(1000)])]);
        slot_of(&rig, n) == Some(0)
    });
    let heir = heir.expect("tombstones are used again in the end");
    rig.publish(&[service(http(), [draining(heir), up(1000)])]);
    assert_eq!(slot_of(&rig, heir), Some(0));
    // Draining takes what is its own, and nothing else.
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1000));
    assert_eq!(moved(&rig), 1);
    rig.check_gauges();
}

#[test]
fn a_service_that_is_removed_and_added_again_keeps_its_id_and_its_flows() {
    let mut rig = Rig::new(1, 65_536);
    let both = [service(http(), (0..3).map(up)), service(dns(), (0..3).map(up))];
    rig.publish(&both);
    let owners = whereto(&mut rig, 0, SYN);
    let id = rig.state().find(&http());
    rig.publish(&both[1..]);
    assert_eq!(rig.state().find(&http()), None);
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), None);
    assert_eq!(rig.seats[0].stats.drops(DropReason::NoService).value(), 1);
    // By now more servers: the hash alone would choose others for most.
    rig.publish(&[both[1].clone(), service(http(), (0..30).map(up))]);
    assert_eq!(rig.state().find(&http()), id);
    assert_eq!(whereto(&mut rig, 0, ACK), owners);
    rig.check_gauges();
}

#[test]
fn weights_are_shared_to_within_three_per_cent() {
    let mut rig = Rig::new(1, 262_144);
    rig.publish(&[service(http(), [weighted(1, 1), weighted(2, 2), weighted(3, 3)])]);
    let mut shares = [0u32; 4];
    let flows = 120_000;
    for n in 0..flows {
        shares[rig.real(0, &Craft::tcp(n, SYN).bytes()).expect("forwarded") as usize] += 1;
    }
    for n in 1..4 {
        let expected = f64::from(flows) * n as f64 / 6.0;
        let error = f64::from(shares[n]) / expected - 1.0;
        assert!(error.abs() < 0.03, "{shares:?}: share {n} is {:.1} % off", 100.0 * error);
    }
}

#[test]
fn a_flow_sticks_to_its_server_whichever_worker_sees_it() {
    let mut rig = Rig::new(2, 65_536);
    rig.publish(&[service(http(), (0..3).map(up))]);
    let owners = whereto(&mut rig, 0, SYN);
    // The set changes, so that the second worker's hash alone would move most flows.
    rig.publish(&[service(http(), (0..30).map(up))]);
    assert_eq!(whereto(&mut rig, 1, ACK), owners);
    assert_eq!(rig.seats[1].stats.flows_adopted.value(), u64::from(FLOWS));
    assert_eq!(whereto(&mut rig, 0, ACK), owners);
    assert_eq!(rig.seats[0].stats.flows_adopted.value(), 0);
    // An adopted flow is not a new one.
    let (_, service) = rig.state().services().next().expect("one service");
    assert_eq!(service.counters().total(|c| &c.flows), u64::from(FLOWS));
    rig.check_gauges();
}

#[test]
fn a_new_connection_is_not_adopted_from_another_worker() {
    let mut rig = Rig::new(2, 65_536);
    rig.publish(&[service(http(), [up(1)])]);
    whereto(&mut rig, 0, SYN);
    rig.publish(&[service(http(), [draining(1), up(2)])]);
    assert!(whereto(&mut rig, 1, SYN).iter().all(|&real| real == 2));
    assert_eq!(rig.total(|s| s.flows_adopted.value()), 0);
}

#[test]
fn a_flow_of_a_server_that_is_gone_is_not_adopted() {
    let mut rig = Rig::new(2, 64);
    rig.publish(&[service(http(), [up(1)])]);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    rig.publish(&[service(http(), [down(1), up(2)])]);
    assert_eq!(rig.real(1, &Craft::tcp(1, ACK).bytes()), Some(2));
    assert_eq!(rig.total(|s| s.flows_adopted.value()), 0);
}

#[test]
fn a_datagram_flow_sticks_across_workers_too() {
    let mut rig = Rig::new(2, 4096);
    rig.publish(&[service(dns(), (0..3).map(up))]);
    let owners: Vec<_> = (0..500).map(|n| rig.real(0, &Craft::udp(n).bytes())).collect();
    rig.publish(&[service(dns(), (0..30).map(up))]);
    let now: Vec<_> = (0..500).map(|n| rig.real(1, &Craft::udp(n).bytes())).collect();
    assert_eq!(owners, now);
}

#[test]
fn a_syn_on_a_closing_flow_is_scheduled_anew() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(1)])]);
    for flags in [SYN, ACK] {
        assert_eq!(rig.real(0, &Craft::tcp(1, flags).bytes()), Some(1));
    }
    rig.publish(&[service(http(), [draining(1), up(2)])]);
    // Retransmitted while established: still the old connection.
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    assert_eq!(rig.real(0, &Craft::tcp(1, FIN | ACK).bytes()), Some(1));
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(2));
    // The flow did not move: it ended, and another began.
    assert_eq!(moved(&rig), 0);
    rig.check_gauges();
}

#[test]
fn flows_are_forgotten_after_the_timeout_of_their_state_and_not_before() {
    let tcp = |flags: &[u8]| flags.iter().map(|flags| Craft::tcp(1, *flags).bytes()).collect();
    let seconds: [(&str, Vec<Vec<u8>>, u64); 9] = [
        ("syn", tcp(&[SYN]), 60),
        ("midway", tcp(&[ACK]), 60),
        ("established", tcp(&[SYN, ACK]), 900),
        ("established from midway", tcp(&[ACK, ACK]), 900),
        ("fin", tcp(&[SYN, ACK, FIN | ACK]), 120),
        ("fin after syn", tcp(&[SYN, FIN | ACK]), 120),
        ("fin alone", tcp(&[FIN | ACK]), 10),
        ("rst", tcp(&[SYN, ACK, RST]), 10),
        ("udp", vec![Craft::udp(1).bytes(), Craft::udp(1).bytes()], 300),
    ];
    for (name, frames, timeout) in seconds {
        let mut rig = Rig::new(1, 64);
        // Close to where ticks wrap, 2^22 seconds after the start: they must not mind.
        rig.now = ((1 << 22) - 5) * 1000;
        rig.seats[0].worker.turn(rig.now);
        rig.publish(&[service(http(), [up(1)]), service(dns(), [up(1)])]);
        for frame in &frames {
            rig.real(0, frame);
        }
        rig.wait(timeout - 1);
        assert_eq!(rig.flows(0).len(), 1, "{name}: forgotten too early");
        // The table is walked through once in 16 s.
        rig.wait(18);
        assert_eq!(rig.flows(0).len(), 0, "{name}: not forgotten");
        assert_eq!(rig.total(|s| s.flows_expired.value()), 1, "{name}");
        assert_eq!(rig.total(|s| s.flows.value()), 0, "{name}");
        rig.check_gauges();
    }
}

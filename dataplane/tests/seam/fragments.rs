//! Datagrams in fragments: all of one go one way, in whatever order and on whatever queue they come in.

use shunt_dataplane::verdict::DropReason;

use crate::craft::{Craft, fragments};
use crate::rig::{Rig, dns, down, real_of, service, six, up};

const MANY: u16 = 20;
/// Most fragments that a worker holds, and how long, in milliseconds.
const HELD: usize = 64;
const HOLD: u64 = 200;

/// A datagram of client `n` in three fragments, of either family.
fn pieces(n: u32, id: u32, v6: bool) -> Vec<Vec<u8>> {
    let whole = Craft { payload: vec![n as u8; 600], ..Craft::udp(n) };
    let pieces = fragments(&if v6 { whole.v6() } else { whole }.bytes(), 256, id, 0);
    assert_eq!(pieces.len(), 3);
    pieces
}

fn rig(workers: usize) -> Rig {
    let mut rig = Rig::new(workers, 1024);
    rig.publish(&[service(dns(), (0..MANY).map(up)), service(six(dns()), (0..MANY).map(up))]);
    rig
}

fn held(rig: &Rig) -> u64 {
    rig.total(|stats| stats.frames_held.value())
}

/// Real servers of what came out, and what of the datagram it was: the fragment's place.
fn gone_to(out: Vec<(u8, Vec<u8>)>) -> Vec<u16> {
    out.into_iter().map(|(_, bytes)| real_of(&bytes)).collect()
}

#[test]
fn fragments_of_one_datagram_go_one_way_in_every_order_and_on_every_two_workers() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut rig = rig(2);
    let mut id = 0;
    for (order, workers, v6) in orders.iter().flat_map(|order| {
        (0..8).flat_map(move |bits: usize| {
            [false, true].map(|v6| (order, [bits & 1, bits >> 1 & 1, bits >> 2], v6))
        })
    }) {
        id += 1;
        let n = id % 97;
        let whole = Craft { payload: vec![1], ..Craft::udp(n) };
        let expected = rig.real(0, &if v6 { whole.v6() } else { whole }.bytes()).expect("forwarded");
        let pieces = pieces(n, id, v6);
        let mut went = Vec::new();
        for &piece in order {
            // At once, or not before the next millisecond.
            went.extend(gone_to(rig.exchange(workers[piece], 0, &pieces[piece])));
        }
        rig.now += 1;
        for worker in 0..2 {
            went.extend(gone_to(rig.turn(worker)));
        }
        assert_eq!(went, [expected; 3], "order {order:?} on workers {workers:?}, IPv6: {v6}");
        assert_eq!(held(&rig), 0);
    }
    assert_eq!(rig.total(|stats| stats.drops_total()), 0);
    rig.check_frames();
    rig.check_gauges();
}

#[test]
fn a_fragment_that_waited_is_rewritten_like_any_other() {
    let mut rig = rig(1);
    let [first, middle, _] = pieces(1, 1, false).try_into().expect("three");
    assert_eq!(rig.exchange(0, 0, &middle), []);
    rig.exchange(0, 0, &first);
    rig.now += 1;
    let [(port, out)] = rig.turn(0).try_into().expect("one");
    assert_eq!(port, 1);
    assert_eq!(out[22], middle[22] - 1);
    assert_eq!(out[34..], middle[34..]);
}

#[test]
fn a_fragment_waits_for_200_milliseconds_and_no_longer() {
    for v6 in [false, true] {
        let mut rig = rig(1);
        let [first, middle, last] = pieces(1, 1, v6).try_into().expect("three");
        assert_eq!(rig.exchange(0, 0, &middle), []);
        rig.now += HOLD - 1;
        assert_eq!(rig.exchange(0, 0, &last), []);
        assert_eq!((held(&rig), rig.dropped(DropReason::FragmentOrphan)), (2, 0));
        rig.now += 1;
        assert_eq!(rig.turn(0), []);
        assert_eq!((held(&rig), rig.dropped(DropReason::FragmentOrphan)), (1, 1));
        assert_eq!(rig.exchange(0, 0, &first).len(), 1);
        rig.now += 1;
        assert_eq!(rig.turn(0).len(), 1, "the last one was still in time");
        rig.check_frames();
    }
}

#[test]
fn sixty_four_wait_and_the_next_is_dropped() {
    let mut rig = rig(1);
    for id in 0..HELD as u32 {
        assert_eq!(rig.exchange(0, 0, &pieces(1, id, false)[1]), []);
    }
    assert_eq!((held(&rig), rig.dropped(DropReason::FragmentNoRoom)), (HELD as u64, 0));
    assert_eq!(rig.exchange(0, 0, &pieces(1, 1000, false)[1]), []);
    assert_eq!((held(&rig), rig.dropped(DropReason::FragmentNoRoom)), (HELD as u64, 1));
    rig.check_frames();
    rig.now += HOLD;
    rig.turn(0);
    assert_eq!((held(&rig), rig.dropped(DropReason::FragmentOrphan)), (0, HELD as u64));
    rig.check_frames();
}

#[test]
fn a_flood_of_later_fragments_stops_no_whole_datagram() {
    let mut rig = rig(1);
    for round in 0..2000u32 {
        rig.now += u64::from(round % 2);
        for id in 0..8 {
            rig.exchange(0, 0, &pieces(1, round * 8 + id, false)[1 + id as usize % 2]);
        }
        assert!(rig.exchange(0, 0, &Craft::udp(round).bytes()).len() == 1, "round {round}");
        rig.check_frames();
    }
    assert!(rig.dropped(DropReason::FragmentNoRoom) > 1000 && rig.dropped(DropReason::FragmentOrphan) > 200);
}

#[test]
fn a_datagram_is_remembered_for_half_a_minute() {
    let mut rig = rig(1);
    let pieces = pieces(1, 1, false);
    assert_eq!(rig.exchange(0, 0, &pieces[0]).len(), 1);
    rig.now += 29_750;
    assert_eq!(rig.exchange(0, 0, &pieces[1]).len(), 1);
    rig.now += 250;
    assert_eq!(rig.exchange(0, 0, &pieces[2]), []);
    assert_eq!(held(&rig), 1);
}

#[test]
fn a_real_server_that_goes_down_between_two_fragments_gets_no_more_of_them() {
    for v6 in [false, true] {
        let key = if v6 { six(dns()) } else { dns() };
        let mut rig = Rig::new(1, 64);
        rig.publish(&[service(key, [up(1)])]);
        let [first, middle, last] = pieces(1, 1, v6).try_into().expect("three");
        assert_eq!(rig.real(0, &first), Some(1));
        rig.publish(&[service(key, [down(1), up(2)])]);
        // Its datagram is lost; the client's next one goes to the other.
        assert_eq!(rig.real(0, &middle), None);
        assert_eq!(rig.dropped(DropReason::NoReal), 1);
        let again = pieces(1, 2, v6);
        assert_eq!(rig.real(0, &again[0]), Some(2));
        assert_eq!(rig.real(0, &again[1]), Some(2));
        rig.publish(&[service(key, [up(1), up(2)])]);
        assert_eq!(rig.real(0, &last), Some(1), "what was remembered of the first datagram");
        rig.check_gauges();
    }
}

#[test]
fn a_later_fragment_for_no_vip_is_not_waited_for() {
    let mut rig = rig(1);
    let stranger = Craft { dst: [192, 0, 2, 99].into(), payload: vec![0; 600], ..Craft::udp(1) };
    assert_eq!(rig.real(0, &fragments(&stranger.bytes(), 256, 1, 0)[1]), None);
    assert_eq!((held(&rig), rig.dropped(DropReason::NoService)), (0, 1));
}

#[test]
fn later_fragments_are_frames_of_the_service_and_begin_no_flow() {
    let mut rig = rig(1);
    for piece in pieces(1, 1, false) {
        rig.real(0, &piece).expect("forwarded");
    }
    let id = rig.state().find(&dns()).expect("configured");
    let service = rig.state().service(id).expect("configured");
    assert_eq!(service.counters().total(|c| &c.frames), 3);
    assert_eq!(service.counters().total(|c| &c.flows), 1);
    assert_eq!(service.reals().map(|(_, real)| real.counters().total(|c| &c.frames)).sum::<u64>(), 3);
    assert_eq!(rig.flows(0).len(), 1);
}

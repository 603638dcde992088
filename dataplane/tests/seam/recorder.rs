//! What the recorder writes down is what went in and what came out, and what it is not there for costs nothing.

use proptest::prelude::*;
use shunt_dataplane::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use shunt_dataplane::port::PortId;
use shunt_dataplane::recorder::{Captured, KEPT, Outcome, Prefix, Sieve, TapReader};
use shunt_dataplane::verdict::DropReason;

use crate::allocation::calls;
use crate::craft::{ACK, Craft, SYN};
use crate::rig::{PORTS, Rig, dns, http, port, service, up, with};

fn tapped(rig: &mut Rig, sieve: Sieve, snap: u16) -> TapReader {
    let tap = TapReader::new(rig.seats.len(), usize::from(PORTS), sieve, snap);
    rig.tap.publish(tap.armed());
    tap
}

/// Both services; nobody is there for the second.
fn rig() -> Rig {
    let mut rig = Rig::new(1, 256);
    let nobody =
        with(dns(), [], |options| options.no_real = shunt_dataplane::forwarding::NoReal::Unreachable);
    rig.publish(&[service(http(), [up(1), up(2)]), nobody]);
    rig
}

fn taken(tap: &mut TapReader) -> Vec<Captured> {
    let (frames, more) = tap.take(usize::MAX);
    assert!(!more);
    frames
}

#[test]
fn a_tap_has_each_frame_as_it_came_in_and_as_it_went_out() {
    let mut rig = rig();
    let mut tap = tapped(&mut rig, Sieve::OPEN, 2000);
    for length in [0, 1, 7, 60, 73, 74, 75, 500, 1400] {
        let frame = Craft { payload: vec![7; length], ..Craft::tcp(1, ACK) }.bytes();
        let (out, sent) = rig.send(0, 0, &frame).expect("it is forwarded");
        let found = taken(&mut tap);
        assert_eq!(found.len(), 1);
        let Captured { facts, received, sent: shown, .. } = &found[0];
        assert_eq!((received, shown), (&frame, &sent), "{length}");
        assert_eq!((facts.outcome, facts.reason), (Outcome::Forward, None));
        assert_eq!((facts.ingress, facts.egress), (PortId(0), PortId(out)));
        assert_eq!(facts.to.0[..], sent[..6]);
        let (id, service) =
            rig.state().services().find(|(_, service)| *service.key() == http()).expect("the service");
        let (slot, epoch) = facts.real.expect("its flow is remembered");
        let real = service.tenant(slot, epoch).expect("its real server is there");
        assert_eq!((facts.service, real.path().expect("up").header.destination()), (Some(id), facts.to));
        assert_eq!(facts.generation, rig.state().generation());
    }
}

#[test]
fn what_is_refused_is_there_as_it_came_in_and_the_answer_as_it_went_out() {
    let mut rig = rig();
    let mut tap = tapped(&mut rig, Sieve::OPEN, 2000);
    let truncated = Craft { total_length: Some(9), ..Craft::tcp(1, SYN) }.bytes();
    assert_eq!(rig.send(0, 0, &truncated), None);
    let found = taken(&mut tap);
    assert_eq!((&found[0].received, found[0].sent.len()), (&truncated, 0));
    assert_eq!(found[0].facts.reason, Some(DropReason::IpTotalLengthBad));

    let asked = Craft { payload: vec![9; 700], ..Craft::udp(1) }.bytes();
    let (_, answer) = rig.send(0, 0, &asked).expect("an ICMP error");
    let found = taken(&mut tap);
    let Captured { facts, received, sent, .. } = &found[0];
    assert_eq!((facts.outcome, facts.reason), (Outcome::Answer, Some(DropReason::NoReal)));
    assert_eq!(*sent, answer);
    // The frame became the answer: its front was kept.
    assert!(received.len() >= KEPT && received[..] == asked[..received.len()]);
    assert_eq!(usize::from(facts.received), asked.len());
    assert_eq!(facts.service, rig.state().find(&dns()));
}

#[test]
fn a_snap_length_cuts_what_is_kept_and_not_what_is_said_of_it() {
    let mut rig = rig();
    let mut tap = tapped(&mut rig, Sieve::OPEN, 60);
    let frame = Craft { payload: vec![7; 1000], ..Craft::tcp(1, ACK) }.bytes();
    let (_, sent) = rig.send(0, 0, &frame).expect("it is forwarded");
    let found = taken(&mut tap);
    assert_eq!((&found[0].received[..], &found[0].sent[..]), (&frame[..60], &sent[..60]));
    assert_eq!(
        (usize::from(found[0].facts.received), usize::from(found[0].facts.sent)),
        (frame.len(), sent.len())
    );
}

#[test]
fn nothing_is_captured_before_or_after_and_the_flight_recorder_has_it_all_the_same() {
    let mut rig = rig();
    let frame = |n| Craft::tcp(n, SYN).bytes();
    rig.send(0, 0, &frame(1));
    let mut tap = tapped(&mut rig, Sieve::OPEN, 2000);
    rig.send(0, 0, &frame(2));
    rig.tap.publish(Default::default());
    rig.send(0, 0, &frame(3));
    assert_eq!(taken(&mut tap).len(), 1);
    let past = rig.seats[0].flight.since(0);
    assert_eq!(past.len(), 3);
    for (n, past) in past.iter().enumerate() {
        assert_eq!(past.bytes, frame(n as u32 + 1)[..past.bytes.len()]);
        assert_eq!((past.facts.ordinal, past.skipped, past.facts.shows_sent), (n as u64 + 1, 0, false));
    }
}

#[test]
fn a_flood_of_forwarded_frames_never_pushes_out_what_was_refused_and_both_are_counted() {
    let mut rig = rig();
    for turn in 0..2000 {
        rig.now = turn / 10;
        let seat = &mut rig.seats[0];
        for _ in 0..63 {
            port(seat, 0).arrive(&Craft::tcp(1, ACK).bytes());
        }
        port(seat, 0).arrive(&[0; 20]);
        rig.turn(0);
    }
    let past = rig.seats[0].flight.since(0);
    let of = |outcome| past.iter().filter(move |past| past.facts.outcome == outcome);
    assert!(of(Outcome::Drop).count() >= 200, "one a millisecond at least");
    // The newest record of a class, and what came after it, is all that there was.
    let last = |outcome| of(outcome).next_back().expect("a record").facts.ordinal;
    assert!(last(Outcome::Forward) <= 2000 * 63 && last(Outcome::Forward) > 1990 * 63);
    let counted: u64 = of(Outcome::Forward).map(|past| past.skipped + 1).sum();
    assert_eq!(counted, last(Outcome::Forward));
    rig.check_frames();
}

#[test]
fn recording_allocates_nothing() {
    let mut rig = rig();
    let mut tap = tapped(&mut rig, Sieve::OPEN, 2000);
    let frame = Craft { payload: vec![7; 1000], ..Craft::tcp(1, ACK) }.bytes();
    let mut spent = 0;
    for turn in 0..2000 {
        let seat = &mut rig.seats[0];
        for _ in 0..8 {
            port(seat, 0).arrive(&frame);
        }
        let cost = calls(|| assert_eq!(seat.worker.turn(turn), 8));
        for id in 0..PORTS {
            port(seat, id).sent(|_| ());
        }
        // The first rounds: the memory port's own queues grow to their size.
        spent += if turn > 100 { cost } else { 0 };
    }
    assert_eq!(spent, 0);
    // More than the ring has room for: the rest is counted.
    let (seen, lost) = tap.counts()[0];
    assert_eq!((seen, seen - lost), (16_000, taken(&mut tap).len() as u64));
    assert!(lost > 0);
    assert_eq!(rig.total(|stats| stats.capture_lost.value()), lost);
}

fn any_address() -> impl Strategy<Value = Address> {
    (0u32..4).prop_map(|n| Address::from_v4(0x0a00_0000 + n))
}

proptest! {
    #[test]
    fn a_sieve_lets_through_what_meets_all_of_its_conditions(
        src in any_address(), dst in any_address(), host in proptest::option::of(any_address()),
        ports in (0u16..3, 0u16..3), wanted in proptest::option::of(0u16..3), tcp in any::<bool>(),
    ) {
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        let flags = TcpFlags(0);
        let (src_port, dst_port) = ports;
        let packet = Packet { kind: Kind::Whole, src, dst, src_port, dst_port, protocol, flags, l3: 14, l4: 34, end: 54 };
        let prefix = |network| Prefix { network, mask: u128::MAX };
        let sieve = Sieve { host: host.map(prefix), port: wanted, protocol: Some(Protocol::Tcp), ..Sieve::OPEN };
        let expected = tcp
            && host.is_none_or(|host| host == src || host == dst)
            && wanted.is_none_or(|port| port == src_port || port == dst_port);
        prop_assert_eq!(sieve.has(Some(&packet)), expected);
        let one_way = Sieve { src: host.map(prefix), dst_port: wanted, ..Sieve::OPEN };
        let expected = host.is_none_or(|host| host == src) && wanted.is_none_or(|port| port == dst_port);
        prop_assert_eq!(one_way.has(Some(&packet)), expected);
        prop_assert!(sieve.has(None), "what cannot be told goes through");
        let error = Packet { kind: Kind::Error, ..packet };
        prop_assert!(sieve.has(Some(&error)));
    }
}

//! What becomes of the flows of a real server that fails or is removed: reset, go elsewhere, or stay.

use shunt_dataplane::director::Rates;
use shunt_dataplane::flow::FlowState;
use shunt_dataplane::forwarding::{OnFailure, RealSpec, ServiceSpec};
use shunt_dataplane::verdict::DropReason;

use crate::craft::{
    ACK, Craft, DIRECTOR_MAC, FIN, ROUTER_MAC, RST, SYN, client, client_port, segment_checksum,
    transport_is_valid,
};
use crate::rig::{Rig, dns, down, http, sip, six, up, with};

/// All services of the test with these real servers.
fn services(on_failure: OnFailure, reals: &[RealSpec]) -> Vec<ServiceSpec> {
    [http(), dns(), sip(), six(http())]
        .map(|key| with(key, reals.iter().copied(), |options| options.on_failure = on_failure))
        .into()
}

/// A rig where real server 1 has flows of every kind.
fn rig(workers: usize, on_failure: OnFailure, rates: Rates) -> Rig {
    let mut rig = Rig::with_rates(workers, 1024, rates);
    rig.publish(&services(on_failure, &[up(1)]));
    for n in 0..20 {
        for craft in [Craft::tcp(n, SYN), Craft::tcp(n, ACK), Craft::udp(n), Craft::sctp(n)] {
            assert_eq!(rig.real(0, &craft.bytes()), Some(1));
        }
        for flags in [SYN, ACK] {
            assert_eq!(rig.real(0, &Craft::tcp(n, flags).v6().bytes()), Some(1));
        }
    }
    rig
}

/// Real server 1 down, or removed; 2 is new.
fn gone() -> [Vec<RealSpec>; 2] {
    [vec![down(1), up(2)], vec![up(2)]]
}

#[test]
fn a_segment_of_a_connection_whose_real_server_is_gone_is_answered_by_a_reset_and_the_next_syn_goes_elsewhere()
 {
    for reals in gone() {
        let mut rig = rig(1, OnFailure::Reset, Rates::default());
        rig.publish(&services(OnFailure::Reset, &reals));
        for (n, flags) in [(1, ACK), (2, FIN | ACK)] {
            let (port, answer) = rig.send(0, 1, &Craft::tcp(n, flags).bytes()).expect("an answer");
            assert_eq!(port, 1, "where it came from");
            assert_eq!((&answer[..6], &answer[6..12]), (&ROUTER_MAC[..], &DIRECTOR_MAC[..]));
            assert_eq!((answer.len(), answer[22], answer[23]), (54, 64, 6));
            let sent = Craft::tcp(n, flags).bytes();
            assert_eq!((&answer[26..30], &answer[30..34]), (&sent[30..34], &sent[26..30]));
            assert_eq!((&answer[34..36], &answer[36..38]), (&sent[36..38], &sent[34..36]));
            assert_eq!(answer[38..42], sent[42..46], "its sequence number is what the client acknowledged");
            assert_eq!((&answer[42..46], answer[47]), (&[0; 4][..], RST));
            assert!(transport_is_valid(&answer));
            let key = (client(n).into(), client_port(n), 80);
            let state = rig
                .flows(0)
                .iter()
                .find_map(|(k, flow)| ((k.client, k.client_port, k.dst_port) == key).then_some(flow.state));
            assert_eq!(state, Some(FlowState::Closed), "over");
            // What was on its way meets the same end.
            assert!(rig.send(0, 1, &sent).is_some());
            assert_eq!(rig.real(0, &Craft::tcp(n, SYN).bytes()), Some(2));
        }
        assert_eq!(rig.dropped(DropReason::RealGone), 4);
        assert_eq!(rig.total(|stats| stats.answers_reset.value()), 4);
        assert_eq!(rig.total(|stats| stats.flows_moved.value()), 0);
        rig.check_gauges();
        rig.check_frames();
    }
}

#[test]
fn the_same_with_ipv6() {
    let mut rig = rig(1, OnFailure::Reset, Rates::default());
    rig.publish(&services(OnFailure::Reset, &gone()[0]));
    let sent = Craft::tcp(1, ACK).v6().bytes();
    let (_, answer) = rig.send(0, 0, &sent).expect("an answer");
    assert_eq!((answer.len(), answer[20], answer[21]), (74, 6, 64));
    assert_eq!((&answer[22..38], &answer[38..54]), (&sent[38..54], &sent[22..38]));
    assert_eq!((&answer[58..62], answer[67]), (&sent[62..66], RST));
    let octets = |at: usize| <[u8; 16]>::try_from(&answer[at..at + 16]).expect("16").into();
    assert_eq!(segment_checksum(octets(22), octets(38), 6, &answer[54..]), 0);
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).v6().bytes()), Some(2));
}

#[test]
fn rehashed_flows_go_to_another_real_server_once() {
    for reals in gone() {
        let mut rig = rig(1, OnFailure::Rehash, Rates::default());
        rig.publish(&services(OnFailure::Rehash, &reals));
        for n in 0..20 {
            for craft in [Craft::tcp(n, ACK), Craft::udp(n), Craft::sctp(n), Craft::tcp(n, ACK).v6()] {
                assert_eq!(rig.real(0, &craft.bytes()), Some(2));
                assert_eq!(rig.real(0, &craft.bytes()), Some(2));
            }
        }
        assert_eq!(rig.total(|stats| stats.flows_moved.value()), 80);
        rig.check_gauges();
    }
}

#[test]
fn kept_flows_stay_while_the_way_is_known_and_new_ones_do_not_join_them() {
    for reals in gone() {
        let mut rig = rig(2, OnFailure::Keep, Rates::default());
        rig.publish(&services(OnFailure::Keep, &reals));
        for craft in [Craft::tcp(1, ACK), Craft::udp(1), Craft::sctp(1), Craft::tcp(1, ACK).v6()] {
            assert_eq!(rig.real(0, &craft.bytes()), Some(1));
            // With another worker, too.
            assert_eq!(rig.real(1, &craft.bytes()), Some(1));
        }
        assert_eq!(rig.real(0, &Craft::tcp(900, SYN).bytes()), Some(2));
        rig.check_gauges();
    }
    let mut rig = rig(1, OnFailure::Keep, Rates::default());
    rig.publish(&services(OnFailure::Keep, &[RealSpec { path: None, ..down(1) }, up(2)]));
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(2), "there is no way to it");
}

#[test]
fn a_real_server_that_keeps_its_flows_does_so_whatever_the_service_says() {
    let failed = [RealSpec { keeps_flows: true, ..down(1) }, up(2)];
    for on_failure in [OnFailure::Reset, OnFailure::Rehash] {
        let mut rig = rig(2, on_failure, Rates::default());
        rig.publish(&services(on_failure, &failed));
        for craft in [Craft::tcp(1, ACK), Craft::udp(1), Craft::sctp(1), Craft::tcp(1, ACK).v6()] {
            assert_eq!(rig.real(0, &craft.bytes()), Some(1));
        }
        assert_eq!(rig.real(0, &Craft::tcp(900, SYN).bytes()), Some(2), "new ones go elsewhere");
        // Once it is no longer configured the service decides.
        rig.publish(&services(on_failure, &[up(2)]));
        assert_eq!(rig.real(0, &Craft::udp(1).bytes()), Some(2));
        rig.check_gauges();
    }
}

#[test]
fn what_has_no_connection_to_reset_goes_elsewhere() {
    for reals in gone() {
        let mut rig = rig(1, OnFailure::Reset, Rates::default());
        // A handshake that is under way.
        rig.publish(&services(OnFailure::Reset, &[up(1)]));
        assert_eq!(rig.real(0, &Craft::tcp(100, SYN).bytes()), Some(1));
        rig.publish(&services(OnFailure::Reset, &reals));
        for craft in [Craft::udp(1), Craft::sctp(1), Craft::tcp(100, SYN)] {
            assert_eq!(rig.real(0, &craft.bytes()), Some(2));
        }
        assert_eq!(rig.total(|stats| stats.answers_reset.value()), 0);
        assert_eq!(rig.total(|stats| stats.flows_moved.value()), 3);
        rig.check_gauges();
    }
}

#[test]
fn a_reset_that_was_withheld_is_given_to_the_next_segment() {
    let mut rig = rig(1, OnFailure::Reset, Rates { icmp: 0, reset: 1 });
    rig.publish(&services(OnFailure::Reset, &gone()[0]));
    let open = |rig: &Rig| rig.flows(0).iter().filter(|(_, flow)| !flow.state.is_closing()).count();
    let flows = open(&rig);
    assert!(rig.send(0, 0, &Craft::tcp(1, ACK).bytes()).is_some());
    for _ in 0..3 {
        assert!(rig.send(0, 0, &Craft::tcp(2, ACK).bytes()).is_none());
    }
    assert_eq!(open(&rig), flows - 1, "the second flow stays");
    assert_eq!(rig.total(|stats| stats.answers_withheld.value()), 3);
    assert_eq!(rig.dropped(DropReason::RealGone), 4);
    rig.now += 1000;
    assert_eq!(rig.send(0, 0, &Craft::tcp(2, ACK).bytes()).expect("an answer").1[47], RST);
    assert_eq!(open(&rig), flows - 2);
    rig.check_gauges();
}

#[test]
fn a_flow_of_another_worker_is_reset_too() {
    let mut rig = rig(2, OnFailure::Reset, Rates::default());
    rig.publish(&services(OnFailure::Reset, &gone()[0]));
    assert_eq!(rig.send(1, 0, &Craft::tcp(1, ACK).bytes()).expect("an answer").1[47], RST);
    assert_eq!(rig.seats[1].stats.drops(DropReason::RealGone).value(), 1);
    assert_eq!(rig.real(1, &Craft::tcp(1, SYN).bytes()), Some(2));
}

#[test]
fn a_copy_that_was_left_behind_does_not_speak_for_a_flow_that_has_moved_on() {
    let mut rig = rig(3, OnFailure::Rehash, Rates::default());
    rig.publish(&services(OnFailure::Rehash, &gone()[0]));
    // Worker 0 knows the flow with real server 1, worker 1 with real server 2.
    assert_eq!(rig.real(1, &Craft::tcp(1, ACK).bytes()), Some(2));
    let others: Vec<RealSpec> = (2..40).map(up).collect();
    rig.publish(&services(OnFailure::Reset, &others));
    assert_eq!(rig.real(2, &Craft::tcp(1, ACK).bytes()), Some(2));
    assert_eq!(rig.seats[2].stats.flows_adopted.value(), 1);
}

#[test]
fn a_flow_that_has_expired_here_is_asked_for_elsewhere() {
    let mut rig = Rig::new(2, 1024);
    rig.publish(&services(OnFailure::Rehash, &[up(1)]));
    // Worker 0 sees the SYN only, and forgets it after a minute.
    assert_eq!(rig.real(0, &Craft::tcp(1, SYN).bytes()), Some(1));
    for _ in 0..2 {
        assert_eq!(rig.real(1, &Craft::tcp(1, ACK).bytes()), Some(1));
    }
    let many: Vec<RealSpec> = (1..60).map(up).collect();
    rig.publish(&services(OnFailure::Rehash, &many));
    // Expired, but the table has not been walked through since.
    rig.now += 61_000;
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
    assert_eq!(rig.seats[0].stats.flows_adopted.value(), 1);
    rig.check_gauges();
}

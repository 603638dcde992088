//! Frames that are wrong: never forwarded, never a panic, counted by the right reason.

use proptest::prelude::*;
use shunt_dataplane::parse::parse;
use shunt_dataplane::port::BURST;
use shunt_dataplane::verdict::DropReason;

use crate::craft::{ACK, Craft, SYN, repair_ip_checksum};
use crate::rig::{PORTS, Rig, dns, http, port, service, up};

fn rig() -> Rig {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(1)]), service(dns(), [up(1)])]);
    rig
}

/// Sends a frame on either port and returns the reason it was dropped for; none: it was forwarded.
fn fate(rig: &mut Rig, frame: &[u8]) -> Option<DropReason> {
    let [first, second] = [0, 1].map(|ingress| {
        let count = |rig: &Rig| DropReason::ALL.map(|reason| rig.seats[0].stats.drops(reason).value());
        let before = count(rig);
        let sent = rig.send(0, ingress, frame);
        let after = count(rig);
        let reasons: Vec<DropReason> = DropReason::ALL
            .into_iter()
            .filter(|&reason| after[reason as usize] != before[reason as usize])
            .collect();
        match (sent, reasons.as_slice()) {
            (Some(_), []) => None,
            (None, [reason]) => {
                assert_eq!(after[*reason as usize], before[*reason as usize] + 1);
                Some(*reason)
            }
            (sent, reasons) => panic!("sent {sent:02x?} and counted {reasons:?}"),
        }
    });
    assert_eq!(first, second, "a virtual port decides as a hardware port");
    first
}

/// A TCP segment and a datagram of 60 bytes, with no padding: every byte belongs to the packet.
fn sixty_bytes() -> [Vec<u8>; 2] {
    let tcp = Craft { payload: vec![0xaa; 6], ..Craft::tcp(0, ACK) }.bytes();
    let udp = Craft { payload: vec![0xaa; 18], ..Craft::udp(0) }.bytes();
    assert_eq!((tcp.len(), udp.len()), (60, 60));
    [tcp, udp]
}

#[test]
fn frames_truncated_at_every_length_are_dropped_for_the_right_reason() {
    let mut rig = rig();
    for frame in sixty_bytes() {
        for length in 0..60 {
            let expected = match length {
                0..34 => DropReason::FrameTruncated,
                // The IP header is whole and tells of more than there is.
                _ => DropReason::IpTotalLengthBad,
            };
            assert_eq!(fate(&mut rig, &frame[..length]), Some(expected), "{length} bytes");
        }
        assert_eq!(fate(&mut rig, &frame), None);
    }
}

#[test]
fn packets_that_say_how_short_they_are_are_dropped_for_the_right_reason() {
    let mut rig = rig();
    for (frame, transport) in sixty_bytes().into_iter().zip([20, 8]) {
        for length in 34..60 {
            for padding in [0, 60 - length] {
                let mut short = frame[..length].to_vec();
                short.resize(length + padding, 0);
                short[16..18].copy_from_slice(&(length as u16 - 14).to_be_bytes());
                repair_ip_checksum(&mut short);
                let expected = match length - 34 {
                    segment if segment < transport => Some(DropReason::FrameTruncated),
                    // A datagram also says its length itself.
                    _ if transport == 8 => Some(DropReason::UdpLengthBad),
                    _ => None,
                };
                assert_eq!(fate(&mut rig, &short), expected, "{length} bytes and {padding} of padding");
            }
        }
    }
}

#[test]
fn every_header_length_but_the_right_one_is_dropped() {
    let mut rig = rig();
    for frame in sixty_bytes() {
        for ihl in 0..16u8 {
            let mut wrong = frame.clone();
            wrong[14] = 0x40 | ihl;
            let header = usize::from(ihl) * 4;
            let expected = match header {
                20 => None,
                0..20 => Some(DropReason::IpHeaderLengthBad),
                // The header swallows what follows, whose sum does not fit.
                21..=46 => Some(DropReason::IpChecksumBad),
                _ => Some(DropReason::FrameTruncated),
            };
            assert_eq!(fate(&mut rig, &wrong), expected, "{ihl} words");
            if header > 20 && header <= 46 {
                repair_ip_checksum(&mut wrong);
                let got = fate(&mut rig, &wrong);
                assert!(got.is_some(), "{ihl} words: what is behind is no transport header of the service");
            }
        }
    }
}

#[test]
fn every_version_but_four_is_dropped() {
    let mut rig = rig();
    for version in 0..16u8 {
        let frame = Craft { version, ..Craft::tcp(0, SYN) }.bytes();
        let expected = (version != 4).then_some(DropReason::IpVersionBad);
        assert_eq!(fate(&mut rig, &frame), expected, "version {version}");
    }
}

#[test]
fn every_total_length_is_forwarded_or_dropped_for_the_right_reason() {
    let mut rig = rig();
    for total in (0..=100).chain([1500, 32_767, 32_768, 65_535]) {
        let frame = Craft { total_length: Some(total), payload: vec![1; 20], ..Craft::tcp(0, SYN) }.bytes();
        assert_eq!(frame.len(), 14 + 60);
        let expected = match total {
            0..20 | 61.. => Some(DropReason::IpTotalLengthBad),
            20..40 => Some(DropReason::FrameTruncated),
            // The rest counts as padding.
            40..=60 => None,
        };
        assert_eq!(fate(&mut rig, &frame), expected, "total length {total}");
    }
}

/// Offsets of a packet are 16 bits wide; a frame this long must not make them wrap.
#[test]
fn a_packet_longer_than_offsets_can_say_is_dropped() {
    let frame = |payload| Craft { payload: vec![0; payload], ..Craft::udp(0) }.bytes();
    let longest = frame(65_535 - 14 - 28);
    assert_eq!(parse(&longest).map(|packet| packet.end), Ok(65_535));
    assert_eq!(parse(&frame(65_535 - 14 - 27)), Err(DropReason::IpTotalLengthBad));
    assert_eq!(parse(&frame(65_535 - 28)), Err(DropReason::IpTotalLengthBad));
}

/// Frames that come close to being right: a good one, changed in a few bytes, cut, or extended.
pub fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let good =
        (any::<bool>(), 0u32..100, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60), 0usize..11);
    let good = good.prop_map(|(tcp, n, flags, payload, words)| {
        let craft = if tcp { Craft::tcp(n, flags) } else { Craft::udp(n) };
        Craft { payload, options: vec![1; words * 4], ..craft }.bytes()
    });
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (good, changes, proptest::option::weighted(0.2, any::<prop::sample::Index>()), 0usize..8, any::<bool>())
        .prop_map(|(mut frame, changes, cut, padding, repair)| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame.resize(frame.len() + padding, 0);
            if repair {
                repair_ip_checksum(&mut frame);
            }
            frame
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_get_exactly_one_verdict_and_the_counters_add_up(
        frames in proptest::collection::vec(
            prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), mutated()], 1..3 * BURST),
    ) {
        let mut rig = rig();
        let seat = &mut rig.seats[0];
        let (mut sent, mut received) = (0, 0);
        for burst in frames.chunks(BURST) {
            for (n, frame) in burst.iter().enumerate() {
                prop_assert!(port(seat, n as u8 % PORTS).arrive(frame));
            }
            received += seat.worker.turn(0);
            sent += (0..PORTS).map(|id| port(seat, id).sent(|_| ())).sum::<usize>();
            seat.worker.turn(0);
        }
        let stats = &seat.stats;
        prop_assert_eq!(received, frames.len());
        prop_assert_eq!(stats.rx_frames.value(), frames.len() as u64);
        prop_assert_eq!(stats.rx_bytes.value(), frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
        prop_assert_eq!(stats.tx_frames.value(), sent as u64);
        prop_assert_eq!(stats.rx_frames.value(), stats.tx_frames.value() + stats.drops_total());
        prop_assert_eq!(
            stats.frames_free.value() + stats.frames_filling.value() + stats.frames_sending.value(),
            stats.frames_total.value()
        );
        rig.check_gauges();
    }
}

//! Frames that are wrong: never forwarded, never a panic, counted by the right reason.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shunt_dataplane::answer::{Answer, answer};
use shunt_dataplane::checksum::complete;
use shunt_dataplane::packet::{Kind, MacAddress, Packet, Protocol};
use shunt_dataplane::parse::{parse, ttl};
use shunt_dataplane::port::BURST;
use shunt_dataplane::rewrite::{MacHeader, Vlan, rewrite};
use shunt_dataplane::verdict::DropReason;

use crate::craft::{
    ACK, AUTHENTICATION, Craft, DESTINATION, DIRECTOR_MAC, FRAGMENT, HOP_BY_HOP, ROUTING, SYN, VIP6,
    authentication_header, client6, fragment_header, fragments, icmp_error, options_header,
    repair_icmp_checksum, repair_ip_checksum, repair_ip_length, routing_header,
};
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

/// Packets of clients of every protocol, in either family, with tags and extension headers, mostly good ones.
fn crafts() -> impl Strategy<Value = Craft> {
    let protocol = prop_oneof![4 => 0..3u8, 1 => 3..6u8];
    let payload = proptest::collection::vec(any::<u8>(), 0..120);
    let tag = (prop_oneof![8 => Just(0x8100), 2 => Just(0x88a8), 1 => Just(0x9100)], any::<u16>());
    let tags = prop_oneof![9 => Just(Vec::new()), 5 => proptest::collection::vec(tag.clone(), 0..=2), 1 => proptest::collection::vec(tag, 3)];
    let extensions = prop_oneof![
        1 => Just(Vec::new()),
        2 => proptest::collection::vec(extension(), 1..4),
        1 => proptest::collection::vec(extension(), 7..11),
    ];
    // Don't Fragment, More Fragments, and small, large and largest offsets.
    let fragment = prop_oneof![
        8 => Just(0), 1 => Just(0x4000), 2 => Just(0x2000), 1 => 0..6u16, 1 => 0x2000..0x2006u16, 1 => any::<u16>(),
    ];
    let zeros = prop_oneof![9 => Just((false, false)), 1 => any::<(bool, bool)>()];
    let ihl = proptest::option::weighted(0.05, 0..16u8);
    let data_offset = prop_oneof![9 => Just(5), 1 => 0..16u8];
    let from = proptest::option::weighted(0.1, 0..6usize);
    let facts = (protocol, any::<bool>(), 0u32..100, any::<u8>());
    let headers = (tags, extensions, 0usize..11, payload);
    (facts, headers, (fragment, zeros, ihl, data_offset, from)).prop_map(|(facts, headers, wrong)| {
        let (protocol, v6, n, flags) = facts;
        let (tags, extensions, words, payload) = headers;
        let (fragment, (no_src, no_dst), ihl, data_offset, from) = wrong;
        let craft = match protocol {
            0 => Craft::tcp(n, flags),
            1 => Craft::udp(n),
            2 => Craft::sctp(n),
            3 => Craft { protocol: 59, ..Craft::udp(n) },
            4 => Craft { protocol: 50, ..Craft::udp(n) },
            _ => Craft { protocol: 47, ..Craft::udp(n) },
        };
        let craft = Craft {
            src_port: if no_src { 0 } else { craft.src_port },
            dst_port: if no_dst { 0 } else { craft.dst_port },
            options: vec![1; words * 4],
            payload,
            tags,
            extensions,
            fragment,
            ihl,
            data_offset,
            ..craft
        };
        match (v6, from) {
            (false, None) => craft,
            (false, Some(from)) => Craft { src: BAD_SOURCES[from].parse().unwrap(), ..craft },
            (true, None) => craft.v6(),
            (true, Some(from)) => {
                let mapped = "::ffff:198.18.0.1".parse().unwrap();
                let src = BAD_SOURCES6.get(from).map_or(client6(n), |text| text.parse().unwrap());
                Craft { v6: Some((src, if from == 5 { mapped } else { VIP6 })), ..craft.v6() }
            }
        }
    })
}

/// Who is not a client; the VIP too.
const BAD_SOURCES: [&str; 6] =
    ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.10"];
const BAD_SOURCES6: [&str; 5] = ["::", "::1", "ff02::1", "::ffff:198.18.0.1", "2001:db8::10"];

fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let small = prop_oneof![8 => 1..3u8, 1 => Just(31u8), 1 => Just(32u8)];
    prop_oneof![
        1 => small.clone().prop_map(|words| (HOP_BY_HOP, options_header(words))),
        6 => small.prop_map(|words| (DESTINATION, options_header(words))),
        2 => (0..5u8, prop_oneof![4 => Just(0), 1 => 1..3u8])
            .prop_map(|(kind, left)| (ROUTING, routing_header(kind, left))),
        1 => (0..8u8).prop_map(|words| (AUTHENTICATION, authentication_header(words))),
        3 => (prop_oneof![4 => Just(0), 2 => 0..6u16, 1 => any::<u16>()], any::<bool>(), any::<u32>())
            .prop_map(|(place, more, id)| (FRAGMENT, fragment_header(place << 3, more, id))),
        1 => prop_oneof![Just(135), Just(139), Just(140)].prop_map(|number| (number, options_header(1))),
    ]
}

/// Whole datagrams, fragments of them, and ICMP errors about the answers to them.
pub fn nearly_good() -> impl Strategy<Value = Vec<u8>> {
    let index = any::<prop::sample::Index>;
    let kind = prop_oneof![3 => 1..5u8, 1 => 11..13u8, 1 => 0..16u8];
    (crafts(), 0..4u8, index(), (kind, 0..4u8, any::<u32>()), 1..8usize, proptest::option::of(index()))
        .prop_map(|(craft, shape, piece, (kind, code, rest), words, cut)| match shape {
            0 | 1 => craft.bytes(),
            2 => {
                let whole = Craft { extensions: Vec::new(), fragment: 0, ihl: None, data_offset: 5, ..craft };
                let pieces = fragments(&whole.bytes(), words * 8, rest, 0);
                piece.get(&pieces).clone()
            }
            _ => {
                let mut quoted = craft.reverse().ip();
                if let Some(cut) = cut {
                    // Never less than the addresses.
                    let least = if quoted[0] >> 4 == 4 { 20 } else { 40 };
                    quoted.truncate(least + cut.index(quoted.len() - least + 1));
                }
                icmp_error(kind, code, rest, &quoted)
            }
        })
}

/// Frames that come close to being right: a good one, changed in a few bytes, cut, or extended.
pub fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![
        1 => Just(Vec::new()),
        2 => proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ];
    let cut = proptest::option::weighted(0.2, any::<prop::sample::Index>());
    (nearly_good(), changes, cut, 0usize..8, (any::<bool>(), any::<bool>())).prop_map(
        |(mut frame, changes, cut, padding, (repair, relength))| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
                if relength {
                    repair_ip_length(&mut frame);
                }
            }
            frame.resize(frame.len() + padding, 0);
            if repair {
                repair_icmp_checksum(&mut frame);
                repair_ip_checksum(&mut frame);
            }
            frame
        },
    )
}

/// Else the tests of random frames would show less than they say.
#[test]
fn random_frames_are_of_every_kind_and_wrong_for_every_reason_that_parse_knows() {
    let mut runner = TestRunner::deterministic();
    let (strategy, mut seen) = (mutated(), BTreeMap::new());
    for _ in 0..20_000 {
        let frame = strategy.new_tree(&mut runner).unwrap().current();
        let outcome = match parse(&frame) {
            Ok(packet) => {
                let family = if packet.src.v4().is_some() { 4 } else { 6 };
                format!("{:?} {} IPv{family}", packet.kind, packet.protocol)
            }
            Err(reason) => reason.name().to_string(),
        };
        *seen.entry(outcome).or_insert(0) += 1;
    }
    let kinds = [Kind::Whole, Kind::First, Kind::Later, Kind::Error];
    for (kind, protocol, family) in kinds.iter().flat_map(|kind| {
        ["tcp", "udp", "sctp"].iter().flat_map(move |p| [4, 6].map(move |family| (kind, p, family)))
    }) {
        let name = format!("{kind:?} {protocol} IPv{family}");
        assert!(seen.remove(&name).is_some_and(|n| n >= 20), "hardly any {name}");
    }
    let later = [
        DropReason::IcmpUnrelated,
        DropReason::FragmentOrphan,
        DropReason::FragmentNoRoom,
        DropReason::TtlExpired,
        DropReason::TooBig,
        DropReason::FlowUnknown,
        DropReason::RealGone,
        DropReason::NoService,
        DropReason::NoReal,
    ];
    for reason in DropReason::ALL.into_iter().filter(|reason| !later.contains(reason)) {
        assert!(seen.remove(reason.name()).is_some_and(|n| n >= 20), "hardly any {}", reason.name());
    }
    assert!(seen.is_empty(), "what is {seen:?}?");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What `parse` promises to those that index behind its offsets.
    #[test]
    fn offsets_are_as_promised(frame in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), mutated()]) {
        let Ok(packet) = parse(&frame) else { return Ok(()) };
        let [l3, l4, end] = [packet.l3, packet.l4, packet.end].map(usize::from);
        prop_assert!([14, 18, 22].contains(&l3) && l4 <= end && end <= frame.len());
        prop_assert_eq!(packet.src.v4().is_some(), packet.dst.v4().is_some());
        let ip = if packet.src.v4().is_some() { 20 } else { 40 };
        prop_assert!(l3 + ip <= l4);
        let header = match packet.protocol {
            Protocol::Tcp => 20,
            Protocol::Udp => 8,
            Protocol::Sctp => 12,
        };
        match packet.kind {
            Kind::Whole | Kind::First => {
                prop_assert!(l4 + header <= end && packet.dst_port > 0);
                prop_assert!(packet.protocol != Protocol::Tcp || l4 + usize::from(frame[l4 + 12] >> 4) * 4 <= end);
            }
            Kind::Later => prop_assert!(l4 < end && packet.src_port == 0 && packet.dst_port == 0),
            Kind::Error => prop_assert!(l4 + 8 + ip + 4 <= end && packet.dst_port > 0),
        }
    }

    /// Whatever `parse` found: nothing panics, and what is refused is left alone.
    #[test]
    fn any_frame_can_be_completed_rewritten_and_answered(
        frame in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), mutated()],
        vlan in prop_oneof![Just(Vlan::Keep), Just(Vlan::Untagged), any::<u16>().prop_map(Vlan::Tagged)],
        keep_ttl in any::<bool>(), mtu in any::<u16>(),
    ) {
        let Ok(packet) = parse(&frame) else { return Ok(()) };
        let header = MacHeader::new(MacAddress([2, 0, 0, 0, 0, 1]), MacAddress(DIRECTOR_MAC));
        let mut sent = frame.clone();
        complete(&mut sent, &packet);
        prop_assert!(rewrite(&mut sent, &packet, &header, vlan, keep_ttl || ttl(&frame, &packet) == 0));
        // It is what it was, but for TTL, checksums and tags.
        let again = parse(&sent).map(|found| {
            let moved = packet.l3.wrapping_sub(found.l3);
            let l4 = found.l4.wrapping_add(moved);
            Packet { l3: packet.l3, l4, end: found.end.wrapping_add(moved), ..found }
        });
        prop_assert_eq!(again, Ok(packet));
        for told in [Answer::TimeExceeded, Answer::TooBig { mtu }, Answer::PortUnreachable, Answer::Reset] {
            let mut back = frame.clone();
            if !answer(&mut back, &packet, told) {
                prop_assert_eq!(&back, &frame);
            }
        }
    }
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
        // An answer is a refused frame that goes back.
        let answers = stats.answers_icmp.value() + stats.answers_reset.value();
        let held = stats.frames_held.value();
        prop_assert_eq!(stats.tx_frames.value() + answers, sent as u64);
        prop_assert_eq!(stats.rx_frames.value(), stats.tx_frames.value() + stats.drops_total() + held);
        let places = stats.frames_free.value() + stats.frames_filling.value() + stats.frames_sending.value();
        prop_assert_eq!(places + held, stats.frames_total.value());
        // Nobody waits for longer than 200 ms.
        seat.worker.turn(200);
        prop_assert_eq!(seat.stats.frames_held.value(), 0);
        prop_assert_eq!(seat.stats.rx_frames.value(), seat.stats.tx_frames.value() + seat.stats.drops_total());
        rig.check_gauges();
    }
}

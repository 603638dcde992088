//! What `parse` makes of packets of every kind, and the reasons it gives for those that are wrong, case by case.

use shunt_dataplane::checksum::complete;
use shunt_dataplane::packet::{Kind, Protocol, TcpFlags};
use shunt_dataplane::parse::{identification, parse, ttl};
use shunt_dataplane::verdict::DropReason::{self, *};
use std::net::IpAddr;

use crate::craft::{
    ACK, AUTHENTICATION, Craft, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, SYN, VIP6, authentication_header,
    client, client6, fragment_header, fragments, icmp_error, options_header, repair_icmp_checksum,
    repair_ip_checksum, repair_ip_length, routing_header, segment_checksum, sum,
};

/// A packet of each protocol in each family, with 40 bytes of payload.
fn crafts() -> Vec<Craft> {
    let all = [Craft::tcp(1, SYN), Craft::udp(1), Craft::sctp(1)]
        .map(|craft| Craft { payload: vec![7; 40], ..craft });
    all.clone().into_iter().chain(all.map(Craft::v6)).collect()
}

fn kind(frame: &[u8]) -> Result<Kind, DropReason> {
    parse(frame).map(|packet| packet.kind)
}

#[test]
fn tags_move_the_packet_and_change_nothing_else() {
    for craft in crafts() {
        let plain = parse(&craft.bytes()).unwrap();
        for (count, tags) in
            [&[(0x8100, 0)][..], &[(0x9100, 5)], &[(0x88a8, 1), (0x8100, 0xffff)]].into_iter().zip([4, 4, 8])
        {
            let packet = parse(&craft.clone().tagged(count).bytes()).unwrap();
            let moved = [packet.l3, packet.l4, packet.end].map(|at| at - tags);
            assert_eq!(moved, [plain.l3, plain.l4, plain.end]);
            assert_eq!((packet.src, packet.dst, packet.dst_port), (plain.src, plain.dst, plain.dst_port));
        }
        let frame = craft.tagged(&[(0x8100, 1), (0x8100, 2), (0x8100, 3)]).bytes();
        assert_eq!(kind(&frame), Err(VlanTooDeep));
        for length in 14..18 {
            assert_eq!(kind(&frame[..length]), Err(FrameTruncated));
        }
    }
}

#[test]
fn every_extension_header_is_walked_through_up_to_eight_and_256_bytes() {
    for craft in crafts().into_iter().filter(|craft| craft.v6.is_some()) {
        let all = craft
            .clone()
            .extended(HOP_BY_HOP, &options_header(1))
            .extended(DESTINATION, &options_header(2))
            .extended(ROUTING, &routing_header(4, 0))
            .extended(FRAGMENT, &fragment_header(0, false, 9))
            .extended(AUTHENTICATION, &authentication_header(3));
        let packet = parse(&all.bytes()).unwrap();
        assert_eq!(
            (packet.kind, packet.src_port, packet.l4),
            (Kind::Whole, craft.src_port, 54 + 8 + 16 + 8 + 8 + 24)
        );
        let many = |count: usize, words| {
            let extensions = vec![(DESTINATION, options_header(words)); count];
            kind(&Craft { extensions, ..craft.clone() }.bytes())
        };
        assert_eq!([many(8, 1), many(9, 1)], [Ok(Kind::Whole), Err(ExtensionBad)]);
        assert_eq!(
            [many(8, 4), many(1, 32), many(1, 33), many(2, 17)].map(|kind| kind.is_ok()),
            [true, true, false, false]
        );
    }
}

#[test]
fn broken_extension_headers_are_dropped() {
    let tcp = || Craft { payload: vec![7; 40], ..Craft::tcp(1, SYN) }.v6();
    let mut no_icv = authentication_header(0);
    no_icv[1] = 0;
    let mut long = options_header(1);
    long[1] = 20;
    for (craft, reason) in [
        (
            tcp().extended(DESTINATION, &options_header(1)).extended(HOP_BY_HOP, &options_header(1)),
            ExtensionBad,
        ),
        (tcp().extended(ROUTING, &routing_header(0, 0)), ExtensionBad),
        (tcp().extended(ROUTING, &routing_header(4, 1)), ExtensionBad),
        (tcp().extended(AUTHENTICATION, &no_icv), ExtensionBad),
        (tcp().extended(DESTINATION, &long), ExtensionBad),
        (tcp().extended(135, &options_header(1)), ExtensionBad),
        (
            tcp()
                .extended(FRAGMENT, &fragment_header(0, false, 1))
                .extended(FRAGMENT, &fragment_header(0, false, 1)),
            ExtensionBad,
        ),
        (tcp().extended(FRAGMENT, &fragment_header(0, true, 1)).extended(DESTINATION, &long), FragmentBad),
        (Craft { protocol: 59, ..tcp() }, ProtocolUnsupported),
        (Craft { protocol: 59, ..tcp() }.extended(DESTINATION, &options_header(1)), ProtocolUnsupported),
        (Craft { protocol: 50, ..tcp() }, ProtocolUnsupported),
        (Craft { protocol: 1, ..tcp() }, ProtocolUnsupported),
        (Craft { total_length: Some(0), ..tcp() }, IpTotalLengthBad),
        (Craft { total_length: Some(61), ..tcp() }, IpTotalLengthBad),
        (Craft { total_length: Some(0), ..tcp() }.extended(HOP_BY_HOP, &options_header(1)), IpTotalLengthBad),
        (Craft { version: 4, ..tcp() }, IpVersionBad),
    ] {
        assert_eq!(kind(&craft.bytes()), Err(reason), "{craft:?}");
    }
    let cut = tcp().extended(DESTINATION, &options_header(2)).bytes();
    for length in 54..54 + 16 {
        let mut frame = cut[..length].to_vec();
        repair_ip_length(&mut frame);
        let expected = if length == 54 { IpTotalLengthBad } else { ExtensionBad };
        assert_eq!(kind(&frame), Err(expected), "{length} bytes");
    }
    for length in 0..54 {
        assert_eq!(kind(&cut[..length]), Err(FrameTruncated), "{length} bytes");
    }
}

#[test]
fn who_is_not_a_client_is_martian() {
    let from = |src: &str, dst: &str| {
        let v6 = Some((src.parse().unwrap(), dst.parse().unwrap()));
        kind(&Craft { v6, ..Craft::tcp(1, SYN).v6() }.bytes())
    };
    for src in ["::", "::1", "ff02::1", "ff0e::1", "::ffff:198.18.0.1", "2001:db8::10"] {
        assert_eq!(from(src, "2001:db8::10"), Err(SourceMartian), "{src}");
    }
    assert_eq!(from("2001:db8::1", "::ffff:192.0.2.10"), Err(SourceMartian));
    for src in ["::2", "2001:db8::11", "fd00::1", "fe80::1", "::fffe:198.18.0.1"] {
        assert_eq!(from(src, "2001:db8::10"), Ok(Kind::Whole), "{src}");
    }
}

#[test]
fn destination_port_0_is_refused_and_source_port_0_is_not() {
    for craft in crafts() {
        assert_eq!(kind(&Craft { dst_port: 0, ..craft.clone() }.bytes()), Err(PortZero));
        assert_eq!(kind(&Craft { src_port: 0, ..craft.clone() }.bytes()), Ok(Kind::Whole));
        let answer = Craft { dst_port: 0, ..craft }.reverse();
        assert_eq!(kind(&icmp_error(3, 0, 0, &answer.ip())), Err(PortZero));
    }
}

#[test]
fn transport_headers_that_are_cut_off_are_truncated() {
    for craft in crafts() {
        let whole = Craft { payload: Vec::new(), ..craft }.bytes();
        let packet = parse(&whole).unwrap();
        for length in usize::from(packet.l4) + 1..whole.len() {
            let mut frame = whole[..length].to_vec();
            repair_ip_length(&mut frame);
            repair_ip_checksum(&mut frame);
            assert_eq!(kind(&frame), Err(FrameTruncated), "{:?}, {length} bytes", packet.protocol);
        }
    }
}

#[test]
fn the_first_fragment_has_ports_and_the_later_ones_have_not() {
    for craft in crafts() {
        let craft = if craft.v6.is_some() { craft.extended(DESTINATION, &options_header(1)) } else { craft };
        let kept = craft.extensions.len() * 8;
        let id = if craft.v6.is_some() { 0xdead_beef } else { 0xbeef };
        let pieces = fragments(&craft.bytes(), 24, id, kept);
        assert!(pieces.len() > 1);
        let l4 = if craft.v6.is_some() { 14 + 40 + 8 + 8 } else { 34 };
        for (n, piece) in pieces.iter().enumerate() {
            let packet = parse(piece).unwrap();
            assert_eq!((identification(piece, &packet), packet.l4), (id, l4));
            assert_eq!((ttl(piece, &packet), packet.protocol as u8), (64, craft.protocol));
            let first = n == 0;
            assert_eq!(packet.kind, if first { Kind::First } else { Kind::Later });
            let ports = if first { (craft.src_port, craft.dst_port) } else { (0, 0) };
            assert_eq!((packet.src_port, packet.dst_port), ports);
            assert_eq!(packet.flags, TcpFlags(if first { craft.flags } else { 0 }));
        }
        // With only 8 bytes in the first one, TCP and SCTP lack their header.
        let tiny = fragments(&craft.bytes(), 8, id, kept);
        let udp = craft.protocol == 17;
        assert_eq!(kind(&tiny[0]), if udp { Ok(Kind::First) } else { Err(FragmentBad) });
        assert_eq!(
            kind(&tiny[1]),
            if udp { Ok(Kind::Later) } else { Err(FragmentBad) },
            "the tiny fragment attack"
        );
    }
}

/// Extension headers behind the fragment header belong to the datagram: the first fragment shows what follows them.
#[test]
fn a_first_fragment_with_destination_options_in_it_has_ports() {
    let craft =
        Craft { payload: vec![7; 40], ..Craft::udp(1) }.v6().extended(DESTINATION, &options_header(1));
    let pieces = fragments(&craft.bytes(), 24, 5, 0);
    let packet = parse(&pieces[0]).unwrap();
    assert_eq!((packet.kind, packet.l4, packet.dst_port), (Kind::First, 54 + 8 + 8, 53));
    assert_eq!(identification(&pieces[0], &packet), 5);
    assert_eq!(kind(&pieces[1]), Err(ProtocolUnsupported), "it does not tell the protocol");
    let no_room = fragments(&craft.bytes(), 8, 5, 0);
    assert_eq!(kind(&no_room[0]), Err(FragmentBad), "RFC 7112");
}

#[test]
fn impossible_fragments_are_dropped() {
    for craft in crafts() {
        let v6 = craft.v6.is_some();
        // Offset in bytes, whether more come, bytes of data.
        let piece = |offset: u16, more: bool, length: usize| {
            let place = fragment_header(offset, more, 7);
            let craft = Craft { protocol: 17, payload: Vec::new(), ..craft.clone() };
            let craft = if v6 { craft.extended(FRAGMENT, &place) } else { craft };
            let mut frame = Craft { fragment: (offset / 8) | (u16::from(more) << 13), ..craft }.bytes();
            frame.truncate(frame.len() - 8);
            frame.extend(vec![9; length]);
            repair_ip_length(&mut frame);
            repair_ip_checksum(&mut frame);
            kind(&frame)
        };
        assert_eq!(piece(24, false, 1), Ok(Kind::Later));
        assert_eq!(piece(24, true, 8), Ok(Kind::Later));
        assert_eq!(piece(24, false, 0), Err(FragmentBad));
        for length in 1..8 {
            assert_eq!(piece(24, true, length), Err(FragmentBad));
        }
        // The header counts with IPv4, and does not with IPv6: RFC 791, RFC 8200 section 3.
        let last = if v6 { 65_528 } else { 65_512 };
        let fits = if v6 { 7 } else { 3 };
        assert_eq!(
            [piece(last, false, fits), piece(last, false, fits + 1)],
            [Ok(Kind::Later), Err(FragmentBad)]
        );
    }
}

#[test]
fn the_udp_length_of_a_first_fragment_is_that_of_the_datagram() {
    for v6 in [false, true] {
        let datagram = |udp_length| {
            let craft = Craft { udp_length: Some(udp_length), payload: vec![7; 40], ..Craft::udp(1) };
            fragments(&if v6 { craft.v6() } else { craft }.bytes(), 24, 7, 0).swap_remove(0)
        };
        let kinds = [48, 65_535, 24, 23, 0].map(|length| kind(&datagram(length)));
        assert_eq!(
            kinds,
            [Ok(Kind::First), Ok(Kind::First), Ok(Kind::First), Err(UdpLengthBad), Err(UdpLengthBad)]
        );
    }
}

#[test]
fn an_error_is_about_the_flow_from_client_to_vip() {
    for craft in crafts() {
        let v6 = craft.v6.is_some();
        let quoted = craft.clone().reverse().ip();
        let header = if v6 { 40 } else { 20 };
        let about = parse(&craft.bytes()).unwrap();
        let types: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 4, 11, 12] };
        for kind in 0..=255 {
            for length in [header + 4, header + 8, quoted.len()] {
                let found = parse(&icmp_error(kind, 1, 1400, &quoted[..length]));
                if !types.contains(&kind) {
                    assert_eq!(found, Err(ProtocolUnsupported));
                    continue;
                }
                let packet = found.unwrap();
                assert_eq!((packet.kind, packet.protocol), (Kind::Error, about.protocol));
                assert_eq!((packet.src, packet.dst), (about.src, about.dst));
                assert_eq!((packet.src_port, packet.dst_port), (about.src_port, about.dst_port));
                assert_eq!(packet.flags, TcpFlags::default());
            }
        }
        for length in 0..header + 4 {
            // It takes a quoted address to make the error at all.
            let mut frame = icmp_error(types[0], 1, 0, &quoted);
            frame.truncate(14 + header + 8 + length);
            repair_ip_length(&mut frame);
            repair_icmp_checksum(&mut frame);
            repair_ip_checksum(&mut frame);
            assert_eq!(kind(&frame), Err(IcmpBad), "{length} bytes quoted");
        }
    }
}

#[test]
fn forged_and_broken_errors_are_dropped() {
    for craft in crafts() {
        let v6 = craft.v6.is_some();
        let (header, l4) = if v6 { (40, 54) } else { (20, 34) };
        let change = |change: &dyn Fn(&mut [u8])| {
            let mut frame = icmp_error(3, 1, 0, &craft.clone().reverse().ip());
            change(&mut frame[l4 + 8..]);
            repair_icmp_checksum(&mut frame);
            repair_ip_checksum(&mut frame);
            kind(&frame)
        };
        assert_eq!(change(&|_| ()), Ok(Kind::Error));
        let src = if v6 { 8 } else { 12 };
        let dst = if v6 { 24 } else { 16 };
        assert_eq!(
            change(&|quoted| quoted[src + 3] ^= 1),
            Err(IcmpBad),
            "of another address than it is sent to"
        );
        assert_eq!(change(&|quoted| quoted[0] ^= 0x20), Err(IcmpBad), "another version");
        assert_eq!(
            change(&|quoted| quoted.copy_within(src..dst, dst)),
            Err(IcmpBad),
            "from the VIP to the VIP"
        );
        assert_eq!(change(&|quoted| quoted[dst..header].fill(0)), Err(IcmpBad), "to nobody");
        assert_eq!(change(&|quoted| quoted[if v6 { 6 } else { 9 }] = 47), Err(ProtocolUnsupported));
        if v6 {
            let mapped = |quoted: &mut [u8]| {
                quoted[24..34].fill(0);
                quoted[34..36].fill(0xff);
            };
            assert_eq!(change(&mapped), Err(IcmpBad), "to a mapped address");
        } else {
            assert_eq!(change(&|quoted| quoted[0] = 0x44), Err(IcmpBad), "a header too short");
            assert_eq!(change(&|quoted| quoted[0] = 0x4f), Ok(Kind::Error), "options");
            assert_eq!(
                change(&|quoted| quoted[6..8].copy_from_slice(&[0x20, 0])),
                Ok(Kind::Error),
                "a first fragment"
            );
            assert_eq!(
                change(&|quoted| quoted[6..8].copy_from_slice(&[0, 1])),
                Err(IcmpBad),
                "a later fragment"
            );
        }
        let good = icmp_error(3, 1, 0, &craft.clone().reverse().ip());
        for at in l4 + 1..good.len() {
            let mut frame = good.clone();
            frame[at] ^= 0x10;
            assert_eq!(kind(&frame), Err(IcmpBad), "byte {at} is wrong");
        }
        for length in 0..8 {
            let mut frame = good[..l4 + length].to_vec();
            repair_ip_length(&mut frame);
            repair_ip_checksum(&mut frame);
            let expected = if v6 && length == 0 { IpTotalLengthBad } else { FrameTruncated };
            assert_eq!(kind(&frame), Err(expected));
        }
    }
}

#[test]
fn an_error_about_a_packet_with_extension_headers_or_of_a_fragment() {
    let reverse = |craft: Craft| icmp_error(2, 0, 1280, &craft.reverse().ip());
    let udp = || Craft::udp(1).v6();
    assert_eq!(kind(&reverse(udp().extended(DESTINATION, &options_header(3)))), Ok(Kind::Error));
    assert_eq!(kind(&reverse(udp().extended(FRAGMENT, &fragment_header(0, true, 1)))), Ok(Kind::Error));
    assert_eq!(kind(&reverse(udp().extended(FRAGMENT, &fragment_header(8, true, 1)))), Err(IcmpBad));
    assert_eq!(kind(&reverse(udp().extended(ROUTING, &routing_header(0, 0)))), Err(IcmpBad));
}

/// What a sender with checksum offload leaves, with IPv6.
#[test]
fn a_partial_checksum_is_completed_with_ipv6_and_in_whole_datagrams_only() {
    for n in 0..200u8 {
        for craft in [Craft::tcp(1, ACK), Craft::udp(1)] {
            let field = if craft.protocol == 6 { 16 } else { 6 };
            let craft = Craft { payload: vec![n; usize::from(n)], ..craft }.v6();
            let craft = if n % 2 == 0 { craft.extended(DESTINATION, &options_header(1)) } else { craft };
            let whole = craft.bytes();
            let packet = parse(&whole).unwrap();
            let (l4, end) = (usize::from(packet.l4), usize::from(packet.end));
            let at = l4 + field;
            let pseudo = |length: usize| {
                let [src, dst] = [client6(1), VIP6].map(IpAddr::from);
                let words = [craft.protocol, (length >> 8) as u8, length as u8];
                // An empty segment's checksum is that of the pseudo header, less the length.
                let less = !segment_checksum(src, dst, craft.protocol, &[]);
                sum(&[&less.to_be_bytes()[..], &words[1..]].concat()).to_be_bytes()
            };
            let mut partial = whole.clone();
            partial[at..at + 2].copy_from_slice(&pseudo(end - l4));
            let is_partial = partial != whole;
            assert_eq!(complete(&mut partial, &packet), is_partial);
            assert_eq!(partial, whole);
            assert!(!complete(&mut partial, &packet), "twice is once");
            if end - l4 > 32 {
                for mut piece in fragments(&whole, 32, 7, packet.l4 as usize - 54) {
                    let packet = parse(&piece).unwrap();
                    let l4 = usize::from(packet.l4);
                    if packet.kind == Kind::First {
                        piece[l4 + field..l4 + field + 2]
                            .copy_from_slice(&pseudo(usize::from(packet.end) - l4));
                    }
                    let before = piece.clone();
                    assert!(!complete(&mut piece, &packet) && piece == before);
                }
            }
        }
    }
    let mut sctp = Craft::sctp(1).v6().bytes();
    let packet = parse(&sctp).unwrap();
    assert_eq!((packet.protocol, packet.src), (Protocol::Sctp, IpAddr::from(client6(1)).into()));
    assert!(!complete(&mut sctp, &packet));
    assert_eq!(parse(&Craft::sctp(1).bytes()).unwrap().src, client(1).into());
}

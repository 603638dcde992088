//! A second opinion on every frame: etherparse finds the same facts, and accepts what `parse` accepts.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Ethernet2Slice, Icmpv4Slice, Icmpv6Slice, IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice,
    Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, SingleVlanSlice, TcpHeaderSlice,
    UdpHeaderSlice, ether_type, ip_number,
};
use proptest::prelude::*;
use shunt_dataplane::packet::{Kind, Packet, Protocol, TcpFlags};
use shunt_dataplane::parse::{identification, parse, ttl};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::craft::{Craft, SYN, fragments, icmp_error};
use crate::malformed::mutated;

/// What a careful router would make of a frame, told with etherparse's views.
fn second_opinion(frame: &[u8]) -> Option<Packet> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
    let (mut kind, mut rest, mut l3) = (ethernet.ether_type(), ethernet.payload_slice(), 14);
    while matches!(kind, EtherType(0x8100 | 0x88a8 | 0x9100)) {
        let tag = SingleVlanSlice::from_slice(rest).ok()?;
        (kind, rest, l3) = (tag.ether_type(), tag.payload_slice(), l3 + 4);
    }
    let packet = match kind {
        ether_type::IPV4 => ipv4(rest, l3),
        ether_type::IPV6 => ipv6(rest, l3),
        _ => None,
    }?;
    (l3 <= 22 && (packet.kind == Kind::Later || packet.dst_port > 0)).then_some(packet)
}

/// A fragment: where its data begins, bytes in front of it that count, offset, whether more come.
type Piece = Option<(usize, usize, usize, bool)>;

fn ipv4(bytes: &[u8], l3: usize) -> Option<Packet> {
    let ip = Ipv4HeaderSlice::from_slice(bytes).ok()?;
    let (header, total) = (ip.slice().len(), usize::from(ip.total_len()));
    let sums_up = Sum16BitWords::new().add_slice(ip.slice()).ones_complement() == 0;
    let (src, dst) = (ip.source_addr(), ip.destination_addr());
    if total < header || total > bytes.len() || !sums_up || !may_send_v4(src) || src == dst {
        return None;
    }
    let offset = usize::from(ip.fragments_offset().byte_offset());
    let piece = ip.is_fragmenting_payload().then_some((header, header, offset, ip.more_fragments()));
    above(&bytes[..total], l3, header, ip.protocol(), src.into(), dst.into(), piece)
}

fn may_send_v4(src: Ipv4Addr) -> bool {
    !(src.octets()[0] == 0 || src.is_loopback() || src.is_multicast() || src.octets()[0] >= 240)
}

fn ipv6(bytes: &[u8], l3: usize) -> Option<Packet> {
    let ip = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let total = 40 + usize::from(ip.payload_length());
    let (src, dst) = (ip.source_addr(), ip.destination_addr());
    let mapped = dst.to_ipv4_mapped().is_some();
    if total == 40 || total > bytes.len() || !may_send_v6(src) || src == dst || mapped {
        return None;
    }
    let (header, next, piece) = extensions(&bytes[..total], ip.next_header())?;
    above(&bytes[..total], l3, header, next, src.into(), dst.into(), piece)
}

fn may_send_v6(src: Ipv6Addr) -> bool {
    !(src.is_unspecified() || src.is_loopback() || src.is_multicast() || src.to_ipv4_mapped().is_some())
}

/// Walks through the extension headers of an IPv6 packet: where they end, what comes then, whether it is a fragment.
fn extensions(packet: &[u8], first: IpNumber) -> Option<(usize, IpNumber, Piece)> {
    let (mut at, mut next, mut count, mut piece, mut fragmented) = (40, first, 0, None, false);
    loop {
        let rest = &packet[at..];
        let (length, then) = match next {
            ip_number::IPV6_HEADER_HOP_BY_HOP | ip_number::IPV6_DESTINATION_OPTIONS => {
                let header = Ipv6RawExtHeaderSlice::from_slice(rest).ok()?;
                if next == ip_number::IPV6_HEADER_HOP_BY_HOP && count > 0 {
                    return None;
                }
                (header.slice().len(), header.next_header())
            }
            ip_number::IPV6_ROUTE_HEADER => {
                let header = Ipv6RawExtHeaderSlice::from_slice(rest).ok()?;
                let [kind, segments_left, ..] = *header.payload() else { return None };
                if kind == 0 || segments_left > 0 {
                    return None;
                }
                (header.slice().len(), header.next_header())
            }
            ip_number::AUTHENTICATION_HEADER => {
                let header = IpAuthHeaderSlice::from_slice(rest).ok()?;
                (header.slice().len(), header.next_header())
            }
            ip_number::IPV6_FRAGMENTATION_HEADER => {
                let header = Ipv6FragmentHeaderSlice::from_slice(rest).ok()?;
                if std::mem::replace(&mut fragmented, true) {
                    return None;
                }
                if header.is_fragmenting_payload() {
                    let offset = usize::from(header.fragment_offset().byte_offset());
                    piece = Some((at + 8, at - 40, offset, header.more_fragments()));
                }
                (8, header.next_header())
            }
            _ => return Some((at, next, piece)),
        };
        (at, next, count) = (at + length, then, count + 1);
        if count > 8 || at - 40 > 256 {
            return None;
        }
        if piece.is_some_and(|(_, _, offset, _)| offset > 0) {
            return Some((at, next, piece));
        }
    }
}

/// From the transport header on.
fn above(
    packet: &[u8],
    l3: usize,
    header: usize,
    next: IpNumber,
    src: IpAddr,
    dst: IpAddr,
    piece: Piece,
) -> Option<Packet> {
    let (l4, end) = (l3 + header, l3 + packet.len());
    if end > 65_535 {
        return None;
    }
    let facts = |kind, src: IpAddr, dst: IpAddr, (protocol, src_port, dst_port, flags)| Packet {
        kind,
        src: src.into(),
        dst: dst.into(),
        src_port,
        dst_port,
        protocol,
        flags,
        l3: l3 as u16,
        l4: l4 as u16,
        end: end as u16,
    };
    if let ip_number::ICMP | ip_number::IPV6_ICMP = next {
        if piece.is_some() || (next == ip_number::ICMP) != src.is_ipv4() {
            return None;
        }
        let (from, to, transport) = error(&packet[header..], src, dst)?;
        // The flow is the way back.
        let (protocol, src_port, dst_port) = transport;
        return (from == dst)
            .then(|| facts(Kind::Error, to, from, (protocol, dst_port, src_port, TcpFlags::default())));
    }
    let protocol = supported(next)?;
    let least = match protocol {
        Protocol::Tcp => 20,
        Protocol::Udp => 8,
        Protocol::Sctp => 12,
    };
    let Some((data, before, offset, more)) = piece else {
        return Some(facts(Kind::Whole, src, dst, transport(&packet[header..], protocol, false)?));
    };
    let length = packet.len() - data;
    if length == 0 || more && !length.is_multiple_of(8) || before + offset + length > 65_535 {
        return None;
    }
    if offset > 0 {
        let nothing = (protocol, 0, 0, TcpFlags::default());
        return (offset >= least).then(|| facts(Kind::Later, src, dst, nothing));
    }
    Some(facts(Kind::First, src, dst, transport(&packet[header..], protocol, true)?))
}

fn supported(number: IpNumber) -> Option<Protocol> {
    match number {
        ip_number::TCP => Some(Protocol::Tcp),
        ip_number::UDP => Some(Protocol::Udp),
        ip_number::SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

fn transport(segment: &[u8], protocol: Protocol, first: bool) -> Option<(Protocol, u16, u16, TcpFlags)> {
    match protocol {
        Protocol::Tcp => {
            let tcp = TcpHeaderSlice::from_slice(segment).ok()?;
            let flags =
                [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
            let flags = flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum();
            Some((protocol, tcp.source_port(), tcp.destination_port(), TcpFlags(flags)))
        }
        Protocol::Udp => {
            let udp = UdpHeaderSlice::from_slice(segment).ok()?;
            let length = usize::from(udp.length());
            let fits = if first { length >= segment.len() } else { length <= segment.len() };
            (length >= 8 && fits).then(|| (protocol, udp.source_port(), udp.destination_port(), TcpFlags(0)))
        }
        // etherparse does not know SCTP, but its ports are where those of UDP are.
        Protocol::Sctp => {
            let ports = UdpHeaderSlice::from_slice(segment).ok().filter(|_| segment.len() >= 12)?;
            Some((protocol, ports.source_port(), ports.destination_port(), TcpFlags(0)))
        }
    }
}

/// What an ICMP error quotes: source, destination, protocol and ports.
fn error(message: &[u8], src: IpAddr, dst: IpAddr) -> Option<(IpAddr, IpAddr, (Protocol, u16, u16))> {
    let quote = match (src, dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let icmp = Icmpv6Slice::from_slice(message).ok()?;
            let sums_up = icmp.is_checksum_valid(src.octets(), dst.octets());
            (matches!(icmp.type_u8(), 1..=4) && sums_up).then(|| icmp.payload())?
        }
        _ => {
            // Its payload of other types may begin elsewhere.
            let icmp = Icmpv4Slice::from_slice(message).ok()?;
            let sums_up = Sum16BitWords::new().add_slice(message).ones_complement() == 0;
            (matches!(icmp.type_u8(), 3 | 4 | 11 | 12) && sums_up).then(|| icmp.payload())?
        }
    };
    let (from, to, next, at): (IpAddr, IpAddr, _, _) = if src.is_ipv4() {
        let ip = Ipv4HeaderSlice::from_slice(quote).ok()?;
        let is_client = may_send_v4(ip.destination_addr()) && ip.fragments_offset().value() == 0;
        is_client.then(|| {
            (ip.source_addr().into(), ip.destination_addr().into(), ip.protocol(), ip.slice().len())
        })?
    } else {
        let ip = Ipv6HeaderSlice::from_slice(quote).ok().filter(|ip| may_send_v6(ip.destination_addr()))?;
        let (at, next, piece) = extensions(quote, ip.next_header())?;
        let is_later = piece.is_some_and(|(_, _, offset, _)| offset > 0);
        (!is_later).then(|| (ip.source_addr().into(), ip.destination_addr().into(), next, at))?
    };
    let ports: [u8; 4] = quote[at..].get(..4)?.try_into().ok()?;
    let [src_port, dst_port] = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
    (from != to).then_some((from, to, (supported(next)?, src_port, dst_port)))
}

/// One good frame of each kind, by family.
fn good_frames() -> Vec<(Vec<u8>, Kind)> {
    let mut all = Vec::new();
    for v6 in [false, true] {
        for tags in [&[][..], &[(0x8100, 0x2064)], &[(0x88a8, 0x0001), (0x8100, 0xefff)]] {
            for craft in [Craft::tcp(1, SYN), Craft::udp(1), Craft::sctp(1)] {
                let craft = Craft { payload: vec![7; 40], ..craft };
                let craft = if v6 { craft.v6() } else { craft }.tagged(tags);
                all.push((craft.bytes(), Kind::Whole));
                let pieces = fragments(&craft.bytes(), 24, 0x1d0f, 0);
                let kinds = std::iter::once(Kind::First).chain(std::iter::repeat(Kind::Later));
                all.extend(pieces.into_iter().zip(kinds));
                let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
                all.push((icmp_error(kind, code, 1400, &craft.reverse().ip()), Kind::Error));
            }
        }
    }
    all
}

#[test]
fn both_opinions_accept_good_frames_of_every_kind() {
    for (frame, kind) in good_frames() {
        let opinions = [parse(&frame).ok(), second_opinion(&frame)];
        assert_eq!(opinions.map(|packet| packet.map(|packet| packet.kind)), [Some(kind); 2], "{frame:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40_000))]

    #[test]
    fn both_opinions_accept_the_same_frames_and_find_the_same_facts(frame in mutated()) {
        prop_assert_eq!(parse(&frame).ok(), second_opinion(&frame));
    }

    #[test]
    fn both_opinions_find_the_same_ttl_and_identification(frame in mutated()) {
        let Ok(packet) = parse(&frame) else { return Ok(()) };
        let ip = &frame[usize::from(packet.l3)..usize::from(packet.end)];
        if let Ok(header) = Ipv4HeaderSlice::from_slice(ip) {
            prop_assert_eq!(ttl(&frame, &packet), header.ttl());
            prop_assert_eq!(identification(&frame, &packet), u32::from(header.identification()));
        } else {
            let header = Ipv6HeaderSlice::from_slice(ip).unwrap();
            prop_assert_eq!(ttl(&frame, &packet), header.hop_limit());
            if let Some((_, _, Some((data, ..)))) = extensions(ip, header.next_header()) {
                let fragment = Ipv6FragmentHeaderSlice::from_slice(&ip[data - 8..]).unwrap();
                prop_assert_eq!(identification(&frame, &packet), fragment.identification());
            } else {
                prop_assert_ne!(packet.kind, Kind::Later);
            }
        }
    }
}

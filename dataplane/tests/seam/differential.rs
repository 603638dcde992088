//! A second opinion on every frame: pnet_packet finds the same facts, and accepts what `parse` accepts.

use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;
use proptest::prelude::*;
use shunt_dataplane::packet::{Kind, Packet, Protocol, TcpFlags};
use shunt_dataplane::parse::parse;

use crate::craft::{Craft, SYN};
use crate::malformed::mutated;

/// What a careful router would make of a frame, told with pnet_packet's views.
fn second_opinion(frame: &[u8]) -> Option<Packet> {
    let ethernet = EthernetPacket::new(frame).filter(|e| e.get_ethertype() == EtherTypes::Ipv4)?;
    let ip = Ipv4Packet::new(ethernet.payload()).filter(|ip| ip.get_version() == 4)?;
    let header = usize::from(ip.get_header_length()) * 4;
    let total = usize::from(ip.get_total_length());
    if header < 20 || total < header || total > ethernet.payload().len() {
        return None;
    }
    // All ones and all zeroes are the same number in one's complement.
    let folded = |checksum: u16| checksum % 0xffff;
    if folded(ip.get_checksum()) != folded(ipv4::checksum(&ip)) {
        return None;
    }
    // Bit 0 of pnet_packet's flags is More Fragments.
    if ip.get_flags() & 1 != 0 || ip.get_fragment_offset() != 0 || ip.get_ttl() <= 1 {
        return None;
    }
    let (src, dst) = (ip.get_source(), ip.get_destination());
    let class_e_and_above = src.octets()[0] >= 240;
    if src.octets()[0] == 0 || src.is_loopback() || src.is_multicast() || class_e_and_above || src == dst {
        return None;
    }
    let segment = &ethernet.payload()[header..total];
    let (protocol, src_port, dst_port, flags) = match ip.get_next_level_protocol() {
        IpNextHeaderProtocols::Tcp => {
            let tcp = TcpPacket::new(segment)?;
            let header = usize::from(tcp.get_data_offset()) * 4;
            if header < 20 || header > segment.len() {
                return None;
            }
            (Protocol::Tcp, tcp.get_source(), tcp.get_destination(), TcpFlags(tcp.get_flags()))
        }
        IpNextHeaderProtocols::Udp => {
            let udp = UdpPacket::new(segment)?;
            let length = usize::from(udp.get_length());
            if length < 8 || length > segment.len() {
                return None;
            }
            (Protocol::Udp, udp.get_source(), udp.get_destination(), TcpFlags::default())
        }
        _ => return None,
    };
    Some(Packet {
        kind: Kind::Whole,
        src: src.into(),
        dst: dst.into(),
        src_port,
        dst_port,
        protocol,
        flags,
        l3: 14,
        l4: 14 + header as u16,
        end: 14 + total as u16,
    })
}

#[test]
fn the_second_opinion_accepts_good_frames() {
    for frame in [Craft::tcp(1, SYN).bytes(), Craft::udp(1).bytes()] {
        assert!(second_opinion(&frame).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn both_opinions_accept_the_same_frames_and_find_the_same_facts(frame in mutated()) {
        prop_assert_eq!(parse(&frame).ok(), second_opinion(&frame));
    }
}

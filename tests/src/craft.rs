//! Frames made by hand: what a kernel would never send, or what a test wants to know to the byte.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{self, MutableTcpPacket};
use pnet_packet::udp::{self, MutableUdpPacket};

use crate::address::Mac;
use crate::checksum::pseudo_header;
use crate::frame::{Arp, Frame, SCTP, TCP, UDP};

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// How far the TCP or UDP checksum is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Right.
    #[default]
    Complete,
    /// Only the pseudo-header, as a sender with checksum offload leaves it.
    Half,
}

/// Whose segment it is, and what its headers say.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Who sends it on the link.
    pub source_mac: Mac,
    /// Whom it is for on the link.
    pub destination_mac: Mac,
    /// Address and port it comes from.
    pub source: SocketAddr,
    /// Address and port it goes to; of the same family as the source.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The identification of an IPv4 packet.
    pub id: u16,
    /// The sequence number of a TCP segment.
    pub sequence: u32,
    /// The flags of a TCP segment.
    pub flags: u8,
    /// How far the checksum is computed.
    pub checksum: Checksum,
}

impl Default for Segment {
    /// A SYN from nowhere to nowhere.
    fn default() -> Segment {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Segment {
            source_mac: Mac::ZERO,
            destination_mac: Mac::ZERO,
            source: nowhere,
            destination: nowhere,
            ttl: 64,
            id: 1,
            sequence: 1,
            flags: tcp::TcpFlags::SYN,
            checksum: Checksum::Complete,
        }
    }
}

/// A TCP segment with `payload`.
pub fn tcp(segment: &Segment, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; MutableTcpPacket::minimum_packet_size()];
    bytes.extend(payload);
    let mut packet = MutableTcpPacket::new(&mut bytes).expect("room for a TCP header");
    packet.set_source(segment.source.port());
    packet.set_destination(segment.destination.port());
    packet.set_sequence(segment.sequence);
    packet.set_data_offset(5);
    packet.set_flags(segment.flags);
    packet.set_window(0xffff);
    let sum = match (segment.checksum, segment.source.ip(), segment.destination.ip()) {
        (Checksum::Half, source, destination) => half(source, destination, TCP, &bytes),
        (_, IpAddr::V4(a), IpAddr::V4(b)) => tcp::ipv4_checksum(&packet.to_immutable(), &a, &b),
        (_, IpAddr::V6(a), IpAddr::V6(b)) => tcp::ipv6_checksum(&packet.to_immutable(), &a, &b),
        _ => panic!("source and destination are of two families"),
    };
    MutableTcpPacket::new(&mut bytes).expect("as above").set_checksum(sum);
    packet_in_frame(segment, TCP, &bytes)
}

/// A UDP datagram with `payload`.
pub fn udp(segment: &Segment, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; MutableUdpPacket::minimum_packet_size()];
    bytes.extend(payload);
    let length = u16::try_from(bytes.len()).expect("a datagram is under 64 KiB");
    let mut packet = MutableUdpPacket::new(&mut bytes).expect("room for a UDP header");
    packet.set_source(segment.source.port());
    packet.set_destination(segment.destination.port());
    packet.set_length(length);
    let sum = match (segment.checksum, segment.source.ip(), segment.destination.ip()) {
        (Checksum::Half, source, destination) => half(source, destination, UDP, &bytes),
        (_, IpAddr::V4(a), IpAddr::V4(b)) => udp::ipv4_checksum(&packet.to_immutable(), &a, &b),
        (_, IpAddr::V6(a), IpAddr::V6(b)) => udp::ipv6_checksum(&packet.to_immutable(), &a, &b),
        _ => panic!("source and destination are of two families"),
    };
    // RFC 768: zero means "no checksum".
    let sum = if sum == 0 { 0xffff } else { sum };
    MutableUdpPacket::new(&mut bytes).expect("as above").set_checksum(sum);
    packet_in_frame(segment, UDP, &bytes)
}

/// An SCTP packet (RFC 9260 section 3) with these chunks behind its common header; its CRC32c is right.
pub fn sctp(segment: &Segment, chunks: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(segment.source.port().to_be_bytes());
    bytes.extend(segment.destination.port().to_be_bytes());
    // The verification tag, and room for the checksum.
    bytes.extend([0; 8]);
    bytes.extend(chunks);
    // RFC 9260 appendix A: the sum goes out with its lowest byte first.
    let sum = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&sum);
    packet_in_frame(segment, SCTP, &bytes)
}

/// `frame` with 802.1Q tags for `vlans`, the outermost first; of several, all but the last are service tags (802.1ad).
pub fn tagged(frame: &[u8], vlans: &[u16]) -> Vec<u8> {
    const ADDRESSES: usize = 12;
    let (addresses, rest) = frame.split_at(ADDRESSES);
    let mut bytes = addresses.to_vec();
    for (n, vlan) in vlans.iter().enumerate() {
        let ethertype: u16 = if n + 1 < vlans.len() { 0x88a8 } else { 0x8100 };
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(vlan.to_be_bytes());
    }
    bytes.extend(rest);
    bytes
}

/// The CRC of Castagnoli, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// "Who has `target`? Tell `sender`", to all.
pub fn arp_request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(Mac::BROADCAST, Arp { operation: Arp::REQUEST, sender, sender_mac, target }, Mac::ZERO)
}

/// "`address` is at `mac`", to all, asked by nobody: a gratuitous ARP (RFC 5227 section 1.2.1).
pub fn arp_announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(
        Mac::BROADCAST,
        Arp { operation: Arp::REQUEST, sender: address, sender_mac: mac, target: address },
        Mac::ZERO,
    )
}

/// An ARP message to `destination`, about the target at `target_mac`.
pub fn arp(destination: Mac, message: Arp, target_mac: Mac) -> Vec<u8> {
    let mut bytes = vec![0; ARP];
    let mut packet = MutableArpPacket::new(&mut bytes).expect("room for an ARP message");
    packet.set_hardware_type(ArpHardwareTypes::Ethernet);
    packet.set_protocol_type(EtherTypes::Ipv4);
    packet.set_hw_addr_len(6);
    packet.set_proto_addr_len(4);
    packet.set_operation(ArpOperation(message.operation));
    packet.set_sender_hw_addr(message.sender_mac.0.into());
    packet.set_sender_proto_addr(message.sender);
    packet.set_target_hw_addr(target_mac.0.into());
    packet.set_target_proto_addr(message.target);
    ethernet(message.sender_mac, destination, EtherTypes::Arp.0, &bytes)
}

/// A frame around `payload`.
pub fn ethernet(source: Mac, destination: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET];
    let mut header = MutableEthernetPacket::new(&mut bytes).expect("room for an Ethernet header");
    header.set_source(source.0.into());
    header.set_destination(destination.0.into());
    header.set_ethertype(pnet_packet::ethernet::EtherType(ethertype));
    bytes.extend(payload);
    bytes
}

/// The view of a frame made here.
pub fn view(bytes: &[u8]) -> Frame {
    Frame::parse(Duration::ZERO, bytes.to_vec(), bytes.len()).expect("a crafted frame has an Ethernet header")
}

pub(crate) fn packet_in_frame(segment: &Segment, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes;
    let ethertype = match (segment.source.ip(), segment.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes = vec![0; IPV4];
            let mut packet = MutableIpv4Packet::new(&mut bytes).expect("room for an IPv4 header");
            packet.set_version(4);
            packet.set_header_length(5);
            packet.set_total_length(u16::try_from(IPV4 + payload.len()).expect("a packet is under 64 KiB"));
            packet.set_identification(segment.id);
            packet.set_ttl(segment.ttl);
            packet.set_next_level_protocol(IpNextHeaderProtocol(protocol));
            packet.set_source(source);
            packet.set_destination(destination);
            let sum = ipv4::checksum(&packet.to_immutable());
            packet.set_checksum(sum);
            EtherTypes::Ipv4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes = vec![0; IPV6];
            let mut packet = MutableIpv6Packet::new(&mut bytes).expect("room for an IPv6 header");
            packet.set_version(6);
            packet.set_payload_length(u16::try_from(payload.len()).expect("a packet is under 64 KiB"));
            packet.set_hop_limit(segment.ttl);
            packet.set_next_header(IpNextHeaderProtocol(protocol));
            packet.set_source(source);
            packet.set_destination(destination);
            EtherTypes::Ipv6
        }
        _ => panic!("source and destination are of two families"),
    };
    bytes.extend(payload);
    ethernet(segment.source_mac, segment.destination_mac, ethertype.0, &bytes)
}

fn half(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    pseudo_header(source, destination, protocol, segment.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{VIP, VIP6};

    #[test]
    fn the_check_value_of_the_crc_is_the_published_one() {
        // RFC 3720 appendix B.4: 32 bytes of zeroes.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn tags_are_read_as_they_were_put_in() {
        for (client, vip) in [("198.51.100.7:1", VIP), ("[2001:db8:51::7]:1", VIP6)] {
            let segment = Segment {
                source: client.parse().unwrap(),
                destination: (vip, 80).into(),
                ..Segment::default()
            };
            let plain = view(&tcp(&segment, b"hello"));
            for vlans in [&[][..], &[100], &[7, 4094]] {
                let frame = view(&tagged(&plain.bytes, vlans));
                assert_eq!(frame.vlans, vlans);
                assert_eq!((frame.packet(), frame.ethertype), (plain.packet(), plain.ethertype));
            }
        }
    }

    #[test]
    fn the_ports_of_sctp_are_read_as_they_were_made() {
        let segment = Segment {
            source: "198.51.100.7:1000".parse().unwrap(),
            destination: (VIP, 2000).into(),
            ..Segment::default()
        };
        let frame = view(&sctp(&segment, &[1, 0, 0, 4]));
        assert_eq!(frame.ip.and_then(|ip| ip.ports), Some((1000, 2000)));
    }
}

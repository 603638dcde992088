//! The checksums of a captured frame: are they right, or half done?
//!
//! A sender whose device "computes checksums in hardware" leaves only the sum of the pseudo-header in the field
//! (CHECKSUM_PARTIAL in include/linux/skbuff.h). Between veth pairs nobody ever completes it; a director whose frames
//! leave through AF_XDP has to.

use std::net::IpAddr;

use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::{self, TcpPacket};
use pnet_packet::udp::{self, UdpPacket};

use crate::frame::{Frame, TCP, UDP};

/// What the checksum field of TCP or UDP holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// The right sum.
    Complete,
    /// The sum of the pseudo-header only.
    Half,
    /// Neither.
    Wrong,
    /// Nothing to judge: no TCP or UDP, UDP without a checksum, a fragment, or bytes that the capture cut off.
    Unknown,
}

/// Whether the IPv4 header's checksum is right. There is none in IPv6, and none to be wrong.
pub fn header_is_right(frame: &Frame) -> bool {
    match frame.packet().and_then(Ipv4Packet::new) {
        Some(packet) if packet.get_version() == 4 => ipv4::checksum(&packet) == packet.get_checksum(),
        _ => true,
    }
}

/// What the TCP or UDP checksum of `frame` holds.
pub fn transport(frame: &Frame) -> Transport {
    let Some(ip) = &frame.ip else { return Transport::Unknown };
    if ip.fragment || frame.bytes.len() < frame.length {
        return Transport::Unknown;
    }
    let segment = &frame.bytes[ip.transport..ip.packet.end];
    let (held, right) = match (ip.protocol, ip.source, ip.destination) {
        (TCP, source, destination) => {
            let Some(packet) = TcpPacket::new(segment) else { return Transport::Unknown };
            let right = match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    tcp::ipv4_checksum(&packet, &source, &destination)
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    tcp::ipv6_checksum(&packet, &source, &destination)
                }
                _ => unreachable!("a packet has one address family"),
            };
            (packet.get_checksum(), right)
        }
        (UDP, source, destination) => {
            let Some(packet) = UdpPacket::new(segment) else { return Transport::Unknown };
            if packet.get_checksum() == 0 {
                return Transport::Unknown;
            }
            let right = match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    udp::ipv4_checksum(&packet, &source, &destination)
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    udp::ipv6_checksum(&packet, &source, &destination)
                }
                _ => unreachable!("a packet has one address family"),
            };
            // RFC 768: a sum of zero is sent as all ones, since zero means "no checksum".
            (packet.get_checksum(), if right == 0 { 0xffff } else { right })
        }
        _ => return Transport::Unknown,
    };
    if held == right {
        Transport::Complete
    } else if held == pseudo_header(ip.source, ip.destination, ip.protocol, segment.len()) {
        Transport::Half
    } else {
        Transport::Wrong
    }
}

/// The folded sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1), not complemented: what a sender
/// leaves for the hardware.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut sum: u32 = [octets(source), octets(destination)]
        .concat()
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    sum += u32::from(protocol) + u32::try_from(length).expect("a packet is under 64 KiB");
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Mac, VIP};
    use crate::craft::{Checksum, Segment, udp};

    fn frame(checksum: Checksum) -> Frame {
        let segment = Segment {
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            destination_mac: Mac([2, 0, 0, 0, 0, 2]),
            source: "198.51.100.7:4242".parse().unwrap(),
            destination: (VIP, 53).into(),
            checksum,
            ..Segment::default()
        };
        crate::craft::view(&udp(&segment, b"odd"))
    }

    #[test]
    fn complete_half_and_wrong_are_told_apart() {
        assert_eq!(transport(&frame(Checksum::Complete)), Transport::Complete);
        assert_eq!(transport(&frame(Checksum::Half)), Transport::Half);
        let mut spoilt = frame(Checksum::Complete);
        *spoilt.bytes.last_mut().unwrap() ^= 1;
        assert_eq!(transport(&spoilt), Transport::Wrong);
    }

    #[test]
    fn what_the_capture_cut_off_is_not_judged() {
        let mut cut = frame(Checksum::Complete);
        cut.length += 1;
        assert_eq!(transport(&cut), Transport::Unknown);
    }

    #[test]
    fn a_header_with_another_ttl_is_wrong() {
        let mut frame = frame(Checksum::Complete);
        assert!(header_is_right(&frame));
        frame.bytes[14 + 8] -= 1;
        assert!(!header_is_right(&frame));
    }
}

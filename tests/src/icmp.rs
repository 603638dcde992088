//! ICMP and ICMPv6 errors made by hand, quoting a packet as a router on the way would.

use std::net::IpAddr;

use pnet_packet::icmp::{self, IcmpPacket};
use pnet_packet::icmpv6::{self, Icmpv6Packet};

use crate::craft::{Segment, packet_in_frame};
use crate::frame::{Frame, ICMP, ICMPV6};

/// Bytes of an ICMP header.
const HEADER: usize = 8;
/// An IPv4 header without options, and eight bytes of what it carries: what every router quotes (RFC 792).
pub const SHORTEST_QUOTE: usize = 28;

/// An error of type and code `what` (see [`crate::frame::Icmp`]) from and to the addresses of `segment`, whose ports say
/// nothing. `word` is the four bytes behind the checksum, the MTU for example; `quoted` the packet it is about, from its
/// IP header on, as long as the router pleases.
pub fn error(segment: &Segment, what: (u8, u8), word: u32, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![what.0, what.1, 0, 0];
    message.extend(word.to_be_bytes());
    message.extend(quoted);
    debug_assert!(message.len() >= HEADER, "a header was written");
    let (protocol, sum) = match (segment.source.ip(), segment.destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            (ICMP, icmp::checksum(&IcmpPacket::new(&message).expect("a whole header")))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let packet = Icmpv6Packet::new(&message).expect("a whole header");
            (ICMPV6, icmpv6::checksum(&packet, &source, &destination))
        }
        _ => panic!("source and destination are of two families"),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet_in_frame(segment, protocol, &message)
}

/// The packet that an ICMP error in `frame` quotes.
pub fn quoted(frame: &Frame) -> Option<&[u8]> {
    frame.ip.as_ref()?.icmp?;
    frame.transport()?.get(HEADER..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{VIP, VIP6};
    use crate::craft::{tcp, view};
    use crate::frame::Icmp;

    /// The sum over a message with its checksum in it is all ones (RFC 1071), in ICMPv6 with the pseudo-header.
    fn sums_up(bytes: &[u8], start: u16) -> bool {
        let words = bytes.chunks(2).map(|word| [word[0], word.get(1).copied().unwrap_or(0)]);
        let mut sum = u32::from(start) + words.map(|word| u32::from(u16::from_be_bytes(word))).sum::<u32>();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }

    #[test]
    fn an_error_is_read_as_it_was_made() {
        let cases = [
            ("198.51.100.1:0", VIP, "198.51.100.7:4242", Icmp::FRAGMENTATION_NEEDED),
            ("[2001:db8:51::1]:0", VIP6, "[2001:db8:51::7]:4242", Icmp::PACKET_TOO_BIG),
        ];
        for (router, vip, client, what) in cases {
            let answer = Segment {
                source: (vip, 80).into(),
                destination: client.parse().unwrap(),
                ..Default::default()
            };
            let answer = view(&tcp(&answer, &[7; 99]));
            let segment = Segment {
                source: router.parse().unwrap(),
                destination: (vip, 0).into(),
                ..Default::default()
            };
            let packet = answer.packet().unwrap();
            let frame = view(&error(&segment, what, 1400, packet));
            assert!(frame.is_to(vip) && frame.is_icmp(what) && !frame.is_icmp((what.0, 99)));
            assert_eq!(frame.ip.as_ref().and_then(|ip| ip.icmp).map(|icmp| icmp.word), Some(1400));
            assert_eq!(quoted(&frame), Some(packet));
            let message = frame.transport().unwrap();
            let start = match vip {
                IpAddr::V4(_) => 0,
                _ => crate::checksum::pseudo_header(segment.source.ip(), vip, ICMPV6, message.len()),
            };
            assert!(sums_up(message, start), "{frame:?}");
        }
    }
}

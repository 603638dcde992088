//! What nearly all frames are: an IPv4 packet without options, whole, of TCP or UDP, behind one VLAN tag or none. Its facts
//! with few loads from fixed places, and one branch in the end. Any other frame, and any that is not good, is for the
//! careful way, which finds the same facts of these frames, and the reasons of the others.
//!
//! *Invariant*: `plain` finds what the careful way finds, or nothing (tests below).

use crate::packet::{Protocol, TcpFlags};
use crate::parse::{ETHER_TYPE_IPV4, ETHER_TYPE_TAGS, ETHERNET, TAG};

/// IPv4 header without options, and the least TCP header.
const HEADERS: usize = 40;
/// Don't Fragment may be set; an offset or More Fragments may not.
const FRAGMENT: u16 = 0x3fff;

/// The facts of a plain packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Source address, host order.
    pub src: u32,
    /// Destination address, host order.
    pub dst: u32,
    /// Source port.
    pub src_port: u16,
    /// Destination port, not 0.
    pub dst_port: u16,
    /// Length of the IP packet, bytes.
    pub length: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// TCP flags; empty for UDP.
    pub flags: TcpFlags,
    /// Offset of the IP header in the frame, bytes: 14 or 18.
    pub l3: u8,
}

/// The facts of a frame, if its packet is plain and good.
#[inline(always)]
pub fn plain(frame: &[u8]) -> Option<Plain> {
    let l3 = match ether_type(frame, ETHERNET)? {
        ETHER_TYPE_IPV4 => ETHERNET,
        tag if ETHER_TYPE_TAGS.contains(&tag) && ether_type(frame, ETHERNET + TAG)? == ETHER_TYPE_IPV4 => {
            ETHERNET + TAG
        }
        _ => return None,
    };
    // A UDP packet may be shorter, if the wire is none that pads.
    let ip = frame.get(l3..)?.first_chunk::<HEADERS>()?;
    let is_tcp = ip[9] == Protocol::Tcp as u8;
    let length = u16_at(ip, 2) as usize;
    let (src, dst, ports) = (u32_at(ip, 12), u32_at(ip, 16), u32_at(ip, 20));
    let first = (src >> 24) as u8;
    // What the transport header says of its own length (TCP), or of the datagram's (UDP), and the least that it may say.
    let (told, least) = if is_tcp { ((ip[32] >> 4) as usize * 4, 20) } else { (u16_at(ip, 24) as usize, 8) };
    let is_plain = (ip[0] == 0x45)
        & (u16_at(ip, 6) & FRAGMENT == 0)
        & (is_tcp | (ip[9] == Protocol::Udp as u8))
        // Offsets are 16 bits wide.
        & (l3 + length <= if frame.len() < 65_535 { frame.len() } else { 65_535 })
        & (least <= told)
        & (told + 20 <= length)
        & is_intact(ip)
        // Neither 0 nor 224 and above: 0 less 1 is 255.
        & (first.wrapping_sub(1) < 223)
        & (first != 127)
        & (src != dst)
        & (ports as u16 != 0);
    if !is_plain {
        return None;
    }
    Some(Plain {
        src,
        dst,
        src_port: (ports >> 16) as u16,
        dst_port: ports as u16,
        length: length as u16,
        protocol: if is_tcp { Protocol::Tcp } else { Protocol::Udp },
        flags: TcpFlags(if is_tcp { ip[33] } else { 0 }),
        l3: l3 as u8,
    })
}

/// What the Ethernet header that ends at `l3` says of what follows it.
#[inline(always)]
fn ether_type(frame: &[u8], l3: usize) -> Option<u16> {
    frame.get(l3 - 2..l3)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Whether the header adds up (RFC 1071): in any order of bytes, for the carry goes around.
#[inline(always)]
fn is_intact(ip: &[u8; HEADERS]) -> bool {
    let word = |at: usize| u32::from_ne_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]) as u64;
    let sum = word(0) + word(4) + word(8) + word(12) + word(16);
    // The header is not all zeros; so it adds up if the sum is a multiple of 0xffff.
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum == 0xffff
}

#[inline(always)]
fn u16_at(ip: &[u8; HEADERS], at: usize) -> u16 {
    u16::from_be_bytes([ip[at], ip[at + 1]])
}

#[inline(always)]
fn u32_at(ip: &[u8; HEADERS], at: usize) -> u32 {
    u32::from_be_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum;
    use crate::packet::Kind;
    use crate::parse::parse;
    use proptest::prelude::*;

    /// A good plain frame: tags, protocol, bytes of payload, bytes of padding.
    fn frame(tag: bool, tcp: bool, payload: usize, padding: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if tag {
            frame.extend([0x81, 0x00, 0x00, 0x2a]);
        }
        let transport = if tcp { 20 } else { 8 };
        let [high, low] = ((20 + transport + payload) as u16).to_be_bytes();
        let number = if tcp { 6 } else { 17 };
        frame.extend([0x08, 0x00, 0x45, 0, high, low, 0, 1, 0x40, 0, 64, number, 0, 0]);
        frame.extend([198, 51, 100, 7, 192, 0, 2, 10]);
        let l3 = frame.len() - 20;
        let checksum = !checksum::sum(&frame[l3..]);
        frame[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend([0x9c, 0x40, 0, 80]);
        if tcp {
            frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        } else {
            frame.extend(((8 + payload) as u16).to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.resize(frame.len() + payload + padding, 7);
        frame
    }

    fn same(frame: &[u8]) -> Result<bool, TestCaseError> {
        let Some(found) = plain(frame) else { return Ok(false) };
        let packet = parse(frame);
        prop_assert!(packet.is_ok(), "{packet:?}");
        let Ok(packet) = packet else { return Ok(true) };
        prop_assert_eq!(packet.kind, Kind::Whole);
        prop_assert_eq!((packet.src.v4(), packet.dst.v4()), (Some(found.src), Some(found.dst)));
        prop_assert_eq!((packet.src_port, packet.dst_port), (found.src_port, found.dst_port));
        prop_assert_eq!((packet.protocol, packet.flags), (found.protocol, found.flags));
        let l3 = u16::from(found.l3);
        prop_assert_eq!((packet.l3, packet.l4, packet.end), (l3, l3 + 20, l3 + found.length));
        Ok(true)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_plain_has_the_facts_that_the_careful_way_finds(
            tag in any::<bool>(), tcp in any::<bool>(), payload in 12usize..60, padding in 0usize..9,
            at in 0usize..120, byte in any::<u8>(), mends in any::<bool>(), cut in 0usize..3,
        ) {
            let mut frame = frame(tag, tcp, payload, padding);
            prop_assert!(same(&frame)?, "a good frame is plain");
            // Now one byte is another one, and perhaps the header adds up again, or the frame is cut off.
            let at = at.min(frame.len() - 1);
            frame[at] = byte;
            let l3 = if tag { 18 } else { 14 };
            if mends {
                frame[l3 + 10..l3 + 12].fill(0);
                let checksum = !checksum::sum(&frame[l3..l3 + 20]);
                frame[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
            }
            frame.truncate(if cut == 0 { at } else { frame.len() });
            same(&frame)?;
        }
    }
}

//! What nearly all frames are: an IPv4 packet without options, whole, of TCP or UDP, that has hops to go, behind one VLAN tag or none. Its facts
//! with few loads from fixed places. Any other frame, and any that is not good, is for the
//! careful way, which finds the same facts of these frames, and the reasons of the others.
//!
//! *Invariant*: `plain` finds what the careful way finds, or nothing (tests below).

use crate::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use crate::parse::{ETHER_TYPE_IPV4, ETHER_TYPE_TAGS, ETHERNET, TAG};

/// IPv4 header without options, and the least TCP header.
const HEADERS: usize = 40;
/// Of the first eight bytes, the first one lowest: what has to be as in `WHOLE`. Don't Fragment may be set; an offset or
/// More Fragments may not.
const FIXED: u64 = 0xff3f_0000_0000_00ff;
/// Version 4, a header of five words, no fragment.
const WHOLE: u64 = 0x45;

/// The facts of a plain packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Source address 63..32 | source port 31..16 | destination port, not 0, 15..0: as the flow table has it.
    pub client: u64,
    /// Destination address, host order.
    pub dst: u32,
    /// Length of the IP packet, bytes.
    pub length: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// TCP flags; empty for UDP.
    pub flags: TcpFlags,
    /// Offset of the IP header in the frame, bytes: 14 or 18.
    pub l3: u8,
}

impl Plain {
    /// Destination port.
    #[inline(always)]
    pub const fn dst_port(&self) -> u16 {
        self.client as u16
    }

    /// The same as all other packets have it.
    #[inline(always)]
    pub fn packet(&self) -> Packet {
        let Plain { client, dst, length, protocol, flags, l3 } = *self;
        let (src, dst, l3) = (Address::from_v4((client >> 32) as u32), Address::from_v4(dst), u16::from(l3));
        Packet {
            kind: Kind::Whole,
            src,
            dst,
            src_port: (client >> 16) as u16,
            dst_port: client as u16,
            protocol,
            flags,
            l3,
            l4: l3 + 20,
            end: l3 + length,
        }
    }
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
    let (words, _) = frame.get(l3..)?.first_chunk::<HEADERS>()?.as_chunks::<8>();
    // The first byte of each is its lowest.
    let word = |n: usize| u64::from_le_bytes(words[n]);
    let [ip, hops, ends, udp, tcp] = [word(0), word(1), word(2), word(3), word(4)];
    let (ttl, protocol, src, dst) = (hops as u8, (hops >> 8) as u8, (hops >> 32) as u32, ends as u32);
    let length = ((ip >> 16) as u16).swap_bytes();
    let is_tcp = protocol == Protocol::Tcp as u8;
    // What the transport header says of its own length (TCP), or of the datagram's (UDP), and the least that it may say.
    let (told, least) =
        if is_tcp { (u32::from(tcp as u8 >> 4) * 4, 20) } else { (u32::from((udp as u16).swap_bytes()), 8) };
    let net = src as u8;
    // A comparison and a branch, which is nearly always foreseen, for each thing that might be otherwise: that is less to do
    // than to gather what all of them say.
    if ip & FIXED != WHOLE
        // With less it goes no further, and somebody has to be told.
        || ttl <= 1
        || !(is_tcp || protocol == Protocol::Udp as u8)
        || told < least
        || told + 20 > u32::from(length)
        || l3 + usize::from(length) > frame.len()
        // Offsets are 16 bits wide.
        || l3 + usize::from(length) > 65_535
        || !is_intact(ip, hops, dst)
        // Neither 0 nor 224 and above: 0 less 1 is 255.
        || net.wrapping_sub(1) >= 223
        || net == 127
        || src == dst
        || ends >> 48 == 0
    {
        return None;
    }
    Some(Plain {
        client: (ends >> 32 << 32 | u64::from(src)).swap_bytes(),
        dst: dst.swap_bytes(),
        length,
        protocol: if is_tcp { Protocol::Tcp } else { Protocol::Udp },
        flags: TcpFlags(if is_tcp { (tcp >> 8) as u8 } else { 0 }),
        l3: l3 as u8,
    })
}

/// What the Ethernet header that ends at `l3` says of what follows it.
#[inline(always)]
fn ether_type(frame: &[u8], l3: usize) -> Option<u16> {
    frame.get(l3 - 2..l3)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Whether the header, of which these are twice eight and four bytes, adds up (RFC 1071): in any order of bytes, for the
/// carry goes around, and in words of any length, for 2^16 is 1 modulo 0xffff, and so are 2^32 and 2^64.
#[inline(always)]
const fn is_intact(first: u64, second: u64, last: u32) -> bool {
    /// 1 / 0xffff modulo 2^64.
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    let (sum, carry) = first.overflowing_add(second);
    let (sum, another) = sum.overflowing_add(last as u64 + carry as u64);
    // What carried is small: it carries no more.
    let sum = sum.wrapping_add(another as u64);
    // The header is not all zeros; so it adds up if the sum is a multiple of 0xffff, which is what this says (Warren,
    // "Hacker's Delight", section 10-17).
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum;
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
        prop_assert_eq!(found.packet(), packet);
        prop_assert_eq!((Some(found.dst), found.dst_port()), (packet.dst.v4(), packet.dst_port));
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

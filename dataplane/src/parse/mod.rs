//! Bytes -> packet facts, or the reason why not. Reads each header once, trusts nothing.
//!
//! *Invariants*, for every `Ok(packet)`, so that `checksum`, `rewrite` and `answer` may index behind its offsets:
//! - l3 is 14, 18 or 22 (no, one or two VLAN tags); l4 <= end <= frame length, at most 65535.
//! - IPv4: l3 + 20 <= l4, and both addresses are of IPv4. IPv6: l3 + 40 <= l4, and neither address is of IPv4, not
//!   even mapped.
//! - `Whole` and `First`: l4 + 20 (TCP), 8 (UDP) or 12 (SCTP) <= end, and the destination port is not 0. A TCP header
//!   is whole with its options.
//! - `Later`: l4 < end; both ports are 0.
//! - `Error`: l4 + 8 + 20 (IPv4) or 40 (IPv6) + 4 <= end, and the destination port is not 0.
//! - The source address may be a client's. (The TTL may have any value: `ttl`.)
//!
//! [`plain()`] is the short way for what nearly all frames are.
//!
//! Own views instead of pnet_packet's: the same facts and checks cost half the time (`cargo bench`, rows
//! `stage/parse/*`). etherparse is the second opinion in the differential test.
//!
//! RFC 894 (Ethernet), IEEE 802.1Q (VLAN tags); further in `plain`, `ipv4`, `ipv6`, `fragment`, `icmp`, `transport`.

mod fragment;
mod icmp;
mod ipv4;
mod ipv6;
mod plain;
mod transport;

use crate::packet::{Address, Packet};
use crate::verdict::DropReason;

pub use plain::{Plain, plain};

/// Length of an untagged Ethernet header.
pub const ETHERNET: usize = 14;
/// Length of a VLAN tag.
const TAG: usize = 4;
/// More than 802.1ad (QinQ) needs is a mistake or an attack.
const MOST_TAGS: usize = 2;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
/// Tag protocol identifiers: 802.1Q, 802.1ad, and what was used for outer tags before that.
const ETHER_TYPE_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Finds the facts of a frame as it came off the wire (no FCS; Ethernet padding allowed).
#[inline(always)]
pub fn parse(frame: &[u8]) -> Result<Packet, DropReason> {
    let Some(ethernet) = frame.first_chunk::<ETHERNET>() else { return Err(DropReason::FrameTruncated) };
    // What most frames are comes first, and with offsets that the compiler knows.
    match u16_at(ethernet, 12) {
        ETHER_TYPE_IPV4 => ipv4::parse(frame, ETHERNET),
        ETHER_TYPE_IPV6 => untagged_ipv6(frame),
        _ => tagged(frame),
    }
}

#[inline(never)]
fn untagged_ipv6(frame: &[u8]) -> Result<Packet, DropReason> {
    ipv6::parse(frame, ETHERNET)
}

#[inline(never)]
fn tagged(frame: &[u8]) -> Result<Packet, DropReason> {
    for tags in 0..=MOST_TAGS {
        let l3 = ETHERNET + tags * TAG;
        let Some(ethernet) = frame.get(..l3) else { return Err(DropReason::FrameTruncated) };
        match ethernet.last_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes)) {
            Some(ETHER_TYPE_IPV4) => return ipv4::parse(frame, l3),
            Some(ETHER_TYPE_IPV6) => return ipv6::parse(frame, l3),
            Some(tag) if ETHER_TYPE_TAGS.contains(&tag) => {}
            _ => return Err(DropReason::EtherTypeUnsupported),
        }
    }
    Err(DropReason::VlanTooDeep)
}

/// Time to live or hop limit of a packet that `parse` found in this frame.
#[inline(always)]
pub fn ttl(frame: &[u8], packet: &Packet) -> u8 {
    let field = if packet.src.v4().is_some() { ipv4::TTL } else { ipv6::HOP_LIMIT };
    frame.get(packet.l3 as usize + field).copied().unwrap_or(0)
}

/// What the fragments of one datagram have in common, beside addresses and protocol: 16 bits of IPv4, 32 bits of
/// IPv6. 0 for an IPv6 packet without a fragment header.
pub fn identification(frame: &[u8], packet: &Packet) -> u32 {
    let l3 = packet.l3 as usize;
    if packet.src.v4().is_some() {
        ipv4::identification(frame, l3)
    } else {
        ipv6::identification(frame, packet)
    }
}

/// What the IP headers say of a packet: the lower half of the facts.
struct Datagram {
    src: Address,
    dst: Address,
    l3: usize,
    l4: usize,
    end: usize,
}

#[inline(always)]
fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

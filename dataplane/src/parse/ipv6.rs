//! IPv6: RFC 8200, and the walk through its extension headers.
//!
//! The walk is bounded in headers and bytes: a packet cannot make it longer than a few cache lines, and what a
//! client really sends has one extension header or none (RFC 7872 measured how few networks pass more).

use std::net::{IpAddr, Ipv6Addr};

use crate::packet::{Address, Kind, Packet, Protocol};
use crate::parse::fragment::{self, Place};
use crate::parse::{Datagram, icmp, transport, u16_at};
use crate::verdict::DropReason;

pub(super) const HEADER: usize = 40;
/// Offset of the hop limit in the header.
pub(super) const HOP_LIMIT: usize = 7;
/// Most extension headers, and most bytes of them.
const MOST_HEADERS: usize = 8;
const MOST_BYTES: usize = 256;

// Numbers of extension headers, RFC 8200 section 4, and of what else the walk knows.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;
const PROTOCOL_ICMP: u8 = 58;

/// The facts of a frame whose IPv6 header begins at `l3`, which is within the frame or at its end.
#[inline(always)]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Packet, DropReason> {
    let (next, datagram) = header(frame, l3)?;
    match Protocol::from_number(next) {
        Some(protocol) => transport::datagram(frame, &datagram, protocol, Kind::Whole),
        // It reads the header once more: what most packets need can then stay in registers.
        None => extended(frame, l3),
    }
}

/// What the header says, and the number of what follows it.
#[inline(always)]
fn header(frame: &[u8], l3: usize) -> Result<(u8, Datagram), DropReason> {
    let Some(ip) = frame[l3..].first_chunk::<HEADER>() else { return Err(DropReason::FrameTruncated) };
    if ip[0] >> 4 != 6 {
        return Err(DropReason::IpVersionBad);
    }
    let payload = u16_at(ip, 4) as usize;
    let (l4, next) = (l3 + HEADER, ip[6]);
    let end = l4 + payload;
    // RFC 2675: a length of 0 with something behind the header is that of a jumbogram. Offsets are 16 bits wide.
    if (payload == 0 && next != NO_NEXT_HEADER) || end > frame.len().min(u16::MAX as usize) {
        return Err(DropReason::IpTotalLengthBad);
    }
    let (src, dst) = addresses(ip);
    if is_martian(src) || src == dst || dst.v4().is_some() {
        return Err(DropReason::SourceMartian);
    }
    Ok((next, Datagram { src, dst, l3, l4, end }))
}

/// A packet with extension headers, an ICMP message, or what is not supported.
#[inline(never)]
fn extended(frame: &[u8], l3: usize) -> Result<Packet, DropReason> {
    let (next, datagram) = header(frame, l3)?;
    let chain = walk(frame, datagram.l4, datagram.end, next)?;
    let start = datagram.l4;
    let datagram = Datagram { l4: chain.l4, ..datagram };
    // RFC 6946: an "atomic" fragment is all of its datagram.
    let fragment = chain.fragment.filter(|fragment| fragment.more || fragment.offset > 0);
    match (Protocol::from_number(chain.next), fragment) {
        (Some(protocol), Some(Fragment { at, offset, more })) => {
            let place = Place { data: at + 8, before: at - start, offset, more };
            fragment::parse(frame, &datagram, protocol, &place)
        }
        (Some(protocol), None) => transport::datagram(frame, &datagram, protocol, Kind::Whole),
        (None, None) if chain.next == PROTOCOL_ICMP => icmp::error(frame, &datagram),
        (None, _) => Err(DropReason::ProtocolUnsupported),
    }
}

/// Source and destination address.
#[inline(always)]
pub(super) fn addresses(ip: &[u8; HEADER]) -> (Address, Address) {
    let at = |offset: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&ip[offset..offset + 16]);
        Address::from(IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(bytes))))
    };
    (at(8), at(24))
}

/// Unspecified, loopback and multicast are no source addresses (RFC 4291, section 2); and an IPv4-mapped one would
/// let an IPv6 packet pose as one of IPv4.
#[inline(always)]
pub(super) fn is_martian(src: Address) -> bool {
    let [high, low] = src.words();
    (high == 0 && low <= 1) || high >> 56 == 0xff || src.v4().is_some()
}

/// What the extension headers lead to.
pub(super) struct Chain {
    /// Number of what follows the last header; in a later fragment, of what the fragmentable part begins with.
    pub next: u8,
    /// Its offset in the frame.
    pub l4: usize,
    /// The fragment header, if there is one.
    pub fragment: Option<Fragment>,
}

/// A fragment header: its offset in the frame, and the place of the fragment in its datagram, bytes.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    at: usize,
    pub offset: usize,
    more: bool,
}

/// Walks from the extension header at `start`, which `next` numbers, to what is none; at most to `end`, which is
/// within the frame.
pub(super) fn walk(frame: &[u8], start: usize, end: usize, mut next: u8) -> Result<Chain, DropReason> {
    let (mut at, mut fragment) = (start, None);
    let mut cut_short = DropReason::ExtensionBad;
    for seen in 0.. {
        match next {
            HOP_BY_HOP if seen > 0 => return Err(DropReason::ExtensionBad),
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION if seen < MOST_HEADERS => {}
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION => break,
            MOBILITY | HOST_IDENTITY | SHIM6 => break,
            _ => return Ok(Chain { next, l4: at, fragment }),
        }
        let Some(header) = frame.get(at..end).and_then(|rest| rest.first_chunk::<8>()) else {
            return Err(cut_short);
        };
        let length = match next {
            FRAGMENT => 8,
            // RFC 4302, section 2.2: in 32-bit words, less 2, and at least the fixed fields.
            AUTHENTICATION if header[1] == 0 => break,
            AUTHENTICATION => (header[1] as usize + 2) * 4,
            _ => (header[1] as usize + 1) * 8,
        };
        if at + length > end {
            return Err(cut_short);
        }
        if at + length - start > MOST_BYTES {
            break;
        }
        match next {
            // RFC 5095: type 0 is dead. RFC 8200, section 4.4: with segments left, this is not where the packet
            // goes, and the VIP is no waypoint.
            ROUTING if header[2] == 0 || header[3] != 0 => break,
            FRAGMENT if fragment.is_some() => break,
            FRAGMENT => {
                let place = u16_at(header, 2);
                let found = Fragment { at, offset: (place & 0xfff8) as usize, more: place & 1 != 0 };
                fragment = Some(found);
                if found.offset > 0 {
                    // What follows is not a header but a piece of the datagram.
                    return Ok(Chain { next: header[0], l4: at + length, fragment });
                }
                if found.more {
                    // RFC 7112: a first fragment has all headers.
                    cut_short = DropReason::FragmentBad;
                }
            }
            _ => {}
        }
        next = header[0];
        at += length;
    }
    Err(DropReason::ExtensionBad)
}

/// The identification in the packet's fragment header; 0 if it has none.
pub(super) fn identification(frame: &[u8], packet: &Packet) -> u32 {
    let l3 = packet.l3 as usize;
    let Some(next) = frame.get(l3 + 6).copied() else { return 0 };
    let Ok(Chain { fragment: Some(Fragment { at, .. }), .. }) =
        walk(frame, l3 + HEADER, packet.end as usize, next)
    else {
        return 0;
    };
    let field = frame.get(at + 4..).and_then(|rest| rest.first_chunk::<4>());
    field.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

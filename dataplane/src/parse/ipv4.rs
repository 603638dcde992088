//! IPv4: RFC 791 section 3.1; who may not be a source, RFC 1812 section 5.3.7.

use crate::checksum;
use crate::packet::{Address, Kind, Packet, Protocol};
use crate::parse::fragment::{self, Place};
use crate::parse::{Datagram, icmp, transport, u16_at, u32_at};
use crate::verdict::DropReason;

pub(super) const MIN: usize = 20;
/// Offset of the time to live in the header.
pub(super) const TTL: usize = 8;
const PROTOCOL_ICMP: u8 = 1;

/// The facts of a frame whose IPv4 header begins at `l3`, which is within the frame or at its end.
#[inline(always)]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Packet, DropReason> {
    let (ip, datagram) = header(frame, l3)?;
    match Protocol::from_number(ip[9]) {
        Some(protocol) if !is_fragment(ip) => transport::datagram(frame, &datagram, protocol, Kind::Whole),
        // It reads the header once more: what most packets need can then stay in registers.
        _ => unusual(frame, l3),
    }
}

#[inline(always)]
fn header(frame: &[u8], l3: usize) -> Result<(&[u8; MIN], Datagram), DropReason> {
    let Some(ip) = frame[l3..].first_chunk::<MIN>() else { return Err(DropReason::FrameTruncated) };
    if ip[0] >> 4 != 4 {
        return Err(DropReason::IpVersionBad);
    }
    let header = (ip[0] & 0x0f) as usize * 4;
    if header < MIN {
        return Err(DropReason::IpHeaderLengthBad);
    }
    let l4 = l3 + header;
    let end = l3 + u16_at(ip, 2) as usize;
    if l4 > frame.len() {
        return Err(DropReason::FrameTruncated);
    }
    // Offsets are 16 bits wide.
    if end < l4 || end > frame.len().min(u16::MAX as usize) {
        return Err(DropReason::IpTotalLengthBad);
    }
    if !checksum::is_valid(&frame[l3..l4]) {
        return Err(DropReason::IpChecksumBad);
    }
    let (src, dst) = (u32_at(ip, 12), u32_at(ip, 16));
    if is_martian(src) || src == dst {
        return Err(DropReason::SourceMartian);
    }
    Ok((ip, Datagram { src: Address::from_v4(src), dst: Address::from_v4(dst), l3, l4, end }))
}

/// More Fragments, or an offset: either makes it a fragment (Don't Fragment is 0x4000).
#[inline(always)]
fn is_fragment(ip: &[u8; MIN]) -> bool {
    u16_at(ip, 6) & 0x3fff != 0
}

/// A fragment, an ICMP message, or what is not supported.
#[inline(never)]
fn unusual(frame: &[u8], l3: usize) -> Result<Packet, DropReason> {
    let (ip, datagram) = header(frame, l3)?;
    match Protocol::from_number(ip[9]) {
        Some(protocol) => {
            let place = u16_at(ip, 6);
            let place = Place {
                data: datagram.l4,
                before: datagram.l4 - datagram.l3,
                offset: (place & 0x1fff) as usize * 8,
                more: place & 0x2000 != 0,
            };
            fragment::parse(frame, &datagram, protocol, &place)
        }
        // A fragment of an ICMP message is none of an error: that travels whole (RFC 1812, section 4.3.2.3).
        None if ip[9] == PROTOCOL_ICMP && !is_fragment(ip) => icmp::error(frame, &datagram),
        None => Err(DropReason::ProtocolUnsupported),
    }
}

/// "This network", loopback, multicast and above are no source addresses.
#[inline(always)]
pub(super) fn is_martian(src: u32) -> bool {
    let first = src >> 24;
    first == 0 || first == 127 || first >= 224
}

/// The identification field of the header at `l3`.
pub(super) fn identification(frame: &[u8], l3: usize) -> u32 {
    let field = frame.get(l3 + 4..).and_then(|rest| rest.first_chunk::<2>());
    field.map_or(0, |bytes| u16::from_be_bytes(*bytes) as u32)
}

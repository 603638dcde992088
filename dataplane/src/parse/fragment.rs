//! Fragments of both families: which are possible, and what the first tells that the later ones do not.
//!
//! Only the first has the transport header, and it must have all of it (RFC 1858, RFC 7112), so that its ports
//! decide for the datagram and no later fragment can write over them.

use crate::packet::{Kind, Packet, Protocol, TcpFlags};
use crate::parse::{Datagram, transport};
use crate::verdict::DropReason;

/// Longest IPv4 packet, and longest payload of an IPv6 packet, bytes.
const LONGEST: usize = 65_535;

/// Where in its datagram a fragment belongs.
pub(super) struct Place {
    /// Offset in the frame of the fragment's data.
    pub data: usize,
    /// Bytes of headers that count for the length of the datagram and that each fragment repeats.
    pub before: usize,
    /// Offset of the data in the datagram, bytes.
    pub offset: usize,
    /// Whether this is not the last one.
    pub more: bool,
}

/// The facts of a fragment.
pub(super) fn parse(
    frame: &[u8],
    datagram: &Datagram,
    protocol: Protocol,
    place: &Place,
) -> Result<Packet, DropReason> {
    let length = datagram.end - place.data;
    let is_possible = length > 0
        && (!place.more || length.is_multiple_of(8))
        && place.before + place.offset + length <= LONGEST;
    if !is_possible {
        return Err(DropReason::FragmentBad);
    }
    if place.offset == 0 {
        return transport::datagram(frame, datagram, protocol, Kind::First);
    }
    // RFC 1858 and RFC 3128: one that begins inside the transport header would change what the first one said.
    if place.offset < transport::least(protocol) {
        return Err(DropReason::FragmentBad);
    }
    Ok(Packet {
        kind: Kind::Later,
        src: datagram.src,
        dst: datagram.dst,
        src_port: 0,
        dst_port: 0,
        protocol,
        flags: TcpFlags::default(),
        l3: datagram.l3 as u16,
        l4: datagram.l4 as u16,
        end: datagram.end as u16,
    })
}

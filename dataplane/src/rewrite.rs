//! The one change shunt makes to a frame: new MAC addresses, TTL (hop limit) - 1, and another VLAN if the real server
//! lives in one. Above that nothing changes, so that the real server, which owns the VIP, can answer the client
//! directly.
//!
//! *Invariant*: a frame that could not be rewritten is as it was.
//!
//! IEEE 802.1Q, clause 9.6 (tags); RFC 1624 (checksum); RFC 8200, section 3 (hop limit).

use crate::checksum;
use crate::packet::{MacAddress, Packet};
use crate::port::FrameBytes;

/// The first twelve bytes of a frame: destination MAC address, then source MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MacHeader(pub [u8; 12]);

impl MacHeader {
    /// The header of frames from `source` to `destination`.
    pub fn new(destination: MacAddress, source: MacAddress) -> Self {
        let mut bytes = [0; 12];
        bytes[..6].copy_from_slice(&destination.0);
        bytes[6..].copy_from_slice(&source.0);
        MacHeader(bytes)
    }

    /// Where the frame goes.
    pub fn destination(&self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = self.0;
        MacAddress([a, b, c, d, e, f])
    }
}

/// What becomes of the VLAN tags of a frame (IEEE 802.1Q).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Vlan {
    /// They stay as they are.
    #[default]
    Keep,
    /// They are taken off.
    Untagged,
    /// One tag with this VLAN identifier, 1-4094; its priority is that of the tag it replaces.
    Tagged(u16),
}

/// Both MAC addresses and the EtherType, in an untagged frame.
const ETHERNET: usize = 14;
/// Offset of the first tag.
const TAGS: usize = 12;
/// Length of a tag.
const TAG: usize = 4;
/// Offset of the hop limit in an IPv6 header.
const HOP_LIMIT: usize = 7;

/// Readies the frame for its real server. The TTL must not be 0, unless it is kept. False, and nothing changed, if
/// there is no room for a tag. The offsets of `packet` count for the frame as it came; with another number of tags
/// they no longer do.
#[inline(always)]
pub fn rewrite<F: FrameBytes>(
    frame: &mut F,
    packet: &Packet,
    header: &MacHeader,
    vlan: Vlan,
    keep_ttl: bool,
) -> bool {
    if vlan != Vlan::Keep {
        return retag(frame, packet, header, vlan, keep_ttl);
    }
    above(frame.as_mut(), packet, packet.l3 as usize, header, keep_ttl);
    true
}

/// What changes whatever the tags are; `l3`: where the IP header is now.
#[inline(always)]
fn above(frame: &mut [u8], packet: &Packet, l3: usize, header: &MacHeader, keep_ttl: bool) {
    if let Some(macs) = frame.first_chunk_mut::<12>() {
        *macs = header.0;
    }
    if keep_ttl {
        return;
    }
    if packet.src.v4().is_some() {
        checksum::decrement_ttl(frame, l3);
    } else if let Some(hop_limit) = frame.get_mut(l3 + HOP_LIMIT) {
        *hop_limit = hop_limit.wrapping_sub(1);
    }
}

/// Takes tags off or puts one on.
#[inline(never)]
fn retag<F: FrameBytes>(
    frame: &mut F,
    packet: &Packet,
    header: &MacHeader,
    vlan: Vlan,
    keep_ttl: bool,
) -> bool {
    let (l3, length) = (packet.l3 as usize, frame.as_ref().len());
    let tags = l3.saturating_sub(ETHERNET) / TAG;
    let wanted = if matches!(vlan, Vlan::Tagged(_)) { 1 } else { 0 };
    let new_l3 = ETHERNET + wanted * TAG;
    if l3 > length || l3 < ETHERNET || (wanted > tags && !frame.resize(length + TAG)) {
        return false;
    }
    let bytes = frame.as_mut();
    // Priority (3 bits) and drop eligibility (1 bit) of the outermost tag.
    let priority = if tags > 0 { bytes[TAGS + 2] & 0xf0 } else { 0 };
    if wanted != tags {
        // The EtherType of IP moves along.
        bytes.copy_within(l3 - 2..length, new_l3 - 2);
    }
    if let Vlan::Tagged(id) = vlan {
        let [high, low] = id.to_be_bytes();
        bytes[TAGS..TAGS + TAG].copy_from_slice(&[0x81, 0x00, priority | high & 0x0f, low]);
    }
    above(bytes, packet, new_l3, header, keep_ttl);
    // A frame can always be shorter.
    wanted >= tags || frame.resize(length - (tags - wanted) * TAG)
}

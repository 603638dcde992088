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

/// Readies an IPv4 frame that keeps its tags; its IP header is at `l3`. The TTL must not be 0, unless it is kept.
#[inline(always)]
pub fn forward(frame: &mut [u8], l3: usize, header: &MacHeader, keep_ttl: bool) {
    address(frame, header);
    if !keep_ttl {
        checksum::decrement_ttl(frame, l3);
    }
}

#[inline(always)]
fn address(frame: &mut [u8], header: &MacHeader) {
    if let Some(macs) = frame.first_chunk_mut::<12>() {
        *macs = header.0;
    }
}

/// What changes whatever the tags are; `l3`: where the IP header is now.
#[inline(always)]
fn above(frame: &mut [u8], packet: &Packet, l3: usize, header: &MacHeader, keep_ttl: bool) {
    if packet.src.v4().is_some() {
        return forward(frame, l3, header, keep_ttl);
    }
    address(frame, header);
    if keep_ttl {
        return;
    }
    if let Some(hop_limit) = frame.get_mut(l3 + HOP_LIMIT) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Address, Kind, Protocol, TcpFlags};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    const BEFORE: [u8; 12] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d, 0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];
    const AFTER: MacHeader = MacHeader([2, 0, 0, 0, 0, 7, 0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d]);

    /// A frame with these tags and a header of this family, and what there is to know of it.
    fn frame(tags: &[[u8; 4]], v6: bool) -> (Vec<u8>, Packet) {
        let mut frame = BEFORE.to_vec();
        tags.iter().for_each(|tag| frame.extend(tag));
        let l3 = frame.len() as u16 + 2;
        let (address, header): (IpAddr, _) =
            if v6 { (Ipv6Addr::LOCALHOST.into(), 40) } else { (Ipv4Addr::LOCALHOST.into(), 20) };
        frame.extend(if v6 { [0x86, 0xdd, 0x60] } else { [0x08, 0x00, 0x45] });
        frame.extend(1..header as u8 + 30);
        let src = Address::from(address);
        let (kind, protocol, flags) = (Kind::Whole, Protocol::Udp, TcpFlags::default());
        let (l4, end) = (l3 + header, frame.len() as u16);
        (frame, Packet { kind, src, dst: src, src_port: 1, dst_port: 2, protocol, flags, l3, l4, end })
    }

    fn rewritten(tags: &[[u8; 4]], v6: bool, vlan: Vlan) -> Vec<u8> {
        let (mut frame, packet) = frame(tags, v6);
        assert!(rewrite(&mut frame, &packet, &AFTER, vlan, false));
        frame
    }

    /// What a frame should be: its MAC addresses, these tags, and what is above with one hop less.
    fn expected(tags: &[[u8; 4]], v6: bool) -> Vec<u8> {
        let (mut frame, packet) = frame(tags, v6);
        frame[..12].copy_from_slice(&AFTER.0);
        let l3 = packet.l3 as usize;
        if v6 {
            frame[l3 + 7] -= 1;
        } else {
            frame[l3 + 8] -= 1;
            frame[l3 + 10] += 1;
        }
        frame
    }

    const LOW: [u8; 4] = [0x81, 0x00, 0x20, 0x64];
    /// Priority 7, drop eligible.
    const HIGH: [u8; 4] = [0x88, 0xa8, 0xf1, 0x23];

    #[test]
    fn kept_tags_stay_as_they_are() {
        for tags in [&[][..], &[LOW], &[HIGH, LOW]] {
            for v6 in [false, true] {
                assert_eq!(rewritten(tags, v6, Vlan::Keep), expected(tags, v6));
            }
        }
    }

    #[test]
    fn a_frame_without_tags_is_shorter_by_them() {
        for tags in [&[][..], &[LOW], &[HIGH, LOW]] {
            for v6 in [false, true] {
                assert_eq!(rewritten(tags, v6, Vlan::Untagged), expected(&[], v6));
            }
        }
    }

    #[test]
    fn another_vlan_is_one_tag_with_the_priority_of_the_outermost() {
        for (tags, tag) in [
            (&[][..], [0x81, 0x00, 0x0f, 0xfe]),
            (&[LOW], [0x81, 0x00, 0x2f, 0xfe]),
            (&[HIGH], [0x81, 0x00, 0xff, 0xfe]),
            (&[HIGH, LOW], [0x81, 0x00, 0xff, 0xfe]),
            (&[LOW, HIGH], [0x81, 0x00, 0x2f, 0xfe]),
        ] {
            for v6 in [false, true] {
                assert_eq!(rewritten(tags, v6, Vlan::Tagged(4094)), expected(&[tag], v6));
            }
        }
    }

    #[test]
    fn a_kept_ttl_leaves_all_above_ethernet_alone() {
        for v6 in [false, true] {
            for vlan in [Vlan::Keep, Vlan::Untagged, Vlan::Tagged(9)] {
                let (mut frame, packet) = frame(&[LOW], v6);
                let above = frame[16..].to_vec();
                assert!(rewrite(&mut frame, &packet, &AFTER, vlan, true));
                assert!(frame.ends_with(&above));
                assert_eq!(frame[..12], AFTER.0);
            }
        }
    }

    /// A frame as long as its memory.
    struct Full(Vec<u8>);

    impl AsRef<[u8]> for Full {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl AsMut<[u8]> for Full {
        fn as_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    impl FrameBytes for Full {
        fn resize(&mut self, len: usize) -> bool {
            self.0.truncate(len);
            len <= self.0.len()
        }
    }

    #[test]
    fn a_frame_without_room_for_a_tag_is_left_alone() {
        let (bytes, packet) = frame(&[], false);
        let mut full = Full(bytes.clone());
        assert!(!rewrite(&mut full, &packet, &AFTER, Vlan::Tagged(9), false));
        assert_eq!(full.0, bytes);
        assert!(rewrite(&mut full, &packet, &AFTER, Vlan::Untagged, false));
        let (tagged, packet) = frame(&[HIGH, LOW], false);
        let mut full = Full(tagged);
        assert!(rewrite(&mut full, &packet, &AFTER, Vlan::Tagged(9), false), "one tag less needs no room");
    }
}

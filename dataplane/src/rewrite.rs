//! The one change shunt makes to a frame: new MAC addresses, TTL - 1. Above Ethernet nothing else changes,
//! so that the real server, which owns the VIP, can answer the client directly.

use crate::checksum;
use crate::packet::{MacAddress, Packet};

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

/// Readies the frame for its real server.
#[inline(always)]
pub fn rewrite(frame: &mut [u8], packet: &Packet, header: &MacHeader) {
    if let Some(macs) = frame.first_chunk_mut::<12>() {
        *macs = header.0;
    }
    checksum::decrement_ttl(frame, packet.l3 as usize);
}

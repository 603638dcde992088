//! What a tap leaves out. A worker decides it in some nanoseconds a frame, so that a rare flow is caught in a flood; the
//! operator's whole filter is applied later, by who reads the tap.
//!
//! *Invariant*: what cannot be told here goes through. (A packet that is malformed, an ICMP error: its addresses are not
//! those of the flow.)

use crate::packet::{Address, Kind, Packet, Protocol};
use crate::recorder::Outcome;
use crate::verdict::DropReason;

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The network; bits outside the mask are 0.
    pub network: Address,
    /// Bits that count; the upper 96 of them for IPv4.
    pub mask: u128,
}

impl Prefix {
    /// Whether it has this address.
    #[inline(always)]
    pub const fn has(&self, address: Address) -> bool {
        address.bits() & self.mask == self.network.bits()
    }
}

/// Conditions that a frame must meet, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sieve {
    /// Source address of the received packet.
    pub src: Option<Prefix>,
    /// Destination address.
    pub dst: Option<Prefix>,
    /// Either of them.
    pub host: Option<Prefix>,
    /// Source port.
    pub src_port: Option<u16>,
    /// Destination port.
    pub dst_port: Option<u16>,
    /// Either of them.
    pub port: Option<u16>,
    /// Transport protocol.
    pub protocol: Option<Protocol>,
    /// Verdicts, a bit each in the order of `Outcome`.
    pub outcomes: u8,
    /// Reasons of those that were not forwarded, a bit each in the order of `DropReason`.
    pub reasons: u64,
}

impl Sieve {
    /// Lets everything through.
    pub const OPEN: Sieve = Sieve {
        src: None,
        dst: None,
        host: None,
        src_port: None,
        dst_port: None,
        port: None,
        protocol: None,
        outcomes: u8::MAX,
        reasons: u64::MAX,
    };

    /// Whether frames that end so are wanted.
    #[inline(always)]
    pub const fn takes(&self, outcome: Outcome, reason: Option<DropReason>) -> bool {
        let is_reason = match reason {
            Some(reason) => self.reasons >> reason as u8 & 1 == 1,
            None => true,
        };
        self.outcomes >> outcome as u8 & 1 == 1 && is_reason
    }

    /// Whether a packet is wanted, as it was received; none: it is not known.
    #[inline(always)]
    pub fn has(&self, packet: Option<&Packet>) -> bool {
        let Some(packet) = packet.filter(|packet| packet.kind != Kind::Error) else { return true };
        let is = |prefix: Option<Prefix>, address| prefix.is_none_or(|prefix| prefix.has(address));
        let equal = |wanted: Option<u16>, port| wanted.is_none_or(|wanted| wanted == port);
        is(self.src, packet.src)
            && is(self.dst, packet.dst)
            && (is(self.host, packet.src) || is(self.host, packet.dst))
            && equal(self.src_port, packet.src_port)
            && equal(self.dst_port, packet.dst_port)
            && (equal(self.port, packet.src_port) || equal(self.port, packet.dst_port))
            && self.protocol.is_none_or(|protocol| protocol == packet.protocol)
    }
}

impl Default for Sieve {
    fn default() -> Self {
        Sieve::OPEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_and_every_reason_has_a_bit() {
        assert!(DropReason::ALL.len() <= u64::BITS as usize);
        let one = |reason: DropReason| Sieve { reasons: 1 << reason as u8, ..Sieve::OPEN };
        for reason in DropReason::ALL {
            for other in DropReason::ALL {
                assert_eq!(one(reason).takes(Outcome::Drop, Some(other)), reason == other);
            }
        }
        let answers = Sieve { outcomes: 1 << Outcome::Answer as u8, ..Sieve::OPEN };
        let taken = Outcome::ALL.map(|outcome| answers.takes(outcome, None));
        assert_eq!(taken, [false, false, true]);
    }
}

//! The facts about one packet that a decision needs, and the words they are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address, 128 bits; IPv4 in its mapped form ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2), so that keys
/// and maps need no second shape. Two words: in one of 128 bits it would have to be aligned to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address {
    high: u64,
    low: u64,
}

const V4_MAPPED: u64 = 0xffff << 32;

impl Address {
    /// The address of four bytes in network order.
    #[inline(always)]
    pub const fn from_v4(bits: u32) -> Self {
        Address { high: 0, low: V4_MAPPED | bits as u64 }
    }

    /// The 32 bits of an IPv4 address, host order.
    #[inline(always)]
    pub const fn v4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == V4_MAPPED >> 32 { Some(self.low as u32) } else { None }
    }

    /// The upper and the lower half, host order.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// All 128 bits, host order.
    #[inline(always)]
    pub const fn bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// The address with the bits outside `mask` cleared; a mask for IPv4 addresses has its upper 96 bits set.
    #[inline(always)]
    pub const fn masked(self, mask: u128) -> Self {
        Self::from_bits(self.bits() & mask)
    }

    /// The 16 bytes in network order, as the XDP program's map has them.
    pub const fn octets(self) -> [u8; 16] {
        self.bits().to_be_bytes()
    }

    #[inline(always)]
    const fn from_bits(bits: u128) -> Self {
        Address { high: (bits >> 64) as u64, low: bits as u64 }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Address::from_v4(address.to_bits())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => a.into(),
            IpAddr::V6(a) => Address::from_bits(a.to_bits()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.v4() {
            Some(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.bits())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Transport protocols a service can have, as IP numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
    /// RFC 9260: by hash and flow table alone.
    Sctp = 132,
}

impl Protocol {
    /// The protocol that IP gives this number.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            132 => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// The flags of a TCP header, RFC 9293 section 3.1; 0 for other protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// The acknowledgement field is significant.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether all flags of `other` are set.
    #[inline(always)]
    pub const fn has(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a packet is to the flow it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole datagram.
    Whole,
    /// The first fragment of a datagram: it has the transport header.
    First,
    /// A later fragment: it has no ports (both 0).
    Later,
    /// An ICMP or ICMPv6 error about a packet of the flow. Addresses and ports are those of the flow, from
    /// client to VIP: the reverse of the packet that the error quotes.
    Error,
}

/// What `parse` found in a frame that may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What it is to its flow.
    pub kind: Kind,
    /// Source address.
    pub src: Address,
    /// Destination address: a VIP, if this is for a service.
    pub dst: Address,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Transport protocol; of the flow, for an ICMP error.
    pub protocol: Protocol,
    /// TCP flags; empty for other protocols, for later fragments and for ICMP errors.
    pub flags: TcpFlags,
    /// Offset of the IP header in the frame, bytes.
    pub l3: u16,
    /// Offset of what follows the IP header and its extension headers in the frame, bytes: the transport header, the
    /// data of a later fragment, the ICMP header of an error.
    pub l4: u16,
    /// Offset just behind the IP packet; Ethernet padding may follow.
    pub end: u16,
}

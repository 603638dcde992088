//! What a frame from the wire means to a probe. Written by a stranger: every length is looked at, and what is not
//! understood is nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Something a probe may have caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// A TCP segment.
    Tcp {
        from: IpAddr,
        /// The port it came to.
        number: u16,
        port: u16,
        sequence: u32,
        acknowledged: u32,
        flags: u8,
        /// The whole IP packet.
        packet: Vec<u8>,
    },
    /// An ICMP echo reply.
    Echo { from: IpAddr, number: u16, sequence: u16 },
    /// An ICMP error about a packet of ours.
    Error {
        from: IpAddr,
        number: u16,
        /// Where that packet was going.
        to: IpAddr,
        /// It was TCP.
        tcp: bool,
        /// The sequence number of that packet, if it was an echo request.
        sequence: u16,
        error: Error,
    },
    /// Somebody says where an address is, by ARP or a neighbour advertisement.
    Neighbor { address: IpAddr, mac: [u8; 6] },
}

/// What an ICMP error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// Nobody listens on the port.
    Port,
    /// A firewall rejects it.
    Prohibited,
    /// It is too long.
    TooBig,
    /// Whoever got it does not hold the address: no route, no hop left, another way.
    Elsewhere,
    /// It is malformed.
    Parameter,
}

/// TCP flags.
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

impl Seen {
    /// Reads a frame without VLAN tag (the kernel took it off).
    pub(super) fn read(frame: &[u8]) -> Option<Seen> {
        let packet = frame.get(14..)?;
        match half(frame, 12)? {
            0x0806 => arp(packet),
            0x0800 => ipv4(packet),
            0x86dd => ipv6(packet),
            _ => None,
        }
    }
}

fn arp(packet: &[u8]) -> Option<Seen> {
    // Ethernet, IPv4, their lengths, a reply.
    if *packet.get(..8)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    Some(Seen::Neighbor { mac: array(packet, 8)?, address: Ipv4Addr::from(array(packet, 14)?).into() })
}

fn ipv4(packet: &[u8]) -> Option<Seen> {
    let from = IpAddr::from(Ipv4Addr::from(array(packet, 12)?));
    // What Ethernet padded is not part of it.
    let packet = packet.get(..usize::from(half(packet, 2)?))?;
    let message = packet.get(header_length(packet)?..)?;
    match packet[9] {
        6 => tcp(from, message, packet),
        1 => match (*message.first()?, *message.get(1)?) {
            (0, _) => echo(from, message),
            (3, 3) => error4(from, message, Error::Port),
            (3, 9 | 10 | 13) => error4(from, message, Error::Prohibited),
            (3, 4) => error4(from, message, Error::TooBig),
            (3 | 5 | 11, _) => error4(from, message, Error::Elsewhere),
            (12, _) => error4(from, message, Error::Parameter),
            _ => None,
        },
        _ => None,
    }
}

fn ipv6(packet: &[u8]) -> Option<Seen> {
    let from = IpAddr::from(Ipv6Addr::from(array(packet, 8)?));
    let packet = packet.get(..40 + usize::from(half(packet, 4)?))?;
    let message = packet.get(40..)?;
    match packet[6] {
        6 => tcp(from, message, packet),
        58 => match (*message.first()?, *message.get(1)?) {
            (129, _) => echo(from, message),
            (136, 0) => advertisement(message),
            (1, 4) => error6(from, message, Error::Port),
            (1, 1 | 5 | 6) => error6(from, message, Error::Prohibited),
            (1 | 3, _) => error6(from, message, Error::Elsewhere),
            (2, _) => error6(from, message, Error::TooBig),
            (4, _) => error6(from, message, Error::Parameter),
            _ => None,
        },
        _ => None,
    }
}

fn tcp(from: IpAddr, segment: &[u8], packet: &[u8]) -> Option<Seen> {
    Some(Seen::Tcp {
        from,
        port: half(segment, 0)?,
        number: half(segment, 2)?,
        sequence: u32::from_be_bytes(array(segment, 4)?),
        acknowledged: u32::from_be_bytes(array(segment, 8)?),
        flags: *segment.get(13)?,
        packet: packet.to_vec(),
    })
}

fn echo(from: IpAddr, message: &[u8]) -> Option<Seen> {
    Some(Seen::Echo { from, number: half(message, 4)?, sequence: half(message, 6)? })
}

fn error4(from: IpAddr, message: &[u8], error: Error) -> Option<Seen> {
    let about = message.get(8..)?;
    let to = Ipv4Addr::from(array(about, 16)?).into();
    let (protocol, payload) = (*about.get(9)?, about.get(header_length(about)?..)?);
    about_packet(from, to, protocol, payload, error)
}

fn error6(from: IpAddr, message: &[u8], error: Error) -> Option<Seen> {
    let about = message.get(8..)?;
    let to = Ipv6Addr::from(array(about, 24)?).into();
    // Of our packets only one has a header between these two, 8 bytes long.
    let (protocol, payload) = match *about.get(6)? {
        0 => (*about.get(40)?, about.get(48..)?),
        protocol => (protocol, about.get(40..)?),
    };
    about_packet(from, to, protocol, payload, error)
}

fn about_packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8], error: Error) -> Option<Seen> {
    let (number, sequence) = match protocol {
        6 => (half(payload, 0)?, 0),
        1 | 58 => (half(payload, 4)?, half(payload, 6)?),
        _ => return None,
    };
    Some(Seen::Error { from, number, to, tcp: protocol == 6, sequence, error })
}

fn advertisement(message: &[u8]) -> Option<Seen> {
    let address = Ipv6Addr::from(array(message, 8)?).into();
    let mut options = message.get(24..)?;
    // Target link-layer address, 8 bytes.
    while *options.first()? != 2 {
        let length = usize::from(*options.get(1)?) * 8;
        options = options.get(length.max(8)..)?;
    }
    Some(Seen::Neighbor { address, mac: array(options, 2)? })
}

fn header_length(packet: &[u8]) -> Option<usize> {
    Some(usize::from(*packet.first()? & 15) * 4).filter(|length| *length >= 20)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Seen {
    /// The number of the probe it answers, if it says so.
    pub(super) fn number(&self) -> Option<u16> {
        match *self {
            Seen::Tcp { number, .. } | Seen::Echo { number, .. } | Seen::Error { number, .. } => Some(number),
            Seen::Neighbor { .. } => None,
        }
    }
}

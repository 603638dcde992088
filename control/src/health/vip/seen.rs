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
        /// The sequence number of that packet: of TCP, or of an echo request.
        sequence: u32,
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
            0x86dd => ipv6(packet, array(frame, 6)?),
            _ => None,
        }
    }

    /// The number of the probe it answers, if it says so.
    pub(super) fn number(&self) -> Option<u16> {
        match *self {
            Seen::Tcp { number, .. } | Seen::Echo { number, .. } | Seen::Error { number, .. } => Some(number),
            Seen::Neighbor { .. } => None,
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

fn ipv6(packet: &[u8], sender: [u8; 6]) -> Option<Seen> {
    let from = IpAddr::from(Ipv6Addr::from(array(packet, 8)?));
    let packet = packet.get(..40 + usize::from(half(packet, 4)?))?;
    let message = packet.get(40..)?;
    match packet[6] {
        6 => tcp(from, message, packet),
        58 => match (*message.first()?, *message.get(1)?) {
            (129, _) => echo(from, message),
            (136, 0) => advertisement(message, sender),
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
        6 => (half(payload, 0)?, u32::from_be_bytes(array(payload, 4)?)),
        1 | 58 => (half(payload, 4)?, half(payload, 6)?.into()),
        _ => return None,
    };
    Some(Seen::Error { from, number, to, tcp: protocol == 6, sequence, error })
}

/// A neighbour advertisement. Linux leaves its own MAC address out of an answer to a question that was sent to it alone
/// (`ndisc_recv_ns`): then the frame says it.
fn advertisement(message: &[u8], sender: [u8; 6]) -> Option<Seen> {
    let address = Ipv6Addr::from(array(message, 8)?).into();
    let mut options = message.get(24..)?;
    while let [kind, length @ 1..=255, ..] = *options {
        // Target link-layer address.
        if kind == 2 {
            return Some(Seen::Neighbor { address, mac: array(options, 2)? });
        }
        options = options.get(usize::from(length) * 8..)?;
    }
    Some(Seen::Neighbor { address, mac: sender })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::vip::packet::{Ethertype, Tcp, complaint, echo, frame};
    use crate::model::Vlan;

    /// An ICMP error of this type and code about `packet`, from `from`.
    fn error(from: IpAddr, kind: u8, code: u8, packet: &[u8]) -> Vec<u8> {
        let mut whole = if from.is_ipv4() { vec![0x45; 20] } else { vec![0x60; 40] };
        let length = 8 + packet.len();
        match from {
            IpAddr::V4(from) => {
                whole[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
                whole[9] = 1;
                whole[12..16].copy_from_slice(&from.octets());
            }
            IpAddr::V6(from) => {
                whole[4..6].copy_from_slice(&(length as u16).to_be_bytes());
                whole[6] = 58;
                whole[8..24].copy_from_slice(&from.octets());
            }
        }
        whole.extend([kind, code, 0, 0, 0, 0, 0, 0]);
        whole.extend(packet);
        frame([1; 6], [2; 6], Vlan::Keep, Ethertype::of(from), &whole)
    }

    #[test]
    fn an_error_says_which_probe_it_is_about_and_where_that_went() {
        for (own, vip, real, parameter) in [
            ("192.0.2.1", "192.0.2.10", "192.0.2.21", 12),
            ("2001:db8::1", "2001:db8::10", "2001:db8::21", 4),
        ] {
            let [own, vip, real]: [IpAddr; 3] = [own, vip, real].map(|text| text.parse().unwrap());
            let about_echo = error(real, 3, 0, &echo(own, vip, 61007, 2, 100));
            let expected = |from, sequence, error| Seen::Error {
                from,
                number: 61007,
                to: vip,
                tcp: false,
                sequence,
                error,
            };
            assert_eq!(Seen::read(&about_echo), Some(expected(real, 2, Error::Elsewhere)));
            let about_malformed = error(vip, parameter, 0, &complaint(own, vip, 61007, 9));
            assert_eq!(Seen::read(&about_malformed), Some(expected(vip, 9, Error::Parameter)));
            let sequence = 0xdead_beef;
            let syn =
                Tcp { from: own, to: vip, source_port: 61007, port: 80, sequence, reset: false }.packet();
            // As little of it as RFC 792 asks for.
            let quoted = &syn[..if own.is_ipv4() { 28 } else { 48 }];
            let about_syn = Seen::read(&error(real, 3, 0, quoted));
            let tcp = true;
            let error = Error::Elsewhere;
            assert_eq!(
                about_syn,
                Some(Seen::Error { from: real, number: 61007, to: vip, tcp, sequence, error })
            );
        }
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(
            kind in prop_oneof![Just(0x0800u16), Just(0x0806), Just(0x86dd)],
            protocol in prop_oneof![Just(6u8), Just(1), Just(58), any::<u8>()],
            mut packet in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let at = if kind == 0x86dd { 6 } else { 9 };
            if let Some(byte) = packet.get_mut(at) {
                *byte = protocol;
            }
            // Lengths that fit, so that what lies behind them is reached.
            if packet.len() > 60 {
                packet[0] = 0x45;
                let length = packet.len() as u16 - if kind == 0x86dd { 40 } else { 0 };
                let at = if kind == 0x86dd { 4 } else { 2 };
                packet[at..at + 2].copy_from_slice(&length.to_be_bytes());
            }
            let mut frame = vec![0; 12];
            frame.extend(kind.to_be_bytes());
            frame.extend(&packet);
            Seen::read(&frame);
        }
    }
}

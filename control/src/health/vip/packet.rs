//! The packets of a probe, byte by byte: each goes to an address that is not the owner of the MAC address it is sent
//! to, so that no socket of the kernel can send it.
//!
//! TCP goes no further than one hop beyond the real server (which may hand it to a container), ICMP no further than the real
//! server itself: one that has not the VIP, and forwards, must not send a probe round to another real server, whose
//! answer would look like its own.
//!
//! RFC 791, 792, 826, 4443, 4861, 5227, 8200, 9293.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Vlan;

/// Bytes of an Ethernet header with a VLAN tag.
const LONGEST_HEADER: usize = 18;
/// Hops a TCP probe lives: the real server, and a container on it.
pub(super) const TCP_HOPS: u8 = 2;
const ICMP_HOPS: u8 = 1;

/// Everybody on the link.
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];

/// ARP, IPv4, IPv6: the type field of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ethertype {
    Arp = 0x0806,
    Ipv4 = 0x0800,
    Ipv6 = 0x86dd,
}

impl Ethertype {
    /// That of packets between addresses of this family.
    pub(super) fn of(address: IpAddr) -> Ethertype {
        if address.is_ipv4() { Ethertype::Ipv4 } else { Ethertype::Ipv6 }
    }
}

/// Puts an Ethernet header before a packet.
pub(super) fn frame(to: [u8; 6], from: [u8; 6], vlan: Vlan, kind: Ethertype, packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LONGEST_HEADER + packet.len());
    frame.extend(to);
    frame.extend(from);
    if let Vlan::Tagged(id) = vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(id.to_be_bytes());
    }
    frame.extend((kind as u16).to_be_bytes());
    frame.extend(packet);
    frame
}

/// A SYN, or a RST that ends what it began.
pub(super) struct Tcp {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) source_port: u16,
    pub(super) port: u16,
    pub(super) sequence: u32,
    /// It is a RST.
    pub(super) reset: bool,
}

impl Tcp {
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut segment = Vec::with_capacity(24);
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.port.to_be_bytes());
        segment.extend(self.sequence.to_be_bytes());
        segment.extend([0; 4]);
        let (length, flags, window) = if self.reset { (5u8, 0x04, 0u16) } else { (6, 0x02, 0xffff) };
        segment.extend([length << 4, flags]);
        segment.extend(window.to_be_bytes());
        segment.extend([0; 4]);
        if !self.reset {
            // MSS 536, the least that everybody takes: no data will follow.
            segment.extend([2, 4, 0x02, 0x18]);
        }
        let sum = checksum(&[&pseudo_header(self.from, self.to, 6, segment.len()), &segment]);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        ip(self.from, self.to, 6, TCP_HOPS, &[], &segment)
    }
}

/// An ICMP echo request, `size` bytes long in all; at least a header long.
pub(super) fn echo(from: IpAddr, to: IpAddr, number: u16, sequence: u16, size: usize) -> Vec<u8> {
    let header = if from.is_ipv4() { 20 } else { 40 };
    let message = echo_message(from, to, number, sequence, size.saturating_sub(header + 8));
    ip(from, to, icmp(from), ICMP_HOPS, &[], &message)
}

/// A packet that a Linux host complains about *before* its firewall's rules for incoming packets, and in the name of the
/// packet's destination only if that is its own address: the sender of the complaint says whether the host has it.
///
/// IPv4: an option that points before its own beginning; `ip_rcv_options` comes after the routing decision and before
/// `ip_local_deliver` (net/ipv4/ip_input.c), and `__icmp_send` takes the destination as source if `RTCF_LOCAL`. IPv6: a
/// hop-by-hop option that is to be complained about (RFC 8200 4.2); `icmp6_send` takes the destination as source if
/// `ipv6_chk_addr`.
pub(super) fn complaint(from: IpAddr, to: IpAddr, number: u16, sequence: u16) -> Vec<u8> {
    let message = echo_message(from, to, number, sequence, 0);
    match from {
        // Record route, 3 bytes, the pointer 0; end of options.
        IpAddr::V4(_) => ip(from, to, 1, ICMP_HOPS, &[7, 3, 0, 0], &message),
        IpAddr::V6(_) => {
            // ICMPv6 follows; 8 bytes; option 0x9e (experimental, discard and complain), 4 bytes.
            let mut payload = vec![58, 0, 0x9e, 4, 0, 0, 0, 0];
            payload.extend(message);
            ip(from, to, 0, ICMP_HOPS, &[], &payload)
        }
    }
}

/// "Who has this IPv4 address?", sent by nobody (RFC 5227): no cache learns from it.
pub(super) fn arp_probe(mac: [u8; 6], about: Ipv4Addr) -> Vec<u8> {
    arp_request(mac, Ipv4Addr::UNSPECIFIED, about)
}

/// "Who has this IPv4 address?"
pub(super) fn arp_request(mac: [u8; 6], from: Ipv4Addr, about: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, lengths, request.
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(mac);
    packet.extend(from.octets());
    packet.extend([0; 6]);
    packet.extend(about.octets());
    packet
}

/// "Who has this IPv6 address?", to `to`: the address itself, or [`solicited_node`]. From an address of our own, so that
/// the answer goes to us alone.
pub(super) fn solicitation(mac: [u8; 6], from: Ipv6Addr, to: Ipv6Addr, about: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(about.octets());
    message.extend([1, 1]);
    message.extend(mac);
    let (from, to) = (IpAddr::V6(from), IpAddr::V6(to));
    let sum = checksum(&[&pseudo_header(from, to, 58, message.len()), &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    // 255: proof that no router was on the way (RFC 4861 7.1.1).
    ip(from, to, 58, 255, &[], &message)
}

/// The multicast address that the owner of `address` listens to, and its MAC address.
pub(super) fn solicited_node(address: Ipv6Addr) -> (Ipv6Addr, [u8; 6]) {
    let [.., a, b, c] = address.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    (group.into(), [0x33, 0x33, 0xff, a, b, c])
}

fn echo_message(from: IpAddr, to: IpAddr, number: u16, sequence: u16, data: usize) -> Vec<u8> {
    let mut message = vec![if from.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
    message.extend(number.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.resize(8 + data, 0);
    let sum = match from {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo_header(from, to, 58, message.len()), &message]),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn icmp(address: IpAddr) -> u8 {
    if address.is_ipv4() { 1 } else { 58 }
}

/// An IP packet that must not be cut; `options`, of IPv4, a multiple of 4 bytes.
fn ip(from: IpAddr, to: IpAddr, protocol: u8, hops: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = 20 + options.len();
            let mut packet = Vec::with_capacity(header + payload.len());
            packet.extend([0x40 | (header / 4) as u8, 0]);
            packet.extend(((header + payload.len()) as u16).to_be_bytes());
            // No identification (RFC 6864: it is for fragments), DF.
            packet.extend([0, 0, 0x40, 0, hops, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(options);
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet.extend(payload);
            packet
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = Vec::with_capacity(40 + payload.len());
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, hops]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            packet
        }
        _ => unreachable!("a service has one address family"),
    }
}

fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    for address in [from, to] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    header.extend((length as u32).to_be_bytes());
    header.extend([0, 0, 0, protocol]);
    header
}

/// RFC 1071; every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, TcpControl, TcpPacket, TcpRepr};

    fn pair(ipv6: bool) -> (IpAddr, IpAddr) {
        if ipv6 {
            ("2001:db8::1".parse().unwrap(), "2001:db8::10".parse().unwrap())
        } else {
            ("192.0.2.1".parse().unwrap(), "192.0.2.10".parse().unwrap())
        }
    }

    #[test]
    fn another_parser_finds_a_syn_with_good_checksums() {
        let all = ChecksumCapabilities::default();
        let syn =
            |from, to| Tcp { from, to, source_port: 61000, port: 80, sequence: 7, reset: false }.packet();
        let (from, to) = pair(false);
        let packet = syn(from, to);
        let packet = Ipv4Packet::new_checked(&packet[..]).unwrap();
        let header = Ipv4Repr::parse(&packet, &all).unwrap();
        assert_eq!((header.next_header, header.hop_limit), (IpProtocol::Tcp, TCP_HOPS));
        assert!(packet.dont_frag());
        let tcp = TcpPacket::new_checked(packet.payload()).unwrap();
        let tcp = TcpRepr::parse(&tcp, &from.into(), &to.into(), &all).unwrap();
        assert_eq!(
            (tcp.control, tcp.src_port, tcp.dst_port, tcp.ack_number),
            (TcpControl::Syn, 61000, 80, None)
        );
        let (from, to) = pair(true);
        let packet = syn(from, to);
        let packet = Ipv6Packet::new_checked(&packet[..]).unwrap();
        let tcp = TcpPacket::new_checked(packet.payload()).unwrap();
        TcpRepr::parse(&tcp, &from.into(), &to.into(), &all).unwrap();
    }

    #[test]
    fn an_echo_is_as_long_as_asked_for() {
        for ipv6 in [false, true] {
            let (from, to) = pair(ipv6);
            assert_eq!(echo(from, to, 61000, 1, 1400).len(), 1400);
            assert_eq!(echo(from, to, 61000, 1, 0).len(), if ipv6 { 48 } else { 28 });
        }
    }

    #[test]
    fn a_tag_stands_between_the_addresses_and_the_type() {
        let tagged = frame([1; 6], [2; 6], Vlan::Tagged(100), Ethertype::Arp, &[9]);
        assert_eq!(tagged[12..], [0x81, 0, 0, 100, 8, 6, 9]);
        assert_eq!(frame([1; 6], [2; 6], Vlan::Keep, Ethertype::Ipv6, &[9])[12..], [0x86, 0xdd, 9]);
    }
}

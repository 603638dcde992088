//! The frames that announce an address, byte by byte as keepalived sends them.
//!
//! RFC 826, RFC 4861 section 4.4, RFC 5227 section 3.

use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

const ETHERNET_HEADER: usize = 14;
/// ff02::1, all nodes of the link, and its MAC address.
const ALL_NODES: (Ipv6Addr, EthernetAddress) =
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));

/// Gratuitous ARP as a request, which most equipment listens to.
pub(super) fn request(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    gratuitous(mac, address, ArpOperation::Request)
}

/// Gratuitous ARP as a reply.
pub(super) fn reply(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    gratuitous(mac, address, ArpOperation::Reply)
}

/// An unsolicited neighbour advertisement, to all nodes.
pub(super) fn advertisement(mac: [u8; 6], address: Ipv6Addr, router: bool) -> Vec<u8> {
    let (everybody, everybody_mac) = ALL_NODES;
    let mut flags = NdiscNeighborFlags::OVERRIDE;
    flags.set(NdiscNeighborFlags::ROUTER, router);
    let lladdr = Some(EthernetAddress(mac).into());
    let message = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr: address, lladdr });
    let header = Ipv6Repr {
        src_addr: address,
        dst_addr: everybody,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        // Proof that no router was on the way.
        hop_limit: 255,
    };
    let mut frame =
        ethernet(everybody_mac, mac, EthernetProtocol::Ipv6, header.buffer_len() + message.buffer_len());
    let mut packet = Ipv6Packet::new_unchecked(&mut frame[ETHERNET_HEADER..]);
    header.emit(&mut packet);
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&address, &everybody, &mut icmp, &ChecksumCapabilities::default());
    frame
}

fn gratuitous(mac: [u8; 6], address: Ipv4Addr, operation: ArpOperation) -> Vec<u8> {
    let packet = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: address,
        // RFC 5227 ignores it, keepalived sends this, and what listens to keepalived must listen to us.
        target_hardware_addr: EthernetAddress::BROADCAST,
        target_protocol_addr: address,
    };
    let mut frame = ethernet(EthernetAddress::BROADCAST, mac, EthernetProtocol::Arp, packet.buffer_len());
    packet.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_HEADER..]));
    frame
}

/// A frame with room for so many bytes.
fn ethernet(to: EthernetAddress, from: [u8; 6], ethertype: EthernetProtocol, length: usize) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_HEADER + length];
    let header = EthernetRepr { src_addr: EthernetAddress(from), dst_addr: to, ethertype };
    header.emit(&mut EthernetFrame::new_unchecked(&mut frame));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn gratuitous_arp_is_byte_for_byte_as_keepalived_sends_it() {
        let golden =
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000005 ffffffffffff 0a000005";
        let address = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(request(MAC, address), bytes(golden));
        assert_eq!(reply(MAC, address), bytes(&golden.replace("04 0001", "04 0002")));
    }

    #[test]
    fn a_neighbour_advertisement_is_byte_for_byte_as_keepalived_sends_it() {
        let vip = "fe80000000000000 0000000000000005";
        let golden = format!(
            "333300000001 020000000001 86dd 60000000 0020 3a ff {vip} ff020000000000000000000000000001 \
             8800 5793 20000000 {vip} 0201 020000000001"
        );
        assert_eq!(advertisement(MAC, "fe80::5".parse().unwrap(), false), bytes(&golden));
        let router = advertisement(MAC, "fe80::5".parse().unwrap(), true);
        assert_eq!(router[54..62], bytes("8800 d792 a0000000"), "the flag, and the checksum follows it");
    }
}

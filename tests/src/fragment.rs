//! Packets cut into fragments by hand (RFC 791 section 3.2, RFC 8200 section 4.5), so that a test can choose their
//! sizes and the order in which they are sent.

use pnet_packet::ipv4::{self, Ipv4Flags, MutableIpv4Packet};

use crate::craft;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// The protocol number of IPv6's fragment header.
const FRAGMENT: u8 = 44;

/// Cuts the packet in `frame` (no VLAN tag, no options, no extension headers) into parts that carry at most `bytes`
/// bytes each, a multiple of 8. In IPv6 `id` is the identification of the fragments; in IPv4 the packet has one.
pub fn cut(frame: &[u8], bytes: usize, id: u32) -> Vec<Vec<u8>> {
    assert!(bytes > 0 && bytes.is_multiple_of(8), "a fragment carries a multiple of 8 bytes, not {bytes}");
    let view = craft::view(frame);
    let ip = view.ip.expect("an IP packet");
    let header = if ip.source.is_ipv4() { IPV4 } else { IPV6 };
    assert_eq!(ip.transport, ETHERNET + header, "a packet with the shortest header");
    let payload = &frame[ip.transport..ip.packet.end];
    let count = payload.len().div_ceil(bytes);
    let parts = payload.chunks(bytes).enumerate();
    let part = |(n, part): (usize, &[u8])| {
        let (offset, more) = (n * bytes, n + 1 < count);
        let mut fragment = frame[..ip.transport].to_vec();
        if header == IPV4 {
            fragment.extend(part);
            let mut packet = MutableIpv4Packet::new(&mut fragment[ETHERNET..]).expect("an IPv4 packet");
            packet.set_total_length(sixteen(IPV4 + part.len()));
            packet.set_fragment_offset(sixteen(offset / 8));
            packet.set_flags(if more { Ipv4Flags::MoreFragments } else { 0 });
            let sum = ipv4::checksum(&packet.to_immutable());
            packet.set_checksum(sum);
        } else {
            fragment[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&sixteen(8 + part.len()).to_be_bytes());
            fragment[ETHERNET + 6] = FRAGMENT;
            fragment.extend([ip.protocol, 0]);
            fragment.extend((sixteen(offset) | u16::from(more)).to_be_bytes());
            fragment.extend(id.to_be_bytes());
            fragment.extend(part);
        }
        fragment
    };
    parts.map(part).collect()
}

fn sixteen(number: usize) -> u16 {
    u16::try_from(number).expect("a packet is under 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{VIP, VIP6};
    use crate::checksum;
    use crate::frame::UDP;

    #[test]
    fn the_parts_make_the_whole() {
        for (client, vip) in [("198.51.100.7:4242", VIP), ("[2001:db8:51::7]:4242", VIP6)] {
            let segment = craft::Segment {
                source: client.parse().unwrap(),
                destination: (vip, 7).into(),
                id: 77,
                ..Default::default()
            };
            let payload: Vec<u8> = (0..3000).map(|n| n as u8).collect();
            let whole = craft::udp(&segment, &payload);
            let parts: Vec<_> = cut(&whole, 1400, 77).iter().map(|part| craft::view(part)).collect();
            let ips: Vec<_> = parts.iter().filter_map(|part| part.ip.as_ref()).collect();
            assert!(parts.iter().all(checksum::header_is_right));
            let places: Vec<_> = ips.iter().map(|ip| (ip.fragment_offset, ip.fragment, ip.id)).collect();
            assert_eq!(places, [(0, true, 77), (1400, true, 77), (2800, true, 77)]);
            assert!(ips.iter().all(|ip| ip.protocol == UDP && ip.destination == vip));
            let ports: Vec<_> = ips.iter().map(|ip| ip.ports).collect();
            assert_eq!(ports, [Some((4242, 7)), None, None]);
            let put_together: Vec<u8> =
                parts.iter().flat_map(|part| part.transport().unwrap().to_vec()).collect();
            assert_eq!(Some(&put_together[..]), craft::view(&whole).transport());
        }
    }
}

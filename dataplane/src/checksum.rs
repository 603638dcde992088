//! The Internet checksum: verified in parse, updated incrementally in rewrite, completed where a sender left
//! it to hardware that is not there. RFC 1071, RFC 1624.

use crate::packet::{Address, Kind, Packet, Protocol};

/// One's complement sum of `bytes` as big-endian 16-bit words, folded to 16 bits; an odd last byte is the
/// high half of a word.
#[inline(always)]
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    // 2^32 additions of 32-bit words fit 64 bits: no carry is lost.
    let mut sum: u64 = words.iter().map(|word| u32::from_be_bytes(*word) as u64).sum();
    sum += match *rest {
        [a] => (a as u64) << 8,
        [a, b] => u16::from_be_bytes([a, b]) as u64,
        [a, b, c] => u16::from_be_bytes([a, b]) as u64 + ((c as u64) << 8),
        _ => 0,
    };
    fold(sum)
}

#[inline(always)]
const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Whether a header that contains its checksum adds up.
#[inline(always)]
pub fn is_valid(header: &[u8]) -> bool {
    sum(header) == 0xffff
}

/// Decrements the TTL of the IPv4 header at `l3` and updates its checksum incrementally (RFC 1624,
/// equation 3: HC' = ~(~HC + ~m + m'); here m' = m - 0x0100, so 0x0100 is added with end-around carry, and
/// all ones become zero, as in a full computation). The TTL must not be 0.
#[inline(always)]
pub fn decrement_ttl(frame: &mut [u8], l3: usize) {
    let Some([ttl, _, high, low]) = frame.get_mut(l3 + 8..).and_then(<[u8]>::first_chunk_mut) else { return };
    *ttl = ttl.wrapping_sub(1);
    // 0x0100 in the order of the wire is 1 in the other one.
    let new = u32::from_le_bytes([*high, *low, 0, 0]) + 1;
    [*high, *low, ..] = (new + u32::from(new >= 0xffff)).to_le_bytes();
}

/// Completes a transport checksum that the sender left to hardware.
///
/// A virtual sender (veth, virtio, tap) hands over segments whose checksum field holds only the sum of the
/// pseudo header (Linux: `CHECKSUM_PARTIAL`, include/linux/skbuff.h). If the field is exactly that, the sum
/// over the whole segment is finished in place. A segment whose complete checksum happens to equal that value
/// is left as it is by the same arithmetic: completing is idempotent. Returns whether it was
/// changed. Fragments and ICMP errors are left alone: such a sender completes what it cuts up, and what it quotes.
#[inline(always)]
pub fn complete(frame: &mut [u8], packet: &Packet) -> bool {
    if packet.kind != Kind::Whole {
        return false;
    }
    let (l4, end) = (packet.l4 as usize, packet.end as usize);
    let pseudo_header = pseudo_header(packet.src, packet.dst, packet.protocol as u8, (end - l4) as u32);
    finish(frame, l4, end, packet.protocol, pseudo_header)
}

/// The same of a packet that `parse::plain` found, `length` bytes from `l3` on.
#[inline(always)]
pub fn complete_plain(frame: &mut [u8], l3: usize, length: u16, protocol: Protocol) -> bool {
    let (l4, end) = (l3 + 20, l3 + length as usize);
    let Some(addresses) = frame.get(l3 + 12..).and_then(|rest| rest.first_chunk()) else { return false };
    let addresses = u64::from_be_bytes(*addresses);
    let addresses = (addresses >> 32) + (addresses & 0xffff_ffff);
    finish(frame, l4, end, protocol, addresses + protocol as u64 + (end - l4) as u64)
}

#[inline(always)]
fn finish(frame: &mut [u8], l4: usize, end: usize, protocol: Protocol, pseudo_header: u64) -> bool {
    let at = l4
        + match protocol {
            Protocol::Tcp => 16,
            Protocol::Udp => 6,
            // A CRC32c, without a pseudo header (RFC 9260, appendix A).
            Protocol::Sctp => return false,
        };
    let field = u16::from_be_bytes([frame[at], frame[at + 1]]);
    // Zero is never that sum. (It means "none" in UDP over IPv4; over IPv6 the receiver drops it, RFC 8200, 8.1.)
    if field != fold(pseudo_header) {
        return false;
    }
    let checksum = match (protocol, !sum(&frame[l4..end])) {
        // RFC 768: a UDP checksum that computes to zero is sent as all ones; zero means none.
        (Protocol::Udp, 0) => 0xffff,
        (_, checksum) => checksum,
    };
    [frame[at], frame[at + 1]] = checksum.to_be_bytes();
    checksum != field
}

/// The checksum of a segment or message with the pseudo header in front: RFC 9293 section 3.1 (IPv4), RFC 8200
/// section 8.1 (IPv6). `segment` has its checksum field zero; if it has a right checksum instead, this is 0.
pub fn of_segment(src: Address, dst: Address, protocol: u8, segment: &[u8]) -> u16 {
    !fold(pseudo_header(src, dst, protocol, segment.len() as u32) + sum(segment) as u64)
}

/// The sum of the pseudo header, neither folded nor complemented; never 0.
///
/// The mapped form of an IPv4 address has 96 bits in front of it that sum to 0xffff, which is zero in one's
/// complement: one formula is right for both families.
#[inline(always)]
fn pseudo_header(src: Address, dst: Address, protocol: u8, length: u32) -> u64 {
    let half = |bits: u128| {
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        (high >> 32) + (high as u32 as u64) + (low >> 32) + (low as u32 as u64)
    };
    half(src.bits()) + half(dst.bits()) + protocol as u64 + length as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    /// RFC 1071, section 4.1, as it stands there: the slow and obvious form.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += (pair[0] as u32) << 8 | *pair.get(1).unwrap_or(&0) as u32;
            while sum >> 16 != 0 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn sum_is_the_sum_of_the_rfc(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(sum(&bytes), by_the_book(&bytes));
        }

        #[test]
        fn decrementing_the_ttl_keeps_a_valid_header_valid(mut header in any::<[u8; 20]>(), ttl in 2u8..) {
            header[8] = ttl;
            header[10..12].fill(0);
            let checksum = !sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            prop_assume!(is_valid(&header));
            decrement_ttl(&mut header, 0);
            prop_assert_eq!(header[8], ttl - 1);
            prop_assert!(is_valid(&header), "checksum {:02x?}", &header[10..12]);
            prop_assert_ne!(&header[10..12], &[0xff, 0xff], "RFC 1624, section 3");
        }

        #[test]
        fn the_checksum_of_a_segment_is_that_of_the_pseudo_header_of_its_family(
            v4 in any::<bool>(), src in any::<u128>(), dst in any::<u128>(), protocol in any::<u8>(),
            segment in proptest::collection::vec(any::<u8>(), 8..200),
        ) {
            let mut book = Vec::new();
            let addresses = [src, dst].map(|bits| {
                let address = if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() };
                match address {
                    IpAddr::V4(a) => book.extend(a.octets()),
                    IpAddr::V6(a) => book.extend(a.octets()),
                }
                Address::from(address)
            });
            // RFC 8200, section 8.1: the length has 32 bits there; RFC 9293: 16 bits here. The sum is the same.
            book.extend((segment.len() as u32).to_be_bytes());
            book.extend([0, 0, 0, protocol]);
            book.extend(&segment);
            prop_assert_eq!(of_segment(addresses[0], addresses[1], protocol, &segment), !by_the_book(&book));
        }
    }
}

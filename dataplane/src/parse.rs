//! Bytes -> packet facts, or the reason why not. Reads each header once, trusts nothing.
//!
//! *Invariants*: for every `Ok(packet)`: l3 + 20 <= l4 and l4 + 8 (UDP) or 20 (TCP) <= end <= frame length,
//! so that `rewrite` and `checksum` may index behind these offsets.
//!
//! Own views instead of pnet_packet's: the same facts and checks cost half the time (`cargo bench`, rows
//! `stage/parse/*`), and pnet_packet is the second opinion in the differential test.
//!
//! RFC 894 (Ethernet), RFC 791 section 3.1, RFC 9293 section 3.1, RFC 768.

use crate::checksum;
use crate::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use crate::verdict::DropReason;

/// Length of an untagged Ethernet header.
pub const ETHERNET: usize = 14;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const IPV4_MIN: usize = 20;
const TCP_MIN: usize = 20;
const UDP: usize = 8;

/// Finds the facts of a frame as it came off the wire (no FCS; Ethernet padding allowed).
#[inline(always)]
pub fn parse(frame: &[u8]) -> Result<Packet, DropReason> {
    let Some(ethernet) = frame.first_chunk::<ETHERNET>() else { return Err(DropReason::FrameTruncated) };
    if u16_at(ethernet, 12) != ETHER_TYPE_IPV4 {
        return Err(DropReason::EtherTypeUnsupported);
    }
    ipv4(frame, ETHERNET)
}

#[inline(always)]
fn ipv4(frame: &[u8], l3: usize) -> Result<Packet, DropReason> {
    let Some(ip) = frame[l3..].first_chunk::<IPV4_MIN>() else { return Err(DropReason::FrameTruncated) };
    if ip[0] >> 4 != 4 {
        return Err(DropReason::IpVersionBad);
    }
    let header = (ip[0] & 0x0f) as usize * 4;
    if header < IPV4_MIN {
        return Err(DropReason::IpHeaderLengthBad);
    }
    let l4 = l3 + header;
    let end = l3 + u16_at(ip, 2) as usize;
    if l4 > frame.len() {
        return Err(DropReason::FrameTruncated);
    }
    // Offsets are 16 bits wide.
    if end < l4 || end > frame.len().min(u16::MAX as usize) {
        return Err(DropReason::IpTotalLengthBad);
    }
    if !checksum::is_valid(&frame[l3..l4]) {
        return Err(DropReason::IpChecksumBad);
    }
    // More Fragments, or an offset: either makes it a fragment (Don't Fragment is 0x4000).
    if u16_at(ip, 6) & 0x3fff != 0 {
        return Err(DropReason::FragmentBad);
    }
    let (src, dst) = (u32_at(ip, 12), u32_at(ip, 16));
    if is_martian(src) || src == dst {
        return Err(DropReason::SourceMartian);
    }
    let protocol = match ip[9] {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let (ports, flags) = transport(&frame[l4..end], protocol)?;
    // RFC 1812, section 5.3.1: a router must not forward a datagram whose TTL would become zero.
    if ip[8] <= 1 {
        return Err(DropReason::TtlExpired);
    }
    Ok(Packet {
        kind: Kind::Whole,
        src: Address::from_v4(src),
        dst: Address::from_v4(dst),
        src_port: (ports >> 16) as u16,
        dst_port: ports as u16,
        protocol,
        flags,
        l3: l3 as u16,
        l4: l4 as u16,
        end: end as u16,
    })
}

/// Both ports in one word, and the TCP flags.
#[inline(always)]
fn transport(segment: &[u8], protocol: Protocol) -> Result<(u32, TcpFlags), DropReason> {
    match protocol {
        Protocol::Tcp => {
            let Some(tcp) = segment.first_chunk::<TCP_MIN>() else { return Err(DropReason::FrameTruncated) };
            let header = (tcp[12] >> 4) as usize * 4;
            if header < TCP_MIN || header > segment.len() {
                return Err(DropReason::TcpHeaderBad);
            }
            Ok((u32_at(tcp, 0), TcpFlags(tcp[13])))
        }
        Protocol::Sctp => Err(DropReason::ProtocolUnsupported),
        Protocol::Udp => {
            let Some(udp) = segment.first_chunk::<UDP>() else { return Err(DropReason::FrameTruncated) };
            let length = u16_at(udp, 4) as usize;
            if length < UDP || length > segment.len() {
                return Err(DropReason::UdpLengthBad);
            }
            Ok((u32_at(udp, 0), TcpFlags::default()))
        }
    }
}

/// RFC 1812, section 5.3.7: "this network", loopback, multicast and above are no source addresses.
#[inline(always)]
fn is_martian(src: u32) -> bool {
    let first = src >> 24;
    first == 0 || first == 127 || first >= 224
}

#[inline(always)]
fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

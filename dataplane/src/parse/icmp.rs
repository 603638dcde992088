//! ICMP and ICMPv6 errors: which flow are they about? RFC 792, RFC 1191, RFC 4443.
//!
//! Under DSR the real server sends from the VIP, so what routers have to say about its packets comes to the
//! director. The packet that an error quotes tells the flow, seen from the real server: its source is the VIP. Only
//! as much of it is asked for as must be there (RFC 792: the IP header and 64 bits) and as is needed (the ports).

use crate::checksum;
use crate::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use crate::parse::{Datagram, ipv4, ipv6, u16_at, u32_at};
use crate::verdict::DropReason;

/// Type, code, checksum, and 32 bits whose meaning depends on the type.
const HEADER: usize = 8;
const PROTOCOL_ICMPV6: u8 = 58;

/// The facts of an ICMP message at `l4`, if it is an error about a flow.
#[inline(never)]
pub(super) fn error(frame: &[u8], datagram: &Datagram) -> Result<Packet, DropReason> {
    let &Datagram { src, dst, l3, l4, end } = datagram;
    let message = &frame[l4..end];
    let Some(header) = message.first_chunk::<HEADER>() else { return Err(DropReason::FrameTruncated) };
    let is_v4 = src.v4().is_some();
    let is_error = match header[0] {
        // Unreachable, source quench (deprecated, RFC 6633: the real server ignores it), time exceeded, parameters.
        3 | 4 | 11 | 12 if is_v4 => true,
        // Unreachable, too big, time exceeded, parameters.
        1..=4 if !is_v4 => true,
        _ => false,
    };
    if !is_error {
        return Err(DropReason::ProtocolUnsupported);
    }
    let is_intact = if is_v4 {
        checksum::is_valid(message)
    } else {
        // The checksum that a segment needs which contains its own is zero.
        checksum::of_segment(src, dst, PROTOCOL_ICMPV6, message) == 0
    };
    if !is_intact {
        return Err(DropReason::IcmpBad);
    }
    let quoted =
        if is_v4 { quoted_ipv4(frame, l4 + HEADER, end) } else { quoted_ipv6(frame, l4 + HEADER, end) }?;
    // It is about a packet of the address that it is sent to, or it is forged.
    if quoted.src != dst {
        return Err(DropReason::IcmpBad);
    }
    if quoted.src_port == 0 {
        return Err(DropReason::PortZero);
    }
    Ok(Packet {
        kind: Kind::Error,
        src: quoted.dst,
        dst: quoted.src,
        src_port: quoted.dst_port,
        dst_port: quoted.src_port,
        protocol: quoted.protocol,
        flags: TcpFlags::default(),
        l3: l3 as u16,
        l4: l4 as u16,
        end: end as u16,
    })
}

/// The flow of a quoted packet, as its sender sees it.
struct Quoted {
    src: Address,
    dst: Address,
    src_port: u16,
    dst_port: u16,
    protocol: Protocol,
}

// Lengths and checksums of the quoted packet are not looked at: it is cut off, and routers have changed it.

fn quoted_ipv4(frame: &[u8], at: usize, end: usize) -> Result<Quoted, DropReason> {
    let ip = frame.get(at..end).and_then(|quote| quote.first_chunk::<{ ipv4::MIN }>());
    let ip = ip.ok_or(DropReason::IcmpBad)?;
    let header = (ip[0] & 0x0f) as usize * 4;
    let is_later = u16_at(ip, 6) & 0x1fff != 0;
    let (src, dst) = (u32_at(ip, 12), u32_at(ip, 16));
    if ip[0] >> 4 != 4 || header < ipv4::MIN || is_later || ipv4::is_martian(dst) || src == dst {
        return Err(DropReason::IcmpBad);
    }
    ports(frame, at + header, end, ip[9], Address::from_v4(src), Address::from_v4(dst))
}

fn quoted_ipv6(frame: &[u8], at: usize, end: usize) -> Result<Quoted, DropReason> {
    let ip = frame.get(at..end).and_then(|quote| quote.first_chunk::<{ ipv6::HEADER }>());
    let ip = ip.ok_or(DropReason::IcmpBad)?;
    let (src, dst) = ipv6::addresses(ip);
    if ip[0] >> 4 != 6 || ipv6::is_martian(dst) || src == dst {
        return Err(DropReason::IcmpBad);
    }
    let chain = ipv6::walk(frame, at + ipv6::HEADER, end, ip[6]).map_err(|_| DropReason::IcmpBad)?;
    if chain.fragment.is_some_and(|fragment| fragment.offset > 0) {
        return Err(DropReason::IcmpBad);
    }
    ports(frame, chain.l4, end, chain.next, src, dst)
}

fn ports(
    frame: &[u8],
    l4: usize,
    end: usize,
    protocol: u8,
    src: Address,
    dst: Address,
) -> Result<Quoted, DropReason> {
    let protocol = Protocol::from_number(protocol).ok_or(DropReason::ProtocolUnsupported)?;
    let ports = frame.get(l4..end).and_then(|transport| transport.first_chunk::<4>());
    let ports = ports.ok_or(DropReason::IcmpBad)?;
    Ok(Quoted { src, dst, src_port: u16_at(ports, 0), dst_port: u16_at(ports, 2), protocol })
}

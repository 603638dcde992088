//! Transport headers: RFC 9293 section 3.1 (TCP), RFC 768 (UDP), RFC 9260 section 3.1 (SCTP).

use crate::packet::{Kind, Packet, Protocol, TcpFlags};
use crate::parse::{Datagram, u16_at, u32_at};
use crate::verdict::DropReason;

const TCP_MIN: usize = 20;
const UDP: usize = 8;
const SCTP: usize = 12;

/// Least length of the header, bytes.
pub(super) const fn least(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => TCP_MIN,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
    }
}

/// The facts of a datagram, or of the first fragment of one, with its transport header at `l4`.
#[inline(always)]
pub(super) fn datagram(
    frame: &[u8],
    datagram: &Datagram,
    protocol: Protocol,
    kind: Kind,
) -> Result<Packet, DropReason> {
    let &Datagram { src, dst, l3, l4, end } = datagram;
    let (ports, flags) = header(&frame[l4..end], protocol, kind)?;
    if ports as u16 == 0 {
        return Err(DropReason::PortZero);
    }
    Ok(Packet {
        kind,
        src,
        dst,
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
fn header(segment: &[u8], protocol: Protocol, kind: Kind) -> Result<(u32, TcpFlags), DropReason> {
    let is_first = matches!(kind, Kind::First);
    let cut_short = if is_first { DropReason::FragmentBad } else { DropReason::FrameTruncated };
    match protocol {
        Protocol::Tcp => {
            let Some(tcp) = segment.first_chunk::<TCP_MIN>() else { return Err(cut_short) };
            let header = (tcp[12] >> 4) as usize * 4;
            if is_first && header > segment.len() {
                return Err(cut_short);
            }
            if header < TCP_MIN || header > segment.len() {
                return Err(DropReason::TcpHeaderBad);
            }
            Ok((u32_at(tcp, 0), TcpFlags(tcp[13])))
        }
        Protocol::Udp => {
            let Some(udp) = segment.first_chunk::<UDP>() else { return Err(cut_short) };
            let length = u16_at(udp, 4) as usize;
            // A first fragment tells the length of the whole datagram.
            let fits = if is_first { length >= segment.len() } else { length <= segment.len() };
            if length < UDP || !fits {
                return Err(DropReason::UdpLengthBad);
            }
            Ok((u32_at(udp, 0), TcpFlags::default()))
        }
        Protocol::Sctp => {
            let Some(sctp) = segment.first_chunk::<SCTP>() else { return Err(cut_short) };
            Ok((u32_at(sctp, 0), TcpFlags::default()))
        }
    }
}

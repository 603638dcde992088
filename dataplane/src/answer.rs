//! What the director itself says to a sender: an ICMP error, or a RST. The frame is turned around in place: MAC
//! addresses and IP addresses swapped, tags kept, so that it goes back where it came from. Its source is the VIP, as
//! with Linux where the destination is local (`icmp_send` in net/ipv4/icmp.c): the sender knows no other address.
//!
//! *Invariants*: a frame that may not be answered is as it was. What an answer quotes is what came, TTL included: so
//! `answer` comes before `rewrite`, or instead of it. How many answers there may be is for the director to say.
//!
//! RFC 792, RFC 1191, RFC 1812 section 4.3.2 and RFC 4443 (errors); RFC 9293 section 3.10.7.1 (RST); RFC 1122 section
//! 3.2.2 and RFC 4443 section 2.4 (what is never answered).

use crate::checksum;
use crate::packet::{Address, Kind, Packet, Protocol, TcpFlags};
use crate::port::FrameBytes;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The time to live, or hop limit, ended here.
    TimeExceeded,
    /// The packet is longer than `mtu`, bytes of an IP packet.
    TooBig {
        /// What the way to the real server takes.
        mtu: u16,
    },
    /// Nothing listens there.
    PortUnreachable,
    /// TCP: there is no such connection.
    Reset,
}

/// Longest ICMP error with IPv4, and with IPv6: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 c.
const LONGEST: [usize; 2] = [576, 1280];
/// IPv4 and IPv6 header without options.
const HEADERS: [usize; 2] = [20, 40];
const ICMP: usize = 8;
const TCP: usize = 20;
const PROTOCOLS_ICMP: [u8; 2] = [1, 58];
/// Enough for the longest way there is (RFC 1700).
const TTL: u8 = 64;
/// RFC 1812, section 4.3.2.5: an ICMP error has precedence 6.
const TOS_ERROR: u8 = 6 << 5;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Makes the frame, in which `parse` found `packet`, the answer to its sender. False, and nothing changed, if nothing
/// may be said, or if there is no room for it.
pub fn answer<F: FrameBytes>(frame: &mut F, packet: &Packet, answer: Answer) -> bool {
    if !may_answer(frame.as_ref(), packet, answer) {
        return false;
    }
    let is_told = match answer {
        Answer::Reset => reset(frame, packet),
        Answer::TimeExceeded | Answer::TooBig { .. } | Answer::PortUnreachable => {
            error(frame, packet, answer)
        }
    };
    if is_told
        && let Some([d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]) = frame.as_mut().first_chunk_mut()
    {
        for (destination, source) in [(d0, s0), (d1, s1), (d2, s2), (d3, s3), (d4, s4), (d5, s5)] {
            std::mem::swap(destination, source);
        }
    }
    is_told
}

/// Whether the sender of a frame may be told this. RFC 1122, section 3.2.2: no answer to an ICMP error, to a later
/// fragment, to a broadcast or multicast frame or packet, nor to what has not come from one host. RFC 9293, section 3.5.2: no
/// RST to a RST.
pub fn may_answer(frame: &[u8], packet: &Packet, answer: Answer) -> bool {
    let is_group = |mac: usize| frame.get(mac).is_none_or(|first| first & 1 != 0);
    // A first fragment does not tell how long the segment is.
    let is_segment = packet.kind == Kind::Whole && packet.protocol == Protocol::Tcp;
    matches!(packet.kind, Kind::Whole | Kind::First)
        && (answer != Answer::Reset || (is_segment && !packet.flags.has(TcpFlags::RST)))
        && packet.end as usize <= frame.len()
        && !is_group(0)
        && !is_group(6)
        && is_one_host(packet.src)
        && is_one_host(packet.dst)
}

fn is_one_host(address: Address) -> bool {
    match address.v4() {
        // "This network", multicast, class E, broadcast.
        Some(bits) => (1..224).contains(&(bits >> 24)),
        None => address.bits() != 0 && address.bits() >> 120 != 0xff,
    }
}

/// 0: IPv4, 1: IPv6.
fn family(packet: &Packet) -> usize {
    usize::from(packet.src.v4().is_none())
}

fn error<F: FrameBytes>(frame: &mut F, packet: &Packet, answer: Answer) -> bool {
    let (l3, family) = (packet.l3 as usize, family(packet));
    let l4 = l3 + HEADERS[family];
    // RFC 1191: 16 bits of next-hop MTU; RFC 4443, section 3.2: 32 bits.
    let (kind, code, mtu) = match (answer, family) {
        (Answer::TimeExceeded, 0) => (11, 0, 0),
        (Answer::TooBig { mtu }, 0) => (3, 4, mtu),
        (Answer::PortUnreachable, 0) => (3, 3, 0),
        (Answer::TimeExceeded, _) => (3, 0, 0),
        (Answer::TooBig { mtu }, _) => (2, 0, mtu),
        (Answer::PortUnreachable, _) => (1, 4, 0),
        (Answer::Reset, _) => return false,
    };
    let quoted = (packet.end as usize - l3).min(LONGEST[family] - HEADERS[family] - ICMP);
    let end = l4 + ICMP + quoted;
    if end > frame.as_ref().len() && !frame.resize(end) {
        return false;
    }
    let bytes = frame.as_mut();
    bytes.copy_within(l3..l3 + quoted, l4 + ICMP);
    let [high, low] = mtu.to_be_bytes();
    bytes[l4..l4 + ICMP].copy_from_slice(&[kind, code, 0, 0, 0, 0, high, low]);
    let message = &bytes[l4..end];
    let checksum = match family {
        0 => !checksum::sum(message),
        _ => checksum::of_segment(packet.dst, packet.src, PROTOCOLS_ICMP[family], message),
    };
    bytes[l4 + 2..l4 + 4].copy_from_slice(&checksum.to_be_bytes());
    header(&mut bytes[l3..end], packet, PROTOCOLS_ICMP[family], TOS_ERROR);
    shorten(frame, end)
}

/// RFC 9293, section 3.10.7.1: a RST that the sender accepts, since it proves to know what the sender sent.
fn reset<F: FrameBytes>(frame: &mut F, packet: &Packet) -> bool {
    let (l3, family) = (packet.l3 as usize, family(packet));
    let has = |flag| packet.flags.has(flag);
    let bytes = frame.as_mut();
    let segment = &bytes[packet.l4 as usize..packet.end as usize];
    let Some(&[sp0, sp1, dp0, dp1, s0, s1, s2, s3, a0, a1, a2, a3, offset, ..]) =
        segment.first_chunk::<TCP>()
    else {
        return false;
    };
    let (sequence, acknowledgement, flags) = if has(TcpFlags::ACK) {
        ([a0, a1, a2, a3], [0; 4], TcpFlags::RST.0)
    } else {
        let data = segment.len().saturating_sub((offset >> 4) as usize * 4);
        let length = data as u32 + has(TcpFlags::SYN) as u32 + has(TcpFlags::FIN) as u32;
        let next = u32::from_be_bytes([s0, s1, s2, s3]).wrapping_add(length);
        ([0; 4], next.to_be_bytes(), TcpFlags::RST.0 | TcpFlags::ACK.0)
    };
    // Never longer than what came: that had both headers too.
    let l4 = l3 + HEADERS[family];
    let end = l4 + TCP;
    let tcp = &mut bytes[l4..end];
    tcp.fill(0);
    tcp[..4].copy_from_slice(&[dp0, dp1, sp0, sp1]);
    tcp[4..8].copy_from_slice(&sequence);
    tcp[8..12].copy_from_slice(&acknowledgement);
    tcp[12..14].copy_from_slice(&[(TCP as u8 / 4) << 4, flags]);
    let checksum = checksum::of_segment(packet.dst, packet.src, Protocol::Tcp as u8, tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    header(&mut bytes[l3..end], packet, Protocol::Tcp as u8, 0);
    shorten(frame, end)
}

/// Writes the IP header of `ip`, a whole packet from the packet's destination to its source.
fn header(ip: &mut [u8], packet: &Packet, protocol: u8, tos: u8) {
    let total = ip.len();
    if family(packet) == 0 {
        let Some(header) = ip.first_chunk_mut::<{ HEADERS[0] }>() else { return };
        let [high, low] = (total as u16).to_be_bytes();
        let [df, offset] = DONT_FRAGMENT;
        // RFC 6864: what is never fragmented needs no identification.
        header[..12].copy_from_slice(&[0x45, tos, high, low, 0, 0, df, offset, TTL, protocol, 0, 0]);
        header[12..16].copy_from_slice(&(packet.dst.bits() as u32).to_be_bytes());
        header[16..].copy_from_slice(&(packet.src.bits() as u32).to_be_bytes());
        let checksum = !checksum::sum(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let Some(header) = ip.first_chunk_mut::<{ HEADERS[1] }>() else { return };
        let [high, low] = ((total - HEADERS[1]) as u16).to_be_bytes();
        header[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, protocol, TTL]);
        header[8..24].copy_from_slice(&packet.dst.octets());
        header[24..].copy_from_slice(&packet.src.octets());
    }
}

/// A frame can always be shorter.
fn shorten<F: FrameBytes>(frame: &mut F, end: usize) -> bool {
    frame.as_ref().len() <= end || frame.resize(end)
}

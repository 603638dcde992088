//! A second reading of frames, slow and obvious, that shares nothing with the dataplane's: it tells whether what was
//! forwarded could be read at all, and what should have become of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shunt_dataplane::packet::Address;

/// What a frame is about.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Where the IP header begins.
    pub l3: usize,
    /// Where the transport header or, in a later fragment, the data begins.
    pub l4: usize,
    /// Where the IP packet ends.
    pub end: usize,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Transport protocol.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Whether it is a fragment that is not the first.
    pub is_later: bool,
    /// Whether it is all of its datagram.
    pub is_whole: bool,
}

/// Where the IP header of a frame begins.
pub fn network(frame: &[u8]) -> usize {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8] | [0x91, 0])) {
        at += 4;
    }
    at + 2
}

fn word(frame: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])))
}

/// Reads a frame; none if that is impossible.
pub fn read(frame: &[u8]) -> Option<Reading> {
    let l3 = network(frame);
    match (word(frame, l3 - 2)?, frame.get(l3)? >> 4) {
        (0x0800, 4) => {
            let l4 = l3 + usize::from(frame[l3] & 15) * 4;
            let ip = frame.get(l3..l4).filter(|ip| ip.len() >= 20)?;
            let place = word(ip, 6)?;
            let address = |at: usize| IpAddr::V4(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
            let reading = Reading {
                l3,
                l4,
                end: l3 + word(ip, 2)?,
                src: address(12),
                dst: address(16),
                protocol: ip[9],
                ttl: ip[8],
                is_later: place & 0x1fff != 0,
                is_whole: place & 0x3fff == 0,
            };
            Some(reading).filter(|reading| l4 <= reading.end && reading.end <= frame.len())
        }
        (0x86dd, 6) => {
            let ip = frame.get(l3..l3 + 40)?;
            let end = l3 + 40 + word(ip, 4)?;
            let octets = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).ok();
            let (src, dst) = (Ipv6Addr::from(octets(8)?), Ipv6Addr::from(octets(24)?));
            let (mut protocol, mut l4) = (ip[6], l3 + 40);
            let (mut is_later, mut is_whole) = (false, true);
            while matches!(protocol, 0 | 43 | 44 | 51 | 60) && !is_later {
                let header = frame.get(l4..end)?;
                let length = match protocol {
                    44 => {
                        let place = word(header, 2)?;
                        is_later = place & 0xfff8 != 0;
                        is_whole = place & 0xfff9 == 0;
                        8
                    }
                    51 => (usize::from(*header.get(1)?) + 2) * 4,
                    _ => (usize::from(*header.get(1)?) + 1) * 8,
                };
                protocol = *header.first()?;
                l4 += length;
            }
            let (src, dst) = (IpAddr::V6(src), IpAddr::V6(dst));
            let reading = Reading { l3, l4, end, src, dst, protocol, ttl: ip[7], is_later, is_whole };
            Some(reading).filter(|_| l4 <= end && end <= frame.len())
        }
        _ => None,
    }
}

impl Reading {
    /// Source and destination port.
    pub fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        Some((word(frame, self.l4)? as u16, word(frame, self.l4 + 2)? as u16))
    }

    /// Where the transport checksum stands, if it is one of 16 bits with a pseudo header.
    pub fn checksum_at(&self) -> Option<usize> {
        match (self.is_whole, self.protocol) {
            (true, 6) => Some(self.l4 + 16),
            (true, 17) => Some(self.l4 + 6),
            _ => None,
        }
    }

    /// The sum of the pseudo header.
    pub fn pseudo_sum(&self) -> u16 {
        let mut pseudo = Vec::new();
        for address in [self.src, self.dst] {
            match address {
                IpAddr::V4(address) => pseudo.extend(address.octets()),
                IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        pseudo.extend([0, self.protocol]);
        pseudo.extend(((self.end - self.l4) as u16).to_be_bytes());
        sum(&pseudo)
    }

    /// Whether the checksum of segment or ICMPv6 message adds up.
    pub fn segment_is_valid(&self, frame: &[u8]) -> bool {
        let mut all = self.pseudo_sum().to_be_bytes().to_vec();
        all.extend(&frame[self.l4..self.end]);
        sum(&all) == 0xffff
    }

    /// Whether the checksum of an IPv4 header adds up. IPv6 has none.
    pub fn header_is_valid(&self, frame: &[u8]) -> bool {
        let header = usize::from(frame[self.l3] & 15) * 4;
        self.src.is_ipv6() || sum(&frame[self.l3..self.l3 + header]) == 0xffff
    }

    /// The destination in the dataplane's terms.
    pub fn vip(&self) -> Address {
        self.dst.into()
    }
}

/// One's complement sum, RFC 1071, section 4.1.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Makes the IP length of a frame what there is.
pub fn repair_length(frame: &mut [u8]) {
    let (l3, length) = (network(frame), frame.len());
    let (at, value) = match frame.get(l3 - 2..l3) {
        Some([8, 0]) if length >= l3 + 20 => (l3 + 2, length - l3),
        Some([0x86, 0xdd]) if length >= l3 + 40 => (l3 + 4, length - l3 - 40),
        _ => return,
    };
    frame[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

/// Makes the checksums right that a frame is refused without: of an IPv4 header and of ICMP messages.
pub fn repair_checksums(frame: &mut [u8]) {
    let l3 = network(frame);
    if frame.len() >= l3 + 20 && frame[l3 - 2] == 8 {
        let header = (usize::from(frame[l3] & 15) * 4).clamp(20, frame.len() - l3);
        frame[l3 + 10..l3 + 12].fill(0);
        let checksum = !sum(&frame[l3..l3 + header]);
        frame[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
    }
    let Some(reading) = read(frame).filter(|reading| reading.l4 + 4 <= reading.end) else { return };
    let (l4, end) = (reading.l4, reading.end);
    let is_icmp = matches!((reading.protocol, reading.src), (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)));
    if !is_icmp || !reading.is_whole {
        return;
    }
    frame[l4 + 2..l4 + 4].fill(0);
    let mut message =
        if reading.protocol == 58 { reading.pseudo_sum().to_be_bytes().to_vec() } else { vec![] };
    message.extend(&frame[l4..end]);
    let checksum = !sum(&message);
    frame[l4 + 2..l4 + 4].copy_from_slice(&checksum.to_be_bytes());
}

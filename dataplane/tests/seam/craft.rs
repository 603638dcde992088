//! Makes frames, right and wrong. Checksums are summed word by word as RFC 1071 says, not by the code under
//! test.
//!
//! `Craft` is one packet of a client, with IPv4 or (`Craft::v6`) IPv6 around it, `Craft::tags` before it and
//! `Craft::extensions` in it; `fragments` cuts its frame up, and `icmp_error` is what a router says about the real
//! server's answer (`Craft::reverse`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The virtual IP of every test.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The same with IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// A router on the way to the clients.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The same with IPv6.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
/// Where frames come from.
pub const ROUTER_MAC: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];
/// The director.
pub const DIRECTOR_MAC: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d];

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

// IPv6 extension headers.
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const DESTINATION: u8 = 60;

/// A frame to be; every field can be made wrong.
#[derive(Debug, Clone)]
pub struct Craft {
    /// VLAN tags, outermost first: tag protocol identifier, and priority with VLAN identifier.
    pub tags: Vec<(u16, u16)>,
    /// Some: IPv6 with these addresses, source and destination; what only IPv4 has then counts for nothing.
    pub v6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// IPv6 extension headers: their number, and their bytes, of which the first (what comes next) is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// As it stands in the frame, whatever `v6` says.
    pub ether_type: u16,
    pub version: u8,
    /// Header length in 32-bit words; none: what the options need.
    pub ihl: Option<u8>,
    pub options: Vec<u8>,
    /// Total length (IPv4) or payload length (IPv6); none: what there is.
    pub total_length: Option<u16>,
    /// Flags and fragment offset.
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub src_port: u16,
    pub dst_port: u16,
    pub flags: u8,
    /// TCP header length in 32-bit words.
    pub data_offset: u8,
    /// None: what there is.
    pub udp_length: Option<u16>,
    pub payload: Vec<u8>,
    /// Bytes behind the IP packet, as Ethernet pads short frames.
    pub padding: usize,
    /// Added to the right IP header checksum.
    pub checksum_fault: u16,
}

impl Craft {
    /// A TCP segment from client number `n` to the VIP.
    pub fn tcp(n: u32, flags: u8) -> Self {
        Craft {
            tags: Vec::new(),
            v6: None,
            extensions: Vec::new(),
            ether_type: 0x0800,
            version: 4,
            ihl: None,
            options: Vec::new(),
            total_length: None,
            fragment: 0x4000,
            ttl: 64,
            protocol: TCP,
            src: client(n),
            dst: VIP,
            src_port: client_port(n),
            dst_port: 80,
            flags,
            data_offset: 5,
            udp_length: None,
            payload: Vec::new(),
            padding: 0,
            checksum_fault: 0,
        }
    }

    /// A UDP datagram from client number `n` to the VIP.
    pub fn udp(n: u32) -> Self {
        Craft { protocol: UDP, dst_port: 53, payload: b"what is it?".to_vec(), ..Craft::tcp(n, 0) }
    }

    /// An SCTP packet from client number `n` to the VIP. (Its CRC32c is 0: nobody here looks at it.)
    pub fn sctp(n: u32) -> Self {
        Craft { protocol: SCTP, dst_port: 5060, payload: b"a chunk.".to_vec(), ..Craft::tcp(n, 0) }
    }

    /// The same with IPv6: from the client of that number to the VIP of IPv6.
    pub fn v6(self) -> Self {
        let src = mapped_client(self.src);
        Craft { v6: Some((src, VIP6)), version: 6, ether_type: 0x86dd, ..self }
    }

    /// The same with VLAN tags, outermost first.
    pub fn tagged(self, tags: &[(u16, u16)]) -> Self {
        Craft { tags: tags.to_vec(), ..self }
    }

    /// The same with one more extension header, as long as its bytes are.
    pub fn extended(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// Addresses and ports the other way round: what the real server sends to the client.
    pub fn reverse(self) -> Self {
        Craft {
            src: self.dst,
            dst: self.src,
            v6: self.v6.map(|(src, dst)| (dst, src)),
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self
        }
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = ethernet(&self.tags, self.ether_type);
        frame.extend(self.ip());
        // Not zeros: whoever counts padding in shall notice.
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        frame
    }

    /// The bytes of the IP packet.
    pub fn ip(&self) -> Vec<u8> {
        match self.v6 {
            Some((src, dst)) => self.ipv6(src, dst),
            None => self.ipv4(),
        }
    }

    fn ipv4(&self) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet.extend(&self.options);
        let header = packet.len();
        packet.extend(self.transport());
        let ihl = self.ihl.unwrap_or((header / 4) as u8);
        packet[0] = self.version << 4 | ihl;
        let total = self.total_length.unwrap_or(packet.len() as u16);
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[4..6].copy_from_slice(&0x1d0fu16.to_be_bytes());
        packet[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        packet[8] = self.ttl;
        packet[9] = self.protocol;
        packet[12..16].copy_from_slice(&self.src.octets());
        packet[16..20].copy_from_slice(&self.dst.octets());
        // The checksum covers what the header claims to be, as far as there is that much.
        let covered = (usize::from(ihl) * 4).clamp(20, packet.len());
        let checksum = (!sum(&packet[..covered])).wrapping_add(self.checksum_fault);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn ipv6(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let mut packet = vec![self.version << 4, 0, 0, 0, 0, 0, 0, self.ttl];
        packet.extend(src.octets());
        packet.extend(dst.octets());
        let mut next_at = 6;
        for (number, bytes) in &self.extensions {
            packet[next_at] = *number;
            next_at = packet.len();
            packet.extend(bytes);
        }
        packet[next_at] = self.protocol;
        packet.extend(self.transport());
        let payload = self.total_length.unwrap_or((packet.len() - 40) as u16);
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        packet
    }

    fn transport(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.src_port.to_be_bytes());
        segment.extend(self.dst_port.to_be_bytes());
        let field = match self.protocol {
            TCP => {
                segment.extend([0, 0, 0, 1, 0, 0, 0, 2, self.data_offset << 4, self.flags, 0xff, 0xff, 0, 0]);
                segment.extend([0, 0]);
                16
            }
            UDP => {
                let length = self.udp_length.unwrap_or(8 + self.payload.len() as u16);
                segment.extend(length.to_be_bytes());
                segment.extend([0, 0]);
                6
            }
            _ => {
                if self.protocol == SCTP {
                    // Verification tag and checksum.
                    segment.extend([0x5e, 0xed, 0xca, 0xfe, 0, 0, 0, 0]);
                }
                segment.extend(&self.payload);
                return segment;
            }
        };
        segment.extend(&self.payload);
        let (src, dst) = match self.v6 {
            Some((src, dst)) => (src.into(), dst.into()),
            None => (self.src.into(), self.dst.into()),
        };
        let checksum = match (self.protocol, segment_checksum(src, dst, self.protocol, &segment)) {
            (UDP, 0) => 0xffff,
            (_, checksum) => checksum,
        };
        segment[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        segment
    }
}

/// Address of client number `n`: 65535 in 198.18.0.0/16, with 32 ports each.
pub fn client(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + n / 32 % 0xffff)
}

/// Port of client number `n`.
pub fn client_port(n: u32) -> u16 {
    40_000 + (n % 32) as u16
}

/// Address of client number `n` with IPv6.
pub fn client6(n: u32) -> Ipv6Addr {
    mapped_client(client(n))
}

/// The IPv6 client beside an IPv4 one: 2001:db8:1::a.b.c.d.
fn mapped_client(v4: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(v4.to_bits()))
}

/// The beginning of a frame, up to where IP begins.
fn ethernet(tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
    let mut frame = [DIRECTOR_MAC, ROUTER_MAC].concat();
    for (protocol, control) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame
}

/// An extension header of `words` words of 8 bytes (at least 1) with nothing but padding (hop-by-hop or destination
/// options).
pub fn options_header(words: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(words) * 8];
    bytes[1] = words - 1;
    // PadN: its type, its length, that many zeros. The longest is 255: pad the rest one by one.
    let length = (bytes.len() - 4).min(255);
    bytes[2..4].copy_from_slice(&[1, length as u8]);
    bytes
}

/// A routing header without addresses.
pub fn routing_header(kind: u8, segments_left: u8) -> Vec<u8> {
    vec![0, 0, kind, segments_left, 0, 0, 0, 0]
}

/// An authentication header with an integrity check value of `words` 32-bit words.
pub fn authentication_header(words: u8) -> Vec<u8> {
    let mut bytes = vec![0xa5; 12 + usize::from(words) * 4];
    bytes[1] = words + 1;
    bytes
}

/// A fragment header; `offset` in bytes.
pub fn fragment_header(offset: u16, more: bool, identification: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend((offset & 0xfff8 | u16::from(more)).to_be_bytes());
    bytes.extend(identification.to_be_bytes());
    bytes
}

/// Cuts the datagram in a frame into fragments with `size` bytes (a multiple of 8) of it each; their identification is
/// `id`. With IPv6, the first `kept` bytes of extension headers are repeated in each fragment, and the rest is cut up.
pub fn fragments(frame: &[u8], size: usize, id: u32, kept: usize) -> Vec<Vec<u8>> {
    assert!(size > 0 && size.is_multiple_of(8));
    let l3 = network(frame);
    let v4 = frame[l3 - 2] == 8;
    let length = usize::from(u16::from_be_bytes([frame[l3 + 2], frame[l3 + 3]]));
    let payload = usize::from(u16::from_be_bytes([frame[l3 + 4], frame[l3 + 5]]));
    let data = if v4 { l3 + usize::from(frame[l3] & 0xf) * 4 } else { l3 + 40 + kept };
    let end = if v4 { l3 + length } else { l3 + 40 + payload };
    let pieces = frame[data..end].chunks(size).enumerate();
    pieces
        .map(|(n, piece)| {
            let (offset, more) = ((n * size) as u16, data + (n + 1) * size < end);
            let mut fragment = frame[..data].to_vec();
            if v4 {
                fragment[l3 + 2..l3 + 4].copy_from_slice(&((data - l3 + piece.len()) as u16).to_be_bytes());
                fragment[l3 + 4..l3 + 6].copy_from_slice(&(id as u16).to_be_bytes());
                let place = (offset / 8) | (u16::from(more) << 13);
                fragment[l3 + 6..l3 + 8].copy_from_slice(&place.to_be_bytes());
                fragment[l3 + 10..l3 + 12].fill(0);
                let checksum = !sum(&fragment[l3..]);
                fragment[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
            } else {
                let payload = (kept + 8 + piece.len()) as u16;
                fragment[l3 + 4..l3 + 6].copy_from_slice(&payload.to_be_bytes());
                let next_at = last_next_header(&fragment, l3);
                let mut header = fragment_header(offset, more, id);
                header[0] = fragment[next_at];
                fragment[next_at] = FRAGMENT;
                fragment.extend(header);
            }
            fragment.extend(piece);
            fragment
        })
        .collect()
}

/// Where the last header of a chain of options and routing headers says what comes next; the frame ends behind it.
fn last_next_header(frame: &[u8], l3: usize) -> usize {
    let (mut next_at, mut at) = (l3 + 6, l3 + 40);
    while at < frame.len() {
        next_at = at;
        at += (usize::from(frame[at + 1]) + 1) * 8;
    }
    next_at
}

/// What a router says about an IP packet that a real server sent: an ICMP or ICMPv6 error to its source, with `rest` in
/// the second word (the MTU).
pub fn icmp_error(kind: u8, code: u8, rest: u32, quoted: &[u8]) -> Vec<u8> {
    let v4 = quoted[0] >> 4 == 4;
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quoted);
    let craft = if v4 {
        let checksum = !sum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let source: [u8; 4] = quoted[12..16].try_into().unwrap();
        Craft { src: ROUTER, dst: source.into(), protocol: 1, ..Craft::tcp(0, 0) }
    } else {
        let source: [u8; 16] = quoted[8..24].try_into().unwrap();
        let source = Ipv6Addr::from(source);
        let checksum = segment_checksum(ROUTER6.into(), source.into(), 58, &message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        Craft { v6: Some((ROUTER6, source)), protocol: 58, ..Craft::tcp(0, 0).v6() }
    };
    // The first four bytes of what is no transport protocol are its ports.
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    Craft { src_port: word(0), dst_port: word(2), payload: message[4..].to_vec(), ..craft }.bytes()
}

/// The checksum of a segment whose checksum field is zero, with the pseudo header of its family.
pub fn segment_checksum(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend([0, protocol]);
    pseudo.extend((segment.len() as u16).to_be_bytes());
    pseudo.extend(segment);
    !sum(&pseudo)
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

/// Makes the IP header checksum of a frame right again, whatever else is wrong.
pub fn repair_ip_checksum(frame: &mut [u8]) {
    let l3 = network(frame);
    if frame.len() < l3 + 20 || frame[l3 - 2..l3] != [8, 0] {
        return;
    }
    let header = (usize::from(frame[l3] & 0xf) * 4).clamp(20, frame.len() - l3);
    frame[l3 + 10..l3 + 12].fill(0);
    let checksum = !sum(&frame[l3..l3 + header]);
    frame[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes the checksum of an ICMP message right again, if there is one and no extension header before it.
pub fn repair_icmp_checksum(frame: &mut [u8]) {
    let l3 = network(frame);
    let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let (l4, end) = match frame.get(l3 - 2..l3) {
        Some([8, 0]) if frame.len() >= l3 + 20 && frame[l3 + 9] == 1 => {
            (l3 + usize::from(frame[l3] & 0xf) * 4, l3 + word(l3 + 2))
        }
        Some([0x86, 0xdd]) if frame.len() >= l3 + 40 && frame[l3 + 6] == 58 => {
            (l3 + 40, l3 + 40 + word(l3 + 4))
        }
        _ => return,
    };
    if end > frame.len() || l4 + 4 > end {
        return;
    }
    frame[l4 + 2..l4 + 4].fill(0);
    let checksum = if frame[l3 - 2] == 8 {
        !sum(&frame[l4..end])
    } else {
        let [src, dst] = [8, 24].map(|at| {
            let octets: [u8; 16] = frame[l3 + at..l3 + at + 16].try_into().unwrap();
            IpAddr::from(octets)
        });
        segment_checksum(src, dst, 58, &frame[l4..end])
    };
    frame[l4 + 2..l4 + 4].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes the IP length of a frame what there is.
pub fn repair_ip_length(frame: &mut [u8]) {
    let l3 = network(frame);
    let length = |header: usize| ((frame.len() - l3 - header) as u16).to_be_bytes();
    match frame.get(l3 - 2..l3) {
        Some([8, 0]) if frame.len() >= l3 + 20 => {
            let length = length(0);
            frame[l3 + 2..l3 + 4].copy_from_slice(&length);
        }
        Some([0x86, 0xdd]) if frame.len() >= l3 + 40 => {
            let length = length(40);
            frame[l3 + 4..l3 + 6].copy_from_slice(&length);
        }
        _ => {}
    }
}

/// Where the network layer of a frame begins, behind all tags.
fn network(frame: &[u8]) -> usize {
    let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8] | [0x91, 0]));
    (12..).step_by(4).find(|at| !is_tag(*at)).unwrap() + 2
}

/// Whether IP header and transport checksum of a frame without options add up.
pub fn transport_is_valid(frame: &[u8]) -> bool {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let l4 = 14 + usize::from(frame[14] & 0xf) * 4;
    let segment = &frame[l4..14 + total];
    let mut pseudo = frame[26..34].to_vec();
    pseudo.extend([0, frame[23]]);
    pseudo.extend((segment.len() as u16).to_be_bytes());
    pseudo.extend(segment);
    sum(&pseudo) == 0xffff && sum(&frame[14..l4]) == 0xffff
}

//! Makes frames, right and wrong. Checksums are summed word by word as RFC 1071 says, not by the code under
//! test.

use std::net::Ipv4Addr;

/// The virtual IP of every test.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Where frames come from.
pub const ROUTER_MAC: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];
/// The director.
pub const DIRECTOR_MAC: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d];

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// A frame to be; every field can be made wrong.
#[derive(Debug, Clone)]
pub struct Craft {
    pub ether_type: u16,
    pub version: u8,
    /// Header length in 32-bit words; none: what the options need.
    pub ihl: Option<u8>,
    pub options: Vec<u8>,
    /// None: what there is.
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
            ether_type: 0x0800,
            version: 4,
            ihl: None,
            options: Vec::new(),
            total_length: None,
            fragment: 0x4000,
            ttl: 64,
            protocol: 6,
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
        Craft { protocol: 17, dst_port: 53, payload: b"what is it?".to_vec(), ..Craft::tcp(n, 0) }
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut ip = vec![0; 20];
        ip.extend(&self.options);
        let header = ip.len();
        let mut packet = ip;
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
        let mut frame = Vec::new();
        frame.extend(DIRECTOR_MAC);
        frame.extend(ROUTER_MAC);
        frame.extend(self.ether_type.to_be_bytes());
        frame.extend(packet);
        // Not zeros: whoever counts padding in shall notice.
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.src_port.to_be_bytes());
        segment.extend(self.dst_port.to_be_bytes());
        let field = match self.protocol {
            6 => {
                segment.extend([0, 0, 0, 1, 0, 0, 0, 2, self.data_offset << 4, self.flags, 0xff, 0xff, 0, 0]);
                segment.extend([0, 0]);
                16
            }
            17 => {
                let length = self.udp_length.unwrap_or(8 + self.payload.len() as u16);
                segment.extend(length.to_be_bytes());
                segment.extend([0, 0]);
                6
            }
            _ => {
                segment.extend(&self.payload);
                return segment;
            }
        };
        segment.extend(&self.payload);
        let mut pseudo = Vec::new();
        pseudo.extend(self.src.octets());
        pseudo.extend(self.dst.octets());
        pseudo.extend([0, self.protocol]);
        pseudo.extend((segment.len() as u16).to_be_bytes());
        pseudo.extend(&segment);
        let checksum = match (self.protocol, !sum(&pseudo)) {
            (17, 0) => 0xffff,
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
    if frame.len() < 34 {
        return;
    }
    let header = (usize::from(frame[14] & 0xf) * 4).clamp(20, frame.len() - 14);
    frame[24..26].fill(0);
    let checksum = !sum(&frame[14..14 + header]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
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

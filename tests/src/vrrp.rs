//! VRRP adverts and what follows them, made and read by hand: an oracle that shares no line with what it judges.
//!
//! *Invariants*: every field of an advert can be set, also to what no router would send; [`Advert::read`] of
//! [`Advert::message`] is the same advert, unless it was spoilt on purpose. Times are those of the capture.
//!
//! RFC 9568 section 5, RFC 3768 section 5.3 and, for the password, RFC 2338 section 5.3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::address::Mac;
use crate::checksum::pseudo_header;
use crate::frame::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Neighbor};

/// The protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// Where adverts of IPv4 go.
pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// Where adverts of IPv6 go.
pub const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
/// What to capture for a look at directors: adverts, ARP, neighbour discovery.
pub const FILTER: &str = "proto 112 or arp or ip6 proto 112 or icmp6";

/// Bytes of the password field of version 2.
const PASSWORD: usize = 8;
const ETHERTYPE_VLAN: u16 = 0x8100;

/// How far the checksum of an advert is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sum {
    /// As keepalived computes it: over the message in version 2, with the pseudo-header in version 3.
    #[default]
    Right,
    /// Version 3 over IPv4 as RFC 9568 has it: over the message only. As `Right` in version 2.
    MessageOnly,
    /// Neither.
    Wrong,
}

/// An advert in its packet in its frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advert {
    /// Who sends it on the link.
    pub source_mac: Mac,
    /// Whom it is for on the link; none: what belongs to `destination`, which must be a group then.
    pub destination_mac: Option<Mac>,
    /// The VLAN that it is tagged with.
    pub vlan: Option<u16>,
    /// Source of the packet.
    pub source: IpAddr,
    /// Destination of the packet.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// With IPv4 options (one word of no-operation), or an IPv6 destination options header (padding).
    pub options: bool,
    /// In two fragments. IPv4 only.
    pub fragmented: bool,
    /// What the IP header says beyond what is there, bytes.
    pub overstated: u16,
    /// VRRP version, 4 bits.
    pub version: u8,
    /// Type, 4 bits; 1 is an advert.
    pub kind: u8,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// The number of addresses that it claims; none: that of `addresses`.
    pub count: Option<u8>,
    /// Authentication type of version 2: 0 none, 1 password.
    pub auth: u8,
    /// Authentication data of version 2, zeros if there is none.
    pub password: [u8; PASSWORD],
    /// Interval: seconds in version 2 (8 bits), hundredths of a second in version 3 (12 bits).
    pub interval: u16,
    /// The four reserved bits of version 3.
    pub reserved: u8,
    /// Addresses, all of the family of the packet.
    pub addresses: Vec<IpAddr>,
    /// How far the checksum is right.
    pub sum: Sum,
    /// The message is cut to so many bytes, after its checksum was computed.
    pub cut: Option<usize>,
    /// So many zero bytes follow it.
    pub trailing: usize,
}

/// An advert that was captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// When: time since 1970.
    pub time: Duration,
    /// What.
    pub advert: Advert,
}

impl Advert {
    /// A good one of version 2 (interval 1 s) or 3 (1 s), to the group of the family of `source`.
    pub fn new(version: u8, source_mac: Mac, source: IpAddr, vrid: u8, priority: u8) -> Advert {
        Advert {
            source_mac,
            destination_mac: None,
            vlan: None,
            source,
            destination: if source.is_ipv4() { GROUP } else { GROUP6 },
            ttl: 255,
            options: false,
            fragmented: false,
            overstated: 0,
            version,
            kind: 1,
            vrid,
            priority,
            count: None,
            auth: 0,
            password: [0; PASSWORD],
            interval: if version == 2 { 1 } else { 100 },
            reserved: 0,
            addresses: Vec::new(),
            sum: Sum::Right,
            cut: None,
            trailing: 0,
        }
    }

    /// With these addresses.
    pub fn of(mut self, addresses: &[IpAddr]) -> Advert {
        self.addresses = addresses.to_vec();
        self
    }

    /// With this password (version 2), cut to eight bytes.
    pub fn password(mut self, password: &str) -> Advert {
        self.auth = 1;
        self.password = [0; PASSWORD];
        for (to, from) in self.password.iter_mut().zip(password.bytes()) {
            *to = from;
        }
        self
    }

    /// The VRRP message.
    pub fn message(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(self.addresses.len() as u8);
        let mut bytes = vec![self.version << 4 | self.kind & 15, self.vrid, self.priority, count];
        if self.version == 2 {
            bytes.extend([self.auth, self.interval as u8]);
        } else {
            bytes.extend((u16::from(self.reserved) << 12 | self.interval & 0xfff).to_be_bytes());
        }
        bytes.extend([0, 0]);
        for address in &self.addresses {
            bytes.extend(octets(*address));
        }
        if self.version == 2 {
            bytes.extend(self.password);
        }
        bytes.resize(bytes.len() + self.trailing, 0);
        let with_pseudo_header = self.version != 2 && (self.sum != Sum::MessageOnly || self.source.is_ipv6());
        let mut sum = checksum(self.source, self.destination, &bytes, with_pseudo_header);
        if self.sum == Sum::Wrong {
            sum ^= 0x5a5a;
        }
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }

    /// The frames that carry it: one, or two if it is fragmented.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let message = self.message();
        let packets = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) if self.fragmented => {
                // Eight bytes, and what is left: the least that can be cut.
                let (first, rest) = message.split_at(8);
                vec![
                    self.packet4(source, destination, first, 0x2000),
                    self.packet4(source, destination, rest, 1),
                ]
            }
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                vec![self.packet4(source, destination, &message, 0)]
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                vec![self.packet6(source, destination, &message)]
            }
            _ => panic!("source and destination are of two families"),
        };
        packets.into_iter().map(|packet| self.frame(&packet)).collect()
    }

    fn packet4(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8], fragment: u16) -> Vec<u8> {
        let header = if self.options { 24 } else { 20 };
        let length = header as u16 + payload.len() as u16 + self.overstated;
        let mut packet = vec![0x40 | (header / 4) as u8, 0xc0];
        packet.extend(length.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([self.ttl, PROTOCOL, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.resize(header, 1);
        let sum = !fold(add(&packet));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn packet6(&self, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
        // Next header, length in words of eight bytes beyond the first, PadN with four zeros.
        let options: &[u8] = if self.options { &[PROTOCOL, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
        let length = (options.len() + payload.len()) as u16 + self.overstated;
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([if self.options { 60 } else { PROTOCOL }, self.ttl]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(options);
        packet.extend(payload);
        packet
    }

    fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let destination = self.destination_mac.unwrap_or_else(|| group_mac(self.destination));
        let mut frame = [destination.0, self.source_mac.0].concat();
        if let Some(vlan) = self.vlan {
            frame.extend(ETHERTYPE_VLAN.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(if self.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }.to_be_bytes());
        frame.extend(packet);
        frame
    }

    /// Reads the advert in `frame`; `None` if there is none, or not a whole one.
    pub fn read(frame: &Frame) -> Option<Advert> {
        let ip = frame.ip.as_ref().filter(|ip| ip.protocol == PROTOCOL)?;
        let message = frame.transport()?;
        let [head, vrid, priority, count, a, b, high, low, rest @ ..] = message else { return None };
        let (version, sum) = (head >> 4, u16::from_be_bytes([*high, *low]));
        let size = if ip.source.is_ipv4() { 4 } else { 16 };
        let addresses = rest.get(..usize::from(*count) * size)?;
        let behind = &rest[addresses.len()..];
        let (password, trailing) = if version == 2 {
            (*behind.first_chunk()?, behind.len() - PASSWORD)
        } else {
            ([0; PASSWORD], behind.len())
        };
        let mut bare = message.to_vec();
        bare[6..8].fill(0);
        let is_right = |pseudo| checksum(ip.source, ip.destination, &bare, pseudo) == sum;
        Some(Advert {
            source_mac: frame.source,
            destination_mac: Some(frame.destination),
            vlan: frame.vlans.first().copied(),
            source: ip.source,
            destination: ip.destination,
            ttl: ip.ttl,
            options: false,
            fragmented: ip.fragment,
            overstated: 0,
            version,
            kind: head & 15,
            vrid: *vrid,
            priority: *priority,
            count: None,
            auth: if version == 2 { *a } else { 0 },
            password,
            interval: if version == 2 { (*b).into() } else { u16::from_be_bytes([*a, *b]) & 0xfff },
            reserved: if version == 2 { 0 } else { a >> 4 },
            addresses: addresses.chunks(size).map(address).collect(),
            sum: match (is_right(version != 2), is_right(false)) {
                (true, _) => Sum::Right,
                (_, true) => Sum::MessageOnly,
                _ => Sum::Wrong,
            },
            cut: None,
            trailing,
        })
    }
}

/// All adverts in `frames`, in order.
pub fn adverts(frames: &[Frame]) -> Vec<Heard> {
    frames.iter().filter_map(|frame| Some(Heard { time: frame.time, advert: Advert::read(frame)? })).collect()
}

/// When `address` was announced unasked, and as where: gratuitous ARP of either form, unsolicited advertisements.
pub fn announcements(frames: &[Frame], address: IpAddr) -> Vec<(Duration, Mac)> {
    let of_arp = |frame: &Frame| {
        let arp = frame.arp?;
        (IpAddr::V4(arp.sender) == address && arp.sender == arp.target).then_some(arp.sender_mac)
    };
    let of_neighbor = |frame: &Frame| {
        let said = frame.neighbor.filter(|said| said.kind == Neighbor::ADVERTISEMENT)?;
        let to_all = frame.ip.as_ref().is_some_and(|ip| ip.destination.is_multicast());
        (IpAddr::V6(said.target) == address && to_all).then_some(said.mac).flatten()
    };
    frames
        .iter()
        .filter_map(|frame| Some((frame.time, of_arp(frame).or_else(|| of_neighbor(frame))?)))
        .collect()
}

/// The virtual MAC address of a VRID (RFC 9568 section 7.3).
pub fn virtual_mac(vrid: u8, ipv6: bool) -> Mac {
    Mac([0, 0, 0x5e, 0, if ipv6 { 2 } else { 1 }, vrid])
}

/// The Ethernet address of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7).
fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(group) => {
            let [_, a, b, c] = group.octets();
            Mac([1, 0, 0x5e, a & 0x7f, b, c])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            Mac([0x33, 0x33, a, b, c, d])
        }
    }
}

fn checksum(source: IpAddr, destination: IpAddr, message: &[u8], with_pseudo_header: bool) -> u16 {
    let pseudo =
        if with_pseudo_header { pseudo_header(source, destination, PROTOCOL, message.len()) } else { 0 };
    !fold(add(message) + u32::from(pseudo))
}

fn add(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> IpAddr {
    match <[u8; 16]>::try_from(octets) {
        Ok(sixteen) => sixteen.into(),
        Err(_) => <[u8; 4]>::try_from(octets).expect("four or sixteen").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Captured from keepalived 2.2.7.
    #[test]
    fn keepalived_s_adverts_come_out_to_the_byte() {
        let a1 = Advert::new(2, MAC, ip("10.0.0.1"), 1, 101).password("foo").of(&[ip("10.0.0.5")]);
        assert_eq!(hex(&a1.message()), "21016501010199870a000005666f6f0000000000");
        let stopping = Advert { priority: 0, ..a1 };
        assert_eq!(hex(&stopping.message()[6..8]), "fe87");
        let vips = [ip("10.0.0.5"), ip("10.0.0.6")];
        let a2 = Advert::new(3, MAC, ip("10.0.0.1"), 1, 101).of(&vips);
        assert_eq!(hex(&a2.message()), "3101650200646af90a0000050a000006");
        let a3 = Advert {
            destination: ip("192.168.10.102"),
            ..Advert::new(3, MAC, ip("192.168.10.101"), 33, 200).of(&[ip("192.168.10.110")])
        };
        assert_eq!(hex(&a3.message()), "3121c8010064a4c9c0a80a6e");
        let a5 = Advert::new(2, MAC, ip("192.168.10.101"), 33, 200).password("isi_passwd_bebas");
        assert_eq!(hex(&a5.message()), "2121c80001015f356973695f70617373");
        let vips = [ip("fe80::5"), ip("2001:db8::5")];
        let a6 = Advert::new(3, MAC, ip("fe80::ff:fe00:1"), 1, 101).of(&vips);
        assert_eq!(hex(&a6.message()[..8]), "3101650200644025");
    }

    #[test]
    fn what_is_made_is_read_again() {
        let vips = [ip("10.0.0.5"), ip("10.0.0.6")];
        let two = Advert::new(2, MAC, ip("10.0.0.1"), 1, 101).password("foo").of(&vips);
        let three = Advert { sum: Sum::MessageOnly, ..Advert::new(3, MAC, ip("10.0.0.1"), 7, 9).of(&vips) };
        let six = Advert::new(3, MAC, ip("fe80::1"), 7, 0).of(&[ip("fe80::5")]);
        for advert in [two, three, six] {
            let advert = Advert { destination_mac: Some(group_mac(advert.destination)), ..advert };
            let bytes = advert.frames().remove(0);
            let length = bytes.len();
            let frame = Frame::parse(Duration::ZERO, bytes, length).unwrap();
            assert_eq!(Advert::read(&frame), Some(advert));
        }
    }

    #[test]
    fn a_spoilt_checksum_is_seen() {
        let advert = Advert { sum: Sum::Wrong, ..Advert::new(2, MAC, ip("10.0.0.1"), 1, 101) };
        let bytes = advert.frames().remove(0);
        let length = bytes.len();
        let frame = Frame::parse(Duration::ZERO, bytes, length).unwrap();
        assert_eq!(Advert::read(&frame).unwrap().sum, Sum::Wrong);
    }
}

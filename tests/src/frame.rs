//! What a test wants to know about a captured frame, read once.
//!
//! Invariants: a view that is `Some` was whole enough to be read; nothing here judges a frame, that is what
//! [`crate::expect`] is for. The layouts come from pnet_packet, an implementation that shunt's own parser shares
//! nothing with.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use pnet_packet::arp::ArpPacket;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;
use pnet_packet::vlan::VlanPacket;

use crate::address::Mac;

/// The protocol number of TCP.
pub const TCP: u8 = 6;
/// The protocol number of UDP.
pub const UDP: u8 = 17;

/// The protocol number of ICMP.
pub const ICMP: u8 = 1;
/// The protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// The protocol number of SCTP.
pub const SCTP: u8 = 132;

/// The extension headers of IPv6 that are stepped over (RFC 8200 section 4): hop-by-hop options, routing, fragment,
/// destination options.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Bytes of a fragment header.
const FRAGMENT_HEADER: usize = 8;

/// An IPv4 packet follows.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
/// An IPv6 packet follows.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A frame as it was seen on a link.
#[derive(Clone)]
pub struct Frame {
    /// When: time since 1970.
    pub time: Duration,
    /// Who sent it on this link.
    pub source: Mac,
    /// Whom it is for on this link.
    pub destination: Mac,
    /// The VLANs it is tagged with, the outermost first.
    pub vlans: Vec<u16>,
    /// What it carries, behind the VLAN tags if there are any.
    pub ethertype: u16,
    /// The ARP message in it.
    pub arp: Option<Arp>,
    /// The message of neighbour discovery in it: what ARP is to IPv4.
    pub neighbor: Option<Neighbor>,
    /// The IP packet in it.
    pub ip: Option<Ip>,
    /// The bytes from the destination address on; a capture may have cut them.
    pub bytes: Vec<u8>,
    /// How long the frame was on the link, bytes.
    pub length: usize,
}

/// An ARP message for IPv4 (RFC 826).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// 1 is a request, 2 a reply.
    pub operation: u16,
    /// The address the sender claims, ...
    pub sender: Ipv4Addr,
    /// ... and where it says that it is.
    pub sender_mac: Mac,
    /// The address asked for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// "Who has TARGET?"
    pub const REQUEST: u16 = 1;
    /// "SENDER is at SENDER_MAC."
    pub const REPLY: u16 = 2;
}

/// A solicitation or an advertisement of neighbour discovery (RFC 4861 sections 4.3 and 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// The ICMPv6 type.
    pub kind: u8,
    /// The address asked for, or said to be the sender's.
    pub target: Ipv6Addr,
    /// Where the sender says that it is, if it does.
    pub mac: Option<Mac>,
}

impl Neighbor {
    /// "Who has TARGET?"
    pub const SOLICITATION: u8 = 135;
    /// "TARGET is at MAC."
    pub const ADVERTISEMENT: u8 = 136;
}

/// An IPv4 or IPv6 packet.
#[derive(Clone, Debug)]
pub struct Ip {
    /// The sender's address.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What it carries, behind extension headers: [`TCP`], [`UDP`], ...
    pub protocol: u8,
    /// The identification of an IPv4 packet, or of an IPv6 fragment; 0 in other IPv6 packets, which have none.
    pub id: u32,
    /// Part of a fragmented packet, the first or a later one.
    pub fragment: bool,
    /// Where in the fragmented packet this part begins, bytes; 0 in the first part and in a whole packet.
    pub fragment_offset: usize,
    /// Source and destination port; none in a later fragment.
    pub ports: Option<(u16, u16)>,
    /// Sequence number and flags of a TCP segment.
    pub tcp: Option<Tcp>,
    /// The header of an ICMP or ICMPv6 message.
    pub icmp: Option<Icmp>,
    /// Where in [`Frame::bytes`] the packet is, without what pads the frame; shorter if the capture was cut.
    pub packet: Range<usize>,
    /// Where what it carries begins.
    pub transport: usize,
}

/// The header of an ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The four bytes behind the checksum: the MTU in ICMPv6's "packet too big", and in the lower half of ICMP's
    /// "fragmentation needed" (RFC 1191).
    pub word: u32,
}

impl Icmp {
    /// Type and code of "fragmentation needed" (ICMP).
    pub const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
    /// Type and code of "port unreachable" (ICMP).
    pub const PORT_UNREACHABLE: (u8, u8) = (3, 3);
    /// Type and code of "time to live exceeded in transit" (ICMP).
    pub const TIME_EXCEEDED: (u8, u8) = (11, 0);
    /// Type and code of "packet too big" (ICMPv6).
    pub const PACKET_TOO_BIG: (u8, u8) = (2, 0);
    /// Type and code of "port unreachable" (ICMPv6).
    pub const PORT_UNREACHABLE6: (u8, u8) = (1, 4);
    /// Type and code of "hop limit exceeded in transit" (ICMPv6).
    pub const TIME_EXCEEDED6: (u8, u8) = (3, 0);

    /// Type and code.
    pub fn what(self) -> (u8, u8) {
        (self.kind, self.code)
    }
}

/// The fields of a TCP header that tests look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// CWR ECE URG ACK PSH RST SYN FIN, FIN the lowest bit.
    pub flags: u8,
}

impl Frame {
    /// Reads a frame; `None` if it has not even an Ethernet header.
    pub fn parse(time: Duration, bytes: Vec<u8>, length: usize) -> Option<Frame> {
        let ethernet = EthernetPacket::new(&bytes)?;
        let (source, destination) =
            (Mac(ethernet.get_source().octets()), Mac(ethernet.get_destination().octets()));
        let mut ethertype = ethernet.get_ethertype().0;
        let mut network = EthernetPacket::minimum_packet_size();
        let mut vlans = Vec::new();
        while matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
            && let Some(tag) = VlanPacket::new(&bytes[network..])
        {
            vlans.push(tag.get_vlan_identifier());
            ethertype = tag.get_ethertype().0;
            network += VlanPacket::minimum_packet_size();
        }
        let (arp, ip) = match ethertype {
            ETHERTYPE_ARP => (Arp::parse(&bytes[network..]), None),
            ETHERTYPE_IPV4 => (None, Ip::parse_v4(&bytes, network)),
            ETHERTYPE_IPV6 => (None, Ip::parse_v6(&bytes, network)),
            _ => (None, None),
        };
        let neighbor = ip.as_ref().and_then(|ip: &Ip| Neighbor::parse(ip, &bytes));
        Some(Frame { time, source, destination, vlans, ethertype, arp, neighbor, ip, bytes, length })
    }

    /// The bytes of the IP packet.
    pub fn packet(&self) -> Option<&[u8]> {
        self.ip.as_ref().map(|ip| &self.bytes[ip.packet.clone()])
    }

    /// What the packet carries: the segment, datagram or message with its header.
    pub fn transport(&self) -> Option<&[u8]> {
        self.ip.as_ref().map(|ip| &self.bytes[ip.transport..ip.packet.end])
    }

    /// Whether it carries an ICMP or ICMPv6 message of this type and code.
    pub fn is_icmp(&self, what: (u8, u8)) -> bool {
        self.ip.as_ref().and_then(|ip| ip.icmp).is_some_and(|icmp| icmp.what() == what)
    }

    /// The flags of the TCP segment in it; 0 if there is none.
    pub fn tcp_flags(&self) -> u8 {
        self.ip.as_ref().and_then(|ip| ip.tcp).map_or(0, |tcp| tcp.flags)
    }

    /// Whether it carries a packet for `address`.
    pub fn is_to(&self, address: IpAddr) -> bool {
        self.ip.as_ref().is_some_and(|ip| ip.destination == address)
    }

    /// Whether it carries a packet from `address`.
    pub fn is_from(&self, address: IpAddr) -> bool {
        self.ip.as_ref().is_some_and(|ip| ip.source == address)
    }
}

impl Arp {
    fn parse(bytes: &[u8]) -> Option<Arp> {
        let arp = ArpPacket::new(bytes)?;
        Some(Arp {
            operation: arp.get_operation().0,
            sender: arp.get_sender_proto_addr(),
            sender_mac: Mac(arp.get_sender_hw_addr().octets()),
            target: arp.get_target_proto_addr(),
        })
    }
}

impl Neighbor {
    fn parse(ip: &Ip, bytes: &[u8]) -> Option<Neighbor> {
        const OPTIONS: usize = 24;
        let kind = ip.icmp.filter(|_| ip.protocol == ICMPV6)?.kind;
        let message = &bytes[ip.transport..ip.packet.end];
        // The link-layer address of the source of a solicitation, or of the target of an advertisement.
        let wanted = match kind {
            Neighbor::SOLICITATION => 1,
            Neighbor::ADVERTISEMENT => 2,
            _ => return None,
        };
        let target: [u8; 16] = message.get(8..OPTIONS)?.try_into().ok()?;
        let mut options = message.get(OPTIONS..)?;
        let mut mac = None;
        while let [option, length, value @ ..] = options {
            let octets = usize::from(*length) * 8;
            if *option == wanted
                && let Some(address) = value.first_chunk()
            {
                mac = Some(Mac(*address));
            }
            // An option of no length would have no end.
            options = options.get(octets.max(1)..).unwrap_or_default();
        }
        Some(Neighbor { kind, target: target.into(), mac })
    }
}

impl Ip {
    fn parse_v4(bytes: &[u8], start: usize) -> Option<Ip> {
        let ip = Ipv4Packet::new(&bytes[start..])?;
        let header = usize::from(ip.get_header_length()) * 4;
        let end = bytes.len().min(start + usize::from(ip.get_total_length()));
        if ip.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() || start + header > end {
            return None;
        }
        let more = ip.get_flags() & 1 != 0;
        let later = ip.get_fragment_offset() != 0;
        let mut view = Ip {
            source: ip.get_source().into(),
            destination: ip.get_destination().into(),
            ttl: ip.get_ttl(),
            protocol: ip.get_next_level_protocol().0,
            id: ip.get_identification().into(),
            fragment: more || later,
            fragment_offset: usize::from(ip.get_fragment_offset()) * 8,
            ports: None,
            tcp: None,
            icmp: None,
            packet: start..end,
            transport: start + header,
        };
        if !later {
            view.parse_transport(&bytes[start + header..end]);
        }
        Some(view)
    }

    fn parse_v6(bytes: &[u8], start: usize) -> Option<Ip> {
        let ip = Ipv6Packet::new(&bytes[start..])?;
        let first = start + Ipv6Packet::minimum_packet_size();
        let end = bytes.len().min(first + usize::from(ip.get_payload_length()));
        if ip.get_version() != 6 {
            return None;
        }
        let mut view = Ip {
            source: ip.get_source().into(),
            destination: ip.get_destination().into(),
            ttl: ip.get_hop_limit(),
            protocol: ip.get_next_header().0,
            id: 0,
            fragment: false,
            fragment_offset: 0,
            ports: None,
            tcp: None,
            icmp: None,
            packet: start..end,
            transport: first,
        };
        view.skip_extensions(bytes)?;
        if view.fragment_offset == 0 {
            view.parse_transport(&bytes[view.transport..end]);
        }
        Some(view)
    }

    /// Moves `protocol` and `transport` behind the extension headers; behind the header of a later fragment are no more.
    fn skip_extensions(&mut self, bytes: &[u8]) -> Option<()> {
        while self.fragment_offset == 0 {
            let header = &bytes[self.transport..self.packet.end];
            let length = match self.protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(*header.get(1)?) + 1) * 8,
                FRAGMENT => {
                    let header: &[u8; FRAGMENT_HEADER] = header.first_chunk()?;
                    let place = u16::from_be_bytes([header[2], header[3]]);
                    self.fragment_offset = usize::from(place & !7);
                    self.fragment = self.fragment_offset > 0 || place & 1 != 0;
                    self.id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    FRAGMENT_HEADER
                }
                _ => break,
            };
            self.protocol = *header.first()?;
            self.transport += length;
            if self.transport > self.packet.end {
                return None;
            }
        }
        Some(())
    }

    fn parse_transport(&mut self, bytes: &[u8]) {
        match self.protocol {
            TCP => {
                let Some(tcp) = TcpPacket::new(bytes) else { return };
                self.ports = Some((tcp.get_source(), tcp.get_destination()));
                self.tcp = Some(Tcp {
                    sequence: tcp.get_sequence(),
                    acknowledgement: tcp.get_acknowledgement(),
                    flags: tcp.get_flags(),
                });
            }
            UDP => self.ports = UdpPacket::new(bytes).map(|udp| (udp.get_source(), udp.get_destination())),
            SCTP => {
                if let [a, b, c, d, ..] = bytes {
                    self.ports = Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
                }
            }
            ICMP | ICMPV6 => {
                if let [kind, code, _, _, a, b, c, d, ..] = bytes {
                    let word = u32::from_be_bytes([*a, *b, *c, *d]);
                    self.icmp = Some(Icmp { kind: *kind, code: *code, word });
                }
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Frame {
    /// One line, as tcpdump would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source, self.destination)?;
        for vlan in &self.vlans {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(arp) = self.arp {
            write!(
                f,
                " ARP op {}: {} at {}, target {}",
                arp.operation, arp.sender, arp.sender_mac, arp.target
            )?;
        } else if let Some(neighbor) = self.neighbor {
            let at = neighbor.mac.map(|mac| format!(" at {mac}")).unwrap_or_default();
            write!(f, " neighbour type {}: {}{at}", neighbor.kind, neighbor.target)?;
        } else if let Some(ip) = &self.ip {
            let (from, to) =
                ip.ports.map_or_else(Default::default, |(a, b)| (format!(":{a}"), format!(":{b}")));
            write!(
                f,
                " {}{from} > {}{to} proto {} ttl {} id {}",
                ip.source, ip.destination, ip.protocol, ip.ttl, ip.id
            )?;
            if let Some(tcp) = ip.tcp {
                write!(f, " seq {} ack {} flags {:#04x}", tcp.sequence, tcp.acknowledgement, tcp.flags)?;
            }
            if let Some(icmp) = ip.icmp {
                write!(f, " ICMP type {} code {}", icmp.kind, icmp.code)?;
            }
            if ip.fragment {
                write!(f, " fragment at {}", ip.fragment_offset)?;
            }
        } else {
            write!(f, " ethertype {:#06x}", self.ethertype)?;
        }
        write!(f, ", {} bytes", self.length)
    }
}

//! What a test wants to know about a captured frame, read once.
//!
//! Invariants: a view that is `Some` was whole enough to be read; nothing here judges a frame, that is what
//! [`crate::expect`] is for. The layouts come from pnet_packet, an implementation that shunt's own parser shares
//! nothing with.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
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

/// An IPv4 packet follows.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
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
    /// The VLAN it is tagged with.
    pub vlan: Option<u16>,
    /// What it carries, behind a VLAN tag if there is one.
    pub ethertype: u16,
    /// The ARP message in it.
    pub arp: Option<Arp>,
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

/// An IPv4 or IPv6 packet. In IPv6 `id` is 0: packets have none.
#[derive(Clone, Debug)]
pub struct Ip {
    /// The sender's address.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What it carries: [`TCP`], [`UDP`], ...
    pub protocol: u8,
    /// The identification of an IPv4 packet.
    pub id: u16,
    /// Part of a fragmented packet, the first or a later one.
    pub fragment: bool,
    /// Source and destination port; none in a later fragment.
    pub ports: Option<(u16, u16)>,
    /// Sequence number and flags of a TCP segment.
    pub tcp: Option<Tcp>,
    /// Where in [`Frame::bytes`] the packet is, without what pads the frame; shorter if the capture was cut.
    pub packet: Range<usize>,
    /// Where what it carries begins.
    pub transport: usize,
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
        let mut vlan = None;
        if ethertype == ETHERTYPE_VLAN
            && let Some(tag) = VlanPacket::new(&bytes[network..])
        {
            vlan = Some(tag.get_vlan_identifier());
            ethertype = tag.get_ethertype().0;
            network += VlanPacket::minimum_packet_size();
        }
        let (arp, ip) = match ethertype {
            ETHERTYPE_ARP => (Arp::parse(&bytes[network..]), None),
            ETHERTYPE_IPV4 => (None, Ip::parse_v4(&bytes, network)),
            ETHERTYPE_IPV6 => (None, Ip::parse_v6(&bytes, network)),
            _ => (None, None),
        };
        Some(Frame { time, source, destination, vlan, ethertype, arp, ip, bytes, length })
    }

    /// The bytes of the IP packet.
    pub fn packet(&self) -> Option<&[u8]> {
        self.ip.as_ref().map(|ip| &self.bytes[ip.packet.clone()])
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
            id: ip.get_identification(),
            fragment: more || later,
            ports: None,
            tcp: None,
            packet: start..end,
            transport: start + header,
        };
        if !later {
            view.parse_transport(&bytes[start + header..end]);
        }
        Some(view)
    }

    /// Extension headers are not followed: no test needs them yet.
    fn parse_v6(bytes: &[u8], start: usize) -> Option<Ip> {
        let ip = Ipv6Packet::new(&bytes[start..])?;
        let transport = start + Ipv6Packet::minimum_packet_size();
        let end = bytes.len().min(transport + usize::from(ip.get_payload_length()));
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
            ports: None,
            tcp: None,
            packet: start..end,
            transport,
        };
        view.parse_transport(&bytes[transport..end]);
        Some(view)
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
            _ => {}
        }
    }
}

impl fmt::Debug for Frame {
    /// One line, as tcpdump would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source, self.destination)?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(arp) = self.arp {
            write!(
                f,
                " ARP op {}: {} at {}, target {}",
                arp.operation, arp.sender, arp.sender_mac, arp.target
            )?;
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
        } else {
            write!(f, " ethertype {:#06x}", self.ethertype)?;
        }
        write!(f, ", {} bytes", self.length)
    }
}

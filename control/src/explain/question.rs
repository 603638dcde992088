//! What the daemon is asked, and the frame that is meant.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shunt_dataplane::checksum;
use shunt_dataplane::packet::{MacAddress, Protocol, TcpFlags};

/// Most frames of one question: they are tried on the control thread.
pub const MOST_FRAMES: usize = 256;
/// Most bytes of all its frames.
pub const MOST_BYTES: usize = 2 << 20;
/// Longest frame, bytes.
pub const LONGEST: usize = 65_549;
/// Nobody's MAC address: one of those for documentation (RFC 7042, section 2.1.1).
const SENDER: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];
/// A packet that has come some way from a host that sends 64.
const HOPS: u8 = 60;
const DONT_FRAGMENT: u8 = 0x40;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The interface that it comes in on; none: the one whose MAC address it has, or the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What comes in.
    #[serde(flatten)]
    pub subject: Subject,
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// One packet.
    Packet(Tuple),
    /// Frames, one after the other; at most [`MOST_FRAMES`].
    Frames(Vec<Bytes>),
}

/// A packet, by its addresses and ports; both addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuple {
    /// Source address.
    pub client: IpAddr,
    /// Source port.
    pub client_port: u16,
    /// Destination address.
    pub vip: IpAddr,
    /// Destination port, 1-65535.
    pub port: u16,
    /// Transport protocol, as IP numbers it: 6, 17 or 132.
    pub protocol: u8,
    /// TCP flags, as in the header; none: a SYN, or an ACK if anybody knows the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u8>,
}

/// A frame, or an IP packet without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Its bytes, two hex digits each.
    pub hex: String,
    /// How long it is, if that is more; the rest is taken for zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

impl Bytes {
    /// The frame, sent to `mac` if it begins with its IP header.
    ///
    /// # Errors
    /// It is no hex, or too long.
    pub fn frame(&self, mac: MacAddress) -> Result<Vec<u8>, String> {
        let digits = self.hex.as_bytes();
        let mut bytes = Vec::with_capacity(digits.len() / 2);
        for pair in digits.chunks(2) {
            let byte = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
            let byte = byte.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            bytes.push(byte.ok_or("a frame is told by two hex digits a byte")?);
        }
        let length = self.length.unwrap_or(0).max(bytes.len());
        if length > LONGEST {
            return Err(format!("a frame has at most {LONGEST} bytes, not {length}"));
        }
        bytes.resize(length, 0);
        Ok(if is_packet(&bytes) { ethernet(mac, &bytes) } else { bytes })
    }
}

/// Whether these bytes begin with an IP header, as tcpdump prints them without `-e`.
fn is_packet(bytes: &[u8]) -> bool {
    let is_frame = matches!(
        bytes.get(12..14),
        Some([0x08, 0x00 | 0x06] | [0x86, 0xdd] | [0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00])
    );
    !is_frame && matches!(bytes.first().map(|first| first >> 4), Some(4 | 6))
}

fn ethernet(to: MacAddress, packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] =
        if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&to.0[..], &SENDER, &kind, packet].concat()
}

impl Tuple {
    /// The protocol, if shunt knows it.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.protocol)
    }

    /// A frame to `mac` with this packet.
    ///
    /// # Errors
    /// The addresses are of two families, or the protocol has no services.
    pub fn frame(&self, mac: MacAddress, flags: TcpFlags) -> Result<Vec<u8>, String> {
        let protocol = self.protocol().ok_or_else(|| format!("no service has protocol {}", self.protocol))?;
        let ports = [self.client_port.to_be_bytes(), self.port.to_be_bytes()].concat();
        let rest: Vec<u8> = match protocol {
            Protocol::Tcp => [&[0; 8][..], &[5 << 4, flags.0, 0xff, 0xff, 0, 0, 0, 0]].concat(),
            Protocol::Udp => vec![0, 8, 0, 0],
            Protocol::Sctp => vec![0; 8],
        };
        let segment = [ports, rest].concat();
        let packet = match (self.client, self.vip) {
            (IpAddr::V4(client), IpAddr::V4(vip)) => {
                let [high, low] = (20 + segment.len() as u16).to_be_bytes();
                let mut header = vec![0x45, 0, high, low, 0, 0, DONT_FRAGMENT, 0, HOPS, self.protocol, 0, 0];
                header.extend([client.octets(), vip.octets()].concat());
                let sum = !checksum::sum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                [header, segment].concat()
            }
            (IpAddr::V6(client), IpAddr::V6(vip)) => {
                let [high, low] = (segment.len() as u16).to_be_bytes();
                let header = vec![0x60, 0, 0, 0, high, low, self.protocol, HOPS];
                [header, [client.octets(), vip.octets()].concat(), segment].concat()
            }
            _ => return Err("one address is IPv4, the other IPv6: a packet has two of one kind".into()),
        };
        Ok(ethernet(mac, &packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_dataplane::parse::parse;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn the_frame_of_a_tuple_is_what_it_says_in_both_families_and_all_protocols() {
        let pairs: [(IpAddr, IpAddr); 2] = [
            ("198.51.100.7".parse().unwrap(), "192.0.2.10".parse().unwrap()),
            ("2001:db8::7".parse().unwrap(), "2001:db8::10".parse().unwrap()),
        ];
        for (client, vip) in pairs {
            for protocol in [6, 17, 132] {
                let tuple = Tuple { client, client_port: 40_000, vip, port: 80, protocol, flags: None };
                let packet = parse(&tuple.frame(MAC, TcpFlags::ACK).unwrap()).unwrap();
                assert_eq!((packet.src, packet.dst), (client.into(), vip.into()));
                assert_eq!((packet.src_port, packet.dst_port, packet.protocol as u8), (40_000, 80, protocol));
                assert_eq!(packet.flags.has(TcpFlags::ACK), protocol == 6);
            }
        }
        let (client, vip) = (pairs[0].0, pairs[1].1);
        let mixed = Tuple { client, client_port: 1, vip, port: 80, protocol: 6, flags: None };
        assert!(mixed.frame(MAC, TcpFlags::SYN).unwrap_err().contains("two of one kind"));
    }

    #[test]
    fn bytes_that_begin_with_an_ip_header_get_an_ethernet_header() {
        let vip = "192.0.2.10".parse().unwrap();
        let client = "198.51.100.7".parse().unwrap();
        let tuple = Tuple { client, client_port: 1, vip, port: 80, protocol: 6, flags: None };
        let whole = tuple.frame(MAC, TcpFlags::SYN).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let told = |bytes: &[u8]| Bytes { hex: hex(bytes), length: None }.frame(MAC).unwrap();
        assert_eq!(told(&whole), whole);
        assert_eq!(told(&whole[14..]), whole);
        let cut = Bytes { hex: hex(&whole[..30]), length: Some(60) };
        assert_eq!(cut.frame(MAC).unwrap(), [&whole[..30], &[0; 30]].concat());
        for hex in ["4", "zz", "4é"] {
            assert!(Bytes { hex: hex.into(), length: None }.frame(MAC).is_err());
        }
    }

    #[test]
    fn a_question_is_the_json_of_the_docs() {
        let text = r#"{"interface":"eth0","packet":{"client":"198.51.100.7","client_port":40000,"vip":"192.0.2.10","port":80,"protocol":6}}"#;
        let question: Question = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&question).unwrap(), text);
        let frames: Question = serde_json::from_str(r#"{"frames":[{"hex":"00"}]}"#).unwrap();
        assert_eq!(frames.subject, Subject::Frames(vec![Bytes { hex: "00".into(), length: None }]));
    }
}

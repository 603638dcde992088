//! What can be read of a packet of which only the front may be there. The dataplane's parser is no use for that: it refuses
//! what is not whole, and these are the frames that it has refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv6 extension headers that are walked through.
const MOST_EXTENSIONS: usize = 8;

/// What is known of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol number of IP, behind extension headers.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP and SCTP; none in a later fragment, or beyond what is there.
    pub ports: Option<(u16, u16)>,
    /// TCP flags.
    pub flags: u8,
    /// Outermost VLAN, if there is a tag.
    pub vlan: Option<u16>,
}

impl Decoded {
    /// The packet of a frame; none if it is not IP, or ends before its addresses do.
    pub fn of(frame: &[u8]) -> Option<Decoded> {
        let mut at = 12;
        let mut vlan = None;
        // As many tags as the director takes.
        for _ in 0..2 {
            if matches!(word(frame, at)?, 0x8100 | 0x88a8 | 0x9100) {
                vlan = vlan.or(Some(word(frame, at + 2)? & 0x0fff));
                at += 4;
            }
        }
        let packet = match word(frame, at)? {
            0x0800 => ipv4(frame.get(at + 2..)?),
            0x86dd => ipv6(frame.get(at + 2..)?),
            _ => None,
        }?;
        Some(Decoded { vlan, ..packet })
    }

    /// The packet that this is the answer to.
    pub fn reversed(self) -> Decoded {
        let ports = self.ports.map(|(src, dst)| (dst, src));
        Decoded { src: self.dst, dst: self.src, ports, ..self }
    }
}

fn ipv4(packet: &[u8]) -> Option<Decoded> {
    let src = Ipv4Addr::from(*packet.get(12..16)?.first_chunk()?);
    let dst = Ipv4Addr::from(*packet.get(16..20)?.first_chunk()?);
    let header = usize::from(packet[0] & 0x0f) * 4;
    let is_later = word(packet, 6)? & 0x1fff != 0;
    let rest = packet.get(header..).filter(|_| !is_later);
    Some(Decoded::transport(src.into(), dst.into(), packet[9], rest))
}

/// RFC 8200, section 4.
fn ipv6(packet: &[u8]) -> Option<Decoded> {
    let src = Ipv6Addr::from(*packet.get(8..24)?.first_chunk()?);
    let dst = Ipv6Addr::from(*packet.get(24..40)?.first_chunk()?);
    let (mut next, mut at, mut is_later) = (packet[6], 40, false);
    for _ in 0..MOST_EXTENSIONS {
        let length = match next {
            0 | 43 | 60 => packet.get(at + 1).map(|length| (usize::from(*length) + 1) * 8),
            44 => {
                is_later |= word(packet, at + 2).is_some_and(|field| field & 0xfff8 != 0);
                Some(8)
            }
            _ => break,
        };
        let (Some(length), Some(&following)) = (length, packet.get(at)) else { break };
        (next, at) = (following, at + length);
        if is_later {
            break;
        }
    }
    Some(Decoded::transport(src.into(), dst.into(), next, packet.get(at..).filter(|_| !is_later)))
}

impl Decoded {
    fn transport(src: IpAddr, dst: IpAddr, protocol: u8, rest: Option<&[u8]>) -> Decoded {
        let rest = rest.filter(|_| matches!(protocol, 6 | 17 | 132));
        let ports = rest.and_then(|rest| Some((word(rest, 0)?, word(rest, 2)?)));
        let flags = rest.filter(|_| protocol == 6).and_then(|rest| rest.get(13)).copied().unwrap_or(0);
        Decoded { src, dst, protocol, ports, flags, vlan: None }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        super::super::pcapng::bytes(&hex.replace([' ', '\n'], ""))
    }

    /// Ethernet, IPv4, TCP SYN from 198.51.100.7:40000 to 192.0.2.10:80.
    const FRONT: &str = "020000000001020000000002 0800 45000028 00004000 4006 0000 c6336407 c000020a";
    const SEGMENT: &str = "9c40 0050 00000000 00000000 5002 ffff 0000 0000";

    #[test]
    fn what_is_there_of_a_packet_is_read_and_what_is_missing_is_not_made_up() {
        let whole = Decoded::of(&bytes(&format!("{FRONT}{SEGMENT}"))).unwrap();
        assert_eq!(
            (whole.src.to_string().as_str(), whole.ports, whole.flags),
            ("198.51.100.7", Some((40_000, 80)), 2)
        );
        let cut = Decoded::of(&bytes(FRONT)).unwrap();
        assert_eq!((cut.dst.to_string().as_str(), cut.ports, cut.protocol), ("192.0.2.10", None, 6));
        assert_eq!(Decoded::of(&bytes(&FRONT[..60])), None);
        let tagged = FRONT.replacen(" 0800", " 8100 0064 0800", 1);
        assert_eq!(
            Decoded::of(&bytes(&format!("{tagged}{SEGMENT}"))),
            Some(Decoded { vlan: Some(100), ..whole })
        );
        let later = FRONT.replacen("00004000", "00000010", 1);
        assert_eq!(Decoded::of(&bytes(&format!("{later}{SEGMENT}"))).unwrap().ports, None);
        assert_eq!(whole.reversed().ports, Some((80, 40_000)));
    }

    #[test]
    fn ports_are_found_behind_ipv6_extension_headers() {
        let addresses = "20010db8000000000000000000000007 20010db8000000000000000000000010";
        let frame = |next: &str, rest: &str| {
            bytes(&format!("020000000001020000000002 86dd 60000000 0028 {next} 40 {addresses} {rest}"))
        };
        let udp = "9c40 0035 0008 0000";
        for (next, rest) in [
            ("11", String::new()),
            ("00", "1100000000000000".into()),
            ("3c", "2b01".to_owned() + &"00".repeat(14) + "1100000000000000"),
        ] {
            let packet = Decoded::of(&frame(next, &format!("{rest}{udp}"))).unwrap();
            assert_eq!((packet.protocol, packet.ports), (17, Some((40_000, 53))), "{next}");
        }
        let later = Decoded::of(&frame("2c", &format!("1100 0010 00000001 {udp}"))).unwrap();
        assert_eq!((later.protocol, later.ports), (17, None));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(mut frame in proptest::collection::vec(any::<u8>(), 0..100), kind in 0..4usize) {
            if let Some(field) = frame.get_mut(12..14) {
                field.copy_from_slice(&[[8, 0], [0x86, 0xdd], [0x81, 0], [0, 0]][kind]);
            }
            let _ = Decoded::of(&frame);
        }
    }
}

//! Every forwarded frame has a twin: the frame the director received, of which it is a copy but for what a director may
//! change.
//!
//! What it may change: both MAC addresses; the TTL, by one, and with it the IPv4 header checksum; and a TCP or UDP
//! checksum that the sender left half done. So two frames are twins when their packets are the same bytes once these
//! fields are blanked out.

use std::collections::HashMap;

use crate::checksum::{self, Transport};
use crate::expect::Violation;
use crate::frame::{Frame, Ip, TCP, UDP};

/// Pairs each of `forwarded` with one of `received`, no frame twice, and says how many pairs there are.
///
/// Which frames are received and which are forwarded is for the caller to say; see [`crate::expect::forwarded_intact`].
pub fn pair(received: &[&Frame], forwarded: &[&Frame]) -> Result<usize, Violation> {
    let mut waiting: HashMap<Vec<u8>, Vec<&Frame>> = HashMap::new();
    // The last one first, since they are taken from the end: of equal frames the earliest pairs with the earliest.
    for frame in received.iter().rev() {
        waiting.entry(blanked(frame)?).or_default().push(frame);
    }
    for frame in forwarded {
        let Some(twins) = waiting.get_mut(&blanked(frame)?) else {
            return Err(Violation::new(format!(
                "forwarded, but never received like this: {frame:?}\n{}",
                nearest(frame, received)
            )));
        };
        let Some(twin) = twins.pop() else {
            return Err(Violation::new(format!("forwarded more often than received: {frame:?}")));
        };
        check(twin, frame)?;
    }
    Ok(forwarded.len())
}

/// What the blanked fields must hold in the forwarded frame, given the received one.
fn check(received: &Frame, forwarded: &Frame) -> Result<(), Violation> {
    let fail = |what: &str| {
        Err(Violation::new(format!("{what}\n  received  {received:?}\n  forwarded {forwarded:?}")))
    };
    let ttl = |frame: &Frame| frame.ip.as_ref().map_or(0, |ip| ip.ttl);
    if ttl(received).checked_sub(1) != Some(ttl(forwarded)) {
        return fail("the TTL has not gone down by one");
    }
    if !checksum::header_is_right(forwarded) {
        return fail("the IPv4 header checksum of the forwarded frame is wrong");
    }
    match (checksum::transport(received), checksum::transport(forwarded)) {
        (_, Transport::Half) => fail("the TCP or UDP checksum left the director half done"),
        (Transport::Complete | Transport::Half, Transport::Wrong) => {
            fail("the director has spoilt the TCP or UDP checksum")
        }
        // A wrong sum that came in must go out as it came: "repairing" it would hide the damage.
        (Transport::Wrong, _) if transport_field(received) != transport_field(forwarded) => {
            fail("the director has changed a TCP or UDP checksum that was wrong")
        }
        // A datagram without a checksum has none afterwards.
        (Transport::Unknown, _) if transport_field(received) != transport_field(forwarded) => {
            fail("the director has changed a checksum it cannot judge")
        }
        _ => Ok(()),
    }
}

/// The packet with all that a director may change set to zero.
fn blanked(frame: &Frame) -> Result<Vec<u8>, Violation> {
    let (Some(ip), Some(packet)) = (&frame.ip, frame.packet()) else {
        return Err(Violation::new(format!("not an IP packet: {frame:?}")));
    };
    let mut packet = packet.to_vec();
    if ip.source.is_ipv4() {
        packet[8] = 0;
        packet[10..12].fill(0);
    } else {
        packet[7] = 0;
    }
    if let Some(field) = checksum_offset(ip)
        && let Some(bytes) = packet.get_mut(field..field + 2)
    {
        bytes.fill(0);
    }
    Ok(packet)
}

/// Where in the packet the TCP or UDP checksum is.
fn checksum_offset(ip: &Ip) -> Option<usize> {
    let header = ip.transport - ip.packet.start;
    ip.ports?;
    match ip.protocol {
        TCP => Some(header + 16),
        UDP => Some(header + 6),
        _ => None,
    }
}

fn transport_field(frame: &Frame) -> Option<[u8; 2]> {
    let ip = frame.ip.as_ref()?;
    let field = checksum_offset(ip)?;
    frame.packet()?.get(field..field + 2)?.try_into().ok()
}

/// For the report: which received frame it probably was, and where the first difference lies.
fn nearest(frame: &Frame, received: &[&Frame]) -> String {
    let key = |frame: &Frame| {
        frame.ip.as_ref().map(|ip| (ip.id, ip.protocol, ip.ports, ip.tcp.map(|tcp| tcp.sequence)))
    };
    let Some(twin) = received.iter().find(|twin| key(twin) == key(frame)) else {
        return "nothing received has its id, ports and sequence number".to_owned();
    };
    let (Ok(was), Ok(is)) = (blanked(twin), blanked(frame)) else { return String::new() };
    match was.iter().zip(&is).position(|(was, is)| was != is) {
        Some(byte) => format!(
            "it should be the twin of {twin:?}, but byte {byte} of the packet was {:#04x} and is {:#04x}",
            was[byte], is[byte]
        ),
        None => format!("it should be the twin of {twin:?}, but has {} bytes, not {}", is.len(), was.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::VIP;
    use crate::craft::{Checksum, Segment, tcp, view};

    fn segment(ttl: u8, checksum: Checksum) -> Frame {
        let segment = Segment {
            source: "198.51.100.7:4242".parse().unwrap(),
            destination: (VIP, 80).into(),
            ttl,
            checksum,
            ..Segment::default()
        };
        view(&tcp(&segment, b"hello"))
    }

    fn said(result: Result<usize, Violation>) -> String {
        result.expect_err("a violation").to_string()
    }

    #[test]
    fn a_half_checksum_may_be_completed() {
        let (received, forwarded) = (segment(64, Checksum::Half), segment(63, Checksum::Complete));
        assert_eq!(pair(&[&received], &[&forwarded]).ok(), Some(1));
    }

    #[test]
    fn a_half_checksum_must_be_completed() {
        let (received, forwarded) = (segment(64, Checksum::Half), segment(63, Checksum::Half));
        assert!(said(pair(&[&received], &[&forwarded])).contains("half done"));
    }

    #[test]
    fn the_ttl_goes_down_by_one() {
        let received = segment(64, Checksum::Complete);
        for ttl in [64, 62, 65] {
            let forwarded = segment(ttl, Checksum::Complete);
            assert!(said(pair(&[&received], &[&forwarded])).contains("TTL"), "{ttl}");
        }
    }

    #[test]
    fn no_frame_is_forwarded_twice() {
        let (received, forwarded) = (segment(64, Checksum::Complete), segment(63, Checksum::Complete));
        assert!(said(pair(&[&received], &[&forwarded, &forwarded])).contains("more often"));
    }

    #[test]
    fn every_other_byte_of_the_packet_stays() {
        let received = segment(64, Checksum::Complete);
        let forwarded = segment(63, Checksum::Complete);
        for byte in 14..forwarded.bytes.len() {
            let mut changed = forwarded.bytes.clone();
            changed[byte] ^= 0x01;
            assert!(
                pair(&[&received], &[&view(&changed)]).is_err(),
                "byte {byte} was changed and nothing said"
            );
        }
    }

    #[test]
    fn a_wrong_checksum_is_not_repaired() {
        let mut received = segment(64, Checksum::Complete);
        received.bytes[14 + 20 + 16] ^= 0xff;
        let forwarded = segment(63, Checksum::Complete);
        assert!(said(pair(&[&received], &[&forwarded])).contains("was wrong"));
    }
}

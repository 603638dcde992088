//! IPv4: the header is ours (`IP_HDRINCL`), so that each virtual router has its own source, TTL and identification. The
//! kernel fills in the checksum.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use nix::sys::socket::{MsgFlags, recv};
use socket2::{InterfaceIndexOrAddress, Socket};
use std::os::fd::AsRawFd;

use super::{Arrived, PRECEDENCE, Port, VRRP};

const HEADER: usize = 20;

pub(super) fn prepare(socket: &Socket, port: &Port, index: u32) -> io::Result<()> {
    socket.set_header_included_v4(true)?;
    socket.set_multicast_loop_v4(false)?;
    // Else it hears the groups that any program here has joined.
    socket.set_multicast_all_v4(false)?;
    for group in &port.groups {
        if let IpAddr::V4(group) = group {
            socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))?;
        }
    }
    Ok(())
}

pub(super) fn send(
    socket: &Socket,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    id: u16,
    message: &[u8],
) -> io::Result<()> {
    let mut packet = Vec::with_capacity(HEADER + message.len());
    packet.extend(header(source, destination, ttl, id, message.len()));
    packet.extend(message);
    socket.send_to(&packet, &SocketAddrV4::new(destination, 0).into()).map(drop)
}

/// Reads a packet; none if it is not one of IPv4 with protocol 112.
pub(super) fn receive<'a>(socket: &Socket, packet: &'a mut [u8]) -> io::Result<Option<Arrived<'a>>> {
    let length = recv(socket.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT)?;
    Ok(parse(&packet[..length]))
}

fn header(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, id: u16, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = 0x45;
    header[1] = PRECEDENCE;
    // At most 255 addresses: it fits.
    header[2..4].copy_from_slice(&((HEADER + length) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[8] = ttl;
    header[9] = VRRP as u8;
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    header
}

fn parse(packet: &[u8]) -> Option<Arrived<'_>> {
    let header = packet.first_chunk::<HEADER>()?;
    let words = usize::from(header[0] & 0x0f);
    if header[0] >> 4 != 4 || words < 5 || header[9] != VRRP as u8 {
        return None;
    }
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
    Some(Arrived {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        options: words > 5,
        message: packet.get(words * 4..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_keepalived_s() {
        let header = header([10, 0, 0, 1].into(), [224, 0, 0, 18].into(), 255, 1, 20);
        assert_eq!(
            header,
            *b"\x45\xc0\x00\x28\x00\x01\x00\x00\xff\x70\x00\x00\x0a\x00\x00\x01\xe0\x00\x00\x12"
        );
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let packet = [&header(source, destination, 64, 7, 3)[..], b"abc"].concat();
        let arrived = parse(&packet).unwrap();
        let (source, destination) = (source.into(), destination.into());
        assert_eq!(arrived, Arrived { source, destination, ttl: 64, options: false, message: b"abc" });
    }

    #[test]
    fn options_are_seen_and_passed_over_and_nothing_short_panics() {
        let mut packet = header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 255, 7, 7).to_vec();
        packet[0] = 0x46;
        packet.extend(b"optsabc");
        let arrived = parse(&packet).unwrap();
        assert!(arrived.options && arrived.message == b"abc");
        for length in 0..24 {
            assert_eq!(parse(&packet[..length]), None, "{length}");
        }
        for first in 0..=255 {
            packet[0] = first;
            assert_eq!(parse(&packet).is_some(), (0x45..=0x46).contains(&first), "{first:#x}");
        }
    }
}

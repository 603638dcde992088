//! IPv6: the kernel writes the header, and is told source, hop limit and traffic class; what came with a packet it says in
//! control messages (RFC 3542). The checksum is that of [`crate::vrrp::packet`] and nobody else's.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::Socket;

use super::{Arrived, PRECEDENCE, Port};

/// Room for all that may come with a packet: three chains of extension headers of 2048 bytes, and the rest.
pub(super) const CONTROL: usize = 8192;

/// Control messages that tell of extension headers.
const EXTENSIONS: [i32; 3] = [libc::IPV6_HOPOPTS, libc::IPV6_DSTOPTS, libc::IPV6_RTHDR];

pub(super) fn prepare(socket: &Socket, port: &Port, index: u32) -> io::Result<()> {
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
    socket.set_tclass_v6(PRECEDENCE.into())?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_all_v6(false)?;
    // The interface of a virtual MAC has not the source of the one below; the router speaks for itself all the same.
    socket.set_freebind_v6(true)?;
    for option in [libc::IPV6_RECVHOPOPTS, libc::IPV6_RECVDSTOPTS, libc::IPV6_RECVRTHDR] {
        switch(socket.as_raw_fd(), option, true)?;
    }
    // Every advert has the same header.
    switch(socket.as_raw_fd(), libc::IPV6_AUTOFLOWLABEL, false)?;
    for group in &port.groups {
        if let IpAddr::V6(group) = group {
            socket.join_multicast_v6(group, index)?;
        }
    }
    Ok(())
}

pub(super) fn send(
    socket: &Socket,
    index: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    ttl: u8,
    message: &[u8],
) -> io::Result<()> {
    let info =
        libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: index };
    let hops = i32::from(ttl);
    let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, index));
    let control = [ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6HopLimit(&hops)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(message)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

/// Reads a packet; none if the kernel did not say what it promised to.
pub(super) fn receive<'a>(
    socket: &Socket,
    packet: &'a mut [u8],
    control: &mut [u8],
) -> io::Result<Option<Arrived<'a>>> {
    let mut parts = [IoSliceMut::new(packet)];
    let received =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let (length, source) = (received.bytes, received.address.map(|address| address.ip()));
    let (mut destination, mut ttl, mut options) = (None, None, false);
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr))
            }
            ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).ok(),
            ControlMessageOwned::Unknown(other) => {
                options |= EXTENSIONS.contains(&other.cmsg_header.cmsg_type)
            }
            _ => {}
        }
    }
    let (Some(source), Some(destination), Some(ttl)) = (source, destination, ttl) else { return Ok(None) };
    Ok(Some(Arrived {
        source: source.into(),
        destination: destination.into(),
        ttl,
        options,
        message: &packet[..length],
    }))
}

/// Sets an option of IPv6 that is on or off and that no library knows.
fn switch(socket: RawFd, option: i32, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: the value lives through the call and has the length that is given.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::IPPROTO_IPV6,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Raw sockets for protocol 112, one for each interface and family: the kernel's own sockets write neither the source that
//! each virtual router has for itself nor a TTL for each packet, and VRRP needs both, and what came with the packet.
//!
//! *Invariants*
//! - a socket hears and sends on one interface, by index: who comes back with another index needs another socket;
//! - opening and closing wait for the kernel's RTNL lock (groups are joined and left under it), and happen on the thread of
//!   [`super::holder`]; sending and receiving wait for nothing;
//! - nothing of ours is heard again (`IP_MULTICAST_LOOP` is off).
//!
//! RFC 9568 section 5.1; raw(7), `IPV6_RECVPKTINFO` and its family in RFC 3542.

mod v4;
mod v6;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// IP protocol number of VRRP.
const VRRP: i32 = 112;
/// Internetwork control (RFC 791), as traffic class: what routers say to each other.
const PRECEDENCE: u8 = 0xc0;
/// Longer than any advert: 255 addresses of IPv6 are 4088 bytes.
const LONGEST: usize = 8192;

/// What a socket is opened for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    /// Name of the interface.
    pub interface: String,
    /// IPv6, and not IPv4.
    pub ipv6: bool,
    /// Groups that are joined.
    pub groups: BTreeSet<IpAddr>,
    /// Packets are heard; without, it sends only: adverts that leave by a virtual MAC's interface come in by the one below.
    pub hears: bool,
}

/// A socket that is open, and what it was opened for.
#[derive(Debug)]
pub(super) struct Opened {
    /// What for.
    pub port: Port,
    /// Index of the interface.
    pub index: u32,
    /// The socket.
    pub socket: Socket,
}

/// An open socket on a runtime.
#[derive(Debug)]
pub(super) struct Wire {
    index: u32,
    port: Port,
    socket: AsyncFd<Socket>,
    packet: Box<[u8]>,
    control: Box<[u8]>,
}

/// Where an advert goes, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    /// Source; it need not be the interface's own.
    pub source: IpAddr,
    /// A group, or a peer.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Identification of IPv4.
    pub id: u16,
}

/// A packet that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// TTL or hop limit that it had here.
    pub ttl: u8,
    /// Options of IPv4, or extension headers of IPv6.
    pub options: bool,
    /// What follows the headers.
    pub message: &'a [u8],
}

impl Opened {
    /// Opens a socket on the interface of this index. Needs CAP_NET_RAW.
    pub(super) fn open(port: &Port, index: u32) -> io::Result<Opened> {
        let domain = if port.ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(VRRP)))?;
        if !port.hears {
            // "Keep 0 bytes" of every packet.
            socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
        }
        // By name: by index takes no more rights, but is not in kernels before 5.1. The index is checked after it.
        socket.bind_device(Some(port.interface.as_bytes()))?;
        if nix::net::if_::if_nametoindex(port.interface.as_str())? != index {
            return Err(io::Error::other("the interface was replaced by another of its name"));
        }
        match port.ipv6 {
            false => v4::prepare(&socket, port, index)?,
            true => v6::prepare(&socket, port, index)?,
        }
        Ok(Opened { port: port.clone(), index, socket })
    }
}

impl Wire {
    /// Takes a socket over. Must be called on the runtime that will read it.
    pub(super) fn new(opened: Opened) -> io::Result<Wire> {
        // SAFETY: the socket owns its descriptor, which stays open and the same until the socket is dropped, and the
        // `AsyncFd` owns the socket until then.
        let socket = unsafe { AsyncFd::register(opened.socket)? };
        let (packet, control) = (vec![0; LONGEST].into(), vec![0; v6::CONTROL].into());
        Ok(Wire { index: opened.index, port: opened.port, socket, packet, control })
    }

    /// Gives the socket back, to be closed where that may wait.
    pub(super) fn into_socket(self) -> Socket {
        self.socket.into_inner()
    }

    /// What it was opened for.
    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    /// Sends a VRRP message.
    pub(super) fn send(&self, envelope: &Envelope, message: &[u8]) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match (envelope.source, envelope.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                v4::send(socket, source, destination, envelope.ttl, envelope.id, message)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                v6::send(socket, self.index, source, destination, envelope.ttl, message)
            }
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    /// Ready if there may be packets.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error here would be the runtime's, of all sockets, and the read says more than it.
        self.socket.poll_read_ready(context).map(|_| ())
    }

    /// Reads packets, `most` at a time: a flood must leave the clock its turn. What is no IP packet is passed over.
    pub(super) fn read(&mut self, most: usize, mut each: impl FnMut(&str, Arrived<'_>)) {
        let Wire { socket, port, packet, control, .. } = self;
        for _ in 0..most {
            let read = socket.try_io(Interest::READABLE, |socket| match port.ipv6 {
                false => v4::receive(socket, packet),
                true => v6::receive(socket, packet, control),
            });
            match read {
                Ok(Some(arrived)) => each(&port.interface, arrived),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A signal; or the link went down, which is reported once.
                Err(_) => {}
            }
        }
    }
}

//! Datagrams between directors: one UDP socket that is bound to one interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket as Raw, Type};
use thiserror::Error;

/// Room for what comes in between two looks, bytes.
const BUFFER: usize = 4 << 20;

/// Where datagrams come from and go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The other directors, or one multicast group.
    pub peers: Vec<IpAddr>,
    /// UDP port of all.
    pub port: u16,
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Nobody to talk to, or IPv4 and IPv6 mixed, or a group beside another peer.
    #[error("peers of flow synchronisation: one multicast group, or addresses of one family, are wanted")]
    Peers,
    /// The kernel refuses.
    #[error("{call} for flow synchronisation on {interface}, port {port}: {error}{advice}")]
    Kernel {
        /// What was asked for.
        call: &'static str,
        /// The interface.
        interface: String,
        /// The port.
        port: u16,
        /// Why not.
        error: io::Error,
        /// What to look for.
        advice: &'static str,
    },
}

/// The socket, and whom it sends to.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    to: Vec<SocketAddr>,
}

impl Ends {
    /// The group, if there is one.
    pub fn group(&self) -> Option<IpAddr> {
        self.peers.first().copied().filter(IpAddr::is_multicast)
    }

    fn check(&self) -> Result<(), SocketError> {
        let first = self.peers.first().ok_or(SocketError::Peers)?;
        let is_alike = self.peers.iter().all(|peer| peer.is_ipv4() == first.is_ipv4());
        let is_group = self.peers.iter().any(IpAddr::is_multicast);
        if is_alike && (!is_group || self.peers.len() == 1) { Ok(()) } else { Err(SocketError::Peers) }
    }
}

impl Socket {
    /// Opens it.
    ///
    /// # Errors
    /// The peers do not fit together, or the kernel refuses.
    pub fn open(ends: &Ends) -> Result<Socket, SocketError> {
        ends.check()?;
        let failed = |call, advice| {
            let (interface, port) = (ends.interface.clone(), ends.port);
            move |error| SocketError::Kernel { call, interface, port, error, advice }
        };
        let is_ipv4 = ends.peers.iter().any(IpAddr::is_ipv4);
        let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
        let raw = Raw::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(failed("socket", ""))?;
        raw.set_nonblocking(true).map_err(failed("O_NONBLOCK", ""))?;
        raw.bind_device(Some(ends.interface.as_bytes()))
            .map_err(failed("SO_BINDTODEVICE", " (is the interface there, and has shunt CAP_NET_RAW?)"))?;
        if !is_ipv4 {
            raw.set_only_v6(true).map_err(failed("IPV6_V6ONLY", ""))?;
        }
        // What the kernel grants without it is enough for some 100,000 flows a second.
        let _ = setsockopt(&raw, sockopt::RcvBufForce, &BUFFER);
        let any: IpAddr = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        raw.bind(&SocketAddr::new(any, ends.port).into())
            .map_err(failed("bind", " (see with `ss -ulnp` who else uses the port)"))?;
        match ends.group() {
            Some(IpAddr::V4(group)) => {
                let index = InterfaceIndexOrAddress::Index(ends.index);
                raw.join_multicast_v4_n(&group, &index)
                    .and_then(|()| raw.set_multicast_ttl_v4(1))
                    .and_then(|()| raw.set_multicast_loop_v4(false))
                    .map_err(failed("IP_ADD_MEMBERSHIP", " (does the interface do multicast?)"))?;
            }
            Some(IpAddr::V6(group)) => {
                raw.join_multicast_v6(&group, ends.index)
                    .and_then(|()| raw.set_multicast_if_v6(ends.index))
                    .and_then(|()| raw.set_multicast_hops_v6(1))
                    .and_then(|()| raw.set_multicast_loop_v6(false))
                    .map_err(failed("IPV6_ADD_MEMBERSHIP", " (does the interface do multicast?)"))?;
            }
            None => {}
        }
        let to = ends.peers.iter().map(|peer| match *peer {
            // A link-local address means nothing without its link.
            IpAddr::V6(address) => SocketAddrV6::new(address, ends.port, 0, ends.index).into(),
            IpAddr::V4(address) => SocketAddr::new(address.into(), ends.port),
        });
        Ok(Socket { to: to.collect(), socket: raw.into() })
    }

    /// Sends a datagram to every peer. Returns how many of them the kernel did not take.
    pub fn send(&self, datagram: &[u8]) -> u64 {
        self.to.iter().map(|to| u64::from(self.socket.send_to(datagram, to).is_err())).sum()
    }

    /// The next datagram that has come in, and its source; none: there is none now.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, IpAddr)> {
        loop {
            match self.socket.recv_from(buffer) {
                Ok((length, source)) => return Some((length, source.ip())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

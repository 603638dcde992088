//! The sockets of all probes: where each goes, and what is asked of its packets.
//!
//! Unless the check says otherwise a socket is bound to no address. The kernel takes the one of the route to the real
//! server, which is the interface's own and never a VIP: a VIP is a host address, and no connected route prefers it.
//!
//! *Invariants*
//! - no socket blocks, and none outlives its probe;
//! - what goes wrong before a packet is sent is the director's fault ([`Failure::Inconclusive`]) and not the server's;
//! - a TCP connection ends with a reset (`SO_LINGER` 0): with a FIN each probe would leave a minute of TIME_WAIT on the
//!   director, and 500 checks a second would use up its ports.
//!
//! Options of socket(7), ip(7), icmp(7); `ping_group_range` is described in the kernel's ip-sysctl.rst.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::{CheckKey, Failure};
use crate::model::Target;

/// `ICMP_FILTER` of linux/icmp.h, and its level.
const SOL_RAW: libc::c_int = 255;
const ICMP_FILTER: libc::c_int = 1;
/// Type of an ICMPv4 echo reply.
const ECHO_REPLY: u32 = 0;

/// Where the probes of a check go, and from where.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The destination; the port is 0 for what has none.
    pub to: SocketAddr,
    target: Target,
}

/// A socket for echo requests.
pub(super) struct EchoSocket {
    /// It receives from the destination only.
    pub socket: UdpSocket,
    /// The kernel chooses the identifier, and the IPv4 header does not come with the answer.
    pub is_datagram: bool,
}

impl Way {
    pub(super) fn of(key: &CheckKey) -> Way {
        let target = key.check.target.clone();
        Way { to: SocketAddr::new(target.address.unwrap_or(key.address), target.port), target }
    }

    /// A TCP connection within `timeout`.
    pub(super) async fn connect(&self, timeout: Duration) -> Result<TcpStream, Failure> {
        let socket = self.socket(Type::STREAM, Protocol::TCP)?;
        socket.set_linger(Some(Duration::ZERO)).map_err(here("SO_LINGER"))?;
        if self.target.source_port == 0 && self.target.source.is_some() {
            // The port is chosen with the destination in mind: as many probes as there are ports to each server.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)
                .map_err(|errno| here("IP_BIND_ADDRESS_NO_PORT")(errno.into()))?;
        }
        self.bind(&socket, self.target.source_port)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        match tokio::time::timeout(timeout, socket.connect(self.to)).await {
            Ok(Ok(stream)) => Ok(stream),
            // The kernel gave up before we did (tcp_syn_retries).
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ETIMEDOUT) => {
                Err(Failure::TimedOut(timeout))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::TimedOut(timeout)),
        }
    }

    /// A UDP socket that hears of the destination only, ICMP errors among it.
    pub(super) async fn datagrams(&self) -> Result<UdpSocket, Failure> {
        let socket = self.socket(Type::DGRAM, Protocol::UDP)?;
        self.bind(&socket, self.target.source_port)?;
        self.connected(socket)
    }

    /// An ICMP socket for echo requests: the kind that needs no rights where `ping_group_range` allows it, else a raw one
    /// (CAP_NET_RAW).
    pub(super) fn echo(&self) -> Result<EchoSocket, Failure> {
        let protocol = if self.to.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let (socket, is_datagram) = match self.open(Type::DGRAM, protocol) {
            Ok(socket) => (socket, true),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                let socket = self.open(Type::RAW, protocol).map_err(here("an ICMP socket"))?;
                if self.to.is_ipv4() {
                    only_echo_replies(&socket).map_err(here("ICMP_FILTER"))?;
                }
                (socket, false)
            }
            Err(error) => return Err(here("an ICMP socket")(error)),
        };
        self.configure(&socket)?;
        self.bind(&socket, 0)?;
        Ok(EchoSocket { socket: self.connected(socket)?, is_datagram })
    }

    fn socket(&self, kind: Type, protocol: Protocol) -> Result<Socket, Failure> {
        let socket = self.open(kind, protocol).map_err(here("a socket"))?;
        self.configure(&socket)?;
        Ok(socket)
    }

    fn open(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        Socket::new(Domain::for_address(self.to), kind.nonblocking(), Some(protocol))
    }

    fn configure(&self, socket: &Socket) -> Result<(), Failure> {
        if let Some(interface) = &self.target.interface {
            let what = format_args!("interface {interface}").to_string();
            socket.bind_device(Some(interface.as_bytes())).map_err(here(what))?;
        }
        if self.target.mark != 0 {
            socket.set_mark(self.target.mark).map_err(here("SO_MARK"))?;
        }
        Ok(())
    }

    fn bind(&self, socket: &Socket, port: u16) -> Result<(), Failure> {
        if self.target.source.is_none() && port == 0 {
            return Ok(());
        }
        if port != 0 {
            // The connection before may not be quite gone.
            socket.set_reuse_address(true).map_err(here("SO_REUSEADDR"))?;
        }
        let any: IpAddr =
            if self.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let from = SocketAddr::new(self.target.source.unwrap_or(any), port);
        socket.bind(&from.into()).map_err(here(format!("the source {from}")))
    }

    fn connected(&self, socket: Socket) -> Result<UdpSocket, Failure> {
        // Without it, "host unreachable" of a router, or of the neighbour table, would be a timeout.
        let recv_errors = match self.to {
            SocketAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::Ipv4RecvErr, &true),
            SocketAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvErr, &true),
        };
        recv_errors.map_err(|errno| here("IP_RECVERR")(errno.into()))?;
        socket.connect(&self.to.into())?;
        UdpSocket::from_std(socket.into()).map_err(Failure::from)
    }
}

/// What the director could not do before anything was sent.
fn here(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Inconclusive(io::Error::other(format!("{what}: {error}")))
}

/// A raw socket gets every ICMP message of the host unless it is told what to leave out.
fn only_echo_replies(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let leave_out: u32 = !(1 << ECHO_REPLY);
    // SAFETY: the option takes a u32 (struct icmp_filter), which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            SOL_RAW,
            ICMP_FILTER,
            (&raw const leave_out).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket as StdUdpSocket};

    use super::*;
    use crate::health::block_on;
    use crate::model::{HealthCheck, Probe};

    const LONG: Duration = Duration::from_secs(10);

    fn way(to: SocketAddr, target: Target) -> Way {
        let check = HealthCheck {
            target: Target { port: to.port(), ..target },
            ..HealthCheck::new(Probe::Tcp, to.port())
        };
        Way::of(&CheckKey { address: to.ip(), check })
    }

    #[test]
    fn a_connection_comes_from_the_source_that_was_asked_for() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let address: IpAddr = "127.0.0.9".parse().unwrap();
        let source = Some(address);
        let connect = |target| block_on(way(to, target).connect(LONG)).unwrap();
        let connection = connect(Target { source, ..Target::default() });
        assert_eq!(connection.local_addr().unwrap().ip(), address);
        let free = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap().port();
        for target in [
            Target { source, source_port: free, mark: 7, ..Target::default() },
            Target { source_port: free, interface: Some("lo".into()), ..Target::default() },
        ] {
            // Twice: the first connection leaves nothing behind.
            for _ in 0..2 {
                assert_eq!(connect(target.clone()).local_addr().unwrap().port(), free);
            }
        }
    }

    #[test]
    fn a_datagram_comes_from_the_source_that_was_asked_for() {
        let server = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        let target = Target { source: Some("127.0.0.9".parse().unwrap()), ..Target::default() };
        let way = way(server.local_addr().unwrap(), target);
        block_on(async { way.datagrams().await.unwrap().send(b"x").await }).unwrap();
        let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip().to_string(), "127.0.0.9");
    }

    #[test]
    fn what_the_director_has_not_says_nothing_about_the_server() {
        let to = "127.0.0.1:80".parse().unwrap();
        let failure = |target| block_on(way(to, target).connect(LONG)).unwrap_err();
        let no_address = failure(Target { source: Some("192.0.2.1".parse().unwrap()), ..Target::default() });
        let no_interface = failure(Target { interface: Some("nosuch0".into()), ..Target::default() });
        for (failure, words) in [
            (no_address, "the director could not probe: the source 192.0.2.1:0: Cannot assign"),
            (no_interface, "the director could not probe: interface nosuch0: No such device"),
        ] {
            assert!(!failure.counts() && failure.to_string().starts_with(words), "{failure}");
        }
    }
}

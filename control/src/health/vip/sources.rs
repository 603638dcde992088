//! Where probes come from: numbers (TCP source ports and ICMP identifiers) at one address of the director, each lent to
//! one probe at a time.
//!
//! The kernel knows nothing of a probe's connection, and would answer the SYN-ACK with a RST: on a director that does
//! not own the VIP at the moment, that RST goes to the VIP's owner. So each port is held by a listening socket with a
//! filter that lets nothing in: `tcp_v4_rcv` drops what the filter of the socket it found refuses, and sends nothing
//! (net/ipv4/tcp_ipv4.c, `tcp_filter`; the same in net/ipv6/tcp_ipv6.c).
//!
//! *Invariants*
//! - no number is lent at two addresses;
//! - a port is probed from only while its silent listener stands;
//! - ports go round: one that was just used is used again last, so that a real server has forgotten its last probe.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::filter::{self, NUMBERS};

/// Probes at once from one address: rounds of a thousand real servers that answer nothing do not wait for each other. More
/// wait: file descriptors are not for this alone.
const MOST: usize = 1500;
/// Ports that are made before one is used again.
const ROTATION: usize = 32;

/// The numbers at one address.
#[derive(Debug)]
pub(super) struct Sources {
    /// With the scope, if it has one; its port is 0.
    address: SocketAddr,
    ports: Mutex<Ports>,
    numbers: Numbers,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Ports {
    idle: VecDeque<Port>,
    made: usize,
}

#[derive(Debug)]
struct Port {
    number: u16,
    _silent: Socket,
}

/// Hands out each number once, whatever address it is used at: answers are told apart by it alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers(Arc<AtomicUsize>);

impl Numbers {
    fn next(&self) -> u16 {
        // Relaxed: only different numbers are wanted.
        NUMBERS.start() + (self.0.fetch_add(1, Ordering::Relaxed) % NUMBERS.len()) as u16
    }
}

/// A number for one probe; it goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    sources: Arc<Sources>,
    /// `None` only while it is dropped.
    port: Option<Port>,
    _permit: OwnedSemaphorePermit,
}

/// The address from which the kernel sends to `to`, now, by this interface, or another of the interface if that is one of
/// `vips`: what comes back to a VIP is a client's. Nothing is sent.
pub(super) fn source_towards(to: IpAddr, interface: &str, vips: &HashSet<IpAddr>) -> io::Result<SocketAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, None)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    // Port 9, "discard": any would do.
    socket.connect(&SocketAddr::new(to, 9).into())?;
    let mut source = UdpSocket::from(socket).local_addr()?;
    source.set_port(0);
    if !vips.contains(&source.ip()) {
        return Ok(source);
    }
    let addresses = nix::ifaddrs::getifaddrs()?.filter(|entry| entry.interface_name == interface);
    let own = addresses.filter_map(|entry| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    });
    own.filter(|own| own.is_ipv4() == to.is_ipv4() && !vips.contains(own))
        // A link-local address would do, but for its scope.
        .find(|own| !matches!(own, IpAddr::V6(own) if own.is_unicast_link_local()))
        .map(|own| SocketAddr::new(own, 0))
        .ok_or_else(|| io::Error::other(format!("{interface} has no address but VIPs")))
}

impl Sources {
    /// None is made yet.
    pub(super) fn at(address: SocketAddr, numbers: Numbers) -> Sources {
        let ports = Ports { idle: VecDeque::new(), made: 0 };
        Sources { address, ports: Mutex::new(ports), numbers, permits: Arc::new(Semaphore::new(MOST)) }
    }

    /// Lends a number, as soon as there is one.
    ///
    /// # Errors
    /// What the kernel says when no port can be had.
    pub(super) async fn lease(self: &Arc<Sources>) -> io::Result<Lease> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.unwrap_or_else(|_| unreachable!("the semaphore is never closed"));
        let mut ports = self.ports.lock().expect("no holder of this lock panics");
        let port = if ports.made < ROTATION || ports.idle.is_empty() {
            match self.make(&mut ports) {
                Ok(port) => port,
                Err(error) => ports.idle.pop_front().ok_or(error)?,
            }
        } else {
            ports.idle.pop_front().unwrap_or_else(|| unreachable!("it is not empty"))
        };
        drop(ports);
        Ok(Lease { sources: Arc::clone(self), port: Some(port), _permit: permit })
    }

    fn make(&self, ports: &mut Ports) -> io::Result<Port> {
        // One that somebody else has is passed over.
        for _ in 0..NUMBERS.len() {
            let number = self.numbers.next();
            match self.silent(number) {
                Ok(silent) => {
                    ports.made += 1;
                    return Ok(Port { number, _silent: silent });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn silent(&self, number: u16) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        // Before it listens: nothing ever gets in.
        socket.attach_filter(&filter::nothing())?;
        let mut address = self.address;
        address.set_port(number);
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket)
    }
}

impl Lease {
    /// The number.
    pub(super) fn number(&self) -> u16 {
        self.port.as_ref().map_or(0, |port| port.number)
    }

    /// The address it is a number of.
    pub(super) fn address(&self) -> IpAddr {
        self.sources.address.ip()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut ports = self.sources.ports.lock().expect("no holder of this lock panics");
        ports.idle.extend(self.port.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn numbers_go_round_and_none_is_lent_twice() {
        let sources = Arc::new(Sources::at(([127, 0, 0, 77], 0).into(), Numbers::default()));
        let held = sources.lease().await.unwrap();
        let mut last = Vec::new();
        for _ in 0..ROTATION + 3 {
            last.push(sources.lease().await.unwrap().number());
        }
        assert!(!last.contains(&held.number()) && last.iter().all(|number| NUMBERS.contains(number)));
        assert_eq!(last[ROTATION - 1], last[0], "after all others");
        assert_eq!(last[..ROTATION - 1].iter().collect::<std::collections::HashSet<_>>().len(), ROTATION - 1);
    }

    #[test]
    fn a_silent_port_neither_accepts_nor_refuses() {
        let sources = Sources::at(([127, 0, 0, 78], 0).into(), Numbers::default());
        let silent = sources.silent(61000).unwrap();
        let address = silent.local_addr().unwrap().as_socket().unwrap();
        let timeout = std::time::Duration::from_millis(50);
        let error = std::net::TcpStream::connect_timeout(&address, timeout).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(silent);
        let error = std::net::TcpStream::connect_timeout(&address, timeout).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

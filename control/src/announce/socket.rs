//! The socket that announcements leave by: one for all interfaces. It hears nothing, and never waits.
//!
//! packet(7).

use std::io;
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{Announcer, Frame};

/// Sends what is due.
#[derive(Debug)]
pub struct Transmitter {
    socket: Socket,
    counts: Counts,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Handed to an interface.
    pub sent: u64,
    /// The interface had no room: queued again.
    pub refused: u64,
    /// Not sent: the interface is down or gone, or had no room for a second.
    pub lost: u64,
}

impl Transmitter {
    /// Opens the socket. Needs CAP_NET_RAW.
    pub fn open() -> io::Result<Transmitter> {
        // Protocol 0: bound to nothing it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))?;
        Ok(Transmitter { socket, counts: Counts::default() })
    }

    /// Sends what is due and logs it; [`super::AT_ONCE`] frames at most.
    pub fn send_due(&mut self, now: Instant, announcer: &mut Announcer) {
        for frame in announcer.due(now) {
            match self.send(&frame) {
                Ok(()) => {
                    self.counts.sent += 1;
                    match &frame.say {
                        Some(sentence) => tracing::info!("{sentence}"),
                        None => tracing::debug!("{frame}"),
                    }
                }
                Err(error) if is_full(&error) => {
                    self.counts.refused += 1;
                    if !announcer.refused(now, frame) {
                        self.counts.lost += 1;
                    }
                }
                // Down or gone (ENETDOWN, ENXIO, ENODEV): a link that comes back is announced anew.
                Err(error) => {
                    self.counts.lost += 1;
                    tracing::debug!(%error, "not sent: {frame}");
                }
            }
        }
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        self.socket.send_to(&frame.bytes, &link_address(frame.interface, 0)).map(drop)
    }
}

/// A queue of the kernel is full: the socket's own, or the interface's.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN))
}

/// An interface and a protocol (host byte order) as the address of a packet socket.
pub(super) fn link_address(index: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_storage is made to be seen as the address type of its family, which is set here.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds a sockaddr_ll, and the length is that of one.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

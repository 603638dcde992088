//! Whole Ethernet frames, to and from an interface, with nothing of the kernel's in between (AF_PACKET).
//!
//! Kernel file: net/packet/af_packet.c; packet(7).

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::address::Mac;
use crate::namespace::Namespace;

/// Frames that one system call sends.
const BATCH: usize = 64;
/// Room for what arrives between two looks; the default would hold a few hundred small frames.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
/// Larger than any frame, those included that the kernel has not yet cut into segments.
const LONGEST_FRAME: usize = 1 << 16;

/// A raw socket on one interface. It receives what arrives there, not what leaves.
pub struct PacketSocket {
    socket: Socket,
    mac: Mac,
}

impl PacketSocket {
    /// Opens a socket on `interface`.
    #[track_caller]
    pub fn open(namespace: &Namespace, interface: &str) -> PacketSocket {
        let opened = namespace.enter(|| open(interface));
        let (socket, mac) = opened
            .unwrap_or_else(|fault| panic!("raw socket on {interface} of {}: {fault}", namespace.name()));
        PacketSocket { socket, mac }
    }

    /// The Ethernet address of the interface.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends one frame as it is.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        let sent =
            self.socket.send(frame).unwrap_or_else(|fault| panic!("sending {} bytes: {fault}", frame.len()));
        assert_eq!(sent, frame.len(), "a packet socket sends a frame whole");
    }

    /// Sends `total` frames, going round in `frames`, as fast as one core can. Says how many the kernel took: what
    /// does not fit into the peer's queue it drops without a word.
    pub fn send_many(&self, frames: &[Vec<u8>], total: usize) -> io::Result<usize> {
        assert!(!frames.is_empty(), "nothing to send");
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let first = vectors.as_mut_ptr();
        let mut sent = 0;
        while sent < total {
            let batch = BATCH.min(total - sent);
            let mut messages: [libc::mmsghdr; BATCH] = std::array::from_fn(|n| {
                // SAFETY: all-zero is a valid mmsghdr: no address, no control data, no vectors.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = first.wrapping_add((sent + n) % frames.len());
                message.msg_hdr.msg_iovlen = 1;
                message
            });
            // SAFETY: the first `batch` messages each point to one of `vectors`, which point to `frames`; both outlive
            // the call, and sending only reads them.
            let taken = unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), batch as libc::c_uint, 0)
            };
            if taken >= 0 {
                sent += taken.unsigned_abs() as usize;
                continue;
            }
            let fault = io::Error::last_os_error();
            // The socket's send buffer is full for a moment: the receiver's core has to run.
            if matches!(fault.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)) {
                std::thread::yield_now();
            } else {
                return Err(fault);
            }
        }
        Ok(sent)
    }

    /// The next frame, if one arrives before `deadline`.
    pub fn receive(&self, deadline: Duration) -> Option<Vec<u8>> {
        self.receive_where(deadline, |_| true)
    }

    /// The next frame that `wanted` accepts, if one arrives before `deadline`; others are thrown away.
    pub fn receive_where(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let end = Instant::now() + deadline;
        let mut frame = vec![0; LONGEST_FRAME];
        loop {
            // A timeout of zero would mean "for ever".
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            self.socket.set_read_timeout(Some(left)).expect("a socket takes a timeout");
            match (&self.socket).read(&mut frame) {
                Ok(length) if wanted(&frame[..length]) => {
                    frame.truncate(length);
                    return Some(frame);
                }
                Ok(_) | Err(_) if Instant::now() >= end => return None,
                // Another frame, or a signal; a link that goes down is reported once and may come back.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The socket itself, for an option that only one test needs.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// Opens and binds the socket, on a thread that is in the right namespace.
fn open(interface: &str) -> io::Result<(Socket, Mac)> {
    // Protocol 0 until it is bound: before that it would hear all interfaces.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    let index = if_nametoindex(interface)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_storage is made to be seen as the address type of its family, which is set here.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds a sockaddr_ll, and the length is that of one.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) };
    socket.bind(&address)?;
    Ok((socket, hardware_address(interface)?))
}

/// The interface's own address, from the kernel rather than from the plan: the lab may have changed it.
fn hardware_address(interface: &str) -> io::Result<Mac> {
    nix::ifaddrs::getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr()?.addr())
        .map(Mac)
        .ok_or_else(|| io::Error::other(format!("{interface} has no Ethernet address")))
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one c_int from `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

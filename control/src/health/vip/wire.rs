//! The socket that probes of one interface share: frames go out with any MAC addresses, answers come back before the
//! kernel judges them. On a director that owns the VIP the kernel drops an answer from it as a martian (or, IPv6, takes
//! it for its own); a packet socket hears it all the same.
//!
//! *Invariants*
//! - nothing but answers to probes is heard ([`filter`]);
//! - a flood of forged answers fills no memory and keeps the control thread from nothing else for long.
//!
//! packet(7).

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::filter;
use super::seen::Seen;

/// Longest frame that is heard whole: more than the window that a probe offers.
const LONGEST_FRAME: usize = 9216;
/// Frames read before others have their turn.
const AT_ONCE: usize = 256;
/// Answers kept for one probe; it takes a dozen.
pub(super) const KEPT: usize = 64;

/// An interface, for probes. Its reading task ends with it.
#[derive(Debug)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    socket: AsyncFd<Socket>,
    inboxes: Mutex<HashMap<u16, Sender<Seen>>>,
}

/// What comes back to one number, while it lives.
pub(super) struct Inbox {
    number: u16,
    shared: Arc<Shared>,
    seen: Receiver<Seen>,
}

impl Wire {
    /// Opens the interface of this index. Must be called on a tokio runtime, with CAP_NET_RAW.
    pub(super) fn open(index: u32) -> io::Result<Wire> {
        // Protocol 0 until it is bound and filtered: before that it would hear all interfaces.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))?;
        socket.attach_filter(&filter::answers())?;
        socket.bind(&link_address(index))?;
        // SAFETY: the socket owns its descriptor, which stays open and the same until the socket is dropped, and the
        // `AsyncFd` owns the socket until then.
        let socket = unsafe { AsyncFd::register(socket)? };
        let shared = Arc::new(Shared { socket, inboxes: Mutex::default() });
        let task = tokio::spawn(read(Arc::clone(&shared)));
        Ok(Wire { shared, task })
    }

    /// Sends a frame.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.shared.socket.get_ref().send(frame).map(|_| ())
    }

    /// Hears what comes for `number` from now on.
    pub(super) fn listen(&self, number: u16) -> Inbox {
        let (sender, seen) = channel(KEPT);
        self.shared.inboxes().insert(number, sender);
        Inbox { number, shared: Arc::clone(&self.shared), seen }
    }
}

impl Inbox {
    /// The next answer.
    pub(super) async fn next(&mut self) -> Seen {
        match self.seen.recv().await {
            Some(seen) => seen,
            None => unreachable!("the sender stays in the map until this inbox is dropped"),
        }
    }

    /// The answers that have come by now, [`KEPT`] at most: a control thread that was busy must not take its own lateness
    /// for silence, and a flood must not keep it busy.
    pub(super) fn ready(&mut self) -> Vec<Seen> {
        self.shared.pump();
        std::iter::from_fn(|| self.seen.try_recv().ok()).take(KEPT).collect()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.inboxes().remove(&self.number);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<u16, Sender<Seen>>> {
        self.inboxes.lock().expect("no holder of this lock panics")
    }

    /// Reads frames; whether all there were.
    fn pump(&self) -> bool {
        let mut frame = [0; LONGEST_FRAME];
        for _ in 0..AT_ONCE {
            match self.socket.get_ref().read(&mut frame) {
                Ok(length) => self.deliver(&frame[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // A signal; or the link went down, which is reported once.
                Err(_) => {}
            }
        }
        false
    }

    fn deliver(&self, frame: &[u8]) {
        let inboxes = self.inboxes();
        // A full inbox: a forged flood. What its probe needs has come or is lost, as on any wire.
        match Seen::read(frame) {
            Some(Seen::Neighbor { address, mac }) => {
                for inbox in inboxes.values() {
                    let _ = inbox.try_send(Seen::Neighbor { address, mac });
                }
            }
            Some(seen) => {
                if let Some(inbox) = seen.number().and_then(|number| inboxes.get(&number)) {
                    let _ = inbox.try_send(seen);
                }
            }
            None => {}
        }
    }
}

async fn read(shared: Arc<Shared>) {
    while let Ok(mut ready) = shared.socket.readable().await {
        if shared.pump() {
            ready.clear_ready();
        } else {
            tokio::task::yield_now().await;
        }
    }
}

fn link_address(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_storage is made to be seen as the address type of its family, which is set here.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds a sockaddr_ll, and the length is that of one.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

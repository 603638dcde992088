//! An AF_XDP socket of somebody who is not shunt, with no XDP program: to take a queue away from it, or to send a
//! frame on exactly that queue of a cable, which nothing else allows.
//!
//! Kernel file: net/xdp/xsk.c; a frame sent on queue n of a veth arrives on queue n of its peer (drivers/net/veth.c).

use std::io::Write;
use std::num::NonZeroU32;
use std::time::Duration;

use xsk_rs::config::{BindFlags, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue, Umem};

use crate::namespace::Namespace;
use crate::wait;

/// The kernel sends at once; this is for a core that has other things to do.
const SENT: Duration = Duration::from_secs(10);
/// The queue of a socket that was closed is free a moment later.
const RELEASED: Duration = Duration::from_secs(5);

/// A socket bound to one queue of one interface.
pub struct QueueSocket {
    tx: TxQueue,
    completion: CompQueue,
    frame: FrameDesc,
    umem: Umem,
    // Not used; without them the socket would be closed.
    _receiving: (RxQueue, FillQueue),
}

impl QueueSocket {
    /// Binds to queue `queue` of `interface`.
    #[track_caller]
    pub fn open(namespace: &Namespace, interface: &str, queue: u32) -> QueueSocket {
        namespace.enter(|| {
            let mut fault = String::new();
            let opened =
                wait::try_until(RELEASED, || open(interface, queue).map_err(|error| fault = error).ok());
            opened.unwrap_or_else(|| panic!("AF_XDP on {interface} queue {queue}: {fault}"))
        })
    }

    /// Sends one frame; on return it is with the peer.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        // SAFETY: the frame is of this UMEM, and the kernel has given it back: `send` waits for that.
        let mut data = unsafe { self.umem.data_mut(&mut self.frame) };
        data.cursor().write_all(bytes).expect("a frame of the UMEM holds a frame of the link");
        // SAFETY: as above; until it has come out of the completion ring it is not touched.
        let taken = unsafe { self.tx.produce_one_and_wakeup(&self.frame) };
        assert!(matches!(taken, Ok(1)), "the TX ring takes a frame: {taken:?}");
        wait::until(SENT, "a frame to leave an AF_XDP socket", || {
            // SAFETY: the ring is of the UMEM that the frame is of.
            let done = unsafe { self.completion.consume_one(&mut self.frame) };
            // Kicked again and again: the first kick may have found the sender's buffer full.
            if done == 1 { Some(()) } else { self.tx.wakeup().err().and(None) }
        });
    }
}

fn open(interface: &str, queue: u32) -> Result<QueueSocket, String> {
    let frames = NonZeroU32::new(64).expect("it is not 0");
    let (umem, descs) = Umem::new(UmemConfig::default(), frames, false).map_err(|fault| fault.to_string())?;
    let config = SocketConfig::builder()
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_COPY)
        .build();
    let name = interface.parse().map_err(|fault| format!("{interface:?}: {fault:?}"))?;
    // SAFETY: no program is loaded, and the UMEM outlives the socket: both are in one value.
    let (tx, rx, rings) = unsafe { xsk_rs::Socket::new(config, &umem, &name, queue) }
        .map_err(|fault| format!("{fault}: {:?}", std::error::Error::source(&fault)))?;
    let (fill, completion) = rings.ok_or("the UMEM is shared, which it is not")?;
    let frame = descs.into_iter().next().ok_or("no frames")?;
    Ok(QueueSocket { tx, completion, frame, umem, _receiving: (rx, fill) })
}

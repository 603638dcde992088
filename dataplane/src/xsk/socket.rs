//! One AF_XDP socket, bound to a queue of an interface, with its four rings in safe types: frames are handed
//! in and out by value, so none can be touched while the kernel has it.

use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

use crate::port::{BURST, Burst, Census, Pool};
use crate::xsk::options;
use crate::xsk::program::{OpenError, XdpMode};
use crate::xsk::umem::{Frame, Umem, with_source};

/// A bound socket and its rings.
pub struct Socket {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    umem: xsk_rs::Umem,
    base: NonNull<u8>,
    frame_size: u32,
    zero_copy: bool,
    /// Accepted to transmit, not in the ring yet.
    staged: ArrayVec<FrameDesc, BURST>,
    /// Place for descriptors that come out of a ring, or go into the fill ring.
    scratch: Box<[FrameDesc; BURST]>,
    /// Frames to keep in the fill ring.
    share: usize,
    filling: usize,
    sending: usize,
    ring_size: u32,
    refusals: u64,
}

// SAFETY: the rings are owned by this socket alone and used through `&mut self`; `base` is an address.
unsafe impl Send for Socket {}

impl Socket {
    /// Binds to a queue. `share`: frames it keeps ready to receive into. `patience`: how long it waits for a queue that is
    /// taken; meanwhile the thread sleeps.
    ///
    /// Errors: the queue is taken by another program (EBUSY), the queue does not exist, AF_XDP is missing, or
    /// rights are.
    pub(crate) fn open(
        umem: &Umem,
        interface: &str,
        queue: u32,
        share: u32,
        mode: XdpMode,
        patience: Duration,
    ) -> Result<Self, OpenError> {
        let deadline = Instant::now() + patience;
        let (tx, rx, rings) = loop {
            match Self::bind(umem, interface, queue, mode) {
                Ok(opened) => break opened,
                Err((Some(libc::EBUSY), _)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err((errno, reason)) => return Err(OpenError::bind(interface, queue, errno, reason)),
            }
        };
        let Some((fill, completion)) = rings else {
            return Err(OpenError::bind(interface, queue, None, "this process has bound it already".into()));
        };
        let fd = rx.fd().as_raw_fd();
        options::close_on_exec(fd)
            .map_err(|error| OpenError::bind(interface, queue, None, error.to_string()))?;
        let zero_copy = options::is_zero_copy(fd).unwrap_or(false);
        let ring_size = umem.ring_size.get();
        if !zero_copy {
            options::prepare_copy_mode(fd, ring_size);
        }
        Ok(Socket {
            rx,
            tx,
            fill,
            completion,
            umem: umem.umem.clone(),
            base: umem.base,
            frame_size: umem.frame_size,
            zero_copy,
            staged: ArrayVec::new(),
            scratch: Box::new([FrameDesc::default(); BURST]),
            share: share as usize,
            filling: 0,
            sending: 0,
            ring_size,
            refusals: 0,
        })
    }

    #[expect(clippy::type_complexity, reason = "the shape of xsk_rs::Socket::new")]
    fn bind(
        umem: &Umem,
        interface: &str,
        queue: u32,
        mode: XdpMode,
    ) -> Result<(TxQueue, RxQueue, Option<(FillQueue, CompQueue)>), (Option<i32>, String)> {
        // Neither COPY nor ZEROCOPY in native mode: the kernel tries zero-copy and falls back; XDP_OPTIONS
        // tells which. Generic mode can only copy.
        let mode = match mode {
            XdpMode::Native => BindFlags::empty(),
            XdpMode::Generic => BindFlags::XDP_COPY,
        };
        let config = SocketConfig::builder()
            .rx_queue_size(umem.ring_size)
            .tx_queue_size(umem.ring_size)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        let name: Interface = interface.parse().map_err(|e| (None, format!("{e}")))?;
        // SAFETY: the contract concerns programs that libxdp loads; loading is inhibited.
        unsafe { xsk_rs::Socket::new(config, &umem.umem, &name, queue) }.map_err(|error| {
            let errno = std::error::Error::source(&error)
                .and_then(|source| source.downcast_ref::<std::io::Error>())
                .and_then(std::io::Error::raw_os_error);
            (errno, with_source(&error))
        })
    }

    /// The file descriptor, for the XSKMAP and for poll.
    pub fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// The mode really obtained.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Adds received frames to the burst. Their headers are on their way into the cache from here on.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst<Frame>) {
        let room = burst.remaining_capacity();
        // SAFETY: the ring is of the UMEM whose frames `scratch` is for.
        let received = unsafe { self.rx.consume(&mut self.scratch[..room]) };
        self.filling -= received;
        for desc in &self.scratch[..received] {
            // SAFETY: just consumed from the RX ring of this UMEM.
            let frame = unsafe { Frame::from_ring(*desc, self.base, self.frame_size) };
            frame.prefetch();
            burst.push(frame);
        }
    }

    /// Takes a frame to transmit; it is in the ring at the latest when `flush` returns.
    #[inline]
    pub fn transmit(&mut self, frame: Frame) {
        if self.staged.is_full() {
            self.submit();
        }
        self.staged.push(frame.into_transmission(&self.umem));
    }

    fn submit(&mut self) {
        // SAFETY: the descriptors came from `Frame`s of this UMEM, whose claims were given up.
        let submitted = unsafe { self.tx.produce(&self.staged) };
        // The ring has room for every frame there is, so it takes all or, by a bug, none.
        debug_assert_eq!(submitted, self.staged.len());
        self.sending += submitted;
        self.staged.drain(..submitted);
    }

    /// Submits what `transmit` took and kicks the kernel while descriptors wait in the ring: in copy mode one
    /// kick may send only some, and a missed wake-up must not strand the rest.
    #[inline]
    pub fn flush(&mut self) {
        if !self.staged.is_empty() {
            self.submit();
        }
        if self.sending > 0 && self.unsent() > 0 && self.tx.needs_wakeup() && self.tx.wakeup().is_err() {
            self.refusals += 1;
        }
    }

    /// Descriptors that the kernel has not taken from the TX ring.
    #[inline]
    fn unsent(&mut self) -> u32 {
        self.ring_size - self.tx.nb_free_exact()
    }

    /// Puts sent frames into the pool.
    #[inline]
    pub fn reclaim(&mut self, pool: &mut Pool<Frame>) {
        while self.sending > 0 {
            // SAFETY: the ring is of the UMEM whose frames `scratch` is for.
            let done = unsafe { self.completion.consume(&mut self.scratch[..]) };
            self.sending -= done;
            for desc in &self.scratch[..done] {
                // SAFETY: just consumed from the completion ring of this UMEM.
                pool.give(unsafe { Frame::from_ring(*desc, self.base, self.frame_size) });
            }
            if done < BURST {
                break;
            }
        }
    }

    /// Tops the fill ring up to this socket's share from the pool. The ring can look fuller than it is: the
    /// kernel shows a frame in the RX ring before it shows that it took it from the fill ring (`xsk_flush` in
    /// net/xdp/xsk.c). What has no room waits in the pool for the next turn.
    #[inline]
    pub fn refill(&mut self, pool: &mut Pool<Frame>) {
        while self.filling < self.share {
            let missing = BURST.min(self.share - self.filling);
            let room = missing.min(self.fill.nb_free(missing as u32) as usize);
            let mut count = 0;
            while count < room
                && let Some(frame) = pool.take()
            {
                self.scratch[count] = frame.into_ring();
                count += 1;
            }
            if count == 0 {
                break;
            }
            // SAFETY: the descriptors came from `Frame`s of this UMEM, whose claims were given up.
            let filled = unsafe { self.fill.produce(&self.scratch[..count]) };
            debug_assert_eq!(filled, count, "the fill ring has the room that it had just now");
            self.filling += filled;
            if self.fill.needs_wakeup() && self.fill.wakeup(self.rx.fd_mut(), 0).is_err() {
                self.refusals += 1;
            }
        }
    }

    /// Where this socket's frames are.
    pub fn census(&self) -> Census {
        Census { filling: self.filling, sending: self.sending + self.staged.len(), refusals: self.refusals }
    }
}

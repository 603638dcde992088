//! Frames that were steered to a socket and never came out of it. The worker cannot see them; the kernel counts
//! them (net/xdp/xsk.c, `xsk_rcv`; include/uapi/linux/if_xdp.h, `struct xdp_statistics`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Frames that a socket could not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LostCounts {
    /// No frame was left to receive into, or the RX ring was full: the worker was too slow.
    pub worker_slow: u64,
    /// Longer than a frame has room for: joined by the sender or by GRO, or the MTU is too large.
    pub too_long: u64,
}

/// What the kernel counts for a socket (`struct xdp_statistics`). A kernel before 5.9 leaves the last three zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Frames dropped that came in, for other reasons than a full RX ring.
    pub rx_dropped: u64,
    /// Descriptors of the fill ring that it refused.
    pub rx_invalid_descs: u64,
    /// Descriptors of the TX ring that it refused.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times the fill ring had no frame to receive into.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the TX ring had nothing to send.
    pub tx_ring_empty_descs: u64,
}

/// The kernel's count for one socket. It holds the socket open: to be dropped with the worker.
#[derive(Debug)]
pub struct Lost(OwnedFd);

impl Lost {
    /// The count of the socket `fd`.
    pub(crate) fn of(fd: RawFd) -> io::Result<Lost> {
        // SAFETY: the caller's socket owns `fd` and outlives this call, which makes a descriptor of our own.
        unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map(Lost)
    }

    /// Frames lost so far.
    ///
    /// # Errors
    /// The kernel refused to say.
    pub fn counts(&self) -> io::Result<LostCounts> {
        let counts = self.statistics()?;
        // `rx_dropped` has both causes; every frame that found the fill ring empty is in the other count too.
        let starved = counts.rx_fill_ring_empty_descs.min(counts.rx_dropped);
        Ok(LostCounts { worker_slow: counts.rx_ring_full + starved, too_long: counts.rx_dropped - starved })
    }

    /// All that the kernel counts.
    ///
    /// # Errors
    /// The kernel refused to say.
    pub fn statistics(&self) -> io::Result<Statistics> {
        // SAFETY: all-zero is a valid xdp_statistics: it consists of counters.
        let mut counts: libc::xdp_statistics = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&counts) as libc::socklen_t;
        // SAFETY: `counts` and `length` are valid for writes of the sizes given.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Statistics {
            rx_dropped: counts.rx_dropped,
            rx_invalid_descs: counts.rx_invalid_descs,
            tx_invalid_descs: counts.tx_invalid_descs,
            rx_ring_full: counts.rx_ring_full,
            rx_fill_ring_empty_descs: counts.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: counts.tx_ring_empty_descs,
        })
    }
}

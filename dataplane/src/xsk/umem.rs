//! Frame memory shared with the kernel, and the frames it is cut into.

use std::num::NonZeroU32;
use std::ptr::NonNull;

use xsk_rs::FrameDesc;
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};

use crate::port::FrameBytes;
use crate::prefetch::prefetch;
use crate::xsk::program::OpenError;

/// Bytes the kernel keeps free before the data of a received frame (XDP_PACKET_HEADROOM).
const XDP_HEADROOM: u32 = 256;

/// A move-only frame of a [`Umem`]: owning it is the right to touch its bytes, for while the kernel has a
/// frame there is no `Frame` for it.
pub struct Frame {
    desc: FrameDesc,
    /// Where the UMEM begins. Mapped as long as a socket of the UMEM is open; frames live in the worker that
    /// owns these sockets.
    base: NonNull<u8>,
    /// Bytes of data: what the descriptor says, until `resize`.
    len: u32,
    /// Bytes from the beginning of the data to the end of the frame.
    room: u32,
}

// SAFETY: a frame is an exclusive claim on its bytes; which thread exercises it does not matter.
unsafe impl Send for Frame {}

impl Frame {
    /// A frame that a ring just handed over.
    ///
    /// # Safety
    ///
    /// `desc` must be of the UMEM that begins at `base` and must have been consumed from one of its RX or
    /// completion rings, so that neither the kernel nor another `Frame` claims it. Its frames are `size` bytes
    /// large, a power of two, and aligned to that.
    #[inline(always)]
    pub(super) unsafe fn from_ring(desc: FrameDesc, base: NonNull<u8>, size: u32) -> Self {
        let room = size - (desc.addr() as u32 & (size - 1));
        Frame { desc, base, len: desc.lengths().data() as u32, room }
    }

    /// Has the processor fetch the first bytes of the data: a received frame is in the cache of the core that wrote it, or in
    /// none, and a verdict begins with its first bytes. One by one that wait would be longer than all else a verdict takes.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        prefetch(self.base.as_ptr().wrapping_add(self.desc.addr()));
    }

    /// Gives up the claim, to hand the frame to a ring as one to receive into.
    #[inline(always)]
    pub(super) fn into_ring(self) -> FrameDesc {
        self.desc
    }

    /// Gives up the claim, to hand the frame to a ring as one to transmit.
    #[inline(always)]
    pub(super) fn into_transmission(mut self, umem: &xsk_rs::Umem) -> FrameDesc {
        if self.len as usize != self.desc.lengths().data() {
            // SAFETY: `self` is the only claim on this frame of `umem`.
            unsafe { umem.data_mut(&mut self.desc) }.cursor().set_pos(self.len as usize);
        }
        self.desc
    }
}

impl AsRef<[u8]> for Frame {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the kernel wrote a descriptor within the UMEM, whose mapping outlives the frame, and
        // `self` is the only claim on it (see `from_ring`).
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.desc.addr()), self.len as usize) }
    }
}

impl AsMut<[u8]> for Frame {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(self.desc.addr()), self.len as usize) }
    }
}

impl FrameBytes for Frame {
    #[inline]
    fn resize(&mut self, len: usize) -> bool {
        let fits = len <= self.room as usize;
        if fits {
            self.len = len as u32;
        }
        fits
    }
}

/// The memory of one worker's frames.
pub struct Umem {
    pub(super) umem: xsk_rs::Umem,
    pub(super) base: NonNull<u8>,
    pub(super) ring_size: QueueSize,
    pub(super) frame_size: u32,
    is_huge: bool,
}

// SAFETY: `base` is only an address; access goes through `Frame`.
unsafe impl Send for Umem {}

impl Umem {
    /// `count` frames with room for packets of `mtu` bytes, and all of them as free frames. Within the crate
    /// only: `Frame` is sound because `plane` keeps frames and sockets of one UMEM in one worker.
    ///
    /// Errors: the memory cannot be had or locked.
    pub(crate) fn new(count: u32, mtu: u32) -> Result<(Self, Vec<Frame>), OpenError> {
        let fail = |reason: String| OpenError::Umem { frames: count, reason };
        // Every ring at least as large as the number of frames: no ring can overflow. (The fill ring may look full
        // for a moment, see `Socket::refill`.)
        let ring_size = QueueSize::new(count.next_power_of_two()).map_err(|e| fail(e.to_string()))?;
        let needed = frame_size(mtu);
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(needed).map_err(|e| fail(e.to_string()))?)
            .fill_queue_size(ring_size)
            .comp_queue_size(ring_size)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let count = NonZeroU32::new(count).ok_or_else(|| fail("no frames".into()))?;
        // Advice comes too late: what the library maps is populated and pinned at once. So: pages that somebody has reserved
        // (vm.nr_hugepages), as long as there are any, and whole ones: another length would be rounded up, and not unmapped.
        let bytes = u64::from(count.get()) * u64::from(needed);
        let is_whole = huge_page().is_some_and(|size| bytes.is_multiple_of(size));
        let huge = is_whole.then(|| xsk_rs::Umem::new(config, count, true).ok()).flatten();
        let is_huge = huge.is_some();
        let (umem, descs) = match huge {
            Some(mapped) => mapped,
            None => xsk_rs::Umem::new(config, count, false).map_err(|e| fail(with_source(&e)))?,
        };
        let Some(first) = descs.first() else { return Err(fail("no frames".into())) };
        // SAFETY: `first` is a frame of this UMEM and no ring has it yet.
        let base = unsafe { umem.data(first).contents().as_ptr().sub(first.addr()) };
        let base = NonNull::new(base.cast_mut()).ok_or_else(|| fail("null mapping".into()))?;
        // SAFETY: fresh descriptors of this UMEM, one frame each; no ring has them.
        let frames = descs.into_iter().map(|desc| unsafe { Frame::from_ring(desc, base, needed) }).collect();
        Ok((Umem { umem, base, ring_size, frame_size: needed, is_huge }, frames))
    }

    /// Whether it is in huge pages.
    pub(crate) fn is_huge(&self) -> bool {
        self.is_huge
    }
}

/// Bytes of the huge pages that the kernel gives who does not ask for a size (proc_meminfo(5), `Hugepagesize`).
fn huge_page() -> Option<u64> {
    let known = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = known.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let size = kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    (size > 0).then_some(size)
}

/// Bytes of a frame with room for packets of `mtu` bytes, a page at most.
pub fn frame_size(mtu: u32) -> u32 {
    // Ethernet header and two VLAN tags come on top of the MTU.
    (XDP_HEADROOM + mtu + 14 + 8).next_power_of_two().clamp(2048, 4096)
}

/// An error and what caused it, in one line.
pub(super) fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

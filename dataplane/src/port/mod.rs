//! The seam between the worker and whatever moves frames: AF_XDP in production, memory in tests and
//! benchmarks, pcap files for replay.
//!
//! *Invariant*: a frame is always in exactly one place: in the pool, in a burst, or with a port (filling or
//! sending). Frames are moved, never copied or cloned: owning one is the right to touch it.

pub mod memory;
pub mod pcap;
pub mod xsk;

use arrayvec::ArrayVec;

/// Most frames a port hands over at once.
pub const BURST: usize = 64;

/// Frames of one receive.
pub type Burst<F> = ArrayVec<F, BURST>;

/// Index of a port in its worker, and of an interface in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u8);

/// The bytes of a frame, and the room around them.
pub trait FrameBytes: AsRef<[u8]> + AsMut<[u8]> {
    /// Makes the frame `len` bytes long, at its end; what is new there is whatever was there before. False, and
    /// nothing changed, if there is no room for that.
    fn resize(&mut self, len: usize) -> bool;
}

/// Something that receives and transmits frames.
pub trait Port {
    /// A frame that this port and its siblings of the same worker can move.
    type Frame: FrameBytes;

    /// Adds received frames to the burst, as far as it has room.
    fn receive(&mut self, burst: &mut Burst<Self::Frame>);

    /// Takes a frame to transmit. Never refuses: rings are as large as the number of frames. It leaves with
    /// the next `turn` at the latest.
    fn transmit(&mut self, frame: Self::Frame);

    /// Once every turn of the loop: sends what `transmit` took, puts sent frames into the pool, and takes
    /// frames from it to receive into.
    fn turn(&mut self, pool: &mut Pool<Self::Frame>);

    /// Where this port's frames are.
    fn census(&self) -> Census;

    /// Whether there may be something to do before the next frame comes in.
    fn is_busy(&self) -> bool;
}

/// Frames a port holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// To receive into, received ones that were not fetched yet included.
    pub filling: usize,
    /// To transmit, transmitted ones that were not reclaimed yet included.
    pub sending: usize,
    /// Not frames, but beside them: times the kernel refused to be told of them, since the start.
    pub refusals: u64,
}

/// Free frames of one worker. Capacity is fixed: it never allocates after `new`.
#[derive(Debug)]
pub struct Pool<F> {
    frames: Vec<F>,
    total: usize,
}

impl<F> Pool<F> {
    /// A pool that starts with all the frames there are.
    pub fn new(frames: Vec<F>) -> Self {
        Pool { total: frames.len(), frames }
    }

    /// Takes a free frame.
    #[inline(always)]
    pub fn take(&mut self) -> Option<F> {
        self.frames.pop()
    }

    /// Gives a frame back.
    #[inline(always)]
    pub fn give(&mut self, frame: F) {
        debug_assert!(self.frames.len() < self.total, "more frames than there are");
        self.frames.push(frame);
    }

    /// Free frames now.
    pub fn free(&self) -> usize {
        self.frames.len()
    }

    /// Frames in all, wherever they are.
    pub fn total(&self) -> usize {
        self.total
    }
}

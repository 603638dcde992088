//! A port in memory: no kernel in the way. Tests and benchmarks put frames in at one end and take them out
//! at the other.

use std::collections::VecDeque;

use crate::port::{Burst, Census, FrameBytes, Pool, Port};

/// Bytes one frame has room for, as a UMEM frame of 2 KiB less its headroom.
pub const FRAME_ROOM: usize = 1792;

/// A frame in ordinary memory.
#[derive(Debug)]
pub struct MemoryFrame {
    bytes: Box<[u8; FRAME_ROOM]>,
    len: usize,
}

impl MemoryFrame {
    /// Frames for a pool.
    pub fn many(count: usize) -> Vec<MemoryFrame> {
        (0..count).map(|_| MemoryFrame { bytes: Box::new([0; FRAME_ROOM]), len: 0 }).collect()
    }

    /// Makes `bytes` the contents, cut at the room there is.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.len = bytes.len().min(FRAME_ROOM);
        self.bytes[..self.len].copy_from_slice(&bytes[..self.len]);
    }
}

impl AsRef<[u8]> for MemoryFrame {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for MemoryFrame {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl FrameBytes for MemoryFrame {
    fn resize(&mut self, len: usize) -> bool {
        let fits = len <= FRAME_ROOM;
        if fits {
            self.len = len;
        }
        fits
    }
}

/// A frame without limits, for tests of the decision alone.
impl FrameBytes for Vec<u8> {
    fn resize(&mut self, len: usize) -> bool {
        Vec::resize(self, len, 0);
        true
    }
}

/// A frame whose length is fixed, for benchmarks.
impl<const N: usize> FrameBytes for [u8; N] {
    fn resize(&mut self, len: usize) -> bool {
        len == N
    }
}

/// The port.
#[derive(Debug)]
pub struct MemoryPort {
    /// Frames to receive into.
    filling: Vec<MemoryFrame>,
    /// Frames that came in.
    received: VecDeque<MemoryFrame>,
    /// Frames to transmit; the far end takes them with `sent`.
    sending: VecDeque<MemoryFrame>,
    /// Frames the far end has taken.
    done: Vec<MemoryFrame>,
    share: usize,
}

impl MemoryPort {
    /// A port that keeps `share` frames of its worker's pool to receive into.
    pub fn new(share: usize) -> Self {
        MemoryPort {
            filling: Vec::with_capacity(share),
            received: VecDeque::with_capacity(share),
            sending: VecDeque::with_capacity(share),
            done: Vec::with_capacity(share),
            share,
        }
    }

    /// A frame arrives from outside; false if there is none to receive into, as a NIC drops it.
    pub fn arrive(&mut self, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.filling.pop() else { return false };
        frame.fill(bytes);
        self.received.push_back(frame);
        true
    }

    /// Takes what was transmitted, oldest first; `each` sees the bytes.
    pub fn sent(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let before = self.done.len();
        for frame in self.sending.drain(..) {
            each(frame.as_ref());
            self.done.push(frame);
        }
        self.done.len() - before
    }
}

impl Port for MemoryPort {
    type Frame = MemoryFrame;

    fn receive(&mut self, burst: &mut Burst<MemoryFrame>) {
        while burst.remaining_capacity() > 0
            && let Some(frame) = self.received.pop_front()
        {
            burst.push(frame);
        }
    }

    fn transmit(&mut self, frame: MemoryFrame) {
        self.sending.push_back(frame);
    }

    fn turn(&mut self, pool: &mut Pool<MemoryFrame>) {
        while let Some(frame) = self.done.pop() {
            pool.give(frame);
        }
        while self.filling.len() + self.received.len() < self.share
            && let Some(frame) = pool.take()
        {
            self.filling.push(frame);
        }
    }

    fn census(&self) -> Census {
        Census {
            filling: self.filling.len() + self.received.len(),
            sending: self.sending.len() + self.done.len(),
            refusals: 0,
        }
    }

    fn is_busy(&self) -> bool {
        !self.received.is_empty() || !self.done.is_empty()
    }
}

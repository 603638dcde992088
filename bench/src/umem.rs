//! Frames where a receiver finds them: in a UMEM that is written to as a ring, each in a chunk of its own, and not in the first
//! cache but where the one who wrote them has left them long ago. Between their coming and their being looked at lie
//! thousands of others, as with a NIC or with the softirq of another core.

use shunt_dataplane::port::{BURST, FrameBytes};
use shunt_dataplane::prefetch::prefetch;

use crate::traffic::Traffic;

/// Bursts in all: with 2 KiB a chunk 8 MiB, and their first lines in one sixty-fourth of the sets of each cache.
pub const BURSTS: usize = 64;
/// So many bursts lie between the one that is written and the one that is looked at. Even, so that two kinds of traffic
/// may take turns.
const AHEAD: usize = BURSTS / 2;

/// A frame of `N` bytes, and the rest of its chunk.
#[repr(C, align(2048))]
#[derive(Clone)]
pub struct Chunk<const N: usize>(pub [u8; N]);

impl<const N: usize> AsRef<[u8]> for Chunk<N> {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> AsMut<[u8]> for Chunk<N> {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> FrameBytes for Chunk<N> {
    fn resize(&mut self, len: usize) -> bool {
        len == N
    }
}

/// Bursts in a ring.
pub struct Umem<const N: usize> {
    bursts: Box<[[Chunk<N>; BURST]]>,
    at: usize,
}

impl<const N: usize> Umem<N> {
    /// One that is full of this traffic.
    pub fn of(traffic: &mut Traffic) -> Umem<N> {
        let empty = || std::array::from_fn(|_| Chunk([0; N]));
        let mut bursts: Vec<[Chunk<N>; BURST]> = (0..BURSTS).map(|_| empty()).collect();
        bursts.iter_mut().for_each(|burst| traffic.write(burst.iter_mut().map(|chunk| &mut chunk.0)));
        Umem { bursts: bursts.into(), at: 0 }
    }

    /// A burst of this traffic is written, and an earlier one received: its first bytes are fetched, as
    /// `dataplane/src/xsk/socket.rs` does it.
    #[inline(always)]
    pub fn turn(&mut self, traffic: &mut Traffic) -> &mut [Chunk<N>; BURST] {
        let burst = self.write(traffic);
        for chunk in burst.iter() {
            prefetch(chunk.0.as_ptr());
        }
        burst
    }

    /// The same, but for the fetching.
    #[inline(always)]
    pub fn write(&mut self, traffic: &mut Traffic) -> &mut [Chunk<N>; BURST] {
        self.at = (self.at + 1) % BURSTS;
        let written = &mut self.bursts[(self.at + AHEAD) % BURSTS];
        traffic.write(written.iter_mut().map(|chunk| &mut chunk.0));
        &mut self.bursts[self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{FRAME, Shape};

    #[test]
    fn frames_come_in_the_order_in_which_they_were_written_and_each_once() {
        let mut written = Traffic::shaped(Shape::of(1_000_000));
        let mut umem = Umem::<FRAME>::of(&mut written);
        let mut expected = Traffic::shaped(Shape::of(1_000_000));
        let mut burst = [[0; FRAME]; BURST];
        // What was there at first: the second burst of it, and so on.
        expected.write(burst.iter_mut());
        for _ in 0..AHEAD {
            expected.write(burst.iter_mut());
            assert!(umem.turn(&mut written).iter().map(|chunk| chunk.0).eq(burst));
        }
        let mut later = Traffic::shaped(Shape::of(1_000_000));
        (0..BURSTS).for_each(|_| later.write(burst.iter_mut()));
        for _ in 0..3 * BURSTS {
            later.write(burst.iter_mut());
            assert!(umem.turn(&mut written).iter().map(|chunk| chunk.0).eq(burst));
        }
    }

    #[test]
    fn a_chunk_is_two_kibibytes() {
        assert_eq!(size_of::<Chunk<FRAME>>(), 2048);
    }
}

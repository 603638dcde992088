//! A worker's sign of life to the XDP program: what nobody would look at is dropped and counted there, whatever has become
//! of the rest of the director. So the worker itself gives it; control may be dead, or stand still, or both may.
//!
//! *Invariants*: a cell has one writer, the worker of its queue; what is written there is a moment a second ahead
//! ([`LIFE`]), so that the program needs to know of no limit, or one that has long passed (`OVER`), and never 0 again.
//!
//! The map is an array that user space maps (BPF_F_MMAPABLE; kernel/bpf/arraymap.c, `array_map_mmap`): a beat is a store.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::xsk::steering::MAX_QUEUES;

/// How long a worker is taken for alive after its last beat. Asleep it wakes up ten times in that time.
pub const LIFE: Duration = Duration::from_secs(1);
/// A moment that has passed, and is not "never".
const OVER: u64 = 1;
const BYTES: usize = MAX_QUEUES as usize * size_of::<Cell>();

/// `struct beat` of the program.
#[repr(C, align(64))]
struct Cell {
    until: AtomicU64,
}

/// The cells of one program, by queue.
#[derive(Clone)]
pub struct Beats(Arc<Mapping>);

/// One worker's cells. Dropping it says that the worker is no more.
pub struct Beat {
    cells: Vec<(Beats, u32)>,
    /// CLOCK_MONOTONIC when the worker's clock was at 0, in nanoseconds.
    start: u64,
}

struct Mapping(NonNull<Cell>);

// SAFETY: it is memory of atomics; which thread reads, writes or unmaps it makes no difference.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Beats {
    /// The cells of the map `fd`, which has [`MAX_QUEUES`] of them.
    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Beats> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, fd.as_raw_fd());
        // SAFETY: asks for new memory, wherever there is room. The kernel refuses if the map is smaller.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, access, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(memory.cast()) {
            Some(cells) if memory != libc::MAP_FAILED => Ok(Beats(Arc::new(Mapping(cells)))),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn cell(&self, queue: u32) -> &AtomicU64 {
        assert!(queue < MAX_QUEUES, "no socket is on a queue beyond that");
        // SAFETY: within the mapping, which lives as long as this does, is aligned to a page, and holds nothing but cells;
        // all bits are valid in one, and whoever else writes (nobody) would do it with one store.
        unsafe { &(*self.0.0.as_ptr().add(queue as usize)).until }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `Beats::of` with this length, and the last that knows of it.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

impl Beat {
    /// The beat of the worker of these queues, whose time `clock` tells. It is alive from here on.
    pub fn new(cells: Vec<(Beats, u32)>, clock: Clock) -> Beat {
        let now = monotonic().saturating_add_signed(-shifted_by());
        let beat = Beat { cells, start: now.saturating_sub(clock.millis() * 1_000_000) };
        beat.strike(clock.millis());
        beat
    }

    /// The worker lives, `now` milliseconds after the start of its clock.
    #[inline]
    pub fn strike(&self, now: u64) {
        self.write(self.start + now * 1_000_000 + LIFE.as_nanos() as u64);
    }

    fn write(&self, until: u64) {
        for (beats, queue) in &self.cells {
            // Relaxed: nothing else is read because of it.
            beats.cell(*queue).store(until, Ordering::Relaxed);
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.write(OVER);
    }
}

/// CLOCK_MONOTONIC in nanoseconds: what `bpf_ktime_get_ns` tells, unless it is shifted here.
fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// By how many nanoseconds it is, in a time namespace of its own (time_namespaces(7)); the XDP program has the time of the host.
fn shifted_by() -> i64 {
    std::fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| shift(&text)).unwrap_or(0)
}

fn shift(offsets: &str) -> Option<i64> {
    let words = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = words.split_ascii_whitespace().map(|word| word.parse::<i64>().ok());
    numbers.next()??.checked_mul(1_000_000_000)?.checked_add(numbers.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_namespace_of_its_own_is_allowed_for() {
        assert_eq!(shift("monotonic           0         0\nboottime            9         0\n"), Some(0));
        assert_eq!(shift("monotonic        -100 500000000\nboottime 0 0\n"), Some(-99_500_000_000));
        assert_eq!(shift("boottime            9         0\n"), None);
    }

    #[test]
    fn a_cell_is_as_large_as_the_program_has_it() {
        assert_eq!(size_of::<Cell>(), 64);
    }

    #[test]
    fn monotonic_time_is_that_of_the_clock() {
        let (clock, start) = (Clock::new(), monotonic());
        std::thread::sleep(Duration::from_millis(5));
        let passed = (monotonic() - start) / 1_000_000;
        assert!(clock.millis().abs_diff(passed) <= 1);
    }
}

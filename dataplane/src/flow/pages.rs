//! The memory of a table: zeroed, aligned, and backed by real pages before the first frame comes. Memory that is
//! only reserved costs a page fault at the first touch of each page, thousands of them in a burst of newcomers; and
//! with pages of 4 KiB nearly every look into a large table misses the translation cache, so that huge ones are
//! asked for (Linux: Documentation/admin-guide/mm/transhuge.rst, `madvise`).
//!
//! Nor do children of the process get them (`MADV_DONTFORK`): control runs programs for the operator, and a fork would mark
//! each page copy-on-write, so that a worker takes a fault at its next touch of each.
//!
//! *Invariant*: allocated once and never moved; given back when the last end of the table is gone.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::Deref;
use std::ptr::NonNull;

/// Size and alignment of a huge page on x86-64, and for most configurations of aarch64.
const HUGE: usize = 2 << 20;
/// Alignment of smaller tables: the largest bucket (`buckets`), two cache lines.
const SMALL: usize = 128;

/// Types of which all bytes 0 are a value.
///
/// # Safety
/// That is so, and the type has nothing to drop and no reference.
pub(super) unsafe trait Zeroable {}

/// A fixed number of `T`.
pub(super) struct Pages<T> {
    at: NonNull<T>,
    length: usize,
    /// Mapped, not allocated: by `shadow`.
    is_mapped: bool,
}

// SAFETY: it owns its `T`s as a box would.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: it lends them out as shared references only.
unsafe impl<T: Sync> Sync for Pages<T> {}

impl<T: Zeroable> Pages<T> {
    /// `length` (at least 1) zeroed values, each page of them written to. The process ends if there is no memory.
    pub fn new(length: usize) -> Self {
        let layout = layout::<T>(length);
        assert!(layout.size() > 0, "a table has entries");
        // SAFETY: the size is not 0.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        if layout.size() >= HUGE {
            // SAFETY: the allocation is whole pages. If the kernel has no huge pages to
            // give, small ones do as well.
            unsafe { libc::madvise(at.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
            // SAFETY: as above. A child touches none of it between fork and exec; `drop` takes it back.
            unsafe { libc::madvise(at.as_ptr().cast(), layout.size(), libc::MADV_DONTFORK) };
        }
        // SAFETY: all of it is ours.
        unsafe { at.write_bytes(0, layout.size()) };
        Pages { at: at.cast(), length, is_mapped: false }
    }

    /// `length` (at least 1) zeroed values of which only those take memory that are written to: for a copy of a few
    /// entries of a large table. The process ends if there is no address space.
    pub fn shadow(length: usize) -> Self {
        let layout = layout::<T>(length);
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a mapping of its own, wherever there is room for it.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), layout.size(), access, kind, -1, 0) };
        let Some(at) = NonNull::new(at).filter(|at| at.as_ptr() != libc::MAP_FAILED) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the mapping is whole pages. Else one entry may take two mebibytes.
        unsafe { libc::madvise(at.as_ptr(), layout.size(), libc::MADV_NOHUGEPAGE) };
        Pages { at: at.cast(), length, is_mapped: true }
    }
}

/// Large ones fill whole huge pages, so that advice about them is about nothing else. Panics if so many do not fit an
/// address space.
fn layout<T>(length: usize) -> Layout {
    let layout = Layout::array::<T>(length).expect("a table fits the address space");
    let align = if layout.size() >= HUGE { HUGE } else { SMALL };
    layout.align_to(align).expect("an alignment is a power of two").pad_to_align()
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` or `shadow` allocated that many, all bytes 0, which is a value of every Zeroable; they live as long as self.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        let layout = layout::<T>(self.length);
        if self.is_mapped {
            // SAFETY: the mapping of `shadow`; a Zeroable has nothing to drop.
            unsafe { libc::munmap(self.at.as_ptr().cast(), layout.size()) };
            return;
        }
        if layout.size() >= HUGE {
            // The allocator may give the memory to something that a child does need.
            // SAFETY: the range is that of `new`.
            unsafe { libc::madvise(self.at.as_ptr().cast(), layout.size(), libc::MADV_DOFORK) };
        }
        // SAFETY: allocated in `new` with the same layout; a Zeroable has nothing to drop.
        unsafe { dealloc(self.at.as_ptr().cast(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    // SAFETY: atomics of all bytes 0 are zeros.
    unsafe impl Zeroable for [AtomicU64; 8] {}

    /// Page faults of this thread so far.
    fn faults() -> i64 {
        // SAFETY: a structure of plain numbers, filled in by the call.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        usage.ru_minflt + usage.ru_majflt
    }

    #[test]
    fn memory_is_zeroed_and_aligned_and_its_pages_are_there() {
        for length in [1, 1000, 65_536, 1_000_000] {
            let pages = Pages::<[AtomicU64; 8]>::new(length);
            assert_eq!(pages.len(), length);
            assert_eq!(pages.as_ptr() as usize % SMALL, 0);
            let before = faults();
            for line in pages.iter() {
                for word in line {
                    assert_eq!(word.load(Ordering::Relaxed), 0);
                    word.store(1, Ordering::Relaxed);
                }
            }
            // The stack's, and the kernel's when it moves pages together; a thousand times as many without care.
            assert!(faults() - before < 20, "{} page faults in {length} lines", faults() - before);
        }
    }

    #[test]
    fn a_shadow_is_zeroed_and_takes_only_what_is_written_to() {
        let pages = Pages::<[AtomicU64; 8]>::shadow(16 << 20);
        assert_eq!((pages.len(), pages.as_ptr() as usize % SMALL), (16 << 20, 0));
        let before = faults();
        for n in [0, 5_000_000, (16 << 20) - 1] {
            assert_eq!(pages[n][0].swap(7, Ordering::Relaxed), 0);
        }
        assert!(faults() - before < 20, "{} page faults", faults() - before);
    }

    #[test]
    fn a_child_of_the_process_costs_no_page_faults() {
        use std::os::unix::process::CommandExt;
        let pages = Pages::<[AtomicU64; 8]>::new(1_000_000);
        let mut command = std::process::Command::new("/bin/true");
        // SAFETY: it does nothing; that there is something to do makes it a real fork(2).
        unsafe { command.pre_exec(|| Ok(())) };
        let mut child = command.spawn().expect("there is such a program");
        let before = faults();
        for line in pages.iter() {
            line[0].store(1, Ordering::Relaxed);
        }
        assert!(faults() - before < 20, "{} page faults", faults() - before);
        child.wait().expect("it ends");
    }
}

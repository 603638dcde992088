//! Coarse time. A worker reads the clock once per turn of its loop, before it receives; below that everything
//! is told the time.

use std::time::Instant;

/// Ticks in one second.
pub const TICKS_PER_SECOND: u32 = 4;
/// Ticks wrap after this many (24 bits: 48 days).
const WRAP: u32 = 1 << 24;

/// A moment in quarter seconds since the process started, modulo 2^24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tick(u32);

impl Tick {
    /// The tick with this number, modulo 2^24.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Tick(number % WRAP)
    }

    /// The tick of a moment `milliseconds` after the start.
    #[inline(always)]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Tick((milliseconds / (1000 / TICKS_PER_SECOND as u64)) as u32 % WRAP)
    }

    /// 0 <= number < 2^24.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The tick `ticks` later.
    #[inline(always)]
    pub const fn after(self, ticks: u32) -> Self {
        Tick(self.0.wrapping_add(ticks) % WRAP)
    }

    /// Ticks from `earlier` to `self`, right across the wrap for spans of up to 48 days.
    #[inline(always)]
    pub const fn since(self, earlier: Tick) -> u32 {
        self.0.wrapping_sub(earlier.0) % WRAP
    }
}

/// Milliseconds since the clock was made. Cheap to copy; all workers and control share one start.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::new_without_default, reason = "a start time is no default value")]
    pub fn new() -> Self {
        Clock(Instant::now())
    }

    /// Milliseconds since the start (one vDSO read).
    #[inline]
    pub fn millis(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_right_across_the_wrap() {
        assert_eq!(Tick::new(3).since(Tick::new(WRAP - 2)), 5);
        assert_eq!(Tick::from_millis(1_250), Tick::new(5));
    }
}

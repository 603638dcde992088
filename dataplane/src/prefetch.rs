//! Memory that will be looked at soon: asked for now, it is there then, and many such waits are one.

/// Has the processor fetch the cache line at `address` (x86-64; elsewhere nothing). Whatever it points at, if anything: there is
/// no effect but on the cache.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address has no effect but on the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

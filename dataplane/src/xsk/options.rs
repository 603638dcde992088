//! Socket options of AF_XDP that xsk-rs does not wrap (include/uapi/linux/if_xdp.h).

use std::io;
use std::os::fd::RawFd;

const XDP_OPTIONS: libc::c_int = 8;
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
/// Since Linux 6.17: descriptors one `sendto` may send in copy mode; 32 unless set.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Whether the socket is bound in zero-copy mode: the only way to see that zero-copy fell back to copying.
pub fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut flags = 0u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: `flags` and `length` are valid for writes of the sizes given.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_XDP, XDP_OPTIONS, (&raw mut flags).cast(), &raw mut length) };
    if result == 0 { Ok(flags & XDP_OPTIONS_ZEROCOPY != 0) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the socket from programs that this process starts, which libxdp does not: they would hold its queue, and frames
/// with it, for as long as they run.
pub fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: sets a flag of a descriptor; no memory is involved.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Readies the socket for copy mode: a send buffer that holds all its frames (else EAGAIN after some 277
/// small ones) and a budget that sends them with one call. Kernels without the option send 32 a call.
///
/// By measurement on veth (`tune` in bench, bench/results): with the kernel's budget 5 % fewer frames get through; its send buffer
/// is no slower there, but is full with 277 frames. Busy polling gains nothing that can be told from chance, and is left to
/// the softirq. In zero-copy mode none of it applies: no skb is made, and the driver sends what is in the ring
/// (Documentation/networking/af_xdp.rst); not tried.
pub fn prepare_copy_mode(fd: RawFd, frames: u32) {
    // What a small frame costs of the send buffer: an skb with its head (skb->truesize).
    const SKB: u32 = 4096;
    let bytes = frames.saturating_mul(SKB).min(i32::MAX as u32) as libc::c_int;
    // Failing either only slows down; the rate is what shows it.
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes);
    let _ = set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames.min(i32::MAX as u32) as libc::c_int);
}

/// Sets an option of a socket to a number.
///
/// # Errors
/// The kernel refuses: it does not know the option, or not this value of it.
pub fn set(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: `value` is valid for reads of the size given.
    let result = unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of_val(&value) as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

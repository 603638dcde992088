//! Who runs where: the generator on the first core, what is measured on the last.

use core_affinity::CoreId;

/// The core of generator number `n`: the first, the second, and so on.
pub fn generator(n: usize) -> usize {
    let all = all();
    all.get(n % all.len().max(1)).copied().unwrap_or(0)
}

/// The core of what is measured. The generator's own where there is only one.
pub fn subject() -> usize {
    all().last().copied().unwrap_or(0)
}

/// All cores that this process may use, in order.
pub fn all() -> Vec<usize> {
    shunt_dataplane::plane::cores()
}

/// Pins the calling thread.
pub fn pin(core: usize) {
    core_affinity::set_for_current(CoreId { id: core });
}

/// This process, and what it starts from here on, comes before what else the machine has to do: the less a figure says
/// about others. The session's group too, where sessions share the processor out among themselves (sched(7), "The
/// autogroup feature"), until the value is dropped.
#[must_use]
pub fn prefer() -> Preferred {
    // SAFETY: takes numbers only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, HIGHEST) };
    group(HIGHEST);
    Preferred
}

/// See [`prefer`].
pub struct Preferred;

impl Drop for Preferred {
    fn drop(&mut self) {
        group(0);
    }
}

fn group(nice: libc::c_int) {
    // Without the feature there is nothing to write to, and nothing to do.
    let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
}

/// As [`prefer`], for one thread of the kernel.
pub fn prefer_thread(pid: i32) {
    // SAFETY: takes numbers only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, pid.unsigned_abs(), HIGHEST) };
}

const HIGHEST: libc::c_int = -20;

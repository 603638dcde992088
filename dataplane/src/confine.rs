//! A worker reads what strangers send, all day. So that a bug in it is worth nothing to them, its thread gives up every
//! capability before its first frame, and the kernel takes nothing from it but the system calls of its loop.
//!
//! *Invariants*
//! - the sockets, frames and tables are made before: a confined thread opens no file, no socket, no program, and starts
//!   nothing;
//! - what is not listed here ends the whole process: half a director is none, and a dead one is taken over from. The kernel
//!   says so in its log (`type=1326 ... comm="worker-0" ... sig=31 syscall=N`), a service manager `status=31/SYS`;
//! - the calls of the hot path are allowed whatever their arguments: the kernel then answers from a bitmap and runs no
//!   filter (`seccomp_cache_prepare` in kernel/seccomp.c).
//!
//! capabilities(7), seccomp(2).

use std::collections::BTreeMap;
use std::io;

use caps::CapSet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Receiving and sending (`sendto`, `recvfrom` wake the kernel), waiting, and the time where the vDSO has none.
const LOOP: &[i64] = &[
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_futex,
    libc::SYS_sched_yield,
];

/// Memory: of messages that are built, and of what is freed at the end. What maps it is in [`filter`].
const MEMORY: &[i64] = &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk];

/// The end: sockets are closed, of which their library asks for the layout first; a panic that says where, and aborts.
const END: &[i64] = &[
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
];

/// Confines the thread that calls it. There is no way back.
///
/// # Errors
/// The kernel refuses: it has no seccomp filters (CONFIG_SECCOMP_FILTER).
pub fn confine() -> io::Result<()> {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    // It also sets no_new_privs, of this thread.
    seccompiler::apply_filter(&filter()).map_err(io::Error::other)
}

fn filter() -> BpfProgram {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [LOOP, MEMORY, END].into_iter().flatten().map(|&call| (call, Vec::new())).collect();
    // Not executable.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0));
    }
    // What a panic says, and nothing else.
    rules.insert(libc::SYS_write, argument(0, SeccompCmpOp::Eq, libc::STDERR_FILENO as u64));
    // Its own abort, and no signal to others.
    rules.insert(libc::SYS_tgkill, argument(0, SeccompCmpOp::Eq, u64::from(std::process::id())));
    let architecture = std::env::consts::ARCH.try_into();
    let architecture = architecture.expect("AF_XDP drivers and this filter have the same architectures");
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)
        .and_then(BpfProgram::try_from)
        .expect("the list above makes a filter of a few hundred instructions")
}

/// Only where the lower half of an argument is so.
fn argument(number: u8, is: SeccompCmpOp, value: u64) -> Vec<SeccompRule> {
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, is, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map(|rule| vec![rule])
        .expect("a system call has this argument")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Names what the test, started again as a program, does on a confined thread.
    const DEED: &str = "CONFINED_DEED";

    /// What a worker might be made to do, each by a system call of its own.
    const DEEDS: &[(&str, fn())] = &[
        ("open a file", || drop(std::fs::File::open("/etc/hostname"))),
        ("make a socket", || drop(std::net::UdpSocket::bind("127.0.0.1:0"))),
        ("start a program", || drop(Command::new("/bin/true").status())),
        ("start a thread", || drop(std::thread::Builder::new().spawn(|| {}))),
        ("write elsewhere than to standard error", || {
            // SAFETY: one readable byte.
            unsafe { libc::write(1, b"x".as_ptr().cast(), 1) };
        }),
        ("map executable memory", || {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a mapping of its own, wherever the kernel likes.
            unsafe {
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_EXEC, flags, -1, 0)
            };
        }),
        ("signal somebody", || {
            // SAFETY: it takes numbers only; signal 0 is none.
            unsafe { libc::kill(1, 0) };
        }),
    ];

    /// Not a test: what the test below starts as a program of its own.
    #[test]
    fn deed() {
        let Ok(wanted) = std::env::var(DEED) else { return };
        let deed = DEEDS.iter().find(|(name, _)| *name == wanted).map(|(_, deed)| *deed);
        let done = std::thread::spawn(move || {
            confine().unwrap();
            if let Some(deed) = deed {
                deed();
            } else {
                live();
            }
        });
        done.join().unwrap();
    }

    /// What a worker does: allocates, waits, tells the time, says something.
    fn live() {
        let memory: Vec<u8> = vec![1; 1 << 24];
        assert!(memory.iter().all(|byte| *byte == 1));
        // SAFETY: no descriptors, so that nothing is read or written.
        unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
        eprintln!("{:?}", std::time::Instant::now());
    }

    fn run(deed: &str) -> std::process::ExitStatus {
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test);
        command.args(["--exact", "confine::tests::deed", "--nocapture"]).env(DEED, deed);
        command.output().unwrap().status
    }

    #[test]
    fn a_confined_thread_that_does_what_its_loop_does_not_takes_the_process_with_it() {
        for (name, _) in DEEDS {
            assert_eq!(run(name).signal(), Some(libc::SIGSYS), "{name}");
        }
    }

    #[test]
    fn a_confined_thread_allocates_waits_speaks_and_ends() {
        assert!(run("live").success());
    }
}

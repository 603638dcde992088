//! The system calls that neither shunt nor a script of an operator has a use for, and a stranger who got this far would begin
//! with: others' memory, other kernels, modules, mounts, clocks, namespaces in which he is root.
//!
//! *Invariants*
//! - they fail with EPERM, as they would for lack of a right: nothing ends by surprise. `clone3`, whose flags no filter
//!   can see, fails with ENOSYS, so that libraries take `clone`, whose flags one can;
//! - it holds for all threads and all that is executed, until the end. Programs for another architecture (32 bits) end with
//!   SIGSYS at their first call.
//!
//! seccomp(2); systemd.exec(5) SystemCallFilter has most of these in its groups.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

const REFUSED: &[i64] = &[
    // What is mounted where.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    // Another kernel, or more of it.
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    // Memory, files and keys of others.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // What kernels were broken into by.
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The clock.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    // The hardware.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    // Other namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
];

/// Flags of `clone` that make a namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The same calls by the numbers of x32, another way into the same kernel.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Sets no_new_privs and the filter for this thread, and all that come of it.
pub(super) fn install() -> io::Result<()> {
    for (rules, errno) in [(refused(), libc::EPERM), (without_clone3(), libc::ENOSYS)] {
        seccompiler::apply_filter(&program(rules, errno)).map_err(io::Error::other)?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused() -> Rules {
    let mut rules: Rules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let flags = (0..32).map(|bit| 1u64 << bit).filter(|flag| NAMESPACES as u64 & flag != 0);
    rules.insert(libc::SYS_clone, flags.map(namespace).collect());
    #[cfg(target_arch = "x86_64")]
    rules.extend(rules.clone().into_iter().map(|(call, rules)| (call | X32, rules)));
    rules
}

fn without_clone3() -> Rules {
    [(libc::SYS_clone3, Vec::new())].into()
}

/// `clone` with this flag.
fn namespace(flag: u64) -> SeccompRule {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .expect("clone has an argument")
}

fn program(rules: Rules, errno: libc::c_int) -> BpfProgram {
    let architecture = std::env::consts::ARCH.try_into();
    let architecture = architecture.expect("AF_XDP drivers and this filter have the same architectures");
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)
        .and_then(BpfProgram::try_from)
        .expect("the list above makes a filter of a few hundred instructions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    /// What a call answers that is made with no arguments, on a thread that has the filter.
    fn answer(call: i64) -> Errno {
        let made = std::thread::spawn(move || {
            install().unwrap();
            // SAFETY: all arguments are 0: what of these calls takes a pointer refuses it.
            unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) };
            Errno::last()
        });
        made.join().unwrap()
    }

    #[test]
    fn every_call_of_the_list_is_refused() {
        for &call in REFUSED {
            assert_eq!(answer(call), Errno::EPERM, "system call {call}");
        }
        assert_eq!(answer(libc::SYS_clone3), Errno::ENOSYS);
    }

    #[test]
    fn a_thread_a_program_and_a_script_start_as_ever_and_no_namespace_does() {
        let ran = std::thread::spawn(|| {
            install().unwrap();
            let thread = std::thread::spawn(|| 1).join().unwrap();
            let script = std::process::Command::new("/bin/sh").args(["-c", "echo $(id -u) | cat"]).output();
            let call = libc::SYS_clone;
            // SAFETY: refused before anything is made; else a child that ends at once.
            let child = unsafe { libc::syscall(call, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0) };
            if child == 0 {
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            (thread, script.unwrap().status.success(), child, Errno::last())
        });
        assert_eq!(ran.join().unwrap(), (1, true, -1, Errno::EPERM));
    }
}

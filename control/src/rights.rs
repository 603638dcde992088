//! What a run needs, and what of it is given up when: a director meets strangers' packets and operators' scripts, and what it
//! cannot do, neither of them can make it do.
//!
//! In this order: [`enter`], before there is a second thread, gives up all that no start needs, for good, and with it the right to
//! regain any of it. Then each thread gives up what only the start needed: the VRRP threads by [`keep`] as soon as
//! they run, the control thread by [`settle`] when everything stands, and the workers everything, and nearly all system calls
//! too (`shunt_dataplane::confine`).
//!
//! *Invariants*
//! - capabilities are a thread's, and a new thread has those of the one that starts it: whoever starts one knows
//!   what that leaves it;
//! - nothing is regained: `no_new_privs` holds for all that is executed, programs of the operator's included, unless
//!   he has said otherwise ([`Scripts::GainRights`]);
//! - [`START`] is what the unit of systemd allows.
//!
//! capabilities(7), prctl(2) PR_SET_NO_NEW_PRIVS, seccomp(2).

mod filter;

use std::fmt;
use std::io;
use std::sync::OnceLock;

use caps::{CapSet, Capability, CapsHashSet};

use crate::error::Error;

/// Those without which there is no run, with what each is for.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN (addresses, neighbours, attaching XDP)"),
    (Capability::CAP_NET_RAW, "CAP_NET_RAW (AF_XDP sockets)"),
    (Capability::CAP_BPF, "CAP_BPF (loading the XDP program)"),
];

/// All that a start may use: the unit of systemd allows these and no others.
pub const START: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    // Frames lie in locked memory.
    Capability::CAP_IPC_LOCK,
    // VRRP runs before all that is not real-time.
    Capability::CAP_SYS_NICE,
    // The group of the control socket.
    Capability::CAP_SETGID,
    // Programs run as their users, and are ended.
    Capability::CAP_SETUID,
    Capability::CAP_KILL,
];

/// The control thread: addresses and neighbours, checks' sockets, the XDP program of `shunt explain`.
const CONTROL: &[Capability] =
    &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_BPF, Capability::CAP_IPC_LOCK];
/// The same, if programs of the operator's are run.
const PROGRAMS: &[Capability] = &[Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];

/// The thread of VRRP: it opens packet sockets.
pub const VRRP: &[Capability] = &[Capability::CAP_NET_RAW];
/// The one that holds the addresses: they, virtual MACs, and VRRP's raw sockets.
pub const HOLDER: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
/// Threads for what may hang: files and names; and `shunt explain` loads its program there.
pub const HELPER: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_IPC_LOCK];
/// The guard takes addresses away.
pub const GUARD: &[Capability] = &[Capability::CAP_NET_ADMIN];
/// The log.
pub const NOTHING: &[Capability] = &[];

/// What programs of the operator's may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scripts {
    /// Nothing more than their user, and never more than the director.
    #[default]
    Confined,
    /// What their files or `sudo` make of them, up to all that this process was started with.
    GainRights,
}

/// What became of the rights for programs when the start was over: whether the control thread has them.
static SETTLED: OnceLock<bool> = OnceLock::new();

/// Checks that this process has what a run needs.
///
/// # Errors
/// Names what is missing.
pub fn require() -> Result<(), Error> {
    match missing_here() {
        names if names.is_empty() => Ok(()),
        names => Err(Error::Rights(names.join(", "))),
    }
}

/// What a run needs and this process has not, with what each is for.
pub fn missing_here() -> Vec<&'static str> {
    NEEDED.iter().filter(|(capability, _)| !has(*capability)).map(|(_, name)| *name).collect()
}

/// Whether this thread has a capability in force.
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// The first step of a run, before there is any other thread: gives up what no start needs, the way back to it, and the system
/// calls that neither shunt nor a script of an operator has a use for.
///
/// # Errors
/// The kernel refuses a seccomp filter.
pub fn enter(scripts: Scripts) -> io::Result<()> {
    if scripts == Scripts::Confined {
        // Without this right (not root) it stays as it is; no_new_privs keeps anybody from using it.
        if has(Capability::CAP_SETPCAP) {
            for capability in caps::all().into_iter().filter(|capability| !START.contains(capability)) {
                // One that the kernel does not know, this process does not have.
                let _ = caps::drop(None, CapSet::Bounding, capability);
            }
        }
        filter::install()?;
    }
    keep(START)
}

/// Gives up all capabilities of this thread but these. What a program gets that it executes as an ordinary user: none.
///
/// # Errors
/// None that this process can cause: giving up is always allowed.
pub fn keep(wanted: &[Capability]) -> io::Result<()> {
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: CapsHashSet = wanted.iter().copied().filter(|capability| held.contains(capability)).collect();
    // Ambient ones go with the inheritable.
    caps::clear(None, CapSet::Inheritable)
        .and_then(|()| caps::set(None, CapSet::Effective, &kept))
        .and_then(|()| caps::set(None, CapSet::Permitted, &kept))
        .map_err(io::Error::other)
}

/// The last step of a start, on the control thread: gives up what only the start needed. `programs`: the configuration has some
/// to run.
///
/// # Errors
/// As [`keep`].
pub fn settle(programs: bool) -> io::Result<Kept> {
    let users: &[Capability] = if programs { PROGRAMS } else { NOTHING };
    keep(&[CONTROL, users].concat())?;
    let _ = SETTLED.set(programs);
    Ok(Kept(caps::read(None, CapSet::Permitted).map_err(io::Error::other)?))
}

/// Whether programs of the operator's can be run as their users: not if there were none at the start.
pub fn may_run_programs() -> bool {
    SETTLED.get() != Some(&false)
}

/// What this thread executes next has a capability, also if it is no root's: a program of shunt's own. Until what is returned
/// is dropped.
pub fn lend(capability: Capability) -> Lent {
    let lend = || {
        caps::raise(None, CapSet::Inheritable, capability)?;
        caps::raise(None, CapSet::Ambient, capability)
    };
    // Root has no need of it, and others that have not got it can do without: they could not have taken an address.
    let _ = lend();
    Lent(())
}

/// See [`lend`].
pub struct Lent(());

impl Drop for Lent {
    fn drop(&mut self) {
        // Ambient ones go with the inheritable.
        caps::clear(None, CapSet::Inheritable).expect("capabilities can always be given up");
    }
}

/// What the control thread has kept.
pub struct Kept(CapsHashSet);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |kept: &CapsHashSet| {
            let names = START.iter().filter(|capability| kept.contains(capability));
            names.map(|capability| short(*capability)).collect::<Vec<_>>().join(" ")
        };
        let own = |role: &[Capability]| names(&role.iter().copied().filter(|c| self.0.contains(c)).collect());
        write!(
            f,
            "rights: the control thread keeps {}; VRRP {} and {}; workers none, and only the system calls of their loop",
            names(&self.0),
            own(VRRP),
            own(HOLDER)
        )
    }
}

/// `NET_ADMIN`.
fn short(capability: Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rights are a thread's: whatever a test gives up, it gives up on a thread of its own.
    fn apart<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    #[test]
    fn the_unit_of_systemd_allows_what_a_start_may_use_and_nothing_else() {
        let unit = include_str!("../../configs/systemd/shunt.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let mut allowed: Vec<String> = line.unwrap().split_whitespace().map(str::to_owned).collect();
        let mut used: Vec<String> = START.iter().map(Capability::to_string).collect();
        allowed.sort();
        used.sort();
        assert_eq!(allowed, used);
    }

    #[test]
    fn a_start_may_use_what_a_run_needs_and_no_thread_keeps_more() {
        for (capability, name) in NEEDED {
            assert!(name.starts_with(&format!("{capability} (")), "{name}");
        }
        let needed: Vec<Capability> = NEEDED.map(|(capability, _)| capability).into();
        for part in [&needed[..], CONTROL, PROGRAMS, VRRP, HOLDER, HELPER, GUARD] {
            assert!(part.iter().all(|capability| START.contains(capability)), "{part:?}");
        }
    }

    #[test]
    fn what_is_not_kept_is_gone_for_good() {
        let (kept, regained) = apart(|| {
            keep(&[Capability::CAP_NET_RAW]).unwrap();
            let regained = caps::set(None, CapSet::Effective, &START.iter().copied().collect());
            (START.iter().copied().filter(|c| has(*c)).collect::<Vec<_>>(), regained.is_ok())
        });
        assert_eq!((kept, regained), (vec![Capability::CAP_NET_RAW], false));
    }

    #[test]
    fn an_ordinary_user_lacks_all() {
        let missing = apart(|| {
            keep(NOTHING).unwrap();
            (missing_here().len(), require().is_err())
        });
        assert_eq!(missing, (NEEDED.len(), true));
        assert_eq!(missing_here().len(), 0, "the tests run as root");
    }

    #[test]
    fn what_is_lent_is_taken_back() {
        let (lent, after) = apart(|| {
            let ambient = || caps::has_cap(None, CapSet::Ambient, Capability::CAP_NET_ADMIN).unwrap();
            let lent = lend(Capability::CAP_NET_ADMIN);
            let before = ambient();
            drop(lent);
            (before, ambient())
        });
        assert!(lent && !after);
    }

    #[test]
    fn what_is_kept_is_said_by_name() {
        let kept = Kept([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW].into_iter().collect());
        assert_eq!(
            kept.to_string(),
            "rights: the control thread keeps NET_ADMIN NET_RAW; VRRP NET_RAW and NET_ADMIN NET_RAW; workers none, and \
             only the system calls of their loop"
        );
    }
}

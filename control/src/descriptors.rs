//! How many files shunt may have open: each check has one socket while its probe runs, and nothing between two probes.
//! The usual soft limit of 1024 is less than a thousand checks need that all time out.
//!
//! *Invariants*
//! - programs that shunt runs have the limit that shunt was started with: some walk through all numbers up to the limit,
//!   and `select` knows none from 1024 on.

use std::io;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft limit before it was raised.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of open files to the hard one; the limit now.
///
/// # Errors
/// The kernel refuses, which it does not as long as the hard limit stays.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    BEFORE.get_or_init(|| soft);
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// The soft and hard limit for a program that shunt runs; none: it has the right one anyway.
pub fn limit_of_programs() -> Option<libc::rlimit> {
    let soft = *BEFORE.get()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_hard_one_after_it_was_raised_and_programs_get_the_old_one() {
        let before = getrlimit(Resource::RLIMIT_NOFILE).unwrap().0;
        let limit = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
        raise_limit().unwrap();
        let programs = limit_of_programs().unwrap();
        // Another test may have raised it first.
        assert!(programs.rlim_cur == *BEFORE.get().unwrap() && programs.rlim_cur <= before);
    }
}

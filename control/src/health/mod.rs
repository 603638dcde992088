//! Health of the real servers: the same check of the same address is made once, however many services ask for it.
//!
//! From the outside in: [`Runner`] makes the checks and tells when a status changes, `schedule` says when, [`Health`]
//! decides what a row of results means, and there is one file or folder per kind of probe, over the sockets of `socket`.
//! What reads a stranger's bytes is apart from what receives them ([`answers`]). Beside them [`PassiveHealth`] judges by
//! what clients see.
//!
//! *Invariants*
//! - a status changes only by results of probes, by the rules of [`Health`];
//! - a probe that failed for want of resources on the director says nothing about the real server and does not
//!   count: a director short of file descriptors must not take every server out;
//! - a probe is over within its timeout, or twice that where a connection and an answer have it each, whatever the
//!   server does, and keeps no more of what it says than a bound that is written at each kind.

mod dns;
pub(crate) mod file;
mod http;
mod passive;
mod ping;
mod probe;
mod runner;
mod schedule;
mod script;
mod smtp;
mod socket;
mod state;
mod tcp;
mod tls;
mod udp;
pub mod vip;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{Equivalent, HashMap};

use crate::model::HealthCheck;
pub use passive::{Facts, Handshakes, Out, PassiveHealth, RealKey};
pub use runner::{Event, Runner};
pub use state::{Health, Status};

/// What reads the answers of servers, for the fuzzers.
#[doc(hidden)]
pub mod answers {
    pub use super::dns::message::{Question, Verdict};
    pub use super::http::answer::{Answer, LONGEST_BODY, LONGEST_HEAD, LONGEST_KEPT, Whole};
    pub use super::ping::echo::Echo;
    pub use super::smtp::conversation::{Conversation, LONGEST_LINE, MOST_LINES, Turn};
}

/// One check of one address: what the services that ask for it share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckKey {
    /// The real server's own address.
    pub address: IpAddr,
    /// How it is checked.
    pub check: HealthCheck,
}

/// A [`CheckKey`], borrowed: at a change each check of many is asked for.
#[derive(Hash)]
struct Asked<'a>(IpAddr, &'a HealthCheck);

impl Equivalent<Arc<CheckKey>> for Asked<'_> {
    fn equivalent(&self, key: &Arc<CheckKey>) -> bool {
        self.0 == key.address && *self.1 == key.check
    }
}

/// The health of every check at one moment.
#[derive(Debug, Clone, Default)]
pub struct HealthView {
    checks: HashMap<Arc<CheckKey>, Health>,
}

/// A probe that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Success {
    /// What it says of the real server's weight.
    pub weight: Option<Weight>,
}

/// What a check says of the weight of its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It is this, whatever is configured.
    Set(u16),
    /// This is added to what is configured.
    Add(i32),
}

/// Why a probe failed, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The host is there, the server is not.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("timed out after {}", seconds(*.0))]
    TimedOut(Duration),
    /// The host does not answer ARP or neighbour solicitations, or a router says so.
    #[error("no route to host")]
    NoRoute,
    /// There is no route to its network.
    #[error("network is unreachable")]
    NetworkUnreachable,
    /// The peer ended the connection before it was one.
    #[error("connection reset")]
    Reset,
    /// This machine does not let the probe out: a `prohibit` route, a security module. (A firewall that drops it is
    /// a timeout: the kernel takes a lost SYN for one lost on the way.)
    #[error("not permitted: a route or rule of this machine forbids the probe")]
    NotPermitted,
    /// The director is short of something; this is not a result.
    #[error("the director could not probe: {0}")]
    Inconclusive(io::Error),
    /// It answers, but not what it should.
    #[error("{0}")]
    Wrong(String),
    /// Anything else the kernel answered.
    #[error("{0}")]
    Other(io::Error),
}

impl HealthView {
    /// The status of a check; one that does not run is `Unknown`.
    pub fn status(&self, key: &CheckKey) -> Status {
        self.of(key.address, &key.check).map_or(Status::Unknown, Health::status)
    }

    /// Everything known about a check, if it runs.
    pub fn health(&self, key: &CheckKey) -> Option<&Health> {
        self.of(key.address, &key.check)
    }

    /// Everything known about a check of a real server, if it runs.
    pub fn of(&self, address: IpAddr, check: &HealthCheck) -> Option<&Health> {
        self.checks.get(&Asked(address, check))
    }

    /// Every check that runs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&CheckKey, &Health)> {
        self.checks.iter().map(|(key, health)| (&**key, health))
    }
}

/// A view of the given facts, for tests of what reads one.
impl FromIterator<(CheckKey, Health)> for HealthView {
    fn from_iter<I: IntoIterator<Item = (CheckKey, Health)>>(checks: I) -> HealthView {
        checks.into_iter().map(|(key, health)| (Arc::new(key), health)).collect()
    }
}

impl FromIterator<(Arc<CheckKey>, Health)> for HealthView {
    fn from_iter<I: IntoIterator<Item = (Arc<CheckKey>, Health)>>(checks: I) -> HealthView {
        HealthView { checks: checks.into_iter().collect() }
    }
}

impl Failure {
    /// Whether it says something about the real server.
    pub fn counts(&self) -> bool {
        !matches!(self, Failure::Inconclusive(_))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Failure::Refused,
            Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => Failure::NoRoute,
            Some(libc::ENETUNREACH | libc::ENETDOWN) => Failure::NetworkUnreachable,
            Some(libc::ECONNRESET) => Failure::Reset,
            Some(libc::EPERM | libc::EACCES) => Failure::NotPermitted,
            Some(
                libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::EADDRNOTAVAIL
                | libc::EADDRINUSE,
            ) => Failure::Inconclusive(error),
            _ => Failure::Other(error),
        }
    }
}

/// "1 s", "250 ms", "1.5 s".
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_millis() as f64 / 1000.0)
    }
}

/// What no stranger guesses: the standard library's hash has a key from the kernel.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The way of a check that says nothing of it.
#[cfg(test)]
fn way_to(to: std::net::SocketAddr) -> socket::Way {
    let check = HealthCheck::new(crate::model::Probe::Tcp, to.port());
    socket::Way::of(&CheckKey { address: to.ip(), check })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_a_person_would() {
        let words: Vec<String> =
            [250, 1000, 1500, 60_000].map(|ms| seconds(Duration::from_millis(ms))).into();
        assert_eq!(words, ["250 ms", "1 s", "1.5 s", "60 s"]);
    }

    #[test]
    fn running_out_of_descriptors_says_nothing_about_the_server() {
        let failure = |errno| Failure::from(io::Error::from_raw_os_error(errno));
        assert!(!failure(libc::EMFILE).counts());
        assert!(failure(libc::ECONNREFUSED).counts());
        assert_eq!(failure(libc::EHOSTUNREACH).to_string(), "no route to host");
    }
}

//! What is tracked, and what it makes of a virtual router: a director that cannot do its work must not be active.
//!
//! [`Trackers`] runs scripts, reads files and counts processes, on the supervisor's runtime, so that none of them delays
//! an advert; what they find are [`Results`]. [`standings`] makes of those, of the links and of the addresses what each
//! virtual router may be; it is pure, and the thread of VRRP asks it whenever one of them changed.
//!
//! *Invariants*
//! - a router does not begin before everything that could be its fault is known (keepalived's INIT), unless something is
//!   known to be its fault;
//! - what is tracked never changes the priority of an owner (255), and never makes anybody one;
//! - a change of the configuration forgets no result of what is in both.
//!
//! Behaviour is keepalived's: keepalived.conf(5), "VRRP scripts", "VRRP track files", "VRRP track processes".

mod board;
mod file;
mod process;
mod runner;
mod script;
mod source;
mod standing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Tracked, Tracking, Vrrp};

pub use runner::Trackers;
pub use standing::standings;

/// What trackers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Results have changed: [`Trackers::results`] has them. No more of these until they are read.
    Changed,
}

/// What was found of everything that is tracked, but for interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Results {
    /// By the name of a [`crate::model::TrackScript`].
    pub scripts: BTreeMap<String, Health>,
    /// The number in each [`crate::model::TrackFile`]; one that was not read yet is missing.
    pub files: BTreeMap<String, i64>,
    /// Whether there are as many of each [`crate::model::TrackProcess`] as there should be; one that was not counted
    /// yet is missing.
    pub processes: BTreeMap<String, bool>,
    /// What the director's own work says.
    pub dataplane: Dataplane,
}

/// What a script says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Nothing yet.
    #[default]
    Waiting,
    /// All is well.
    Well,
    /// It is not, in words: `exited with status 1`.
    Failed(String),
}

/// How the director's own work goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// A worker stands still, in words.
    pub stalled: Option<String>,
    /// How long each interface of the director, by name, has received nothing.
    pub silent: BTreeMap<String, Duration>,
    /// A service has a real server that is up, or there are no services.
    pub real_server_up: bool,
}

impl Default for Dataplane {
    /// Nothing is wrong.
    fn default() -> Dataplane {
        Dataplane { stalled: None, silent: BTreeMap::new(), real_server_up: true }
    }
}

impl Vrrp {
    /// Whether a router or a group has `name` among what `list` is of its tracking.
    pub(crate) fn tracks(&self, name: &str, list: fn(&Tracking) -> &[Tracked]) -> bool {
        let routers = self.routers.iter().map(|router| &router.track);
        let mut all = routers.chain(self.groups.iter().map(|group| &group.track)).flat_map(list);
        all.any(|tracked| tracked.name == name)
    }
}

//! What checks through the VIP have found.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::diagnose::Finding;
use super::fault::Place;
use super::{Fault, Path, Subject};
use crate::health::{RealKey, Status};

/// What the last rounds through the VIP say of a real server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VipHealth {
    status: Status,
    since: Option<Instant>,
    last_round: Option<Instant>,
    fault: Option<Fault>,
    words: Option<String>,
    remedy: Option<String>,
    is_awaited: bool,
}

/// The health of every real server that is checked through a VIP.
#[derive(Debug, Clone, Default)]
pub struct VipView {
    healths: HashMap<RealKey, Arc<VipHealth>>,
}

impl VipView {
    /// What is known of a real server of a service, if it is checked.
    pub fn health(&self, key: &RealKey) -> Option<&VipHealth> {
        self.healths.get(key).map(Arc::as_ref)
    }
}

/// A view of the given facts, for the checks and for tests of what reads one.
impl FromIterator<(RealKey, Arc<VipHealth>)> for VipView {
    fn from_iter<I: IntoIterator<Item = (RealKey, Arc<VipHealth>)>>(healths: I) -> VipView {
        VipView { healths: healths.into_iter().collect() }
    }
}

impl VipHealth {
    /// Before the first round; `was_up`: by what was known so far it serves.
    pub(super) fn new(was_up: bool) -> VipHealth {
        let status = if was_up { Status::Up } else { Status::Unknown };
        VipHealth { status, ..VipHealth::default() }
    }

    /// Whether the real server serves the VIP. `Unknown`: before the first round, without a way to it, or if nothing can be
    /// said.
    pub fn status(&self) -> Status {
        self.status
    }

    /// When that, or the fault, last changed.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// When the last round ended.
    pub fn last_round(&self) -> Option<Instant> {
        self.last_round
    }

    /// What is wrong; with `Status::Up` it does not keep the server from serving.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What is wrong, or why nothing can be said, in a sentence.
    pub fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Whether the first round is under way.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Why it is not to take flows, unless its own checks see the same and judge it by the patience they have.
    pub fn down(&self, has_own_checks: bool) -> Option<&str> {
        let fault = self.fault.as_ref().filter(|_| self.status == Status::Down)?;
        (fault.is_of_the_vip() || !has_own_checks).then(|| self.words.as_deref().unwrap_or(fault.name()))
    }

    /// The first round begins.
    pub(super) fn await_first(&mut self) {
        self.is_awaited = self.status == Status::Unknown && self.last_round.is_none();
    }

    /// The way to it is lost: what was said of it is no longer known, but what kept it from serving may still be the
    /// reason.
    pub(super) fn lose_way(&mut self) {
        if self.status != Status::Down {
            *self = VipHealth { since: self.since, ..VipHealth::default() };
        }
    }

    /// The director cannot probe: nobody waits for it.
    pub(super) fn give_up(&mut self, why: String) {
        self.is_awaited = false;
        if self.status == Status::Unknown {
            self.words = Some(why);
        }
    }

    /// Takes in the finding of a round; whether anything is different now.
    pub(super) fn record(&mut self, now: Instant, subject: &Subject, path: &Path, finding: Finding) -> bool {
        let (status, fault) = match finding {
            Finding::Serves(fault) => (Status::Up, fault),
            Finding::Fails(fault) => (Status::Down, Some(fault)),
            Finding::Unclear => (Status::Unknown, None),
        };
        let name = |fault: &Option<Fault>| fault.as_ref().map(Fault::name);
        let is_changed = status != self.status || name(&fault) != name(&self.fault);
        let at =
            Place { vip: subject.vip, real: subject.real, port: subject.port(), interface: &path.interface };
        *self = VipHealth {
            status,
            since: if is_changed || self.since.is_none() { Some(now) } else { self.since },
            last_round: Some(now),
            words: match &fault {
                Some(fault) => Some(fault.words(at)),
                None if status == Status::Unknown => {
                    Some("it answers no ICMP echo, at no address: nothing can be said".to_owned())
                }
                None => None,
            },
            remedy: fault.as_ref().map(|fault| fault.remedy(at)),
            fault,
            is_awaited: false,
        };
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_the_director_could_not_make_says_nothing_of_the_server() {
        let mut health = VipHealth::new(true);
        health.give_up("Too many open files".to_owned());
        assert_eq!(health, VipHealth::new(true));
    }
}

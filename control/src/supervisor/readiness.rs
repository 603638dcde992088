//! When a director may take over from one that forwards: not before it can do as well. After its start, and after it was
//! cut off, it knows neither where its real servers are nor which flows the other one has begun meanwhile. VRRP alone would
//! let it take over within milliseconds, and it would answer the clients of real servers it has not found yet with RSTs.
//!
//! *Invariants*: a director that hears no other one waits for nothing; every wait has an end, but for the one of a router's
//! own interface to come up.

use std::time::{Duration, Instant};

use super::Supervisor;
use crate::compile::Standing;
use crate::link::{self, Change};

/// Real servers are waited for this long at most: one may be down for good.
const SETTLE: Duration = Duration::from_secs(5);

/// How ready it is.
#[derive(Debug)]
pub(super) struct Readiness {
    /// How it stands with real servers.
    reals: Reals,
    /// The flows of the others are here, or are not waited for.
    pub(super) synced: bool,
    /// A link of the director's own went or came: until then nothing is made of a real server that seems to have failed. What the
    /// kernel asked in vain it says seconds later, when all have been found again (NUD_PROBE: three times, a second apart).
    seeks_until: Option<Instant>,
    /// Whether that is so, as the workers know it.
    pub(super) was_seeking: bool,
    /// What the VRRP thread was told last.
    told: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reals {
    /// An interface that a router is on is down.
    Cut,
    /// They are looked for.
    Sought { until: Instant },
    /// All were up, or it was waited for long enough.
    Found,
}

impl Readiness {
    /// At the start.
    pub(super) fn new(now: Instant) -> Readiness {
        let reals = Reals::Sought { until: now + SETTLE };
        Readiness { reals, synced: true, seeks_until: None, was_seeking: false, told: None }
    }

    /// An interface went down, `by_router` if a router is on it.
    fn cut(&mut self, now: Instant, by_router: bool) {
        self.reals = if by_router { Reals::Cut } else { Reals::Sought { until: now + SETTLE } };
        self.seeks_until = Some(now + SETTLE);
    }

    /// An interface came up.
    fn mend(&mut self, now: Instant) {
        self.reals = Reals::Sought { until: now + SETTLE };
        self.seeks_until = Some(now + SETTLE);
    }

    /// Whether real servers are sought that a link of the director's own has hidden.
    pub(super) fn is_seeking(&mut self, now: Instant) -> bool {
        self.seeks_until = self.seeks_until.filter(|until| now < *until);
        self.seeks_until.is_some()
    }

    /// Whether it may take over, if that is not what was said last.
    fn news(&mut self, now: Instant, all_up: impl FnOnce() -> bool) -> Option<bool> {
        if let Reals::Sought { until } = self.reals
            && (now >= until || all_up())
        {
            self.reals = Reals::Found;
        }
        let may = self.synced && self.reals == Reals::Found;
        (self.told.replace(may) != Some(may)).then_some(may)
    }
}

impl Supervisor {
    /// Tells the thread if there is something new; whether there is for workers. To be called after what is known was compiled.
    pub(super) fn follow_readiness(&mut self) -> bool {
        // What was said is of the last compilation: not of what has come in since.
        let all_up = || !self.affected.is_due() && self.said.values().all(Standing::is_up);
        if let Some(may) = self.readiness.news(Instant::now(), all_up) {
            self.vrrp.allow_preempt(may);
        }
        self.readiness.was_seeking != self.readiness.is_seeking(Instant::now())
    }

    /// A link of the director's own went or came.
    pub(super) fn follow_link_of_readiness(&mut self, event: &link::Event) {
        let (name, now) = (&event.link.name, Instant::now());
        if !matches!(event.change, Change::Up | Change::Down) {
            return;
        }
        let vrrp = &self.loaded.model.vrrp;
        let is_of_sync = vrrp.sync.as_ref().is_some_and(|sync| sync.interface == *name);
        let by_router = vrrp.routers.iter().any(|router| router.interface == *name);
        if let (Some(sync), true) = (&mut self.sync, is_of_sync) {
            sync.rejoin(now);
            self.readiness.synced = false;
        }
        if self.survey.interfaces.iter().any(|link| link.index == event.link.index) {
            if event.change == Change::Down {
                self.readiness.cut(now, by_router);
            } else {
                self.readiness.mend(now);
                // Else it would ask again only when the last attempt, in vain, is a second old.
                self.neighbors.revalidate_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_all_real_servers_are_up_or_were_waited_for() {
        let now = Instant::now();
        let mut ready = Readiness::new(now);
        assert_eq!(ready.news(now, || false), Some(false));
        assert_eq!(ready.news(now, || false), None);
        assert_eq!(ready.news(now, || true), Some(true));
        assert_eq!(ready.news(now, || false), None, "one that fails later takes nothing back");

        let mut ready = Readiness::new(now);
        assert_eq!(ready.news(now + SETTLE, || false), Some(true));
    }

    #[test]
    fn a_cut_lasts_until_it_is_mended_and_real_servers_are_found_again() {
        let now = Instant::now();
        let mut ready = Readiness::new(now);
        assert_eq!(ready.news(now, || true), Some(true));
        assert!(!ready.is_seeking(now));
        ready.cut(now, true);
        assert!(ready.is_seeking(now));
        assert_eq!(ready.news(now + 100 * SETTLE, || true), Some(false));
        ready.mend(now + 100 * SETTLE);
        assert_eq!(ready.news(now + 100 * SETTLE, || false), None);
        assert!(ready.is_seeking(now + 100 * SETTLE), "since it was mended");
        assert_eq!(ready.news(now + 100 * SETTLE, || true), Some(true));
        assert!(ready.is_seeking(now + 100 * SETTLE) && !ready.is_seeking(now + 101 * SETTLE));
        ready.cut(now, false);
        assert_eq!(ready.news(now, || false), Some(false));
        assert_eq!(ready.news(now + SETTLE, || false), Some(true), "no router is on it: not for ever");
    }

    #[test]
    fn flows_of_others_are_waited_for_beside_real_servers() {
        let now = Instant::now();
        let mut ready = Readiness::new(now);
        ready.synced = false;
        assert_eq!(ready.news(now, || true), Some(false));
        ready.synced = true;
        assert_eq!(ready.news(now, || true), Some(true));
    }
}

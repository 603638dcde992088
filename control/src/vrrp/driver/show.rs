//! Makes the view.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Driver, Own, SHOWN, SHOWN_BUSY, Shadow};
use crate::model::VirtualRouter;
use crate::vrrp::view::{
    ActiveView, ChangeView, Counters, GroupView, RejectedView, RivalView, RouterView, View,
};
use crate::vrrp::{Rejection, RouterId, State};

/// The view is so old at most.
const LAG: Duration = SHOWN;

impl Driver {
    /// Renews the view when it is due.
    pub(super) fn show(&mut self, now: Instant) {
        let age = self.shown.map(|shown| now.saturating_duration_since(shown));
        let fresh = age.is_some_and(|age| age < if self.changed { SHOWN_BUSY } else { SHOWN });
        if fresh {
            return;
        }
        (self.shown, self.changed) = (Some(now), false);
        self.look_for_shadows(now);
        let routers = self.vrrp.routers.iter().zip(&self.own).enumerate();
        let routers: Vec<RouterView> =
            routers.map(|(n, (router, own))| self.router_view(now, RouterId(n), router, own)).collect();
        let groups = self.vrrp.groups.iter().map(|group| {
            let mut states = routers
                .iter()
                .filter(|router| group.members.contains(&router.name))
                .map(|router| router.state);
            let first = states.next();
            GroupView {
                name: group.name.clone(),
                state: first.filter(|first| states.all(|state| state == *first)),
                members: group.members.clone(),
            }
        });
        let view = View {
            groups: groups.collect(),
            lateness: self.lateness.summary(),
            unknown_vrid: self.inbox.unknown(),
            routers,
        };
        *self.view.lock().expect("no holder of this lock panics") = Arc::new(view);
    }

    /// Two are active at once also where neither takes the other's adverts.
    fn look_for_shadows(&mut self, now: Instant) {
        for (n, (router, own)) in self.vrrp.routers.iter().zip(&mut self.own).enumerate() {
            let (status, counts) = (self.routers.status(RouterId(n)), self.inbox.counts(RouterId(n)));
            let silence = status.interval * u32::from(router.down_timer_adverts) + LAG;
            let refused: u64 = counts.rejected.iter().sum();
            let last = counts.last_rejected.as_ref().filter(|(when, _, reason, _)| {
                let recent = now.saturating_duration_since(*when) < silence && *when >= status.since;
                status.state == State::Active && reason.is_of_a_director() && recent
            });
            own.deaf_to = last.map(|(when, source, ..)| match own.deaf_to {
                Some(shadow) => {
                    Shadow { source: *source, last: *when, adverts: refused - shadow.before, ..shadow }
                }
                None => {
                    Shadow { source: *source, since: *when, last: *when, before: refused - 1, adverts: 1 }
                }
            });
        }
    }

    fn router_view(&self, now: Instant, id: RouterId, router: &VirtualRouter, own: &Own) -> RouterView {
        let ago = |then: Instant| now.saturating_duration_since(then).as_secs_f64();
        let status = self.routers.status(id);
        let counts = self.inbox.counts(id);
        let rejected = Rejection::ALL.iter().zip(counts.rejected).filter(|(_, count)| *count > 0);
        RouterView {
            name: router.name.clone(),
            interface: router.interface.clone(),
            vrid: router.vrid,
            version: router.version.number(),
            state: status.state.word(),
            since_seconds: ago(status.since),
            priority: status.priority,
            configured_priority: router.priority,
            fault: status.fault.clone(),
            active: status.active.map(|(address, priority, heard)| ActiveView {
                address,
                priority,
                seconds_ago: ago(heard),
            }),
            interval_seconds: status.interval.as_secs_f64(),
            addresses: router
                .all_addresses()
                .map(|address| format!("{}/{}", address.address, address.prefix_len))
                .collect(),
            holds: own.holds && own.ticket <= self.done,
            unsent: own.unsent.clone(),
            counters: Counters {
                adverts_sent: status.adverts_sent,
                adverts_received: counts.accepted,
                checksum_message_only: counts.checksum_message_only,
                rejected: counts.rejected.iter().sum(),
                priority_zero_sent: status.priority_zero_sent,
                priority_zero_received: status.priority_zero_received,
                transitions: status.transitions,
                rivals: status.rivals,
            },
            rejected: rejected.map(|(reason, count)| (reason.name(), count)).collect(),
            last_rejected: counts.last_rejected.as_ref().map(|(when, source, reason, sentence)| {
                RejectedView {
                    source: *source,
                    reason: reason.name(),
                    sentence: sentence.clone(),
                    seconds_ago: ago(*when),
                }
            }),
            rival: match (&status.rival, &own.deaf_to) {
                (Some(rival), _) => Some(RivalView {
                    source: rival.source,
                    priority: Some(rival.priority),
                    seconds: ago(rival.since),
                    seconds_ago: ago(rival.last),
                    adverts: rival.adverts,
                }),
                (None, Some(shadow)) => Some(RivalView {
                    source: shadow.source,
                    priority: None,
                    seconds: ago(shadow.since),
                    seconds_ago: ago(shadow.last),
                    adverts: shadow.adverts,
                }),
                (None, None) => None,
            },
            last_change: status.last_change.as_ref().map(|(from, to, cause)| ChangeView {
                from: from.word(),
                to: to.word(),
                cause: cause.to_string(),
            }),
            worst_lateness_us: own.worst.as_micros().try_into().unwrap_or(u64::MAX),
        }
    }
}

//! What is known is compiled and made current; who came and went is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::Supervisor;
use crate::compile::{self, Inputs, Standing, compile};
use crate::error::Error;
use crate::health::vip::VipView;
use crate::health::{Facts as ClientFacts, HealthView, RealKey};
use crate::link::Link;
use crate::model::{Model, RealServer, ServiceKey, VirtualService};
use crate::neighbor::NeighborView;
use crate::news::{self, Standings};
use crate::quorum::{self, Quorums};
use crate::slow_start::SlowStart;

/// What the watches know at one moment.
pub(super) struct Views {
    pub(super) links: Arc<BTreeMap<u32, Link>>,
    pub(super) health: HealthView,
    pub(super) vips: VipView,
    pub(super) neighbors: Arc<NeighborView>,
}

/// What follows from what is known at one moment.
pub(super) struct Outlook {
    /// How each real server stands.
    pub(super) standings: Standings,
    pub(super) slow_start: SlowStart,
    pub(super) quorums: Quorums,
    /// Which quorums are gained and lost.
    pub(super) changes: Vec<quorum::Change>,
}

impl Supervisor {
    pub(super) fn views(&self) -> Views {
        Views {
            links: self.links.view(),
            health: self.checks.view(),
            vips: self.vip_checks.view(),
            neighbors: self.neighbors.view(),
        }
    }

    /// All that decides what is forwarded where.
    pub(super) fn inputs<'a>(&'a self, views: &'a Views) -> Inputs<'a> {
        Inputs {
            model: &self.loaded.model,
            survey: &self.survey,
            links: &views.links,
            health: &views.health,
            neighbors: &views.neighbors,
            vips: &views.vips,
            passive: &self.passive,
            quorums: &self.quorums,
            slow_start: &self.slow_start,
            is_ready: self.is_ready,
            is_seeking: self.readiness.was_seeking,
        }
    }

    /// Compiles what is known now, makes it current, and tells who came and went.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        self.make_current()?;
        self.tell();
        Ok(())
    }

    pub(super) fn tell(&mut self) {
        for news in self.untold.drain(..) {
            self.notifier.tell(news);
        }
    }

    /// Compiles what is known now and makes it current; says which real servers came and went.
    pub(super) fn make_current(&mut self) -> Result<(), Error> {
        self.readiness.was_seeking = self.readiness.is_seeking(Instant::now().into_std());
        self.follow_ways();
        let views = self.views();
        let Outlook { standings, slow_start, quorums, changes } = self.outlook(self.inputs(&views));
        (self.slow_start, self.quorums) = (slow_start, quorums);
        let state = compile(self.inputs(&views), self.plane.state(), self.plane.workers().len())?;
        self.plane.publish(state).map_err(Error::Steer)?;
        for (service, real) in self.reals() {
            let key = (service.key, real.address);
            let (before, standing) = (self.said.get(&key), &standings[&key]);
            if before != Some(standing) {
                say(service.key, real, before, standing);
            }
        }
        for change in &changes {
            self.say_quorum(change);
        }
        let model = &self.loaded.model;
        self.untold.extend(news::of_reals(model, &self.said, &standings));
        self.untold.extend(news::of_quorums(model, &changes, self.is_ready));
        self.said = standings;
        Ok(())
    }

    /// What follows from what is known; nothing changes by it.
    pub(super) fn outlook(&self, inputs: Inputs<'_>) -> Outlook {
        let standings: Standings = reals(inputs.model)
            .map(|(service, real)| ((service.key, real.address), inputs.standing(service, real)))
            .collect();
        let up = |standings: &Standings, key: &RealKey| standings.get(key).is_some_and(Standing::is_up);
        let mut slow_start = self.slow_start.clone();
        // Before the start is over all are equally cold.
        let was_up = |key: &RealKey| !self.is_ready || self.was_up(key);
        let now = Instant::now().into_std();
        slow_start.follow(now, inputs.model, was_up, |key| up(&standings, key));
        slow_start.advance(now);
        let mut quorums = self.quorums.clone();
        let standing = |service: &VirtualService, real: &RealServer| &standings[&(service.key, real.address)];
        let changes = quorums
            .follow(inputs.model, |service| inputs.alive(service, |real| standing(service, real).clone()));
        Outlook { standings, slow_start, quorums, changes }
    }

    pub(super) fn say_quorum(&self, change: &quorum::Change) {
        let services = &self.loaded.model.services;
        let Some(service) = services.iter().find(|service| service.key == change.service) else { return };
        match change.gained {
            true => tracing::info!("{}", change.sentence),
            false => tracing::warn!("{}", change.sentence),
        }
        if let Some(sorry) = &service.quorum.sorry {
            let (service, sorry) = (service.key, sorry.server.address);
            match change.gained {
                true if change.first => {}
                true => tracing::info!("the sorry server {sorry} of {service} answers no more"),
                false => tracing::warn!("the sorry server {sorry} of {service} answers now"),
            }
        }
    }

    /// Checks through VIPs take the ways that forwarded frames take now.
    pub(super) fn follow_ways(&mut self) {
        let views = self.views();
        let wanted: Vec<_> = compile::vip_checks(self.inputs(&views), |key| self.was_up(key)).collect();
        self.vip_checks.follow(wanted);
    }

    pub(super) fn reals(&self) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
        reals(&self.loaded.model)
    }

    /// What clients see of the real servers, and whose start is a step further: published if that changes anything.
    pub(super) fn watch_clients_and_starts(&mut self) -> Result<(), Error> {
        let now = Instant::now().into_std();
        let mut changed = self.slow_start.advance(now);
        if self.loaded.model.services.iter().any(|service| service.passive.is_some())
            || !self.passive.is_empty()
        {
            let views = self.views();
            let inputs = self.inputs(&views);
            let mut passive = self.passive.clone();
            changed |= passive.observe(now, &self.loaded.model, |service, real| {
                let handshakes = compile::handshakes(inputs.compiled(self.plane.state(), service, real)?);
                let is_up = real.weight > 0 && inputs.standing_but_for_clients(service, real).is_up();
                Some(ClientFacts { handshakes, is_up })
            });
            self.passive = passive;
        }
        if changed { self.publish() } else { Ok(()) }
    }
}

fn reals(model: &Model) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
    let services = model.services.iter();
    services.flat_map(|service| service.reals.iter().map(move |real| (service, real)))
}

fn say(service: ServiceKey, real: &RealServer, before: Option<&Standing>, now: &Standing) {
    let (inhibit, real) = (real.inhibit, real.address);
    match (before, now) {
        (Some(Standing::Up), Standing::Up) | (_, Standing::Waiting(_)) => {}
        (_, Standing::Up) => tracing::info!("real server {real} of {service} is up"),
        (_, Standing::Down(why)) if inhibit => {
            tracing::warn!("real server {real} of {service} is down, and keeps the flows it has: {why}");
        }
        (_, Standing::Down(why)) => tracing::warn!("real server {real} of {service} is down: {why}"),
    }
}

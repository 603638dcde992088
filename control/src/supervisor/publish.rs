//! What is known is compiled and made current; who came and went is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use shunt_dataplane::forwarding::Builder;
use tokio::time::Instant;

use super::Supervisor;
use super::affected::Affected;
use crate::compile::{self, Inputs, Standing};
use crate::error::Error;
use crate::health::vip::VipView;
use crate::health::{Facts as ClientFacts, HealthView, RealKey};
use crate::link::Link;
use crate::model::{RealServer, ServiceKey, VirtualService};
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

/// The links and neighbours by which checks through VIPs were told their ways.
pub(super) type Followed = (Arc<BTreeMap<u32, Link>>, Arc<NeighborView>);

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

    /// As [`Supervisor::publish`], where it is known whom it concerns what has come in.
    pub(super) fn publish_affected(&mut self) -> Result<(), Error> {
        self.make_current_of(self.affected.places(&self.loaded.model))?;
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
        self.followed = None;
        self.make_current_of(None)
    }

    /// As [`Supervisor::make_current`]; `places`: the services that anything has changed for, none: all.
    fn make_current_of(&mut self, places: Option<Vec<usize>>) -> Result<(), Error> {
        let began = Instant::now().into_std();
        self.affected = Affected::default();
        let was_seeking = self.readiness.was_seeking;
        self.readiness.was_seeking = self.readiness.is_seeking(began);
        // That concerns all, as does a state that was not built.
        let is_known = self.specs.len() == self.loaded.model.services.len();
        let places = places.filter(|_| is_known && was_seeking == self.readiness.was_seeking);
        self.follow_ways();
        let all = places.is_none();
        let places = places.unwrap_or_else(|| (0..self.loaded.model.services.len()).collect());
        let views = if all { self.views() } else { self.views_of(&places) };
        let Outlook { standings, slow_start, quorums, changes } =
            self.outlook(self.inputs(&views), if all { None } else { Some(&places) });
        (self.slow_start, self.quorums) = (slow_start, quorums);
        let mut specs = std::mem::take(&mut self.specs);
        let inputs = self.inputs(&views);
        if all {
            specs = inputs.specs();
        } else {
            places.iter().for_each(|place| specs[*place] = inputs.spec(&inputs.model.services[*place]));
        }
        let (ports, workers) = (self.survey.interfaces.len(), self.plane.workers().len());
        let state = Builder::after(self.plane.state(), workers, ports).build(&specs)?;
        self.specs = specs;
        if let Err(error) = self.plane.publish(state) {
            // The former configuration may come back, and nothing of this one is to be taken for its own.
            self.specs.clear();
            return Err(Error::Steer(error));
        }
        let model = &self.loaded.model;
        let services = || places.iter().map(|place| &model.services[*place]);
        for (service, real) in services().flat_map(reals_of) {
            let key = (service.key, real.address);
            let (before, standing) = (self.said.get(&key), &standings[&key]);
            if before != Some(standing) {
                say(service.key, real, before, standing);
            }
        }
        for change in &changes {
            self.say_quorum(change);
        }
        self.untold.extend(news::of_reals(model, services(), &self.said, &standings));
        self.untold.extend(news::of_quorums(model, &changes, self.is_ready));
        match all {
            true => self.said = standings,
            false => self.said.extend(standings),
        }
        self.pace.compiled(began, Instant::now().into_std());
        tracing::debug!("{} looked at, compiled and published in {:?}", places.len(), began.elapsed());
        Ok(())
    }

    /// What is known of the real servers of these services.
    fn views_of(&self, places: &[usize]) -> Views {
        let model = &self.loaded.model;
        let services = || places.iter().map(|place| &model.services[*place]);
        let key = |(service, real): (&VirtualService, &RealServer)| (service.key, real.address);
        Views {
            links: self.links.view(),
            health: self.checks.view_of(services().flat_map(compile::checks_of)),
            vips: self.vip_checks.view_of(services().flat_map(reals_of).map(key)),
            neighbors: self.neighbors.view(),
        }
    }

    /// What follows from what is known; nothing changes by it. `places`: the services that it is asked of, none: all.
    pub(super) fn outlook(&self, inputs: Inputs<'_>, places: Option<&[usize]>) -> Outlook {
        let services: Vec<&VirtualService> = match places {
            Some(places) => places.iter().map(|place| &inputs.model.services[*place]).collect(),
            None => inputs.model.services.iter().collect(),
        };
        let standings: Standings = services
            .iter()
            .copied()
            .flat_map(reals_of)
            .map(|(service, real)| ((service.key, real.address), inputs.standing(service, real)))
            .collect();
        // Who was not asked about stands as before.
        let is_up = |key: &RealKey| standings.get(key).map_or_else(|| self.was_up(key), Standing::is_up);
        let mut slow_start = self.slow_start.clone();
        // Before the start is over all are equally cold.
        let was_up = |key: &RealKey| !self.is_ready || self.was_up(key);
        let now = Instant::now().into_std();
        slow_start.follow(now, inputs.model, was_up, is_up);
        slow_start.advance(now);
        let mut quorums = self.quorums.clone();
        let standing = |service: &VirtualService, real: &RealServer| &standings[&(service.key, real.address)];
        let alive = |service: &VirtualService| inputs.alive(service, |real| standing(service, real).clone());
        let changes = match places {
            Some(_) => quorums.follow_some(services, alive),
            None => quorums.follow(inputs.model, alive),
        };
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
    fn follow_ways(&mut self) {
        let now = (self.links.view(), self.neighbors.view());
        let is_same =
            |(links, neighbors): &Followed| Arc::ptr_eq(links, &now.0) && Arc::ptr_eq(neighbors, &now.1);
        if self.followed.as_ref().is_some_and(is_same) {
            return;
        }
        // Of what is known only that counts here.
        let views = Views {
            links: now.0.clone(),
            neighbors: now.1.clone(),
            health: HealthView::default(),
            vips: VipView::default(),
        };
        let wanted: Vec<_> = compile::vip_checks(self.inputs(&views), |key| self.was_up(key)).collect();
        self.vip_checks.follow(wanted);
        self.followed = Some(now);
    }

    /// What clients see of the real servers, and whose start is a step further: published if that changes anything.
    pub(super) fn watch_clients_and_starts(&mut self) -> Result<(), Error> {
        let now = Instant::now().into_std();
        let steps = self.slow_start.advance(now);
        let mut changed = false;
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
        match (changed, steps) {
            (true, _) => self.publish(),
            (false, true) => {
                self.affected.pass_time();
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }
}

fn reals_of(service: &VirtualService) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
    service.reals.iter().map(move |real| (service, real))
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

//! How a configuration comes into force, and how one that cannot leaves no trace.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{Supervisor, metrics};
use crate::address::{self, Ownership, Vip};
use crate::config::{Fault, Faults, Loaded};
use crate::error::Error;
use crate::health::RealKey;
use crate::setup::needs_restart;
use crate::survey::{Survey, survey};
use crate::{compile, config, news, programs};

impl Supervisor {
    /// Makes the world follow the model: wanted neighbours and checks, forwarding state, VIPs.
    pub(super) async fn adopt(&mut self) -> Result<(), Error> {
        self.notifier.set(&self.loaded.model);
        self.checks.set_scripts(self.loaded.model.scripts.clone());
        self.watch();
        let wanted = self.wanted_vips().await?;
        // A VIP that goes is given up before its services are unsteered, one that comes is owned after they are
        // steered: the kernel never sees a frame for a VIP it owns.
        let held = self.vips.held();
        if !held.is_empty() {
            let stays = |vip: &Vip| wanted.contains(vip);
            self.claim(&held.into_iter().map(|(vip, _)| vip).filter(stays).collect::<Vec<_>>()).await?;
        }
        self.set_sync().map_err(|fault| Error::Config(std::iter::once(*fault).collect()))?;
        self.make_current()?;
        self.claim(&wanted).await?;
        self.set_vrrp();
        Ok(())
    }

    /// Has an eye on the real servers of what is in force, and of what may come back.
    pub(super) fn watch(&mut self) {
        let models = || self.applied.standby().into_iter().chain([(&self.loaded.model, &self.survey)]);
        self.neighbors.want(models().flat_map(|(model, survey)| compile::neighbors(model, survey)));
        // A server that is up stays up until its new check has said otherwise.
        let up = self.up();
        let wanted: Vec<_> = models().flat_map(|(model, _)| compile::checks(model)).collect();
        self.checks.set_assuming(wanted, |key| up.contains(&key.address));
    }

    /// The real servers that were up in any service, as far as it was said.
    pub(super) fn up(&self) -> HashSet<IpAddr> {
        let said = self.said.iter().filter(|(_, standing)| standing.is_up()).map(|(key, _)| key);
        said.chain(self.applied.up_before()).map(|(_, real)| *real).collect()
    }

    /// Whether a real server was up when it was last part of what is in force.
    pub(super) fn was_up(&self, key: &RealKey) -> bool {
        match self.said.get(key) {
            Some(standing) => standing.is_up(),
            None => self.applied.up_before().any(|before| before == key),
        }
    }

    /// Where each VIP of the model belongs that no virtual router has.
    pub(super) async fn wanted_vips(&self) -> Result<Vec<Vip>, Error> {
        let addresses = address::addresses(&self.netlink).await?;
        let interfaces = self.interfaces();
        // Nobody else adds or removes them.
        let of_routers = self.loaded.model.vrrp.addresses();
        let vips = self.loaded.model.services.iter().map(|service| service.key.vip);
        let vips = vips.filter(|vip| !of_routers.contains(vip));
        let mut wanted: Vec<Vip> = vips
            .filter_map(|address| {
                let index = address::interface_for(address, &interfaces, &addresses)?;
                Some(Vip { index, address })
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }

    pub(super) async fn claim(&mut self, wanted: &[Vip]) -> Result<(), Error> {
        let held: HashMap<Vip, Ownership> = self.vips.held().into_iter().collect();
        for claim in self.vips.claim(&self.interfaces(), wanted).await? {
            let name = self.name_of(claim.vip.index);
            let address = claim.vip.address;
            match claim.outcome {
                Ok(ownership) if held.get(&claim.vip) == Some(&ownership) => {}
                Ok(Ownership::Added) => tracing::info!("{address} added to {name}"),
                Ok(Ownership::Adopted) => {
                    tracing::info!("{address} on {name} was left by an earlier run of shunt: taken over");
                }
                Ok(Ownership::Found) => {
                    tracing::info!("{address} found on {name}: used, and left there at the end");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads the configuration again; what was changed while running is changed in what it says now, where that fits.
    /// Refused: says why, changes nothing.
    pub(super) async fn reload(&mut self) -> Result<String, String> {
        let (file, reading) = (self.options.config.clone(), self.options.reading.clone());
        let done = match read(move || config::load_with(&file, &reading)).await {
            Ok(loaded) => self.follow_file(loaded).await,
            Err(faults) => Err(Error::Config(faults)),
        };
        let (done, overridden) = done.map_err(|error| {
            let why = error.to_string();
            tracing::error!("the configuration is refused, the running one stays:\n{why}");
            why
        })?;
        tracing::info!("reloaded: {done}");
        Ok(done + &self.forget_applied() + &lines(&overridden))
    }

    /// Puts what a file says, with the changes made while running as far as they fit, in the place of what runs: what came of
    /// that, and of the changes that do not fit. After an error all is as it was.
    pub(super) async fn follow_file(&mut self, loaded: Loaded) -> Result<(String, Vec<String>), Error> {
        let (changes, overridden) = self.changes.over(loaded.model);
        self.bring_into_force(Loaded { model: changes.model(), ..loaded }).await?;
        self.changes = changes;
        for change in &overridden {
            tracing::warn!("overridden by the configuration: {change}");
        }
        let mut done = format!("generation {} in force", self.plane.state().generation());
        match self.changes.words().len() {
            0 => {}
            kept => done += &format!(", with {} made while running", config::counted(kept, "change")),
        }
        Ok((done, overridden))
    }

    /// Whether a configuration could come into force here and now: where it stands on this machine, and what is probably
    /// not meant.
    pub(super) async fn fit(&self, loaded: &Loaded) -> Result<(Survey, Vec<Fault>), Error> {
        let settled = needs_restart(&self.loaded.model, loaded);
        if !settled.is_empty() {
            return Err(Error::Config(settled));
        }
        let running = &self.survey.interfaces;
        let (survey, found) = survey(&self.netlink, &self.links.view(), loaded, running).await?;
        let programs = programs::examine(loaded).await.map_err(Error::Config)?;
        // The dataplane's ports are the interfaces of the start.
        let index = |survey: &Survey| survey.interfaces.iter().map(|link| link.index).collect::<Vec<_>>();
        if index(&survey) != index(&self.survey) {
            return Err(Error::OtherInterfaces);
        }
        let warnings = loaded.warnings.iter().chain(found.iter()).chain(programs.iter());
        Ok((survey, warnings.cloned().collect()))
    }

    /// Puts a model in the place of the one that runs. After an error all is as it was.
    pub(super) async fn bring_into_force(&mut self, loaded: Loaded) -> Result<(), Error> {
        let (survey, warnings) = self.fit(&loaded).await?;
        let step = metrics::prepare(&self.web, &loaded).await.map_err(Error::Config)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let before = self.said.clone();
        let (old_loaded, old_survey) =
            (std::mem::replace(&mut self.loaded, loaded), std::mem::replace(&mut self.survey, survey));
        let standings = (self.quorums.clone(), self.slow_start.clone());
        if let Err(error) = self.adopt().await {
            (self.loaded, self.survey) = (old_loaded, old_survey);
            // As if nothing had been: nobody is told, and who was up is up.
            self.untold.clear();
            self.said = before;
            (self.quorums, self.slow_start) = standings;
            if let Err(again) = self.adopt().await {
                tracing::error!("going back to the running configuration: {again}");
            }
            return Err(error);
        }
        self.web.follow(step);
        self.untold.extend(news::of_vrrp_end(&old_loaded.model, Some(&self.loaded.model)));
        self.untold.extend(news::of_removed(&old_loaded.model, &self.loaded.model, &before));
        self.tell();
        Ok(())
    }
}

/// What a file says, or all that is wrong with it. On a thread of its own: a large one holds up no check.
pub(super) async fn read(
    load: impl FnOnce() -> Result<Loaded, Faults> + Send + 'static,
) -> Result<Loaded, Faults> {
    tokio::task::spawn_blocking(load).await.expect("reading a configuration does not panic")
}

/// Changes that did not fit, a line each.
pub(super) fn lines(overridden: &[String]) -> String {
    overridden.iter().map(|change| format!("\noverridden: {change}")).collect()
}

//! The supervisor's side of `shunt plan`: what would be known right after a reload of that file, compiled on trial. What takes
//! long, walking the flow tables, is done elsewhere.

use std::path::PathBuf;

use super::Supervisor;
use super::adopt::read;
use crate::admin::protocol::Answer;
use crate::admin::server::Call;
use crate::compile::{self, Inputs, Standing, compile_on_trial};
use crate::config::{Bundle, Loaded};
use crate::plan::{Basis, Plan};
use crate::setup::needs_restart;

impl Supervisor {
    /// Answers what a configuration would change.
    pub(super) async fn plan(&self, configuration: Bundle, call: Call) {
        let (file, reading) = (configuration.file.clone(), self.options.reading.clone());
        let basis = match read(move || configuration.load(&reading)).await {
            Ok(loaded) => self.basis(file, loaded).await,
            Err(faults) => Err(faults.to_string()),
        };
        let basis = match basis {
            Ok(basis) => basis,
            Err(why) => return call.answer(Answer::error(why)),
        };
        // One at a time: each looks through all flow tables.
        let Ok(place) = self.planning.clone().try_acquire_owned() else {
            return call.answer(Answer::error("another plan is being made: ask again".to_owned()));
        };
        tokio::task::spawn_blocking(move || {
            let plan = basis.plan();
            drop(place);
            call.answer(match serde_json::to_value(plan) {
                Ok(plan) => Answer::data(plan),
                Err(error) => Answer::error(error.to_string()),
            });
        });
    }

    /// All that a plan is made of.
    async fn basis(&self, file: PathBuf, loaded: Loaded) -> Result<Basis, String> {
        let (changes, overridden) = self.changes.over(loaded.model);
        let loaded = Loaded { model: changes.model(), ..loaded };
        let model = &loaded.model;
        let restart = needs_restart(&self.loaded.model, &loaded);
        let mut plan = Plan::compare(&self.loaded.model, model, &self.vrrp.view());
        plan.file = file;
        plan.generation = self.plane.state().generation();
        plan.overridden = overridden;
        plan.restart = restart.iter().map(|fault| fault.message.clone()).collect();
        let mut basis = Basis::new(plan, self.plane.state().clone(), self.plane.now());
        if !restart.is_empty() {
            return Ok(basis);
        }
        let (survey, warnings) = self.fit(&loaded).await.map_err(|error| error.to_string())?;
        basis.warn(warnings.iter().map(ToString::to_string));
        let (views, up) = (self.views(), self.up());
        let health = self.checks.foresee(compile::checks(model), |key| up.contains(&key.address));
        let known = Inputs {
            model,
            survey: &survey,
            links: &views.links,
            health: &health,
            neighbors: &views.neighbors,
            vips: &views.vips,
            passive: &self.passive,
            quorums: &self.quorums,
            slow_start: &self.slow_start,
        };
        let outlook = self.outlook(known);
        let inputs = Inputs { quorums: &outlook.quorums, slow_start: &outlook.slow_start, ..known };
        let workers = self.plane.workers();
        let after = compile_on_trial(inputs, self.plane.state(), workers.len())
            .map_err(|error| format!("the configuration cannot be compiled: {error}"))?;
        for service in &model.services {
            let stands = |real: &crate::model::RealServer| &outlook.standings[&(service.key, real.address)];
            let willing = service.reals.iter().filter(|real| !matches!(stands(real), Standing::Down(_)));
            let willing = willing.map(|real| (real.address, inputs.weight(real))).collect();
            let waiting = service.reals.iter().filter_map(|real| match stands(real) {
                Standing::Waiting(why) => Some((real.address, (*why).to_owned())),
                Standing::Down(why) => Some((real.address, why.clone())),
                Standing::Up => None,
            });
            basis.stands(service, willing, waiting.collect());
        }
        basis.propose(after, workers.iter().map(|worker| worker.flows.clone()).collect());
        Ok(basis)
    }
}

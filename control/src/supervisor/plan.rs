//! The supervisor's side of `shunt plan`: what would be known right after a reload of that file, compiled on trial. What takes
//! long, walking the flow tables, is done elsewhere.

use std::path::PathBuf;

use super::Supervisor;
use super::adopt::read;
use crate::admin::protocol::Answer;
use crate::admin::server::Call;
use crate::compile::{self, Inputs, Standing, compile_on_trial};
use crate::config::{Bundle, Loaded};
use crate::model::{Model, RealServer, VirtualService};
use crate::plan::{After, Basis, Outlook};
use crate::setup::needs_restart;
use crate::survey::Survey;

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
        let restart = needs_restart(&self.loaded.model, &loaded);
        let (mut warnings, mut after) = (Vec::new(), None);
        if restart.is_empty() {
            let (survey, found) = self.fit(&loaded).await.map_err(|error| error.to_string())?;
            warnings = found.iter().map(ToString::to_string).collect();
            after = Some(self.foresee(&loaded.model, &survey)?);
        }
        Ok(Basis {
            file,
            models: [self.loaded.model.clone(), loaded.model],
            routers: self.vrrp.view(),
            restart: restart.iter().map(|fault| fault.message.clone()).collect(),
            overridden,
            warnings,
            before: self.plane.state().clone(),
            after,
            now: self.plane.now(),
        })
    }

    /// What would be known and in force right after a reload of `model`.
    fn foresee(&self, model: &Model, survey: &Survey) -> Result<After, String> {
        let (views, up) = (self.views(), self.up());
        let health = self.checks.foresee(compile::checks(model), |key| up.contains(&key.address));
        let known = Inputs { model, survey, health: &health, ..self.inputs(&views) };
        let outlook = self.outlook(known, None);
        let inputs = Inputs { quorums: &outlook.quorums, slow_start: &outlook.slow_start, ..known };
        let workers = self.plane.workers();
        let state = compile_on_trial(inputs, self.plane.state(), workers.len())
            .map_err(|error| format!("the configuration cannot be compiled: {error}"))?;
        let of = |service: &VirtualService| {
            let standing = |real: &RealServer| &outlook.standings[&(service.key, real.address)];
            let willing = service.reals.iter().filter(|real| !matches!(standing(real), Standing::Down(_)));
            let waiting = service.reals.iter().filter_map(|real| match standing(real) {
                Standing::Waiting(why) => Some((real.address, (*why).to_owned())),
                Standing::Down(why) => Some((real.address, why.clone())),
                Standing::Up => None,
            });
            Outlook {
                key: service.key,
                scheduler: service.scheduler,
                willing: willing.map(|real| (real.address, inputs.weight(real))).collect(),
                waiting: waiting.collect(),
            }
        };
        Ok(After {
            state,
            tables: workers.iter().map(|worker| worker.flows.clone()).collect(),
            outlooks: model.services.iter().map(of).collect(),
        })
    }
}

//! What a change would do, before it is made: which settings differ, which share of a hash moves, and what would become of
//! each flow that is remembered now. `settings` compares what two configurations say, `compare` makes sentences of services
//! and virtual routers of it, `share` and `flows` ask the dataplane's own code, `words` is for people, `command` the command
//! line.
//!
//! *Invariants*: pure, and without a trace in what runs; what becomes of a flow is the dataplane's judgement
//! ([`shunt_dataplane::director::fate`]), of the state that a reload would compile at this moment; a plan is bounded: one walk
//! through the tables, and 65,536 questions to each scheduler that changes.

pub mod command;
mod compare;
mod flows;
mod settings;
mod share;
mod words;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::FlowReader;
use shunt_dataplane::forwarding::ForwardingState;

use crate::compile::compiled_key;
use crate::model::{Model, Scheduler, ServiceKey};
use crate::vrrp::view::View;
pub use flows::{Fates, Tally};
pub use settings::Setting;
pub use share::Share;
pub use words::render;

/// What a configuration would change. As JSON it is `shunt plan --json`: keys are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The first line for people.
    pub verdict: String,
    /// The configuration.
    pub file: PathBuf,
    /// The generation in force that it is compared with.
    pub generation: u64,
    /// What cannot change while shunt runs, a sentence each: unless this is empty the file cannot be applied.
    pub restart: Vec<String>,
    /// Changes made while running that do not fit this configuration, and would be no more: a sentence each.
    pub overridden: Vec<String>,
    /// What is probably not meant, FILE:LINE:COLUMN.
    pub warnings: Vec<String>,
    /// Settings that are of no service and no virtual router.
    pub settings: Vec<Setting>,
    /// Services that are added, removed or changed, or whose flows are affected.
    pub services: Vec<ServicePlan>,
    /// Virtual routers.
    pub vrrp: VrrpPlan,
    /// What would become of all flows remembered now; none: it cannot be applied.
    pub flows: Option<Tally>,
}

/// What becomes of a service or a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It is otherwise.
    Changed,
    /// It is as it was.
    Unchanged,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Its name: `192.0.2.10:80/tcp`.
    pub service: String,
    /// What becomes of it.
    pub change: Change,
    /// Its settings that differ.
    pub settings: Vec<Setting>,
    /// Its real servers that are added, removed or changed.
    pub reals: Vec<RealPlan>,
    /// The share of its hash that moves; none: it has no hash before or after.
    pub hash: Option<Share>,
    /// Its scheduler goes by turn or load, so that new flows only are concerned.
    pub by_turn: bool,
    /// What would become of its flows.
    pub flows: Tally,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RealPlan {
    /// Its address.
    pub address: IpAddr,
    /// What becomes of it.
    pub change: Change,
    /// Its settings that differ; of one that is added its weight.
    pub settings: Vec<Setting>,
    /// Why it would take no flows at first; none: it would, or it goes.
    pub waits_for: Option<String>,
}

/// Virtual routers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VrrpPlan {
    /// `no effect`, or what may move.
    pub effect: String,
    /// Whether addresses may move to another director, or to this one.
    pub may_move: bool,
    /// Settings that differ.
    pub settings: Vec<Setting>,
    /// What that does, a sentence each.
    pub routers: Vec<String>,
}

impl Plan {
    /// What differs, as far as the two configurations say; flows are another matter.
    pub fn compare(before: &Model, after: &Model, routers: &View) -> Plan {
        Plan {
            verdict: String::new(),
            file: PathBuf::new(),
            generation: 0,
            restart: Vec::new(),
            overridden: Vec::new(),
            warnings: Vec::new(),
            settings: settings::of_director(before, after),
            services: compare::services(before, after),
            vrrp: compare::vrrp(before, after, routers),
            flows: None,
        }
    }

    /// Whether the configuration says what is in force.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.services.is_empty() && self.vrrp.settings.is_empty()
    }
}

/// All that a plan is made of, gathered in one moment: the rest takes long, and needs nobody.
pub struct Basis {
    /// Where the configuration comes from.
    pub file: PathBuf,
    /// What is in force, and what would be.
    pub models: [Model; 2],
    /// Virtual routers as they stand.
    pub routers: Arc<View>,
    /// What cannot change while shunt runs, a sentence each.
    pub restart: Vec<String>,
    /// Changes made while running that would be no more.
    pub overridden: Vec<String>,
    /// Things that are probably not meant.
    pub warnings: Vec<String>,
    /// The state in force.
    pub before: Arc<ForwardingState>,
    /// What would follow; none: nothing can.
    pub after: Option<After>,
    /// The time of the dataplane.
    pub now: Tick,
}

/// What would be in force.
pub struct After {
    /// Compiled on trial.
    pub state: ForwardingState,
    /// The tables of the workers.
    pub tables: Vec<FlowReader>,
    /// How the services of the model would stand.
    pub outlooks: Vec<Outlook>,
}

/// How the real servers of a service would stand.
pub struct Outlook {
    /// Its key.
    pub key: ServiceKey,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Who takes flows once nobody is waited for, and the weights.
    pub willing: Vec<(IpAddr, u16)>,
    /// Who would take none at first, and why.
    pub waiting: Vec<(IpAddr, String)>,
}

impl Basis {
    /// The plan. Takes long where there are many flows or changes.
    pub fn plan(self) -> Plan {
        let Basis { file, models: [before, after], routers, restart, overridden, warnings, .. } = self;
        let generation = self.before.generation();
        let compared = Plan::compare(&before, &after, &routers);
        let mut plan = Plan { file, generation, restart, overridden, warnings, ..compared };
        if let Some(after) = self.after {
            plan.judge(&self.before, after, self.now);
        }
        plan.verdict = words::verdict(&plan);
        plan
    }
}

impl Plan {
    /// What would become of flows, and of hashes.
    fn judge(&mut self, before: &ForwardingState, after: After, now: Tick) {
        let After { state, tables, outlooks } = after;
        let mut flows = flows::judge(before, &state, &tables, now);
        let mut total = Tally::default();
        for outlook in outlooks {
            let key = compiled_key(&outlook.key);
            let tally = before.find(&key).and_then(|id| flows.remove(&id)).unwrap_or_default();
            let old = before.find(&key).and_then(|id| before.service(id));
            let pair = old.zip(state.find(&key).and_then(|id| state.service(id)));
            let hash = pair.and_then(|(old, new)| share::moved(&state, old, new, &outlook.willing, now));
            let planned = self.of(&outlook.key, tally.is_affected() || hash.is_some_and(Share::is_some));
            if let Some(planned) = planned {
                (planned.flows, planned.hash) = (tally, hash);
                planned.by_turn = !share::is_hash(outlook.scheduler);
                planned.wait(outlook.waiting);
            }
            total.add(tally);
        }
        // The rest is of services that go.
        for (id, tally) in flows {
            let name = before.service(id).and_then(|service| compare::name(service.key()));
            let planned = self.services.iter_mut().find(|planned| Some(&planned.service) == name.as_ref());
            if let Some(planned) = planned {
                planned.flows = tally;
            }
            total.add(tally);
        }
        self.flows = Some(total);
    }
}

impl Plan {
    /// The part about a service; if there is none, and there is reason to have one, an empty one.
    fn of(&mut self, key: &ServiceKey, is_affected: bool) -> Option<&mut ServicePlan> {
        let name = key.to_string();
        let place = self.services.iter().position(|planned| planned.service == name);
        match place {
            Some(place) => self.services.get_mut(place),
            None if is_affected => {
                self.services.push(ServicePlan::new(name, Change::Unchanged));
                self.services.last_mut()
            }
            None => None,
        }
    }
}

impl ServicePlan {
    fn new(service: String, change: Change) -> ServicePlan {
        ServicePlan {
            service,
            change,
            settings: Vec::new(),
            reals: Vec::new(),
            hash: None,
            by_turn: false,
            flows: Tally::default(),
        }
    }

    /// Real servers that would take no flows at first.
    fn wait(&mut self, waiting: Vec<(IpAddr, String)>) {
        let mut waiting: HashMap<IpAddr, String> = waiting.into_iter().collect();
        for real in &mut self.reals {
            real.waits_for = waiting.remove(&real.address);
        }
    }
}

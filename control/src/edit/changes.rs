//! What was changed while a director runs, beside what its file says.
//!
//! Not the changes are kept, but what they led to: a change that is undone is none, whatever way was taken, and there are never
//! more of them than there are things. What is drained is kept apart, so that its weight is there when it comes back.
//!
//! *Invariant*: [`Changes::model`] is as valid as one that `config` has made.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::apply::{alter, is_known, not_drained, settle};
use super::difference::difference;
use super::{Edit, EditError, RealChange, service_key};
use crate::model::{Model, RealServer, ServiceKey};

/// The file's model, and what was asked for since.
#[derive(Debug, Clone)]
pub struct Changes {
    filed: Model,
    /// With weights as if nothing was drained, and quorums as if all could be had.
    asked: Model,
    drained: BTreeSet<(ServiceKey, IpAddr)>,
}

/// What is otherwise than in the file, in words, by what it is about.
#[derive(Debug, Default)]
pub struct Marks {
    services: HashMap<ServiceKey, String>,
    reals: HashMap<(ServiceKey, IpAddr), String>,
}

impl Changes {
    /// None yet: as the file says.
    pub fn none(filed: Model) -> Changes {
        Changes { asked: filed.clone(), filed, drained: BTreeSet::new() }
    }

    /// With these as well: all of them, in this order.
    ///
    /// # Errors
    /// Why one of them cannot be made.
    pub fn with(&self, edits: &[Edit]) -> Result<Changes, EditError> {
        let mut changed = self.clone();
        edits.iter().try_for_each(|edit| changed.take(edit))?;
        Ok(changed)
    }

    /// With those of these as well that fit, in this order, and the others, each with why, in words.
    pub fn with_what_fits(&self, edits: &[Edit]) -> (Changes, Vec<String>) {
        let mut changed = self.clone();
        let mut others = Vec::new();
        for edit in edits {
            if let Err(error) = changed.take(edit)
                && !changed.is_fulfilled(&changed.asked, edit)
            {
                others.push(format!("{edit}: {}", error.message));
            }
        }
        (changed, others)
    }

    /// The same over another file, and what of it does not fit that: each with why, in words.
    pub fn over(&self, filed: Model) -> (Changes, Vec<String>) {
        let mut over = Changes::none(filed);
        let mut overridden = Vec::new();
        for edit in difference(&self.filed, &self.asked) {
            if let Err(error) = alter(&mut over.asked, &edit)
                && !self.is_fulfilled(&over.asked, &edit)
            {
                overridden.push(format!("{edit}: {}", error.message));
            }
        }
        let drained: BTreeSet<IpAddr> = self.drained.iter().map(|(_, real)| *real).collect();
        for real in drained {
            // One that was drained everywhere is drained where it comes, too.
            let is_whole = places(&self.asked, real).all(|place| self.drained.contains(&place));
            let here = places(&over.asked, real).filter(|place| is_whole || self.drained.contains(place));
            let here: Vec<_> = here.collect();
            if here.is_empty() {
                overridden.push(format!("{}: no service has it any more", Edit::Drain { real }));
            }
            for (service, real) in here {
                // A weight of 0 in the file is this drain, written down: the weight that is to come back is still known.
                if over.asked_weight(service, real) == Some(0)
                    && let Some(weight) = self.asked_weight(service, real)
                    && let Some(real) = self::real_mut(&mut over.asked, service, real)
                {
                    real.weight = weight;
                }
                over.drained.insert((service, real));
            }
        }
        (over, overridden)
    }

    /// What is in force.
    pub fn model(&self) -> Model {
        let mut model = self.asked.clone();
        for service in &mut model.services {
            let key = service.key;
            let drained = service.reals.iter_mut().filter(|real| self.drained.contains(&(key, real.address)));
            drained.for_each(|real| real.weight = 0);
        }
        settle(&mut model);
        model
    }

    /// What leads from the file to what is in force, in words; weights of what is drained with it.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            difference(&self.filed, &self.asked).iter().map(Edit::to_string).collect();
        words.extend(self.drained.iter().map(|(service, real)| {
            let weight = self.asked_weight(*service, *real).unwrap_or_default();
            format!("drain {real} of {service} (its weight is {weight})")
        }));
        words
    }

    /// What is otherwise than in the file, by what it is about. What was removed is not there to be marked.
    pub fn marks(&self) -> Marks {
        let mut marks = Marks::default();
        let key = |name: &str| service_key(name).ok();
        for edit in difference(&self.filed, &self.asked) {
            match &edit {
                Edit::AddService { service, .. } => marks.service(key(service), "added".to_owned()),
                Edit::ChangeService { service, change } => marks.service(key(service), change.to_string()),
                Edit::AddReal { service, real, .. } => marks.real(key(service), *real, "added".to_owned()),
                Edit::ChangeReal { service, real, change } => {
                    marks.real(key(service), *real, change.to_string());
                }
                Edit::RemoveReal { service, real } => marks.service(key(service), format!("{real} removed")),
                Edit::Timeouts { .. } => {
                    let keys = self.asked.services.iter().map(|service| service.key);
                    keys.for_each(|key| marks.service(Some(key), edit.to_string()));
                }
                _ => {}
            }
        }
        for (service, real) in &self.drained {
            let weight = self.asked_weight(*service, *real).unwrap_or_default();
            marks.real(Some(*service), *real, format!("drained, weight {weight} before"));
        }
        marks
    }

    fn take(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::Drain { real } => {
                is_known(&self.asked, *real)?;
                self.drained.extend(places(&self.asked, *real));
                return Ok(());
            }
            Edit::Undrain { real } => {
                is_known(&self.asked, *real)?;
                let before = self.drained.len();
                self.drained.retain(|(_, drained)| drained != real);
                return if self.drained.len() < before { Ok(()) } else { Err(not_drained(*real)) };
            }
            _ => alter(&mut self.asked, edit)?,
        }
        // Who gives a weight means it.
        match edit {
            Edit::Weight { real, service: None, .. } => self.drained.retain(|(_, drained)| drained != real),
            Edit::Weight { real, service: Some(service), .. }
            | Edit::ChangeReal { service, real, change: RealChange { weight: Some(_), .. } } => {
                let key = service_key(service)?;
                self.drained.remove(&(key, *real));
            }
            _ => {}
        }
        // What is gone is not drained when it comes back.
        let asked = &self.asked;
        if matches!(edit, Edit::RemoveService { .. } | Edit::RemoveReal { .. } | Edit::Clear) {
            self.drained.retain(|(service, real)| self::real(asked, *service, *real).is_some());
        }
        Ok(())
    }

    /// Whether a change that cannot be made is one that need not be: the file says the same now.
    fn is_fulfilled(&self, model: &Model, edit: &Edit) -> bool {
        let same = |change: Edit| {
            let mut changed = model.clone();
            alter(&mut changed, &change).is_ok() && changed == *model
        };
        match edit {
            Edit::RemoveService { .. } | Edit::RemoveReal { .. } => true,
            Edit::AddService { service, change } => {
                same(Edit::ChangeService { service: service.clone(), change: change.clone() })
            }
            Edit::AddReal { service, real, change } => {
                let drained = |key| self.drained.contains(&(key, *real));
                let is_drained = service_key(service).is_ok_and(drained);
                let weight = change.weight.filter(|_| !is_drained);
                let change = RealChange { weight, ..change.clone() };
                same(Edit::ChangeReal { service: service.clone(), real: *real, change })
            }
            _ => false,
        }
    }

    fn asked_weight(&self, service: ServiceKey, real: IpAddr) -> Option<u16> {
        self::real(&self.asked, service, real).map(|real| real.weight)
    }
}

impl Marks {
    /// What is otherwise with a service, real servers that are gone included.
    pub fn of_service(&self, key: ServiceKey) -> Option<&str> {
        self.services.get(&key).map(String::as_str)
    }

    /// What is otherwise with a real server.
    pub fn of_real(&self, key: ServiceKey, real: IpAddr) -> Option<&str> {
        self.reals.get(&(key, real)).map(String::as_str)
    }

    fn service(&mut self, key: Option<ServiceKey>, words: String) {
        if let Some(key) = key {
            join(self.services.entry(key).or_default(), &words);
        }
    }

    fn real(&mut self, key: Option<ServiceKey>, real: IpAddr, words: String) {
        if let Some(key) = key {
            join(self.reals.entry((key, real)).or_default(), &words);
        }
    }
}

fn join(text: &mut String, words: &str) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(words);
}

/// Where a real server is one.
fn places(model: &Model, real: IpAddr) -> impl Iterator<Item = (ServiceKey, IpAddr)> {
    let has = move |service: &&crate::model::VirtualService| {
        service.reals.iter().any(|other| other.address == real)
    };
    model.services.iter().filter(has).map(move |service| (service.key, real))
}

fn real(model: &Model, key: ServiceKey, real: IpAddr) -> Option<&RealServer> {
    let service = model.services.iter().find(|service| service.key == key)?;
    service.reals.iter().find(|other| other.address == real)
}

fn real_mut(model: &mut Model, key: ServiceKey, real: IpAddr) -> Option<&mut RealServer> {
    let service = model.services.iter_mut().find(|service| service.key == key)?;
    service.reals.iter_mut().find(|other| other.address == real)
}

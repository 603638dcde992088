//! Whether a service has enough real servers, and who answers while it has not: keepalived's quorum, hysteresis and sorry
//! server (`update_quorum_state` in keepalived/check/ipwrapper.c).
//!
//! *Invariants*
//! - a quorum is gained from `needed + hysteresis` on, and lost below `needed - hysteresis`, or when nobody is left;
//! - as long as a first result is awaited nothing is lost: a start is no failure;
//! - pure: weights come in, changes go out.

use std::fmt;

use hashbrown::HashMap;

use crate::model::{Model, ServiceKey, VirtualService};

/// How the services stand.
#[derive(Debug, Clone, Default)]
pub struct Quorums {
    standing: HashMap<ServiceKey, bool>,
}

/// The live real servers of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alive {
    /// Sum of their weights.
    pub weight: u64,
    /// Whether a first result is still awaited of somebody.
    pub is_waiting: bool,
}

/// A quorum that was gained or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which service.
    pub service: ServiceKey,
    /// Gained; else lost.
    pub gained: bool,
    /// Nothing was known of it before.
    pub first: bool,
    /// Sum of the weights of the live real servers.
    pub weight: u64,
    /// keepalived's sentence about it.
    pub sentence: String,
}

impl Quorums {
    /// Takes in how many are alive; which quorums that changes.
    pub fn follow(&mut self, model: &Model, alive: impl Fn(&VirtualService) -> Alive) -> Vec<Change> {
        let before = std::mem::take(&mut self.standing);
        let stays = |service: &VirtualService| Some((service.key, *before.get(&service.key)?));
        self.standing = model.services.iter().filter_map(stays).collect();
        self.follow_some(&model.services, alive)
    }

    /// As [`Quorums::follow`], of some services only: the others stand as they did.
    pub fn follow_some<'a>(
        &mut self,
        services: impl IntoIterator<Item = &'a VirtualService>,
        alive: impl Fn(&VirtualService) -> Alive,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for service in services {
            let alive = alive(service);
            let was = self.standing.get(&service.key).copied();
            let Some(is) = judge(service, alive, was) else { continue };
            self.standing.insert(service.key, is);
            if was != Some(is) {
                let sentence = sentence(service, is, alive.weight);
                changes.push(Change {
                    service: service.key,
                    gained: is,
                    first: was.is_none(),
                    weight: alive.weight,
                    sentence,
                });
            }
        }
        changes
    }

    /// Whether a service has lost its quorum.
    pub fn is_lost(&self, service: &ServiceKey) -> bool {
        self.standing.get(service) == Some(&false)
    }
}

/// Whether there is a quorum; none: not known yet.
fn judge(service: &VirtualService, alive: Alive, was: Option<bool>) -> Option<bool> {
    let quorum = &service.quorum;
    let (needed, hysteresis) = (u64::from(quorum.needed), u64::from(quorum.hysteresis));
    match was {
        Some(true) if alive.is_waiting => Some(true),
        Some(true) => Some(alive.weight > 0 && alive.weight >= needed.saturating_sub(hysteresis)),
        _ if alive.weight >= needed + hysteresis => Some(true),
        None if alive.is_waiting => None,
        _ => Some(false),
    }
}

fn sentence(service: &VirtualService, gained: bool, weight: u64) -> String {
    let (needed, hysteresis) = (i64::from(service.quorum.needed), i64::from(service.quorum.hysteresis));
    let of = Named(service);
    match gained {
        true => {
            format!("Gained quorum {needed}+{hysteresis}={} <= {weight} for VS {of}", needed + hysteresis)
        }
        false => format!("Lost quorum {needed}-{hysteresis}={} > {weight} for VS {of}", needed - hysteresis),
    }
}

/// A service as keepalived writes it: `[192.0.2.10]:tcp:80`, `[a_group]:0`.
pub struct Named<'a>(pub &'a VirtualService);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VirtualService { key, group, .. } = self.0;
        match group {
            Some(group) => write!(f, "[{group}]:0"),
            None => write!(f, "[{}]:{}:{}", key.vip, key.protocol, key.ports.single().unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(needed: u32, hysteresis: u32) -> Model {
        let text = include_str!("../../configs/minimal.toml");
        let mut model = crate::config::parse("minimal.toml", text).unwrap().model;
        model.services[0].quorum.needed = needed;
        model.services[0].quorum.hysteresis = hysteresis;
        model
    }

    fn said(quorums: &mut Quorums, model: &Model, weight: u64) -> Option<(bool, String)> {
        let changes = quorums.follow(model, |_| Alive { weight, is_waiting: false });
        changes.into_iter().next().map(|change| (change.gained, change.sentence))
    }

    #[test]
    fn it_is_gained_and_lost_with_hysteresis() {
        let (model, mut quorums) = (model(5, 2), Quorums::default());
        let key = model.services[0].key;
        let mut at = |weight| {
            let change = said(&mut quorums, &model, weight).map(|(gained, _)| gained);
            (change, quorums.is_lost(&key))
        };
        assert_eq!(at(6), (Some(false), true), "gained from 7 on, at the start too");
        assert_eq!(at(7), (Some(true), false));
        assert_eq!(at(3), (None, false));
        assert_eq!(at(2), (Some(false), true));
        assert_eq!(at(6), (None, true));
        assert_eq!(at(7), (Some(true), false));
        assert_eq!(at(0), (Some(false), true));
    }

    #[test]
    fn nobody_is_no_quorum_however_large_the_hysteresis() {
        let (model, mut quorums) = (model(1, 1), Quorums::default());
        assert_eq!(said(&mut quorums, &model, 2).map(|(gained, _)| gained), Some(true));
        assert_eq!(said(&mut quorums, &model, 0).map(|(gained, _)| gained), Some(false));
    }

    #[test]
    fn nothing_is_lost_while_a_first_result_is_awaited() {
        let (model, mut quorums) = (model(1, 0), Quorums::default());
        let waiting = |_: &VirtualService| Alive { weight: 0, is_waiting: true };
        assert_eq!(quorums.follow(&model, waiting), []);
        assert!(!quorums.is_lost(&model.services[0].key));
        assert_eq!(said(&mut quorums, &model, 0).map(|(gained, _)| gained), Some(false));
    }

    #[test]
    fn new_real_servers_in_the_place_of_old_ones_lose_nothing() {
        let (model, mut quorums) = (model(1, 0), Quorums::default());
        assert_eq!(said(&mut quorums, &model, 2).map(|(gained, _)| gained), Some(true));
        // Their MAC addresses are asked for.
        assert_eq!(quorums.follow(&model, |_| Alive { weight: 0, is_waiting: true }), []);
        assert_eq!(said(&mut quorums, &model, 2), None);
    }

    #[test]
    fn a_service_that_is_gone_is_forgotten() {
        let (mut model, mut quorums) = (model(1, 0), Quorums::default());
        let key = model.services[0].key;
        said(&mut quorums, &model, 0);
        assert!(quorums.is_lost(&key));
        model.services.clear();
        said(&mut quorums, &model, 0);
        assert!(!quorums.is_lost(&key));
    }

    #[test]
    fn the_sentences_are_keepalived_s() {
        let (mut model, mut quorums) = (model(1, 0), Quorums::default());
        let of = Named(&model.services[0]).to_string();
        assert_eq!(of, "[192.0.2.10]:tcp:80");
        assert_eq!(said(&mut quorums, &model, 2).unwrap().1, format!("Gained quorum 1+0=1 <= 2 for VS {of}"));
        assert_eq!(said(&mut quorums, &model, 0).unwrap().1, format!("Lost quorum 1-0=1 > 0 for VS {of}"));
        model.services[0].group = Some("web_servers".into());
        assert_eq!(Named(&model.services[0]).to_string(), "[web_servers]:0");
    }
}

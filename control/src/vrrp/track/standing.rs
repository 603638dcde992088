//! From everything that is tracked to what each virtual router may be.
//!
//! *Invariants*
//! - pure: the same facts give the same standings;
//! - the priority is the configured one and the sum of weights, in 1..=254; 255 stays 255.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::source::{self, Source};
use super::{Health, Results};
use crate::address::Address;
use crate::link::Link;
use crate::model::{Effect, Peers, SyncGroup, Tracked, Tracking, VirtualRouter, Vrrp};
use crate::vrrp::Standing;

/// The priority of who owns the addresses.
const OWNER: u8 = 255;

/// From here on the product of a file's number and its weight is a fault, as if the weight were 0.
const FILE_FAULT: i64 = -254;

/// What each virtual router may be, in their order. None: not known yet, and nothing that is known is a fault; a router
/// that has not begun waits, one that has goes on as it is.
///
/// `links` by index; `addresses`: all of the host's.
pub fn standings(
    vrrp: &Vrrp,
    results: &Results,
    links: &BTreeMap<u32, Link>,
    addresses: &[Address],
) -> Vec<Option<Standing>> {
    let links = links.values().map(|link| (link.name.as_str(), link)).collect();
    let virtual_addresses = vrrp.routers.iter().flat_map(VirtualRouter::all_addresses);
    let facts = Facts {
        results,
        links,
        addresses,
        virtual_addresses: virtual_addresses.map(|address| address.address).collect(),
    };
    let group_of: BTreeMap<&str, &SyncGroup> = vrrp
        .groups
        .iter()
        .flat_map(|group| group.members.iter().map(move |member| (member.as_str(), group)))
        .collect();
    let group = |router: &VirtualRouter| group_of.get(router.name.as_str()).copied();
    let mut tallies: Vec<Tally> =
        vrrp.routers.iter().map(|router| Tally::of(router, group(router), &facts)).collect();
    // Members begin together.
    let waiting: HashSet<&str> = vrrp
        .routers
        .iter()
        .zip(&tallies)
        .filter(|(_, tally)| tally.waits)
        .filter_map(|(router, _)| Some(group(router)?.name.as_str()))
        .collect();
    for (router, tally) in vrrp.routers.iter().zip(&mut tallies) {
        tally.waits |= group(router).is_some_and(|group| waiting.contains(group.name.as_str()));
    }
    tallies.into_iter().map(Tally::standing).collect()
}

struct Facts<'a> {
    results: &'a Results,
    links: BTreeMap<&'a str, &'a Link>,
    addresses: &'a [Address],
    virtual_addresses: HashSet<IpAddr>,
}

/// What was added up about one router.
struct Tally {
    /// As configured.
    base: u8,
    /// With weights.
    total: i64,
    faults: Vec<String>,
    source: Option<IpAddr>,
    /// Something that could be a fault is not known.
    waits: bool,
    weights: Weights,
}

/// What becomes of weights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weights {
    Count,
    /// Of an owner: nothing.
    Ignored,
    /// Of a member of a group: nothing, but for interfaces and the dataplane, which are a fault (keepalived's rules).
    Grouped,
}

impl Tally {
    fn of(router: &VirtualRouter, group: Option<&SyncGroup>, facts: &Facts<'_>) -> Tally {
        let weights = match group {
            _ if router.priority == OWNER => Weights::Ignored,
            Some(group) if !group.tracking_weight => Weights::Grouped,
            _ => Weights::Count,
        };
        let mut tally = Tally {
            base: router.priority,
            total: router.priority.into(),
            faults: Vec::new(),
            source: None,
            waits: false,
            weights,
        };
        tally.own_interface(router, facts);
        if let Peers::Unicast { peers, fault_without: true, .. } = &router.peers
            && peers.is_empty()
        {
            tally.faults.push("it has no unicast peer".to_owned());
        }
        let none = Tracking::default();
        let shared = group.map_or(&none, |group| &group.track);
        tally.tracked(&router.track, shared, facts);
        tally.dataplane(&router.track, shared, facts.results);
        tally
    }

    fn standing(self) -> Option<Standing> {
        if self.waits && self.faults.is_empty() {
            return None;
        }
        let priority = match self.base {
            OWNER => OWNER,
            _ => u8::try_from(self.total.clamp(1, 254)).expect("it was clamped"),
        };
        // One word for one fault: the same fault may come by the router and by its group.
        let mut faults = self.faults;
        let mut said = HashSet::new();
        faults.retain(|fault| said.insert(fault.clone()));
        let fault = (!faults.is_empty()).then(|| faults.join("; "));
        Some(Standing { priority, fault, source: self.source })
    }

    fn own_interface(&mut self, router: &VirtualRouter, facts: &Facts<'_>) {
        let name = &router.interface;
        let Some(link) = facts.links.get(name.as_str()) else {
            return self.faults.push(format!("{name} is missing"));
        };
        let is_down = !link.usable() && !router.track.not_own_interface;
        if is_down {
            self.faults.push(format!("{name} is down"));
        }
        match source::of(router, link, facts.addresses, &facts.virtual_addresses) {
            Source::Known(address) => self.source = Some(address),
            Source::Awaited => self.waits = true,
            // The kernel takes IPv6 addresses off an interface that is down: that was said.
            Source::None(_) if is_down => {}
            Source::None(what) => self.faults.push(match router.source {
                Some(source) => format!("{name} has not {what} {source}"),
                None => format!("{name} has not {what}"),
            }),
        }
    }

    fn tracked(&mut self, own: &Tracking, shared: &Tracking, facts: &Facts<'_>) {
        for (name, effect) in merged(&own.interfaces, &shared.interfaces) {
            let link = facts.links.get(name);
            let well = link.is_some_and(|link| link.usable());
            let state = match link {
                None => "missing",
                Some(_) if well => "up",
                Some(_) => "down",
            };
            self.count(self.unweighted(effect), Some(well), || {
                format!("tracked interface {name} is {state}")
            });
        }
        for (name, effect) in merged(&own.scripts, &shared.scripts) {
            let health = facts.results.scripts.get(name).unwrap_or(&Health::Waiting);
            let well = match health {
                Health::Waiting => None,
                Health::Well => Some(true),
                Health::Failed(_) => Some(false),
            };
            self.count(effect, well, || match health {
                Health::Failed(why) => format!("script {name} failed: {why}"),
                _ => format!("script {name} succeeded"),
            });
        }
        for (name, effect) in merged(&own.files, &shared.files) {
            self.file(name, effect, facts.results.files.get(name).copied());
        }
        for (name, effect) in merged(&own.processes, &shared.processes) {
            let well = facts.results.processes.get(name).copied();
            // Results of all processes come together, and at once.
            self.waits |= well.is_none();
            let not = if well == Some(false) { "not " } else { "" };
            self.count(effect, well, || format!("tracked process {name} is {not}running as it should"));
        }
    }

    fn dataplane(&mut self, own: &Tracking, shared: &Tracking, results: &Results) {
        let dataplane = &results.dataplane;
        let stalled = dataplane.stalled.as_deref();
        self.count(self.unweighted(own.workers), Some(stalled.is_none()), || {
            stalled.unwrap_or("all workers of the dataplane run").to_owned()
        });
        for (limit, effect) in own.receiving.into_iter().chain(shared.receiving) {
            let silent: Vec<&str> = dataplane
                .silent
                .iter()
                .filter(|(_, silence)| **silence >= limit)
                .map(|(name, _)| name.as_str())
                .collect();
            // Not for how long: that would be another fault each time.
            self.count(self.unweighted(effect), Some(silent.is_empty()), || match silent[..] {
                [] => format!("all interfaces received something within {limit:?}"),
                _ => format!("{} received nothing for {limit:?}", silent.join(" and ")),
            });
        }
        for effect in own.real_servers.into_iter().chain(shared.real_servers) {
            self.count(self.unweighted(effect), Some(dataplane.real_server_up), || {
                let no = if dataplane.real_server_up { "a" } else { "no" };
                format!("{no} real server is up")
            });
        }
    }

    /// In a group without weights what would be one is a fault, rather than nothing.
    fn unweighted(&self, effect: Effect) -> Effect {
        match (effect, self.weights) {
            (Effect::Weight { .. }, Weights::Grouped) => Effect::Fault,
            _ => effect,
        }
    }

    /// Counts something that is well or not; none: not known.
    fn count(&mut self, effect: Effect, well: Option<bool>, words: impl FnOnce() -> String) {
        match (effect, well) {
            (Effect::Fault | Effect::Weight { weight: 0, .. }, None) => self.waits = true,
            (Effect::Fault, Some(well)) => self.fault_if(!well, words),
            (Effect::Weight { weight: 0, reverse }, Some(well)) => self.fault_if(well == reverse, words),
            (Effect::Weight { weight, reverse }, Some(well)) => {
                if self.weights == Weights::Count && (weight > 0) == well {
                    self.total += signed(weight, reverse);
                }
            }
            // A weight is nothing to wait for: keepalived begins without it, too.
            (Effect::Weight { .. }, None) => {}
        }
    }

    /// A file: its number times the weight is added; with weight 0 only the number 0 is well.
    fn file(&mut self, name: &str, effect: Effect, number: Option<i64>) {
        let Some(number) = number else {
            // It is read at once.
            self.waits = true;
            return;
        };
        let words = || format!("tracked file {name} has {number}");
        match (effect, self.weights) {
            // keepalived's default weight, 1, is 0 in a group.
            (Effect::Weight { weight: 1, .. }, Weights::Grouped) => self.fault_if(number != 0, words),
            (Effect::Fault, _) => self.fault_if(number != 0, words),
            (Effect::Weight { weight: 0, reverse }, _) => self.fault_if((number == 0) == reverse, words),
            (Effect::Weight { weight, reverse }, Weights::Count) => {
                match number.saturating_mul(signed(weight, reverse)) {
                    sum if sum <= FILE_FAULT => self.faults.push(words()),
                    sum => self.total += sum.min(253),
                }
            }
            (Effect::Weight { .. }, Weights::Ignored | Weights::Grouped) => {}
        }
    }

    fn fault_if(&mut self, fault: bool, words: impl FnOnce() -> String) {
        if fault {
            self.faults.push(words());
        }
    }
}

/// What the router tracks and what its group does. What both do counts once: as a fault if it is one to the router, else
/// as the group has it.
fn merged<'a>(own: &'a [Tracked], shared: &'a [Tracked]) -> impl Iterator<Item = (&'a str, Effect)> {
    let by_name = |list: &'a [Tracked], name: &str| list.iter().find(|tracked| tracked.name == name);
    let own_only =
        own.iter().filter(move |own| own.effect == Effect::Fault || by_name(shared, &own.name).is_none());
    let of_group = shared
        .iter()
        .filter(move |shared| by_name(own, &shared.name).is_none_or(|own| own.effect != Effect::Fault));
    own_only.chain(of_group).map(|tracked| (tracked.name.as_str(), tracked.effect))
}

fn signed(weight: i16, reverse: bool) -> i64 {
    if reverse { -i64::from(weight) } else { weight.into() }
}

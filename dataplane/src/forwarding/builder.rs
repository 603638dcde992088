//! The only way to a forwarding state. A state is a function of the specifications and of the state before
//! it, from which ids, slots, counters and unchanged tables are taken over.
//!
//! Ids are handed on with care, since flow tables still hold what was removed: what is gone stays as a
//! tombstone, and comes back to its own place if it is configured again. Only when many tombstones have
//! gathered does a newcomer take the place of the oldest, under a new epoch, so that a flow of the former
//! tenant is not taken for one of its own.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use thiserror::Error;

use crate::forwarding::index::Index;
use crate::forwarding::real::Reach;
use crate::forwarding::{
    ForwardingState, Options, Path, Ranges, Real, RealState, Service, ServiceKey, Thresholds,
};
use crate::id::ServiceId;
use crate::packet::Address;
use crate::port::PortId;
use crate::schedule::maglev::Tables;
use crate::schedule::{Candidate, Scheduler};
use crate::stats::PerWorker;

/// Tombstones kept before a place is given to a newcomer.
const SERVICE_TOMBSTONES: usize = 1024;
const REAL_TOMBSTONES: usize = 64;
/// Ids are 16 bits wide.
const MAX_IDS: usize = 1 << 16;
/// Slots too; the last one is nobody's (`director/relay.rs`).
const MAX_SLOTS: usize = MAX_IDS - 1;

/// A service as control wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// What clients connect to.
    pub key: ServiceKey,
    /// How it treats its flows.
    pub options: Options,
    /// Its real servers, in the order of the configuration.
    pub reals: Vec<RealSpec>,
}

/// A real server as control sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealSpec {
    /// Its own address.
    pub address: Address,
    /// 0-65535; 0 = draining.
    pub weight: u16,
    /// The weight in force, in units of its own: `weight`, or less in a slow start. 0 if `weight` is.
    pub share: u16,
    /// Connection thresholds.
    pub thresholds: Thresholds,
    /// Whether it may take flows at all, as far as health is concerned.
    pub healthy: bool,
    /// While it is not healthy its flows stay with it, whatever the service says: as if its weight were 0, but for
    /// persistence, which forgets it (keepalived's `inhibit_on_failure`).
    pub keeps_flows: bool,
    /// How it is reached, if that is known.
    pub path: Option<Path>,
}

/// A specification that breaks an invariant: a bug in control, which validates before it compiles.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum BuildError {
    #[error("service {0:?} occurs twice")]
    DuplicateService(ServiceKey),
    #[error("real server {1} occurs twice in service {0:?}")]
    DuplicateReal(ServiceKey, Address),
    #[error("real server {1} of service {0:?} is behind port {2:?}, which does not exist")]
    NoSuchPort(ServiceKey, Address, PortId),
    #[error("more than {MAX_IDS} services")]
    TooManyServices,
    #[error("more than {MAX_SLOTS} real servers in service {0:?}")]
    TooManyReals(ServiceKey),
}

/// Builds the state that follows another.
#[derive(Debug)]
pub struct Builder<'a> {
    previous: &'a ForwardingState,
    workers: usize,
    interfaces: usize,
    is_trial: bool,
}

impl<'a> Builder<'a> {
    /// The state after `previous` will be read by `workers` workers, which transmit on `interfaces` ports.
    pub fn after(previous: &'a ForwardingState, workers: usize, interfaces: usize) -> Self {
        Builder { previous, workers, interfaces, is_trial: false }
    }

    /// The state is only looked at, and never published: that real servers have other thresholds in it leaves no trace in
    /// those that workers read.
    #[must_use]
    pub fn on_trial(self) -> Self {
        Builder { is_trial: true, ..self }
    }

    /// Builds the state. Pure: the same specifications after the same state give the same state.
    pub fn build(&self, specs: &[ServiceSpec]) -> Result<ForwardingState, BuildError> {
        let generation = self.previous.generation + 1;
        let homes = Homes::find(&self.previous.services, specs)?;
        let mut tables = SharedTables { previous: self.previous, known: None };
        let mut services = Vec::with_capacity(self.previous.services.len().max(specs.len()));
        services.extend(
            self.previous
                .services
                .iter()
                .zip(&homes.is_wanted)
                .map(|(old, is_wanted)| if *is_wanted { old.clone() } else { bury(old, generation) }),
        );
        let mut tombstones = homes.is_wanted.iter().filter(|is_wanted| !**is_wanted).count();
        for (spec, home) in specs.iter().zip(&homes.ids) {
            let id = match *home {
                Some(id) => id,
                None if services.len() < MAX_IDS && tombstones <= SERVICE_TOMBSTONES => services.len(),
                None => {
                    tombstones = tombstones.saturating_sub(1);
                    oldest_grave(&services, &homes.is_wanted).ok_or(BuildError::TooManyServices)?
                }
            };
            let old = services.get(id);
            if let Some(old) = old
                && self.is_unchanged(old, spec)
            {
                // Two workers that compared its load with its thresholds at once may have left what is true no more.
                if !self.is_trial {
                    old.reals.iter().for_each(Real::weigh);
                }
                continue;
            }
            let service = self.service(old, spec, generation, &mut tables)?;
            if id == services.len() {
                services.push(service);
            } else {
                services[id] = service;
            }
        }
        // The same memory as before, too: workers have it in their caches.
        let (index, ranges, vips) = match homes.are_same {
            true => {
                let ForwardingState { index, ranges, vips, .. } = self.previous;
                (index.clone(), ranges.clone(), vips.clone())
            }
            false => directory(&services),
        };
        Ok(ForwardingState {
            generation,
            hash_key: self.previous.hash_key,
            services,
            index,
            ranges,
            vips,
            synced: None,
        })
    }

    /// Whether building the service anew would give what is there. It may say no where it would, never yes where it
    /// would not: of ten thousand services it spares those that nothing has happened to.
    fn is_unchanged(&self, old: &Service, spec: &ServiceSpec) -> bool {
        let mut specs = spec.reals.iter();
        let is_same = |real: &Real, spec: &RealSpec| {
            real.address == spec.address
                && real.weight == spec.weight
                && real.share == spec.share
                && real.thresholds == spec.thresholds
                && real.keeps_flows == spec.keeps_flows
                && real.path == spec.path
                && real.state == state_of(spec)
                && spec.path.is_none_or(|path| (path.port.0 as usize) < self.interfaces)
        };
        old.is_live()
            && old.key == spec.key
            && old.options == spec.options
            // The order of the configuration is that of the slots, now and before.
            && old.scheduler.candidates().is_sorted_by_key(|candidate| candidate.slot)
            && old.reals().all(|(_, real)| specs.next().is_some_and(|spec| is_same(real, spec)))
            && specs.next().is_none()
    }

    fn service(
        &self,
        old: Option<&Service>,
        spec: &ServiceSpec,
        generation: u64,
        tables: &mut SharedTables<'_>,
    ) -> Result<Service, BuildError> {
        let same = old.filter(|old| old.key == spec.key);
        let mut reals: Vec<Real> = old
            .map(|old| old.reals.iter().map(|real| bury_real(real, generation)).collect())
            .unwrap_or_default();
        if same.is_none() {
            // The former tenant of this id was another service: none of its flows may match, none of its
            // counts go on.
            for real in &mut reals {
                real.epoch = (real.epoch + 1) & 0xf;
                real.counters = PerWorker::new(self.workers);
                real.overloaded = Arc::default();
            }
        }
        let mut slots = Slots::of(&reals, same.is_some(), spec, generation);
        for real in &spec.reals {
            self.add_real(&mut reals, &mut slots, real, spec.key)?;
        }
        let candidates = candidates(spec, &reals, &slots);
        let policy = spec.options.policy;
        let is_same = |s: &Scheduler| s.policy() == policy && *s.candidates() == *candidates;
        let scheduler = match same {
            Some(old) if is_same(&old.scheduler) => old.scheduler.clone(),
            _ => {
                let before = same.map(|old| &*old.scheduler);
                let key = self.previous.hash_key;
                Arc::new(Scheduler::build_sharing(policy, key, &candidates, before, tables.get()))
            }
        };
        let counters = match same {
            Some(old) => old.counters.clone(),
            None => PerWorker::new(self.workers),
        };
        Ok(Service::new(spec.key, spec.options, reals.into(), scheduler, counters))
    }

    fn add_real(
        &self,
        reals: &mut Vec<Real>,
        slots: &mut Slots,
        spec: &RealSpec,
        key: ServiceKey,
    ) -> Result<(), BuildError> {
        if let Some(path) = spec.path
            && path.port.0 as usize >= self.interfaces
        {
            return Err(BuildError::NoSuchPort(key, spec.address, path.port));
        }
        let fresh = || PerWorker::new(self.workers);
        let (slot, epoch, counters, overloaded) = match slots.known.get(&spec.address) {
            Some(&slot) if reals[slot].removed.is_none() => {
                return Err(BuildError::DuplicateReal(key, spec.address));
            }
            Some(&slot) => {
                let real = &reals[slot];
                (slot, real.epoch, real.counters.clone(), real.overloaded.clone())
            }
            None => match slots.reusable.next() {
                Some(slot) => (slot, (reals[slot].epoch + 1) & 0xf, fresh(), Arc::default()),
                None if reals.len() < MAX_SLOTS => (reals.len(), 0, fresh(), Arc::default()),
                None => return Err(BuildError::TooManyReals(key)),
            },
        };
        slots.known.insert(spec.address, slot);
        let state = state_of(spec);
        let real = Real {
            address: spec.address,
            weight: spec.weight,
            share: spec.share,
            thresholds: spec.thresholds,
            state,
            reach: Reach::of(state, spec.path.as_ref(), epoch),
            keeps_flows: spec.keeps_flows,
            path: spec.path,
            epoch,
            removed: None,
            counters,
            overloaded,
        };
        let real = match self.is_trial {
            true => Real { overloaded: Arc::new(real.is_above().into()), ..real },
            false => real,
        };
        // New thresholds may say something else of the flows it has.
        real.weigh();
        if slot == reals.len() {
            reals.push(real);
        } else {
            reals[slot] = real;
        }
        Ok(())
    }
}

fn state_of(spec: &RealSpec) -> RealState {
    match (spec.path, spec.healthy, spec.weight) {
        (None, ..) | (_, false, _) => RealState::Down,
        (Some(_), true, 0) => RealState::Draining,
        (Some(_), true, _) => RealState::Up,
    }
}

/// By what packets find the live services.
fn directory(services: &[Service]) -> (Index, Arc<Ranges>, Arc<HashSet<Address>>) {
    let (mut single, mut ranges) = (Vec::with_capacity(services.len()), Ranges::new());
    for (id, service) in services.iter().enumerate().filter(|(_, service)| service.is_live()) {
        let (id, key) = (ServiceId(id as u16), service.key);
        match key.ports.single() {
            Some(port) => single.push((key.address, port, key.protocol, id)),
            None => ranges.entry((key.address, key.protocol)).or_insert_with(Vec::new).push(id),
        }
    }
    for ids in ranges.values_mut() {
        ids.sort_by_key(|id| {
            let key = services[id.0 as usize].key;
            (key.ports.last - key.ports.first, key)
        });
    }
    let vips = services.iter().filter(|service| service.is_live()).map(|service| service.key.address);
    (Index::build(&single), Arc::new(ranges), Arc::new(vips.collect()))
}

/// Where the specified services have been so far.
struct Homes {
    /// The id of each, in the order of the specification; none: it was never there.
    ids: Vec<Option<usize>>,
    /// By id, whether it is specified.
    is_wanted: Vec<bool>,
    /// The live services are those that lived before.
    are_same: bool,
}

impl Homes {
    fn find(services: &[Service], specs: &[ServiceSpec]) -> Result<Homes, BuildError> {
        let mut is_wanted = vec![false; services.len()];
        let mut ids = Vec::with_capacity(specs.len());
        let mut newcomers = HashSet::new();
        let mut places: Option<HashMap<ServiceKey, usize>> = None;
        let mut are_same = true;
        let mut next = 0;
        for spec in specs {
            // Mostly the order is that of the ids, and nothing need be looked up.
            let id = match services.get(next) {
                Some(service) if service.key == spec.key => Some(next),
                _ => {
                    let all = || services.iter().enumerate().map(|(id, service)| (service.key, id)).collect();
                    places.get_or_insert_with(all).get(&spec.key).copied()
                }
            };
            let is_first = match id {
                Some(id) => !std::mem::replace(&mut is_wanted[id], true),
                None => newcomers.insert(spec.key),
            };
            if !is_first {
                return Err(BuildError::DuplicateService(spec.key));
            }
            are_same &= id.is_some_and(|id| services[id].is_live());
            next = id.map_or(next, |id| id + 1);
            ids.push(id);
        }
        are_same &= services.iter().zip(&is_wanted).all(|(old, is_wanted)| *is_wanted || !old.is_live());
        Ok(Homes { ids, is_wanted, are_same })
    }
}

/// The tables of the state before, and those that were built for this one. They are gathered when the first is needed:
/// most changes need none.
struct SharedTables<'a> {
    previous: &'a ForwardingState,
    known: Option<Tables>,
}

impl SharedTables<'_> {
    fn get(&mut self) -> &mut Tables {
        self.known.get_or_insert_with(|| {
            let (mut tables, mut seen) = (Tables::default(), HashSet::new());
            let schedulers = self.previous.services.iter().map(|service| &service.scheduler);
            for scheduler in schedulers {
                if scheduler.maglev().is_some_and(|table| seen.insert(table.place())) {
                    scheduler.share(&mut tables);
                }
            }
            tables
        })
    }
}

/// The tombstone of a service; a specification that wants it brings it back to life.
fn bury(old: &Service, generation: u64) -> Service {
    if !old.is_live() {
        return old.clone();
    }
    old.buried(generation, old.reals.iter().map(|real| bury_real(real, generation)).collect())
}

fn bury_real(real: &Real, generation: u64) -> Real {
    Real {
        address: real.address,
        weight: real.weight,
        share: real.share,
        thresholds: real.thresholds,
        state: RealState::Removed,
        reach: Reach::NONE,
        keeps_flows: false,
        path: real.path,
        epoch: real.epoch,
        removed: real.removed.or(Some(generation)),
        counters: real.counters.clone(),
        overloaded: real.overloaded.clone(),
    }
}

/// Where the real servers of one service may go.
struct Slots {
    /// Those that have a place already, tombstones included.
    known: HashMap<Address, usize>,
    /// Places for newcomers, the longest empty first.
    reusable: std::vec::IntoIter<usize>,
}

impl Slots {
    /// `reals`: all buried. Within the same service the newest tombstones stay, and those that the
    /// specification wants again.
    fn of(reals: &[Real], same_service: bool, spec: &ServiceSpec, generation: u64) -> Self {
        let wanted: HashSet<Address> = spec.reals.iter().map(|real| real.address).collect();
        let is_free = |real: &Real| {
            !same_service || (real.removed < Some(generation) && !wanted.contains(&real.address))
        };
        let mut tombstones: Vec<_> = reals
            .iter()
            .enumerate()
            .filter(|(_, real)| is_free(real))
            .map(|(slot, real)| (real.removed, slot))
            .collect();
        tombstones.sort_unstable();
        if same_service {
            tombstones.truncate(tombstones.len().saturating_sub(REAL_TOMBSTONES));
        }
        let known = if same_service {
            reals.iter().enumerate().map(|(slot, real)| (real.address, slot)).collect()
        } else {
            HashMap::new()
        };
        let reusable: Vec<usize> = tombstones.into_iter().map(|(_, slot)| slot).collect();
        Slots { known, reusable: reusable.into_iter() }
    }
}

/// The id to give to a new service, once enough tombstones have gathered. One that is wanted again is left
/// alone.
fn oldest_grave(services: &[Service], is_wanted: &[bool]) -> Option<usize> {
    services
        .iter()
        .enumerate()
        .filter(|(id, _)| is_wanted.get(*id) != Some(&true))
        .filter_map(|(id, service)| service.removed.map(|removed| (removed, id)))
        .min()
        .map(|(_, id)| id)
}

/// Who may take new flows, in the order of the configuration. A draining real server is among them, with weight 0:
/// it has its place in hash tables, as in IPVS. One that is down is not, as if it were not configured.
fn candidates(spec: &ServiceSpec, reals: &[Real], slots: &Slots) -> Vec<Candidate> {
    let port = spec.key.ports.single().unwrap_or(0);
    let slots = spec.reals.iter().filter_map(|real| slots.known.get(&real.address));
    slots
        .map(|&slot| (slot, &reals[slot]))
        .filter(|(_, real)| matches!(real.state, RealState::Up | RealState::Draining))
        .map(|(slot, real)| Candidate {
            slot: slot as u16,
            address: real.address,
            port,
            weight: if real.state == RealState::Draining { 0 } else { real.share },
        })
        .collect()
}

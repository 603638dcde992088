//! A copy of a forwarding state on which frames can be tried: it decides as the state does, and whatever is counted and
//! whosever turn it is, the state does not see it.
//!
//! *Invariants*: ids, slots and epochs are those of the state; the copy has its own counters, turns and marks of
//! overload. Gauges start at what they are now, for schedulers and thresholds ask them; all other counters at 0, so
//! that what a frame counted can be read off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::forwarding::{ForwardingState, Real, Service};
use crate::hash::HashKey;
use crate::id::RealSlot;
use crate::schedule::Scheduler;
use crate::stats::{PerWorker, RealCounters, ServiceCounters};

impl ForwardingState {
    /// Such a copy, for `workers` workers.
    pub fn shadow(&self, workers: usize) -> ForwardingState {
        ForwardingState {
            generation: self.generation,
            hash_key: self.hash_key,
            services: self.services.iter().map(|service| service.shadow(workers, self.hash_key)).collect(),
            index: self.index.clone(),
            ranges: self.ranges.clone(),
            vips: self.vips.clone(),
            synced: self.synced.clone(),
        }
    }
}

impl Service {
    fn shadow(&self, workers: usize, key: HashKey) -> Service {
        Service {
            reals: self.reals.iter().map(|real| real.shadow(workers)).collect(),
            scheduler: Scheduler::shadow(&self.scheduler, key),
            counters: PerWorker::<ServiceCounters>::new(workers),
            ..self.clone()
        }
    }

    /// The real servers of all slots, also those that are no longer configured: they may keep flows.
    pub fn slots(&self) -> impl Iterator<Item = (RealSlot, &Real)> {
        self.reals.iter().enumerate().map(|(slot, real)| (RealSlot(slot as u16), real))
    }

    /// Entries of a worker's table that are this service's: its flows and templates.
    pub fn held(&self, worker: usize) -> u64 {
        let of = |counters: &RealCounters| {
            [&counters.active, &counters.inactive, &counters.templates]
                .map(|gauge| gauge.value())
                .iter()
                .sum::<u64>()
        };
        self.reals
            .iter()
            .filter_map(|real| real.counters.get(worker))
            .map(|counters| of(counters))
            .sum::<u64>()
    }
}

impl Real {
    fn shadow(&self, workers: usize) -> Real {
        let counters = PerWorker::<RealCounters>::new(workers);
        for (copy, own) in counters.iter().zip(self.counters.iter()) {
            copy.active.set(own.active.value());
            copy.inactive.set(own.inactive.value());
            copy.templates.set(own.templates.value());
        }
        Real {
            address: self.address,
            weight: self.weight,
            share: self.share,
            thresholds: self.thresholds,
            state: self.state,
            keeps_flows: self.keeps_flows,
            path: self.path,
            epoch: self.epoch,
            reach: self.reach,
            removed: self.removed,
            counters,
            overloaded: Arc::new(AtomicBool::new(self.overloaded.load(Ordering::Relaxed))),
        }
    }
}

//! The forwarding state: what a configuration, health and neighbours compile to, and all that a worker reads
//! to decide. Immutable once built; a change is a new state with the next generation.
//!
//! Ids are dense and stable: a service keeps its id and a real server its slot in every later state
//! (`builder`), for the flow table remembers flows by them.

pub mod builder;
pub mod real;
pub mod service;

use hashbrown::HashTable;

pub use builder::{BuildError, Builder, RealSpec, ServiceSpec};
pub use real::{Path, Real, RealSlot, RealState};
pub use service::{Service, ServiceId, ServiceKey};

use crate::hash::HashKey;
use crate::packet::Packet;

/// What workers read. Built by [`Builder`] alone.
#[derive(Debug)]
pub struct ForwardingState {
    generation: u64,
    hash_key: HashKey,
    /// By id; services that are gone stay as tombstones until their id is needed.
    services: Vec<Service>,
    /// Ids of the live services, by the hash of their keys.
    index: HashTable<ServiceId>,
}

impl ForwardingState {
    /// The state of a director that has just started: generation 0, no service.
    pub fn empty(hash_key: HashKey) -> Self {
        ForwardingState { generation: 0, hash_key, services: Vec::new(), index: HashTable::new() }
    }

    /// Number of this state; each is one more than the state it was built after.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Key of the scheduling hash.
    #[inline(always)]
    pub fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    /// The live service a packet is for.
    #[inline(always)]
    pub fn lookup(&self, packet: &Packet) -> Option<ServiceId> {
        self.find(&ServiceKey { address: packet.dst, port: packet.dst_port, protocol: packet.protocol })
    }

    /// The live service with this key.
    #[inline(always)]
    pub fn find(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.index.find(key.hash(), |id| self.services[id.0 as usize].key() == key).copied()
    }

    /// The service with this id, live or gone; none if the id was never given.
    #[inline(always)]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)
    }

    /// The live services.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        self.services
            .iter()
            .enumerate()
            .filter(|(_, service)| service.is_live())
            .map(|(id, service)| (ServiceId(id as u16), service))
    }
}

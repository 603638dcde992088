//! The forwarding state: what a configuration, health and neighbours compile to, and all that a worker reads
//! to decide. Immutable once built; a change is a new state with the next generation.
//!
//! Ids are dense and stable: a service keeps its id and a real server its slot in every later state
//! (`builder`), for the flow table remembers flows by them.

pub mod builder;
mod index;
pub mod real;
pub mod service;
mod shadow;
pub mod synced;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::flow::{Destination, FlowKey};

pub use builder::{BuildError, Builder, RealSpec, ServiceSpec};
pub use real::{Path, Real, RealState, Thresholds};
pub use service::{NoReal, OnFailure, Options, Persistence, Ports, Service, ServiceKey};
pub use synced::{GRACE, Synced};

use crate::forwarding::index::Index;
use crate::hash::HashKey;
pub use crate::id::{RealSlot, ServiceId};
use crate::packet::{Address, Packet, Protocol};

/// Services with several ports, by VIP and protocol.
type Ranges = HashMap<(Address, Protocol), Vec<ServiceId>>;

/// What workers read. Built by [`Builder`] alone.
#[derive(Debug)]
pub struct ForwardingState {
    generation: u64,
    hash_key: HashKey,
    /// By id; services that are gone stay as tombstones until their id is needed.
    services: Vec<Service>,
    /// The live services with one port.
    index: Index,
    /// The others, by VIP, in the order in which they are asked: narrow ranges before wide ones.
    ranges: Arc<Ranges>,
    /// The VIPs of the live services.
    vips: Arc<HashSet<Address>>,
    /// What other directors told of their flows.
    synced: Option<Synced>,
}

impl ForwardingState {
    /// The state of a director that has just started: generation 0, no service.
    pub fn empty(hash_key: HashKey) -> Self {
        ForwardingState {
            generation: 0,
            hash_key,
            services: Vec::new(),
            index: Index::build(&[]),
            ranges: Arc::default(),
            vips: Arc::default(),
            synced: None,
        }
    }

    /// The same state for workers that may read `synced`: flows of other directors, by the ids of this state.
    #[must_use]
    pub fn with_synced(self, synced: Option<Synced>) -> Self {
        ForwardingState { synced, ..self }
    }

    /// Flows of other directors; none: nobody tells of any.
    #[inline(always)]
    pub fn synced(&self) -> Option<&Synced> {
        self.synced.as_ref()
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
        self.lookup_at(packet.dst, packet.dst_port, packet.protocol)
    }

    /// The live service at this address and port.
    #[inline(always)]
    pub fn lookup_at(&self, address: Address, port: u16, protocol: Protocol) -> Option<ServiceId> {
        self.index.find(address, port, protocol).or_else(|| self.lookup_range(address, port, protocol))
    }

    #[inline(never)]
    fn lookup_range(&self, address: Address, port: u16, protocol: Protocol) -> Option<ServiceId> {
        let is_for = |id: &&ServiceId| self.services[id.0 as usize].key().ports.contains(port);
        self.ranges_of(address, protocol).iter().find(is_for).copied()
    }

    /// The live service with this key.
    pub fn find(&self, key: &ServiceKey) -> Option<ServiceId> {
        match key.ports.single() {
            Some(port) => self.index.find(key.address, port, key.protocol),
            None => self
                .ranges_of(key.address, key.protocol)
                .iter()
                .find(|id| self.services[id.0 as usize].key() == key)
                .copied(),
        }
    }

    fn ranges_of(&self, address: Address, protocol: Protocol) -> &[ServiceId] {
        self.ranges.get(&(address, protocol)).map_or(&[], Vec::as_slice)
    }

    /// Whether `address` is the VIP of a live service.
    pub fn is_vip(&self, address: Address) -> bool {
        self.vips.contains(&address)
    }

    /// Where a flow or template with this key goes, as flow tables want to know it; none if its service was never there.
    pub fn destination(&self, key: &FlowKey) -> Option<Destination> {
        let ServiceKey { address, protocol, .. } = *self.service(key.service)?.key();
        Some(Destination::new(address, protocol))
    }

    /// Whether the live services are those of `other`, with the same ids: what is steered to workers stays. It may say no where
    /// they are, never yes where they are not.
    pub fn serves_as(&self, other: &ForwardingState) -> bool {
        self.index.is_shared_with(&other.index) && Arc::ptr_eq(&self.ranges, &other.ranges)
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

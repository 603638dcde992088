//! The flow table of one worker: bounded, exact, never resized; one part for IPv4, one for IPv6.
//!
//! A flow is in one of two buckets of four entries (`buckets`). At a load of 0.5 all newcomers but one in a million
//! find room there, at 0.6 all but one in 10,000, at 0.8 all but one in 100. That one takes the place of, in this order: an expired flow, a closing
//! one, one still on probation, one that the caller holds for dispensable, because its real server is what the
//! scheduler would say anyway; else it is not remembered and lives by the scheduler alone. A settled flow that needs its
//! entry never makes room.
//!
//! A service may hold a share of the table. One that holds it takes no free entry any more, and may push aside flows
//! of its own only: a flood on one VIP costs the others nothing but the share it was given.
//!
//! The buckets of a flow depend on its key, on its VIP and protocol, and on a secret of this boot, not on the hash that
//! schedules: whoever can make hashes collide, because he knows the scheduling key (a director's configuration has it),
//! can still not aim at one bucket.
//! The mixing is two or three multiplications (`Layout::mix`), not a cryptographic function: whoever could also watch
//! which of his flows push each other out, might in time learn about the secret.
//!
//! *Memory*: 16 bytes an IPv4 entry and 32 an IPv6 one, nothing beside; at a load of 0.6 that is 26.7 and 53.3 bytes a
//! flow. All of it is allocated and written to in `new`.
//!
//! *Invariants*: those of `buckets`; `held` is the number of entries of a service, their sum is `len`.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::clock::Tick;
use crate::flow::buckets::{Buckets, Pair, Place, Wanted, Writer};
use crate::flow::entry::{Destination, Flow, FlowKey, Layout, SERVICE_BITS, service_bits};
use crate::hash::HashKey;
use crate::id::ServiceId;

pub use crate::flow::buckets::{MIN_ENTRIES, WAYS};

/// Entries of a table, by family. Each is rounded up to a multiple of 8, and to `MIN_ENTRIES` at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// For flows of IPv4 clients, 16 bytes each.
    pub ipv4: usize,
    /// For flows of IPv6 clients, 32 bytes each.
    pub ipv6: usize,
}

impl Capacity {
    /// So many entries for each family.
    pub const fn each(entries: usize) -> Self {
        Capacity { ipv4: entries, ipv6: entries }
    }

    /// Entries of both families.
    pub const fn total(self) -> usize {
        self.ipv4 + self.ipv6
    }
}

/// Where a flow may stand: its two buckets. Worth keeping between the prefetch and the lookup of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    ipv4: bool,
    pair: Pair,
}

/// What there is to look for of a flow of an IPv4 client, and where: a slot and a key but for the service, which the entry
/// tells.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    word: u64,
    pair: Pair,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    ipv4: bool,
    place: Place,
}

/// What `insert` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// Into a free entry.
    Free,
    /// In place of this flow, which is forgotten, and why it was this one.
    Replaced(FlowKey, Flow, Victim),
    /// Neither bucket has an entry that the newcomer may take: it is not remembered.
    Refused,
}

/// Why a flow could be forgotten for a newcomer, first choice first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Victim {
    /// Its time was over.
    Expired,
    /// It was closing.
    Closing,
    /// It was still on probation.
    Probation,
    /// Its real server is what the scheduler says anyway: it loses nothing.
    Dispensable,
}

/// What `age` found of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aged {
    /// It is remembered on.
    Alive,
    /// It had expired.
    Forgotten,
}

/// The writing end: owned by one worker.
pub struct FlowTable {
    ipv4: Writer<1>,
    ipv6: Writer<3>,
    secret: HashKey,
    /// Next bucket that `age` looks at: those of IPv4, then those of IPv6.
    cursor: usize,
    flows: usize,
    /// Entries by service.
    held: Box<[u32; 1 << 16]>,
}

/// A reading end: for other workers and the control thread.
#[derive(Clone)]
pub struct FlowReader {
    ipv4: Arc<Buckets<1>>,
    ipv6: Arc<Buckets<3>>,
    secret: HashKey,
}

impl FlowTable {
    /// A table with room for so many flows. `boot_key` is a secret of this boot, the same for all tables whose readers
    /// a worker asks: without it nobody can aim at one bucket.
    pub fn new(capacity: Capacity, boot_key: u64) -> Self {
        FlowTable {
            ipv4: Writer::new(capacity.ipv4),
            ipv6: Writer::new(capacity.ipv6),
            secret: HashKey([HashKey([1, 0]).words(boot_key, 1), HashKey([2, 0]).words(boot_key, 2)]),
            cursor: 0,
            flows: 0,
            held: Box::new([0; 1 << 16]),
        }
    }

    /// An empty table of the size and with the secret of another one: what is copied from there stands where it stood.
    pub fn shadow(other: &FlowReader) -> Self {
        FlowTable {
            ipv4: Writer::shadow(&other.ipv4),
            ipv6: Writer::shadow(&other.ipv6),
            secret: other.secret,
            cursor: 0,
            flows: 0,
            held: Box::new([0; 1 << 16]),
        }
    }

    /// Copies all that stands in the buckets of `slot` in `other`, of which this is a shadow; but for buckets that are in
    /// `copied`, which have a life of their own by now. `each` is told the service of each entry; `hold` is to follow.
    pub fn copy(
        &mut self,
        other: &FlowReader,
        slot: Slot,
        copied: &mut HashSet<(bool, usize)>,
        mut each: impl FnMut(ServiceId),
    ) {
        for bucket in slot.pair.buckets().into_iter().filter(|bucket| copied.insert((slot.ipv4, *bucket))) {
            match slot.ipv4 {
                true => self.ipv4.copy(&other.ipv4, bucket),
                false => self.ipv6.copy(&other.ipv6, bucket),
            }
            for place in (0..WAYS).map(|way| Place::new(bucket, way)) {
                let meta = if slot.ipv4 { self.ipv4.entry(place).1 } else { self.ipv6.entry(place).1 };
                if let Some((service, _)) = Flow::unpack(meta) {
                    each(service);
                }
            }
        }
    }

    /// Of a shadow: the table that it is one of holds so many more entries of this service than was known.
    pub fn hold(&mut self, service: ServiceId, more: u32) {
        self.flows += more as usize;
        self.held[usize::from(service.0)] += more;
    }

    /// A reading end.
    pub fn reader(&self) -> FlowReader {
        FlowReader { ipv4: self.ipv4.reader(), ipv6: self.ipv6.reader(), secret: self.secret }
    }

    /// Counts anew what is held, and tells `each` of each flow.
    pub fn recount(&mut self, mut each: impl FnMut(&FlowKey, &Flow)) {
        self.flows = 0;
        self.held.fill(0);
        for (key, flow) in self.reader().iter() {
            self.flows += 1;
            self.held[usize::from(key.service.0)] += 1;
            each(&key, &flow);
        }
    }

    /// Flows remembered now.
    pub fn len(&self) -> usize {
        self.flows
    }

    /// Whether no flow is remembered.
    pub fn is_empty(&self) -> bool {
        self.flows == 0
    }

    /// Flows the table has room for.
    pub fn capacity(&self) -> Capacity {
        Capacity { ipv4: self.ipv4.capacity(), ipv6: self.ipv6.capacity() }
    }

    /// Entries that this service holds.
    pub fn held(&self, service: ServiceId) -> usize {
        self.held[usize::from(service.0)] as usize
    }

    /// The buckets of the flow with this key, which goes there.
    #[inline(always)]
    pub fn slot(&self, to: Destination, key: &FlowKey) -> Slot {
        slot(&self.ipv4, &self.ipv6, self.secret, to, key)
    }

    /// Asks the processor to fetch the buckets of `slot`.
    #[inline(always)]
    pub fn prefetch(&self, slot: Slot) {
        match slot.ipv4 {
            true => self.ipv4.prefetch(slot.pair),
            false => self.ipv6.prefetch(slot.pair),
        }
    }

    /// Looks a flow up; `slot` is the slot of `key`.
    #[inline(always)]
    pub fn find(&self, slot: Slot, key: &FlowKey) -> Option<(Position, Flow)> {
        let Slot { ipv4, pair } = slot;
        let found = match ipv4 {
            true => self.ipv4.find(pair, &wanted(key)),
            false => self.ipv6.find(pair, &wanted(key)),
        };
        let (place, meta) = found?;
        Flow::unpack(meta).map(|(_, flow)| (Position { ipv4, place }, flow))
    }

    /// Where to look for the flow of an IPv4 client to this destination; its buckets are prefetched. `word`: the client's
    /// address and both ports, as the first word of an entry has them (`entry`).
    #[inline(always)]
    pub fn spot(&self, word: u64, to: Destination) -> Spot {
        let pair = self.ipv4.pair([word].mix(self.secret, to));
        self.ipv4.prefetch(pair);
        Spot { word, pair }
    }

    /// Looks a flow up, and not further than at the first entry that could be it: the caller has to see whether the service
    /// is the right one. What this does not find, `find` may.
    #[inline(always)]
    pub fn find_at(&self, spot: &Spot) -> Option<(Position, ServiceId, Flow)> {
        let (place, meta) = self.ipv4.first(spot.pair, &[spot.word])?;
        let (service, flow) = Flow::unpack(meta)?;
        Some((Position { ipv4: true, place }, service, flow))
    }

    /// Writes back a flow of this service that `find` or `find_at` found there.
    #[inline(always)]
    pub fn update(&mut self, position: Position, service: ServiceId, flow: Flow) {
        let meta = flow.pack(service);
        match position.ipv4 {
            true => self.ipv4.update(position.place, meta),
            false => self.ipv6.update(position.place, meta),
        }
    }

    /// Forgets a flow that `find` found there.
    pub fn remove(&mut self, position: Position) {
        let meta = match position.ipv4 {
            true => self.ipv4.entry(position.place).1,
            false => self.ipv6.entry(position.place).1,
        };
        let Some((service, _)) = Flow::unpack(meta) else { return };
        match position.ipv4 {
            true => self.ipv4.free(position.place),
            false => self.ipv6.free(position.place),
        }
        self.flows -= 1;
        self.held[usize::from(service.0)] -= 1;
    }

    /// Remembers a flow that `find` did not find. `share`: how much of its family's part of the table its service may
    /// hold, in 1/1000, 0-1000; one entry at least. `dispensable`: whether the scheduler would say again what is
    /// remembered of this flow; asked only if nothing better makes room.
    #[inline]
    pub fn insert(
        &mut self,
        slot: Slot,
        key: &FlowKey,
        flow: Flow,
        now: Tick,
        share: u16,
        dispensable: impl FnMut(&FlowKey, &Flow) -> bool,
    ) -> Inserted {
        let Slot { ipv4, pair } = slot;
        let capacity = if ipv4 { self.ipv4.capacity() } else { self.ipv6.capacity() };
        let sated = share < 1000 && self.held(key.service) >= (capacity * usize::from(share) / 1000).max(1);
        let inserted = match ipv4 {
            true => insert(&mut self.ipv4, pair, key, flow, now, sated, dispensable),
            false => insert(&mut self.ipv6, pair, key, flow, now, sated, dispensable),
        };
        match inserted {
            Inserted::Free => self.flows += 1,
            Inserted::Replaced(old, ..) => self.held[usize::from(old.service.0)] -= 1,
            Inserted::Refused => return inserted,
        }
        self.held[usize::from(key.service.0)] += 1;
        inserted
    }

    /// Looks through the next `buckets` buckets, forgets the flows that have expired, and tells `seen` of each flow.
    /// Returns whether it came to the end of the table.
    pub fn age(&mut self, buckets: usize, now: Tick, mut seen: impl FnMut(FlowKey, Flow, Aged)) -> bool {
        let (flows, held) = (&mut self.flows, &mut self.held);
        let mut looked_at = |key: FlowKey, flow, aged| {
            if aged == Aged::Forgotten {
                *flows -= 1;
                held[usize::from(key.service.0)] -= 1;
            }
            seen(key, flow, aged);
        };
        let mut ended = false;
        let (ipv4, total) = (self.ipv4.len(), self.ipv4.len() + self.ipv6.len());
        for _ in 0..buckets.min(total) {
            match self.cursor.checked_sub(ipv4) {
                None => look(&mut self.ipv4, self.cursor, now, &mut looked_at),
                Some(bucket) => look(&mut self.ipv6, bucket, now, &mut looked_at),
            }
            self.cursor += 1;
            if self.cursor >= total {
                self.cursor = 0;
                ended = true;
            }
        }
        ended
    }

    /// Number of buckets: what `age` has to look at to see every flow once.
    pub fn buckets(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }
}

impl fmt::Debug for FlowReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowReader").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl FlowReader {
    /// Looks up a flow that goes there.
    #[inline]
    pub fn find(&self, to: Destination, key: &FlowKey) -> Option<Flow> {
        let Slot { ipv4, pair } = slot(&self.ipv4, &self.ipv6, self.secret, to, key);
        let found = match ipv4 {
            true => self.ipv4.undisturbed(|| self.ipv4.find(pair, &wanted(key))),
            false => self.ipv6.undisturbed(|| self.ipv6.find(pair, &wanted(key))),
        };
        found.and_then(|(_, meta)| Flow::unpack(meta)).map(|(_, flow)| flow)
    }

    /// Every flow remembered while this walks, IPv4 first; of those that come or go meanwhile, some.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, Flow)> + '_ {
        self.ipv4.iter().filter_map(unpack).chain(self.ipv6.iter().filter_map(unpack))
    }

    /// A part of that walk: the flows of at most `buckets` buckets from number `from` on, each with its entry, a number
    /// below `WAYS * buckets()` that is its own for as long as it is remembered.
    pub fn walk(&self, from: usize, buckets: usize) -> impl Iterator<Item = (usize, FlowKey, Flow)> + '_ {
        let ipv4 = self.ipv4.len();
        let to = from.saturating_add(buckets).min(self.buckets());
        (from..to).flat_map(move |bucket| {
            (0..WAYS).filter_map(move |way| {
                let found = match bucket.checked_sub(ipv4) {
                    None => self.ipv4.look(Place::new(bucket, way)).and_then(unpack),
                    Some(bucket) => self.ipv6.look(Place::new(bucket, way)).and_then(unpack),
                };
                found.map(|(key, flow)| (bucket * WAYS + way, key, flow))
            })
        })
    }

    /// Number of buckets of both families: what `walk` has to look at to see every flow once.
    pub fn buckets(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Flows the table has room for.
    pub fn capacity(&self) -> Capacity {
        Capacity { ipv4: self.ipv4.capacity(), ipv6: self.ipv6.capacity() }
    }
}

#[inline(always)]
fn slot(ipv4: &Buckets<1>, ipv6: &Buckets<3>, secret: HashKey, to: Destination, key: &FlowKey) -> Slot {
    match key.client.v4() {
        Some(_) => Slot { ipv4: true, pair: ipv4.pair(<[u64; 1]>::of(key).mix(secret, to)) },
        None => Slot { ipv4: false, pair: ipv6.pair(<[u64; 3]>::of(key).mix(secret, to)) },
    }
}

#[inline(always)]
fn wanted<const KEY: usize>(key: &FlowKey) -> Wanted<KEY>
where
    [u64; KEY]: Layout,
{
    Wanted { key: <[u64; KEY]>::of(key), mask: SERVICE_BITS, bits: service_bits(key.service) }
}

#[inline(always)]
fn unpack<const KEY: usize>((key, meta): ([u64; KEY], u64)) -> Option<(FlowKey, Flow)>
where
    [u64; KEY]: Layout,
{
    Flow::unpack(meta).map(|(service, flow)| (key.key(service), flow))
}

/// `sated`: the service of the newcomer holds its share.
#[inline(always)]
fn insert<const KEY: usize>(
    buckets: &mut Writer<KEY>,
    pair: Pair,
    key: &FlowKey,
    flow: Flow,
    now: Tick,
    sated: bool,
    dispensable: impl FnMut(&FlowKey, &Flow) -> bool,
) -> Inserted
where
    [u64; KEY]: Layout,
{
    let (place, inserted) = match buckets.vacancy(pair).filter(|_| !sated) {
        Some(place) => (place, Inserted::Free),
        None => {
            let own = sated.then_some(key.service);
            let Some((place, old, flow, why)) = victim(buckets, pair, now, own, dispensable) else {
                return Inserted::Refused;
            };
            (place, Inserted::Replaced(old, flow, why))
        }
    };
    buckets.write(place, <[u64; KEY]>::of(key), flow.pack(key.service));
    inserted
}

/// The flow that a newcomer may replace; `own`: only one of this service.
fn victim<const KEY: usize>(
    buckets: &Buckets<KEY>,
    pair: Pair,
    now: Tick,
    own: Option<ServiceId>,
    mut dispensable: impl FnMut(&FlowKey, &Flow) -> bool,
) -> Option<(Place, FlowKey, Flow, Victim)>
where
    [u64; KEY]: Layout,
{
    let candidates = || {
        buckets.occupied(pair).filter_map(move |(place, meta)| {
            let (service, flow) = Flow::unpack(meta)?;
            own.is_none_or(|own| own == service).then_some((place, service, flow))
        })
    };
    // In a flood every newcomer asks this of eight entries: a rank is one number, and nothing else is carried along.
    let (mut first, mut found) = (u64::MAX, None);
    for (place, _, flow) in candidates() {
        let rank = rank(&flow, now);
        if rank < first {
            (first, found) = (rank, Some(place));
        }
    }
    if let Some(place) = found {
        let (key, meta) = buckets.entry(place);
        let (service, flow) = Flow::unpack(meta)?;
        return Some((place, key.key(service), flow, dispensability(&flow, now)?));
    }
    candidates().find_map(|(place, service, flow)| {
        let key = buckets.entry(place).0.key(service);
        dispensable(&key, &flow).then_some((place, key, flow, Victim::Dispensable))
    })
}

/// Why a flow may be forgotten for a newcomer, without being asked for.
#[inline(always)]
fn dispensability(flow: &Flow, now: Tick) -> Option<Victim> {
    if flow.is_expired(now) {
        Some(Victim::Expired)
    } else if flow.state.is_closing() {
        Some(Victim::Closing)
    } else if flow.state.is_on_probation() {
        Some(Victim::Probation)
    } else {
        None
    }
}

/// The lowest is the first to be forgotten; `u64::MAX`: not at all.
#[inline(always)]
fn rank(flow: &Flow, now: Tick) -> u64 {
    let Some(why) = dispensability(flow, now) else { return u64::MAX };
    // Soonest to expire; of the expired, whoever has been so the longest: its tick is the next after `MAX`.
    let ahead = match flow.remaining(now) {
        0 => flow.expires.since(now).wrapping_sub(1),
        ahead => ahead,
    };
    (why as u64) << 32 | u64::from(ahead)
}

/// Looks through a bucket and frees what has expired.
#[inline(always)]
fn look<const KEY: usize>(
    buckets: &mut Writer<KEY>,
    bucket: usize,
    now: Tick,
    seen: &mut impl FnMut(FlowKey, Flow, Aged),
) where
    [u64; KEY]: Layout,
{
    for way in 0..WAYS {
        let place = Place::new(bucket, way);
        if let Some((key, flow)) = unpack(buckets.entry(place)) {
            if flow.is_expired(now) {
                buckets.free(place);
                seen(key, flow, Aged::Forgotten);
            } else {
                seen(key, flow, Aged::Alive);
            }
        }
    }
}

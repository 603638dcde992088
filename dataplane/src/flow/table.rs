//! The flow table of one worker: bounded, exact, never resized.
//!
//! A bucket is one cache line of four entries. A key has two buckets; it is stored in the first while that
//! is nearly empty, else in the emptier of the two, and looked for in both, so that at a load of 0.5 all
//! but one newcomer in 30,000 find room, and at 0.6 all but one in 2,000. That one takes the place of, in this order: an
//! expired flow, a closing one, one still on probation; else it is not remembered and lives by the hash
//! alone, which gives the same answer while the set of real servers stays.
//!
//! *Invariants*:
//! - memory is allocated once, in `new`;
//! - one writer (`FlowTable`, not `Clone`); readers (`FlowReader`) may read an entry in the middle of a
//!   change and then see the old one, the new one or none, never a mixture of two;
//! - a key occurs at most once.
//!
//! Words are atomics (loads and stores only: plain moves on x86) because other workers and the
//! control thread read the table while its worker writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::clock::Tick;
use crate::flow::entry::{Flow, FlowKey};
use crate::flow::state::Timeouts;
use crate::hash::fold;
use crate::id::ServiceId;

/// Entries in a bucket: 4 x 16 bytes = one cache line.
pub const WAYS: usize = 4;
/// Fewest flows a table is made for.
pub const MIN_FLOWS: usize = 64;

#[derive(Default)]
struct Entry {
    endpoints: AtomicU64,
    meta: AtomicU64,
}

#[derive(Default)]
#[repr(align(64))]
struct Bucket([Entry; WAYS]);

/// The memory of a table, shared between its writer and its readers.
struct Memory {
    buckets: Box<[Bucket]>,
    /// buckets.len() - 1; the length is a power of two.
    mask: u64,
    key: u64,
    /// Entries given to another flow so far, the one in progress included.
    writes: AtomicU64,
}

/// Where a flow may stand: its two buckets. Worth keeping between the prefetch and the lookup of a burst.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    first: usize,
    second: usize,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    bucket: usize,
    way: usize,
}

/// What `insert` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// Into a free entry.
    Free,
    /// In place of this flow, which is forgotten.
    Replaced(ServiceId, Flow),
    /// Both buckets hold flows that may not be forgotten: the newcomer is not remembered.
    Refused,
}

/// The writing end: owned by one worker.
pub struct FlowTable {
    memory: Arc<Memory>,
    /// Next bucket that `age` looks at.
    cursor: usize,
    flows: usize,
}

/// A reading end: for other workers and the control thread.
#[derive(Clone)]
pub struct FlowReader {
    memory: Arc<Memory>,
}

impl FlowTable {
    /// A table for at least `flows` flows (rounded up to a power of two). `boot_key` is a secret of this
    /// boot: without it nobody can aim at one bucket.
    pub fn new(flows: usize, boot_key: u64) -> Self {
        let buckets = flows.max(MIN_FLOWS).next_power_of_two() / WAYS;
        let memory = Memory {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            mask: buckets as u64 - 1,
            key: boot_key | 1,
            writes: AtomicU64::new(0),
        };
        FlowTable { memory: Arc::new(memory), cursor: 0, flows: 0 }
    }

    /// A reading end.
    pub fn reader(&self) -> FlowReader {
        FlowReader { memory: self.memory.clone() }
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
    pub fn capacity(&self) -> usize {
        self.memory.buckets.len() * WAYS
    }

    /// The buckets of a flow with this hash.
    #[inline(always)]
    pub fn slot(&self, hash: u64) -> Slot {
        self.memory.slot(hash)
    }

    /// Asks the processor to fetch the buckets of `slot`.
    #[inline(always)]
    pub fn prefetch(&self, slot: Slot) {
        prefetch(&self.memory.buckets[slot.first]);
        prefetch(&self.memory.buckets[slot.second]);
    }

    /// Looks a flow up.
    #[inline(always)]
    pub fn find(&self, slot: Slot, key: FlowKey) -> Option<(Position, Flow)> {
        self.memory.find(slot, key)
    }

    /// Writes back a flow that `find` found there.
    #[inline(always)]
    pub fn update(&mut self, position: Position, key: FlowKey, flow: Flow) {
        let entry = self.memory.at(position);
        entry.meta.store(flow.pack(key.service), Ordering::Relaxed);
    }

    /// Remembers a flow that `find` did not find.
    #[inline]
    pub fn insert(&mut self, slot: Slot, key: FlowKey, flow: Flow, timeouts: &Timeouts) -> Inserted {
        let (bucket, free) = match (self.memory.free(slot.first), self.memory.free(slot.second)) {
            // Nearly empty: many lookups then end in the first.
            ((free, Some(way)), _) if free >= 3 => (slot.first, Some(way)),
            ((free, Some(way)), (other, _)) if free >= other => (slot.first, Some(way)),
            (_, (_, way)) => (slot.second, way),
        };
        if let Some(way) = free {
            self.write(Position { bucket, way }, key, flow);
            self.flows += 1;
            return Inserted::Free;
        }
        match self.memory.victim(slot, flow.seen, timeouts) {
            Some((position, service, old)) => {
                self.write(position, key, flow);
                Inserted::Replaced(service, old)
            }
            None => Inserted::Refused,
        }
    }

    /// Forgets the silent flows of the next `buckets` buckets and tells `forgotten` of each.
    pub fn age(
        &mut self,
        buckets: usize,
        now: Tick,
        timeouts: &Timeouts,
        mut forgotten: impl FnMut(ServiceId, Flow),
    ) {
        for _ in 0..buckets.min(self.memory.buckets.len()) {
            for entry in &self.memory.buckets[self.cursor].0 {
                if let Some((service, flow)) = Flow::unpack(entry.meta.load(Ordering::Relaxed))
                    && now.since(flow.seen) >= timeouts.of(flow.state)
                {
                    entry.meta.store(0, Ordering::Relaxed);
                    self.flows -= 1;
                    forgotten(service, flow);
                }
            }
            self.cursor = (self.cursor + 1) & self.memory.mask as usize;
        }
    }

    /// Number of buckets: what `age` has to look at to see every flow once.
    pub fn buckets(&self) -> usize {
        self.memory.buckets.len()
    }

    #[inline(always)]
    fn write(&mut self, position: Position, key: FlowKey, flow: Flow) {
        let entry = self.memory.at(position);
        // There is no other writer. The fence keeps the stores below behind this one: pairs with `undisturbed`.
        self.memory.writes.store(self.memory.writes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        // Free first: a reader between the stores finds nothing. Release: pairs with Acquire in `find`.
        entry.meta.store(0, Ordering::Release);
        entry.endpoints.store(key.endpoints, Ordering::Release);
        entry.meta.store(flow.pack(key.service), Ordering::Release);
    }
}

impl FlowReader {
    /// Looks a flow up by its hash.
    #[inline]
    pub fn find(&self, hash: u64, key: FlowKey) -> Option<Flow> {
        let slot = self.memory.slot(hash);
        self.memory.undisturbed(|| {
            let (position, flow) = self.memory.find(slot, key)?;
            Some((self.memory.at(position), flow.pack(key.service), flow))
        })
    }

    /// Every flow remembered while this walks; a flow that moves meanwhile may be missed.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, Flow)> + '_ {
        self.memory.buckets.iter().flat_map(|bucket| &bucket.0).filter_map(|entry| {
            self.memory.undisturbed(|| {
                let meta = entry.meta.load(Ordering::Acquire);
                let (service, flow) = Flow::unpack(meta)?;
                let key = FlowKey { endpoints: entry.endpoints.load(Ordering::Acquire), service };
                Some((entry, meta, (key, flow)))
            })
        })
    }

    /// Flows the table has room for.
    pub fn capacity(&self) -> usize {
        self.memory.buckets.len() * WAYS
    }
}

impl Memory {
    /// What `read` takes from an entry (with the entry and the word 1 it found), once both words belong together.
    ///
    /// `write` frees an entry before it changes its word 0: word 1 unchanged means that no write, or a part of
    /// one, fell between the loads. Two writes could have put the same word 1 back; `writes` tells of them.
    #[inline]
    fn undisturbed<'m, T>(&'m self, mut read: impl FnMut() -> Option<(&'m Entry, u64, T)>) -> Option<T> {
        loop {
            let writes = self.writes.load(Ordering::Acquire);
            let (entry, meta, found) = read()?;
            // Keeps the loads above before those below: pairs with the fence in `write`.
            fence(Ordering::Acquire);
            let unchanged = entry.meta.load(Ordering::Relaxed) == meta;
            if self.writes.load(Ordering::Relaxed) == writes {
                return unchanged.then_some(found);
            }
        }
    }

    #[inline(always)]
    fn slot(&self, hash: u64) -> Slot {
        let mixed = fold(hash ^ self.key, self.key);
        Slot { first: (mixed & self.mask) as usize, second: ((mixed >> 32) & self.mask) as usize }
    }

    #[inline(always)]
    fn at(&self, position: Position) -> &Entry {
        &self.buckets[position.bucket].0[position.way]
    }

    #[inline(always)]
    fn find(&self, slot: Slot, key: FlowKey) -> Option<(Position, Flow)> {
        self.find_in(slot.first, key).or_else(|| self.find_in(slot.second, key))
    }

    #[inline(always)]
    fn find_in(&self, bucket: usize, key: FlowKey) -> Option<(Position, Flow)> {
        for (way, entry) in self.buckets[bucket].0.iter().enumerate() {
            // Acquire: pairs with Release in `write`.
            let meta = entry.meta.load(Ordering::Acquire);
            if entry.endpoints.load(Ordering::Acquire) == key.endpoints
                && let Some((service, flow)) = Flow::unpack(meta)
                && service == key.service
            {
                return Some((Position { bucket, way }, flow));
            }
        }
        None
    }

    /// Free entries of a bucket: how many, and the first.
    #[inline(always)]
    fn free(&self, bucket: usize) -> (usize, Option<usize>) {
        let mut free = (0, None);
        for (way, entry) in self.buckets[bucket].0.iter().enumerate().rev() {
            if Flow::unpack(entry.meta.load(Ordering::Relaxed)).is_none() {
                free = (free.0 + 1, Some(way));
            }
        }
        free
    }

    /// The flow that a newcomer may replace: expired before closing before on probation, the longest silent
    /// of its kind.
    fn victim(&self, slot: Slot, now: Tick, timeouts: &Timeouts) -> Option<(Position, ServiceId, Flow)> {
        let mut best = None;
        for bucket in [slot.first, slot.second] {
            for (way, entry) in self.buckets[bucket].0.iter().enumerate() {
                let Some((service, flow)) = Flow::unpack(entry.meta.load(Ordering::Relaxed)) else {
                    continue;
                };
                let silent = now.since(flow.seen);
                let class = if silent >= timeouts.of(flow.state) {
                    3
                } else if flow.state.is_closing() {
                    2
                } else if flow.state.is_on_probation() {
                    1
                } else {
                    continue;
                };
                if best.is_none_or(|(rank, _): (_, _)| (class, silent) > rank) {
                    best = Some(((class, silent), (Position { bucket, way }, service, flow)));
                }
            }
        }
        best.map(|(_, victim)| victim)
    }
}

#[inline(always)]
fn prefetch(bucket: &Bucket) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of a valid reference has no effect but on the cache.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            std::ptr::from_ref(bucket).cast(),
        )
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bucket;
}

//! Where the fragments of a datagram go. Only the first has ports and so names a flow; the others go where it went.
//!
//! A datagram is known by source, destination, protocol and identification (RFC 791, section 3.2; RFC 8200,
//! section 4.5). What is kept of these is a keyed tag of 64 bits: among the 8192 datagrams of a table two meet by
//! chance once in 10^12 tables, and who does not know the secret of this boot cannot aim. The cost of a collision is
//! a few fragments at the wrong real server, whose datagrams then fail their checksum or time out.
//!
//! A datagram is remembered for 30 s after its first fragment, as long as Linux waits for the others (net/ipv4/
//! ip_fragment.c, `ipfrag_time`; include/net/ip.h, `IP_FRAG_TIME`). Nothing ages: an expired entry is as good as
//! free. When both buckets of a newcomer are full, the one that is soonest to expire, the oldest, makes room: a flood
//! of first fragments costs the memory of earlier ones, of nothing else.
//!
//! ```text
//! word 0   tag
//! word 1   service id 63..48 | real slot 47..32 | 1 31..28 | epoch 27..24 | expires 23..0
//! ```
//! *Invariants*: those of `buckets`, concurrent readers included.

use std::sync::Arc;

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::flow::buckets::{Buckets, Wanted, Writer};
use crate::flow::entry::Flow;
use crate::flow::state::FlowState;
use crate::hash::HashKey;
use crate::id::{RealSlot, ServiceId};
use crate::packet::Address;

/// Ticks for which a datagram is remembered.
pub const LIFETIME: u32 = 30 * TICKS_PER_SECOND;
/// Datagrams a table remembers unless told otherwise.
pub const DEFAULT_ENTRIES: usize = 8192;

/// Where the fragments of a datagram go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whither {
    /// The service that the datagram is for.
    pub service: ServiceId,
    /// The real server, by its slot in the service.
    pub real: RealSlot,
    /// Which tenant of that slot, 0-15.
    pub epoch: u8,
}

/// The writing end: owned by one worker.
pub struct FragmentTable {
    buckets: Writer<1>,
    boot_key: u64,
}

/// A reading end: for other workers.
#[derive(Clone)]
pub struct FragmentReader {
    buckets: Arc<Buckets<1>>,
    boot_key: u64,
}

/// The tag of a datagram under the secret of this boot. `id`: 16 bits for IPv4, 32 for IPv6.
#[inline]
pub fn tag(boot_key: u64, src: Address, dst: Address, protocol: u8, id: u32) -> u64 {
    // Other numbers than for flows: the two tables share the secret, not their keys.
    let key = HashKey([HashKey([3, 0]).words(boot_key, 3), HashKey([4, 0]).words(boot_key, 4)]);
    let rest = u64::from(id) << 8 | u64::from(protocol);
    if let (Some(src), Some(dst)) = (src.v4(), dst.v4()) {
        return key.words(u64::from(src) << 32 | u64::from(dst), rest);
    }
    let (src, dst) = (src.bits(), dst.bits());
    let mixed = key.words((src >> 64) as u64, src as u64);
    let mixed = key.words(mixed ^ (dst >> 64) as u64, dst as u64);
    key.words(mixed, rest)
}

impl FragmentTable {
    /// A table for at least so many datagrams; `boot_key` as for the flow tables, and the same for all workers.
    pub fn new(entries: usize, boot_key: u64) -> Self {
        FragmentTable { buckets: Writer::new(entries), boot_key }
    }

    /// A copy of another table as it is now.
    pub fn shadow(other: &FragmentReader) -> Self {
        let mut buckets = Writer::shadow(&other.buckets);
        (0..other.buckets.len()).for_each(|bucket| buckets.copy(&other.buckets, bucket));
        FragmentTable { buckets, boot_key: other.boot_key }
    }

    /// A reading end.
    pub fn reader(&self) -> FragmentReader {
        FragmentReader { buckets: self.buckets.reader(), boot_key: self.boot_key }
    }

    /// The tag of a datagram, good for the readers of all tables with the same boot key.
    #[inline]
    pub fn tag(&self, src: Address, dst: Address, protocol: u8, id: u32) -> u64 {
        tag(self.boot_key, src, dst, protocol, id)
    }

    /// Datagrams there is room for.
    pub fn capacity(&self) -> usize {
        self.buckets.capacity()
    }

    /// Remembers where the datagram of a first fragment goes, in place of what was known of it before.
    #[inline]
    pub fn insert(&mut self, tag: u64, whither: Whither, now: Tick) {
        let expires = Tick::new(now.number() + LIFETIME);
        let meta = pack(whither, expires);
        let pair = self.buckets.pair(tag);
        if let Some((place, _)) = self.buckets.find(pair, &wanted(tag)) {
            return self.buckets.update(place, meta);
        }
        let place = self.buckets.vacancy(pair).or_else(|| {
            let entries = self.buckets.occupied(pair);
            entries
                .min_by_key(|&(_, meta)| unpack(meta, now).map_or(0, |(_, left)| left))
                .map(|(place, _)| place)
        });
        if let Some(place) = place {
            self.buckets.write(place, [tag], meta);
        }
    }

    /// Where the fragments of a datagram go, if its first was seen here.
    #[inline]
    pub fn find(&self, tag: u64, now: Tick) -> Option<Whither> {
        let (_, meta) = self.buckets.find(self.buckets.pair(tag), &wanted(tag))?;
        unpack(meta, now).map(|(whither, _)| whither)
    }
}

impl FragmentReader {
    /// Where the fragments of a datagram go, if its first was seen there.
    #[inline]
    pub fn find(&self, tag: u64, now: Tick) -> Option<Whither> {
        let pair = self.buckets.pair(tag);
        let (_, meta) = self.buckets.undisturbed(|| self.buckets.find(pair, &wanted(tag)))?;
        unpack(meta, now).map(|(whither, _)| whither)
    }
}

#[inline(always)]
fn wanted(tag: u64) -> Wanted<1> {
    Wanted { key: [tag], mask: 0, bits: 0 }
}

/// The layout is that of a flow; the state says no more than that the entry is not free.
#[inline(always)]
fn pack(Whither { service, real, epoch }: Whither, expires: Tick) -> u64 {
    Flow { real, epoch, state: FlowState::SynReceived, expires }.pack(service)
}

/// What a meta word says, and for how many ticks yet; none if its time is over.
#[inline(always)]
fn unpack(meta: u64, now: Tick) -> Option<(Whither, u32)> {
    let (service, Flow { real, epoch, expires, .. }) = Flow::unpack(meta)?;
    // An entry that nobody needed for 48 days comes round again, for 30 s: its tag will not.
    match expires.since(now) {
        left @ 1..=LIFETIME => Some((Whither { service, real, epoch }, left)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn whither(n: u16) -> Whither {
        Whither { service: ServiceId(n), real: RealSlot(n ^ 0xffff), epoch: (n & 15) as u8 }
    }

    #[test]
    fn a_datagram_is_remembered_for_thirty_seconds_after_its_first_fragment() {
        let mut table = FragmentTable::new(DEFAULT_ENTRIES, 7);
        assert_eq!(table.capacity(), DEFAULT_ENTRIES);
        // Across the wrap.
        let start = (1 << 24) - 50;
        table.insert(1, whither(77), Tick::new(start));
        for (ticks, found) in [(0, true), (119, true), (120, false), (121, false), (1 << 23, false)] {
            let now = Tick::new(start + ticks);
            assert_eq!(table.find(1, now), found.then_some(whither(77)), "after {ticks} ticks");
            assert_eq!(table.reader().find(1, now), found.then_some(whither(77)), "after {ticks} ticks");
        }
        assert_eq!(table.find(2, Tick::new(start)), None);
    }

    #[test]
    fn a_first_fragment_that_comes_again_has_the_last_word() {
        let mut table = FragmentTable::new(64, 7);
        table.insert(1, whither(1), Tick::new(0));
        table.insert(1, whither(2), Tick::new(100));
        assert_eq!(table.find(1, Tick::new(200)), Some(whither(2)));
        assert_eq!(table.buckets.iter().count(), 1);
    }

    #[test]
    fn of_a_flood_the_newest_are_remembered() {
        let mut table = FragmentTable::new(64, 7);
        // Tags that differ in their middle only have the same two buckets.
        let tag = |n: u64| 0x8000_0000_4000_0000 | n << 32;
        for n in 0..1000u16 {
            let now = Tick::new(u32::from(n));
            table.insert(tag(n.into()), whither(n), now);
            for old in n.saturating_sub(20)..=n {
                let found = table.find(tag(old.into()), now);
                assert_eq!(found, (n - old < 8).then_some(whither(old)), "{old} at {n}");
            }
        }
    }

    #[test]
    fn tags_differ_with_every_field_and_with_the_boot_key() {
        let v4 = |bits: u32| Address::from_v4(bits);
        let v6 = |bits: u128| Address::from(std::net::IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)));
        let mut tags = HashSet::new();
        let mut count = 0;
        let mut add = |tag: u64| {
            count += 1;
            // Both halves: each chooses a bucket.
            assert!(tags.insert(tag >> 32) & tags.insert(tag & 0xffff_ffff), "number {count}");
        };
        add(tag(7, v4(1), v4(2), 17, 3));
        add(tag(8, v4(1), v4(2), 17, 3));
        add(tag(7, v4(2), v4(1), 17, 3));
        add(tag(7, v4(1), v4(2), 6, 3));
        add(tag(7, v6(1 << 90), v6(2 << 90), 17, 3));
        add(tag(8, v6(1 << 90), v6(2 << 90), 17, 3));
        add(tag(7, v6(2 << 90), v6(1 << 90), 17, 3));
        add(tag(7, v6(1 << 90), v6(2 << 90), 6, 3));
        for bit in 0..128 {
            add(tag(7, v6(1 << 90 ^ 1 << bit), v6(7), 17, 3));
            add(tag(7, v6(7), v6(1 << 90 ^ 1 << bit), 17, 3));
        }
        for bit in 0..32 {
            add(tag(7, v4(1 << bit), v4(7), 17, 3));
            add(tag(7, v4(7), v4(1 << bit), 17, 3));
            add(tag(7, v4(1), v4(2), 17, 1 << bit ^ 0x55));
            add(tag(7, v6(1), v6(2), 17, 1 << bit ^ 0x55));
        }
    }
}

//! Maglev's consistent hashing (Eisenbud et al., NSDI'16, section 3.4), weighted.
//!
//! *Invariants*: the table is a function of the members and the key alone: neither the order in which they
//! were configured nor their history matters, so every director of a cluster, and one that was just
//! restarted, builds the same table. Each member's share of the slots is its share of the weights to within
//! one slot a member; when a member goes, the slots of the others stay but for a fraction of a per cent.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hash::HashKey;
use crate::packet::Address;
use crate::schedule::{Candidate, Fleet, takes_new};

/// Slots of a table: prime, and large beside the number of members (the paper asks for 100 x N).
pub const SLOTS: usize = 65_537;

/// Further places that are tried for a flow whose real server is overloaded. Three of four real servers may be, and
/// one flow in ten comes to the end.
const PROBES: u64 = 8;

/// One candidate for new flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// The real server's address: its identity.
    pub address: Address,
    /// Its weight, 1-65535.
    pub weight: u16,
    /// What a slot of the table says for it.
    pub value: u16,
}

/// Slot -> member value. A clone shares the slots: services with the same members have one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaglevTable(Arc<[u16; SLOTS]>);

impl MaglevTable {
    /// Builds the table of `members` (addresses distinct, weights not 0); none if there is no member.
    pub fn build(key: HashKey, members: &[Member]) -> Option<Self> {
        let heaviest = u64::from(members.iter().map(|m| m.weight).max()?);
        let mut members = members.to_vec();
        members.sort_by_key(|member| member.address);
        let mut permutations: Vec<Permutation> =
            members.iter().map(|member| Permutation::new(key, member.address)).collect();
        let mut credit = vec![0u64; members.len()];
        let mut table: Box<[Option<u16>]> = vec![None; SLOTS].into();
        let mut filled = 0;
        // Each round the heaviest member takes one slot, the others their fraction of one.
        loop {
            for ((member, permutation), credit) in members.iter().zip(&mut permutations).zip(&mut credit) {
                *credit += u64::from(member.weight);
                if *credit < heaviest {
                    continue;
                }
                *credit -= heaviest;
                permutation.take_free(&mut table, member.value);
                filled += 1;
                if filled == SLOTS {
                    let slots: Arc<[u16]> = table.into_iter().flatten().collect();
                    return slots.try_into().ok().map(MaglevTable);
                }
            }
        }
    }

    /// The member value for a flow hash.
    #[inline(always)]
    pub fn pick(&self, hash: u64) -> u16 {
        self.0[Self::slot(hash)]
    }

    /// The member value for a flow hash, where that is the slot of one of the candidates; if that one is
    /// overloaded, then of one that is not: a few places of the table are tried, which shares its flows out by
    /// weight, and at last all candidates. None if nobody takes new flows.
    #[inline]
    pub(super) fn pick_willing(
        &self,
        hash: u64,
        candidates: &[Candidate],
        fleet: &impl Fleet,
    ) -> Option<u16> {
        let first = self.pick(hash);
        if !fleet.is_overloaded(first) {
            return Some(first);
        }
        let mut hash = hash;
        for probe in 1..=PROBES {
            hash = HashKey([hash, probe]).words(hash, probe);
            let next = self.pick(hash);
            if !fleet.is_overloaded(next) {
                return Some(next);
            }
        }
        let start = ((u128::from(hash) * candidates.len() as u128) >> 64) as usize;
        let (before, behind) = candidates.split_at_checked(start)?;
        behind.iter().chain(before).find(|candidate| takes_new(candidate, fleet)).map(|c| c.slot)
    }

    /// The slot of a flow hash: the high bits choose, without a division.
    #[inline(always)]
    pub const fn slot(hash: u64) -> usize {
        ((hash as u128 * SLOTS as u128) >> 64) as usize
    }

    /// Whether both are one table in memory, not only alike.
    pub fn is_shared_with(&self, other: &MaglevTable) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Where it is in memory: the same for all that share it.
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<u16>().addr()
    }

    /// All slots.
    pub fn slots(&self) -> &[u16] {
        &self.0[..]
    }
}

/// Tables by their members, each built once: 128 KiB and most of a millisecond apiece.
#[derive(Debug, Default)]
pub struct Tables(HashMap<Vec<Member>, MaglevTable>);

impl Tables {
    /// The table of `members`, as [`MaglevTable::build`] has it. All calls with the same key.
    pub fn of(&mut self, key: HashKey, mut members: Vec<Member>) -> Option<MaglevTable> {
        members.sort_by_key(|member| member.address);
        if let Some(table) = self.0.get(&members) {
            return Some(table.clone());
        }
        let table = MaglevTable::build(key, &members)?;
        self.0.insert(members, table.clone());
        Some(table)
    }

    /// A table that is there already.
    pub fn add(&mut self, mut members: Vec<Member>, table: &MaglevTable) {
        members.sort_by_key(|member| member.address);
        self.0.insert(members, table.clone());
    }
}

/// The order in which one member wants the slots: offset, offset + skip, offset + 2 skip, ... modulo SLOTS,
/// which meets every slot once because SLOTS is prime.
struct Permutation {
    next: usize,
    skip: usize,
}

impl Permutation {
    fn new(key: HashKey, address: Address) -> Self {
        let hash = key.endpoint(address, 0, 0);
        Permutation {
            next: (hash >> 32) as usize % SLOTS,
            skip: (hash & 0xffff_ffff) as usize % (SLOTS - 1) + 1,
        }
    }

    fn take_free(&mut self, table: &mut [Option<u16>], value: u16) {
        loop {
            let slot = self.next;
            // Both are below SLOTS. A division here is most of a build.
            self.next += self.skip;
            if self.next >= SLOTS {
                self.next -= SLOTS;
            }
            if table[slot].is_none() {
                table[slot] = Some(value);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: HashKey = HashKey([7, 11]);

    fn member(n: u16, weight: u16) -> Member {
        Member { address: Address::from_v4(0xc000_0200 + u32::from(n)), weight, value: n }
    }

    fn shares(table: &MaglevTable, members: usize) -> Vec<usize> {
        let mut shares = vec![0; members];
        table.slots().iter().for_each(|&value| shares[value as usize] += 1);
        shares
    }

    #[test]
    fn equal_weights_share_the_slots_to_within_one() {
        let members: Vec<_> = (0..10).map(|n| member(n, 1)).collect();
        let shares = shares(&MaglevTable::build(KEY, &members).unwrap(), 10);
        let (min, max) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(max - min <= 1, "{shares:?}");
    }

    #[test]
    fn removing_one_of_ten_moves_under_one_per_cent_of_the_others() {
        let ten: Vec<_> = (0..10).map(|n| member(n, 1)).collect();
        let before = MaglevTable::build(KEY, &ten).unwrap();
        for gone in 0..10u16 {
            let nine: Vec<_> = ten.iter().copied().filter(|m| m.value != gone).collect();
            let after = MaglevTable::build(KEY, &nine).unwrap();
            let stayed = before.slots().iter().filter(|&&v| v != gone).count();
            let moved =
                before.slots().iter().zip(after.slots()).filter(|&(b, a)| *b != gone && b != a).count();
            assert!((moved as f64) < 0.01 * stayed as f64, "without {gone}: {moved} of {stayed} moved");
        }
    }

    #[test]
    fn the_table_never_changes_between_versions() {
        let members: Vec<_> = (0..3).map(|n| member(n, n + 1)).collect();
        let table = MaglevTable::build(KEY, &members).unwrap();
        let digest = table
            .slots()
            .iter()
            .fold(0u64, |d, &v| crate::hash::fold(d ^ u64::from(v) ^ 0x9e37_79b9, 0xbf58_476d_1ce4_e5b9));
        // Computed by a second implementation of this file.
        assert_eq!(digest, 0x1132_e122_2f84_9b39);
    }

    #[test]
    fn no_member_no_table() {
        assert_eq!(MaglevTable::build(KEY, &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn shares_follow_weights_and_order_does_not_matter(
            weights in proptest::collection::vec(1u16..=200, 1..20), seed in any::<u64>(),
        ) {
            let mut members: Vec<_> = weights.iter().enumerate().map(|(n, &w)| member(n as u16, w)).collect();
            let table = MaglevTable::build(KEY, &members).unwrap();
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (n, share) in shares(&table, weights.len()).into_iter().enumerate() {
                let expected = SLOTS as f64 * f64::from(weights[n]) / total as f64;
                prop_assert!((share as f64 - expected).abs() <= weights.len() as f64 + 1.0,
                    "member {n} of weights {weights:?}: {share} slots, expected {expected}");
            }
            let turn = seed as usize % members.len();
            members.rotate_left(turn);
            members.reverse();
            prop_assert_eq!(table, MaglevTable::build(KEY, &members).unwrap());
        }
    }
}

//! Locality-based least connection (`lblc`), and the same with replication (`lblcr`): all flows to one destination
//! go to one real server (a cache, say), or to a set of them that grows under load.
//!
//! IPVS keeps a table from destination address to real servers. A service here has exactly one VIP, and so one
//! entry: *the cell*. An IPVS service of a firewall mark, where several destinations meet, has no counterpart.
//!
//! *Invariants*: the cell is a few words that all workers share, one more a candidate for `lblcr`. No worker waits
//! for another; those that change the cell at the same time can cost it a member, which is then chosen anew. A cell
//! that was not used for a day is forgotten. A real server that is removed or down leaves the cell (IPVS keeps it
//! in mind).
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_lblc.c and ip_vs_lblcr.c.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::schedule::least_connection::{Ratio, overhead, weighted};
use crate::schedule::{Candidate, Fleet, is_same, takes_new};

/// An unused cell is forgotten, and an unchanged set shrinks, after this many ticks: IPVS's default of 24 hours.
const EXPIRATION: u32 = 24 * 60 * 60 * TICKS_PER_SECOND;

/// Whether a real server has more active flows than weight while another has less than half of its own.
fn is_crowded(candidate: &Candidate, candidates: &[Candidate], fleet: &impl Fleet) -> bool {
    fleet.load(candidate.slot).active > u64::from(candidate.weight)
        && candidates
            .iter()
            .any(|other| u128::from(fleet.load(other.slot).active) * 2 < u128::from(other.weight))
}

/// A word of the cell: when it was written, and a number; 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    index: usize,
    at: Tick,
}

impl Entry {
    fn word(self) -> u64 {
        1 << 63 | (self.index as u64 & 0xffff_ffff) << 24 | u64::from(self.at.number())
    }

    fn of(word: u64) -> Option<Self> {
        let entry = Entry { index: (word >> 24) as u32 as usize, at: Tick::new(word as u32 & 0xff_ffff) };
        (word >> 63 == 1).then_some(entry)
    }

    /// The entry of a word, if it was used within the last day.
    fn fresh(word: u64, now: Tick) -> Option<Self> {
        Self::of(word).filter(|entry| now.since(entry.at) < EXPIRATION)
    }
}

/// `lblc`.
#[derive(Debug)]
pub(super) struct Lblc {
    /// The entry: the candidate's index, and when it was used last.
    cell: AtomicU64,
}

impl Lblc {
    /// `previous`: the cell before, and its candidates.
    pub(super) fn build(candidates: &[Candidate], previous: Option<(&Lblc, &[Candidate])>) -> Self {
        let cell = previous.and_then(|(lblc, before)| {
            let entry = Entry::of(lblc.cell.load(Ordering::Relaxed))?;
            let old = before.get(entry.index)?;
            let index = candidates.iter().position(|new| is_same(new, old))?;
            Some(Entry { index, ..entry }.word())
        });
        Lblc { cell: AtomicU64::new(cell.unwrap_or(0)) }
    }

    /// Who takes a flow at this time.
    #[inline]
    pub(super) fn pick(&self, now: Tick, candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
        // Relaxed: the word stands for nothing but itself.
        let word = self.cell.load(Ordering::Relaxed);
        if let Some(entry) = Entry::fresh(word, now) {
            if entry.at != now {
                let used = Entry { at: now, ..entry }.word();
                // Whoever was faster used it just as much.
                let _ = self.cell.compare_exchange(word, used, Ordering::Relaxed, Ordering::Relaxed);
            }
            // IPVS does not ask here whether the threshold is reached.
            if let Some(held) = candidates.get(entry.index)
                && held.weight > 0
                && !is_crowded(held, candidates, fleet)
            {
                return Some(held.slot);
            }
        }
        let index = weighted(candidates, fleet)?;
        self.cell.store(Entry { index, at: now }.word(), Ordering::Relaxed);
        candidates.get(index).map(|candidate| candidate.slot)
    }
}

/// `lblcr`.
#[derive(Debug)]
pub(super) struct Lblcr {
    /// When the set was used last (index 0).
    used: AtomicU64,
    /// When it was changed last (index 0).
    changed: AtomicU64,
    /// Members that ever joined.
    joins: AtomicU64,
    /// By candidate: the number of its join; 0: no member.
    members: Box<[AtomicU64]>,
}

impl Lblcr {
    /// `previous`: the set before, and its candidates.
    pub(super) fn build(candidates: &[Candidate], previous: Option<(&Lblcr, &[Candidate])>) -> Self {
        let copy = |word: fn(&Lblcr) -> &AtomicU64| {
            AtomicU64::new(previous.map_or(0, |(lblcr, _)| word(lblcr).load(Ordering::Relaxed)))
        };
        let joined: HashMap<_, _> = previous
            .map(|(lblcr, before)| before.iter().zip(&lblcr.members))
            .into_iter()
            .flatten()
            .map(|(old, joined)| ((old.slot, old.address), joined.load(Ordering::Relaxed)))
            .collect();
        let of = |new: &Candidate| joined.get(&(new.slot, new.address)).copied().unwrap_or(0);
        Lblcr {
            used: copy(|lblcr| &lblcr.used),
            changed: copy(|lblcr| &lblcr.changed),
            joins: copy(|lblcr| &lblcr.joins),
            members: candidates.iter().map(|new| AtomicU64::new(of(new))).collect(),
        }
    }

    /// Who takes a flow at this time.
    #[inline]
    pub(super) fn pick(&self, now: Tick, candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
        self.touch(now);
        let set = self.set(candidates, fleet);
        if let (Some(most), 2..) = (set.most, set.size) {
            self.shrink(most, now);
        }
        if let Some(least) = set.least.and_then(|member| candidates.get(member.index))
            && !is_crowded(least, candidates, fleet)
        {
            return Some(least.slot);
        }
        let index = weighted(candidates, fleet)?;
        self.join(index, now);
        candidates.get(index).map(|candidate| candidate.slot)
    }

    /// Notes the use; empties the set if that was too long ago.
    fn touch(&self, now: Tick) {
        let word = self.used.load(Ordering::Relaxed);
        let entry = Entry::fresh(word, now);
        if entry.is_some_and(|entry| entry.at == now) {
            return;
        }
        let used = Entry { index: 0, at: now }.word();
        let mine = self.used.compare_exchange(word, used, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine && entry.is_none() {
            self.members.iter().for_each(|joined| joined.store(0, Ordering::Relaxed));
        }
    }

    fn set(&self, candidates: &[Candidate], fleet: &impl Fleet) -> Set {
        let mut set = Set { size: 0, least: None, most: None };
        for (index, (candidate, joined)) in candidates.iter().zip(&self.members).enumerate() {
            let joined = joined.load(Ordering::Relaxed);
            if joined == 0 {
                continue;
            }
            set.size += 1;
            if candidate.weight == 0 {
                continue;
            }
            let work = overhead(fleet.load(candidate.slot));
            let member = Member { index, ratio: Ratio { work, weight: candidate.weight }, joined };
            if takes_new(candidate, fleet) && set.least.is_none_or(|least| member.is_less_than(least)) {
                set.least = Some(member);
            }
            if set.most.is_none_or(|most| member.is_more_than(most)) {
                set.most = Some(member);
            }
        }
        set
    }

    /// Takes the most loaded member out of a set that was not changed for a day.
    fn shrink(&self, most: Member, now: Tick) {
        let word = self.changed.load(Ordering::Relaxed);
        if Entry::of(word).is_none_or(|entry| now.since(entry.at) <= EXPIRATION) {
            return;
        }
        let changed = Entry { index: 0, at: now }.word();
        // One worker alone.
        if self.changed.compare_exchange(word, changed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Some(joined) = self.members.get(most.index)
        {
            joined.store(0, Ordering::Relaxed);
        }
    }

    fn join(&self, index: usize, now: Tick) {
        let Some(joined) = self.members.get(index) else { return };
        if joined.load(Ordering::Relaxed) != 0 {
            return;
        }
        let number = self.joins.fetch_add(1, Ordering::Relaxed) + 1;
        if joined.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.changed.store(Entry { index: 0, at: now }.word(), Ordering::Relaxed);
        }
    }
}

/// What `pick` wants to know of the set.
struct Set {
    size: usize,
    /// The least loaded that takes new flows.
    least: Option<Member>,
    /// The most loaded with a weight.
    most: Option<Member>,
}

#[derive(Clone, Copy)]
struct Member {
    index: usize,
    ratio: Ratio,
    /// The number of its join. IPVS's set lists the newest first, and of equals takes the first.
    joined: u64,
}

impl Member {
    fn is_less_than(self, least: Member) -> bool {
        let is_equal = !least.ratio.is_below(self.ratio);
        self.ratio.is_below(least.ratio) || is_equal && self.joined > least.joined
    }

    fn is_more_than(self, most: Member) -> bool {
        let is_equal = !self.ratio.is_below(most.ratio);
        most.ratio.is_below(self.ratio) || is_equal && self.joined > most.joined
    }
}

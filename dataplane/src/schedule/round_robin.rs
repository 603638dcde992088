//! Round robin (`rr`) and weighted round robin (`wrr`): everyone in turn, by weight.
//!
//! *Invariants*: whose turn it is is one word that all workers share. A worker computes the next turn from the word
//! it read and stores it only if the word is still that one, else it begins anew: nobody's turn is given twice or
//! skipped, and whenever one worker has to repeat, another got through (lock-free). After a change of the set rr
//! goes on behind the real server that was last; wrr begins at the head of the list.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_rr.c and ip_vs_wrr.c.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::schedule::{Candidate, Fleet, is_same, listed, takes_new};

/// `rr`.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Index of the candidate that was last, plus 1; 0: the head of the list.
    last: AtomicU32,
}

impl RoundRobin {
    /// `previous`: the turn before, and its candidates.
    pub(super) fn build(candidates: &[Candidate], previous: Option<(&RoundRobin, &[Candidate])>) -> Self {
        let last = previous.and_then(|(turn, before)| {
            let last = turn.last.load(Ordering::Relaxed) as usize;
            // If it is gone, then whoever stood nearest before it in the list, that is, was configured after it.
            let stood = before.get(last.checked_sub(1)?..)?;
            stood.iter().find_map(|old| candidates.iter().position(|new| is_same(new, old)))
        });
        RoundRobin { last: AtomicU32::new(last.map_or(0, |index| index as u32 + 1)) }
    }

    /// Who takes the next flow.
    #[inline]
    pub(super) fn pick(&self, candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
        // Relaxed: the word stands for nothing but itself.
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let (index, slot) = after(last as usize, candidates, fleet)?;
            let next = index as u32 + 1;
            match self.last.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(slot),
                Err(current) => last = current,
            }
        }
    }
}

/// The first that takes new flows behind `last`, once round the list and `last` itself at the end.
fn after(last: usize, candidates: &[Candidate], fleet: &impl Fleet) -> Option<(usize, u16)> {
    let rest = candidates.get(..last.saturating_sub(1)).unwrap_or_default();
    let around = listed(rest).chain(listed(candidates));
    around
        .filter(|(_, candidate)| takes_new(candidate, fleet))
        .map(|(index, candidate)| (index, candidate.slot))
        .next()
}

/// `wrr`: passes over the list, each of which takes those that have at least the weight it asks for. The first asks
/// for the greatest weight, each pass for one step less.
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    turn: AtomicU64,
    passes: Passes,
}

/// The passes that the weights make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Passes {
    /// What the first asks for: the greatest weight, less (step - 1) so that the last asks for 1.
    /// 0: nobody has a weight.
    first: u16,
    /// What each asks for less than the one before: the greatest common divisor of the weights, at least 1.
    step: u16,
}

/// Where the passes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// Index of the candidate that was last, plus 1; 0: the head of the list.
    last: u32,
    /// What the pass asks for: 1 modulo the step, at most what the first asks for.
    weight: u16,
}

impl Turn {
    fn word(self) -> u64 {
        u64::from(self.last) << 16 | u64::from(self.weight)
    }

    fn of(word: u64) -> Self {
        Turn { last: (word >> 16) as u32, weight: word as u16 }
    }
}

impl WeightedRoundRobin {
    /// The first candidates of a service: as if they had been added one by one.
    pub(super) fn grown(candidates: &[Candidate]) -> Self {
        let (mut weight, mut passes) = (0, Passes::default());
        let (mut divisor, mut heaviest) = (0, 0);
        for candidate in candidates {
            divisor = gcd(divisor, candidate.weight);
            heaviest = candidate.weight.max(heaviest);
            passes = Passes::new(divisor, heaviest);
            weight = passes.adjust(weight);
        }
        Self::at_head(weight, passes)
    }

    /// In the place of another policy.
    pub(super) fn begun(candidates: &[Candidate]) -> Self {
        let passes = Passes::of(candidates);
        Self::at_head(passes.first, passes)
    }

    /// After a change of the candidates: from the head of the list on, asking for what the pass asked for, as far
    /// as the new weights know it.
    pub(super) fn changed(&self, before: &[Candidate], candidates: &[Candidate]) -> Self {
        let word = self.turn.load(Ordering::Relaxed);
        if before == candidates {
            return WeightedRoundRobin { turn: AtomicU64::new(word), passes: self.passes };
        }
        let passes = Passes::of(candidates);
        Self::at_head(passes.adjust(Turn::of(word).weight), passes)
    }

    fn at_head(weight: u16, passes: Passes) -> Self {
        WeightedRoundRobin { turn: AtomicU64::new(Turn { last: 0, weight }.word()), passes }
    }

    /// Who takes the next flow.
    #[inline]
    pub(super) fn pick(&self, candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
        // Relaxed: the word stands for nothing but itself.
        let mut word = self.turn.load(Ordering::Relaxed);
        loop {
            let (next, slot) = self.passes.next(Turn::of(word), candidates, fleet);
            let next = next.word();
            match self.turn.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return slot,
                Err(current) => word = current,
            }
        }
    }
}

impl Passes {
    fn new(divisor: u16, heaviest: u16) -> Self {
        let step = divisor.max(1);
        Passes { first: heaviest.saturating_sub(step - 1), step }
    }

    fn of(candidates: &[Candidate]) -> Self {
        let divisor = candidates.iter().fold(0, |divisor, candidate| gcd(divisor, candidate.weight));
        Self::new(divisor, candidates.iter().map(|candidate| candidate.weight).max().unwrap_or(0))
    }

    /// What a pass that asked for `weight` asks for after a change.
    fn adjust(self, weight: u16) -> u16 {
        if weight > self.first || weight == 0 {
            self.first
        } else if self.step > 1 {
            weight / self.step * self.step + 1
        } else {
            weight
        }
    }

    /// The turn after this one, and whose it is.
    fn next(self, turn: Turn, candidates: &[Candidate], fleet: &impl Fleet) -> (Turn, Option<u16>) {
        if self.first == 0 {
            return (turn, None);
        }
        // The rest of the pass.
        let rest = match turn.last {
            0 => candidates,
            last => candidates.get(..last as usize - 1).unwrap_or_default(),
        };
        if let Some((index, slot)) = willing(rest, turn.weight, fleet) {
            return (Turn { last: index, weight: turn.weight }, Some(slot));
        }
        // Nobody was: passes that ask for more than the heaviest of the others has need not be made.
        let Some(heaviest) = heaviest(candidates, fleet) else {
            // Having tried all for a weight of 1, IPVS stands at the end of the list, or still where it was.
            let stays = turn.last != 0 && turn.weight <= self.step;
            return (if stays { turn } else { Turn { last: 0, weight: self.first } }, None);
        };
        let next = match turn.weight.checked_sub(self.step) {
            None | Some(0) => self.first,
            Some(weight) => weight,
        };
        let steps = next.saturating_sub(heaviest).div_ceil(self.step);
        let weight = next.saturating_sub(steps.saturating_mul(self.step)).max(1);
        // If the heaviest has just become overloaded, anyone else.
        match willing(candidates, weight, fleet).or_else(|| willing(candidates, 1, fleet)) {
            Some((index, slot)) => (Turn { last: index, weight }, Some(slot)),
            None => (turn, None),
        }
    }
}

/// The first in the list with this weight or more that takes new flows: its index plus 1, and its slot.
fn willing(candidates: &[Candidate], weight: u16, fleet: &impl Fleet) -> Option<(u32, u16)> {
    listed(candidates)
        .find(|(_, candidate)| candidate.weight >= weight && takes_new(candidate, fleet))
        .map(|(index, candidate)| (index as u32 + 1, candidate.slot))
}

/// The greatest weight of those that take new flows.
fn heaviest(candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
    candidates.iter().filter(|candidate| takes_new(candidate, fleet)).map(|candidate| candidate.weight).max()
}

/// The greatest common divisor; 0 and a number have that number.
pub(super) const fn gcd(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

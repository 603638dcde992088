//! IPVS's Maglev hashing (`mh`): a table of 4,093 places over the source. Unlike shunt's own `maglev` its key is a
//! constant, it hashes the client alone, and a real server that takes no new flow keeps its places.
//!
//! *Invariants*: the table depends on the candidates, their order and their *last weights* alone: a candidate
//! drained to weight 0 keeps the places it had, one that never had a weight has none.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_mh.c with its default table size, on a 64-bit machine.

use std::collections::HashMap;

use crate::schedule::hashing::{address_word, source_word};
use crate::schedule::round_robin::gcd;
use crate::schedule::siphash::{self, Key};
use crate::schedule::{Candidate, Fleet, HashFlags, Question, listed, takes_new};

/// Places of the table: prime.
const PLACES: usize = 4_093;
/// A candidate takes fewer than 2^6 places in a row (or exactly that, if alone of that weight).
const TURN_BITS: u32 = 6;
const FIRST: Key = [2_654_435_761; 2];
const SECOND: Key = [2_654_446_892; 2];

/// Place -> index of a candidate.
#[derive(Debug)]
pub(super) struct MhTable {
    /// Empty while no candidate ever had a weight.
    places: Box<[u16]>,
    /// The last weight other than 0 of each candidate; 0 if it had none yet.
    last_weights: Box<[u16]>,
}

impl MhTable {
    /// `previous`: the table before, and its candidates.
    pub(super) fn build(candidates: &[Candidate], previous: Option<(&MhTable, &[Candidate])>) -> Self {
        let before: HashMap<_, _> = previous
            .map(|(table, candidates)| candidates.iter().zip(&table.last_weights))
            .into_iter()
            .flatten()
            .map(|(candidate, &weight)| ((candidate.slot, candidate.address), weight))
            .collect();
        let last_weights: Box<[u16]> = candidates
            .iter()
            .map(|candidate| match candidate.weight {
                0 => before.get(&(candidate.slot, candidate.address)).copied().unwrap_or_default(),
                weight => weight,
            })
            .collect();
        MhTable { places: fill(candidates, &last_weights), last_weights }
    }

    /// The owner of the place, whatever it takes.
    #[inline]
    pub(super) fn owner<'a>(
        &self,
        question: &Question,
        flags: HashFlags,
        candidates: &'a [Candidate],
    ) -> Option<&'a Candidate> {
        self.at(place(source_word(question, flags), FIRST), candidates)
    }

    #[inline]
    fn at<'a>(&self, place: usize, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
        candidates.get(usize::from(*self.places.get(place)?))
    }

    /// Who takes the flow.
    #[inline]
    pub(super) fn pick(
        &self,
        question: &Question,
        flags: HashFlags,
        candidates: &[Candidate],
        fleet: &impl Fleet,
    ) -> Option<u16> {
        let word = source_word(question, flags);
        let first = place(word, FIRST);
        let owner = self.at(first, candidates)?;
        if takes_new(owner, fleet) {
            return Some(owner.slot);
        }
        // Asking all candidates is cheaper than hashing 4,093 times in vain.
        if !flags.fallback || !candidates.iter().any(|candidate| takes_new(candidate, fleet)) {
            return None;
        }
        (0..PLACES).find_map(|offset| {
            let moved = word.wrapping_add(((first + offset) % PLACES) as u32);
            let owner = self.at(place(moved, FIRST), candidates)?;
            takes_new(owner, fleet).then_some(owner.slot)
        })
    }
}

#[inline]
fn hash(word: u32, key: Key) -> usize {
    siphash::of_word(key, word) as u32 as usize
}

#[inline]
fn place(word: u32, key: Key) -> usize {
    hash(word, key) % PLACES
}

/// The order in which a candidate wants the places, and how many it takes in a row.
struct Taker {
    index: u16,
    next: usize,
    skip: usize,
    turns: u32,
}

fn fill(candidates: &[Candidate], last_weights: &[u16]) -> Box<[u16]> {
    let divisor = last_weights.iter().fold(0, |divisor, &weight| gcd(divisor, weight));
    if divisor == 0 {
        return Box::default();
    }
    let heaviest = last_weights.iter().max().map_or(0, |weight| weight / divisor);
    let shift = (u16::BITS - heaviest.leading_zeros()).saturating_sub(TURN_BITS);
    let mut takers: Vec<Taker> = listed(candidates)
        .zip(last_weights.iter().rev())
        .filter(|(_, weight)| **weight > 0)
        .map(|((index, candidate), &weight)| {
            let word = address_word(candidate.address).wrapping_add(u32::from(candidate.port));
            Taker {
                index: index as u16,
                next: place(word, FIRST),
                skip: hash(word, SECOND) % (PLACES - 1) + 1,
                turns: u32::from((weight / divisor) >> shift).max(1),
            }
        })
        .collect();
    let mut places: Box<[Option<u16>]> = std::iter::repeat_n(None, PLACES).collect();
    let mut free = PLACES;
    loop {
        for taker in &mut takers {
            for _ in 0..taker.turns {
                while places[taker.next].is_some() {
                    taker.next = (taker.next + taker.skip) % PLACES;
                }
                places[taker.next] = Some(taker.index);
                free -= 1;
                if free == 0 {
                    return places.into_iter().flatten().collect();
                }
            }
        }
    }
}

//! The better of two random choices (`twos`; Mitzenmacher, Richa, Sitaraman, "The power of two random choices",
//! 2001): two draws by weight, and the less loaded of the two gets the flow.
//!
//! *Invariants*: chance comes from the flow's keyed hash and a counter that all workers share, so that a client
//! that does not know the key cannot aim, and flows of one client draw anew. Nothing else is remembered.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_twos.c.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::HashKey;
use crate::schedule::least_connection::{Ratio, overhead};
use crate::schedule::{Candidate, Fleet, listed, takes_new};

/// `twos`.
#[derive(Debug)]
pub(super) struct Twos {
    flows: AtomicU64,
}

impl Twos {
    pub(super) fn build(previous: Option<&Twos>) -> Self {
        Twos { flows: AtomicU64::new(previous.map_or(0, |twos| twos.flows.load(Ordering::Relaxed))) }
    }

    /// Who takes the flow with this hash.
    #[inline]
    pub(super) fn pick(&self, hash: u64, candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
        let total: u64 = candidates
            .iter()
            .filter(|candidate| takes_new(candidate, fleet))
            .map(|candidate| u64::from(candidate.weight))
            .sum();
        // Relaxed: every flow gets a number of its own, in whatever order.
        let chance = HashKey([hash, self.flows.fetch_add(1, Ordering::Relaxed)]);
        let first = drawn(chance.words(0, 1), total, candidates, fleet)?;
        let second = drawn(chance.words(1, 0), total, candidates, fleet)?;
        let ratio = |candidate: &Candidate| Ratio {
            work: overhead(fleet.load(candidate.slot)),
            weight: candidate.weight,
        };
        let best = if ratio(second).is_below(ratio(first)) { second } else { first };
        Some(best.slot)
    }
}

/// The candidate on which a random number falls. As in IPVS the ticket is one of 0 ..= total, and both 0 and 1 are
/// the first weight's: the first in the list has one ticket more than its weight.
fn drawn<'a>(
    chance: u64,
    total: u64,
    candidates: &'a [Candidate],
    fleet: &impl Fleet,
) -> Option<&'a Candidate> {
    let mut ticket = ((u128::from(chance) * (u128::from(total) + 1)) >> 64) as u64;
    let mut takers = listed(candidates).map(|(_, c)| c).filter(|candidate| takes_new(candidate, fleet));
    let mut last = takers.next()?;
    loop {
        ticket = ticket.saturating_sub(u64::from(last.weight));
        if ticket == 0 {
            return Some(last);
        }
        match takers.next() {
            Some(next) => last = next,
            // Somebody has just become overloaded.
            None => return Some(last),
        }
    }
}

//! Weighted failover (`fo`): all to the heaviest. Weighted overflow (`ovf`): all to the heaviest that has no more
//! active flows than weight; its weight is the number of flows it is good for.
//!
//! *Invariants*: no memory; of equally heavy ones the first in the list.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_fo.c and ip_vs_ovf.c.

use crate::schedule::{Candidate, Fleet, listed, takes_new};

/// `fo`.
pub(super) fn failover(candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
    heaviest(candidates, |candidate| takes_new(candidate, fleet))
}

/// `ovf`.
pub(super) fn overflow(candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
    heaviest(candidates, |candidate| {
        takes_new(candidate, fleet) && fleet.load(candidate.slot).active <= u64::from(candidate.weight)
    })
}

fn heaviest(candidates: &[Candidate], takes: impl Fn(&Candidate) -> bool) -> Option<u16> {
    let takers = listed(candidates).map(|(_, candidate)| candidate).filter(|candidate| takes(candidate));
    let best = takers.reduce(|best, other| if other.weight > best.weight { other } else { best });
    best.map(|candidate| candidate.slot)
}

//! Whoever has least to do: least connection (`lc`), weighted least connection (`wlc`), shortest expected delay
//! (`sed`) and never queue (`nq`).
//!
//! *Invariants*: no memory, the loads decide; of equally loaded ones the first in the list. The *overhead* of a
//! real server counts an active flow as 256 inactive ones, but for sed and nq, which count active flows and the new
//! one. Products are of 128 bits, so that no load overflows.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_lc.c, ip_vs_wlc.c, ip_vs_sed.c and ip_vs_nq.c.

use crate::schedule::{Candidate, Fleet, Load, listed, takes_new};

/// `lc`.
pub(super) fn least(candidates: &[Candidate], fleet: &impl Fleet) -> Option<u16> {
    takers(candidates, fleet)
        .map(|(_, candidate)| (overhead(fleet.load(candidate.slot)), candidate.slot))
        .reduce(|best, other| if other.0 < best.0 { other } else { best })
        .map(|(_, slot)| slot)
}

/// `wlc`; the index of the candidate.
pub(super) fn weighted(candidates: &[Candidate], fleet: &impl Fleet) -> Option<usize> {
    lightest(candidates, fleet, overhead)
}

/// `sed`; the index of the candidate.
pub(super) fn shortest_delay(candidates: &[Candidate], fleet: &impl Fleet) -> Option<usize> {
    lightest(candidates, fleet, delay)
}

/// `nq`; the index of the candidate: the first idle one, else that of the shortest delay.
pub(super) fn never_queue(candidates: &[Candidate], fleet: &impl Fleet) -> Option<usize> {
    let idle = takers(candidates, fleet).find(|(_, candidate)| fleet.load(candidate.slot).active == 0);
    idle.map(|(index, _)| index).or_else(|| shortest_delay(candidates, fleet))
}

/// What a real server has to do, in inactive flows.
pub(super) fn overhead(load: Load) -> u128 {
    u128::from(load.active) * 256 + u128::from(load.inactive)
}

fn delay(load: Load) -> u128 {
    u128::from(load.active) + 1
}

/// Work shared out over a weight: compares as work / weight does. Weights are not 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio {
    /// In inactive flows.
    pub work: u128,
    /// Not 0.
    pub weight: u16,
}

impl Ratio {
    /// Whether `self` is strictly less.
    pub(super) fn is_below(self, other: Ratio) -> bool {
        self.work * u128::from(other.weight) < other.work * u128::from(self.weight)
    }
}

fn lightest(candidates: &[Candidate], fleet: &impl Fleet, work: impl Fn(Load) -> u128) -> Option<usize> {
    takers(candidates, fleet)
        .map(|(index, candidate)| {
            (index, Ratio { work: work(fleet.load(candidate.slot)), weight: candidate.weight })
        })
        .reduce(|best, other| if other.1.is_below(best.1) { other } else { best })
        .map(|(index, _)| index)
}

/// Those that take new flows, down the list.
fn takers<'a>(
    candidates: &'a [Candidate],
    fleet: &impl Fleet,
) -> impl Iterator<Item = (usize, &'a Candidate)> {
    listed(candidates).filter(|(_, candidate)| takes_new(candidate, fleet))
}

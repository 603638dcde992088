//! Source hashing (`sh`) and destination hashing (`dh`): 256 buckets, each a real server's, and an address says
//! which.
//!
//! *Invariants*: a bucket depends on the candidates, their order and (sh) their weights alone. A real server that
//! takes no new flow keeps its buckets, so that nobody else's clients move; those of its clients are turned away,
//! or with sh-fallback go to whoever other buckets name.
//!
//! After the kernel's net/netfilter/ipvs/ip_vs_sh.c and ip_vs_dh.c, whose hash is `hash_32` of
//! include/linux/hash.h.

use crate::packet::Address;
use crate::schedule::{Candidate, Fleet, HashFlags, Question, listed, takes_new};

const BUCKETS: usize = 1 << 8;

/// Bucket -> index of a candidate.
#[derive(Debug)]
pub(super) struct Buckets(Box<[u16; BUCKETS]>);

impl Buckets {
    /// For `sh`: down the list, round and round, each candidate as many buckets in a row as it has weight; even one
    /// without weight takes one. None without candidates.
    pub(super) fn by_weight(candidates: &[Candidate]) -> Option<Self> {
        Self::filled(listed(candidates).flat_map(|(index, candidate)| {
            std::iter::repeat_n(index, usize::from(candidate.weight.max(1)).min(BUCKETS))
        }))
    }

    /// For `dh`: down the list, round and round, each candidate one bucket. None without candidates.
    pub(super) fn alike(candidates: &[Candidate]) -> Option<Self> {
        Self::filled(listed(candidates).map(|(index, _)| index))
    }

    fn filled(round: impl Iterator<Item = usize> + Clone) -> Option<Self> {
        let indexes: Box<[u16]> = round.cycle().take(BUCKETS).map(|index| index as u16).collect();
        indexes.try_into().ok().map(Buckets)
    }

    #[inline]
    fn at<'a>(&self, hash: u8, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
        let index = self.0.get(usize::from(hash))?;
        candidates.get(usize::from(*index))
    }

    /// The bucket's owner for the source, whatever it takes.
    #[inline]
    pub(super) fn of_source<'a>(
        &self,
        question: &Question,
        flags: HashFlags,
        candidates: &'a [Candidate],
    ) -> Option<&'a Candidate> {
        self.at(hash(source_word(question, flags), 0), candidates)
    }

    /// The bucket's owner for the destination, whatever it takes.
    #[inline]
    pub(super) fn of_destination<'a>(
        &self,
        question: &Question,
        candidates: &'a [Candidate],
    ) -> Option<&'a Candidate> {
        self.at(hash(address_word(question.dst), 0), candidates)
    }

    /// Who takes the flow by its source.
    #[inline]
    pub(super) fn pick_by_source(
        &self,
        question: &Question,
        flags: HashFlags,
        candidates: &[Candidate],
        fleet: &impl Fleet,
    ) -> Option<u16> {
        let word = source_word(question, flags);
        let first = hash(word, 0);
        let owner = self.at(first, candidates)?;
        if takes_new(owner, fleet) {
            return Some(owner.slot);
        }
        if !flags.fallback {
            return None;
        }
        // Every bucket once, from the place of the first on.
        (0..=u8::MAX).find_map(|offset| {
            let owner = self.at(hash(word, first.wrapping_add(offset)), candidates)?;
            takes_new(owner, fleet).then_some(owner.slot)
        })
    }

    /// Who takes the flow by its destination.
    #[inline]
    pub(super) fn pick_by_destination(
        &self,
        question: &Question,
        candidates: &[Candidate],
        fleet: &impl Fleet,
    ) -> Option<u16> {
        let owner = self.of_destination(question, candidates)?;
        takes_new(owner, fleet).then_some(owner.slot)
    }
}

/// An IPv4 address; the four words of an IPv6 address, XORed.
#[inline]
pub(super) const fn address_word(address: Address) -> u32 {
    match address.v4() {
        Some(bits) => bits,
        None => {
            let bits = address.bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// What sh and mh hash of a client: its address, and its port if asked to.
#[inline]
pub(super) const fn source_word(question: &Question, flags: HashFlags) -> u32 {
    let port = if flags.port { question.src_port } else { 0 };
    address_word(question.src).wrapping_add(port as u32)
}

/// The kernel's `hash_32` to 8 bits (by the golden ratio), moved on by an offset.
#[inline]
const fn hash(word: u32, offset: u8) -> u8 {
    ((word.wrapping_mul(0x61c8_8647) >> 24) as u8).wrapping_add(offset)
}

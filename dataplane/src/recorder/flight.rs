//! The flight recorder of a worker: the last verdicts, always, so that what led to an alert can be looked at after it.
//!
//! Forwarded frames and all others have a ring each, so that traffic never pushes out what was refused. A ring takes
//! [`RATE`] records a second on average and [`DEPTH`] at once, so it always reaches back [`RECORDS`]` / RATE` seconds,
//! whatever the load; each record says how many frames its class had had, so what lies between two records is
//! counted.
//!
//! *Invariants*
//! - One writer, the worker; it neither waits nor knows of readers.
//! - A reader sees a record as it was written or not at all: record `n` lies in slot `n % RECORDS`, and is whole as long
//!   as no more than `n + RECORDS` have been begun.
//!
//! H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam::utils::CachePadded;

use crate::recorder::Outcome;
use crate::recorder::facts::{Facts, WORDS};

/// Records of a ring: 2 MiB.
pub const RECORDS: usize = 1 << 14;
/// Records a second, on average.
pub const RATE: u64 = 1000;
/// Records at once, after a silence.
const DEPTH: u64 = 64;
/// Words of a record: two cache lines.
const SIZE: usize = 16;
/// Bytes of a frame that a record keeps: Ethernet, two VLAN tags, IPv6, TCP without options.
pub const KEPT: usize = (SIZE - WORDS) * 8;

/// Records that were forwarded, and those that were not.
const CLASSES: usize = 2;

/// A worker's end.
pub(super) struct Flight {
    rings: [Arc<Ring>; CLASSES],
    /// Records that each class may write now.
    tokens: [u64; CLASSES],
    /// Frames that each class has had.
    seen: [u64; CLASSES],
    /// When tokens were given last, in milliseconds.
    given: u64,
}

/// Anybody's end.
#[derive(Clone)]
pub struct FlightReader {
    rings: [Arc<Ring>; CLASSES],
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// What is known of the frame.
    pub facts: Facts,
    /// Its first bytes, [`KEPT`] at most: as received, or as `Facts::shows_sent` says.
    pub bytes: Vec<u8>,
    /// Frames of its class since the record before, that were not recorded.
    pub skipped: u64,
}

struct Ring {
    words: Box<[AtomicU64]>,
    /// Records written so far.
    written: CachePadded<AtomicU64>,
}

impl Flight {
    pub(super) fn new() -> Self {
        Flight {
            rings: std::array::from_fn(|_| Arc::new(Ring::new(RECORDS))),
            tokens: [DEPTH; CLASSES],
            seen: [0; CLASSES],
            given: 0,
        }
    }

    pub(super) fn reader(&self) -> FlightReader {
        FlightReader { rings: self.rings.clone() }
    }

    /// A new millisecond brings new tokens.
    #[inline]
    pub(super) fn tick(&mut self, now: u64) {
        let gained = now.saturating_sub(self.given).saturating_mul(RATE / 1000);
        self.given = self.given.max(now);
        self.tokens = self.tokens.map(|tokens| tokens.saturating_add(gained).min(DEPTH));
    }

    /// Whether nothing can be recorded before the next tick.
    #[inline(always)]
    pub(super) fn is_exhausted(&self) -> bool {
        self.tokens == [0; CLASSES]
    }

    /// Counts a frame. Returns whether it is to be recorded, and its ordinal.
    #[inline(always)]
    pub(super) fn count(&mut self, outcome: Outcome) -> (bool, u64) {
        let class = class(outcome);
        self.seen[class] += 1;
        let is_wanted = self.tokens[class] > 0;
        self.tokens[class] -= u64::from(is_wanted);
        (is_wanted, self.seen[class])
    }

    /// Counts frames that are not looked at.
    #[inline(always)]
    pub(super) fn skip(&mut self, forwarded: usize, refused: usize) {
        self.seen[0] += forwarded as u64;
        self.seen[1] += refused as u64;
    }

    /// Records a frame that `count` wanted.
    #[inline]
    pub(super) fn record(&self, facts: &Facts, bytes: &[u8]) {
        let bytes = bytes.get(..KEPT).unwrap_or(bytes);
        self.rings[class(facts.outcome)].push(&facts.pack([bytes.len() as u16, 0]), bytes);
    }
}

#[inline(always)]
const fn class(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Forward => 0,
        Outcome::Drop | Outcome::Answer => 1,
    }
}

impl FlightReader {
    /// The records since `millis` after the start, in the order of time. Takes some milliseconds, and nothing from the
    /// worker.
    pub fn since(&self, millis: u64) -> Vec<Past> {
        let mut records: Vec<Past> = self.rings.iter().flat_map(|ring| ring.since(millis)).collect();
        records.sort_by_key(|past| past.facts.millis);
        records
    }
}

impl Ring {
    fn new(records: usize) -> Self {
        // Written to, so that the first frames meet no page fault.
        let words = (0..records * SIZE).map(|_| AtomicU64::new(u64::MAX)).collect();
        Ring { words, written: CachePadded::default() }
    }

    fn slot(&self, record: u64) -> &[AtomicU64] {
        let slots = self.words.len() / SIZE;
        let slot = (record % slots as u64) as usize;
        &self.words[slot * SIZE..(slot + 1) * SIZE]
    }

    #[inline]
    fn push(&self, facts: &[u64; WORDS], bytes: &[u8]) {
        // No read-modify-write instruction: there is no other writer.
        let record = self.written.load(Ordering::Relaxed);
        // Whoever reads a word that is stored below, reads `written` as it is now, or later: pairs with `whole`.
        fence(Ordering::Release);
        let (first, rest) = self.slot(record).split_at(WORDS);
        for (word, &value) in first.iter().zip(facts) {
            word.store(value, Ordering::Relaxed);
        }
        for (word, chunk) in rest.iter().zip(bytes.chunks(8)) {
            word.store(word_of(chunk), Ordering::Relaxed);
        }
        // Release: whoever reads this sees the record.
        self.written.store(record + 1, Ordering::Release);
    }

    fn since(&self, millis: u64) -> Vec<Past> {
        let slots = (self.words.len() / SIZE) as u64;
        let end = self.written.load(Ordering::Acquire);
        let mut found: Vec<Past> = Vec::new();
        for record in (end.saturating_sub(slots)..end).rev() {
            let Some((facts, bytes)) = self.whole(record) else { break };
            if let Some(next) = found.last_mut() {
                next.skipped = next.facts.ordinal.saturating_sub(facts.ordinal + 1);
            }
            if facts.millis < millis {
                break;
            }
            found.push(Past { facts, bytes, skipped: 0 });
        }
        found.reverse();
        found
    }

    /// Record number `record`, unless it was written over meanwhile.
    fn whole(&self, record: u64) -> Option<(Facts, Vec<u8>)> {
        let slots = (self.words.len() / SIZE) as u64;
        let slot = self.slot(record);
        let words: [u64; SIZE] = std::array::from_fn(|n| slot[n].load(Ordering::Relaxed));
        // Keeps the loads above before the one below: pairs with the fence in `push`.
        fence(Ordering::Acquire);
        if record + slots <= self.written.load(Ordering::Relaxed) {
            return None;
        }
        let (facts, [kept, _]) = Facts::unpack(*words.first_chunk()?)?;
        let bytes =
            words[WORDS..].iter().flat_map(|word| word.to_le_bytes()).take(usize::from(kept)).collect();
        Some((facts, bytes))
    }
}

/// Up to eight bytes as a word.
#[inline(always)]
pub(super) fn word_of(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

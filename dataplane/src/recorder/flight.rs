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

    /// Counts a frame. Returns whether it is to be recorded, and its ordinal.
    #[inline(always)]
    pub(super) fn count(&mut self, outcome: Outcome) -> (bool, u64) {
        let class = class(outcome);
        self.seen[class] += 1;
        let is_wanted = self.tokens[class] > 0;
        self.tokens[class] -= u64::from(is_wanted);
        (is_wanted, self.seen[class])
    }

    /// Counts the frames of a burst, by class, if none of them can be recorded. Returns whether that is so.
    #[inline(always)]
    pub(super) fn skip(&mut self, frames: [usize; CLASSES]) -> bool {
        let is_wanted = frames.iter().zip(&self.tokens).any(|(&frames, &tokens)| frames > 0 && tokens > 0);
        if !is_wanted {
            for (seen, frames) in self.seen.iter_mut().zip(frames) {
                *seen += frames as u64;
            }
        }
        !is_wanted
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RealSlot, ServiceId};
    use crate::packet::MacAddress;
    use crate::port::PortId;
    use std::sync::atomic::AtomicBool;

    /// Every field says the same number.
    fn numbered(n: u64, outcome: Outcome) -> (Facts, Vec<u8>) {
        let facts = Facts {
            millis: n,
            ordinal: n,
            outcome,
            reason: None,
            ingress: PortId(n as u8),
            egress: PortId(n as u8),
            generation: n & 0xffff_ffff,
            service: Some(ServiceId(n as u16)),
            real: Some((RealSlot(n as u16), n as u8)),
            to: MacAddress([n as u8; 6]),
            received: n as u16,
            sent: n as u16,
            shows_sent: false,
        };
        (facts, vec![n as u8; n as usize % (KEPT + 1)])
    }

    fn is_whole(past: &Past) -> bool {
        (past.facts, past.bytes.clone()) == numbered(past.facts.ordinal, past.facts.outcome)
    }

    #[test]
    fn a_ring_has_the_last_records_and_counts_what_lies_between_them() {
        let ring = Ring::new(8);
        assert_eq!(ring.since(0), []);
        // Every third frame is recorded.
        for n in (3..=60).step_by(3) {
            let (facts, bytes) = numbered(n, Outcome::Drop);
            ring.push(&facts.pack([bytes.len() as u16, 0]), &bytes);
        }
        let all = ring.since(0);
        let ordinals: Vec<u64> = all.iter().map(|past| past.facts.ordinal).collect();
        // The slot of the oldest is the next to be written: it is never shown.
        assert_eq!(ordinals, [42, 45, 48, 51, 54, 57, 60]);
        assert!(all.iter().all(is_whole));
        assert_eq!(all.iter().map(|past| past.skipped).collect::<Vec<_>>(), [0, 2, 2, 2, 2, 2, 2]);
        let late = ring.since(54);
        assert_eq!(
            late.iter().map(|past| (past.facts.millis, past.skipped)).collect::<Vec<_>>(),
            [(54, 2), (57, 2), (60, 2)]
        );
        assert_eq!(ring.since(61), []);
    }

    #[test]
    fn a_record_is_never_read_half_written() {
        let ring = Arc::new(Ring::new(4));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (ring, stop) = (ring.clone(), stop.clone());
            move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let (facts, bytes) = numbered(n, Outcome::Forward);
                    ring.push(&facts.pack([bytes.len() as u16, 0]), &bytes);
                }
                n
            }
        });
        let mut read = 0;
        while read < 20_000 {
            for past in ring.since(0) {
                assert!(is_whole(&past), "{past:?}");
                read += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("the writer") > 0);
    }

    #[test]
    fn a_flood_of_either_class_costs_the_other_nothing_and_the_ring_reaches_back_for_its_time() {
        let mut flight = Flight::new();
        let mut recorded = 0;
        // Ten thousand refused frames and one forwarded one in each millisecond.
        for now in 1..=20_000 {
            flight.tick(now);
            for n in 0..100 {
                let (is_wanted, ordinal) = flight.count(Outcome::Drop);
                if is_wanted {
                    recorded += 1;
                    let (facts, _) = numbered(ordinal, Outcome::Drop);
                    flight.record(&Facts { millis: now, ..facts }, &[]);
                }
                assert_eq!(ordinal, (now - 1) * 100 + n + 1);
            }
            assert!(flight.count(Outcome::Forward).0, "a token is left");
        }
        assert!(recorded <= 20_000 * RATE / 1000 + DEPTH, "{recorded}");
        let all = flight.reader().since(0);
        let reach = 20_000 - all[0].facts.millis;
        assert!(reach >= (RECORDS as u64 - DEPTH) * 1000 / RATE - 1, "{reach} ms");
        assert!(all[1..].iter().all(|past| past.skipped == 99), "one of a hundred");
    }
}

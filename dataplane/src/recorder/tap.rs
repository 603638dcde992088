//! A tap: frames as received and as sent, from the workers to whoever captures. It exists while somebody does.
//!
//! Each worker has a ring of [`RING`] bytes, written by it and read by the one [`TapReader`]. A frame for which there is no
//! room is lost and counted: the worker never waits.
//!
//! *Invariants*
//! - A record lies between `taken` and `written`, whole: the writer moves `written` last, the reader `taken`.
//! - Both count words since the start and never meet from behind: written - taken <= words.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::port::PortId;
use crate::recorder::facts::{Facts, WORDS};
use crate::recorder::flight::word_of;
use crate::recorder::sieve::Sieve;
use crate::stats::Counter;

/// Bytes of one worker's ring: a power of two. Some 1,300 frames of full length, both ways; 14,000 short ones.
pub const RING: usize = 4 << 20;
/// Most bytes of a frame that can be asked for.
pub const MAX_SNAP: u16 = 9216;
/// Words before the bytes of a record: how many words it has, and its facts.
const HEAD: usize = 1 + WORDS;

/// What the worker looks at: nothing, or a tap.
#[derive(Clone, Default)]
pub struct Armed(pub(super) Option<Arc<Tap>>);

/// One capture, as the workers see it.
pub(super) struct Tap {
    pub(super) sieve: Sieve,
    pub(super) snap: u16,
    rings: Box<[Ring]>,
}

/// The end that takes frames out.
pub struct TapReader(Arc<Tap>);

/// A frame that was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The worker that had it.
    pub worker: usize,
    /// What is known of it.
    pub facts: Facts,
    /// As it was received, up to the snap length.
    pub received: Vec<u8>,
    /// As it, or the answer, was sent; empty if nothing was.
    pub sent: Vec<u8>,
}

struct Ring {
    words: Box<[AtomicU64]>,
    /// Words written so far, by the worker.
    written: CachePadded<AtomicU64>,
    /// Words taken so far, by the reader.
    taken: CachePadded<AtomicU64>,
    /// Frames that came in on each interface and were to be captured, and those of them that were lost.
    counts: Box<[[Counter; 2]]>,
}

impl TapReader {
    /// A tap for so many workers and interfaces, which keeps `snap` bytes of a frame (1 to [`MAX_SNAP`]).
    pub fn new(workers: usize, interfaces: usize, sieve: Sieve, snap: u16) -> Self {
        let rings = (0..workers).map(|_| Ring::new(RING, interfaces)).collect();
        TapReader(Arc::new(Tap { sieve, snap: snap.clamp(1, MAX_SNAP), rings }))
    }

    /// What workers are to be told, so that they write to this tap.
    pub fn armed(&self) -> Armed {
        Armed(Some(self.0.clone()))
    }

    /// Takes frames out until they come to `most` bytes or there are none left; in the order of time, as far as those
    /// at hand go. True: there are more.
    pub fn take(&mut self, most: usize) -> (Vec<Captured>, bool) {
        let (mut frames, mut more) = (Vec::new(), false);
        let share = most / self.0.rings.len().max(1);
        for (worker, ring) in self.0.rings.iter().enumerate() {
            let mut taken = 0;
            while let Some((facts, received, sent)) = ring.pop() {
                taken += received.len() + sent.len();
                frames.push(Captured { worker, facts, received, sent });
                if taken >= share {
                    more = true;
                    break;
                }
            }
        }
        frames.sort_by_key(|frame| frame.facts.millis);
        (frames, more)
    }

    /// For each interface, frames that came in there and were to be captured so far, and those of them that were lost.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let interfaces = self.0.rings.first().map_or(0, |ring| ring.counts.len());
        let sum =
            |n: usize, which: usize| self.0.rings.iter().map(|ring| ring.counts[n][which].value()).sum();
        (0..interfaces).map(|n| (sum(n, 0), sum(n, 1))).collect()
    }
}

impl Tap {
    /// Captures a frame; `received` in two pieces, of which the first is a multiple of 8 bytes long if there is a second.
    /// Returns whether there was room.
    #[inline]
    pub(super) fn push(&self, worker: usize, facts: &Facts, received: [&[u8]; 2], sent: &[u8]) -> bool {
        let Some(ring) = self.rings.get(worker) else { return true };
        let snap = usize::from(self.snap);
        let [first, second] = received;
        let first = first.get(..snap).unwrap_or(first);
        let second = second.get(..snap - first.len()).unwrap_or(second);
        let sent = sent.get(..snap).unwrap_or(sent);
        ring.push(facts, [first, second], sent)
    }
}

impl Ring {
    fn new(bytes: usize, interfaces: usize) -> Self {
        Ring {
            words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(),
            written: CachePadded::default(),
            taken: CachePadded::default(),
            counts: (0..interfaces).map(|_| Default::default()).collect(),
        }
    }

    #[inline]
    fn push(&self, facts: &Facts, received: [&[u8]; 2], sent: &[u8]) -> bool {
        let [first, second] = received;
        let kept = first.len() + second.len();
        let needed = (HEAD + kept.div_ceil(8) + sent.len().div_ceil(8)) as u64;
        let written = self.written.load(Ordering::Relaxed);
        // Acquire: what was taken is read before it is written over.
        let free = self.words.len() as u64 - (written - self.taken.load(Ordering::Acquire));
        let PortId(interface) = facts.ingress;
        if let Some([seen, lost]) = self.counts.get(usize::from(interface)) {
            seen.add(1);
            lost.add(u64::from(needed > free));
        }
        if needed > free {
            return false;
        }
        self.put(written, needed);
        for (n, word) in facts.pack([kept as u16, sent.len() as u16]).into_iter().enumerate() {
            self.put(written + 1 + n as u64, word);
        }
        let mut at = written + HEAD as u64;
        for bytes in [first, second, sent] {
            for chunk in bytes.chunks(8) {
                self.put(at, word_of(chunk));
                at += 1;
            }
        }
        // Release: whoever sees it written sees the record.
        self.written.store(written + needed, Ordering::Release);
        true
    }

    #[inline(always)]
    fn put(&self, at: u64, word: u64) {
        self.words[at as usize & (self.words.len() - 1)].store(word, Ordering::Relaxed);
    }

    fn word(&self, at: u64) -> u64 {
        self.words[at as usize & (self.words.len() - 1)].load(Ordering::Relaxed)
    }

    fn pop(&self) -> Option<(Facts, Vec<u8>, Vec<u8>)> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == self.written.load(Ordering::Acquire) {
            return None;
        }
        let words = self.word(taken);
        let facts = Facts::unpack(std::array::from_fn(|n| self.word(taken + 1 + n as u64)));
        let record = facts.map(|(facts, [received, sent])| {
            let begin = taken + HEAD as u64;
            let middle = begin + u64::from(received).div_ceil(8);
            (facts, self.bytes(begin, received), self.bytes(middle, sent))
        });
        // Release: all of it is read.
        self.taken.store(taken + words, Ordering::Release);
        record
    }

    fn bytes(&self, from: u64, count: u16) -> Vec<u8> {
        let words = (from..).map(|at| self.word(at).to_le_bytes());
        words.flatten().take(usize::from(count)).collect()
    }
}

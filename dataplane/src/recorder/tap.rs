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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::facts::tests::any_facts;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Debug, Clone)]
    enum Step {
        Push(Facts, Vec<u8>, Vec<u8>),
        Take(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let push = (any_facts(), bytes(), bytes()).prop_map(|(facts, received, sent)| {
            // The one interface there is.
            Step::Push(Facts { ingress: PortId(0), ..facts }, received, sent)
        });
        proptest::collection::vec(prop_oneof![4 => push, 1 => (1usize..4).prop_map(Step::Take)], 0..200)
    }

    proptest! {
        /// The model: a queue that refuses what goes beyond its words.
        #[test]
        fn a_ring_gives_back_what_it_took_in_its_order_and_counts_the_rest(steps in steps(), snap in 1u16..256) {
            const BYTES: usize = 4096;
            let mut reader = TapReader(Arc::new(Tap {
                sieve: Sieve::OPEN,
                snap,
                rings: [Ring::new(BYTES, 1)].into(),
            }));
            let words = |received: &[u8], sent: &[u8]| HEAD + received.len().div_ceil(8) + sent.len().div_ceil(8);
            let cut = |bytes: &[u8]| bytes[..bytes.len().min(usize::from(snap))].to_vec();
            let mut model: VecDeque<Captured> = VecDeque::new();
            let (mut seen, mut lost) = (0, 0);
            for step in steps {
                match step {
                    Step::Push(facts, received, sent) => {
                        let (first, second) = received.split_at(received.len().min(64));
                        let expected = Captured { worker: 0, facts, received: cut(&received), sent: cut(&sent) };
                        let used: usize = model.iter().map(|frame| words(&frame.received, &frame.sent)).sum();
                        let fits = used + words(&expected.received, &expected.sent) <= BYTES / 8;
                        prop_assert_eq!(reader.0.push(0, &facts, [first, second], &sent), fits);
                        seen += 1;
                        if fits { model.push_back(expected) } else { lost += 1 }
                    }
                    Step::Take(count) => for _ in 0..count {
                        let found = reader.0.rings[0].pop();
                        let found = found.map(|(facts, received, sent)| Captured { worker: 0, facts, received, sent });
                        prop_assert_eq!(found, model.pop_front());
                    },
                }
                prop_assert_eq!(reader.counts(), vec![(seen, lost)]);
            }
            let (rest, more) = reader.take(usize::MAX);
            prop_assert!(!more);
            prop_assert_eq!(rest.len(), model.len());
        }
    }

    #[test]
    fn frames_that_are_taken_while_others_are_written_are_whole_and_none_is_there_twice() {
        let mut reader = TapReader::new(1, 1, Sieve::OPEN, 64);
        let Armed(tap) = reader.armed();
        let tap = tap.expect("it is armed");
        const FRAMES: u64 = 200_000;
        let writer = std::thread::spawn(move || {
            (1..=FRAMES)
                .filter(|n| tap.push(0, &numbered(*n), [&n.to_le_bytes(), &[*n as u8; 8]], &[]))
                .count()
        });
        let (mut last, mut taken) = (0, 0);
        loop {
            let is_done = writer.is_finished();
            let (frames, more) = reader.take(1 << 16);
            for frame in &frames {
                let n = frame.facts.ordinal;
                assert!(n > last && n <= FRAMES);
                assert_eq!(frame.received, [n.to_le_bytes(), [n as u8; 8]].concat());
                last = n;
            }
            taken += frames.len();
            if is_done && !more {
                break;
            }
        }
        assert_eq!(writer.join().expect("the writer"), taken);
        assert_eq!(reader.counts(), [(FRAMES, FRAMES - taken as u64)]);
    }

    fn numbered(n: u64) -> Facts {
        use crate::packet::MacAddress;
        use crate::recorder::Outcome;
        Facts {
            millis: n,
            ordinal: n,
            outcome: Outcome::Forward,
            reason: None,
            ingress: PortId(0),
            egress: PortId(0),
            generation: n,
            service: None,
            real: None,
            to: MacAddress([0; 6]),
            received: 16,
            sent: 16,
            shows_sent: false,
        }
    }
}

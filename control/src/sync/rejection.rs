//! Why a datagram is not believed: a counter for each reason, and a line in the log now and then.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A line about them is written this often at most.
const EVERY: Duration = Duration::from_secs(10);

/// Why a datagram is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// It comes from an address that is not a peer's.
    Source,
    /// It is of another protocol, or of another version of this one.
    Version,
    /// Its proof is wrong: another key, or it was changed on the way.
    Key,
    /// It is broken, though its proof is right.
    Malformed,
    /// It came before, or is too old.
    Replay,
    /// Its sender has not proved yet that it is no recording.
    Unproven,
    /// It is this director's own.
    Own,
}

use Rejection::{Key, Malformed, Own, Replay, Source, Unproven, Version};

impl Rejection {
    /// All reasons.
    pub const ALL: [Rejection; 7] = [Source, Version, Key, Malformed, Replay, Unproven, Own];

    /// The name in listings; never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Source => "source",
            Version => "version",
            Key => "key",
            Malformed => "malformed",
            Replay => "replay",
            Unproven => "unproven",
            Own => "own",
        }
    }

    /// What it means, and what to do.
    pub const fn meaning(self) -> &'static str {
        match self {
            Source => "it is not from one of the peers: is the list of peers right on both sides?",
            Version => {
                "it is of another protocol or version: do both directors run the same version of shunt?"
            }
            Key => "its proof is wrong: is the key file the same on both sides?",
            Malformed => {
                "its proof is right, but it is broken: do both directors run the same version of shunt?"
            }
            Replay => "it came before, or too late: does the network repeat datagrams, or does somebody?",
            Unproven => "its sender has not proved yet that it is no recording",
            Own => "it is this director's own: does the network send back what it is sent?",
        }
    }

    /// Whether it happens in the normal run of things: every sender is unproven at first, and a datagram that is asked
    /// for again may come twice.
    const fn is_usual(self) -> bool {
        matches!(self, Unproven | Replay)
    }
}

/// Counts them, and says now and then that there are any.
#[derive(Debug, Default)]
pub struct Rejections {
    counts: [u64; Rejection::ALL.len()],
    said: Option<Instant>,
    unsaid: u64,
}

impl Rejections {
    /// One more, and what to write to the log about it.
    pub fn add(&mut self, now: Instant, source: IpAddr, why: Rejection) -> Option<String> {
        self.counts[why as usize] += 1;
        if why.is_usual() {
            return None;
        }
        if self.said.is_some_and(|said| now.duration_since(said) < EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        let before = match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            more => format!(" ({more} more were not believed since this was last said)"),
        };
        Some(format!("a datagram about flows from {source} is not believed: {}{before}", why.meaning()))
    }

    /// How many there were for one reason.
    pub fn count(&self, why: Rejection) -> u64 {
        self.counts[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_by_reason_and_one_line_is_written() {
        let (mut rejections, start) = (Rejections::default(), Instant::now());
        let source = IpAddr::from([192, 0, 2, 9]);
        let said: Vec<String> = (0..10_000).filter_map(|_| rejections.add(start, source, Key)).collect();
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("192.0.2.9") && said[0].contains("key file"), "{said:?}");
        let later = rejections.add(start + EVERY, source, Own).expect("it is time again");
        assert!(later.contains("9999 more"), "{later}");
        assert_eq!((rejections.count(Key), rejections.count(Own), rejections.count(Source)), (10_000, 1, 0));
    }

    #[test]
    fn reasons_are_in_the_order_of_their_numbers_and_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = Rejection::ALL.iter().map(|why| why.name()).collect();
        assert_eq!(names.len(), Rejection::ALL.len());
        for (n, why) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, n);
        }
    }
}

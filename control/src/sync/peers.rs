//! The directors that are heard. A datagram with a right proof may still be a recording: who is not known is asked with
//! a number that was never used before, and believed once a datagram answers it. From there on its sequence numbers
//! are watched, so that nothing is believed twice.
//!
//! *Invariants*: nothing is remembered of a sender before it has proved itself (the number is computed from its name and
//! the time, as a SYN cookie is: RFC 4987, section 3.6), so recordings cost no memory; a sender is remembered for longer
//! than its proof could be repeated.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::sync::key::Key;
use crate::sync::message::Body;
use crate::sync::window::Window;

/// Most directors that are heard.
const MOST: usize = 16;
/// A director that was silent for this long is forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// One that was silent for this long makes room for another.
const YIELD: Duration = Duration::from_secs(10);
/// A number is good for this long, and the one before it too, in milliseconds.
const EPOCH: u128 = 4000;

/// A director that has proved itself.
#[derive(Debug)]
pub struct Peer {
    /// Its name: one run of it.
    pub boot: u64,
    /// Where it was heard from last.
    pub address: IpAddr,
    /// What has come of it.
    pub window: Window,
    /// What came too early: it waits for what is missing before it.
    pub early: BTreeMap<u64, Body>,
    /// When it was heard last.
    pub heard: Instant,
    /// When it is asked next for all it knows, and how long after that again; none: it has told.
    pub request: Option<(Instant, Duration)>,
    /// Some of what it said is lost: it is to be asked for all again.
    pub is_short: bool,
    /// When it was last asked for that reason.
    pub resync: Option<Instant>,
    /// The first datagram that is missing, how often it was asked for, and when it is next.
    pub missing: Option<(u64, u8, Instant)>,
}

/// All of them.
pub struct Peers {
    all: Vec<Peer>,
    secret: Key,
    start: Instant,
}

impl Peers {
    /// Nobody is known. `secret`: random, of this run.
    pub fn new(secret: Key, now: Instant) -> Peers {
        Peers { all: Vec::new(), secret, start: now }
    }

    /// The number that a director is asked with now; not 0.
    pub fn number(&self, boot: u64, now: Instant) -> u64 {
        self.of_epoch(boot, self.epoch(now))
    }

    /// Whether it answers what this director has asked with lately.
    pub fn is_answer(&self, boot: u64, answer: u64, now: Instant) -> bool {
        let epoch = self.epoch(now);
        [Some(epoch), epoch.checked_sub(1)].into_iter().flatten().any(|e| self.of_epoch(boot, e) == answer)
    }

    /// A director has proved itself by its datagram number `sequence`. False: there are too many.
    pub fn add(&mut self, boot: u64, address: IpAddr, sequence: u64, now: Instant) -> bool {
        if self.all.len() >= MOST {
            let silent = self.all.iter().enumerate().min_by_key(|(_, peer)| peer.heard);
            match silent.filter(|(_, peer)| now.duration_since(peer.heard) >= YIELD) {
                Some((n, _)) => drop(self.all.swap_remove(n)),
                None => return false,
            }
        }
        self.all.push(Peer {
            boot,
            address,
            window: Window::from(sequence),
            early: BTreeMap::new(),
            heard: now,
            request: Some((now, Duration::ZERO)),
            is_short: false,
            resync: None,
            missing: None,
        });
        true
    }

    /// The next words of a director before which nothing is missing any more, and its name.
    pub fn next_words(&mut self) -> Option<(u64, Body)> {
        self.all.iter_mut().find_map(|peer| {
            let first = *peer.early.first_key_value()?.0;
            if peer.window.missing().is_some_and(|(missing, _)| missing < first) {
                return None;
            }
            peer.early.pop_first().map(|(_, body)| (peer.boot, body))
        })
    }

    /// The director of this name.
    pub fn find(&mut self, boot: u64) -> Option<&mut Peer> {
        self.all.iter_mut().find(|peer| peer.boot == boot)
    }

    /// Forgets who was silent for too long.
    pub fn forget(&mut self, now: Instant) {
        self.all.retain(|peer| now.duration_since(peer.heard) < FORGET);
    }

    /// All that are known.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.all.iter()
    }

    /// All that are known.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.all.iter_mut()
    }

    fn epoch(&self, now: Instant) -> u64 {
        (now.duration_since(self.start).as_millis() / EPOCH) as u64
    }

    fn of_epoch(&self, boot: u64, epoch: u64) -> u64 {
        self.secret.number([boot, epoch]).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_answer_is_good_for_its_director_and_for_a_few_seconds() {
        let start = Instant::now();
        let peers = Peers::new(Key::new(&[3; 32]), start);
        let later = |ms| start + Duration::from_millis(ms);
        let number = peers.number(5, start);
        assert!(peers.is_answer(5, number, later(7999)));
        assert!(!peers.is_answer(5, number, later(8000)));
        assert!(!peers.is_answer(6, number, start) && !peers.is_answer(5, number ^ 1, start));
        assert!(!peers.is_answer(5, 0, start));
        let other = Peers::new(Key::new(&[4; 32]), start);
        assert_ne!(other.number(5, start), number);
        assert!(u128::from(FORGET.as_millis() as u64) > 2 * EPOCH);
    }

    #[test]
    fn there_is_room_for_so_many_and_for_another_when_one_is_silent() {
        let start = Instant::now();
        let mut peers = Peers::new(Key::new(&[3; 32]), start);
        for boot in 1..=MOST as u64 {
            assert!(peers.add(boot, HERE, 1, start + Duration::from_millis(boot)));
        }
        assert!(!peers.add(99, HERE, 1, start + Duration::from_secs(1)));
        assert!(peers.add(99, HERE, 1, start + Duration::from_secs(11)));
        assert!(peers.find(1).is_none() && peers.find(2).is_some() && peers.find(99).is_some());
        peers.forget(start + Duration::from_secs(61));
        assert_eq!(peers.iter().map(|peer| peer.boot).collect::<Vec<_>>(), [99]);
    }
}

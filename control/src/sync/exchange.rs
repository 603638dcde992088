//! The whole of the conversation, without a socket and without a clock: datagrams go in, datagrams come out.
//!
//! Every director says the same to all others, in one numbered row of datagrams, so that who misses one can ask for it.
//! Once a second it says at least that it is there. Whoever hears a stranger asks it to prove itself (`peers`), and once
//! it has, to tell all it knows: that is how one that joins gets a snapshot, and how two that were parted find together.
//! Flows are only told when there is somebody to hear them.
//!
//! What is said of flows is heeded in the order in which it was said: what is late must not take the place of what is new.
//! So whoever misses a datagram lets the later ones wait, until it has come or was asked for in vain.
//!
//! *Invariants*: each tick does a bounded amount of work, and sends a bounded number of datagrams; flows told are
//! bounded by the rate; whatever comes in is proved, new and sound before it is looked at.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt_dataplane::plane::Flows;

use crate::sync::key::{Key, LENGTH};
use crate::sync::learning::{Learned, Learning};
use crate::sync::message::{Body, Header, Malformed, decode, encode, is_ours, pack};
use crate::sync::peers::Peers;
use crate::sync::rejection::{Rejection, Rejections};
use crate::sync::telling::{Slice, Telling};
use crate::sync::window::SPAN;

/// A director says that it is there this often.
const BEACON: Duration = Duration::from_secs(1);
/// Datagrams that are kept to be sent again: as many as a peer can miss and know it.
const KEPT: usize = SPAN as usize;
/// Greetings to strangers in a tick, and datagrams sent again in one, at most.
const GREETINGS: usize = 16;
const AGAIN: usize = 64;
/// Pause before all is asked for again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How often what is missing is asked for, and how long after that again.
const TRIES: u8 = 5;
const RETRY: Duration = Duration::from_millis(100);
/// So long after too much was missing it does not ask for all again.
const RESYNC: Duration = Duration::from_secs(10);
/// Flows that may be told at once, whatever the rate: some datagrams.
const BURST: f64 = 256.0;

/// What is settled in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whom datagrams are believed from; none: anybody with the key (multicast).
    pub sources: Option<Vec<IpAddr>>,
    /// Longest datagram, bytes.
    pub room: usize,
    /// Flows a second at most, >= 1.
    pub rate: u32,
    /// How long the flows of others are waited for at most.
    pub wait: Duration,
}

/// What was sent and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Datagrams said, those said again not counted.
    pub sent: u64,
    /// Datagrams said again.
    pub sent_again: u64,
    /// Flows told.
    pub flows_told: u64,
    /// Ticks in which more flows were to be told than the rate allows: they waited.
    pub held_up: u64,
    /// Datagrams believed.
    pub heard: u64,
    /// Flows in them.
    pub flows_heard: u64,
    /// Datagrams that never came.
    pub lost: u64,
    /// Times all was told to a director that asked.
    pub snapshots: u64,
}

/// How waiting for the flows of others stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// They are awaited.
    Waiting,
    /// A director has told all.
    Told,
    /// Nobody told all in time.
    Alone,
}

/// One director's part of the conversation.
pub struct Exchange {
    terms: Terms,
    key: Key,
    boot: u64,
    sequence: u64,
    peers: Peers,
    telling: Telling,
    learning: Learning,
    /// Directors that have asked for all, and those that it is being told to.
    asking: Vec<u64>,
    served: Vec<u64>,
    kept: VecDeque<(u64, Vec<u8>)>,
    out: Vec<Vec<u8>>,
    allowance: f64,
    ticked: Instant,
    beaconed: Option<Instant>,
    start: Instant,
    joining: Joining,
    greetings: usize,
    again: usize,
    rejections: Rejections,
    counts: Counts,
}

impl Exchange {
    /// A director that nobody has heard yet. `boot`: random, its name; `secret`: random, of this run alone.
    pub fn new(terms: Terms, key: Key, boot: u64, secret: Key, now: Instant) -> Exchange {
        Exchange {
            terms,
            key,
            boot: boot.max(1),
            sequence: 0,
            peers: Peers::new(secret, now),
            telling: Telling::new(),
            learning: Learning::default(),
            asking: Vec::new(),
            served: Vec::new(),
            kept: VecDeque::new(),
            out: Vec::new(),
            allowance: 0.0,
            ticked: now,
            beaconed: None,
            start: now,
            joining: Joining::Waiting,
            greetings: GREETINGS,
            again: AGAIN,
            rejections: Rejections::default(),
            counts: Counts::default(),
        }
    }

    /// Goes on under other terms.
    pub fn set(&mut self, terms: Terms, key: Key) {
        self.terms = terms;
        self.key = key;
    }

    /// It was cut off: all directors that are known are asked for all again, and waited for.
    pub fn rejoin(&mut self, now: Instant) {
        (self.joining, self.start) = (Joining::Waiting, now);
        for peer in self.peers.iter_mut() {
            peer.request = Some((now, Duration::ZERO));
        }
    }

    /// A datagram came in. What there is to say about it goes to the log.
    pub fn hear(&mut self, now: Instant, source: IpAddr, bytes: &[u8], flows: &mut Flows<'_>) {
        match self.believe(now, source, bytes) {
            Ok((Header { boot, sequence }, body)) => {
                self.counts.heard += 1;
                if let Body::Flows(_) | Body::End { .. } = body {
                    if let Some(peer) = self.peers.find(boot) {
                        peer.early.insert(sequence, body);
                    }
                    self.catch_up(now, flows);
                } else {
                    self.heed(now, boot, body, flows);
                }
            }
            Err(why) => {
                if let Some(line) = self.rejections.add(now, source, why) {
                    tracing::warn!("{line}");
                }
            }
        }
    }

    /// What is due: to be called every 50 ms or so. Returns what to send to every peer.
    pub fn tick(&mut self, now: Instant, flows: &mut Flows<'_>) -> Vec<Vec<u8>> {
        (self.greetings, self.again) = (GREETINGS, AGAIN);
        self.learning.age(flows);
        self.peers.forget(now);
        if self.beaconed.is_none_or(|last| now.duration_since(last) >= BEACON) {
            self.beaconed = Some(now);
            self.say(&Body::Greeting { to: 0, asks: 0, answers: 0 });
        }
        self.ask(now);
        self.catch_up(now, flows);
        self.tell(now, flows);
        self.join(now);
        std::mem::take(&mut self.out)
    }

    /// What was sent and heard so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What became of the flows heard.
    pub fn learned(&self) -> Learned {
        self.learning.count()
    }

    /// What was not believed.
    pub fn rejections(&self) -> &Rejections {
        &self.rejections
    }

    /// The directors heard.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// How waiting for the flows of others stands.
    pub fn joining(&self) -> Joining {
        self.joining
    }

    /// Whether all is being told to a director that has asked.
    pub fn is_telling_all(&self) -> bool {
        !self.served.is_empty()
    }

    /// The sender and the words of a datagram that is to be believed.
    fn believe(&mut self, now: Instant, source: IpAddr, bytes: &[u8]) -> Result<(Header, Body), Rejection> {
        if self.terms.sources.as_ref().is_some_and(|peers| !peers.contains(&source)) {
            return Err(Rejection::Source);
        }
        if !is_ours(bytes) {
            return Err(Rejection::Version);
        }
        let said = self.key.open(bytes).ok_or(Rejection::Key)?;
        let (header, body) = decode(said).map_err(|malformed| match malformed {
            Malformed::Version => Rejection::Version,
            Malformed::Body => Rejection::Malformed,
        })?;
        let Header { boot, sequence } = header;
        if boot == self.boot {
            return Err(Rejection::Own);
        }
        match self.peers.find(boot) {
            Some(peer) => {
                if !peer.window.take(sequence) {
                    return Err(Rejection::Replay);
                }
                (peer.heard, peer.address) = (now, source);
            }
            None => self.meet(now, source, header, &body)?,
        }
        Ok((header, body))
    }

    /// A stranger: it proves itself now, or is asked to.
    fn meet(&mut self, now: Instant, source: IpAddr, header: Header, body: &Body) -> Result<(), Rejection> {
        let Header { boot, sequence } = header;
        let (asked, answer) = match *body {
            Body::Greeting { to, asks, answers } if to == self.boot => (asks, answers),
            _ => (0, 0),
        };
        if self.peers.is_answer(boot, answer, now) && self.peers.add(boot, source, sequence, now) {
            tracing::info!("flows are exchanged with the director at {source}");
            return Ok(());
        }
        if self.greetings > 0 {
            self.greetings -= 1;
            let asks = self.peers.number(boot, now);
            self.say(&Body::Greeting { to: boot, asks, answers: asked });
        }
        Err(Rejection::Unproven)
    }

    /// Heeds what need not wait any more.
    fn catch_up(&mut self, now: Instant, flows: &mut Flows<'_>) {
        while let Some((boot, body)) = self.peers.next_words() {
            self.heed(now, boot, body, flows);
        }
    }

    fn heed(&mut self, now: Instant, boot: u64, body: Body, flows: &mut Flows<'_>) {
        match body {
            Body::Greeting { to, asks, .. } if to == self.boot && asks != 0 => {
                self.say(&Body::Greeting { to: boot, asks: 0, answers: asks });
            }
            Body::Request { to } if to == self.boot => {
                if !self.asking.contains(&boot) && !self.served.contains(&boot) {
                    self.asking.push(boot);
                }
            }
            Body::Flows(sections) => {
                for section in &sections {
                    self.counts.flows_heard += section.flows.len() as u64;
                    self.learning.learn(flows, section);
                }
                // It is telling: no need to ask again soon.
                if let Some(peer) = self.peers.find(boot)
                    && let Some((next, pause)) = &mut peer.request
                    && !pause.is_zero()
                {
                    *next = now + *pause;
                }
            }
            Body::End { to } if to == self.boot => {
                if let Some(peer) = self.peers.find(boot) {
                    peer.request = None;
                }
                if self.joining == Joining::Waiting && self.peers.iter().all(|peer| peer.request.is_none()) {
                    self.joining = Joining::Told;
                }
            }
            Body::Missing { to, first, last } if to == self.boot => self.say_again(first, last),
            // For another director.
            Body::Greeting { .. } | Body::Request { .. } | Body::End { .. } | Body::Missing { .. } => {}
        }
    }

    /// Asks for what is missing.
    fn ask(&mut self, now: Instant) {
        let mut questions = Vec::new();
        for peer in self.peers.iter_mut() {
            match (peer.window.missing(), &mut peer.missing) {
                (None, missing) => *missing = None,
                (Some((first, last)), Some((before, tries, next))) if *before == first => {
                    if now >= *next && *tries < TRIES {
                        (*tries, *next) = (*tries + 1, now + RETRY);
                        questions.push(Body::Missing { to: peer.boot, first, last });
                    } else if now >= *next {
                        peer.window.give_up();
                        peer.missing = None;
                    }
                }
                // Perhaps it was only overtaken: the next tick asks.
                (Some((first, _)), missing) => *missing = Some((first, 0, now)),
            }
            let lost = peer.window.take_lost();
            self.counts.lost += lost;
            peer.is_short |= lost > 0;
            // What is lost while it tells all may have been told already.
            if peer.is_short && peer.request.is_none() {
                peer.is_short = false;
                let next = peer.resync.map_or(now, |last| now.max(last + RESYNC));
                peer.resync = Some(next);
                peer.request = Some((next, Duration::ZERO));
            }
            if let Some((next, pause)) = &mut peer.request
                && now >= *next
            {
                *pause = (*pause * 2).clamp(PAUSE.0, PAUSE.1);
                *next = now + *pause;
                questions.push(Body::Request { to: peer.boot });
            }
        }
        questions.iter().for_each(|question| self.say(question));
    }

    /// Tells of flows, as many as the rate allows; half of them at most to who asks for all.
    fn tell(&mut self, now: Instant, flows: &Flows<'_>) {
        let rate = f64::from(self.terms.rate);
        let passed = now.duration_since(self.ticked).as_secs_f64();
        self.ticked = now;
        self.allowance = (self.allowance + rate * passed).min((rate / 4.0).max(BURST));
        if self.peers.iter().next().is_none() {
            (self.asking, self.served) = (Vec::new(), Vec::new());
            return;
        }
        if self.served.is_empty() && !self.asking.is_empty() {
            self.served = std::mem::take(&mut self.asking);
            self.telling.begin_whole();
        }
        let allowed = self.allowance as usize;
        let mut slice = Slice::of(if self.served.is_empty() { 0 } else { allowed.div_ceil(2) });
        let is_whole = !self.served.is_empty() && self.telling.tell_whole(flows, &mut slice);
        slice.allowed = allowed - slice.told.len();
        slice.is_held_up = false;
        self.telling.tell(flows, &mut slice);
        self.allowance -= slice.told.len() as f64;
        self.counts.held_up += u64::from(slice.is_held_up);
        self.counts.flows_told += slice.told.len() as u64;
        slice.told.sort_by_key(|(service, _)| *service);
        for body in pack(&slice.told, self.terms.room - LENGTH) {
            self.say(&body);
        }
        if is_whole {
            self.counts.snapshots += 1;
            for to in std::mem::take(&mut self.served) {
                self.say(&Body::End { to });
            }
        }
    }

    fn join(&mut self, now: Instant) {
        if self.joining == Joining::Waiting && now.duration_since(self.start) >= self.terms.wait {
            self.joining = Joining::Alone;
        }
    }

    fn say(&mut self, body: &Body) {
        self.sequence += 1;
        let mut bytes = encode(Header { boot: self.boot, sequence: self.sequence }, body);
        self.key.seal(&mut bytes);
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((self.sequence, bytes.clone()));
        self.out.push(bytes);
        self.counts.sent += 1;
    }

    fn say_again(&mut self, first: u64, last: u64) {
        let wanted = self.kept.iter().filter(|(sequence, _)| (first..=last).contains(sequence));
        for (_, bytes) in wanted.take(self.again) {
            self.out.push(bytes.clone());
            self.again -= 1;
            self.counts.sent_again += 1;
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

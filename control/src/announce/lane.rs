//! The queues that frames wait in, one for each interface and kind: a gap between frames holds up nobody on another
//! interface.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Announcement, Frame, Plan};

/// An interface without room is asked again after this.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// So often; a second in all.
const REFUSED_MOST: u32 = 100;

/// Gaps are kept apart, as `garp_interval` and `gna_interval` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Arp,
    Na,
}

/// All lanes. Those that are ready take turns.
#[derive(Debug, Default)]
pub(super) struct Lanes(VecDeque<Lane>);

#[derive(Debug)]
struct Lane {
    interface: u32,
    kind: Kind,
    /// No frame before.
    ready: Instant,
    /// That of the last frame.
    gap: Duration,
    /// Frames that came back; they are first.
    returned: VecDeque<Frame>,
    /// Waves of routers, which take turns round by round.
    waves: VecDeque<Wave>,
}

/// What is left to be announced of one router's addresses in one lane.
#[derive(Debug)]
struct Wave {
    key: u64,
    announcements: Vec<Announcement>,
    gap: Duration,
    /// Whether this round is to be logged.
    loud: bool,
    /// Rounds left, with the one that has begun; at least one.
    rounds: u32,
    /// What comes next: which announcement, which of its forms.
    next: (usize, usize),
}

impl Lanes {
    /// Queues `rounds` of these announcements, in place of what is queued of `key`. A round that has begun goes on where
    /// it is: however often a burst comes anew, the last address has its turn.
    pub(super) fn push(
        &mut self,
        now: Instant,
        key: u64,
        announcements: &[Announcement],
        plan: &Plan,
        rounds: u32,
        loud: bool,
    ) {
        let mut fresh: BTreeMap<usize, Wave> = BTreeMap::new();
        for announcement in announcements {
            let kind = announcement.kind();
            let gap = if kind == Kind::Arp { plan.arp_gap } else { plan.na_gap };
            let lane = self.lane(now, announcement.about.interface, kind);
            let empty = || Wave { key, announcements: Vec::new(), gap, loud, rounds, next: (0, 0) };
            fresh.entry(lane).or_insert_with(empty).announcements.push(announcement.clone());
        }
        for (place, lane) in self.0.iter_mut().enumerate() {
            lane.returned.retain(|frame| frame.key != key);
            let queued = lane.waves.iter().position(|wave| wave.key == key);
            match (queued, fresh.remove(&place)) {
                (Some(queued), Some(wave)) => lane.waves[queued].go_on_as(wave),
                (Some(queued), None) => drop(lane.waves.remove(queued)),
                (None, Some(wave)) if rounds > 0 => lane.waves.push_back(wave),
                (None, _) => {}
            }
        }
    }

    /// Drops what is queued of `key`.
    pub(super) fn hush(&mut self, key: u64) {
        for lane in &mut self.0 {
            lane.returned.retain(|frame| frame.key != key);
            lane.waves.retain(|wave| wave.key != key);
        }
    }

    /// The next frame that may be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Frame> {
        // An idle lane remembers nothing but its gap; when that is over it can go.
        self.0.retain(|lane| lane.is_busy() || lane.ready > now);
        let place = self.0.iter().position(|lane| lane.is_busy() && lane.ready <= now)?;
        // The lanes before it wait; it is the last in turn from here on.
        self.0.rotate_left(place + 1);
        let lane = self.0.back_mut().unwrap_or_else(|| unreachable!("a lane was found"));
        Some(lane.next(now))
    }

    /// When a frame may be sent next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter(|lane| lane.is_busy()).map(|lane| lane.ready).min()
    }

    /// Takes back a frame; false if it has come back too often.
    pub(super) fn put_back(&mut self, now: Instant, mut frame: Frame) -> bool {
        frame.refused += 1;
        if frame.refused > REFUSED_MOST {
            return false;
        }
        let kind = if frame.about.address.is_ipv4() { Kind::Arp } else { Kind::Na };
        let place = self.lane(now, frame.interface, kind);
        let lane = &mut self.0[place];
        lane.ready = lane.ready.max(now + REFUSED_PAUSE);
        lane.returned.push_back(frame);
        true
    }

    fn lane(&mut self, now: Instant, interface: u32, kind: Kind) -> usize {
        let found = self.0.iter().position(|lane| (lane.interface, lane.kind) == (interface, kind));
        found.unwrap_or_else(|| {
            let (gap, returned, waves) = Default::default();
            self.0.push_back(Lane { interface, kind, ready: now, gap, returned, waves });
            self.0.len() - 1
        })
    }
}

impl Lane {
    fn is_busy(&self) -> bool {
        !self.returned.is_empty() || !self.waves.is_empty()
    }

    /// The next frame of a busy lane.
    fn next(&mut self, now: Instant) -> Frame {
        if let Some(frame) = self.returned.pop_front() {
            self.ready = now + self.gap;
            return frame;
        }
        let mut wave =
            self.waves.pop_front().unwrap_or_else(|| unreachable!("a lane without frames has a wave"));
        // From now on: a caller who comes late gets no frames closer together for it.
        self.gap = wave.gap;
        self.ready = now + self.gap;
        let (frame, round_is_over) = wave.next();
        match (round_is_over, wave.rounds) {
            (true, 0) => {}
            (true, _) => self.waves.push_back(wave),
            (false, _) => self.waves.push_front(wave),
        }
        frame
    }
}

impl Wave {
    /// Takes over from `self`, and loses nothing that `self` had still to do.
    fn go_on_as(&mut self, mut wave: Wave) {
        let mut left = self.rounds;
        if wave.is_about_the_same(self) {
            // The round that has begun was for the addresses after `next` only.
            wave.rounds += u32::from(self.next != (0, 0));
            wave.next = self.next;
        } else {
            left = left.min(wave.rounds.max(1));
        }
        wave.rounds = wave.rounds.max(left);
        wave.loud |= self.loud;
        *self = wave;
    }

    fn is_about_the_same(&self, other: &Wave) -> bool {
        let same =
            |a: &Announcement, b: &Announcement| a.about == b.about && a.frames.len() == b.frames.len();
        self.announcements.len() == other.announcements.len()
            && self.announcements.iter().zip(&other.announcements).all(|(a, b)| same(a, b))
    }

    /// The next frame, and whether it is the last of its round.
    fn next(&mut self) -> (Frame, bool) {
        let (place, form) = self.next;
        let announcement = &self.announcements[place];
        let mut frame = Frame {
            key: self.key,
            interface: announcement.about.interface,
            bytes: announcement.frames[form].clone(),
            say: None,
            about: announcement.about.clone(),
            refused: 0,
        };
        frame.say = (self.loud && form == 0).then(|| frame.to_string());
        self.next = if form + 1 < announcement.frames.len() { (place, form + 1) } else { (place + 1, 0) };
        let over = self.next.0 == self.announcements.len();
        if over {
            (self.next, self.loud) = ((0, 0), false);
            self.rounds -= 1;
        }
        (frame, over)
    }
}

//! Three questions to a subject: how much it delivers when it gets too much, how much it gets through without loss, and
//! how long a frame is under way.

use std::time::{Duration, Instant};

use crate::wire::histogram::Histogram;
use crate::wire::subject::Stand;

/// What a rate may lose and still count as loss-free: a frame in 10,000, since a virtual machine stands still now and
/// then, whatever runs in it.
pub const TOLERANCE: f64 = 1e-4;
/// How often a rate is tried before it counts as one that loses frames.
const TRIES: usize = 2;
/// Frames a second that any machine can make and forward.
const SLOW: f64 = 2000.0;
/// What is sent before anything counts.
const WARM_UP: Duration = Duration::from_millis(50);
/// What the first frame takes at most, when too many come: a subject that is slower delivers nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the last frames take to arrive, or never do.
const DRAIN: Duration = Duration::from_millis(20);

/// Frames a second.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Sent by the generator.
    pub offered: f64,
    /// Counted by the sink.
    pub delivered: f64,
}

impl Rate {
    /// The same, unless nothing was delivered: then what the subject does is broken, not slow, and no figure of this run
    /// is worth anything.
    #[track_caller]
    pub fn or_refuse(self, name: &str) -> Rate {
        let Rate { offered, delivered } = self;
        assert!(delivered > 0.0, "{name} delivered nothing of {offered:.0} frames/s: the run is refused");
        self
    }
}

/// Waits until a subject forwards; panics if it does not within `limit`.
#[track_caller]
pub fn prove(stand: &mut Stand, limit: Duration) {
    let (begin, window) = (Instant::now(), Duration::from_millis(20));
    while paced(stand, 1, SLOW, window).times.total() == 0 {
        let (name, seconds) = (&stand.name, limit.as_secs());
        assert!(begin.elapsed() < limit, "{name} delivers nothing, {seconds} s after it was set up");
    }
}

/// What is delivered, in `window`, when the generator sends all it can.
pub fn saturated(stand: &mut Stand, flows: u32, window: Duration) -> Rate {
    stand.load(None, flows, |running, sink| {
        let before = sink.delivered();
        running.send();
        // Whoever is to forward may have to be woken first, and get a core: that is no part of a rate either.
        let begin = Instant::now();
        while sink.delivered() == before && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(WARM_UP);
        let (begin, sent, delivered) = (Instant::now(), running.sent(), sink.delivered());
        std::thread::sleep(window);
        let (sent, delivered, time) = (running.sent() - sent, sink.delivered() - delivered, begin.elapsed());
        Rate { offered: sent as f64 / time.as_secs_f64(), delivered: delivered as f64 / time.as_secs_f64() }
    })
}

/// What became of frames sent at a rate.
#[derive(Debug, Clone)]
pub struct Paced {
    /// Frames a second that were really sent.
    pub offered: f64,
    /// Share of them that was lost, 0 to 1.
    pub lost: f64,
    /// How long the others were under way.
    pub times: Histogram,
}

/// Sends at `rate` frames a second for `window`.
pub fn paced(stand: &mut Stand, flows: u32, rate: f64, window: Duration) -> Paced {
    stand.load(Some(rate), flows, |running, sink| {
        // The first frames wake whoever sleeps and meet cold caches: they are not counted.
        running.send();
        std::thread::sleep(WARM_UP);
        running.hold();
        std::thread::sleep(DRAIN);
        let (sent, delivered, times) = (running.sent(), sink.delivered(), sink.times());
        sink.take_times(true);
        let begin = Instant::now();
        running.send();
        std::thread::sleep(window);
        running.hold();
        let time = begin.elapsed();
        std::thread::sleep(DRAIN);
        sink.take_times(false);
        let (sent, delivered) = (running.sent() - sent, sink.delivered() - delivered);
        Paced {
            offered: sent as f64 / time.as_secs_f64(),
            lost: 1.0 - (delivered as f64 / sent.max(1) as f64).min(1.0),
            times: sink.times().since(&times),
        }
    })
}

/// The highest rate without loss, between 0 and `most` frames a second, by halving `steps` times. A rate at which frames are
/// lost is tried once more: a machine that stood still for a moment says nothing about the subject.
pub fn loss_free(stand: &mut Stand, flows: u32, most: f64, steps: usize, window: Duration) -> f64 {
    let (mut good, mut bad, mut reached) = (0.0, most, 0.0);
    for _ in 0..steps {
        let rate = (good + bad) / 2.0;
        let passed = (0..TRIES)
            .map(|_| paced(stand, flows, rate, window))
            .find(|tried| tried.lost <= TOLERANCE && tried.offered > 0.0);
        match passed {
            Some(tried) => {
                good = rate;
                // The generator may have sent less than it should.
                reached = tried.offered.min(rate);
            }
            None => bad = rate,
        }
    }
    reached
}

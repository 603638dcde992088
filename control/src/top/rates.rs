//! Two looks make rates. A counter that went back is one of a director that was started again, or of a service that was
//! taken out and put in: what it did in between is not known, and nothing is said rather than something wrong.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::events;
use super::sample::{Load, Sample, Worker};

/// Events that are remembered.
const MOST_EVENTS: usize = 100;

/// All that is known: the last look, what happened since the one before, and what was seen to change.
#[derive(Debug, Default)]
pub struct Board {
    /// The last look.
    pub now: Option<Sample>,
    /// The one before it.
    before: Option<Sample>,
    /// Why there is no newer one; none: there is.
    pub gone: Option<String>,
    /// When and what, the newest first.
    pub events: VecDeque<(Instant, String)>,
    /// The latest moment that is known of: ages of events count to it.
    pub clock: Option<Instant>,
}

/// What goes on, a second. None: not known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Frames.
    pub frames: Option<f64>,
    /// Bits, of whole frames.
    pub bits: Option<f64>,
    /// New flows.
    pub flows: Option<f64>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Frames a second.
    pub frames: Option<f64>,
    /// Bits a second.
    pub bits: Option<f64>,
    /// Frames refused a second.
    pub drops: Option<f64>,
    /// Of its time, how much it dealt with frames, looking for them aside: 0 to 1.
    pub busy: Option<f64>,
    /// Sleeps a second.
    pub sleeps: Option<f64>,
}

impl Board {
    /// Takes in what came of a look at `at`.
    pub fn hear(&mut self, at: Instant, look: Result<Sample, String>) {
        self.clock = Some(at);
        match look {
            Ok(sample) => {
                if self.gone.take().is_some() {
                    self.happened(at, "the director answers again".into());
                    // What it did while nobody looked is no rate of now.
                    self.before = None;
                }
                if let Some(before) = &self.now {
                    for event in events(before, &sample) {
                        self.happened(at, event);
                    }
                }
                self.before = self.now.replace(sample);
            }
            Err(why) => {
                if self.gone.is_none() && self.now.is_some() {
                    self.happened(at, "the director does not answer".into());
                }
                self.before = None;
                self.gone = Some(why);
            }
        }
    }

    fn happened(&mut self, at: Instant, event: String) {
        self.events.push_front((at, event));
        self.events.truncate(MOST_EVENTS);
    }

    /// Of a service or a real server of the last look.
    pub fn rates(&self, load: &Load) -> Rates {
        let Some((seconds, before)) = self.span() else { return Rates::default() };
        let mut all = before.services.iter().chain(&before.reals);
        let Some(old) = all.find(|old| old.service == load.service && old.real == load.real) else {
            return Rates::default();
        };
        Rates {
            frames: rate(old.frames, load.frames, seconds),
            bits: rate(old.bytes, load.bytes, seconds).map(|bytes| bytes * 8.0),
            flows: rate(old.flows, load.flows, seconds),
        }
    }

    /// Of a worker of the last look.
    pub fn work(&self, worker: &Worker) -> Work {
        let Some((seconds, before)) = self.span() else { return Work::default() };
        let Some(old) = before.workers.iter().find(|old| old.worker == worker.worker) else {
            return Work::default();
        };
        let busy = (worker.busy_seconds >= old.busy_seconds)
            .then(|| ((worker.busy_seconds - old.busy_seconds) / seconds).min(1.0));
        Work {
            frames: rate(old.frames, worker.frames, seconds),
            bits: rate(old.bytes, worker.bytes, seconds).map(|bytes| bytes * 8.0),
            drops: rate(old.drops, worker.drops, seconds),
            busy,
            sleeps: rate(old.sleeps, worker.sleeps, seconds),
        }
    }

    /// How many times what all workers do on average the busiest one does; none: nothing goes on.
    pub fn skew(&self) -> Option<f64> {
        let workers = &self.now.as_ref()?.workers;
        let frames: Option<Vec<f64>> = workers.iter().map(|worker| self.work(worker).frames).collect();
        let frames = frames?;
        let sum: f64 = frames.iter().sum();
        (sum > 0.0).then(|| frames.iter().copied().fold(0.0, f64::max) * frames.len() as f64 / sum)
    }

    /// Frames refused a second, by reason, those that are.
    pub fn drops(&self) -> Vec<(&str, f64)> {
        let Some(((seconds, before), now)) = self.span().zip(self.now.as_ref()) else { return Vec::new() };
        let mut drops: Vec<(&str, f64)> = now
            .drops
            .iter()
            .filter_map(|(reason, frames)| {
                let (_, old) = before.drops.iter().find(|(old, _)| old == reason)?;
                let rate = rate(*old, *frames, seconds).filter(|rate| *rate > 0.0)?;
                Some((reason.as_str(), rate))
            })
            .collect();
        drops.sort_by(|a, b| b.1.total_cmp(&a.1));
        drops
    }

    fn span(&self) -> Option<(f64, &Sample)> {
        let (now, before) = (self.now.as_ref()?, self.before.as_ref()?);
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        (seconds > 0.0).then_some((seconds, before))
    }
}

fn rate(old: u64, new: u64, seconds: f64) -> Option<f64> {
    new.checked_sub(old).map(|more| more as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::view::example;
    use std::time::Duration;

    #[test]
    fn a_rate_is_what_two_looks_differ_by_and_a_counter_that_went_back_has_none() {
        let start = Instant::now();
        let mut board = Board::default();
        board.hear(start, Ok(example::sample(start, 0)));
        let service = board.now.as_ref().unwrap().services[0].clone();
        assert_eq!(board.rates(&service), Rates::default());
        let later = start + Duration::from_secs(2);
        board.hear(later, Ok(example::sample(later, 2000)));
        let service = board.now.as_ref().unwrap().services[0].clone();
        assert_eq!(board.rates(&service).frames, Some(1000.0));
        let latest = later + Duration::from_secs(2);
        board.hear(latest, Ok(example::sample(latest, 5)));
        let service = board.now.as_ref().unwrap().services[0].clone();
        assert_eq!(board.rates(&service).frames, None);
        assert_eq!(board.skew(), None);
    }

    #[test]
    fn what_changed_is_told_with_its_reason_and_a_director_that_is_away_once() {
        let start = Instant::now();
        let mut board = Board::default();
        board.hear(start, Ok(example::sample(start, 0)));
        let mut sample = example::sample(start + Duration::from_secs(1), 10);
        sample.reals[0].state = "down".into();
        sample.reals[0].reason = "connection refused".into();
        sample.routers[0].state = "BACKUP".into();
        sample.routers[0].reason = "heard a higher priority".into();
        board.hear(sample.at, Ok(sample));
        for second in 2..4 {
            board.hear(start + Duration::from_secs(second), Err("no shunt runs".into()));
        }
        board.hear(start + Duration::from_secs(4), Ok(example::sample(start + Duration::from_secs(4), 20)));
        let told: Vec<&str> = board.events.iter().rev().map(|(_, event)| event.as_str()).collect();
        assert_eq!(
            told[..4],
            [
                "192.0.2.21 of 192.0.2.10:80/tcp: up -> down: connection refused",
                "VI_1: MASTER -> BACKUP: heard a higher priority",
                "the director does not answer",
                "the director answers again",
            ]
        );
        for _ in 0..3 * MOST_EVENTS {
            board.happened(start, "again".into());
        }
        assert_eq!(board.events.len(), MOST_EVENTS);
    }
}

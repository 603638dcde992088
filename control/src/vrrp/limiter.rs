//! How often the same thing is said: the first time at once, then once a minute with how often it was left out.
//!
//! Whoever sends adverts chooses their source. So few sources are told apart, and all others share one line.
//!
//! *Invariant*: at most [`SOURCES`] + 1 lines a minute and topic, in memory that does not grow beyond them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two lines of one topic and source.
const EVERY: Duration = Duration::from_secs(60);

/// Sources that are told apart, for each topic.
const SOURCES: usize = 8;

/// What was said when, about topics `T`.
#[derive(Debug)]
pub(super) struct Limiter<T> {
    lines: Vec<Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    topic: T,
    /// None: all that are not told apart.
    source: Option<IpAddr>,
    said: Instant,
    left_out: u64,
}

impl<T: Copy + Eq> Limiter<T> {
    pub(super) fn new() -> Self {
        Limiter { lines: Vec::new() }
    }

    /// Whether it may be said now, and how often it was left out since the last time.
    pub(super) fn ask(&mut self, now: Instant, topic: T, source: IpAddr) -> Option<u64> {
        let (mut known, mut sources) = (None, 0);
        for (n, line) in self.lines.iter().enumerate().filter(|(_, line)| line.topic == topic) {
            if line.source == Some(source) {
                known = Some(n);
            }
            sources += usize::from(line.source.is_some());
        }
        if known.is_none() && sources >= SOURCES {
            // One that was not heard for a minute makes room; its count goes with it.
            let old = |line: &Line<T>| {
                line.topic == topic && line.source.is_some() && now.duration_since(line.said) >= EVERY
            };
            match self.lines.iter().position(old) {
                Some(n) => _ = self.lines.swap_remove(n),
                None => {
                    known = self.lines.iter().position(|line| line.topic == topic && line.source.is_none());
                    return self.at(now, known, topic, None);
                }
            }
        }
        self.at(now, known, topic, Some(source))
    }

    fn at(&mut self, now: Instant, known: Option<usize>, topic: T, source: Option<IpAddr>) -> Option<u64> {
        let Some(n) = known else {
            self.lines.push(Line { topic, source, said: now, left_out: 0 });
            return Some(0);
        };
        let line = &mut self.lines[n];
        if now.duration_since(line.said) < EVERY {
            line.left_out += 1;
            return None;
        }
        line.said = now;
        Some(std::mem::take(&mut line.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_one_a_minute_with_how_many_were_left_out() {
        let (start, mut limiter) = (Instant::now(), Limiter::new());
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!(limiter.ask(start, 'a', one), Some(0));
        for n in 1..60 {
            assert_eq!(limiter.ask(start + Duration::from_secs(n), 'a', one), None);
        }
        assert_eq!(limiter.ask(start + Duration::from_secs(5), 'a', two), Some(0));
        assert_eq!(limiter.ask(start + Duration::from_secs(5), 'b', one), Some(0));
        assert_eq!(limiter.ask(start + EVERY, 'a', one), Some(59));
        assert_eq!(limiter.ask(start + EVERY, 'a', one), None);
    }

    #[test]
    fn any_number_of_sources_gets_few_lines_and_little_memory() {
        let (start, mut limiter) = (Instant::now(), Limiter::new());
        let mut said = 0;
        for n in 0..60_000u32 {
            let now = start + Duration::from_millis(u64::from(n));
            said += usize::from(limiter.ask(now, 0, IpAddr::from(n.to_be_bytes())).is_some());
        }
        assert_eq!(said, SOURCES + 1);
        assert_eq!(limiter.lines.len(), SOURCES + 1);
        // A minute later others are told apart.
        assert_eq!(limiter.ask(start + 2 * EVERY, 0, IpAddr::from([10, 0, 0, 1])), Some(0));
        assert_eq!(limiter.lines.len(), SOURCES + 1);
    }
}

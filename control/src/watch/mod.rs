//! Whether the workers of the dataplane do their work: one that dies or takes no turns is noticed within a second.
//!
//! *Invariants*
//! - a worker is judged by the time in which control itself was running and saw it take no turn: a process or a machine that
//!   was stopped for a while has no worker that hangs;
//! - one that gets no time on its core is no more than that: ending it, or everything, would not give it any.
//!
//! What a worker says to the XDP program (`xsk::beat` of the dataplane) is another matter, and needs nobody to look.

mod task;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use task::Task;

/// How often workers are looked at.
pub const LOOK: Duration = Duration::from_millis(100);
/// A worker that takes no turn for so long does not work: asleep it takes ten a second. With two looks more it is still
/// noticed within a second.
const SILENT: Duration = Duration::from_millis(700);
/// What its thread does is looked at from here on.
const DOUBTFUL: Duration = Duration::from_millis(300);
/// Workers that are started anew: so many at most in so long a time. What happens more often is no accident.
const RESTARTS: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// How a worker does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// It takes turns.
    #[default]
    Up,
    /// It takes none because its core has no time for it; this in words.
    Starved(String),
    /// It takes none, and will not; why.
    Hung(String),
    /// Its thread has ended; its last words.
    Dead(String),
}

/// One worker.
#[derive(Debug, Default)]
pub struct Watched {
    /// How it does.
    pub state: State,
    /// Times that another one took its place.
    pub restarts: u64,
    turns: u64,
    silence: Duration,
    /// What its thread did when it became doubtful.
    doubtful: Option<Task>,
    /// When it died.
    died: Option<Instant>,
}

/// All workers.
#[derive(Debug, Default)]
pub struct Watch {
    workers: Vec<Watched>,
    looked: Option<Instant>,
    /// When workers were started anew.
    restarts: VecDeque<Instant>,
}

impl State {
    /// In a word: `up`, `starved`, `hung`, `dead`.
    pub fn name(&self) -> &'static str {
        match self {
            State::Up => "up",
            State::Starved(_) => "starved",
            State::Hung(_) => "hung",
            State::Dead(_) => "dead",
        }
    }

    /// Why it does not work, if so.
    pub fn reason(&self) -> Option<&str> {
        match self {
            State::Up => None,
            State::Starved(why) | State::Hung(why) | State::Dead(why) => Some(why),
        }
    }
}

impl Watch {
    /// Looks at the workers: their turns so far, and the kernel's numbers of their threads. Returns those whose state is
    /// another one now. To be called every [`LOOK`].
    pub fn look(&mut self, now: Instant, workers: impl Iterator<Item = (u64, u64)>) -> Vec<usize> {
        self.look_with(now, workers, Task::of)
    }

    fn look_with(
        &mut self,
        now: Instant,
        workers: impl Iterator<Item = (u64, u64)>,
        task: impl Fn(u64) -> Option<Task>,
    ) -> Vec<usize> {
        // Nobody can tell what was while nobody looked.
        let passed = self.looked.map_or(Duration::ZERO, |looked| (now - looked).min(2 * LOOK));
        self.looked = Some(now);
        let mut changed = Vec::new();
        for (n, (turns, thread)) in workers.enumerate() {
            let worker = self.worker(n);
            if matches!(worker.state, State::Dead(_)) {
                continue;
            }
            let state = worker.judged(passed, turns, || task(thread));
            // The words may differ each time.
            if state.name() != worker.state.name() {
                worker.state = state;
                changed.push(n);
            }
        }
        changed
    }

    /// Lets a look be, unless there was none for so long.
    pub fn wait(&self, limit: Duration) -> bool {
        self.looked.is_some_and(|looked| looked.elapsed() < limit)
    }

    /// Its thread has ended.
    pub fn dies(&mut self, now: Instant, n: usize, why: String) {
        let worker = self.worker(n);
        (worker.state, worker.died) = (State::Dead(why), Some(now));
    }

    /// Since when worker `n` has been dead.
    pub fn dead_since(&self, n: usize) -> Option<Instant> {
        self.workers.get(n)?.died
    }

    /// Whether one more may be started anew.
    pub fn may_restart(&mut self, now: Instant) -> bool {
        while self.restarts.front().is_some_and(|then| now.duration_since(*then) >= WITHIN) {
            self.restarts.pop_front();
        }
        self.restarts.len() < RESTARTS
    }

    /// Another worker has taken the place of this one.
    pub fn restarted(&mut self, now: Instant, n: usize) {
        self.restarts.push_back(now);
        let worker = self.worker(n);
        *worker = Watched { restarts: worker.restarts + 1, turns: worker.turns, ..Watched::default() };
    }

    /// How worker `n` does.
    pub fn of(&self, n: usize) -> Option<&Watched> {
        self.workers.get(n)
    }

    /// The first worker that does not work, and why: who cannot forward must not be active. One that died a moment ago is
    /// about to be replaced.
    pub fn fault(&self, now: Instant) -> Option<String> {
        let is_fault = |worker: &Watched| worker.died.is_none_or(|died| now.duration_since(died) >= SILENT);
        let mut all = self.workers.iter().enumerate().filter(|(_, worker)| is_fault(worker));
        all.find_map(|(n, worker)| Some(format!("worker {n} of the dataplane {}", worker.state.reason()?)))
    }

    /// Whether a worker hangs or is dead: whoever is starved may go on any time.
    pub fn is_broken(&self) -> bool {
        self.workers.iter().any(|worker| matches!(worker.state, State::Hung(_) | State::Dead(_)))
    }

    fn worker(&mut self, n: usize) -> &mut Watched {
        if self.workers.len() <= n {
            self.workers.resize_with(n + 1, Watched::default);
        }
        &mut self.workers[n]
    }
}

impl Watched {
    fn judged(&mut self, passed: Duration, turns: u64, task: impl Fn() -> Option<Task>) -> State {
        if self.turns != turns {
            (self.turns, self.silence, self.doubtful) = (turns, Duration::ZERO, None);
            return State::Up;
        }
        self.silence += passed;
        if self.silence >= DOUBTFUL && self.doubtful.is_none() {
            self.doubtful = task();
        }
        if self.silence < SILENT {
            return self.state.clone();
        }
        let silence = format!("has taken no turn for {:.1} s", self.silence.as_secs_f64());
        match task().map(|now| now.since(self.doubtful.as_ref())) {
            Some(task::Doing::WaitsForCore) => {
                State::Starved(format!("{silence}: something else takes all the time of its core"))
            }
            Some(doing) => State::Hung(format!("{silence}: {doing}")),
            None => State::Hung(silence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that are `apart` milliseconds apart, at a worker with these turns and this state and CPU time of its thread.
    fn states(looks: &[(u64, u64, char, u64)]) -> Vec<&'static str> {
        let (mut watch, mut now) = (Watch::default(), Instant::now());
        let mut states = Vec::new();
        for (apart, turns, state, ticks) in looks {
            now += Duration::from_millis(*apart);
            watch.look_with(now, [(*turns, 1)].into_iter(), |_| Some(Task { state: *state, ticks: *ticks }));
            states.push(watch.of(0).unwrap().state.name());
        }
        states
    }

    #[test]
    fn a_worker_that_takes_no_turn_is_noticed_in_less_than_a_second() {
        let looks = [(100, 5, 'S', 0); 9];
        assert_eq!(states(&looks)[..7], ["up"; 7]);
        // The turn that the first look saw may have been taken right after the look before it, which was 0.1 s earlier.
        assert_eq!(states(&looks)[7..], ["hung"; 2]);
    }

    #[test]
    fn a_worker_that_takes_turns_again_is_up() {
        let looks = [[(100, 5, 't', 0); 9].as_slice(), &[(100, 6, 'S', 0)]].concat();
        assert_eq!(states(&looks)[8..], ["hung", "up"]);
    }

    #[test]
    fn time_in_which_control_did_not_look_is_not_held_against_a_worker() {
        let looks = [(100, 5, 'S', 0), (5000, 5, 'S', 0), (5, 5, 'S', 0), (100, 6, 'S', 0)];
        assert_eq!(states(&looks), ["up"; 4]);
    }

    #[test]
    fn who_gets_no_time_is_starved_and_who_uses_it_for_nothing_hangs() {
        assert_eq!(states(&[(100, 5, 'R', 3); 9])[8], "starved");
        let busy: Vec<_> = (0..9).map(|n| (100, 5, 'R', n * 10)).collect();
        assert_eq!(states(&busy)[8], "hung");
        // Starved first, and when it gets its core it makes nothing of it.
        let mut looks = vec![(100, 5, 'R', 3); 12];
        looks.push((100, 5, 'R', 20));
        assert_eq!(states(&looks)[11..], ["starved", "hung"]);
    }

    #[test]
    fn three_restarts_a_minute_are_accidents() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        for second in 0..3 {
            assert!(watch.may_restart(start + Duration::from_secs(second)));
            watch.restarted(start + Duration::from_secs(second), 1);
        }
        assert!(!watch.may_restart(start + Duration::from_secs(59)));
        assert!(watch.may_restart(start + Duration::from_secs(60)));
        assert_eq!(watch.of(1).unwrap().restarts, 3);
    }

    #[test]
    fn a_dead_worker_is_a_fault_once_it_was_not_replaced_in_time() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.look_with(now, [(5, 1), (7, 2)].into_iter(), |_| None);
        watch.dies(now, 1, "died: index out of bounds".into());
        assert!(watch.is_broken());
        assert_eq!(watch.fault(now), None);
        let fault = watch.fault(now + SILENT);
        assert_eq!(fault.as_deref(), Some("worker 1 of the dataplane died: index out of bounds"));
        watch.restarted(now + SILENT, 1);
        assert_eq!((watch.is_broken(), watch.fault(now + 2 * SILENT)), (false, None));
    }
}

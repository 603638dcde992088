//! What the packet path costs in memory, with no kernel in the way: rows that are measured side by side.
//!
//! A machine is never as fast twice: its clock and its neighbours change from second to second. So what is compared is
//! measured in one process in short turns, round after round, and what is told is the median over the rounds of each
//! row *less the writing of its frames in the same round*, beside the median of its ratio to the floor. The number of
//! instructions does not depend on the machine's mood: `bin/count.rs` takes it of the same rows.

pub mod pass;
pub mod rounds;
pub mod sets;
pub mod stage;
pub mod storm;
pub mod sweep;

use std::time::Duration;

/// Something that is done to one burst of frames after the other. It takes no memory before it is run.
pub struct Row {
    /// What it is: `pass/director`.
    pub name: String,
    /// Of what: a number of flows, a length of frames.
    pub parameter: String,
    /// The row of the same sitting that writes the same frames and does nothing with them.
    pub floor: usize,
    /// The row of the same sitting that it is to be compared with.
    pub against: Option<usize>,
    state: State,
}

/// Says how long so many bursts took.
type Run = Box<dyn FnMut(usize) -> Duration>;

enum State {
    Planned(Option<Box<dyn FnOnce() -> Run>>),
    Running(Run),
}

impl Row {
    /// A row that does what `make` gives over and over.
    pub fn new<F: FnMut() + 'static>(
        name: impl Into<String>,
        parameter: impl ToString,
        floor: usize,
        make: impl FnOnce() -> F + 'static,
    ) -> Row {
        Row::timed(name, parameter, floor, || {
            let mut burst = make();
            move |bursts| {
                let before = on_processor();
                measured(bursts, &mut burst);
                on_processor().saturating_sub(before)
            }
        })
    }

    /// A row that knows itself how long so many bursts took.
    pub fn timed<F: FnMut(usize) -> Duration + 'static>(
        name: impl Into<String>,
        parameter: impl ToString,
        floor: usize,
        make: impl FnOnce() -> F + 'static,
    ) -> Row {
        let make = Box::new(|| Box::new(make()) as Run);
        let state = State::Planned(Some(make));
        Row { name: name.into(), parameter: parameter.to_string(), floor, against: None, state }
    }

    /// The same, to be compared with row `other` of its sitting.
    pub fn against(self, other: usize) -> Row {
        Row { against: Some(other), ..self }
    }

    /// Does so many bursts, and says how long they took.
    pub fn run(&mut self, bursts: usize) -> Duration {
        if let State::Planned(make) = &mut self.state
            && let Some(make) = make.take()
        {
            self.state = State::Running(make());
        }
        match &mut self.state {
            State::Running(run) => run(bursts),
            State::Planned(_) => unreachable!("it was made above"),
        }
    }
}

/// What counts, by the clock and for callgrind, which is told this name.
#[inline(never)]
pub fn measured(bursts: usize, burst: &mut impl FnMut()) {
    for _ in 0..bursts {
        burst();
    }
}

/// How long this thread has been on a processor: what others do in between is not its cost.
pub fn on_processor() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

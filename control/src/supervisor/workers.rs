//! Workers are looked after: what one does not do any more is said once, and then acted on as configured. One that died may
//! be replaced. One that hangs cannot: it has its sockets until the process ends.

use std::time::{Duration, Instant};

use shunt_dataplane::xsk::program::OpenError;

use super::Supervisor;
use crate::error::Error;
use crate::model::WorkerFailure;
use crate::panic;
use crate::watch::State;

/// The kernel has released the sockets of a dead worker by then, also on a busy machine.
const RELEASED: Duration = Duration::from_secs(3);
/// How long a worker may tell of its panic.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Supervisor {
    /// To be called every [`crate::watch::LOOK`].
    ///
    /// # Errors
    /// The director is to end: a worker does not work, and cannot be replaced or must not be.
    pub(super) fn look_after_workers(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for (n, words) in self.plane.died() {
            let why = format!("died: {words}");
            tracing::error!("worker {n} {why}. This is a bug in shunt");
            self.watch.dies(now, n, why);
        }
        // Who tells of its panic takes no turns, and is dead soon.
        let is_patient = self.loaded.model.director.worker_failure == WorkerFailure::Restart;
        if is_patient && panic::is_told() && self.watch.wait(LAST_WORDS) {
            return Ok(());
        }
        let turns = self.plane.workers().iter().map(|w| (w.stats.turns.value(), w.stats.thread.value()));
        let changed = self.watch.look(now, turns);
        for n in &changed {
            match self.watch.of(*n).map(|worker| &worker.state) {
                Some(State::Hung(why)) => tracing::error!("worker {n} hangs: it {why}"),
                Some(State::Starved(why)) => {
                    let core = self.plane.workers()[*n].core.map(|core| format!(" {core}"));
                    tracing::warn!(
                        "worker {n} {why}. Nothing else may run on core{}: see director.cores",
                        core.unwrap_or_default()
                    );
                }
                _ => tracing::info!("worker {n} takes turns again"),
            }
        }
        if !changed.is_empty() {
            self.track();
        }
        for n in 0..self.plane.workers().len() {
            match self.watch.of(n).map(|worker| worker.state.clone()) {
                Some(State::Hung(why)) => return Err(Error::Worker { worker: n, why }),
                Some(State::Dead(why)) => self.replace(now, n, why)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts another worker in the place of a dead one, as soon as its sockets can be had.
    fn replace(&mut self, now: Instant, n: usize, why: String) -> Result<(), Error> {
        if self.loaded.model.director.worker_failure == WorkerFailure::Exit {
            return Err(Error::Worker { worker: n, why });
        }
        if !self.watch.may_restart(now) {
            let why = format!("{why}; too many have in the last minute to start another one");
            return Err(Error::Worker { worker: n, why });
        }
        match self.plane.revive(n) {
            Ok(()) => {
                self.watch.restarted(now, n);
                let flows = self.plane.workers()[n].stats.flows.value();
                tracing::warn!(
                    "another worker {n} is in the place of the one that died, with its {flows} flows"
                );
                Ok(())
            }
            Err(OpenError::QueueTaken { .. })
                if self.watch.dead_since(n).is_some_and(|since| now - since < RELEASED) =>
            {
                // A fault by then perhaps.
                self.track();
                Ok(())
            }
            Err(error) => {
                let why = format!("{why}; another one cannot be started: {error}");
                Err(Error::Worker { worker: n, why })
            }
        }
    }
}

//! Where trackers put what they find.
//!
//! *Invariants*
//! - one [`Event`] at most is under way, however many results change before they are read;
//! - a result that is as it was is no change.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::UnboundedSender;

use super::{Event, Health, Results};

/// The results, and who is told that they changed.
pub(super) struct Board {
    state: Mutex<State>,
    tell: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    results: Results,
    /// It was told, and nobody has read them since.
    is_told: bool,
}

impl Board {
    pub(super) fn new<E: From<Event> + Send + 'static>(events: UnboundedSender<E>) -> Board {
        let tell = move || {
            // Nobody listens any more: the director ends.
            let _ = events.send(Event::Changed.into());
        };
        Board { state: Mutex::default(), tell: Box::new(tell) }
    }

    /// All results, to be acted upon.
    pub(super) fn read(&self) -> Results {
        let mut state = self.state();
        state.is_told = false;
        state.results.clone()
    }

    pub(super) fn script(&self, name: &str, health: Health) {
        self.change(|results| results.scripts.insert(name.to_owned(), health));
    }

    pub(super) fn file(&self, name: &str, number: i64) {
        self.change(|results| results.files.insert(name.to_owned(), number));
    }

    pub(super) fn process(&self, name: &str, well: bool) {
        self.change(|results| results.processes.insert(name.to_owned(), well));
    }

    /// Changes the results, and tells if they are others now.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Results) -> T) {
        let mut state = self.state();
        let before = state.results.clone();
        change(&mut state.results);
        if state.results != before && !std::mem::replace(&mut state.is_told, true) {
            (self.tell)();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

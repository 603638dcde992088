//! Programs that are told: for each service, real server and virtual router one at a time, in order, and none waits for
//! another's.
//!
//! *Invariants*
//! - of one subject at most one program runs, and at most one state waits: the latest, if it is not the one that is
//!   being told. Whoever lags behind learns how it is now, not all that it was: behind a program for UP that takes long,
//!   DOWN, UP are left out, and the last program that runs is always that of the last state;
//! - a program that exceeds its time is ended with its process group;
//! - behind the last state (STOP) there is no other: what is being told when it comes has a second to end, so that the
//!   programs for STOP are run at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::{Stage, Subject, Tasks};
use crate::model::{Command, Scripts};
use crate::script::{self, Outcome};

/// How long a program may take that has no time limit of its own. keepalived has no limit; a script that retries against
/// a service far away takes half a minute, and one that takes five is not going to end.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// How long a program may go on that holds up those for the last state.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Programs that run at once: when ten thousand real servers go down together, the machine must live on.
const AT_ONCE: usize = 256;

/// The queues of all subjects.
pub(super) struct Queues {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    rules: Mutex<Scripts>,
    /// The subjects whose program runs.
    busy: Mutex<HashMap<Subject, Busy>>,
    slots: Semaphore,
}

struct Busy {
    /// The state that is being told.
    telling: &'static str,
    /// The state that is told next: another one.
    waiting: Option<Item>,
    /// Told when the last state waits.
    hurry: Arc<Notify>,
}

/// A state, and whoever is told of it.
pub(super) struct Item {
    /// Its name; two states of a subject are the same if their names are.
    pub(super) state: &'static str,
    /// One after another, with their last arguments. None: nobody is told of this state, but it is one.
    pub(super) commands: Vec<(Command, Vec<String>)>,
    /// No state comes after it.
    pub(super) is_last: bool,
}

impl Queues {
    pub(super) fn new(rules: Scripts, tasks: Tasks) -> Queues {
        let shared = Arc::new(Shared {
            rules: Mutex::new(rules),
            busy: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        });
        Queues { shared, tasks }
    }

    /// Programs that start from now on are run by these rules.
    pub(super) fn set(&self, rules: Scripts) {
        *self.shared.rules.lock().expect("no holder of this lock panics") = rules;
    }

    /// Subjects whose program runs.
    #[cfg(test)]
    pub(super) fn subjects(&self) -> usize {
        self.shared.busy().len()
    }

    /// Runs the program after those of the same subject that came before.
    pub(super) fn put(&self, subject: Subject, item: Item) {
        match self.shared.busy().entry(subject.clone()) {
            Entry::Occupied(mut busy) => {
                let busy = busy.get_mut();
                if item.is_last {
                    busy.hurry.notify_one();
                }
                busy.waiting = (item.state != busy.telling).then_some(item);
            }
            Entry::Vacant(free) => {
                let hurry = Arc::new(Notify::new());
                free.insert(Busy { telling: item.state, waiting: None, hurry: hurry.clone() });
                tokio::spawn(work(subject, item, hurry, self.shared.clone(), self.tasks.clone()));
            }
        }
    }
}

impl Shared {
    fn busy(&self) -> MutexGuard<'_, HashMap<Subject, Busy>> {
        self.busy.lock().expect("no holder of this lock panics")
    }

    /// What the subject is told next; if nothing, it is idle.
    fn next(&self, subject: &Subject) -> Option<Item> {
        let mut all = self.busy();
        let busy = all.get_mut(subject).expect("a subject is busy until this takes it out");
        let next = busy.waiting.take();
        match &next {
            Some(item) => busy.telling = item.state,
            None => drop(all.remove(subject)),
        }
        next
    }
}

/// Runs the programs of one subject until none waits.
async fn work(subject: Subject, first: Item, hurry: Arc<Notify>, shared: Arc<Shared>, tasks: Tasks) {
    let mut next = Some(first);
    while let Some(Item { state, commands, is_last }) = next {
        for (command, arguments) in commands {
            let script = command.argv.first();
            tokio::select! {
                biased;
                () = tasks.reached(Stage::Over) => {
                    tracing::warn!(script, "ended with the director");
                    return;
                }
                () = hurried(&hurry), if !is_last => {
                    tracing::warn!(script, state, "ended: the director stops, and it had {LAST_MOMENT:?} to end");
                    // The rest of this state has no time either.
                    break;
                }
                () = run(&command, &arguments, state, &shared) => {}
            }
        }
        next = shared.next(&subject);
    }
}

async fn hurried(hurry: &Notify) {
    hurry.notified().await;
    // For the programs of this state that come after.
    hurry.notify_one();
    tokio::time::sleep(LAST_MOMENT).await;
}

async fn run(command: &Command, arguments: &[String], state: &str, shared: &Shared) {
    let _slot = shared.slots.acquire().await.expect("the semaphore is never closed");
    let rules = shared.rules.lock().expect("no holder of this lock panics").clone();
    let limit = command.timeout.unwrap_or(LIMIT);
    let script = command.argv.first().map_or("", String::as_str);
    match script::run(command, &rules, arguments, limit).await {
        Ok(ended) if ended.outcome == Outcome::Exited(0) => tracing::info!(script, state, "notified"),
        Ok(ended) if ended.last_line.is_empty() => {
            tracing::warn!(script, state, "the notification {}", ended.outcome);
        }
        Ok(ended) => tracing::warn!(script, state, "the notification {}: {}", ended.outcome, ended.last_line),
        Err(error) => tracing::error!(state, "notification: {error}"),
    }
}

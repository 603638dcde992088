//! Keeps what is tracked going: a task for each script and each file, one for all processes.
//!
//! *Invariants*
//! - what no router and no group tracks is not looked at;
//! - what is the same in two configurations goes on undisturbed; a script of which only the times changed keeps its
//!   result.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::board::Board;
use super::file::Init;
use super::{Event, Health, Results, file, process, script};
use crate::model::{Scripts, TrackFile, TrackProcess, TrackScript, Vrrp};

/// Everything that is tracked, until it is dropped.
pub struct Trackers<E> {
    board: Arc<Board>,
    scripts: BTreeMap<String, Tracker<(TrackScript, Scripts)>>,
    files: BTreeMap<String, Tracker<TrackFile>>,
    processes: Option<Tracker<Vec<TrackProcess>>>,
    /// A configuration was set before.
    has_begun: bool,
    events: PhantomData<fn(E)>,
}

/// A task, and what it is for.
struct Tracker<T> {
    of: T,
    task: AbortHandle,
}

impl<E: From<Event> + Send + 'static> Trackers<E> {
    /// Tracks nothing yet. Events go to `events`.
    pub fn new(events: UnboundedSender<E>) -> Trackers<E> {
        Trackers {
            board: Arc::new(Board::new(events)),
            scripts: BTreeMap::new(),
            files: BTreeMap::new(),
            processes: None,
            has_begun: false,
            events: PhantomData,
        }
    }

    /// Tracks what `vrrp` says from now on; programs are run by the rules `scripts`. Must be called on a tokio runtime.
    pub fn set(&mut self, vrrp: &Vrrp, scripts: &Scripts) {
        self.set_scripts(vrrp, scripts);
        self.set_files(vrrp);
        self.set_processes(vrrp);
        self.has_begun = true;
    }

    /// What was found so far; the dataplane's part is the default.
    pub fn results(&self) -> Results {
        self.board.read()
    }

    fn set_scripts(&mut self, vrrp: &Vrrp, rules: &Scripts) {
        let wanted = vrrp.scripts.iter().filter(|script| vrrp.tracks(&script.name, |track| &track.scripts));
        let mut before = std::mem::take(&mut self.scripts);
        let mut known = self.board.read().scripts;
        let mut results = BTreeMap::new();
        for script in wanted {
            let of = (script.clone(), rules.clone());
            let old = before.remove(&script.name);
            let health = match &old {
                Some(old) if old.of.0.command.argv == script.command.argv => known.remove(&script.name),
                _ => None,
            };
            let health = health.filter(|health| *health != Health::Waiting).unwrap_or_else(|| start(script));
            results.insert(script.name.clone(), health.clone());
            let tracker = Tracker::kept_or(old, of, |(script, rules)| {
                script::watch(script, rules, health, self.board.clone())
            });
            self.scripts.insert(script.name.clone(), tracker);
        }
        self.board.change(|all| all.scripts = results);
    }

    fn set_files(&mut self, vrrp: &Vrrp) {
        let wanted = vrrp.files.iter().filter(|file| vrrp.tracks(&file.name, |track| &track.files));
        let mut before = std::mem::take(&mut self.files);
        for file in wanted {
            let old = before.remove(&file.name);
            // Who watches a file already does not make it again, whatever else changed.
            let init = match (&file.init, &old) {
                (Some((number, overwrite)), None) => {
                    Some(Init { number: *number, overwrite: *overwrite && !self.has_begun })
                }
                _ => None,
            };
            let tracker = Tracker::kept_or(old, file.clone(), |file| {
                file::watch(file.name, file.path, init, self.board.clone())
            });
            self.files.insert(file.name.clone(), tracker);
        }
        let files = &self.files;
        self.board.change(|all| all.files.retain(|name, _| files.contains_key(name)));
    }

    fn set_processes(&mut self, vrrp: &Vrrp) {
        let tracked = |process: &&TrackProcess| vrrp.tracks(&process.name, |track| &track.processes);
        let wanted: Vec<TrackProcess> = vrrp.processes.iter().filter(tracked).cloned().collect();
        let old = self.processes.take();
        let same = |name: &str| {
            let old = old.iter().flat_map(|old| &old.of).find(|process| process.name == name);
            old.is_some() && old == wanted.iter().find(|process| process.name == name)
        };
        self.board.change(|all| all.processes.retain(|name, _| same(name)));
        let known = self.board.read().processes;
        if !wanted.is_empty() {
            let watch = |wanted| process::watch(wanted, known, self.board.clone());
            self.processes = Some(Tracker::kept_or(old, wanted, watch));
        }
    }
}

/// What is thought of a script that has not been run.
fn start(script: &TrackScript) -> Health {
    if script.init_fail {
        Health::Failed("it has not succeeded yet (init_fail)".to_owned())
    } else {
        Health::Waiting
    }
}

impl<T: PartialEq + Clone> Tracker<T> {
    /// The old one if it is for the same; else a new one.
    fn kept_or<F>(old: Option<Tracker<T>>, of: T, task: impl FnOnce(T) -> F) -> Tracker<T>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match old {
            Some(old) if old.of == of => old,
            old => {
                drop(old);
                Tracker { of: of.clone(), task: tokio::spawn(task(of)).abort_handle() }
            }
        }
    }
}

impl<T> Drop for Tracker<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

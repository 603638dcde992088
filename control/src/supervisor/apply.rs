//! A configuration that is tried: in force as after a reload, and gone by itself unless somebody who still reaches this
//! director says that it may stay.
//!
//! *Invariants*
//! - one is tried at a time; what is not confirmed in time goes, and what was in force before it comes back with the changes
//!   that were made while running, then and since;
//! - going back is tried again until it is done, confirmed, or overtaken by a reload;
//! - nothing is written: whoever ends the daemon finds its own file in force at the next start.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use super::adopt::{lines, read};
use crate::admin::show;
use crate::config::{Bundle, Loaded};
use crate::edit::{Changes, Edit};
use crate::error::Error;
use crate::health::RealKey;
use crate::model::Model;
use crate::survey::Survey;

/// Longest time for a confirmation, seconds.
const LONGEST: u64 = 86_400;
/// Between two attempts to go back, if the first fails.
const AGAIN: Duration = Duration::from_secs(10);
/// Changes that are remembered while something awaits its confirmation: as many as a large `ipvsadm -R` has.
const MOST_EDITS: usize = 1 << 16;

/// What was applied since the start.
#[derive(Default)]
pub(super) struct Applied {
    /// In force instead of the daemon's own file.
    file: Option<PathBuf>,
    /// What may come back.
    former: Option<Arc<Former>>,
    pending: Option<Pending>,
    done: u64,
    refused: u64,
    rolled_back: u64,
}

/// What was applied and awaits its confirmation.
struct Pending {
    file: PathBuf,
    /// Changes made since.
    edits: Vec<Edit>,
    until: Instant,
}

/// What was in force before.
struct Former {
    loaded: Loaded,
    survey: Survey,
    changes: Changes,
    file: Option<PathBuf>,
    up: HashSet<RealKey>,
}

impl Applied {
    /// What `shunt show` and metrics have of it.
    pub(super) fn view(&self) -> show::Applied {
        let pending = self.pending.as_ref().map(|pending| show::Pending {
            file: pending.file.clone(),
            rolls_back_in_seconds: pending.left().as_secs(),
        });
        let Applied { file, done, refused, rolled_back, .. } = self;
        let (done, refused, rolled_back) = (*done, *refused, *rolled_back);
        show::Applied { file: file.clone(), pending, done, refused, rolled_back }
    }

    /// What may come back. Its real servers are looked after meanwhile: they take their flows again at once, and not after
    /// they were found and checked anew.
    pub(super) fn standby(&self) -> Option<(&Model, &Survey)> {
        self.former.as_ref().map(|former| (&former.loaded.model, &former.survey))
    }

    /// Who was up in what may come back.
    pub(super) fn up_before(&self) -> impl Iterator<Item = &RealKey> {
        self.former.iter().flat_map(|former| &former.up)
    }

    /// Whether so many changes more can be remembered.
    ///
    /// # Errors
    /// They cannot, and what to do.
    pub(super) fn has_room(&self, edits: usize) -> Result<(), String> {
        match &self.pending {
            Some(pending) if pending.edits.len() + edits > MOST_EDITS => Err(format!(
                "more than {MOST_EDITS} changes while {} awaits its confirmation: say `shunt confirm` or `shunt rollback`",
                pending.file.display()
            )),
            _ => Ok(()),
        }
    }

    /// Changes that were made now.
    pub(super) fn note(&mut self, edits: &[Edit]) {
        if let Some(pending) = &mut self.pending {
            pending.edits.extend_from_slice(edits);
        }
    }
}

impl Pending {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Supervisor {
    /// Brings a configuration into force, for good or until its confirmation is late. Refused: says why, changes nothing.
    pub(super) async fn apply(
        &mut self,
        configuration: Bundle,
        confirm_seconds: Option<u64>,
    ) -> Result<String, String> {
        if let Some(pending) = &self.applied.pending {
            return Err(format!(
                "{} awaits its confirmation, and goes back in {} s: say `shunt confirm` or `shunt rollback` first",
                pending.file.display(),
                pending.left().as_secs(),
            ));
        }
        if confirm_seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            return Err(format!("a confirmation is awaited for 1 to {LONGEST} seconds"));
        }
        let file = configuration.file.clone();
        self.applied.former = confirm_seconds.map(|_| Arc::new(self.former()));
        let reading = self.options.reading.clone();
        let done = match read(move || configuration.load(&reading)).await {
            Ok(loaded) => self.follow_file(loaded).await,
            Err(faults) => Err(Error::Config(faults)),
        };
        let (mut done, overridden) = done.map_err(|error| {
            let why = error.to_string();
            self.applied.refused += 1;
            self.applied.former = None;
            tracing::error!("{} is refused, the running configuration stays:\n{why}", file.display());
            why
        })?;
        self.applied.done += 1;
        tracing::info!("applied {}: {done}", file.display());
        let own = self.options.config.display();
        if is_same(&file, &self.options.config) {
            self.applied.file = None;
        } else {
            done += &format!(
                "\nnot written to {own}: a reload or a restart brings that back; if this is to stay: cp {} {own}",
                file.display()
            );
            self.applied.file = Some(file.clone());
        }
        done += &lines(&overridden);
        if let Some(seconds) = confirm_seconds {
            let note =
                format!("what was in force before comes back in {seconds} s unless you run: shunt confirm");
            tracing::warn!("{} is on trial: {note}", file.display());
            done += &format!("\n{note}");
            let until = Instant::now() + Duration::from_secs(seconds);
            self.applied.pending = Some(Pending { file, edits: Vec::new(), until });
        }
        Ok(done)
    }

    /// What was applied stays.
    pub(super) fn confirm(&mut self) -> Result<String, String> {
        let Some(Pending { file, .. }) = self.applied.pending.take() else { return Err(nothing_pending()) };
        self.forget_former();
        let file = file.display();
        let mut said = format!("confirmed: {file} stays in force");
        tracing::info!("{said}");
        if self.applied.file.is_some() {
            let own = self.options.config.display();
            said += &format!(
                "\nnot written to {own}: a reload or a restart brings that back, unless: cp {file} {own}"
            );
        }
        Ok(said)
    }

    /// What was applied goes, before its time is over.
    pub(super) async fn roll_back_at_once(&mut self) -> Result<String, String> {
        if self.applied.pending.is_none() {
            return Err(nothing_pending());
        }
        self.roll_back("as asked").await
    }

    /// Goes back to what was in force if the confirmation is late.
    pub(super) async fn roll_back_if_due(&mut self) {
        let is_due = |pending: &Pending| pending.until <= Instant::now();
        if self.applied.pending.as_ref().is_some_and(is_due) {
            // What came of it is in the log: nobody else listens.
            let _ = self.roll_back("it was not confirmed in time").await;
        }
    }

    /// A reload has put the daemon's own file in the place of what was applied; that, in words.
    pub(super) fn forget_applied(&mut self) -> String {
        let pending = self.applied.pending.take().map(|pending| pending.file);
        self.forget_former();
        let file = self.applied.file.take();
        let said = match (&pending, &file) {
            (Some(file), _) => {
                format!("{} was on trial, and goes: there is nothing to confirm any more", file.display())
            }
            (None, Some(file)) => format!("{} was applied, and goes", file.display()),
            (None, None) => return String::new(),
        };
        tracing::warn!("reloaded: {said}");
        format!("\n{said}")
    }

    fn former(&self) -> Former {
        let up = self.said.iter().filter(|(_, standing)| standing.is_up()).map(|(key, _)| *key);
        Former {
            loaded: self.loaded.clone(),
            survey: self.survey.clone(),
            changes: self.changes.clone(),
            file: self.applied.file.clone(),
            up: up.collect(),
        }
    }

    /// Nothing comes back any more.
    fn forget_former(&mut self) {
        if self.applied.former.take().is_some() {
            self.watch();
        }
    }

    async fn roll_back(&mut self, reason: &str) -> Result<String, String> {
        let (Some(mut pending), Some(former)) = (self.applied.pending.take(), self.applied.former.clone())
        else {
            unreachable!("whoever asks has seen that something is pending, and that has a former")
        };
        let file = pending.file.display().to_string();
        tracing::warn!("{file} goes, {reason}: what was in force before comes back");
        match self.restore(&former, &pending.edits).await {
            Ok((done, undone)) => {
                self.applied.file.clone_from(&former.file);
                self.forget_former();
                self.applied.rolled_back += 1;
                tracing::warn!("rolled back from {file}: {done}");
                for change in &undone {
                    tracing::warn!("undone with {file}: {change}");
                }
                let undone: String = undone.iter().map(|change| format!("\nundone: {change}")).collect();
                Ok(format!("rolled back from {file}: {done}{undone}"))
            }
            Err(error) => {
                let seconds = AGAIN.as_secs();
                let why =
                    format!("going back is refused, {file} stays in force; again in {seconds} s:\n{error}");
                tracing::error!("{why}");
                pending.until = Instant::now() + AGAIN;
                self.applied.pending = Some(pending);
                Err(why)
            }
        }
    }

    /// Brings back what was in force, with the changes made since that fit, or else without any; what came of that, and of
    /// those that do not.
    async fn restore(&mut self, former: &Former, edits: &[Edit]) -> Result<(String, Vec<String>), Error> {
        let (changes, mut undone) = former.changes.with_what_fits(edits);
        let loaded = |changes: &Changes| Loaded { model: changes.model(), ..former.loaded.clone() };
        match self.bring_into_force(loaded(&changes)).await {
            Ok(()) => self.changes = changes,
            Err(error) if edits.is_empty() => return Err(error),
            Err(_) => {
                self.bring_into_force(loaded(&former.changes)).await?;
                self.changes = former.changes.clone();
                undone = edits.iter().map(Edit::to_string).collect();
            }
        }
        Ok((format!("generation {} in force", self.plane.state().generation()), undone))
    }
}

fn nothing_pending() -> String {
    "nothing awaits a confirmation: it was confirmed, or has gone back already".to_owned()
}

/// Whether two paths are one, as they are written: to ask the file system of a path that somebody names may take for ever.
fn is_same(one: &Path, other: &Path) -> bool {
    let absolute = [one, other].map(std::path::absolute);
    matches!(absolute, [Ok(one), Ok(other)] if one == other)
}

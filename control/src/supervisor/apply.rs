//! A configuration that is tried: in force as after a reload, and gone by itself unless somebody who still reaches this
//! director says that it may stay.
//!
//! *Invariants*: one is tried at a time; what is not confirmed in time leaves what was in force before; whoever ends the
//! daemon meanwhile finds its own file in force at the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Supervisor;
use crate::config::Loaded;
use crate::plan;

/// Longest time for a confirmation, seconds.
const LONGEST: u64 = 86_400;

/// What was applied and awaits its confirmation.
pub(super) struct Pending {
    file: PathBuf,
    /// What was in force before.
    former: Loaded,
    until: Instant,
}

impl Pending {
    /// What `shunt show` has of it.
    pub(super) fn view(&self) -> Value {
        json!({ "file": self.file, "rolls_back_in_seconds": self.left().as_secs() })
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Supervisor {
    /// Brings the configuration in `file` into force, for good or until its confirmation is late. Refused: says why,
    /// changes nothing.
    pub(super) async fn apply(
        &mut self,
        file: PathBuf,
        planned: Option<String>,
        confirm_seconds: Option<u64>,
    ) -> Result<String, String> {
        if let Some(pending) = &self.pending {
            return Err(format!(
                "{} awaits its confirmation, and goes back in {} s: say `shunt confirm`, or wait, or go back to {} at \
                 once with `shunt reload`",
                pending.file.display(),
                pending.left().as_secs(),
                self.options.config.display()
            ));
        }
        if confirm_seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            return Err(format!("a confirmation is awaited for 1 to {LONGEST} seconds"));
        }
        let loaded = self.read(file.clone()).await?;
        if planned.is_some_and(|planned| planned != plan::digest(&loaded.model)) {
            return Err(format!("{} is not what was planned any more: plan it again", file.display()));
        }
        let former = self.loaded.clone();
        let mut done = self.bring_into_force(loaded).await.inspect_err(|why| {
            tracing::error!("{} is refused, the running configuration stays:\n{why}", file.display());
        })?;
        tracing::info!("applied {}: {done}", file.display());
        if let Some(seconds) = confirm_seconds {
            let until = Instant::now() + Duration::from_secs(seconds);
            let note =
                format!("what was in force before comes back in {seconds} s unless you run: shunt confirm");
            tracing::info!("{note}");
            done += &format!("; {note}");
            self.pending = Some(Pending { file: file.clone(), former, until });
        }
        if !is_same(&file, &self.options.config) {
            let own = self.options.config.display();
            done += &format!("; a reload or a restart goes back to {own}: put it there too if it is to stay");
        }
        Ok(done)
    }

    /// What was applied stays.
    pub(super) fn confirm(&mut self) -> Result<String, String> {
        let Some(pending) = self.pending.take() else {
            return Err(
                "nothing awaits a confirmation: it was confirmed, or has gone back already".to_owned()
            );
        };
        let said = format!("confirmed: {} stays in force", pending.file.display());
        tracing::info!("{said}");
        Ok(said)
    }

    /// Goes back to what was in force if the confirmation is late.
    pub(super) async fn roll_back_if_due(&mut self) {
        let Some(Pending { file, former, .. }) =
            self.pending.take_if(|pending| Instant::now() >= pending.until)
        else {
            return;
        };
        tracing::warn!("{} was not confirmed in time: going back", file.display());
        match self.bring_into_force(former).await {
            Ok(done) => tracing::warn!("rolled back: {done}"),
            Err(why) => tracing::error!("going back is refused, {} stays in force:\n{why}", file.display()),
        }
    }

    /// A reload has put another configuration in the place of the one that was tried.
    pub(super) fn overtake_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            tracing::info!("{} awaits no confirmation any more: reloaded instead", pending.file.display());
        }
    }
}

/// Whether two paths lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let found = [one, other].map(std::fs::canonicalize);
    matches!(found, [Ok(one), Ok(other)] if one == other)
}

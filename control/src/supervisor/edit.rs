//! Changes of what runs, beside its file.

use super::Supervisor;
use crate::config::{Faults, Loaded};
use crate::edit::Edit;
use crate::error::Error;

/// Why a change is refused: of which kind that is, for programs, and in words.
pub(super) struct Refused {
    pub(super) code: Option<&'static str>,
    pub(super) why: String,
}

impl Supervisor {
    /// Makes all of these changes, or, if one is refused, none.
    pub(super) async fn edit(&mut self, edits: &[Edit]) -> Result<String, Refused> {
        self.applied.has_room(edits.len()).map_err(|why| Refused { code: None, why })?;
        let changes = self
            .changes
            .with(edits)
            .map_err(|error| Refused { code: Some(error.kind.name()), why: error.to_string() })?;
        // Nothing of it stands in the file, so nothing new is wrong with that.
        let loaded = Loaded {
            model: changes.model(),
            warnings: Faults::default(),
            locations: self.loaded.locations.clone(),
        };
        if let Err(error) = self.bring_into_force(loaded).await {
            let why = match error {
                Error::Config(faults) => without_places(&faults),
                error => error.to_string(),
            };
            tracing::error!("a change is refused, all stays as it is: {why}");
            return Err(Refused { code: None, why });
        }
        self.changes = changes;
        self.applied.note(edits);
        for edit in edits {
            tracing::info!("changed while running: {edit}");
        }
        Ok(format!("generation {} in force", self.plane.state().generation()))
    }
}

/// What is wrong and what to do. A place in the file would send the operator to a line that says nothing of the change.
fn without_places(faults: &Faults) -> String {
    let errors = faults.iter().filter(|fault| fault.severity == crate::config::Severity::Error);
    let said = errors.map(|fault| match &fault.help {
        Some(help) => format!("{}\n  help: {help}", fault.message),
        None => fault.message.clone(),
    });
    said.collect::<Vec<_>>().join("\n")
}

//! Whole files: the set-ups that people run, every keyword of the table, and lines thrown together. Each model that
//! comes out is written in the native format and read again, which must give the same.

mod checks;
mod document;
mod invariants;
mod setups;
mod table;

use crate::config::{Faults, Loaded};

/// What a file means.
fn mapped(text: &str) -> Result<Loaded, Faults> {
    let outcome = crate::config::parse("k.conf", text);
    if let Ok(Loaded { model, .. }) = &outcome {
        let native = crate::config::to_toml(model);
        let again = crate::config::parse("native.toml", &native);
        let again = again.unwrap_or_else(|faults| panic!("{faults}\n{native}\n{text}"));
        assert_eq!(again.model, *model, "{native}\n{text}");
    }
    outcome
}

/// What a good file means.
fn good(text: &str) -> Loaded {
    mapped(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// The messages about a file, `error` or `warning` in front.
fn said(outcome: &Result<Loaded, Faults>) -> Vec<String> {
    let faults = match outcome {
        Ok(loaded) => &loaded.warnings,
        Err(faults) => faults,
    };
    faults.iter().map(|fault| format!("{:?}: {}", fault.severity, fault.message).to_lowercase()).collect()
}

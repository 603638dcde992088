//! Whole files: the set-ups that people run, every keyword of the table, and lines thrown together.

mod checks;
mod invariants;
mod setups;
mod table;

use crate::config::{Faults, Loaded};

/// What a file means.
fn mapped(text: &str) -> Result<Loaded, Faults> {
    crate::config::parse("k.conf", text)
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

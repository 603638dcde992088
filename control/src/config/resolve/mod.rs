//! What was typed becomes what it means: file types -> [`Model`]. All faults are found in one go; a model exists only
//! if none of them is an error.
//!
//! *Invariants*
//! - The invariants of [`crate::model`] hold for every model that is returned.
//! - Pure: nothing here asks the machine. Whether an interface exists is for others, who find its place in
//!   [`Locations`].

mod check;
mod director;
mod options;
mod passive;
mod ports;
mod real;
mod report;
mod service;
mod timeouts;
mod value;

use std::sync::Arc;

use super::error::{Faults, Severity};
use super::file::Reading;
use super::location::Locations;
use super::source::Source;
use crate::model::{Model, Notify, Scripts};
pub(super) use director::{MOST_INTERFACES, name_fault};
pub(super) use options::netmask;
use report::Report;
pub(super) use timeouts::LONGEST;
pub(super) use value::{help_for_address, spell, unusable};

/// A model, with what may not have been meant and where everything is.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file means.
    pub model: Model,
    /// What was probably not meant; no errors.
    pub warnings: Faults,
    /// Where each thing of the model was typed.
    pub locations: Locations,
}

/// Resolves what was read of `source`.
pub(super) fn resolve(source: Arc<Source>, reading: Reading) -> Result<Loaded, Faults> {
    let mut report = Report::new(source, reading.faults, reading.absent);
    let director = director::resolve(&mut report, reading.file.director.as_ref());
    let services = service::resolve_all(&mut report, &reading.file.service, director.as_ref());
    let (faults, locations) = report.finish();
    match director {
        Some(director) if !faults.iter().any(|fault| fault.severity == Severity::Error) => {
            let (scripts, notify) = (Scripts::default(), Notify::default());
            let model = Model { director, services, scripts, notify };
            Ok(Loaded { model, warnings: faults.into(), locations })
        }
        _ => Err(faults.into()),
    }
}

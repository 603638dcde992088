//! What was typed becomes what it means: file types -> [`Model`]. All faults are found in one go; a model exists only
//! if none of them is an error.
//!
//! *Invariants*
//! - The invariants of [`crate::model`] hold for every model that is returned.
//! - Pure: nothing here asks the machine. Whether an interface exists is for others, who find its place in
//!   [`Locations`].

mod check;
mod command;
mod director;
mod http;
mod notify;
mod options;
mod passive;
mod ports;
mod probe;
mod quorum;
mod real;
mod report;
mod service;
mod timeouts;
mod value;
mod vrrp;
mod way;

use std::sync::Arc;

use super::error::{Faults, Severity};
use super::file::Reading;
use super::location::Locations;
use super::source::Source;
use crate::model::Model;
use report::Report;

pub(super) use check::{MOST_RESULTS, default_port};
pub(super) use director::{AUTO, LONGEST_NAME, MOST_INTERFACES, name_fault};
pub(super) use http::server_name;
pub(super) use options::netmask;
pub(super) use service::default_vip_check;
pub(super) use timeouts::LONGEST;
pub(super) use value::{help_for_address, parse_duration, spell, unusable};
pub(super) use vrrp::{OF_FILE, SCOPES, standard_group};

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
    let scripts = notify::scripts(&mut report, reading.file.scripts.as_ref());
    let notify = notify::resolve(&mut report, reading.file.notify.as_ref());
    let mails = reading.file.notify.as_ref().is_some_and(|notify| notify.get_ref().mail.is_some());
    let services = service::resolve_all(&mut report, &reading.file.service, director.as_ref(), mails);
    let sync = vrrp::sync(&mut report, reading.file.sync.as_ref());
    let vrrp = vrrp::resolve(&mut report, reading.file.vrrp.as_ref(), notify.as_ref(), mails);
    let vrrp = crate::model::Vrrp { sync, ..vrrp };
    let (faults, locations) = report.finish();
    match (director, scripts, notify) {
        (Some(director), Some(scripts), Some(notify))
            if !faults.iter().any(|fault| fault.severity == Severity::Error) =>
        {
            let model = Model { director, services, scripts, notify, vrrp };
            Ok(Loaded { model, warnings: faults.into(), locations })
        }
        _ => Err(faults.into()),
    }
}

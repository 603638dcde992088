//! Configuration: from the file that an operator wrote to the [`Model`](crate::model::Model), or to everything that is
//! wrong with it, in one go.
//!
//! The path, one module a step: [`source`] (bytes -> text with lines), [`mod@format`] (which format is it), `file` (TOML ->
//! what was typed, with `syntax`, `shape` and `keys`), [`resolve`] (what was typed -> what it means). [`error`] is what
//! comes out when a step finds a fault; [`location`] leads from the model back to the file.
//!
//! *Invariants*
//! - No input makes this panic (tested with random bytes).
//! - A model that comes out of here is valid; see [`crate::model`].

pub mod bundle;
mod convert;
pub mod defaults;
pub mod error;
mod file;
pub mod files;
pub mod format;
mod ipvsadm;
mod keepalived;
mod keys;
mod listing;
pub mod location;
pub mod resolve;
mod schema;
mod shape;
pub mod source;
mod syntax;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::path::Path;
use std::sync::Arc;

pub use bundle::Bundle;
pub use convert::{Converted, convert};
pub use error::{Fault, Faults, Severity, counted};
pub use files::{Files, Options};
pub use format::Format;
pub use location::{Locations, Place, VrrpHook, VrrpPart};
pub use resolve::Loaded;
pub use schema::schema;
pub(crate) use shape::closest;
pub use source::Source;
pub use write::to_toml;

/// Reads, parses and resolves the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, warnings included; each fault has its place in the file.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_with(path, &Options::default())
}

/// As [`load`], with `options`.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, options: &Options) -> Result<Loaded, Faults> {
    load_source(Source::read(path)?, options)
}

/// Parses and resolves `text`; faults call it `name`. What it includes is read as if it stood there.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str) -> Result<Loaded, Faults> {
    parse_with(name, text, &Options::default())
}

/// As [`parse`], with `options`.
///
/// # Errors
/// As [`load`].
pub fn parse_with(name: &str, text: &str, options: &Options) -> Result<Loaded, Faults> {
    load_source(Source::from_bytes(name, text.as_bytes().to_vec())?, options)
}

fn load_source(source: Source, options: &Options) -> Result<Loaded, Faults> {
    match Format::detect(source.text()) {
        Format::Native => {
            let reading = file::read(&source);
            resolve::resolve(Arc::new(source), reading)
        }
        Format::Ipvsadm => ipvsadm::load(source),
        Format::Keepalived { .. } => keepalived::load(source, options),
    }
}

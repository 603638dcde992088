//! Any format -> the native one: what `shunt convert` prints.

use std::path::Path;

use super::error::Faults;
use super::files::Options;
use super::format::Format;
use super::source::Source;
use super::{load_source, to_toml};

/// A configuration in the native format.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The native configuration.
    pub text: String,
    /// What it does not say, or says otherwise: the warnings about the file that was read.
    pub lost: Faults,
    /// The file was native before: this is the same, as shunt would write it.
    pub was_native: bool,
}

/// Reads the file at `path`, in any format, and writes it in the native one.
///
/// # Errors
/// Everything that is wrong with the file, warnings included.
pub fn convert(path: &Path, options: &Options) -> Result<Converted, Faults> {
    let source = Source::read(path)?;
    let was_native = Format::detect(source.text()) == Format::Native;
    let loaded = load_source(source, options)?;
    Ok(Converted { text: to_toml(&loaded.model), lost: loaded.warnings, was_native })
}

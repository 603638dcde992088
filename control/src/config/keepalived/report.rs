//! Collects faults and locations while a keepalived.conf is read.

use std::ops::Range;
use std::sync::Arc;

use super::super::error::{Fault, Faults, MOST_FAULTS, Severity};
use super::super::location::{Locations, Place};
use super::super::resolve::Loaded;
use super::super::source::Source;
use crate::model::Model;

/// A place in one of the files.
#[derive(Debug, Clone)]
pub(super) struct At {
    /// The file.
    pub source: Arc<Source>,
    /// Bytes of it.
    pub span: Range<usize>,
}

/// What was found so far.
pub(super) struct Report {
    /// The file that was named.
    pub source: Arc<Source>,
    /// Names of all files, in the order in which they were opened.
    files: Vec<String>,
    torn: bool,
    faults: Vec<Fault>,
    errors: usize,
    warnings: usize,
    locations: Locations,
}

impl At {
    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.source.line(self.span.start)
    }
}

impl Report {
    /// Nothing found yet.
    pub fn new(source: Arc<Source>) -> Report {
        Report {
            locations: Locations::new(source.clone()),
            files: vec![source.name().to_owned()],
            torn: false,
            source,
            faults: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// A fault that makes the configuration unusable. `key`: the keywords that lead there, dotted
    /// (`virtual_server.real_server.weight`).
    pub fn error(&mut self, at: &At, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, at, key, message.into(), help.into());
    }

    /// Something that was probably not meant, or that shunt does not do.
    pub fn warning(&mut self, at: &At, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, at, key, message.into(), help.into());
    }

    /// A fault with no place of its own.
    pub fn fault(&mut self, fault: Fault) {
        self.errors += usize::from(fault.severity == Severity::Error);
        self.faults.push(fault);
    }

    /// A file is read; its faults are told after those of the files before it.
    pub fn opens(&mut self, name: &str) {
        if !self.files.iter().any(|file| file == name) {
            self.files.push(name.to_owned());
        }
    }

    /// An error after which it is not known what belongs to what.
    pub fn tear(&mut self, at: &At, message: impl Into<String>, help: impl Into<String>) {
        self.torn = true;
        self.error(at, "syntax", message, help);
    }

    /// Whether it is not known what belongs to what.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Remembers where a thing of the model was typed.
    pub fn locate(&mut self, place: Place, at: &At) {
        self.locations.insert_in(place, &at.source, at.span.clone());
    }

    /// The model, unless there was an error.
    pub fn finish(mut self, model: Option<Model>) -> Result<Loaded, Faults> {
        let rank = |fault: &Fault| self.files.iter().position(|file| *file == fault.file);
        self.faults.sort_by_cached_key(rank);
        if self.errors > MOST_FAULTS {
            let message = format!("has more than {MOST_FAULTS} errors; these are the first that were found");
            let help = "fix them, and check that it is the file you mean";
            self.faults.insert(0, Fault::of_file(self.source.name(), message, help));
        }
        match model {
            Some(model) if self.errors == 0 => {
                Ok(Loaded { model, warnings: self.faults.into(), locations: self.locations })
            }
            _ => Err(self.faults.into()),
        }
    }

    fn push(&mut self, severity: Severity, at: &At, key: &str, message: String, help: String) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MOST_FAULTS {
            let fault = at.source.fault(severity, at.span.clone(), key, message);
            self.faults.push(Fault { help: Some(help), ..fault });
        }
    }
}

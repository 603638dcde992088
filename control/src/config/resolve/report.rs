//! Collects faults and locations while a file is resolved.

use std::ops::Range;
use std::sync::Arc;

use crate::config::error::{Fault, MOST_FAULTS, Severity};
use crate::config::file::Absent;
use crate::config::keys;
use crate::config::location::{Locations, Place};
use crate::config::source::Source;

/// What was found so far.
pub(super) struct Report {
    source: Arc<Source>,
    faults: Vec<Fault>,
    errors: usize,
    warnings: usize,
    locations: Locations,
    absent: Absent,
}

impl Report {
    /// Goes on from the faults of the form.
    pub fn new(source: Arc<Source>, faults: Vec<Fault>, absent: Absent) -> Report {
        let locations = Locations::new(source.clone());
        Report { source, errors: faults.len(), warnings: 0, faults, locations, absent }
    }

    /// A fault that makes the configuration unusable.
    pub fn error(
        &mut self,
        span: Range<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, span, key, message.into(), help.into());
    }

    /// Something that was probably not meant.
    pub fn warning(
        &mut self,
        span: Range<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Warning, span, key, message.into(), help.into());
    }

    /// A required key that the table at `table` lacks, unless a fault that is reported already explains it.
    pub fn missing(&mut self, table: Range<usize>, path: &'static str) {
        self.missing_at(table, path, path);
    }

    /// The same where tables that are alike stand at several paths: `at` is the one that was typed.
    pub fn missing_at(&mut self, table: Range<usize>, path: &'static str, at: &str) {
        if self.absent.is_missing(&table, path) {
            let example = keys::find(path).map_or(path, |key| key.example);
            self.error(table, at, "missing", format!("add a line such as: {example}"));
        }
    }

    /// Whether the absent `path` of the table at `table` was really left out.
    pub fn is_missing(&self, table: &Range<usize>, path: &'static str) -> bool {
        self.absent.is_missing(table, path)
    }

    /// Remembers where a thing of the model was typed.
    pub fn locate(&mut self, place: Place, span: Range<usize>) {
        self.locations.insert(place, span);
    }

    /// Line of a place, to point at it from another.
    pub fn line(&self, span: &Range<usize>) -> usize {
        self.source.line(span.start)
    }

    /// Everything that was found.
    pub fn finish(mut self) -> (Vec<Fault>, Locations) {
        if self.errors > MOST_FAULTS {
            let message = format!("has more than {MOST_FAULTS} errors; these are the first that were found");
            let help = "fix them, and check that it is the file you mean";
            // First, also among faults of the first line.
            self.faults.insert(0, Fault::of_file(self.source.name(), message, help));
        }
        (self.faults, self.locations)
    }

    fn push(&mut self, severity: Severity, span: Range<usize>, key: &str, message: String, help: String) {
        if !self.absent.trusts(self.source.line(span.start)) {
            return;
        }
        // Counted apart: warnings, however many, must not displace an error.
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MOST_FAULTS {
            let fault = self.source.fault(severity, span, key, message);
            self.faults.push(Fault { help: Some(help), ..fault });
        }
    }
}

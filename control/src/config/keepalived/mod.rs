//! `keepalived.conf` -> [`Model`](crate::model::Model), or everything that is wrong with it, in one go.
//!
//! The path: `tree` (files with their includes and definitions -> statements and blocks, each with its place), then
//! `map` (what the statements mean). What keepalived does with a keyword that shunt does not act on is said once, as a
//! warning; see `keepalived.conf(5)` of keepalived 2.2.7.

mod map;
mod report;
mod tree;

use std::sync::Arc;

use super::error::Faults;
use super::files::Options;
use super::resolve::Loaded;
use super::source::Source;
use report::Report;

/// Parses and maps `source` and the files that it includes.
pub(super) fn load(source: Source, options: &Options) -> Result<Loaded, Faults> {
    let mut report = Report::new(Arc::new(source));
    let statements = tree::read(&mut report, options);
    // Of a file whose blocks are torn, what the statements mean would be guesses.
    let model = if report.is_torn() { None } else { map::model(&mut report, &statements) };
    report.finish(model)
}

//! What the statements of a keepalived.conf mean.
//!
//! The path: `section` (statements against the table in `keywords`), then one module for each block. `value` and `command`
//! read single words.
//!
//! *Invariants*
//! - The invariants of [`crate::model`] hold for every model that is returned without an error.
//! - Each fault is reported once: what `section` took out, nobody else speaks of.

mod check;
mod command;
mod file;
mod global;
mod group;
mod interface;
mod keywords;
mod quorum;
mod real_server;
mod schedule;
mod section;
#[cfg(test)]
mod tests;
mod value;
mod virtual_server;
mod vrrp;

use super::report::{At, Report};
use super::tree::Statement;
use crate::config::Place;
use crate::model::Model;
use file::Files;
use group::Groups;

/// The model; it counts if no error is reported.
pub(super) fn model(report: &mut Report, statements: &[Statement]) -> Option<Model> {
    let root = section::read(report, statements, keywords::Block::Root, String::new());
    let top = At { source: report.source.clone(), span: 0..0 };
    report.locate(Place::Director, root.last("vrrp_instance").map_or(&top, |line| line.at()));
    let globals = global::read(report, &root);
    let files = Files::read(report, &root);
    let (vrrp, instances) = vrrp::read(report, &root, &globals, &files);
    let director = interface::director(report, &globals, &instances);
    let groups = Groups::read(report, &root);
    let services = virtual_server::all(report, &root, &globals, &groups, &files);
    Some(Model { director, services, scripts: globals.scripts, notify: globals.notify, vrrp })
}

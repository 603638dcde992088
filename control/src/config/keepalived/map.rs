//! What the statements of a keepalived.conf mean.

use super::report::Report;
use super::tree::Statement;
use crate::model::Model;

/// The model; none after an error.
pub(super) fn model(_report: &mut Report, _statements: &[Statement]) -> Option<Model> {
    None
}

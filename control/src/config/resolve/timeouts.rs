//! `[director.timeouts]` and `[service.timeouts]`: how long silent flows are remembered.

use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::value;
use crate::config::file;
use crate::model::Timeouts;

/// Longest that anything about a client is remembered: what IPVS allows for persistence.
pub(crate) const LONGEST: Duration = Duration::from_secs(31 * 86_400);
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// The paths of the keys, in the order of the fields.
pub(super) type Paths = [&'static str; 6];

pub(super) const DIRECTOR: Paths = [
    "director.timeouts.syn",
    "director.timeouts.established",
    "director.timeouts.fin",
    "director.timeouts.closed",
    "director.timeouts.udp",
    "director.timeouts.sctp",
];

pub(super) const SERVICE: Paths = [
    "service.timeouts.syn",
    "service.timeouts.established",
    "service.timeouts.fin",
    "service.timeouts.closed",
    "service.timeouts.udp",
    "service.timeouts.sctp",
];

/// The timeouts of a table; what it leaves out is as in `default`, if that is known. `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    table: Option<&Spanned<file::Timeouts>>,
    paths: &Paths,
    default: Option<Timeouts>,
) -> Option<Timeouts> {
    let Some(table) = table else { return default };
    let typed = table.get_ref();
    let mut one = |at: usize, typed: &file::Typed<String>, default: Option<Duration>| match typed {
        Some(text) => value::duration(report, text, paths[at], SHORTEST..=LONGEST),
        None => default,
    };
    let syn = one(0, &typed.syn, default.map(|d| d.syn));
    let established = one(1, &typed.established, default.map(|d| d.established));
    let fin = one(2, &typed.fin, default.map(|d| d.fin));
    let closed = one(3, &typed.closed, default.map(|d| d.closed));
    let udp = one(4, &typed.udp, default.map(|d| d.udp));
    let sctp = one(5, &typed.sctp, default.map(|d| d.sctp));
    Some(Timeouts {
        syn: syn?,
        established: established?,
        fin: fin?,
        closed: closed?,
        udp: udp?,
        sctp: sctp?,
    })
}

//! `[vrrp]`: addresses that several directors hold together. What contradicts itself is an error here: the native format has
//! nobody to be like.
//!
//! After an error a default stands where the value would: no model comes out then.

mod address;
mod apart;
mod group;
mod hooks;
mod peers;
mod router;
mod sync;
mod things;
mod track;

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::timeouts::LONGEST;
use super::{notify, value};
use crate::config::error::quote;
use crate::config::file::{self, Typed};
use crate::config::{Place, VrrpPart};
use crate::model::{Notify, Vrrp};
pub(super) use sync::resolve as sync;
use things::Things;

pub(in crate::config) use address::SCOPES;
pub(in crate::config) use peers::standard_group;
pub(in crate::config) use things::OF_FILE;

/// Priority of who owns the addresses.
const OWNER: u8 = 255;

/// What is said of VRRP; `mails`: whether there is a mail server.
pub(super) fn resolve(
    report: &mut Report,
    typed: Option<&Spanned<file::Vrrp>>,
    notify: Option<&Notify>,
    mails: bool,
) -> Vrrp {
    let Some(table) = typed else { return Vrrp::default() };
    let typed = table.get_ref();
    let startup_delay =
        time(report, &typed.startup_delay, "vrrp.startup_delay", Duration::ZERO..=LONGEST, Duration::ZERO);
    let others: Vec<_> =
        notify.iter().flat_map(|notify| notify.pipes.iter().chain(&notify.service_pipes)).cloned().collect();
    let pipes = notify::pipes(report, &typed.pipe, ["vrrp.pipe.path", "vrrp.pipe.reader"], &others);
    let things = Things::resolve(report, typed);
    let routers: Vec<_> =
        typed.router.iter().filter_map(|table| router::resolve(report, table, &things, mails)).collect();
    apart::routers(report, &routers);
    let routers: Vec<_> = routers.into_iter().map(|(router, _)| router).collect();
    let named: Vec<&str> = typed
        .router
        .iter()
        .filter_map(|table| Some(table.get_ref().name.as_ref()?.get_ref().as_str()))
        .collect();
    let groups = group::all(report, &typed.group, &routers, &named, &things, mails);
    let Things { scripts, files, processes, .. } = things;
    let log_unknown_vrids = flag(&typed.log_unknown_vrids, false);
    Vrrp {
        routers,
        groups,
        scripts,
        files,
        processes,
        startup_delay,
        log_unknown_vrids,
        pipes: pipes.unwrap_or_default(),
        sync: None,
    }
}

/// A number, or its default.
fn number<T>(report: &mut Report, typed: &Typed<i64>, path: &str, range: RangeInclusive<T>, default: T) -> T
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    match typed {
        Some(typed) => value::number(report, typed, path, range).unwrap_or(default),
        None => default,
    }
}

/// A duration, or its default.
fn time(
    report: &mut Report,
    typed: &Typed<String>,
    path: &str,
    range: RangeInclusive<Duration>,
    default: Duration,
) -> Duration {
    match typed {
        Some(typed) => value::duration(report, typed, path, range).unwrap_or(default),
        None => default,
    }
}

/// A switch, or its default.
fn flag(typed: &Typed<bool>, default: bool) -> bool {
    typed.as_ref().map_or(default, |typed| *typed.get_ref())
}

/// A required name, and where it stands.
fn name(
    report: &mut Report,
    table: Range<usize>,
    typed: &Typed<String>,
    path: &'static str,
    kind: VrrpPart,
) -> Option<(String, Range<usize>)> {
    let Some(typed) = typed else {
        report.missing(table, path);
        return None;
    };
    let name = value::line(report, typed, path, "name")?;
    report.locate(Place::Vrrp { kind, name: name.clone() }, table);
    Some((name, typed.span()))
}

/// A required interface.
fn interface(
    report: &mut Report,
    table: Range<usize>,
    typed: &Typed<String>,
    path: &'static str,
) -> Option<String> {
    let Some(typed) = typed else {
        report.missing(table, path);
        return None;
    };
    interface_named(report, typed, path)
}

/// The name of an interface.
fn interface_named(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<String> {
    let name = typed.get_ref();
    if let Some(fault) = super::name_fault(name) {
        let help = "`ip link` lists the names of this machine's interfaces";
        report.error(typed.span(), path, format!("{} {fault}", quote(name)), help);
        return None;
    }
    Some(name.clone())
}

/// "A path of its own", for names that may occur once.
fn twice(report: &mut Report, span: Range<usize>, path: &str, name: &str, first: &Range<usize>) {
    let message = format!("{} is here twice; first on line {}", quote(name), report.line(first));
    report.error(span, path, message, "give each its own name");
}

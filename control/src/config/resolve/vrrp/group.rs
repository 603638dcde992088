//! `[[vrrp.group]]`

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use super::super::report::Report;
use super::things::Things;
use super::{OWNER, flag, hooks, name, router, track, twice};
use crate::config::VrrpPart;
use crate::config::error::quote;
use crate::config::file;
use crate::config::shape::closest;
use crate::model::{SyncGroup, VirtualRouter};

/// All groups; a router is in one at most. `known`: the routers of the file, those with a fault too.
pub(super) fn all(
    report: &mut Report,
    typed: &[Spanned<file::Group>],
    routers: &[VirtualRouter],
    known: &[&str],
    things: &Things,
    mails: bool,
) -> Vec<SyncGroup> {
    let (mut names, mut taken) = (HashMap::new(), HashMap::new());
    let mut groups = Vec::new();
    for table in typed {
        let typed = table.get_ref();
        let named = name(report, table.span(), &typed.name, "vrrp.group.name", VrrpPart::Group);
        let members = members(report, table, known, &mut taken);
        let track = track::resolve(report, &typed.track, "vrrp.group.track", things);
        let label = named.as_ref().map_or("", |(name, _)| name);
        let hooks =
            hooks::resolve(report, &hooks::typing!(typed), "vrrp.group", label, VrrpPart::GroupHook, mails);
        if let Some(own) = typed.track.as_ref().and_then(|track| track.get_ref().own_interface.as_ref()) {
            let help = "write it at the routers, or take it out";
            report.error(own.span(), "vrrp.group.track.own_interface", "a group has no interface", help);
        }
        let tracking_weight = flag(&typed.tracking_weight, false);
        let is_member = |router: &&VirtualRouter| members.contains(&router.name);
        for router in routers.iter().filter(is_member) {
            if let Some((key, thing)) = track::weighted(&router.track).filter(|_| !tracking_weight) {
                let what = thing.map_or(format!("track.{key}"), quote);
                let message =
                    format!("{what} of {} has a weight, and tracking_weight is false", quote(&router.name));
                let help = "make it a fault (weight = 0), or set tracking_weight = true";
                report.error(table.span(), "vrrp.group.tracking_weight", message, help);
            }
        }
        if routers.iter().filter(is_member).any(|router| router.priority == OWNER)
            && let Some((key, thing)) = track::weighted(&track)
        {
            let why = "a member has priority 255, which does not change";
            router::weighted(report, &typed.track, "vrrp.group.track", key, thing, why);
        }
        let Some((name, span)) = named else { continue };
        if let Some(first) = names.insert(name.clone(), span.clone()) {
            twice(report, span, "vrrp.group.name", &name, &first);
        }
        groups.push(SyncGroup { name, members, track, tracking_weight, hooks });
    }
    groups
}

fn members(
    report: &mut Report,
    table: &Spanned<file::Group>,
    known: &[&str],
    taken: &mut HashMap<String, Range<usize>>,
) -> Vec<String> {
    const PATH: &str = "vrrp.group.members";
    let Some(list) = &table.get_ref().members else {
        report.missing(table.span(), PATH);
        return Vec::new();
    };
    if list.get_ref().is_empty() && report.is_missing(&table.span(), PATH) {
        report.error(list.span(), PATH, "no member", "name the routers that fail together");
    }
    let mut members = Vec::new();
    for typed in list.get_ref() {
        let name = typed.get_ref();
        let names = || known.iter().copied();
        if !names().any(|known| known == name) {
            let help = match closest(name, names()) {
                Some(close) => format!("did you mean {}?", quote(close)),
                None => format!("add it: [[vrrp.router]] with name = {}", quote(name)),
            };
            report.error(typed.span(), PATH, format!("there is no router {}", quote(name)), help);
        } else if let Some(first) = taken.get(name) {
            let message = format!("{} is in a group already, on line {}", quote(name), report.line(first));
            report.error(typed.span(), PATH, message, "put each router into one group");
        } else {
            taken.insert(name.clone(), typed.span());
            members.push(name.clone());
        }
    }
    if list.get_ref().len() == 1 {
        let message = "one member, which fails alone";
        report.warning(list.span(), PATH, message, "name the routers that fail together with it");
    }
    members
}

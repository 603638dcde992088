//! `vrrp_sync_group`: instances that fail together.

use std::collections::HashMap;

use super::super::super::report::Report;
use super::super::section::{Line, Section};
use super::super::value::named;
use super::defaults::Defaults;
use super::things::Things;
use super::{Instance, hooks, locate, number, strict, track};
use crate::config::VrrpPart;
use crate::config::shape::closest;
use crate::model::SyncGroup;

/// All groups; their members lose what a member cannot have.
pub(super) fn all(
    report: &mut Report,
    root: &Section<'_>,
    instances: &mut [Instance],
    defaults: &Defaults,
    things: &Things,
) -> Vec<SyncGroup> {
    let mut groups: Vec<SyncGroup> = Vec::new();
    let mut group_of = HashMap::new();
    for line in root.all("vrrp_sync_group") {
        let Some(name) = line.word(0) else { continue };
        if groups.iter().any(|group| group.name == name.text) {
            let message = format!("vrrp_sync_group {} is here twice", named(&name.text));
            report.error(&name.at, line.path(), message, "give each its own name");
            continue;
        }
        let section = &line.section;
        locate(report, VrrpPart::Group, &name.text, line.at());
        let mut group = SyncGroup {
            name: name.text.clone(),
            members: members(report, line, instances, &mut group_of),
            track: track::read(report, section, things),
            tracking_weight: section.has("sync_group_tracking_weight"),
            hooks: hooks::read(report, section, &name.text, VrrpPart::GroupHook, defaults),
        };
        let has = |router: &crate::model::VirtualRouter| group.members.contains(&router.name);
        let members =
            instances.iter().filter_map(|instance| instance.router.as_ref()).filter(|router| has(router));
        if members.clone().any(|router| router.priority == strict::OWNER) {
            let why = "a member has priority 255, which does not change";
            strict::weightless(report, section, &mut group.track, why, true);
        }
        inherit(report, root, line, &group, instances);
        groups.push(group);
    }
    groups
}

/// Names of instances; each is in one group at most.
fn members(
    report: &mut Report,
    line: &Line<'_>,
    instances: &[Instance],
    group_of: &mut HashMap<String, String>,
) -> Vec<String> {
    let section = &line.section;
    if section.lacks("group") {
        let message = "vrrp_sync_group has no group";
        report.error(line.at(), line.path(), message, "add a line such as: group { VI_1 }");
        return Vec::new();
    }
    let group = line.word(0).map_or("", |word| &word.text);
    let (mut members, mut slips) = (Vec::new(), 0);
    for list in section.all("group") {
        let words =
            list.entries().iter().flat_map(|entry| std::iter::once(&entry.keyword).chain(&entry.arguments));
        for word in words {
            let names = || instances.iter().map(|instance| instance.name.0.as_str());
            if !names().any(|name| name == word.text) {
                let help = match closest(&word.text, names()) {
                    Some(close) => format!("did you mean {}?", named(close)),
                    None => format!("add it to the file: vrrp_instance {} {{ ... }}", word.text),
                };
                let message = format!("there is no vrrp_instance {}", named(&word.text));
                report.error(&word.at, list.path(), message, help);
                slips += 1;
            } else if let Some(other) = group_of.get(&word.text) {
                let message = format!(
                    "{} is in group {} already, and not in this one",
                    named(&word.text),
                    named(other)
                );
                report.warning(&word.at, list.path(), message, "put each instance into one group");
            } else {
                group_of.insert(word.text.clone(), group.to_owned());
                members.push(word.text.clone());
            }
        }
    }
    match members.len() + slips {
        0 => {
            report.error(line.at(), line.path(), "the group has no member", "name its instances, one a line")
        }
        1 => {
            let message = format!("group {} has one member, which fails alone", named(group));
            report.warning(line.at(), line.path(), message, "name the instances that fail together with it");
        }
        _ => {}
    }
    members
}

/// What members have of their group, and what they cannot have in it.
fn inherit(
    report: &mut Report,
    root: &Section<'_>,
    line: &Line<'_>,
    group: &SyncGroup,
    instances: &mut [Instance],
) {
    let changes = line.section.last("notify_priority_changes");
    let changes = changes.and_then(|line| number::switch(report, Some(line)));
    let of_root = root.all("vrrp_instance").collect::<Vec<_>>();
    for (instance, line) in instances.iter_mut().zip(of_root) {
        let Some(router) = instance.router.as_mut().filter(|router| group.members.contains(&router.name))
        else {
            continue;
        };
        if let Some(changes) = changes.filter(|_| line.section.last("notify_priority_changes").is_none()) {
            router.hooks.priority_changes = changes;
        }
        if !group.tracking_weight {
            let why = format!("group {} has no sync_group_tracking_weight", named(&group.name));
            strict::weightless(report, &line.section, &mut router.track, &why, true);
        }
    }
}

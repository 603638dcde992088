//! What instances and their groups name: scripts, processes, files, interfaces, and instances.

use std::collections::HashSet;

use super::super::super::report::Report;
use super::super::super::tree::Statement;
use super::super::command;
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use super::number;
use crate::config::shape::closest;

/// keepalived: the weight of what is tracked, in a line that names it.
const MOST_WEIGHT: i64 = 254;

/// Checks that what is named is there.
pub(super) fn check(report: &mut Report, root: &Section<'_>) {
    for script in root.all("vrrp_script") {
        needs(report, script, "script", "script \"/usr/bin/pidof haproxy\"");
        if let Some(line) = script.section.last("script") {
            command::command(report, line);
        }
    }
    for process in root.all("vrrp_track_process") {
        needs(report, process, "process", "process haproxy");
    }
    for line in root.all("vrrp_sync_group") {
        needs(report, line, "group", "group { VI_1 }");
    }
    let named = |keyword| names(root, keyword);
    let (scripts, processes) = (named("vrrp_script"), named("vrrp_track_process"));
    let (files, instances) = (named("track_file"), named("vrrp_instance"));
    for block in root.lines.iter().filter(|line| matches!(line.key.name, "vrrp_instance" | "vrrp_sync_group"))
    {
        for (list, keyword, known) in [
            ("track_script", "vrrp_script", &scripts),
            ("track_process", "vrrp_track_process", &processes),
            ("track_file", "track_file", &files),
        ] {
            for line in block.section.all(list) {
                for entry in line.entries() {
                    is_there(report, entry, line.path(), keyword, known);
                    options(report, entry, line.path());
                }
            }
        }
        for line in block.section.all("track_interface") {
            for entry in line.entries() {
                value::interface(report, &entry.keyword, line.path());
                options(report, entry, line.path());
            }
        }
        for line in block.section.all("group") {
            for entry in line.entries() {
                is_there(report, entry, line.path(), "vrrp_instance", &instances);
            }
        }
        for name in [
            "notify",
            "notify_master",
            "notify_backup",
            "notify_fault",
            "notify_stop",
            "notify_master_rx_lower_pri",
        ] {
            if let Some(line) = block.section.last(name) {
                command::command(report, line);
            }
        }
    }
}

fn needs(report: &mut Report, block: &Line<'_>, name: &str, example: &str) {
    if block.section.lacks(name) {
        let message = format!("{} has no {name}", block.key.name);
        report.error(block.at(), block.path(), message, format!("add a line such as: {example}"));
    }
}

fn names<'a>(root: &'a Section<'_>, keyword: &'static str) -> HashSet<&'a str> {
    root.all(keyword).filter_map(|line| Some(line.word(0)?.text.as_str())).collect()
}

fn is_there(report: &mut Report, entry: &Statement, path: &str, keyword: &str, known: &HashSet<&str>) {
    let name = &entry.keyword.text;
    if known.contains(name.as_str()) {
        return;
    }
    let help = match closest(name, known.iter().copied()) {
        Some(close) => format!("did you mean {}?", named(close)),
        None => format!("add it to the file: {keyword} {name} {{ ... }}"),
    };
    report.error(&entry.keyword.at, path, format!("there is no {keyword} {}", named(name)), help);
}

/// `[weight N [reverse]]`
fn options(report: &mut Report, entry: &Statement, path: &str) {
    match entry.arguments.split_first() {
        Some((word, rest)) if word.text == "weight" && !rest.is_empty() => {
            number::weight(report, rest, path, MOST_WEIGHT);
        }
        Some((word, _)) => {
            let message = format!("{} is no option here", named(&word.text));
            report.error(
                &word.at,
                path,
                message,
                "one name a line, with its weight if need be: NAME weight 10",
            );
        }
        None => {}
    }
}

//! What routers and groups watch: scripts, files and processes, each defined once.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::super::report::Report;
use super::super::timeouts::LONGEST;
use super::super::{command, value};
use super::{flag, name, number, time, track, twice};
use crate::config::VrrpPart;
use crate::config::file;
use crate::model::{ArgumentMatch, Effect, TrackFile, TrackProcess, TrackScript};

/// More successes or failures in a row are a slip.
const COUNTS: RangeInclusive<u32> = 1..=i32::MAX as u32;
const MOST_PROCESSES: u32 = 65_535;
const DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Everything that can be watched.
#[derive(Default)]
pub(super) struct Things {
    pub scripts: Vec<TrackScript>,
    pub files: Vec<TrackFile>,
    pub processes: Vec<TrackProcess>,
    /// Names of all that was typed, by its noun: what has a fault is there all the same.
    pub names: Vec<(&'static str, String)>,
}

/// A number in a file counts as it is.
pub(in crate::config) const OF_FILE: Effect = Effect::Weight { weight: 1, reverse: false };

impl Things {
    pub(super) fn resolve(report: &mut Report, typed: &file::Vrrp) -> Things {
        let mut things = Things { names: names(typed), ..Things::default() };
        let mut first: HashMap<(&str, String), Range<usize>> = HashMap::new();
        let mut unique =
            |report: &mut Report, path: &'static str, (name, span): (String, Range<usize>)| match first
                .get(&(path, name.clone()))
            {
                Some(before) => {
                    twice(report, span, path, &name, before);
                    None
                }
                None => {
                    first.insert((path, name.clone()), span);
                    Some(name)
                }
            };
        for table in &typed.script {
            const PATH: &str = "vrrp.script.name";
            let named = name(report, table.span(), &table.get_ref().name, PATH, VrrpPart::Script);
            let named = named.and_then(|named| unique(report, PATH, named));
            things.scripts.extend(script(report, table, named));
        }
        for table in &typed.file {
            const PATH: &str = "vrrp.file.name";
            let named = name(report, table.span(), &table.get_ref().name, PATH, VrrpPart::File);
            let named = named.and_then(|named| unique(report, PATH, named));
            things.files.extend(file(report, table, named));
        }
        for table in &typed.process {
            const PATH: &str = "vrrp.process.name";
            let named = name(report, table.span(), &table.get_ref().name, PATH, VrrpPart::Process);
            let named = named.and_then(|named| unique(report, PATH, named));
            things.processes.extend(process(report, table, named));
        }
        things
    }

    /// What the failure of one does where nobody says.
    pub(super) fn effect(&self, noun: &str, name: &str) -> Effect {
        match noun {
            "file" => OF_FILE,
            _ => self
                .scripts
                .iter()
                .find(|script| noun == "script" && script.name == name)
                .map_or(Effect::Fault, |script| script.effect),
        }
    }
}

fn names(typed: &file::Vrrp) -> Vec<(&'static str, String)> {
    let scripts = typed.script.iter().map(|table| ("script", &table.get_ref().name));
    let files = typed.file.iter().map(|table| ("file", &table.get_ref().name));
    let processes = typed.process.iter().map(|table| ("process", &table.get_ref().name));
    let all = scripts.chain(files).chain(processes);
    all.filter_map(|(noun, name)| Some((noun, name.as_ref()?.get_ref().clone()))).collect()
}

fn script(report: &mut Report, table: &Spanned<file::Script>, name: Option<String>) -> Option<TrackScript> {
    let typed = table.get_ref();
    if typed.command.is_none() {
        report.missing(table.span(), "vrrp.script.command");
    }
    let command = command::resolve(report, typed.command.as_ref(), "vrrp.script.command").flatten();
    let shortest = Duration::from_millis(1);
    let interval =
        time(report, &typed.interval, "vrrp.script.interval", shortest..=LONGEST, Duration::from_secs(1));
    let effect = track::effect(report, &typed.weight, &typed.reverse, "vrrp.script", Effect::Fault);
    Some(TrackScript {
        name: name?,
        command: command?,
        interval,
        effect,
        rise: number(report, &typed.rise, "vrrp.script.rise", COUNTS, 1),
        fall: number(report, &typed.fall, "vrrp.script.fall", COUNTS, 1),
        init_fail: flag(&typed.init_fail, false),
    })
}

fn file(report: &mut Report, table: &Spanned<file::TrackFile>, name: Option<String>) -> Option<TrackFile> {
    let typed = table.get_ref();
    let path = match &typed.path {
        Some(path) => value::path(report, path, "vrrp.file.path"),
        None => {
            report.missing(table.span(), "vrrp.file.path");
            None
        }
    };
    if let Some(overwrite) = typed.overwrite.as_ref().filter(|_| typed.init.is_none()) {
        let help = "say with what: init = 0";
        report.error(overwrite.span(), "vrrp.file.overwrite", "does nothing without init", help);
    }
    let overwrite = flag(&typed.overwrite, false);
    let init = typed.init.as_ref().map(|number| *number.get_ref());
    if let Some(number) = typed.init.as_ref().filter(|number| *number.get_ref() == i64::MIN) {
        value::number(report, number, "vrrp.file.init", -i64::MAX..=i64::MAX);
    }
    Some(TrackFile { name: name?, path: path?, init: init.map(|number| (number, overwrite)) })
}

fn process(
    report: &mut Report,
    table: &Spanned<file::Process>,
    name: Option<String>,
) -> Option<TrackProcess> {
    let typed = table.get_ref();
    let process = match &typed.process {
        Some(process) => value::line(report, process, "vrrp.process.process", "name of a program"),
        None => {
            report.missing(table.span(), "vrrp.process.process");
            None
        }
    };
    let known = [
        ("exact", ArgumentMatch::Exact),
        ("initial", ArgumentMatch::Initial),
        ("partial", ArgumentMatch::Partial),
    ];
    let matching = typed.matching.as_ref().and_then(|typed| {
        value::word(report, typed, "vrrp.process.match", "way to compare arguments", &known)
    });
    if let Some(matching) = typed.matching.as_ref().filter(|_| typed.arguments.is_none()) {
        let help = "give the arguments: arguments = [\"-f\"]";
        report.error(matching.span(), "vrrp.process.match", "does nothing without arguments", help);
    }
    let quorum_max = typed
        .quorum_max
        .as_ref()
        .and_then(|typed| value::number(report, typed, "vrrp.process.quorum_max", 0..=MOST_PROCESSES));
    let least = u32::from(quorum_max != Some(0));
    let quorum = number(report, &typed.quorum, "vrrp.process.quorum", 1..=MOST_PROCESSES, least);
    if let Some(most) = &typed.quorum_max
        && quorum_max.is_some_and(|most| most < quorum)
    {
        let message = format!("{} is less than quorum {quorum}", most.get_ref());
        report.error(most.span(), "vrrp.process.quorum_max", message, "give it at least as many");
    }
    let arguments = typed
        .arguments
        .as_ref()
        .map(|list| list.get_ref().iter().map(|word| word.get_ref().clone()).collect::<Vec<String>>());
    let fork_delay = time(report, &typed.fork_delay, "vrrp.process.fork_delay", DELAYS, Duration::ZERO);
    let terminate_delay =
        time(report, &typed.terminate_delay, "vrrp.process.terminate_delay", DELAYS, Duration::ZERO);
    Some(TrackProcess {
        name: name?,
        process: process?,
        matching: matching.unwrap_or_default(),
        full_command: flag(&typed.full_command, arguments.is_some()),
        arguments,
        quorum,
        quorum_max,
        fork_delay,
        terminate_delay,
    })
}

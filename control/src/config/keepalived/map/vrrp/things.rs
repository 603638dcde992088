//! What instances and groups watch: scripts, processes and files, each defined once and named by whoever watches it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::super::super::report::Report;
use super::super::super::tree::Word;
use super::super::command;
use super::super::file::Files;
use super::super::section::{Line, Section};
use super::super::value::{self, LONGEST, named};
use super::track::{self, Weight};
use super::{locate, number};
use crate::config::VrrpPart;
use crate::config::shape::closest;
use crate::model::{ArgumentMatch, TrackFile, TrackProcess, TrackScript};

/// keepalived: the longest delay of a process.
const MOST_DELAY: Duration = Duration::from_secs(3600);
/// keepalived: the largest quorum of a process.
const MOST_PROCESSES: u32 = 65_535;

/// Everything that can be watched.
pub(super) struct Things {
    pub scripts: Vec<TrackScript>,
    pub processes: Vec<TrackProcess>,
    pub files: Vec<TrackFile>,
    /// What each does where a line does not say, by the keyword that defines it and its name.
    weights: HashMap<(&'static str, String), Weight>,
}

impl Things {
    pub(super) fn read(report: &mut Report, root: &Section<'_>, files: &Files) -> Things {
        let (mut scripts, mut processes) = (Vec::new(), Vec::new());
        let mut weights = HashMap::new();
        for line in root.all("vrrp_script") {
            let Some(name) = name(report, line, &mut weights) else { continue };
            let weight = weight(report, line, track::MOST_SCRIPT_WEIGHT);
            weights.insert((line.key.means, name.clone()), weight);
            locate(report, VrrpPart::Script, &name, line.at());
            scripts.extend(script(report, line, name, weight));
        }
        for line in root.all("vrrp_track_process") {
            let Some(name) = name(report, line, &mut weights) else { continue };
            weights.insert((line.key.means, name.clone()), weight(report, line, track::MOST_WEIGHT));
            locate(report, VrrpPart::Process, &name, line.at());
            processes.extend(process(report, line, name));
        }
        let tracked: HashSet<&str> = tracked_files(root).map(|word| word.text.as_str()).collect();
        let mut watched = Vec::new();
        for (name, file) in files.iter() {
            // `reverse` apart from the weight, which a line may replace without it.
            let weight = if file.reverse { -file.factor } else { file.factor };
            let weight = Weight { weight, reverse: file.reverse };
            weights.insert(("track_file", name.to_owned()), weight);
            if tracked.contains(name) || file.init.is_some() {
                locate(report, VrrpPart::File, name, &file.at);
                let (name, path) = (name.to_owned(), file.path.clone());
                watched.push(TrackFile { name, path, init: file.init });
            }
        }
        Things { scripts, processes, files: watched, weights }
    }

    /// What the thing does that `word` names; none, with an error, if there is none of this kind.
    pub(super) fn find(
        &self,
        report: &mut Report,
        keyword: &'static str,
        word: &Word,
        path: &str,
    ) -> Option<Weight> {
        let name = &word.text;
        let found = self.weights.get(&(keyword, name.clone())).copied();
        if found.is_none() {
            let known = self.weights.keys().filter(|(of, _)| *of == keyword).map(|(_, name)| name.as_str());
            let help = match closest(name, known) {
                Some(close) => format!("did you mean {}?", named(close)),
                None => format!("add it to the file: {keyword} {name} {{ ... }}"),
            };
            report.error(&word.at, path, format!("there is no {keyword} {}", named(name)), help);
        }
        found
    }
}

/// The files that instances and groups name.
pub(in super::super) fn tracked_files<'a>(root: &'a Section<'_>) -> impl Iterator<Item = &'a Word> {
    root.all("vrrp_instance")
        .chain(root.all("vrrp_sync_group"))
        .flat_map(|line| line.section.all("track_file"))
        .flat_map(|line| line.entries())
        .map(|entry| &entry.keyword)
}

/// The name of a block; none, with an error, if another has it.
fn name(
    report: &mut Report,
    line: &Line<'_>,
    taken: &mut HashMap<(&'static str, String), Weight>,
) -> Option<String> {
    let word = line.word(0)?;
    if taken.contains_key(&(line.key.means, word.text.clone())) {
        let message = format!("{} {} is here twice", line.key.name, named(&word.text));
        report.error(&word.at, line.path(), message, "give each its own name");
        return None;
    }
    Some(word.text.clone())
}

fn weight(report: &mut Report, line: &Line<'_>, most: i32) -> Weight {
    match line.section.last("weight") {
        Some(line) => track::weight(report, line.words(), line.path(), most, Weight::NONE),
        None => Weight::NONE,
    }
}

fn script(report: &mut Report, line: &Line<'_>, name: String, weight: Weight) -> Option<TrackScript> {
    let section = &line.section;
    needs(report, line, "script", "script \"/usr/bin/pidof haproxy\"");
    let user = section.last("user").and_then(|line| command::user(report, line));
    let interval = at_least_a_second(report, section.last("interval"));
    let timeout = at_least_a_second(report, section.last("timeout"));
    let rise = number::whole(report, section.last("rise"), 1..=i32::MAX as u32).unwrap_or(1);
    let fall = number::whole(report, section.last("fall"), 1..=i32::MAX as u32).unwrap_or(1);
    let effect = track::effect(report, weight, line.at(), line.path());
    let mut command = command::check(report, section.last("script")?)?;
    command.user = user.or(command.user);
    command.timeout = timeout;
    Some(TrackScript {
        name,
        command,
        interval: interval.unwrap_or(Duration::from_secs(1)),
        effect,
        rise,
        fall,
        init_fail: section.has("init_fail"),
    })
}

/// keepalived makes a second of 0.
fn at_least_a_second(report: &mut Report, line: Option<&Line<'_>>) -> Option<Duration> {
    let time = number::time(report, line)?;
    match line {
        Some(line) if time.is_zero() => {
            let message = format!("{} is more than 0, and 1 s is taken", line.key.name);
            report.warning(line.at(), line.path(), message, "write 1");
            Some(Duration::from_secs(1))
        }
        _ => Some(time),
    }
}

fn process(report: &mut Report, line: &Line<'_>, name: String) -> Option<TrackProcess> {
    let section = &line.section;
    needs(report, line, "process", "process haproxy");
    let matching = section.last("param_match").and_then(|line| match line.word(0) {
        None => Some(ArgumentMatch::Exact),
        Some(word) => {
            let known = [("initial", ArgumentMatch::Initial), ("partial", ArgumentMatch::Partial)];
            value::word(report, word, line.path(), "way to compare", &known)
        }
    });
    let most = number::whole(report, section.last("quorum_max"), 0..=MOST_PROCESSES);
    let least = number::whole(report, section.last("quorum"), 1..=MOST_PROCESSES);
    if let (Some(least), Some(most), Some(line)) = (least, most, section.last("quorum_max"))
        && most < least
    {
        let message = format!("quorum_max {most} is less than quorum {least}");
        report.error(line.at(), line.path(), message, "give it at least as many, or 0 alone: none may run");
    }
    let mut delay = |name| {
        let line = section.last(name)?;
        value::duration(report, line.word(0)?, line.path(), Duration::from_micros(1)..=MOST_DELAY)
    };
    let both = delay("delay");
    let (fork, terminate) = (delay("fork_delay").or(both), delay("terminate_delay").or(both));
    let (program, arguments) = section.last("process")?.words().split_first()?;
    super::is_name(report, program, line.path());
    let arguments: Vec<String> = arguments.iter().map(|word| word.text.clone()).collect();
    let compared = matching.is_some() || !arguments.is_empty();
    Some(TrackProcess {
        name,
        process: program.text.clone(),
        arguments: compared.then_some(arguments),
        matching: matching.unwrap_or_default(),
        // keepalived: with arguments argv[0] is compared as a whole.
        full_command: compared || section.has("full_command"),
        // keepalived: `quorum_max 0` alone: none may run.
        quorum: least.unwrap_or(u32::from(most != Some(0))),
        quorum_max: most,
        fork_delay: fork.unwrap_or_default().min(LONGEST),
        terminate_delay: terminate.unwrap_or_default().min(LONGEST),
    })
}

fn needs(report: &mut Report, block: &Line<'_>, name: &str, example: &str) {
    if block.section.lacks(name) {
        let message = format!("{} has no {name}", block.key.name);
        report.error(block.at(), block.path(), message, format!("add a line such as: {example}"));
    }
}

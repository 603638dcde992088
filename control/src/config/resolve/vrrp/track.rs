//! What a router or a group watches, and what its failure does.

use std::time::Duration;

use toml::Spanned;

use super::super::report::Report;
use super::super::timeouts::LONGEST;
use super::super::value;
use super::things::Things;
use super::{flag, interface_named};
use crate::config::error::quote;
use crate::config::file::{self, IntegerOrText, Typed};
use crate::config::keys::join;
use crate::config::shape::closest;
use crate::model::{Effect, Tracked, Tracking};

/// A priority is one of 1 to 254: more changes nothing.
const MOST_WEIGHT: i16 = 253;

/// Everything that is watched. `path`: of the table.
pub(super) fn resolve(
    report: &mut Report,
    typed: &Typed<file::Track>,
    path: &str,
    things: &Things,
) -> Tracking {
    let Some(table) = typed else { return Tracking::default() };
    let typed = table.get_ref();
    let known = |noun| -> Vec<(&str, Effect)> {
        let names = things.names.iter().filter(|(of, _)| *of == noun);
        names.map(|(_, name)| (name.as_str(), things.effect(noun, name))).collect()
    };
    let (scripts, files, processes) = (known("script"), known("file"), known("process"));
    let mut list = |typed, key, known| tracked(report, typed, &join(path, key), known);
    let interfaces = list(&typed.interfaces, "interfaces", None);
    let scripts = list(&typed.scripts, "scripts", Some(("script", &scripts[..])));
    let files = list(&typed.files, "files", Some(("file", &files[..])));
    let processes = list(&typed.processes, "processes", Some(("process", &processes[..])));
    let workers = fate(report, &typed.workers, &join(path, "workers")).unwrap_or_default();
    let silent = fate(report, &typed.silent, &join(path, "silent")).unwrap_or_default();
    let silence = typed.silence.as_ref().and_then(|typed| {
        value::duration(report, typed, &join(path, "silence"), Duration::from_millis(100)..=LONGEST)
    });
    if let Some(silent) = typed.silent.as_ref().filter(|_| typed.silence.is_none()) {
        let help = "say how long an interface may be silent: silence = \"10s\"";
        report.error(silent.span(), &join(path, "silent"), "does nothing without silence", help);
    }
    Tracking {
        not_own_interface: !flag(&typed.own_interface, true),
        interfaces,
        scripts,
        files,
        processes,
        workers,
        receiving: silence.map(|silence| (silence, silent)),
        real_servers: fate(report, &typed.real_servers, &join(path, "real_servers")),
    }
}

/// What a weight does; none: `default`.
pub(super) fn effect(
    report: &mut Report,
    weight: &Typed<i64>,
    reverse: &Typed<bool>,
    path: &str,
    default: Effect,
) -> Effect {
    let reversed = flag(reverse, false);
    let Some(typed) = weight else {
        if let Some(reverse) = reverse.as_ref().filter(|_| reversed) {
            let help = "say what: weight = 10";
            report.error(reverse.span(), &join(path, "reverse"), "does nothing without a weight", help);
        }
        return default;
    };
    match value::number(report, typed, &join(path, "weight"), -MOST_WEIGHT..=MOST_WEIGHT) {
        None => default,
        Some(0) => {
            if let Some(reverse) = reverse.as_ref().filter(|_| reversed) {
                let message = "that all is well is no fault";
                report.error(reverse.span(), &join(path, "reverse"), message, "give a weight other than 0");
            }
            Effect::Fault
        }
        Some(weight) => Effect::Weight { weight, reverse: reversed },
    }
}

/// The entries of a list. `known`: a noun, and what there is, with what it does unless the entry says.
fn tracked(
    report: &mut Report,
    typed: &Typed<Vec<Spanned<file::Tracked>>>,
    path: &str,
    known: Option<(&str, &[(&str, Effect)])>,
) -> Vec<Tracked> {
    let mut read: Vec<Tracked> = Vec::new();
    for table in typed.iter().flat_map(|list| list.get_ref()) {
        let typed = table.get_ref();
        let Some(name) = &typed.name else {
            report.missing_at(table.span(), "tracked.name", path);
            continue;
        };
        let default = match known {
            None => interface_named(report, name, path).map(|_| Effect::Fault),
            Some((noun, known)) => find(report, name, path, noun, known),
        };
        let is_file = known.is_some_and(|(noun, _)| noun == "file");
        if let Some(reverse) = typed.reverse.as_ref().filter(|reverse| is_file && *reverse.get_ref()) {
            let help = "give a negative weight: the number is multiplied by it";
            report.error(reverse.span(), path, "a file is not reversed", help);
        }
        if read.iter().any(|other| other.name == *name.get_ref()) {
            let message = format!("{} is here twice", quote(name.get_ref()));
            report.error(name.span(), path, message, "name each once");
        }
        let effect = effect(report, &typed.weight, &typed.reverse, path, default.unwrap_or_default());
        read.push(Tracked { name: name.get_ref().clone(), effect });
    }
    read
}

fn find(
    report: &mut Report,
    name: &Spanned<String>,
    path: &str,
    noun: &str,
    known: &[(&str, Effect)],
) -> Option<Effect> {
    let text = name.get_ref().as_str();
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, effect)| *effect);
    if found.is_none() {
        let help = match closest(text, known.iter().map(|(name, _)| *name)) {
            Some(close) => format!("did you mean {}?", quote(close)),
            None => format!("add it: [[vrrp.{noun}]] with name = {}", quote(text)),
        };
        report.error(name.span(), path, format!("there is no {noun} {}", quote(text)), help);
    }
    found
}

/// `"fault"`, or a weight.
fn fate(report: &mut Report, typed: &Typed<IntegerOrText>, path: &str) -> Option<Effect> {
    let typed = typed.as_ref()?;
    match typed.get_ref() {
        IntegerOrText::Text(text) => {
            let text = Spanned::new(typed.span(), text.clone());
            value::word(report, &text, path, "fate", &[("fault", Effect::Fault)])
        }
        IntegerOrText::Integer(number) => {
            let number = Spanned::new(typed.span(), *number);
            match value::number(report, &number, path, -MOST_WEIGHT..=MOST_WEIGHT)? {
                0 => Some(Effect::Fault),
                weight => Some(Effect::Weight { weight, reverse: false }),
            }
        }
    }
}

/// Whether something that is watched changes the priority: what it is, and its name if it has one.
pub(super) fn weighted(track: &Tracking) -> Option<(&'static str, Option<&str>)> {
    let of = |effect: &Effect| *effect != Effect::Fault;
    let lists = [
        ("interfaces", &track.interfaces),
        ("scripts", &track.scripts),
        ("files", &track.files),
        ("processes", &track.processes),
    ];
    let listed = lists.into_iter().find_map(|(list, tracked)| {
        tracked.iter().find(|one| of(&one.effect)).map(|one| (list, Some(one.name.as_str())))
    });
    let alone = [
        ("workers", Some(track.workers)),
        ("silent", track.receiving.map(|(_, effect)| effect)),
        ("real_servers", track.real_servers),
    ];
    let alone =
        || alone.iter().find(|(_, effect)| effect.as_ref().is_some_and(of)).map(|(name, _)| (*name, None));
    listed.or_else(alone)
}

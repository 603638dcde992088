//! What instances and groups watch, and what its failure does.

use super::super::super::report::{At, Report};
use super::super::super::tree::Word;
use super::super::section::Section;
use super::super::value::{self, named};
use super::things::Things;
use crate::model::{Effect, Tracked, Tracking};

/// keepalived: the weight of a script, and of what is tracked in a line that names it (254 is 253 there).
pub(super) const MOST_SCRIPT_WEIGHT: i32 = 253;
pub(super) const MOST_WEIGHT: i32 = 254;

/// A weight as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub weight: i32,
    pub reverse: bool,
}

impl Weight {
    /// Nothing was typed.
    pub(super) const NONE: Weight = Weight { weight: 0, reverse: false };
}

/// Everything that an instance or a group watches.
pub(super) fn read(report: &mut Report, section: &Section<'_>, things: &Things) -> Tracking {
    let mut things_of = |list, keyword| {
        tracked(report, section, list, |report, word, path| things.find(report, keyword, word, path))
    };
    let scripts = things_of("track_script", "vrrp_script");
    let processes = things_of("track_process", "vrrp_track_process");
    let files = things_of("track_file", "track_file");
    let interfaces = tracked(report, section, "track_interface", |report, word, path| {
        value::interface(report, word, path).map(|_| Weight::NONE)
    });
    Tracking {
        not_own_interface: section.has("dont_track_primary"),
        interfaces,
        scripts,
        files,
        processes,
        ..Tracking::default()
    }
}

/// `N [reverse|noreverse]` after a `weight`. `default`: what it is without the word.
pub(super) fn weight(report: &mut Report, words: &[Word], path: &str, most: i32, default: Weight) -> Weight {
    let Some((number, rest)) = words.split_first() else { return default };
    let weight = value::number(report, number, path, -most..=most).unwrap_or(default.weight);
    let known = [("reverse", true), ("noreverse", false), ("no_reverse", false)];
    let reverse = match rest.first() {
        Some(word) => value::word(report, word, path, "option", &known),
        None => None,
    };
    Weight { weight, reverse: reverse.unwrap_or(default.reverse) }
}

/// What a weight does; it is that of a script, a process or an interface.
pub(super) fn effect(report: &mut Report, typed: Weight, at: &At, path: &str) -> Effect {
    let Weight { weight, reverse } = typed;
    if weight == 0 && reverse {
        let message = "`weight 0 reverse`: that all is well is a fault is not there";
        report.error(at, path, message, "let the program say the opposite");
    }
    if weight.abs() > MOST_SCRIPT_WEIGHT {
        let message = format!("a weight is from -253 to 253, and {} is taken", weight.signum() * 253);
        report.warning(at, path, message, "write that");
    }
    let most = MOST_SCRIPT_WEIGHT;
    match i16::try_from(weight.clamp(-most, most)).unwrap_or_default() {
        0 => Effect::Fault,
        weight => Effect::Weight { weight, reverse },
    }
}

/// The entries of a list. `find`: what the thing does that is named.
fn tracked(
    report: &mut Report,
    section: &Section<'_>,
    list: &'static str,
    find: impl Fn(&mut Report, &Word, &str) -> Option<Weight>,
) -> Vec<Tracked> {
    let mut tracked: Vec<Tracked> = Vec::new();
    for line in section.all(list) {
        for entry in line.entries() {
            let (word, path) = (&entry.keyword, line.path());
            let default = find(report, word, path);
            let weight = match entry.arguments.split_first() {
                None => default.unwrap_or(Weight::NONE),
                Some((option, rest)) if option.text == "weight" && !rest.is_empty() => {
                    weight(report, rest, path, MOST_WEIGHT, default.unwrap_or(Weight::NONE))
                }
                Some((option, _)) => {
                    let message = format!("{} is no option here", named(&option.text));
                    let help = "one name a line, with its weight if need be: NAME weight 10";
                    report.error(&option.at, path, message, help);
                    continue;
                }
            };
            if tracked.iter().any(|tracked| tracked.name == word.text) {
                let message = format!("{} is tracked already: the first line counts", named(&word.text));
                report.warning(&word.at, path, message, "take one of them out");
                continue;
            }
            let effect = match list {
                "track_file" => file_effect(report, weight, &word.at, path),
                _ => effect(report, weight, &word.at, path),
            };
            tracked.push(Tracked { name: word.text.clone(), effect });
        }
    }
    tracked
}

/// The number in a file is multiplied by its weight: reversed, by the negative one.
fn file_effect(report: &mut Report, typed: Weight, at: &At, path: &str) -> Effect {
    let Weight { weight, reverse } = typed;
    if weight.abs() > MOST_WEIGHT {
        let help = format!("say here what it is for this instance: weight {MOST_SCRIPT_WEIGHT}");
        report.error(at, path, format!("the weight of the file, {weight}, is out of range for VRRP"), help);
        return Effect::Fault;
    }
    if weight == 0 && reverse {
        let message = "`weight 0 reverse`: that 0 in a file is a fault is not there";
        report.error(at, path, message, "let the file say 0 where all is well");
        return Effect::Fault;
    }
    effect(report, Weight { weight: if reverse { -weight } else { weight }, reverse: false }, at, path)
}

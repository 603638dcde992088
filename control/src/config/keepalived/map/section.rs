//! Statements against the table of keywords: what is unknown, misplaced or misshapen is reported here, once, and taken
//! out, so that whoever asks what a block means only meets lines that have the form their keyword wants.
//!
//! *Invariants*
//! - A block whose keyword is a fault gives that one fault; nothing is said of what it holds.
//! - Nobody who asks for a keyword is given a line that was said to do nothing.

use std::ops::RangeInclusive;

use super::super::report::{At, Report};
use super::super::tree::{Statement, Word};
use super::keywords::{self, Block, Key, Tier};
use super::value::named;
use crate::config::error::counted;

/// The good lines of a block.
pub(super) struct Section<'a> {
    /// The keywords that lead here, dotted; empty for the file itself.
    pub path: String,
    /// The good lines, in order.
    pub lines: Vec<Line<'a>>,
    /// Keywords that are probably there under a wrong name: nobody reports them as missing.
    meant: Vec<&'static str>,
}

/// A good line.
pub(super) struct Line<'a> {
    /// Its keyword in the table.
    pub key: &'static Key,
    /// The line itself.
    pub statement: &'a Statement,
    /// What its braces hold; empty without braces, and for a list.
    pub section: Section<'a>,
}

/// Reads what a block holds.
pub(super) fn read<'a>(
    report: &mut Report,
    statements: &'a [Statement],
    block: Block,
    path: String,
) -> Section<'a> {
    let mut section = Section { path, lines: Vec::new(), meant: Vec::new() };
    if block == Block::List {
        list(report, statements, &section.path);
        return section;
    }
    for statement in statements {
        match keywords::find(block, &statement.keyword.text) {
            Some(key) => {
                let path = join(&section.path, key.name);
                if !is_good(report, statement, key, &path) {
                    section.meant.push(key.means);
                    continue;
                }
                repeated(report, &section, key, statement, &path);
                let inside = match (key.opens, &statement.block) {
                    (Some(block), Some(statements)) => read(report, statements, block, path),
                    _ => Section { path, lines: Vec::new(), meant: Vec::new() },
                };
                section.lines.push(Line { key, statement, section: inside });
            }
            None => section.meant.extend(unknown(report, statement, block, &section.path)),
        }
    }
    section
}

impl<'a> Section<'a> {
    /// The line that counts of those with this keyword, or another word for it: the last.
    pub(super) fn last(&self, name: &str) -> Option<&Line<'a>> {
        self.lines.iter().rev().find(|line| line.key.means == name && line.counts())
    }

    /// All lines with this keyword, or another word for it.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(move |line| line.key.means == name && line.counts())
    }

    /// The line with this keyword that does nothing here, for what is checked all the same.
    pub(super) fn idle(&self, name: &str) -> Option<&Line<'a>> {
        self.lines.iter().rev().find(|line| line.key.means == name && !line.counts())
    }

    /// Whether there is such a line.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// Whether the keyword was really left out: no fault reported already explains its absence.
    pub(super) fn lacks(&self, name: &str) -> bool {
        !self.has(name) && !self.meant.contains(&name)
    }
}

impl<'a> Line<'a> {
    /// Whether anybody may act on it. (A block that does nothing is checked for what it holds.)
    fn counts(&self) -> bool {
        self.key.opens.is_some() || !matches!(self.key.tier, Tier::Warns(_))
    }

    /// Where its keyword stands.
    pub(super) fn at(&self) -> &'a At {
        &self.statement.keyword.at
    }

    /// The keywords that lead to it, dotted.
    pub(super) fn path(&self) -> &str {
        &self.section.path
    }

    /// The word at `place` after the keyword.
    pub(super) fn word(&self, place: usize) -> Option<&'a Word> {
        self.statement.arguments.get(place)
    }

    /// The words after the keyword.
    pub(super) fn words(&self) -> &'a [Word] {
        &self.statement.arguments
    }

    /// The lines of a list.
    pub(super) fn entries(&self) -> &'a [Statement] {
        self.statement.block.as_deref().unwrap_or_default()
    }
}

/// Whether the line has the form that its keyword wants, and may stand.
fn is_good(report: &mut Report, statement: &Statement, key: &Key, path: &str) -> bool {
    let at = &statement.keyword.at;
    let name = named(key.name);
    match key.tier {
        Tier::Rejected(what, instead) => {
            report.error(at, path, format!("{name}: {what}"), instead);
            return false;
        }
        Tier::Warns(lost) => {
            report.warning(
                at,
                path,
                format!("{name} does nothing here: {lost}"),
                "take it out, or know that",
            );
        }
        Tier::Deprecated(better) => {
            let help = format!("write {} instead", named(better));
            report.warning(at, path, format!("{name} is deprecated - use {}", named(better)), help);
        }
        Tier::Differs(how) => {
            report.warning(at, path, format!("{name} is not the same here: {how}"), "know that");
        }
        Tier::Acts | Tier::Already(_) => {}
    }
    let help = format!("write it like this: {}", key.line());
    match (&statement.block, key.opens) {
        (None, Some(_)) => {
            report.error(at, path, format!("{name} has no block: a '{{' was expected"), help);
            return false;
        }
        (Some(_), None) => {
            report.error(at, path, format!("{name} has no block, and here is one"), help);
            return false;
        }
        _ => {}
    }
    let (least, most) = (*key.words.start(), *key.words.end());
    let words = &statement.arguments;
    if words.len() < least {
        report.error(at, path, format!("{name} wants {}, and has {}", wanted(&key.words), words.len()), help);
        return false;
    }
    if let Some(extra) = words.get(most) {
        let message = match most {
            0 => format!("{} after {name}, which stands alone", named(&extra.text)),
            _ => format!("{} is too much: {name} wants {}", named(&extra.text), wanted(&key.words)),
        };
        let help = match statement.follows_brace {
            true => format!("one statement per line, after a brace too; {help}"),
            false => help,
        };
        report.error(&extra.at, path, message, help);
        return false;
    }
    true
}

fn wanted(words: &RangeInclusive<usize>) -> String {
    match (*words.start(), *words.end()) {
        (least, most) if least == most => counted(least, "word"),
        (least, usize::MAX) => format!("at least {}", counted(least, "word")),
        (0, most) => format!("at most {}", counted(most, "word")),
        (least, most) => format!("{least} to {most} words"),
    }
}

fn repeated(report: &mut Report, section: &Section<'_>, key: &Key, statement: &Statement, path: &str) {
    if key.often {
        return;
    }
    if let Some(first) = section.last(key.means).or_else(|| section.idle(key.means)) {
        let line = first.at().line();
        let message = match first.key.name == key.name {
            true => {
                format!("{} is here twice: this one counts (the other is on line {line})", named(key.name))
            }
            false => format!(
                "{} is another word for {} on line {line}: this one counts",
                named(key.name),
                named(first.key.name)
            ),
        };
        report.warning(&statement.keyword.at, path, message, "take out the one that does not count");
    }
}

/// Reports a keyword that does not belong there. The one that was probably meant.
fn unknown(report: &mut Report, statement: &Statement, block: Block, path: &str) -> Option<&'static str> {
    let typed = statement.keyword.text.as_str();
    let what = if statement.block.is_some() { "block" } else { "keyword" };
    let place = match path.rsplit('.').next() {
        None | Some("") => String::new(),
        Some(opener) => format!(" in {opener}"),
    };
    let homes = keywords::homes(typed);
    let meant = keywords::meant(block, typed);
    let mut message = format!("unknown {what} {}{place}", named(typed));
    let help = match (meant, homes.as_slice()) {
        (Some(meant), _) => {
            message += &format!(" - did you mean {}?", named(meant.name));
            format!("write it like this: {}", meant.line())
        }
        (None, []) if typed.starts_with('$') => match statement.arguments.first() {
            Some(word) if word.text.starts_with('=') => {
                format!("a definition has no blank before its `=`: {typed}=...")
            }
            _ => format!("{typed} is not defined; a definition is a line above: {typed}=..."),
        },
        (None, []) => "keepalived.conf(5) lists the keywords; take it out if nothing needs it".to_owned(),
        (None, homes) => {
            format!("it belongs into {}: check the braces before it", homes.join(" or "))
        }
    };
    let inside = match &statement.block {
        Some(inside) if !inside.is_empty() => "; nothing in this block was read",
        _ => "",
    };
    let plain = typed.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && typed.len() <= 40;
    let key = match (plain, path) {
        (true, path) => join(path, typed),
        (false, "") => "file".to_owned(),
        (false, path) => path.to_owned(),
    };
    report.error(&statement.keyword.at, &key, message, format!("{help}{inside}"));
    meant.map(|key| key.means)
}

fn list(report: &mut Report, statements: &[Statement], path: &str) {
    for statement in statements.iter().filter(|statement| statement.block.is_some()) {
        let message = format!("{} opens a block, and {path} is a list", named(&statement.keyword.text));
        report.error(&statement.keyword.at, path, message, "check the braces before it");
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

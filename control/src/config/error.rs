//! Faults of a configuration, for the person who typed it: where, which key, why, and what to do.
//!
//! *Invariants*
//! - The first line of a rendered fault is `FILE:LINE:COLUMN: error: KEY: MESSAGE` (or `warning:`): editors jump
//!   on it and scripts cut it, so its form does not change. KEY is dotted (`service.real.weight`), or `syntax`
//!   for what is not TOML, or `file` for the file as a whole (then at 1:1).
//! - Lines and columns count from 1, columns in characters.
//! - [`Faults`] is sorted by position, file by file, and nothing typed by the operator reaches the terminal unescaped.

use std::collections::HashMap;
use std::fmt;

/// Faults of one severity that are told. A file with more is not what it was taken for, and nobody reads on.
pub const MOST_FAULTS: usize = 1000;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration is used, but probably not what was meant.
    Warning,
}

/// One fault at one place of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// The file as it was named on the command line.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Dotted key, or `syntax`, or `file`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line of the file, to show below the message.
    pub excerpt: Option<Excerpt>,
}

/// A line of the file, safe to print, with the part that a fault is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, cut to a printable width; control characters are replaced.
    pub text: String,
    /// Characters of `text` before the marked part.
    pub start: usize,
    /// Characters marked, at least 1.
    pub width: usize,
}

/// All faults found in one go, sorted by position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(Vec<Fault>);

impl Fault {
    /// A fault of the file as a whole: it has no line to show.
    pub fn of_file(file: &str, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 1,
            column: 1,
            key: "file".to_owned(),
            message: message.into(),
            help: Some(help.into()),
            excerpt: None,
        }
    }

    /// The fault as text that ends in a newline; `color` adds ANSI colours for a terminal.
    pub fn render(&self, color: bool) -> String {
        let ink = Ink { color };
        let (label, code) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let place = format!("{}:{}:{}:", printable(&self.file), self.line, self.column);
        let label = format!("{label}:");
        let mut text = format!(
            "{} {} {}: {}\n",
            ink.paint("1", &place),
            ink.paint(code, &label),
            printable(&self.key),
            self.message
        );
        if let Some(excerpt) = &self.excerpt {
            let indent: String = excerpt
                .text
                .chars()
                .take(excerpt.start)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let caret = ink.paint(code, &"^".repeat(excerpt.width.max(1)));
            text += &format!("  | {}\n  | {indent}{caret}\n", excerpt.text);
        }
        if let Some(help) = &self.help {
            text += &format!("  {} {help}\n", ink.paint("1;36", "help:"));
        }
        text
    }
}

impl Faults {
    /// One fault of the file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>, help: impl Into<String>) -> Faults {
        Faults::from(Fault::of_file(file, message, help))
    }

    /// The faults in order of their position.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// Number of faults, warnings included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|fault| fault.severity == Severity::Error)
    }

    /// All faults as text; `color` adds ANSI colours for a terminal.
    pub fn render(&self, color: bool) -> String {
        self.0.iter().map(|fault| fault.render(color)).collect()
    }

    /// The count for a last line: `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let errors = self.0.iter().filter(|fault| fault.severity == Severity::Error).count();
        let parts: Vec<String> = [(errors, "error"), (self.0.len() - errors, "warning")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| counted(count, noun))
            .collect();
        if parts.is_empty() { "no faults".to_owned() } else { parts.join(", ") }
    }
}

impl From<Vec<Fault>> for Faults {
    /// Files stay in the order in which `faults` first speaks of them.
    fn from(mut faults: Vec<Fault>) -> Faults {
        let mut ranks = HashMap::new();
        for fault in &faults {
            let rank = ranks.len();
            ranks.entry(fault.file.clone()).or_insert(rank);
        }
        faults.sort_by_key(|fault| (ranks[&fault.file], fault.line, fault.column, fault.severity));
        Faults(faults)
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults(vec![fault])
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Faults {
        Faults::from(faults.into_iter().collect::<Vec<Fault>>())
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Fault {}
impl std::error::Error for Faults {}

/// A number of things: `1 service`, `2 services`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A typed value in quotes: escaped, and cut where it gets long.
pub(super) fn quote(typed: &str) -> String {
    const LONGEST: usize = 60;
    let mut chars = typed.chars();
    let head: String = chars.by_ref().take(LONGEST).collect();
    let ellipsis = if chars.next().is_some() { "..." } else { "" };
    format!("{head:?}{ellipsis}")
}

/// `text` without what would move a terminal's cursor or turn its writing direction.
pub(crate) fn printable(text: &str) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    text.chars().map(|c| if harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Colours, or none.
struct Ink {
    color: bool,
}

impl Ink {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize, column: usize, severity: Severity) -> Fault {
        Fault {
            severity,
            line,
            column,
            key: "service.port".to_owned(),
            excerpt: Some(Excerpt { text: "\tport = 70000".to_owned(), start: 8, width: 5 }),
            ..Fault::of_file("a.toml", "70000 is out of range", "a port is 1 to 65535")
        }
    }

    #[test]
    fn a_fault_is_its_place_its_line_a_caret_and_what_to_do() {
        let expected = "a.toml:7:9: error: service.port: 70000 is out of range\n\
                        \x20 | \tport = 70000\n  | \t       ^^^^^\n  help: a port is 1 to 65535\n";
        assert_eq!(fault(7, 9, Severity::Error).render(false), expected);
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        assert!(!fault(1, 1, Severity::Error).render(false).contains('\x1b'));
        assert!(fault(1, 1, Severity::Error).render(true).contains("\x1b[1;31merror:\x1b[0m"));
        assert!(fault(1, 1, Severity::Warning).render(true).contains("\x1b[1;33mwarning:\x1b[0m"));
    }

    #[test]
    fn faults_are_sorted_by_position_and_counted() {
        let faults = Faults::from(vec![
            fault(3, 1, Severity::Warning),
            fault(2, 9, Severity::Error),
            fault(2, 1, Severity::Error),
        ]);
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(2, 1), (2, 9), (3, 1)]);
        assert_eq!(faults.summary(), "2 errors, 1 warning");
        assert!(faults.has_errors());
        assert!(!Faults::from(fault(1, 1, Severity::Warning)).has_errors());
        assert_eq!(Faults::default().summary(), "no faults");
    }

    #[test]
    fn faults_of_several_files_stay_with_their_file() {
        let of = |file: &str, line| Fault { file: file.to_owned(), ..fault(line, 1, Severity::Error) };
        let faults = Faults::from(vec![of("main", 9), of("included", 3), of("included", 1), of("main", 2)]);
        let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
        assert_eq!(places, [("main", 2), ("main", 9), ("included", 1), ("included", 3)]);
    }

    #[test]
    fn nothing_typed_can_steer_the_terminal() {
        let name = Fault::of_file("evil\x1b[2J\n.toml", "m", "h");
        assert_eq!(name.render(false), "evil\u{fffd}[2J\u{fffd}.toml:1:1: error: file: m\n  help: h\n");
        assert_eq!(quote("a\x1b\"b"), r#""a\u{1b}\"b""#);
        assert_eq!(quote(&"x".repeat(61)), format!("\"{}\"...", "x".repeat(60)));
        assert_eq!(printable("a\u{202e}b\tc"), "a\u{fffd}b\tc");
    }
}

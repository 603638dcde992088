//! `regex` of a `url`: an expression of PCRE, for the `regex` crate.
//!
//! What PCRE can and the crate cannot (look-around, references back) is an error. What both can means the same, but for
//! `$`, which in PCRE matches before a last newline too; it is written so.

use super::super::super::report::Report;
use super::super::super::tree::script_words;
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use crate::model::Pattern;

/// What an option of PCRE2 is here.
#[derive(Clone, Copy)]
enum Meaning {
    /// A flag of the crate.
    Flag(char),
    /// It changes nothing about what matches.
    Nothing,
    /// `$` is the very end.
    EndOnly,
    /// The crate has nothing like it.
    None,
}

/// keepalived: `regex_options`, check_http.c.
const OPTIONS: &[(&str, Meaning)] = &[
    ("caseless", Meaning::Flag('i')),
    ("dotall", Meaning::Flag('s')),
    ("extended", Meaning::Flag('x')),
    ("multiline", Meaning::Flag('m')),
    ("ungreedy", Meaning::Flag('U')),
    ("dollar_endonly", Meaning::EndOnly),
    ("utf", Meaning::Nothing),
    ("ucp", Meaning::Nothing),
    ("never_utf", Meaning::Nothing),
    ("never_ucp", Meaning::Nothing),
    ("never_backslash_c", Meaning::Nothing),
    ("auto_callout", Meaning::Nothing),
    ("dupnames", Meaning::Nothing),
    ("no_auto_capture", Meaning::Nothing),
    ("no_auto_possess", Meaning::Nothing),
    ("no_dotstar_anchor", Meaning::Nothing),
    ("no_start_optimize", Meaning::Nothing),
    ("use_offset_limit", Meaning::Nothing),
    ("allow_empty_class", Meaning::None),
    ("alt_bsux", Meaning::None),
    ("alt_circumflex", Meaning::None),
    ("alt_verbnames", Meaning::None),
    ("firstline", Meaning::None),
    ("match_unset_backref", Meaning::None),
];

/// What the body must have in it, or must not; none if nothing is asked for.
pub(super) fn pattern(report: &mut Report, url: &Section<'_>) -> Option<Pattern> {
    let Some(line) = url.last("regex") else {
        for name in ["regex_no_match", "regex_options", "regex_min_offset", "regex_max_offset"] {
            if let Some(line) = url.last(name).filter(|_| url.lacks("regex")) {
                let message = format!("there is no regex, so {} changes nothing", named(name));
                report.warning(line.at(), line.path(), message, "add the regex, or take it out");
            }
        }
        return None;
    };
    let (flags, end_only) = options(report, url);
    let mut offset = |name| {
        let line = url.last(name)?;
        value::number(report, line.word(0)?, line.path(), 0..=u32::MAX).map(|offset| offset as usize)
    };
    let (first, last) = (offset("regex_min_offset").unwrap_or(0), offset("regex_max_offset"));
    if let Some(line) = url.last("regex_max_offset").filter(|_| last.is_some_and(|last| last < first)) {
        let message = format!("no match can begin at {first} or after it, and before {}", last.unwrap_or(0));
        report.error(line.at(), line.path(), message, "make regex_max_offset the larger one");
    }
    let typed = typed(report, line)?;
    let dollar = !end_only && !flags.contains('m') && !flags.contains('x');
    let body = if dollar { with_dollars(&typed) } else { typed };
    let expression = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
    if let Err(error) = regex::bytes::Regex::new(&expression) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        report.error(
            line.at(),
            line.path(),
            format!("this expression cannot be used: {why}"),
            "look-around and references back are PCRE's alone; write it without them",
        );
        return None;
    }
    Some(Pattern { expression, negated: url.has("regex_no_match"), first, last })
}

fn typed(report: &mut Report, line: &Line<'_>) -> Option<String> {
    let help = "put the expression in quotes: regex \"status: (ok|well)\"";
    match script_words(&line.statement.rest) {
        Ok(mut words) if words.len() == 1 => words.pop(),
        Ok(words) => {
            let message = format!("{} words; an expression is one", words.len());
            report.error(line.at(), line.path(), message, help);
            None
        }
        Err(message) => {
            report.error(line.at(), line.path(), message, help);
            None
        }
    }
}

/// Flags of the crate, and whether `$` is the very end.
fn options(report: &mut Report, url: &Section<'_>) -> (String, bool) {
    let (mut flags, mut end_only) = (String::new(), false);
    for line in url.all("regex_options") {
        for word in line.words() {
            match value::word(report, word, line.path(), "option", OPTIONS) {
                Some(Meaning::Flag(flag)) if !flags.contains(flag) => flags.push(flag),
                Some(Meaning::EndOnly) => end_only = true,
                Some(Meaning::None) => {
                    let message = format!("option {} of PCRE is not there", named(&word.text));
                    report.error(&word.at, line.path(), message, "write the expression without it");
                }
                Some(Meaning::Flag(_) | Meaning::Nothing) | None => {}
            }
        }
    }
    (flags, end_only)
}

/// With each `$` that stands for the end as PCRE understands it: before a last newline too.
fn with_dollars(expression: &str) -> String {
    let mut written = String::with_capacity(expression.len());
    let mut chars = expression.chars();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                written.push(c);
                written.extend(chars.next());
                continue;
            }
            '[' => class = true,
            ']' => class = false,
            '$' if !class => {
                written.push_str(r"(?:\n?\z)");
                continue;
            }
            _ => {}
        }
        written.push(c);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_is_the_end_or_just_before_a_last_newline() {
        let matches = |expression: &str, body: &str| {
            regex::bytes::Regex::new(&with_dollars(expression)).unwrap().is_match(body.as_bytes())
        };
        assert!(matches("</html>$", "</html>"));
        assert!(matches("</html>$", "</html>\n"));
        assert!(!matches("</html>$", "</html>\n\n"));
        assert!(!matches("</html>$", "</html>x"));
        assert!(matches(r"5\$", "5$ a piece"));
        assert!(matches("[$]", "5$ a piece"));
    }
}

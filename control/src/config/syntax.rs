//! What is not TOML. The parser recovers and goes on, so it reports every error, but also what follows from one:
//! these are folded into one fault a line, and each gets a hint.

use std::cmp::Reverse;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::error::{Fault, MOST_FAULTS, Severity};
use super::source::Source;

/// The parser's words for an array without end; its errors have no kind to match on.
const UNCLOSED_ARRAY: &str = "unclosed array,";

/// The parser's errors as faults, in order of position.
pub(super) fn faults(source: &Source, document: &Spanned<DeTable<'_>>, mut errors: Vec<Error>) -> Vec<Fault> {
    let end = source.text().len();
    errors.sort_by_key(|error| place(error, end).start);
    let unclosed = unclosed_array(document, &errors);
    errors.dedup_by_key(|error| source.line(place(error, end).start));
    errors.truncate(MOST_FAULTS + 1);
    match unclosed {
        Some(array) => faults_of_unclosed_array(source, array, &errors),
        None => errors.iter().map(|error| fault(source, error)).collect(),
    }
}

/// What follows an unclosed array was all read as its contents: only errors up to its first line are news.
fn faults_of_unclosed_array(source: &Source, array: Range<usize>, errors: &[Error]) -> Vec<Fault> {
    let line = source.line(array.start);
    let end = source.text().len();
    let is_consequence = |error: &&Error| error.message().starts_with(UNCLOSED_ARRAY);
    let mut faults: Vec<Fault> = errors
        .iter()
        .filter(|error| !is_consequence(error) && source.line(place(error, end).start) <= line)
        .map(|error| fault(source, error))
        .collect();
    if faults.last().is_none_or(|fault| fault.line < line) {
        let span = array.start..array.start + 1;
        let fault = source.fault(Severity::Error, span, "syntax", "this array is not closed".to_owned());
        faults.push(Fault { help: Some("close it with ]; is the file complete?".to_owned()), ..fault });
    }
    faults
}

fn fault(source: &Source, error: &Error) -> Fault {
    let text = source.text();
    let span = place(error, text.len());
    let (message, mut help) = describe(error.message(), span.is_empty());
    if span.start >= text.trim_end().len() {
        help += "; the file ends here: is it complete?";
    }
    Fault { help: Some(help), ..source.fault(Severity::Error, span, "syntax", message) }
}

fn place(error: &Error, end: usize) -> Range<usize> {
    error.span().unwrap_or(end..end)
}

/// The outermost array that the parser found no end of. It goes on to the end of the file, so no array ends later.
fn unclosed_array(document: &Spanned<DeTable<'_>>, errors: &[Error]) -> Option<Range<usize>> {
    let is_there = errors.iter().any(|error| error.message().starts_with(UNCLOSED_ARRAY));
    is_there.then(|| last_array(document.get_ref())).flatten()
}

fn last_array(table: &DeTable<'_>) -> Option<Range<usize>> {
    let arrays = table.values().filter_map(|value| match value.get_ref() {
        DeValue::Table(table) => last_array(table),
        DeValue::Array(entries) => {
            let below = entries.iter().filter_map(|entry| match entry.get_ref() {
                DeValue::Table(table) => last_array(table),
                _ => None,
            });
            below.chain(std::iter::once(value.span())).max_by_key(|span| (span.end, Reverse(span.start)))
        }
        _ => None,
    });
    arrays.max_by_key(|span| (span.end, Reverse(span.start)))
}

/// The message and what to do, by the parser's wording; a wording not known here still gets the general hint.
fn describe(message: &str, nothing_there: bool) -> (String, String) {
    const HINTS: &[(&str, &str)] = &[
        ("string values must be quoted", "put the value in double quotes: key = \"value\""),
        ("invalid float", "an address is a string, in double quotes: \"192.0.2.10\""),
        ("invalid basic string", "close the string with a double quote"),
        ("invalid literal string", "close the string with a single quote"),
        ("duplicate key", "remove one of the two, or start another table with its own header"),
        ("key with no value", "a line is key = value, or a header such as [director] or [[service]]"),
        ("unclosed table", "a header is [director] or [service.check]"),
        ("unclosed array table", "a header is [[service]] or [[service.real]]"),
        (UNCLOSED_ARRAY, "close the array with ]"),
        ("missing escaped value", "a backslash in double quotes is written twice"),
        ("unexpected leading zero", "write the number without leading zeros"),
        ("invalid boolean", "put a string in double quotes: key = \"value\""),
    ];
    if nothing_there && message.starts_with("string values must be quoted") {
        return ("no value after =".to_owned(), "give the key a value, or remove the line".to_owned());
    }
    let hint = HINTS.iter().find(|(start, _)| message.starts_with(start));
    let hint = hint.map_or(
        "the file is TOML: key = value, [table], [[table]], strings in double quotes",
        |(_, hint)| hint,
    );
    (message.trim_end_matches(", expected nothing").to_owned(), hint.to_owned())
}

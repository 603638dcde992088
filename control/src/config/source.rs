//! The text of a configuration file, and where a byte of it is: the parser speaks of byte ranges, people of lines
//! and columns.
//!
//! *Invariants*: the text is UTF-8, has no NUL byte, is not blank (but for an included file), and is at most
//! [`MAX_BYTES`] long. What is not that never reaches the parser.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use super::error::{Excerpt, Fault, Faults, Severity, printable};

/// Largest configuration file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// Widest line shown below a fault, in characters.
const WIDEST: usize = 160;

/// A configuration file that can be parsed.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    /// The file began with a byte-order mark.
    marked: bool,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
}

impl Source {
    /// Reads `path`, at most [`MAX_BYTES`] of it.
    pub fn read(path: &Path) -> Result<Source, Faults> {
        Source::read_part(path)?.not_blank()
    }

    /// Reads `path`, a file that another includes.
    pub(super) fn read_part(path: &Path) -> Result<Source, Faults> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            Faults::of_file(&name, format!("cannot be read: {error}"), help_for_unreadable(error.kind()))
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to know that it is too much, also of a device without an end.
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Source::part(&name, bytes)
    }

    /// Takes the bytes of a file called `name`.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, Faults> {
        Source::part(name, bytes)?.not_blank()
    }

    /// Takes the bytes of a file called `name` that another includes: it may be empty.
    pub(super) fn part(name: &str, bytes: Vec<u8>) -> Result<Source, Faults> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Faults::of_file(
                name,
                format!("is larger than {} MiB", MAX_BYTES >> 20),
                "name a configuration file; the largest one that is read has 16 MiB",
            ));
        }
        let mut text = text_of(name, bytes)?;
        // Editors on Windows put a byte-order mark first; it is no column of the first line.
        let marked = text.starts_with('\u{feff}');
        if marked {
            text.remove(0);
        }
        Ok(Source { marked, ..Source::new(name, text) })
    }

    /// The name of the file, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the file began with a byte-order mark, which is not part of the text.
    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }

    /// Line of a byte, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset)
    }

    /// The bytes of `line`, counted from 1, of which the text has that many.
    pub(super) fn span_of_line(&self, line: usize) -> Range<usize> {
        let start = self.lines[line - 1];
        let length = self.text[start..].lines().next().map_or(0, str::len);
        start..start + length
    }

    /// A fault about the bytes of `span`.
    pub fn fault(&self, severity: Severity, span: Range<usize>, key: &str, message: String) -> Fault {
        let start = span.start.min(self.text.len());
        let line = self.line(start);
        let begin = self.lines[line - 1];
        let content = self.text[begin..].split('\n').next().unwrap_or_default();
        let content = content.strip_suffix('\r').unwrap_or(content);
        let before = chars_in(content, start - begin);
        let width = chars_in(content, span.end.saturating_sub(begin)).saturating_sub(before);
        Fault {
            severity,
            file: self.name.clone(),
            line,
            column: before + 1,
            key: key.to_owned(),
            message,
            help: None,
            excerpt: Some(excerpt(content, before, width)),
        }
    }

    fn not_blank(self) -> Result<Source, Faults> {
        // keepalived's comments begin with `!` too, and what is taken as one with `;`.
        let blank = |line: &str| matches!(line.trim_start().chars().next(), None | Some('#' | '!' | ';'));
        if !self.text.lines().all(blank) {
            return Ok(self);
        }
        let what = if self.text.trim().is_empty() { "is empty" } else { "has nothing but comments" };
        Err(Faults::of_file(
            &self.name,
            what,
            "a configuration has at least a [director] with its interfaces; see configs/minimal.toml",
        ))
    }

    fn new(name: &str, text: String) -> Source {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: name.to_owned(), text, marked: false, lines }
    }
}

/// UTF-8 without NUL, or the fault that says where it is not.
fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, Faults> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Faults::of_file(name, "is UTF-16 text", "save it as UTF-8"));
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(Faults::of_file(
            name,
            format!("is not a text file: byte {at} is NUL"),
            "name a configuration file; it is UTF-8 text",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let help = "save the file as UTF-8, and check that it is the file you mean";
        // Everything before the bad byte is valid, so its offset is the same in the lossy text.
        let source = Source::new(name, lossy);
        let message = format!("is not UTF-8 text: byte {at} is {byte:#04x}");
        let fault = source.fault(Severity::Error, at..at, "file", message);
        Faults::from(Fault { help: Some(help.to_owned()), ..fault })
    })
}

fn help_for_unreadable(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "check the path; configs/minimal.toml is a file to start from",
        ErrorKind::PermissionDenied => "run as a user who may read it, or change its mode (chmod)",
        ErrorKind::IsADirectory => "name a file in it",
        _ => "check the path and the file system it is on",
    }
}

/// Characters of `line` that start before byte `offset`.
fn chars_in(line: &str, offset: usize) -> usize {
    line[..line.ceil_char_boundary(offset.min(line.len()))].chars().count()
}

/// The part of `line` around the marked characters that fits a terminal.
fn excerpt(line: &str, start: usize, width: usize) -> Excerpt {
    const LEAD: usize = 40;
    let total = line.chars().count();
    let skip = if total <= WIDEST { 0 } else { start.saturating_sub(LEAD) };
    let text: String = line.chars().skip(skip).take(WIDEST).collect();
    let start = start - skip;
    let room = text.chars().count().saturating_sub(start);
    Excerpt { text: printable(&text), start, width: width.min(room).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_at(text: &str, span: Range<usize>) -> Fault {
        Source::new("a.toml", text.to_owned()).fault(Severity::Error, span, "k", "m".to_owned())
    }

    fn refusal(result: Result<Source, Faults>) -> Fault {
        result.unwrap_err().into_iter().next().unwrap()
    }

    #[test]
    fn columns_count_characters_and_lines_end_with_or_without_a_carriage_return() {
        let text = "a = 1\r\nß = \"ü\" # x\r\n";
        let at = text.find("\"ü\"").unwrap();
        let fault = fault_at(text, at..at + 4);
        assert_eq!((fault.line, fault.column), (2, 5));
        assert_eq!(fault.excerpt, Some(Excerpt { text: "ß = \"ü\" # x".to_owned(), start: 4, width: 3 }));
    }

    #[test]
    fn a_span_over_several_lines_marks_the_first() {
        let fault = fault_at("a = [\n1,\n]", 4..10);
        assert_eq!((fault.line, fault.column), (1, 5));
        assert_eq!(fault.excerpt.unwrap().width, 1);
    }

    #[test]
    fn the_end_of_the_file_is_a_place() {
        for (text, place) in [("ab", (1, 3)), ("ab\n", (2, 1))] {
            let fault = fault_at(text, text.len()..text.len());
            assert_eq!((fault.line, fault.column), place);
            assert_eq!(fault.excerpt.unwrap().width, 1);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("{}XYZ{}", "a".repeat(1000), "b".repeat(1000));
        let fault = fault_at(&text, 1000..1003);
        let excerpt = fault.excerpt.unwrap();
        assert_eq!(fault.column, 1001);
        assert_eq!(excerpt.text.chars().count(), WIDEST);
        assert_eq!(excerpt.text.chars().skip(excerpt.start).take(excerpt.width).collect::<String>(), "XYZ");
    }

    #[test]
    fn what_is_no_text_is_refused_with_the_byte_that_shows_it() {
        let message = |bytes: &[u8]| refusal(Source::from_bytes("a", bytes.to_vec())).message;
        assert_eq!(message(b"\x7fELF\0"), "is not a text file: byte 4 is NUL");
        assert_eq!(message(b"\xff\xfea\0"), "is UTF-16 text");
        assert_eq!(message(b""), "is empty");
        assert_eq!(message(b"\xef\xbb\xbf \n\t"), "is empty");
        assert_eq!(message(b" # a\n\n# b"), "has nothing but comments");
        assert_eq!(message(b"! Configuration File for keepalived\n ; b"), "has nothing but comments");
        let fault = refusal(Source::from_bytes("a", b"x = 1\ny = \"\xe4\"".to_vec()));
        assert_eq!((fault.line, fault.column), (2, 6));
        assert_eq!(fault.message, "is not UTF-8 text: byte 11 is 0xe4");
    }

    #[test]
    fn the_largest_file_is_read_and_one_byte_more_is_not() {
        let mut bytes = vec![b'#'; MAX_BYTES as usize - 2];
        bytes.extend(b"\na");
        assert!(Source::from_bytes("a", bytes.clone()).is_ok());
        bytes.push(b'b');
        assert_eq!(refusal(Source::from_bytes("a", bytes)).message, "is larger than 16 MiB");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let help = |path: &Path| refusal(Source::read(path)).help.unwrap();
        assert!(help(&directory.path().join("none.toml")).starts_with("check the path; "));
        assert_eq!(help(directory.path()), "name a file in it");
        // A device without an end is read up to the limit and refused.
        assert_eq!(refusal(Source::read(Path::new("/dev/zero"))).message, "is larger than 16 MiB");
    }
}

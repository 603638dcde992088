//! A line that knows where each byte of it was typed. Comments are cut out of lines, definitions put in, and what is
//! wrong with the result is still shown in the file.
//!
//! *Invariant*: `spans` has an entry for each byte of `text`.

use std::ops::Range;
use std::sync::Arc;

use super::super::report::At;
use super::Word;
use crate::config::source::Source;

/// A line, or what is left of it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    source: Arc<Source>,
    text: String,
    /// For each byte of the text, the bytes of the file that it stands for: itself, or the `$NAME` it came from.
    spans: Vec<(u32, u32)>,
    /// Where it begins, for what has no bytes.
    start: u32,
}

impl Line {
    /// Nothing yet, at byte `start` of `source`.
    pub fn at_byte(source: &Arc<Source>, start: usize) -> Line {
        let start = offset(start);
        Line { source: source.clone(), text: String::new(), spans: Vec::new(), start }
    }

    /// Appends `text`, which stands for `span` as a whole.
    pub fn push(&mut self, text: &str, span: Range<usize>) {
        self.text.push_str(text);
        self.spans.resize(self.text.len(), (offset(span.start), offset(span.end)));
    }

    /// Appends a part of another line of the same file.
    pub fn append(&mut self, other: &Line, range: Range<usize>) {
        self.text.push_str(&other.text[range.clone()]);
        self.spans.extend_from_slice(&other.spans[range]);
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A part of it, without blanks around.
    pub fn part(&self, range: Range<usize>) -> Line {
        let text = &self.text[range.clone()];
        let start = range.start + (text.len() - text.trim_start_matches(is_blank).len());
        let end = (range.start + text.trim_end_matches(is_blank).len()).max(start);
        let mut part = Line::at_byte(&self.source, self.span(start..end).start);
        part.append(self, start..end);
        part
    }

    /// A part of it as a word.
    pub fn word(&self, range: Range<usize>) -> Word {
        Word { text: self.text[range.clone()].to_owned(), at: self.at(range) }
    }

    /// Where a part of it was typed.
    pub fn at(&self, range: Range<usize>) -> At {
        At { source: self.source.clone(), span: self.span(range) }
    }

    /// Where all of it was typed.
    pub fn everywhere(&self) -> At {
        self.at(0..self.text.len())
    }

    fn span(&self, range: Range<usize>) -> Range<usize> {
        let typed = &self.spans[range.clone()];
        let start = typed.iter().map(|span| span.0).min();
        let end = typed.iter().map(|span| span.1).max();
        match (start, end) {
            (Some(start), Some(end)) => start as usize..end as usize,
            _ => {
                let before = range.start.checked_sub(1).map(|last| self.spans[last].1);
                let place = before.unwrap_or(self.start) as usize;
                place..place
            }
        }
    }
}

/// The blanks that separate words.
pub(super) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_else(|_| unreachable!("a source is at most 16 MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_points_at_what_it_came_from() {
        let source = Arc::new(Source::from_bytes("a", b"weight ${W}9 x".to_vec()).unwrap());
        let mut line = Line::at_byte(&source, 0);
        line.push("weight ", 0..7);
        line.push("100", 7..11);
        line.push("9", 11..12);
        assert_eq!(line.text(), "weight 1009");
        assert_eq!(line.at(7..10).span, 7..11);
        assert_eq!(line.at(8..11).span, 7..12);
        assert_eq!(line.at(11..11).span, 12..12);
        let part = line.part(6..11);
        assert_eq!((part.text(), part.everywhere().span), ("1009", 7..12));
        assert_eq!(line.part(6..7).text(), "");
    }
}

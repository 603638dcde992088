//! The lines of a file: comments gone, blanks of every kind made plain. What keepalived would trip over and shunt takes
//! as it was meant (no-break spaces from web pages, `;` comments, line ends of Windows) is told once a file.

use std::ops::Range;
use std::sync::Arc;

use super::super::report::{At, Report};
use super::line::{Line, is_blank};
use crate::config::source::Source;

/// Longest line, in bytes, as typed or after definitions are replaced. keepalived's is 1 KiB.
pub(super) const LONGEST: usize = 16 << 10;

/// Lines that a warning lists.
const LISTED: usize = 8;

/// A line as it was typed.
pub(super) struct Raw {
    /// Without comment and surrounding blanks.
    pub line: Line,
    /// There was nothing on it, not even blanks.
    pub empty: bool,
}

/// What is odd about a file.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    blanks: Vec<Range<usize>>,
    semicolons: Vec<Range<usize>>,
    carriage_returns: Vec<Range<usize>>,
}

/// Cuts `source` into lines, from byte `start`; none at the end.
pub(super) fn next(source: &Arc<Source>, start: &mut usize, odd: &mut Oddities) -> Option<Raw> {
    let text = &source.text()[*start..];
    if text.is_empty() {
        return None;
    }
    let begin = *start;
    let (typed, length) =
        text.split_once('\n').map_or((text, text.len()), |(line, _)| (line, line.len() + 1));
    *start += length;
    let content = match typed.strip_suffix('\r') {
        Some(content) => {
            odd.carriage_returns.push(begin + content.len()..begin + typed.len());
            content
        }
        None => typed,
    };
    Some(Raw { line: line(source, begin, content, odd), empty: content.is_empty() })
}

fn line(source: &Arc<Source>, begin: usize, typed: &str, odd: &mut Oddities) -> Line {
    let mut line = Line::at_byte(source, begin);
    let mut quoted = false;
    let mut chars = typed.char_indices().map(|(at, c)| (c, begin + at..begin + at + c.len_utf8())).peekable();
    let mut buffer = [0; 4];
    while let Some((c, span)) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => {
                // An escaped `#` or `!` is itself; other escapes are left to who reads the words.
                let escaped = chars.next_if(|(next, _)| !is_odd_blank(*next));
                match escaped {
                    Some((next @ ('#' | '!'), at)) if !quoted => {
                        line.push(next.encode_utf8(&mut buffer), span.start..at.end);
                    }
                    Some((next, at)) => {
                        line.push("\\", span);
                        line.push(next.encode_utf8(&mut buffer), at);
                    }
                    None => line.push("\\", span),
                }
                continue;
            }
            '#' | '!' if !quoted => break,
            ';' if line.text().chars().all(is_blank) => {
                odd.semicolons.push(span);
                break;
            }
            c if !quoted && is_odd_blank(c) => {
                if !c.is_ascii() {
                    odd.blanks.push(span.clone());
                }
                line.push(" ", span);
                continue;
            }
            _ => {}
        }
        line.push(c.encode_utf8(&mut buffer), span);
    }
    line.part(0..line.text().len())
}

/// Blanks that are none to keepalived, among them two of no width.
fn is_odd_blank(c: char) -> bool {
    (c.is_whitespace() && !is_blank(c)) || matches!(c, '\u{200b}' | '\u{feff}')
}

impl Oddities {
    /// Warns of what is odd about `source`, once each.
    pub fn tell(&self, source: &Arc<Source>, report: &mut Report) {
        let at = |span: &Range<usize>| At { source: source.clone(), span: span.clone() };
        if source.is_marked() {
            let message = "the file begins with a byte-order mark, which keepalived takes for part of a word";
            report.warning(&at(&(0..0)), "syntax", message, "save the file as UTF-8 without it");
        }
        if let Some(first) = self.blanks.first() {
            let code = source.text()[first.clone()].chars().next().map_or(0, u32::from);
            let message = format!("a blank that keepalived takes for part of a word (U+{code:04X})");
            let help = "it is taken as a blank; type plain spaces and tabs";
            report.warning(&at(first), "syntax", message + &also(&self.blanks, source), help);
        }
        if let Some(first) = self.semicolons.first() {
            let message = "`;` begins no comment in keepalived, which takes it for a keyword";
            let help = "the line is taken as a comment; begin it with # or !";
            report.warning(&at(first), "syntax", message.to_owned() + &also(&self.semicolons, source), help);
        }
        if let Some(first) = self.carriage_returns.first() {
            let lines = self.carriage_returns.len();
            let message = match lines {
                1 => "this line ends as lines on Windows do (CR LF)".to_owned(),
                lines => format!("this line and {} others end as lines on Windows do (CR LF)", lines - 1),
            };
            let help = "that is understood, but scripts and editors here may not; sed -i 's/\\r$//' FILE";
            report.warning(&at(first), "syntax", message, help);
        }
    }
}

/// The other lines: `; also on lines 13, 27`.
fn also(spans: &[Range<usize>], source: &Source) -> String {
    let mut lines: Vec<usize> = spans.iter().map(|span| source.line(span.start)).collect();
    lines.dedup();
    let others = &lines[1..];
    if others.is_empty() {
        return String::new();
    }
    let listed: Vec<String> = others.iter().take(LISTED).map(ToString::to_string).collect();
    let noun = if others.len() == 1 { "line" } else { "lines" };
    let more = match others.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; also on {noun} {}{more}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<String>, Oddities) {
        let source = Arc::new(Source::part("a", text.as_bytes().to_vec()).unwrap());
        let (mut start, mut odd, mut lines) = (0, Oddities::default(), Vec::new());
        while let Some(raw) = next(&source, &mut start, &mut odd) {
            lines.push(raw.line.text().to_owned());
        }
        (lines, odd)
    }

    fn line(text: &str) -> String {
        lines(text).0.concat()
    }

    #[test]
    fn a_comment_begins_anywhere_outside_quotes() {
        assert_eq!(line("interface lo#comment"), "interface lo");
        assert_eq!(line("! all"), "");
        assert_eq!(line(" weight 1 !x \"y"), "weight 1");
        assert_eq!(line(r##"path "/#a!b" # c"##), r##"path "/#a!b""##);
        assert_eq!(line(r"auth_pass a\#b\!c#d"), "auth_pass a#b!c");
        assert_eq!(line(r##"path "a\#b""##), r##"path "a\#b""##);
        assert_eq!(line(r##"script "a \"#b\"" #c"##), r##"script "a \"#b\"""##);
    }

    #[test]
    fn blanks_of_web_pages_and_windows_are_blanks_and_remembered() {
        let (text, odd) = lines("\u{a0}interface\u{a0}eth0\r\n\tx \"\u{a0}\"\r\n;a\n b ; c\n  ;d");
        assert_eq!(text, ["interface eth0", "x \"\u{a0}\"", "", "b ; c", ""]);
        assert_eq!((odd.blanks.len(), odd.carriage_returns.len(), odd.semicolons.len()), (2, 2, 2));
    }

    #[test]
    fn a_line_knows_where_it_was_typed() {
        let source = Arc::new(Source::part("a", b"x\n  a\\#b # c".to_vec()).unwrap());
        let mut start = 2;
        let raw = next(&source, &mut start, &mut Oddities::default()).unwrap();
        assert_eq!((raw.line.text(), raw.line.everywhere().span), ("a#b", 4..8));
        assert_eq!(raw.line.at(1..2).span, 5..7);
        assert!(next(&source, &mut start, &mut Oddities::default()).is_none());
    }

    #[test]
    fn the_other_lines_are_listed_up_to_a_number() {
        let source = Source::part("a", ";\n".repeat(12).into_bytes()).unwrap();
        let spans: Vec<_> = (0..12).map(|line| 2 * line..2 * line + 1).collect();
        assert_eq!(also(&spans[..1], &source), "");
        assert_eq!(also(&spans[..2], &source), "; also on line 2");
        assert_eq!(also(&spans, &source), "; also on lines 2, 3, 4, 5, 6, 7, 8, 9 and 3 more");
    }
}

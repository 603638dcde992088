//! keepalived has two tokenizers: one for ordinary lines, with double quotes and no escapes, and one for commands that
//! are run, with both kinds of quotes and escapes.

use std::ops::Range;

use super::Word;
use super::line::is_blank;

/// A word of an ordinary line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// With its quotes.
    pub outer: Range<usize>,
    /// Without.
    pub inner: Range<usize>,
}

/// The words of an ordinary line. A quote ends the word before it; one that is not closed goes on to the end.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches(is_blank).len();
        let rest = &text[at..];
        if rest.is_empty() {
            return tokens;
        }
        let token = match rest.strip_prefix('"') {
            Some(_) => {
                let inner = at + 1..closing_quote(text, at + 1).unwrap_or(text.len());
                Token { outer: at..(inner.end + 1).min(text.len()), inner }
            }
            None => {
                let end = at + rest.find(|c| is_blank(c) || c == '"').unwrap_or(rest.len());
                Token { outer: at..end, inner: at..end }
            }
        };
        at = token.outer.end;
        tokens.push(token);
    }
}

/// What matters of a line before its words do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The first brace outside quotes.
    pub brace: Option<usize>,
    /// A `${NAME}` before it that was not replaced.
    pub undefined: Option<Range<usize>>,
    /// The quote that is not closed, if there is no brace before it.
    pub quote: Option<usize>,
}

/// Finds the marks of a line.
pub(super) fn marks(text: &str) -> Marks {
    let mut marks = Marks::default();
    let mut at = 0;
    while let Some(found) = text[at..].find(['"', '{', '}', '$']) {
        at += found;
        match text.as_bytes()[at] {
            b'"' => match closing_quote(text, at + 1) {
                Some(end) => at = end + 1,
                None => return Marks { quote: Some(at), ..marks },
            },
            b'$' => match undefined(&text[at..]) {
                Some(length) => {
                    marks.undefined.get_or_insert(at..at + length);
                    at += length;
                }
                None => at += 1,
            },
            _ => return Marks { brace: Some(at), ..marks },
        }
    }
    marks
}

/// The words of a command, by the rules for `script`, `notify_up` and the like: blanks separate words outside quotes of
/// both kinds, `\a \b \E \f \n \r \t \v \NNN \xXX \cC` are characters, and `\` before any other is dropped.
///
/// # Errors
/// What is wrong with it.
pub(in crate::config::keepalived) fn script_words(rest: &Word) -> Result<Vec<String>, String> {
    let mut bytes = rest.text.as_bytes();
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    while let Some((&byte, after)) = bytes.split_first() {
        bytes = after;
        match byte {
            b'\\' => {
                let character = escaped(&mut bytes).ok_or("it ends in a backslash that escapes nothing")?;
                word.get_or_insert_default().push(character);
            }
            b'"' | b'\'' if quote.is_none() => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            _ if quote == Some(byte) => quote = None,
            b' ' | b'\t' if quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("the quote {} is not closed", char::from(quote)));
    }
    words.extend(word);
    words.into_iter().map(argument).collect()
}

/// Takes what stands after a backslash; none: nothing does.
fn escaped(bytes: &mut &[u8]) -> Option<u8> {
    let first = *bytes.split_off_first()?;
    let character = match first {
        b'x' if digit(bytes, 16).is_some() => number(bytes, 0, 16, 2),
        b'c' => bytes.split_off_first().map_or(b'c', |control| control & 0x1f),
        b'0'..=b'7' => number(bytes, first - b'0', 8, 2),
        b'a' => 0x07,
        b'b' => 0x08,
        b'E' => 0x1b,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    };
    Some(character)
}

/// Goes on from `value` with at most `most` digits. Three octal ones may be more than a byte, and wrap.
fn number(bytes: &mut &[u8], mut value: u8, base: u8, most: usize) -> u8 {
    for _ in 0..most {
        let Some(digit) = digit(bytes, base) else { break };
        *bytes = &bytes[1..];
        value = value.wrapping_mul(base).wrapping_add(digit);
    }
    value
}

fn digit(bytes: &[u8], base: u8) -> Option<u8> {
    let digit = char::from(*bytes.first()?).to_digit(base.into())?;
    Some(digit as u8)
}

fn argument(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.contains(&0) {
        return Err("a word has a NUL byte, which no program can be given".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "its escapes make a word that is not UTF-8 text".to_owned())
}

/// Where the quote that opened before `from` closes: a backslash and what follows it do not close it.
fn closing_quote(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += text[at..].find(['"', '\\'])?;
        if text.as_bytes()[at] == b'"' {
            return Some(at);
        }
        at += 1 + text[at + 1..].chars().next()?.len_utf8();
    }
}

/// Length of the `${NAME}` that `text` begins with.
fn undefined(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("${")?;
    let end = inner.find(['}', '{', '"'])?;
    inner[end..].starts_with('}').then_some("${".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::super::report::At;
    use super::*;
    use crate::config::source::Source;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| &text[token.inner]).collect()
    }

    fn script(text: &str) -> Result<Vec<String>, String> {
        let source = Arc::new(Source::part("a", Vec::new()).unwrap());
        script_words(&Word { text: text.to_owned(), at: At { source, span: 0..0 } })
    }

    #[test]
    fn a_double_quoted_string_is_one_word() {
        assert_eq!(words("  real_server\t192.0.2.21  80 "), ["real_server", "192.0.2.21", "80"]);
        assert_eq!(words(r#"script "/bin/x -a b" """#), ["script", "/bin/x -a b", ""]);
        assert_eq!(words(r#"a"b c"d"#), ["a", "b c", "d"]);
        assert_eq!(words(r#"a "b \" c" 'd e'"#), ["a", r#"b \" c"#, "'d", "e'"]);
        assert_eq!(words(r#"a "b c"#), ["a", "b c"]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(tokens("\"ab\"")[0], Token { outer: 0..4, inner: 1..3 });
    }

    #[test]
    fn braces_count_outside_quotes_and_definitions() {
        let brace = |text| marks(text).brace;
        assert_eq!(brace("x {"), Some(2));
        assert_eq!(brace("x{y}"), Some(1));
        assert_eq!(brace(r#"x "{" }"#), Some(6));
        assert_eq!(brace(r#"x "\"{" }"#), Some(8));
        assert_eq!(brace("x ${A} ${B} {"), Some(12));
        assert_eq!(marks("x ${A} ${B}").undefined, Some(2..6));
        assert_eq!(marks("x \"${A}\" $B").undefined, None);
        assert_eq!(brace("x ${A"), Some(3));
        assert_eq!(marks("x \"y {").quote, Some(2));
        assert_eq!(marks("x { \"y"), Marks { brace: Some(2), ..Marks::default() });
    }

    #[test]
    fn a_command_has_quotes_of_both_kinds_and_escapes() {
        for (text, expected) in [
            (r#"/bin/sh -c "a 'b' c" 'd "e"'"#, vec!["/bin/sh", "-c", "a 'b' c", "d \"e\""]),
            (r#"a"b c"d'e f' "" ''"#, vec!["ab cde f", "", ""]),
            (r"\a\b\E\f\n\r\t\v", vec!["\x07\x08\x1b\x0c\n\r\t\x0b"]),
            (r"\101\1018\12\60 \0611", vec!["AA8\n0", "11"]),
            (r"\x41\x4\x4g\xg\cA\ca\c", vec!["A\x04\x04gxg\x01\x01c"]),
            (r#"a\ b \"c '\'d' "\"e""#, vec!["a b", "\"c", "'d", "\"e"]),
            (r"\303\244 \xc3\xa4 ü", vec!["ä", "ä", "ü"]),
            ("  ", vec![]),
        ] {
            assert_eq!(script(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_command_that_is_not_whole_says_why() {
        assert!(script("a 'b").unwrap_err().contains("the quote ' is not closed"));
        assert!(script("a \"b").unwrap_err().contains("the quote \" is not closed"));
        assert!(script("a\\").unwrap_err().contains("backslash"));
        assert!(script(r"\0").unwrap_err().contains("NUL"));
        assert!(script(r"\xff").unwrap_err().contains("UTF-8"));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(text in "[\\\\\"'{}$ \ta-fx0-9ü]{0,40}") {
            let marks = marks(&text);
            let is_brace = |at| text[at..].starts_with(['{', '}']);
            prop_assert!(marks.brace.is_none_or(is_brace));
            for token in tokens(&text) {
                prop_assert!(token.inner.end <= text.len() && token.outer.start <= token.inner.start);
            }
            let _ = script(&text);
        }
    }
}

//! `$NAME=value`, and what stands for `$NAME` and `${NAME}`: replaced where it is used, as it is defined then.
//!
//! *Invariant*: one pass replaces what a line has and nothing of what came in, so that a definition that contains itself
//! grows by a step a pass, and whoever calls can stop it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::lexer::LONGEST;
use super::line::{Line, is_blank};

/// Largest value of `${_RANDOM}` by default.
const MOST_RANDOM: u64 = 32_767;

/// What is defined.
#[derive(Debug)]
pub(super) struct Definitions {
    values: HashMap<String, Value>,
    config_id: String,
    random: u64,
}

#[derive(Debug, Clone)]
struct Value {
    /// What takes the place of the name.
    text: String,
    /// Lines that follow that line.
    lines: Arc<[Line]>,
}

/// What a pass made of a line.
#[derive(Debug)]
pub(super) struct Expanded {
    /// The line.
    pub line: Line,
    /// The other lines of a definition of several.
    pub lines: Arc<[Line]>,
}

/// The `NAME` and the place of the value of a line `$NAME=value`.
pub(super) fn definition(text: &str) -> Option<(&str, Range<usize>)> {
    let rest = text.strip_prefix('$')?;
    let name = &rest[..name_length(rest)?];
    rest[name.len()..].starts_with('=').then(|| (name, name.len() + 2..text.len()))
}

impl Definitions {
    /// Only what is always defined.
    pub fn new(config_id: &str) -> Definitions {
        let random = RandomState::new().hash_one(());
        Definitions { values: HashMap::new(), config_id: config_id.to_owned(), random }
    }

    /// Defines `name`.
    pub fn set(&mut self, name: &str, text: String) {
        self.set_lines(name, text, Vec::new());
    }

    /// Defines `name` as several lines.
    pub fn set_lines(&mut self, name: &str, text: String, lines: Vec<Line>) {
        self.values.insert(name.to_owned(), Value { text, lines: lines.into() });
    }

    /// Makes `${_RANDOM}` repeatable.
    pub fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Replaces each name of `line` that is defined; none: there is none. `directory` is that of the file.
    ///
    /// # Errors
    /// Where in the line, and what is wrong there.
    pub fn expand(
        &mut self,
        line: &Line,
        directory: &Path,
    ) -> Result<Option<Expanded>, (Range<usize>, String)> {
        let text = line.text();
        let mut new = line.part(0..0);
        let mut lines: Arc<[Line]> = Arc::new([]);
        let mut kept = 0;
        let mut at = 0;
        while let Some(found) = text[at..].find('$') {
            let start = at + found;
            at = start + 1;
            let Some(usage) = Usage::at(text, start) else { continue };
            let value = self.value(&usage, directory).map_err(|message| (start..usage.end, message))?;
            let Some(Value { text: value, lines: more }) = value else { continue };
            // Several lines have their place only at the end of one.
            if !more.is_empty() && usage.end < text.len() {
                continue;
            }
            new.append(line, kept..start);
            new.push(&value, line.at(start..usage.end).span);
            lines = more;
            (kept, at) = (usage.end, usage.end);
            if new.text().len() + text.len() - kept > LONGEST {
                let message = format!("the line gets longer than {} KiB with this", LONGEST >> 10);
                return Err((start..usage.end, message));
            }
        }
        if kept == 0 {
            return Ok(None);
        }
        new.append(line, kept..text.len());
        Ok(Some(Expanded { line: new, lines }))
    }

    fn value(&mut self, usage: &Usage, directory: &Path) -> Result<Option<Value>, String> {
        let Usage { name, parameters, .. } = usage;
        if let (Some(value), true) = (self.values.get(*name), parameters.is_empty()) {
            return Ok(Some(value.clone()));
        }
        let text = match (*name, parameters.as_slice()) {
            ("_PWD", []) => directory.display().to_string(),
            ("_INSTANCE", []) => self.config_id.clone(),
            ("_HASH", []) => "#".to_owned(),
            ("_BANG", []) => "!".to_owned(),
            ("_ENV", [name]) => match std::env::var(name) {
                // One line is one line.
                Ok(value) if !value.contains(['\n', '\0']) => value,
                Ok(_) => return Err(format!("the environment variable {name} has several lines")),
                Err(_) => return Err(format!("the environment variable {name} is not set")),
            },
            ("_RANDOM", bounds) if bounds.len() <= 2 => self.random(bounds)?.to_string(),
            _ => return Ok(None),
        };
        Ok(Some(Value { text, lines: Arc::new([]) }))
    }

    /// A number in `MIN MAX`.
    fn random(&mut self, bounds: &[&str]) -> Result<u64, String> {
        let bound = |at: usize, default: u64| {
            let number = |text: &&str| {
                text.parse().map_err(|_| {
                    format!("{text} is not a number: ${{_RANDOM}} has a least and a largest number")
                })
            };
            bounds.get(at).map_or(Ok(default), number)
        };
        let (least, most) = (bound(0, 0)?, bound(1, MOST_RANDOM)?);
        let Some(width) = most.checked_sub(least) else {
            return Err(format!("no number is at least {least} and at most {most}"));
        };
        // SplitMix64: nothing here is a secret.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Ok(least + width.checked_add(1).map_or(mixed, |count| mixed % count))
    }
}

/// A name that is used.
struct Usage<'a> {
    name: &'a str,
    parameters: Vec<&'a str>,
    end: usize,
}

impl<'a> Usage<'a> {
    /// The usage that begins with the `$` at `start`.
    fn at(text: &'a str, start: usize) -> Option<Usage<'a>> {
        let rest = &text[start + 1..];
        match rest.strip_prefix('{') {
            Some(inner) => {
                let name = &inner[..name_length(inner)?];
                let after = &inner[name.len()..];
                let length = after.find('}')?;
                let given = &after[..length];
                let is_of_parameter = |c: char| is_blank(c) || c.is_ascii_alphanumeric() || c == '_';
                let is_well_formed =
                    given.is_empty() || given.starts_with(is_blank) && given.chars().all(is_of_parameter);
                let parameters = given.split_ascii_whitespace().collect();
                let end = start + "${}".len() + name.len() + length;
                is_well_formed.then_some(Usage { name, parameters, end })
            }
            None => {
                let name = &rest[..name_length(rest)?];
                let after = rest[name.len()..].chars().next();
                let ends = after.is_none_or(|c| is_blank(c) || ",)/".contains(c));
                ends.then(|| Usage { name, parameters: Vec::new(), end: start + 1 + name.len() })
            }
        }
    }
}

/// Length of the name that `text` begins with.
fn name_length(text: &str) -> Option<usize> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    (length > 0 && !text.starts_with(|c: char| c.is_ascii_digit())).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

    fn line(text: &str) -> Line {
        let source = Arc::new(Source::part("a", text.as_bytes().to_vec()).unwrap());
        let mut line = Line::at_byte(&source, 0);
        for (at, c) in text.char_indices() {
            line.push(c.encode_utf8(&mut [0; 4]), at..at + c.len_utf8());
        }
        line
    }

    fn defined() -> Definitions {
        let mut definitions = Definitions::new("lb1");
        definitions.set("A", "192.0.2".to_owned());
        definitions.set("EMPTY", String::new());
        definitions.set("DEEP", "${A}.9".to_owned());
        definitions.set_lines("BLOCK", "x {".to_owned(), vec![line("y"), line("}")]);
        definitions
    }

    fn expanded(text: &str) -> String {
        let expanded = defined().expand(&line(text), Path::new("/etc/keepalived")).unwrap();
        expanded.map_or_else(|| text.to_owned(), |expanded| expanded.line.text().to_owned())
    }

    #[test]
    fn a_name_is_replaced_where_it_ends() {
        for (text, expected) in [
            ("$A", "192.0.2"),
            ("a $A b $A", "a 192.0.2 b 192.0.2"),
            ("${A}.1 $A,$A)$A/24", "192.0.2.1 192.0.2,192.0.2)192.0.2/24"),
            ("$A.1 $AB ${B} $B $ $$ ${ ${} $1", "$A.1 $AB ${B} $B $ $$ ${ ${} $1"),
            ("\"${A}\"x${EMPTY}y", "\"192.0.2\"xy"),
            ("${DEEP}", "${A}.9"),
            ("${_PWD}/x ${_INSTANCE} ${_HASH}${_BANG}", "/etc/keepalived/x lb1 #!"),
            ("${_RANDOM 7 7} ${A 1} ${_HASH x}", "7 ${A 1} ${_HASH x}"),
        ] {
            assert_eq!(expanded(text), expected);
        }
    }

    #[test]
    fn several_lines_are_put_in_at_the_end_of_one() {
        let mut definitions = defined();
        let expanded = definitions.expand(&line("~ $BLOCK"), Path::new("/")).unwrap().unwrap();
        assert_eq!(expanded.line.text(), "~ x {");
        assert_eq!(expanded.lines.iter().map(Line::text).collect::<Vec<_>>(), ["y", "}"]);
        assert!(definitions.expand(&line("$BLOCK z"), Path::new("/")).unwrap().is_none());
    }

    #[test]
    fn a_random_number_is_in_its_bounds_and_repeatable_if_asked() {
        let numbers = |seed: Option<u64>| {
            let mut definitions = Definitions::new("");
            seed.into_iter().for_each(|seed| definitions.seed(seed));
            let mut number = |text| -> u64 {
                definitions.expand(&line(text), Path::new("/")).unwrap().unwrap().line.text().parse().unwrap()
            };
            let numbers: Vec<u64> = (0..100).map(|_| number("${_RANDOM 3 5}")).collect();
            assert!(number("${_RANDOM}") <= MOST_RANDOM);
            assert!(number("${_RANDOM 32767}") == MOST_RANDOM);
            number(&format!("${{_RANDOM 0 {}}}", u64::MAX));
            numbers
        };
        assert!((3..=5).all(|wanted| numbers(None).contains(&wanted)));
        assert_eq!(numbers(Some(7)), numbers(Some(7)));
        assert_ne!(numbers(Some(7)), numbers(Some(8)));
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        let mut definitions = defined();
        definitions.set("LONG", "x".repeat(LONGEST / 2));
        let mut wrong = |text| definitions.expand(&line(text), Path::new("/")).unwrap_err();
        assert_eq!(wrong("a ${_RANDOM 5 3}"), (2..16, "no number is at least 5 and at most 3".to_owned()));
        assert!(wrong("${_RANDOM x}").1.starts_with("x is not a number"));
        assert!(wrong("${_ENV NOT_SET_BY_ANYONE}").1.ends_with("NOT_SET_BY_ANYONE is not set"));
        assert!(wrong("${LONG} ${LONG}").1.contains("longer than 16 KiB"));
    }

    #[test]
    fn the_environment_is_read() {
        assert_eq!(expanded("${_ENV PATH}"), std::env::var("PATH").unwrap());
    }

    #[test]
    fn a_definition_has_no_blank_before_its_equals_sign() {
        let parts = |text: &'static str| definition(text).map(|(name, value)| (name, &text[value]));
        assert_eq!(parts("$A=1 2"), Some(("A", "1 2")));
        assert_eq!(parts("$_a9="), Some(("_a9", "")));
        for text in ["$A =1", "$9=1", "A=1", "${A}=1", "$=1", "$A"] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}

//! `~SEQ(var, start, step, end) rest` and `~LST(var, value, ...) rest`: the rest of the line, once for each value.

use std::ops::Range;

use super::line::is_blank;

/// A line that is repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    /// What is defined anew each time.
    pub values: Values,
    /// Where the rest of the line begins.
    pub rest: usize,
}

/// The values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Numbers.
    Numbers {
        /// Name that stands for the number.
        name: String,
        /// The first.
        start: i64,
        /// From one to the next; not 0.
        step: i64,
        /// None is beyond it.
        end: i64,
        /// Written in hexadecimal.
        hex: bool,
    },
    /// Texts for several names at once.
    Texts {
        /// The names.
        names: Vec<String>,
        /// As many texts as names, each time.
        sets: Vec<Vec<String>>,
    },
}

impl Values {
    /// The names and their texts, one set after the other.
    pub fn sets(&self) -> Box<dyn Iterator<Item = Vec<(&str, String)>> + '_> {
        match self {
            Values::Numbers { name, start, step, end, hex } => {
                let next = move |at: &i64| at.checked_add(*step);
                let numbers = std::iter::successors(Some(*start), next);
                let is_within = move |at: &i64| if *step > 0 { at <= end } else { at >= end };
                let text = |at: i64| if *hex { format!("{at:x}") } else { at.to_string() };
                Box::new(numbers.take_while(is_within).map(move |at| vec![(name.as_str(), text(at))]))
            }
            Values::Texts { names, sets } => {
                let names = || names.iter().map(String::as_str);
                Box::new(sets.iter().map(move |set| names().zip(set.iter().cloned()).collect()))
            }
        }
    }
}

/// Where the arguments of a line that begins with `~SEQ` or `~LST` stand.
pub(super) fn arguments(text: &str) -> Option<Range<usize>> {
    if !text.starts_with("~SEQ") && !text.starts_with("~LST") {
        return None;
    }
    let end = text.find(')').unwrap_or(text.len());
    Some(text.find('(').map_or(end, |open| (open + 1).min(end))..end)
}

/// Reads a line that begins with `~SEQ` or `~LST`, of which definitions in the arguments are replaced.
///
/// # Errors
/// What is wrong with it.
pub(super) fn repeat(text: &str) -> Result<Repeat, String> {
    let kind = &text[.."~SEQ".len()];
    let mut cursor = Cursor { text, at: kind.len() };
    let hex = kind == "~SEQ" && cursor.take('x');
    cursor.expect('(')?;
    let values = if kind == "~SEQ" { numbers(&mut cursor, hex)? } else { texts(&mut cursor)? };
    cursor.expect(')')?;
    cursor.skip_blanks();
    Ok(Repeat { values, rest: cursor.at })
}

fn numbers(cursor: &mut Cursor<'_>, hex: bool) -> Result<Values, String> {
    let name = cursor.name()?;
    let mut given = Vec::new();
    while cursor.take(',') {
        given.push(number(cursor.until(",)"))?);
    }
    let towards = |start: i64, end: i64| if start <= end { 1 } else { -1 };
    let (start, step, end) = match given[..] {
        // By itself, the end is counted to from 1, or from -1.
        [end] => (if end < 0 { -1 } else { 1 }, if end < 1 { -1 } else { 1 }, end),
        [start, end] => (start, towards(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return Err(format!("it has 1 to 3 numbers, not {}", given.len())),
    };
    if step == 0 || start != end && (step > 0) != (start < end) {
        return Err(format!("steps of {step} do not lead from {start} to {end}"));
    }
    if hex && (start < 0 || end < 0) {
        return Err("a hexadecimal number is not below 0".to_owned());
    }
    Ok(Values::Numbers { name, start, step, end, hex })
}

fn texts(cursor: &mut Cursor<'_>) -> Result<Values, String> {
    let names = match cursor.take('{') {
        true => {
            let mut names = vec![cursor.name()?];
            while cursor.take(',') {
                names.push(cursor.name()?);
            }
            cursor.expect('}')?;
            names
        }
        false => vec![cursor.name()?],
    };
    let mut sets = Vec::new();
    while cursor.take(',') {
        let mut set = match cursor.take('{') {
            true => {
                let mut set = vec![cursor.until(",})").to_owned()];
                while cursor.take(',') {
                    set.push(cursor.until(",})").to_owned());
                }
                cursor.expect('}')?;
                set
            }
            false => vec![cursor.until(",)").to_owned()],
        };
        if set.len() > names.len() {
            return Err(format!("{} values for {} names", set.len(), names.len()));
        }
        set.resize(names.len(), String::new());
        sets.push(set);
    }
    if sets.is_empty() { Err("it has no value".to_owned()) } else { Ok(Values::Texts { names, sets }) }
}

/// Decimal, or as in C with a leading `0x` or `0`.
fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (base, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| format!("`{text}` is not a number"))
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(is_blank).len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let is_there = self.text[self.at..].starts_with(wanted);
        self.at += if is_there { wanted.len_utf8() } else { 0 };
        is_there
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("`{wanted}` is missing")) }
    }

    /// The text up to one of `ends`, without blanks around.
    fn until(&mut self, ends: &str) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| ends.contains(c)).unwrap_or(rest.len());
        self.at += length;
        rest[..length].trim_matches(is_blank)
    }

    fn name(&mut self) -> Result<String, String> {
        let name = self.until(",)}");
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.chars().all(is_of_name) && name.starts_with(|c: char| !c.is_ascii_digit());
        if is_name { Ok(name.to_owned()) } else { Err(format!("`{name}` is not a name")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        let repeat = repeat(text).unwrap();
        assert_eq!(&text[repeat.rest..], "rest");
        let sets = repeat.values.sets().take(9);
        sets.map(|set| set.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn a_sequence_counts_up_or_down_to_its_end() {
        assert_eq!(values("~SEQ(A, 0, 3) rest"), ["A=0", "A=1", "A=2", "A=3"]);
        assert_eq!(values("~SEQ (A,3,1)rest"), ["A=3", "A=2", "A=1"]);
        assert_eq!(values("~SEQ( A , 1 , 2 , 6 )\trest"), ["A=1", "A=3", "A=5"]);
        assert_eq!(values("~SEQ(A,2) rest"), ["A=1", "A=2"]);
        assert_eq!(values("~SEQ(A,-2) rest"), ["A=-1", "A=-2"]);
        assert_eq!(values("~SEQ(A,0) rest"), ["A=1", "A=0"]);
        assert_eq!(values("~SEQx(A, 0x90, 0x10, 0xc0) rest"), ["A=90", "A=a0", "A=b0", "A=c0"]);
        assert_eq!(values("~SEQ(A,010,-1,07) rest"), ["A=8", "A=7"]);
        assert_eq!(values("~SEQ(A,9223372036854775806,9223372036854775807) rest").len(), 2);
    }

    #[test]
    fn a_list_has_one_name_or_several() {
        assert_eq!(values("~LST(A, x, y z ,) rest"), ["A=x", "A=y z", "A="]);
        assert_eq!(values("~LST({A, B}, {10,1},{20} , 30) rest"), ["A=10 B=1", "A=20 B=", "A=30 B="]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, wrong) in [
            ("~SEQ", "`(` is missing"),
            ("~SEQ(A", "1 to 3 numbers, not 0"),
            ("~SEQ(A,1", "`)` is missing"),
            ("~SEQ(A,1,2,3,4)", "not 4"),
            ("~SEQ(A,x)", "`x` is not a number"),
            ("~SEQ(A,)", "`` is not a number"),
            ("~SEQ(A,1,--1,2)", "`--1` is not a number"),
            ("~SEQ(A,1,0,2)", "steps of 0 do not lead from 1 to 2"),
            ("~SEQ(A,1,-1,2)", "steps of -1"),
            ("~SEQx(A,-1)", "not below 0"),
            ("~SEQ(,1)", "`` is not a name"),
            ("~LST(A)", "it has no value"),
            ("~LST({A,B,{1,2})", "is not a name"),
            ("~LST({A,B},{1,2,3})", "3 values for 2 names"),
            ("~LST({A},{1", "`}` is missing"),
        ] {
            let said = repeat(text).unwrap_err();
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }

    #[test]
    fn the_arguments_are_where_definitions_are_replaced() {
        for (text, wanted) in [("~SEQ(A,$B) $C", "A,$B"), ("~SEQ)(", ""), ("~LST(", ""), ("~SEQ", "")] {
            assert_eq!(&text[arguments(text).unwrap()], wanted);
        }
        assert_eq!(arguments("x(~SEQ)"), None);
    }
}

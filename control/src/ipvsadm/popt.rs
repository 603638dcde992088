//! A command line as popt reads it, which clap cannot: short options in one word (`-Ln`), values that stand apart, are glued
//! on (`-w3`) or follow an equals sign (`--weight=3`), one that may be missing (`-p`), and what it says of a word that is none
//! of these.
//!
//! *Invariants*: words are read from left to right, each once; after `--` all words are arguments.
//!
//! popt 1.19: `popt(3)`.

use super::option::{OPTIONS, Takes, Word};

/// The words of a command line that are left to read.
pub struct Words<'a> {
    words: std::slice::Iter<'a, String>,
    /// The rest of a word of short options.
    glued: Option<&'a str>,
    /// The word that was read last.
    last: &'a str,
    only_arguments: bool,
    /// Words that are no options, so far.
    arguments: Vec<&'a str>,
}

/// An option as it was given, with its value if it has one.
pub type Given<'a> = (Word, Option<&'a str>);

/// A word that is no option, and why not.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad<'a> {
    /// The word.
    pub word: &'a str,
    /// Why.
    pub why: &'static str,
}

impl<'a> Words<'a> {
    /// The words after the program's name.
    pub fn new(words: &'a [String]) -> Self {
        Words { words: words.iter(), glued: None, last: "", only_arguments: false, arguments: Vec::new() }
    }

    /// Words that are no options: all of them once the options have been read.
    pub fn arguments(self) -> Vec<&'a str> {
        self.arguments
    }

    fn bad(&self, why: &'static str) -> Bad<'a> {
        Bad { word: self.last, why }
    }

    /// The next word that is an option, and not the rest of one.
    fn option(&mut self) -> Option<&'a str> {
        for word in self.words.by_ref() {
            self.last = word;
            match word.as_str() {
                "--" if !self.only_arguments => self.only_arguments = true,
                "-" => self.arguments.push(word),
                word if !self.only_arguments && word.starts_with('-') => return Some(word),
                word => self.arguments.push(word),
            }
        }
        None
    }

    fn short(&mut self, glued: &'a str) -> Result<Given<'a>, Bad<'a>> {
        let mut letters = glued.chars();
        let letter = letters.next();
        let Some((_, _, takes, word)) = OPTIONS.iter().find(|(short, ..)| *short == letter) else {
            return Err(self.bad(UNKNOWN));
        };
        let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
        match (takes, rest) {
            (Takes::Nothing, Some(rest)) if rest.starts_with('=') => Err(self.bad(UNWANTED)),
            (Takes::Nothing, rest) => {
                self.glued = rest;
                Ok((*word, None))
            }
            (_, Some(rest)) => Ok((*word, Some(rest.strip_prefix('=').unwrap_or(rest)))),
            (takes, None) => self.apart(*takes, *word),
        }
    }

    fn long(&mut self, text: &'a str) -> Result<Given<'a>, Bad<'a>> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some((_, _, takes, word)) = OPTIONS.iter().find(|(_, long, ..)| *long == name) else {
            return Err(self.bad(UNKNOWN));
        };
        match (takes, value) {
            (Takes::Nothing, Some(_)) => Err(self.bad(UNWANTED)),
            (Takes::Nothing, None) => Ok((*word, None)),
            (_, Some(value)) => Ok((*word, Some(value))),
            (takes, None) => self.apart(*takes, *word),
        }
    }

    /// The value is the next word, whatever it looks like; but one that may be missing does not look like an option.
    fn apart(&mut self, takes: Takes, word: Word) -> Result<Given<'a>, Bad<'a>> {
        let is_value = |next: &String| takes == Takes::Value || !next.starts_with('-');
        match self.words.as_slice().first().filter(|next| is_value(next)) {
            Some(value) => {
                self.words.next();
                self.last = value;
                Ok((word, Some(value)))
            }
            None if takes == Takes::Perhaps => Ok((word, None)),
            None => Err(self.bad("missing argument")),
        }
    }
}

const UNKNOWN: &str = "unknown option";
const UNWANTED: &str = "option does not take an argument";

impl<'a> Iterator for Words<'a> {
    type Item = Result<Given<'a>, Bad<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(glued) = self.glued.take() {
            return Some(self.short(glued));
        }
        let word = self.option()?;
        Some(match word.strip_prefix("--") {
            Some(long) => self.long(long),
            None => self.short(&word[1..]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::option::{Forward, Kind, Verb};
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_glued_apart_and_with_an_equals_sign() {
        let line = words("-an --weight=3 -w4 -w=5 -w 6 x -p -p 7 -- -L");
        let mut read = Words::new(&line);
        let given: Vec<_> = read.by_ref().map(|word| word.unwrap()).collect();
        let weight = |value| (Word::Plain(Kind::Weight), Some(value));
        let persistent = |value| (Word::Plain(Kind::Persistent), value);
        assert_eq!(
            given,
            [
                (Word::Verb(Verb::AddReal), None),
                (Word::Plain(Kind::Numeric), None),
                weight("3"),
                weight("4"),
                weight("5"),
                weight("6"),
                persistent(None),
                persistent(Some("7")),
            ]
        );
        assert_eq!(read.arguments(), ["x", "-L"]);
    }

    #[test]
    fn a_value_that_must_be_there_may_look_like_an_option() {
        let line = words("-w -1 -m");
        let given: Vec<_> = Words::new(&line).map(|word| word.unwrap()).collect();
        assert_eq!(
            given,
            [(Word::Plain(Kind::Weight), Some("-1")), (Word::Forward(Forward::Masquerading), None)]
        );
    }

    #[test]
    fn what_is_no_option_is_said_in_popts_words() {
        let bad = |line: &str| {
            let line = words(line);
            let bad = Words::new(&line).find_map(Result::err).expect("it is bad");
            format!("{}: {}", bad.word, bad.why)
        };
        assert_eq!(bad("-Lq"), "-Lq: unknown option");
        assert_eq!(bad("-L --nonsense=3"), "--nonsense=3: unknown option");
        assert_eq!(bad("-A -t"), "-t: missing argument");
        assert_eq!(bad("-L --stats=yes"), "--stats=yes: option does not take an argument");
        assert_eq!(bad("-é"), "-é: unknown option");
    }
}

//! Lines of TOML.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::config::resolve::spell;

/// What is written so far.
#[derive(Default)]
pub(super) struct Page {
    /// It.
    pub(super) text: String,
}

impl Page {
    /// A header, after a blank line.
    pub(super) fn table(&mut self, header: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(self.text, "{gap}{header}");
    }

    /// A key and its value, in TOML.
    pub(super) fn set(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    /// The same, unless leaving it out says so too.
    pub(super) fn set_unless<T: Display + PartialEq>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.set(key, value);
        }
    }
}

/// A duration in TOML.
pub(super) fn duration(duration: Duration) -> String {
    format!("\"{}\"", spell(duration))
}

/// A string in TOML, on one line.
pub(super) fn string(value: &str) -> String {
    // The crate would write text with a newline in it on several lines, which no inline table takes.
    match value.contains('\n') {
        true => toml_escaped(value),
        false => toml::Value::from(value).to_string(),
    }
}

/// An array of strings in TOML.
pub(super) fn strings<'a>(values: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", values.map(string).collect::<Vec<_>>().join(", "))
}

fn toml_escaped(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text += &format!("\\u{:04X}", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_one_line_and_is_read_as_it_was() {
        for text in ["", "a", "a\"b'c\\d", "a\nb\t\"c\"\\", "\u{7f}\u{1}\u{fc}", "'''\n\"\"\"", "\r\n"] {
            let line = format!("x = {}", string(text));
            assert!(!line.contains('\n'), "{line}");
            let table: toml::Table = line.parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }
}

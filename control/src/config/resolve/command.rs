//! Programs to run: a line that is split into words as a shell does, or the words themselves; and whose rights they
//! have.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::timeouts::LONGEST;
use super::value;
use crate::config::error::quote;
use crate::config::file::{self, Words};
use crate::config::keys;
use crate::model::{Command, User};

const SHORTEST: Duration = Duration::from_millis(1);

/// The program at `path`, if one is there; `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    typed: Option<&Spanned<file::Command>>,
    path: &str,
) -> Option<Option<Command>> {
    let Some(table) = typed else { return Some(None) };
    let (span, typed) = (table.span(), table.get_ref());
    let argv = typed.run.as_ref().and_then(|run| argv(report, run, path, &span, "command.run"));
    let user = user(report, typed.user.as_ref(), typed.group.as_ref(), path);
    let timeout = match &typed.timeout {
        Some(text) => {
            value::duration(report, text, &keys::join(path, "timeout"), SHORTEST..=LONGEST).map(Some)
        }
        None => Some(None),
    };
    Some(Some(Command { argv: argv?, user: user?, timeout: timeout? }))
}

/// A program and its arguments. `table`, `key`: where they stand; a fault there explains that nothing is left of them.
pub(super) fn argv(
    report: &mut Report,
    typed: &Spanned<Words>,
    path: &str,
    table: &Range<usize>,
    key: &'static str,
) -> Option<Vec<String>> {
    let argv = match typed.get_ref() {
        Words::Words(words) => Ok(words.clone()),
        Words::Line(line) => split(line).map_err(|why| format!("{} {why}", quote(line))),
    };
    let fault = argv.and_then(|argv| match argv.first().map(String::as_str) {
        None | Some("") => Err("no program".to_owned()),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            Err(format!("{} is a relative path", quote(program)))
        }
        _ if argv.iter().any(|word| word.contains('\0')) => {
            Err("has a NUL, which no program can be given".into())
        }
        _ => Ok(argv),
    });
    match fault {
        Ok(argv) => Some(argv),
        Err(message) => {
            if report.is_missing(table, key) {
                let help = "give an absolute path and the arguments: \"/usr/local/bin/up.sh web\", or each word for \
                            itself: [\"/usr/local/bin/up.sh\", \"web\"]";
                report.error(typed.span(), path, message, help);
            }
            None
        }
    }
}

/// Whose rights a program has, if it is said; `None` after an error.
pub(super) fn user(
    report: &mut Report,
    user: Option<&Spanned<String>>,
    group: Option<&Spanned<String>>,
    path: &str,
) -> Option<Option<User>> {
    let one = |report: &mut Report, typed: &Spanned<String>, key| {
        value::token(report, typed, &keys::join(path, key), "name or number")
    };
    let Some(user) = user else {
        let Some(group) = group else { return Some(None) };
        let help = "say whose group it is: user = \"nobody\"";
        report.error(group.span(), &keys::join(path, "group"), "a group without a user", help);
        return None;
    };
    let name = one(report, user, "user");
    let group = match group {
        Some(group) => one(report, group, "group").map(Some),
        None => Some(None),
    };
    Some(Some(User { name: name?, group: group? }))
}

/// The words of a line: blanks part them, quotes and backslashes keep them together. Nothing else of a shell is there.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a ' without its other"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => word.push(chars.next().ok_or("ends with a \\")?),
                        Some(c) => word.push(c),
                        None => return Err("has a \" without its other"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("ends with a \\")?),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_part_words_and_quotes_keep_them_together() {
        for (line, words) in [
            ("/bin/a", &["/bin/a"] as &[&str]),
            ("  /bin/a  b\tc ", &["/bin/a", "b", "c"]),
            (r#"/bin/a "b c" 'd "e' f\ g"#, &["/bin/a", "b c", "d \"e", "f g"]),
            (r#"/bin/a x"y z"w "" ''"#, &["/bin/a", "xy zw", "", ""]),
            (r#"/bin/a "\"\\" '\'"#, &["/bin/a", "\"\\", "\\"]),
            ("/bin/a $HOME | b > c", &["/bin/a", "$HOME", "|", "b", ">", "c"]),
            ("", &[]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for bad in ["a 'b", "a \"b", "a \\", "a \"b\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}

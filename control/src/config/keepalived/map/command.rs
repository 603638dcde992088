//! Programs to run, and whose rights they have.

use super::super::report::Report;
use super::super::tree::{Word, script_words};
use super::section::Line;
use super::value::named;
use crate::model::{Command, User};

const HELP: &str = "give the program and its arguments in one pair of quotes, then a user and a group if need be: \
                    \"/usr/local/bin/told up\" nobody";

/// `PROGRAM [USER [GROUP]]`; the program and its arguments are one word, in quotes if there are arguments.
pub(super) fn command(report: &mut Report, line: &Line<'_>) -> Option<Command> {
    let words = split(report, line, &line.statement.rest)?;
    if words.len() > 3 {
        let message = format!("{} has {} words", named(line.key.name), words.len());
        report.error(line.at(), line.path(), message, HELP);
        return None;
    }
    let (program, user) = words.split_first()?;
    let argv = split(report, line, &Word { text: program.clone(), at: line.statement.rest.at.clone() })?;
    let user = user.first().map(|name| User { name: name.clone(), group: user.get(1).cloned() });
    Some(Command { argv, user, timeout: None })
}

/// `USER [GROUP]`
pub(super) fn user(line: &Line<'_>) -> Option<User> {
    let name = line.word(0)?.text.clone();
    Some(User { name, group: line.word(1).map(|group| group.text.clone()) })
}

/// The words of a command line; at least one, the first not empty.
fn split(report: &mut Report, line: &Line<'_>, text: &Word) -> Option<Vec<String>> {
    let message = match script_words(text) {
        Ok(words) if words.first().is_some_and(|word| !word.trim().is_empty()) => return Some(words),
        Ok(_) => format!("{} names no program", named(line.key.name)),
        Err(message) => message,
    };
    report.error(line.at(), line.path(), message, HELP);
    None
}

//! Programs to run, and whose rights they have.

use super::super::report::Report;
use super::super::tree::{Word, script_words};
use super::section::Line;
use super::value::{self, named};
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
    // A name without a / is looked for in the PATH.
    if argv.first().is_some_and(|program| program.contains('/') && !program.starts_with('/')) {
        let message = format!("{} is a relative path", named(&argv[0]));
        report.error(
            line.at(),
            line.path(),
            message,
            "begin with a /: shunt may be started in any directory",
        );
        return None;
    }
    let at = &line.statement.rest.at;
    let mut owner = user.iter().map(|text| {
        let word = Word { text: text.clone(), at: at.clone() };
        value::token(report, &word, line.path())
    });
    let user = match (owner.next(), owner.next()) {
        (None, _) => None,
        (Some(name), None) => Some(User { name: name?, group: None }),
        (Some(name), Some(group)) => Some(User { name: name?, group: Some(group?) }),
    };
    Some(Command { argv, user, timeout: None })
}

/// `PROGRAM`; the program and its arguments are one word, in quotes if there are arguments.
pub(super) fn check(report: &mut Report, line: &Line<'_>) -> Option<Command> {
    let command = command(report, line)?;
    if command.user.is_some() {
        let message = format!("{} has more than one word", named(line.key.name));
        let help = "give the program and its arguments in one pair of quotes, and its user on a line of its own: user \
                    nobody";
        report.error(line.at(), line.path(), message, help);
        return None;
    }
    Some(command)
}

/// `USER [GROUP]`
pub(super) fn user(report: &mut Report, line: &Line<'_>) -> Option<User> {
    let name = value::token(report, line.word(0)?, line.path());
    let group = match line.word(1) {
        Some(group) => Some(value::token(report, group, line.path())?),
        None => None,
    };
    Some(User { name: name?, group })
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

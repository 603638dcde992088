//! `shunt plan`, `shunt apply`: what the command line makes of a plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Plan, render};
use crate::admin::client;
use crate::admin::protocol::{Answer, Request};
use crate::config;

/// How long a confirmation is awaited: whole seconds, at most a day.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn confirm_time(text: &str) -> Result<Duration, String> {
    let day = Duration::from_secs(86_400);
    match config::duration(text) {
        Some(time) if time.subsec_nanos() == 0 && !time.is_zero() && time <= day => Ok(time),
        Some(_) => Err("give whole seconds from 1s to 24h".to_owned()),
        None => Err("write a whole number and its unit, s, m or h: 60s".to_owned()),
    }
}

/// Has the daemon plan `file`; as text for people, or as JSON.
///
/// # Errors
/// Why there is no plan.
pub fn plan(socket: &Path, file: &Path, json: bool) -> Result<String, String> {
    let answer = asked(socket, Request::Plan { path: absolute(file)? })?;
    match json {
        true => Ok(format!("{:#}\n", answer.data)),
        false => Ok(render(&read(&answer)?)),
    }
}

/// Has the daemon plan `file`, says so with `say`, and has it brought into force; what the daemon says of that.
///
/// # Errors
/// Why the file is not in force.
pub fn apply(
    socket: &Path,
    file: &Path,
    confirm: Option<Duration>,
    say: impl FnOnce(&str),
) -> Result<String, String> {
    let path = absolute(file)?;
    let plan = read(&asked(socket, Request::Plan { path: path.clone() })?)?;
    say(&render(&plan));
    let confirm_seconds = confirm.map(|time| time.as_secs());
    let answer = asked(socket, Request::Apply { path, model: Some(plan.model), confirm_seconds })?;
    Ok(format!("{}\n", answer.data.as_str().unwrap_or_default()))
}

/// The daemon has another working directory.
fn absolute(file: &Path) -> Result<PathBuf, String> {
    std::path::absolute(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn asked(socket: &Path, request: Request) -> Result<Answer, String> {
    let answer = client::ask(socket, request)?;
    match answer.error {
        Some(why) => Err(why),
        None => Ok(answer),
    }
}

fn read(answer: &Answer) -> Result<Plan, String> {
    serde_json::from_value(answer.data.clone())
        .map_err(|error| format!("the daemon is of another version: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_awaited_for_whole_seconds_of_a_day_at_most() {
        assert_eq!(confirm_time("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(confirm_time("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "60", "0s", "500ms", "25h", "soon", "-5s", "99999999999999999999s"] {
            assert!(confirm_time(bad).is_err(), "{bad}");
        }
    }
}

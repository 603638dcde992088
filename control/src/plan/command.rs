//! `shunt plan`, `shunt apply`, `shunt confirm`, `shunt rollback`: what the command line makes of a plan.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use serde_json::Value;

use super::{Plan, render};
use crate::admin::client;
use crate::admin::protocol::Request;
use crate::config::resolve::parse_duration;
use crate::config::{Bundle, Options};

/// The words.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a configuration would change, and what would become of the flows of a running director
    Plan {
        /// The configuration, in any format
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Plan a configuration and bring it into force, for good or on trial
    Apply {
        /// The configuration, in any format
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Go back by itself unless `shunt confirm` follows within this: 60s, 2m; 1s to 24h
        #[arg(long, value_name = "TIME", value_parser = confirm_time)]
        confirm: Option<Duration>,
    },
    /// What was applied on trial stays
    Confirm,
    /// What was applied on trial goes at once
    Rollback,
}

impl Command {
    /// Says it to the daemon, and what comes of it to `say`; what is to be seen before, to `show`.
    ///
    /// # Errors
    /// What is wrong with the configuration, why it is refused, or why the daemon does not answer.
    pub fn run(
        self,
        socket: &Path,
        reading: &Options,
        say: impl FnOnce(&str) -> anyhow::Result<()>,
        show: impl FnOnce(&str),
    ) -> anyhow::Result<()> {
        let words = match self {
            Command::Plan { file, json } => {
                let plan = ask(socket, Request::Plan { configuration: bundle(&file, reading)? })?;
                return match json {
                    true => say(&format!("{plan:#}\n")),
                    false => say(&render(&understood(plan)?)),
                };
            }
            Command::Apply { file, confirm } => {
                let configuration = bundle(&file, reading)?;
                let plan = ask(socket, Request::Plan { configuration: configuration.clone() })?;
                // The plan is for who looks; what came of it is the answer.
                show(&render(&understood(plan)?));
                let confirm_seconds = confirm.map(|time| time.as_secs());
                ask(socket, Request::Apply { configuration, confirm_seconds })?
            }
            Command::Confirm => ask(socket, Request::Confirm)?,
            Command::Rollback => ask(socket, Request::Rollback)?,
        };
        say(&format!("{}\n", words.as_str().unwrap_or_default()))
    }
}

/// How long a confirmation is awaited: whole seconds, at most a day.
fn confirm_time(text: &str) -> Result<Duration, String> {
    let day = Duration::from_secs(86_400);
    match parse_duration(text) {
        Some(time) if time.subsec_nanos() == 0 && !time.is_zero() && time <= day => Ok(time),
        Some(_) => Err("give whole seconds from 1s to 24h".to_owned()),
        None => Err("write a whole number and its unit, s, m or h: 60s".to_owned()),
    }
}

fn bundle(file: &Path, reading: &Options) -> anyhow::Result<Bundle> {
    let color = std::io::stderr().is_terminal();
    Bundle::read(file, reading).map_err(|faults| anyhow!("{}{}", faults.render(color), faults.summary()))
}

fn ask(socket: &Path, request: Request) -> anyhow::Result<Value> {
    let answer = client::ask(socket, request).map_err(anyhow::Error::msg)?;
    match answer.error {
        Some(why) => bail!(why),
        None => Ok(answer.data),
    }
}

fn understood(plan: Value) -> anyhow::Result<Plan> {
    serde_json::from_value(plan).context("the daemon is of another version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_awaited_for_whole_seconds_of_a_day_at_most() {
        assert_eq!(confirm_time("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(confirm_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(confirm_time("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "60", "0s", "500ms", "25h", "soon", "-5s", "99999999999999999999s"] {
            assert!(confirm_time(bad).is_err(), "{bad}");
        }
    }
}

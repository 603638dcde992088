//! What was found, for a person and for a program.
//!
//! *Invariants*
//! - a line begins with `ok`, `warn` or `fail`; what is to be done stands in the line below, and after `run: ` is nothing
//!   but the command, to be copied as it is;
//! - nothing that a stranger wrote reaches the terminal unescaped.

use std::fmt::Write;

use serde::Serialize;

use crate::config::error::printable;

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but worse than it could, or it could not be looked at.
    Warn,
    /// shunt does not run here, or does not serve clients.
    Fail,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fix {
    /// A command for a shell of root's on this host.
    Run(String),
    /// A command for a shell of root's on another host.
    Elsewhere {
        /// Which, as far as it is known: an address.
        on: String,
        /// The command.
        run: String,
    },
    /// What no command does.
    Advice(String),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good it is.
    pub level: Level,
    /// What was looked at: `kernel`, `eth0 queues`, `192.0.2.10 arp`.
    pub check: String,
    /// What was found.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, check: check.into(), what: what.into(), fix: None }
    }

    /// It could be better.
    pub fn warn(check: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, ..Finding::ok(check, what) }
    }

    /// It cannot stay so.
    pub fn fail(check: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, ..Finding::ok(check, what) }
    }

    /// It was not looked at, for want of rights.
    pub fn unseen(check: impl Into<String>, what: &str) -> Finding {
        Finding::warn(check, format!("not looked at: {what}")).run("sudo shunt doctor")
    }

    /// With the command that mends it, here.
    pub fn run(self, command: impl Into<String>) -> Finding {
        Finding { fix: Some(Fix::Run(command.into())), ..self }
    }

    /// With the command that mends it, on another host.
    pub fn run_on(self, on: impl Into<String>, command: impl Into<String>) -> Finding {
        Finding { fix: Some(Fix::Elsewhere { on: on.into(), run: command.into() }), ..self }
    }

    /// With what to do, where no command does it.
    pub fn advise(self, words: impl Into<String>) -> Finding {
        Finding { fix: Some(Fix::Advice(words.into())), ..self }
    }

    fn render(&self, text: &mut String) {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        let mut line = format!("{level:<4}  {}: {}", self.check, self.what);
        match &self.fix {
            Some(Fix::Run(command)) => write!(line, "\n      run: {command}"),
            Some(Fix::Elsewhere { on, run }) => write!(line, "\n      on {on} run: {run}"),
            Some(Fix::Advice(words)) => write!(line, "\n      do: {words}"),
            None => Ok(()),
        }
        .expect("writing to a string");
        for line in line.lines() {
            writeln!(text, "{}", printable(line)).expect("writing to a string");
        }
    }
}

impl Report {
    /// How many findings are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// As text, a line or two a finding; or as JSON.
    pub fn render(&self, json: bool) -> String {
        if json {
            let whole = serde_json::json!({
                "ok": self.count(Level::Fail) == 0,
                "findings": self.findings,
            });
            return format!("{whole:#}\n");
        }
        let mut text = String::new();
        self.findings.iter().for_each(|finding| finding.render(&mut text));
        text
    }

    /// The last line: `1 fail, 2 warn, 30 ok`.
    pub fn summary(&self) -> String {
        let count = |level| self.count(level);
        format!("{} fail, {} warn, {} ok", count(Level::Fail), count(Level::Warn), count(Level::Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            findings: vec![
                Finding::ok("kernel", "Linux 6.18"),
                Finding::warn("eth0 queues", "1 of 2").run("ethtool -L eth0 combined 2"),
                Finding::fail("192.0.2.10 arp", "a leak\u{1b}[2J").run_on("192.0.2.21", "sysctl -w a=1"),
            ],
        }
    }

    #[test]
    fn a_finding_is_a_line_and_the_command_that_mends_it_another() {
        let expected = "ok    kernel: Linux 6.18\n\
                        warn  eth0 queues: 1 of 2\n      run: ethtool -L eth0 combined 2\n\
                        fail  192.0.2.10 arp: a leak\u{fffd}[2J\n      on 192.0.2.21 run: sysctl -w a=1\n";
        assert_eq!(report().render(false), expected);
        assert_eq!(report().summary(), "1 fail, 1 warn, 1 ok");
    }

    #[test]
    fn a_program_reads_the_same() {
        let json: serde_json::Value = serde_json::from_str(&report().render(true)).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][1]["fix"]["run"], "ethtool -L eth0 combined 2");
        assert_eq!(json["findings"][2]["fix"]["elsewhere"]["on"], "192.0.2.21");
        assert_eq!(json["findings"][0].get("fix"), None);
    }
}

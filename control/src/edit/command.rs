//! `shunt weight`, `shunt drain` and `shunt undrain`: changes from the command line.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Subcommand;
use serde_json::Value;

use super::Edit;
use crate::admin::client;
use crate::admin::protocol::{Request, What};
use crate::config::resolve::parse_duration;

/// Between two looks at a real server that drains.
const LOOK: Duration = Duration::from_millis(500);

/// Most flows that are looked at for how long the silent ones may last.
const SAMPLE: usize = 10_000;

/// The words.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a real server a weight: its share of new flows
    Weight {
        /// Its address
        #[arg(value_name = "REAL")]
        real: IpAddr,
        /// 0-65535; 0: no new flows
        #[arg(value_name = "N")]
        weight: u16,
        /// In this service only, as it is shown: 192.0.2.10:80/tcp
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
    },
    /// Let a real server take no new flows and keep the ones it has
    Drain {
        /// Its address
        #[arg(value_name = "REAL")]
        real: IpAddr,
        /// Wait until it has none left
        #[arg(long)]
        wait: bool,
        /// Wait no longer than this: 90s, 10m, 1h [default: as long as it takes]
        #[arg(long, value_name = "TIME", requires = "wait", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Give a real server that was drained the weight that it had
    Undrain {
        /// Its address
        #[arg(value_name = "REAL")]
        real: IpAddr,
    },
}

impl Command {
    /// Says it to the daemon, and what comes of it to `say`.
    ///
    /// # Errors
    /// It is refused, the daemon does not answer, or the flows did not end in time.
    pub fn run(self, socket: &Path, mut say: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut make = |edit: Edit| -> anyhow::Result<()> {
            let answer = ask(socket, Request::Edit { edits: vec![edit.clone()] })?;
            say(&format!("{edit}: {}\n", answer.as_str().unwrap_or_default()))
        };
        match self {
            Command::Weight { real, weight, service } => make(Edit::Weight { real, service, weight }),
            Command::Undrain { real } => make(Edit::Undrain { real }),
            Command::Drain { real, wait, timeout } => {
                make(Edit::Drain { real })?;
                let left = Left::of(socket, real)?;
                say(&format!("{left}{}\n", silent_for(socket, real)?))?;
                if wait { wait_for(socket, real, left, timeout, say) } else { Ok(()) }
            }
        }
    }
}

/// What a real server has left, in all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    active: u64,
    inactive: u64,
    /// Clients that persistence still sends to it.
    clients: u64,
}

impl Left {
    fn of(socket: &Path, real: IpAddr) -> anyhow::Result<Left> {
        let view = ask(socket, Request::Show { what: What::Reals, limit: 0 })?;
        Ok(Left::in_view(&view, real))
    }

    fn in_view(view: &Value, real: IpAddr) -> Left {
        let real = real.to_string();
        let rows = view["reals"].as_array().map_or(&[][..], Vec::as_slice);
        let sum = |key: &str| {
            let rows = rows.iter().filter(|row| row["address"] == real.as_str());
            rows.filter_map(|row| row[key].as_u64()).sum()
        };
        Left { active: sum("active"), inactive: sum("inactive"), clients: sum("templates") }
    }

    fn total(self) -> u64 {
        self.active + self.inactive + self.clients
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Left { active, inactive, clients } = self;
        match (active + inactive, clients) {
            (0, 0) => f.write_str("no flows left"),
            (flows, clients) => {
                let flows = crate::config::counted(usize::try_from(flows).unwrap_or(usize::MAX), "flow");
                write!(f, "{flows} left ({active} active, {inactive} ending or silent)")?;
                match clients {
                    0 => Ok(()),
                    clients => write!(f, ", {clients} clients still sent to it by persistence"),
                }
            }
        }
    }
}

/// How long what is left lasts if it stays silent: the least that can be promised.
fn silent_for(socket: &Path, real: IpAddr) -> anyhow::Result<String> {
    let view = ask(socket, Request::Show { what: What::Flows, limit: SAMPLE })?;
    let real = real.to_string();
    let rows = view["flows"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = rows.iter().filter(|row| row["real"] == real.as_str());
    let longest = rows.filter_map(|row| row["expires_seconds"].as_u64()).max();
    Ok(longest.map_or_else(String::new, |seconds| {
        format!("; those that stay silent are forgotten within {}", spoken(Duration::from_secs(seconds)))
    }))
}

/// Looks until nothing is left; says when that changes.
fn wait_for(
    socket: &Path,
    real: IpAddr,
    first: Left,
    timeout: Option<Duration>,
    mut say: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut last = first;
    while last.total() > 0 {
        if let Some(timeout) = timeout.filter(|timeout| begin.elapsed() >= *timeout) {
            bail!(
                "{real} has not drained within {}: {last}. Wait on with `shunt drain {real} --wait`, or take it away and \
                 break them",
                spoken(timeout)
            );
        }
        std::thread::sleep(LOOK);
        let left = Left::of(socket, real)?;
        if left != last {
            let estimate = estimate(first.total(), left.total(), begin.elapsed());
            let estimate =
                estimate.map_or_else(String::new, |rest| format!("; at this rate {} more", spoken(rest)));
            say(&format!("{left}{estimate}\n"))?;
            last = left;
        }
    }
    Ok(())
}

/// How long the rest takes if it goes on as it went.
fn estimate(first: u64, left: u64, took: Duration) -> Option<Duration> {
    let ended = first.checked_sub(left).filter(|ended| *ended > 0 && left > 0)?;
    Duration::try_from_secs_f64(took.as_secs_f64() * left as f64 / ended as f64).ok()
}

/// A time for people: whole seconds or minutes.
fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "write a whole number and its unit, ms, s, m, h or d: 90s, 10m, 1h".to_owned())
}

fn ask(socket: &Path, request: Request) -> anyhow::Result<Value> {
    let answer = client::ask(socket, request).map_err(anyhow::Error::msg)?;
    match answer.error {
        Some(why) => bail!(why),
        None => Ok(answer.data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_is_counted_over_all_services() {
        let view = json!({ "reals": [
            { "address": "192.0.2.21", "active": 2, "inactive": 1, "templates": 0 },
            { "address": "192.0.2.21", "active": 1, "inactive": 0 },
            { "address": "192.0.2.22", "active": 7, "inactive": 7, "templates": 7 },
        ]});
        let left = Left::in_view(&view, "192.0.2.21".parse().unwrap());
        assert_eq!(left, Left { active: 3, inactive: 1, clients: 0 });
        assert_eq!(left.to_string(), "4 flows left (3 active, 1 ending or silent)");
        assert_eq!(Left { active: 0, inactive: 0, clients: 0 }.to_string(), "no flows left");
    }

    #[test]
    fn the_rest_takes_as_long_as_what_went_took() {
        let second = Duration::from_secs(1);
        assert_eq!(estimate(10, 5, 30 * second), Some(30 * second));
        assert_eq!(estimate(10, 9, 10 * second), Some(90 * second));
        assert_eq!(
            (estimate(10, 10, second), estimate(10, 0, second), estimate(1, 2, second)),
            (None, None, None)
        );
        assert_eq!((spoken(90 * second), spoken(601 * second)), ("90 s".to_owned(), "11 min".to_owned()));
    }
}

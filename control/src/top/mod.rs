//! `shunt top`: what a running director does, as it does it. Counters say what has been; whoever looks for trouble wants to
//! know what goes on now, and what has just changed.
//!
//! *Invariants*
//! - `sample` is what was said, `rates` what that means against the time before, `view` how it is drawn: each is a
//!   function of the one before, and none of them asks, waits or prints.
//! - Whoever asks does so on a thread of its own: a director that hangs holds up neither the keys nor the end.
//! - The terminal is what it was before, however this ends: key, signal, error or panic.
//!
//! In the spirit of `ipvsadm --rate`, which smooths over eight seconds; these rates are those of the last interval.

mod event;
mod keys;
mod rates;
mod sample;
mod terminal;
mod view;

use std::io::IsTerminal;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::admin::client;
use crate::admin::protocol::{Request, What};
use crate::config::resolve::parse_duration;
use rates::Board;
use sample::Sample;
use view::Look;

/// Shortest time between two looks: the answers are made on the control thread, which has other things to do.
const SHORTEST: Duration = Duration::from_millis(200);
/// Columns of a frame that is printed.
const PRINTED: usize = 80;
/// Views that one sample is made of.
const VIEWS: [What; 6] = [What::Services, What::Reals, What::Workers, What::Health, What::Vrrp, What::Drops];

/// The arguments.
#[derive(Debug, Args)]
pub struct Top {
    /// Time between two looks: 500ms, 2s; at least 200ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print one frame, of one interval, and end; so it does too where standard output is no terminal
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Shows the director at `socket` until the user has seen enough; a frame that is printed goes to `out`.
    ///
    /// # Errors
    /// A single frame: there is no answer, and why. Else: the terminal cannot be used.
    pub fn run(self, socket: &Path, out: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if !self.once && is_terminal {
            return terminal::run(socket, self.interval);
        }
        let mut board = Board::default();
        for _ in 0..2 {
            if board.now.is_some() {
                thread::sleep(self.interval);
            }
            board.hear(Instant::now(), Ok(ask(socket).map_err(anyhow::Error::msg)?));
        }
        out(&view::text(&board, &Look::default(), PRINTED))
    }
}

/// All that is to be seen, from the daemon.
fn ask(socket: &Path) -> Result<Sample, String> {
    let mut views = Vec::with_capacity(VIEWS.len());
    for what in VIEWS {
        let answer = client::ask(socket, Request::Show { what, limit: 0 })?;
        match answer.error {
            Some(why) => return Err(why),
            None => views.push(answer.data),
        }
    }
    let views: [Value; 6] = views.try_into().expect("one for each view that was asked for");
    Ok(Sample::of(Instant::now(), &views))
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = parse_duration(text).context("a time such as 500ms, 2s or 1m")?;
    if interval < SHORTEST || interval > Duration::from_secs(3600) {
        bail!("between 200ms and 1h");
    }
    Ok(interval)
}

//! The command line of `shunt capture`.

use std::fs::File as StdFile;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use shunt_dataplane::recorder::MAX_SNAP;
use tokio::signal::unix::{SignalKind, signal};

use super::filter::Filter;
use super::pcapng::File;
use super::protocol::{Ask, Batch, Count, Row, Started, Stopped};
use super::words;
use crate::admin::client;
use crate::admin::protocol::Request;
use crate::config::counted;
use crate::config::resolve::parse_duration;

/// Between two looks for more.
const POLL: Duration = Duration::from_millis(50);

/// The arguments.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write a pcapng file, which Wireshark and tshark read; - is standard output [default: a line for each frame]
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after so many frames
    #[arg(short = 'c', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Most bytes kept of a frame
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = MAX_SNAP,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SNAP)))]
    snaplen: u16,
    /// End after this time: 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "last")]
    duration: Option<Duration>,
    /// Show what has been: the flight recorder's frames of so long, as they were received
    #[arg(long, value_name = "TIME", value_parser = duration)]
    last: Option<Duration>,
    /// Which frames, in tcpdump's words (host, net, port, src, dst, tcp, udp, sctp, icmp, and, or, not) and in shunt's:
    /// verdict forward|drop|answer, reason NAME, service VIP:PORT/PROTOCOL, real ADDRESS [default: all]
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    filter: Vec<String>,
}

impl Arguments {
    /// Captures until it is over, by itself or by a signal; says on standard error what came of it.
    ///
    /// # Errors
    /// The filter is wrong, the daemon refuses or does not answer, or what is captured cannot be written.
    pub fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let filter = self.filter.join(" ");
        Filter::parse(&filter).map_err(anyhow::Error::msg)?;
        // Before anything is captured.
        let file = self.write.as_deref().map(Target::open).transpose()?;
        let last_ms = self.last.map(|last| u64::try_from(last.as_millis()).unwrap_or(u64::MAX));
        let start = Ask::Start { filter: filter.clone(), snap: self.snaplen, last_ms };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("signals cannot be waited for")?;
        runtime.block_on(async {
            // Caught from here on: a capture that has begun is ended in order.
            let mut signals = Signals::catch()?;
            let started: Started = ask(socket, start)?;
            if self.last.is_none() {
                complain(&format!("capturing on {}; Ctrl-C ends it\n", started.interfaces.join(", ")));
            }
            let sink = match file {
                Some(target) => Sink::File(self.begin(target, &started, &filter)?),
                None => Sink::Lines,
            };
            let mut tally = Tally::default();
            let done = self.follow(socket, started.id, sink, &mut tally, &mut signals).await;
            self.say(&tally);
            done
        })
    }

    fn begin(&self, target: Target, started: &Started, filter: &str) -> anyhow::Result<File<Output>> {
        let begin = |output| File::begin(output, &started.interfaces, filter, self.snaplen);
        target.empty().and_then(begin).map_err(|error| self.unwritable(error, 0))
    }

    async fn follow(
        &self,
        socket: &Path,
        id: u64,
        mut sink: Sink,
        tally: &mut Tally,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let until = self.duration.map(|duration| Instant::now() + duration);
        let mut is_over = false;
        let written = loop {
            let batch: Batch = ask(socket, Ask::Read { id })?;
            tally.counts.clone_from(&batch.counts);
            tally.not_recorded = batch.not_recorded;
            let left = self.count.map_or(u64::MAX, |count| count - tally.frames);
            let mut wanted = batch.frames.iter().take(usize::try_from(left).unwrap_or(usize::MAX));
            let written = wanted.try_for_each(|row| sink.write(row).inspect(|()| tally.frames += 1));
            let written = written.and_then(|()| sink.flush());
            let is_full = self.count == Some(tally.frames);
            // What was captured before the end is read before it.
            if written.is_err() || is_full || (!batch.more && (is_over || self.last.is_some())) {
                break written;
            }
            let pause = if batch.more { Duration::ZERO } else { POLL };
            is_over |= signals.within(pause).await || until.is_some_and(|until| Instant::now() >= until);
        };
        // It ends by itself if the daemon does not hear of it.
        if let Ok(Stopped { counts }) = ask(socket, Ask::Stop { id }) {
            tally.counts = counts;
        }
        match written.and_then(|()| sink.end(&tally.counts)) {
            Err(error) if is_broken_pipe(&error) => Ok(()),
            written => written.map_err(|error| self.unwritable(error, tally.frames)),
        }
    }

    fn unwritable(&self, error: io::Error, frames: u64) -> anyhow::Error {
        let name = self.write.as_deref().filter(|path| *path != Path::new("-"));
        let name = name.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        anyhow!(
            "{name}: {error}: what came after {} is not there",
            counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame")
        )
    }

    fn say(&self, tally: &Tally) {
        let frames = counted(usize::try_from(tally.frames).unwrap_or(usize::MAX), "frame");
        let lost: u64 = tally.counts.iter().map(|count| count.lost).sum();
        let more = match self.last {
            Some(_) => format!("{} more in that time were not recorded", tally.not_recorded),
            None => format!("{lost} lost"),
        };
        complain(&format!("{frames} captured, {more}\n"));
    }
}

/// What was captured so far.
#[derive(Default)]
struct Tally {
    frames: u64,
    counts: Vec<Count>,
    not_recorded: u64,
}

/// Where frames go.
enum Sink {
    File(File<Output>),
    Lines,
}

impl Sink {
    fn write(&mut self, row: &Row) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write(row),
            Sink::Lines => writeln!(io::stdout(), "{}", words::line(row)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.writer().flush(),
            Sink::Lines => io::stdout().flush(),
        }
    }

    fn end(self, counts: &[Count]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.end(counts)?.flush(),
            Sink::Lines => Ok(()),
        }
    }
}

type Output = BufWriter<Box<dyn Write>>;

/// Where a file goes: what `-w` names, or standard output.
struct Target(Option<StdFile>);

impl Target {
    /// Opens it. What is in it already stays until there is something to put in its place.
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Target(None));
        }
        let file = StdFile::options().write(true).create(true).truncate(false).open(path);
        Ok(Target(Some(file.with_context(|| format!("{} cannot be written", path.display()))?)))
    }

    fn empty(self) -> io::Result<Output> {
        let Some(file) = self.0 else { return Ok(BufWriter::new(Box::new(io::stdout()))) };
        // A pipe is empty.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(BufWriter::new(Box::new(file)))
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be waited for");
        Ok(Signals { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Whether one comes within this time.
    async fn within(&mut self, time: Duration) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            () = tokio::time::sleep(time) => false,
        }
    }
}

fn ask<T: DeserializeOwned>(socket: &Path, ask: Ask) -> anyhow::Result<T> {
    let answer = client::ask(socket, Request::Capture(ask)).map_err(anyhow::Error::msg)?;
    match answer.error {
        Some(why) => bail!(why),
        None => serde_json::from_value(answer.data).context("the daemon's answer is not understood"),
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a whole number and its unit, ms, s, m, h or d: 500ms, 10s, 5m".to_owned())
}

/// Says it on standard error; that nobody reads it is no reason to end otherwise.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

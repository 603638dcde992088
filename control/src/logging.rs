//! The log of a run: for a person, for a program that collects JSON, or for the journal.
//!
//! *Invariants*
//! - whoever writes a line never waits: it goes to a thread of its own by a queue that drops what does not fit. Whoever reads
//!   the log, slowly, never or no more, holds nobody up;
//! - how many lines were dropped, or could not be written (a disk is full), stands in the log, where they are missing;
//! - what was said before the end is written before the guard is gone, if somebody reads.
//!
//! The journal is spoken to by lines of its native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`) from that same thread: the
//! layer that others have made for it (tracing-journald) sends from the thread that logs, and waits where the journal is slow.

mod journal;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use journal::Journal;

/// Where the journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// How often it is said that lines are lost, while more and more are.
const SAY_AGAIN: Duration = Duration::from_secs(1);
/// Names what is logged: `info` unless set.
const FILTER: &str = "SHUNT_LOG";

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A person: a line of text each, in colour on a terminal
    #[default]
    Human,
    /// A program: a JSON object each, with timestamp, level and message
    Json,
    /// The journal of systemd
    Journald,
}

/// Begins to log, all that this process logs from now on. It ends, all lines written, when what is returned is dropped.
///
/// # Errors
/// There is no journal. Nothing is logged then.
pub fn start(format: Format) -> io::Result<WorkerGuard> {
    let (log, guard) = open(format, io::stderr(), Path::new(JOURNAL), NonBlockingBuilder::default())?;
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = format == Format::Human && io::stderr().is_terminal();
    tracing::dispatcher::set_global_default(tracing::Dispatch::new(subscriber(format, log, filter, ansi)))
        .unwrap_or_else(|_| unreachable!("a process begins to log once"));
    Ok(guard)
}

/// The queue, and the thread that writes what comes out of it.
fn open(
    format: Format,
    out: impl Write + Send + 'static,
    journal: &Path,
    queue: NonBlockingBuilder,
) -> io::Result<(NonBlocking, WorkerGuard)> {
    let out: Box<dyn Write + Send> = match format {
        Format::Human | Format::Json => Box::new(out),
        Format::Journald => Box::new(Journal::open(journal)?),
    };
    let dropped = Arc::new(OnceLock::new());
    let honest = Honest {
        out,
        format,
        dropped: Arc::clone(&dropped),
        failed: 0,
        is_cut: false,
        told: 0,
        told_at: Instant::now(),
    };
    let (log, guard) = queue.lossy(true).finish(honest);
    let _ = dropped.set(log.error_counter());
    Ok((log, guard))
}

/// What turns an event into a line, and hands it on in one piece.
fn subscriber<W>(
    format: Format,
    out: W,
    filter: impl Into<EnvFilter>,
    ansi: bool,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let common = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(out))
        .log_internal_errors(false)
        .with_ansi(ansi)
        .with_target(false);
    match format {
        Format::Human => Box::new(common.finish()),
        Format::Json => Box::new(common.json().flatten_event(true).finish()),
        Format::Journald => Box::new(common.event_format(journal::Entry).finish()),
    }
}

/// Writes lines, and between them how many are missing there.
struct Honest {
    out: Box<dyn Write + Send>,
    format: Format,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Lines that could not be written.
    failed: usize,
    /// The last one was not written, or not to its end.
    is_cut: bool,
    /// As many were said to be missing.
    told: usize,
    told_at: Instant,
}

impl Write for Honest {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_cut {
            self.say_lines_lost();
        }
        if !self.put(line) {
            self.failed += 1;
        }
        // Of a queue that is never empty it is said now and then.
        if self.told_at.elapsed() > SAY_AGAIN {
            self.say_lines_lost();
        }
        Ok(())
    }

    /// The queue is empty: what it held was said before the lines that it had no room for.
    fn flush(&mut self) -> io::Result<()> {
        self.say_lines_lost();
        self.out.flush()
    }
}

impl Honest {
    fn say_lines_lost(&mut self) {
        self.told_at = Instant::now();
        let lost = self.failed + self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        // Said once it is written.
        if lost > self.told && self.put(&self.lines_lost(lost - self.told)) {
            self.told = lost;
        }
    }

    /// Writes a line; whether it stands there.
    fn put(&mut self, line: &[u8]) -> bool {
        // An entry of the journal is there or not; in a file half a line may stand before this one.
        let ended =
            if self.is_cut && self.format != Format::Journald { self.out.write_all(b"\n") } else { Ok(()) };
        self.is_cut = ended.and_then(|()| self.out.write_all(line)).is_err();
        !self.is_cut
    }

    /// The line about it, as every other line is made.
    fn lines_lost(&self, missing: usize) -> Vec<u8> {
        let line = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&line);
        let subscriber =
            subscriber(self.format, move || Buffer(Arc::clone(&into)), LevelFilter::WARN.to_string(), false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                lines_lost = missing,
                "lines of this log are lost: it is read too slowly, or its disk is full"
            );
        });
        std::mem::take(&mut *line.lock().expect("no holder of this lock panics"))
    }
}

struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder of this lock panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A reader that takes a line when it is let.
    struct Slow {
        lines: Sender<String>,
        gate: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            self.lines.send(String::from_utf8(line.to_vec()).unwrap()).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(format: Format, queue: usize, act: impl FnOnce()) -> (Sender<()>, Receiver<String>, WorkerGuard) {
        let (sender, lines) = channel();
        let (open_gate, gate) = channel();
        let builder = NonBlockingBuilder::default().buffered_lines_limit(queue);
        let nowhere = Path::new("/nowhere");
        let (log, guard) = open(format, Slow { lines: sender, gate }, nowhere, builder).unwrap();
        tracing::subscriber::with_default(subscriber(format, log, "info", false), act);
        (open_gate, lines, guard)
    }

    #[test]
    fn a_line_of_json_has_a_timestamp_a_level_a_message_and_what_else_is_known() {
        let (gate, lines, _guard) =
            log(Format::Json, 16, || tracing::warn!(reason = "arp", "a \"fault\"\nof two lines"));
        gate.send(()).unwrap();
        let line = lines.recv_timeout(DEADLINE).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["level"], "WARN");
        assert_eq!(json["message"], "a \"fault\"\nof two lines");
        assert_eq!(json["reason"], "arp");
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn who_reads_slowly_delays_nobody_and_is_told_how_many_lines_are_missing() {
        for format in [Format::Human, Format::Json] {
            let began = Instant::now();
            let (gate, lines, _guard) = log(format, 4, || (0..1000).for_each(|n| tracing::info!("line {n}")));
            assert!(began.elapsed() < DEADLINE, "nobody has read, and all were logged");
            drop(gate);
            let (mut read, mut missing) = (0, 0);
            while read + missing < 1000 {
                let line = lines.recv_timeout(DEADLINE).unwrap();
                match format {
                    _ if !line.contains("are lost") => read += 1,
                    Format::Json => {
                        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
                        missing += json["lines_lost"].as_u64().unwrap();
                    }
                    _ => missing += line.trim().rsplit_once('=').unwrap().1.parse::<u64>().unwrap(),
                }
            }
            assert_eq!(read + missing, 1000);
            assert!(missing > 0);
        }
    }

    /// A disk on which there is room for so many bytes.
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let room = disk.1.saturating_sub(disk.0.len()).min(bytes.len());
            disk.0.extend_from_slice(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_counted_where_it_is_missing() {
        let disk = Arc::new(Mutex::new((Vec::new(), 24)));
        let out = Box::new(Disk(Arc::clone(&disk)));
        let (dropped, told_at) = (Arc::default(), Instant::now());
        let format = Format::Human;
        let mut log = Honest { out, format, dropped, failed: 0, is_cut: false, told: 0, told_at };
        for n in 0..5 {
            log.write_all(format!("line {n} of five\n").as_bytes()).unwrap();
            log.flush().unwrap();
        }
        disk.lock().unwrap().1 = usize::MAX;
        log.write_all(b"there is room\n").unwrap();
        let text = String::from_utf8(disk.lock().unwrap().0.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1]), ("line 0 of five", "line 1 of"), "{text}");
        assert!(lines[2].contains("are lost") && lines[2].ends_with("lines_lost=4"), "{text}");
        assert_eq!(lines[3..], ["there is room"], "{text}");
    }

    #[test]
    fn the_journal_gets_an_entry_of_its_protocol_with_the_level_and_every_line_of_the_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(DEADLINE)).unwrap();
        let (log, _guard) = open(Format::Journald, io::sink(), &path, NonBlockingBuilder::default()).unwrap();
        tracing::subscriber::with_default(subscriber(Format::Journald, log, "info", false), || {
            tracing::error!(real_server = "192.0.2.21", "down:\nrefused");
        });
        let mut entry = [0; 4096];
        let length = journal.recv(&mut entry).unwrap();
        let entry = entry[..length].to_vec();
        let has = |field: &[u8]| entry.windows(field.len()).any(|window| window == field);
        assert!(has(b"PRIORITY=3\n"), "{}", String::from_utf8_lossy(&entry));
        assert!(has(b"SYSLOG_IDENTIFIER=shunt\n"));
        assert!(has(b"F_REAL_SERVER=192.0.2.21\n"));
        assert!(has(b"MESSAGE\n\x0d\0\0\0\0\0\0\0down:\nrefused\n"));
    }

    #[test]
    fn where_there_is_no_journal_it_cannot_be_logged_to() {
        let queue = NonBlockingBuilder::default();
        let opened = open(Format::Journald, io::sink(), Path::new("/nowhere/socket"), queue);
        assert_eq!(opened.err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}

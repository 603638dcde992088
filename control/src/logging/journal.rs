//! Entries of the journal: one datagram each, `FIELD=value` and a newline for each field; a value of several lines has its
//! length before it.
//!
//! systemd's documentation, `JOURNAL_NATIVE_PROTOCOL`; priorities are those of syslog(3).

use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Longest value, bytes: a datagram has to hold the entry.
const LONGEST: usize = 32 * 1024;
/// Between the fields of an entry, on the way to the socket: the formatter writes text, and the protocol's lengths are none.
const SEPARATOR: char = '\u{1e}';

/// The journal's socket.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        // Found at once, not at the first line.
        socket.connect(path)?;
        // Not connected to it for good: a journal that was started again is another one.
        Ok(Journal { socket: UnixDatagram::unbound()?, path: path.to_owned() })
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send_to(&encode(entry), &self.path).map(|_| entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode(entry: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(entry.len() + 16);
    for field in entry.split(|byte| *byte == SEPARATOR as u8).filter(|field| !field.is_empty()) {
        match field.iter().position(|byte| *byte == b'=') {
            Some(at) if field.contains(&b'\n') => {
                let (name, value) = (&field[..at], &field[at + 1..]);
                encoded.extend(name);
                encoded.push(b'\n');
                encoded.extend((value.len() as u64).to_le_bytes());
                encoded.extend(value);
            }
            _ => encoded.extend(field),
        }
        encoded.push(b'\n');
    }
    encoded
}

/// Writes an event as an entry.
pub(super) struct Entry;

impl<S, N> FormatEvent<S, N> for Entry
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "PRIORITY={priority}{SEPARATOR}SYSLOG_IDENTIFIER=shunt{SEPARATOR}")?;
        let mut fields = Fields { writer, result: Ok(()) };
        event.record(&mut fields);
        fields.result
    }
}

struct Fields<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value.to_owned());
    }
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, mut value: String) {
        let name = match field.name() {
            "message" => "MESSAGE".to_owned(),
            // The prefix keeps it apart from the journal's own names.
            name => {
                format!("F_{}", name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
            }
        };
        value.truncate(value.floor_char_boundary(LONGEST));
        let value = value.replace(SEPARATOR, " ");
        self.result = self.result.and_then(|()| write!(self.writer, "{name}={value}{SEPARATOR}"));
    }
}

//! The command line's end of the admin socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::admin::protocol::{Answer, Envelope, MAX_REQUEST, Request, VERSION};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the daemon.
///
/// # Errors
/// Why there is no answer, and what to do.
pub fn ask(socket: &Path, request: Request) -> Result<Answer, String> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no shunt runs at {shown}: start one with `shunt run --config FILE`, or name its socket with --socket PATH \
             or SHUNT_SOCKET"
        ),
        ErrorKind::PermissionDenied => format!(
            "{shown}: permission denied: run this as root, as the user of the daemon, or, to read only, as a member of the \
             group that `socket_group` of [director] names"
        ),
        _ => format!("{shown}: {error}"),
    })?;
    let text = serde_json::to_string(&Envelope { version: VERSION, request })
        .map_err(|error| format!("the request cannot be written: {error}"))?;
    if text.len() >= MAX_REQUEST {
        return Err(format!(
            "the request has {} bytes, and the daemon takes {MAX_REQUEST}: make it smaller, or name a file to `shunt run`",
            text.len()
        ));
    }
    exchange(stream, text).map_err(|error| format!("{shown}: the daemon did not answer: {error}"))
}

fn exchange(mut stream: UnixStream, mut text: String) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

//! What a program prints: read to the end, and all but two lines forgotten.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;

/// Bytes of a line that are kept.
const LINE: usize = 200;

/// What a pipe of the kernel holds, and therefore what a program can have printed last before it ended.
const PIPE: usize = 64 * 1024;

/// Programs that ended, but have left a child that still holds their output.
const LINGERING: usize = 64;

/// Reads the standard output and standard error of one program.
pub(super) struct Output {
    pipe: Option<Receiver>,
    first: Vec<u8>,
    /// The line that is being read.
    line: Vec<u8>,
    last: Vec<u8>,
    lines: u64,
}

impl Output {
    /// The reader, and what the program is to be given.
    ///
    /// # Errors
    /// No more descriptors.
    pub(super) fn new() -> io::Result<(Output, Stdio, Stdio)> {
        let (from, to) = io::pipe()?;
        let pipe = Some(Receiver::from_owned_fd(from.into())?);
        let output = Output { pipe, first: Vec::new(), line: Vec::new(), last: Vec::new(), lines: 0 };
        Ok((output, to.try_clone()?.into(), to.into()))
    }

    /// Reads all there is and all that will be. Never ends once there is nothing more. Can be dropped at any time.
    pub(super) async fn read(&mut self) -> std::convert::Infallible {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(length) => self.take(&buffer[..length]),
            }
        }
        std::future::pending().await
    }

    /// The program ended. Reads what is left; should a child of it hold the pipe, that child can go on printing.
    pub(super) fn finish(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..PIPE / buffer.len() {
            let Some(pipe) = &self.pipe else { return };
            match pipe.try_read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.take(&buffer[..length]),
                Err(_) => break,
            }
        }
        if let Some(pipe) = self.pipe.take() {
            linger(pipe);
        }
    }

    /// The first line that has something in it, cut to 200 bytes.
    pub(super) fn first_line(&self) -> String {
        words(if self.lines == 0 { &self.line } else { &self.first })
    }

    /// The last line that has something in it, cut to 200 bytes.
    pub(super) fn last_line(&self) -> String {
        words(if blank(&self.line) { &self.last } else { &self.line })
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                byte if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if blank(&line) {
            return;
        }
        if self.lines == 0 {
            self.first = line.clone();
        }
        self.lines += 1;
        self.last = line;
    }
}

/// Goes on reading for a child that outlives its program: it would be killed by the next thing it prints (SIGPIPE), and
/// keepalived lets it live.
fn linger(mut pipe: Receiver) {
    static FREE: Semaphore = Semaphore::const_new(LINGERING);
    if let Ok(permit) = FREE.try_acquire() {
        tokio::spawn(async move {
            let _lingering = permit;
            // Whatever it says, nobody listens.
            let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
        });
    }
}

fn blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A line as it can stand in the log: one line, and nothing that moves a cursor.
fn words(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim().replace(char::is_control, "?")
}

//! The lines a child process has written so far, and waiting for one to come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Which of its two streams a process wrote a line to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error, where logs go.
    Err,
}

/// Why a line did not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLine {
    /// The deadline has passed.
    Deadline,
    /// The process closed its streams (mostly: it ended), so none can come.
    Closed,
}

#[derive(Default)]
struct State {
    lines: Vec<(Stream, String)>,
    open_streams: usize,
}

/// All lines of one process, in the order in which they were read. Clones see the same lines.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<State>, Condvar)>);

impl Log {
    /// Reads `source` to its end in a thread of its own.
    pub(crate) fn follow(&self, stream: Stream, source: impl Read + Send + 'static) {
        self.state().open_streams += 1;
        let log = self.clone();
        // Not joined: a grandchild may hold the stream open longer than the process lives.
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                log.state().lines.push((stream, text));
                log.0.1.notify_all();
                line.clear();
            }
            log.state().open_streams -= 1;
            log.0.1.notify_all();
        });
    }

    /// How many lines there are. Taken before an action, it lets [`Log::wait_for`] see only what the action caused.
    pub fn mark(&self) -> usize {
        self.state().lines.len()
    }

    /// The first line from `mark` on that `wanted` accepts, as soon as it is there.
    pub fn wait_for(
        &self,
        mark: usize,
        deadline: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<String, NoLine> {
        let end = Instant::now() + deadline;
        let mut next = mark;
        let mut state = self.state();
        loop {
            while let Some((_, line)) = state.lines.get(next) {
                if wanted(line) {
                    return Ok(line.clone());
                }
                next += 1;
            }
            if state.open_streams == 0 {
                return Err(NoLine::Closed);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoLine::Deadline);
            }
            state = self.0.1.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    /// Waits until both streams are closed, so that [`Log::text`] is complete; `false` if `deadline` passes first.
    pub fn wait_closed(&self, deadline: Duration) -> bool {
        matches!(self.wait_for(usize::MAX, deadline, |_| false), Err(NoLine::Closed))
    }

    /// The lines of `stream`.
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        self.state().lines.iter().filter(|(from, _)| *from == stream).map(|(_, line)| line.clone()).collect()
    }

    /// The lines of both streams as one text, each line ended.
    pub fn text(&self) -> String {
        self.state().lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("no reader panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_line_is_found_from_the_mark_on() {
        let log = Log::default();
        log.follow(Stream::Err, Cursor::new("ready 1\nbusy\nready 2"));
        assert_eq!(log.wait_for(0, SOON, |line| line.contains("ready")), Ok("ready 1".to_owned()));
        assert_eq!(log.wait_for(1, SOON, |line| line.contains("ready")), Ok("ready 2".to_owned()));
    }

    #[test]
    fn the_end_of_the_streams_ends_the_wait() {
        let log = Log::default();
        log.follow(Stream::Out, Cursor::new("one\n"));
        assert_eq!(log.wait_for(0, SOON, |line| line == "two"), Err(NoLine::Closed));
        assert!(log.wait_closed(SOON));
        assert_eq!(log.text(), "one\n");
    }
}

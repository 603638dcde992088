//! Short requests at a steady rate, each over a connection of its own, and when which of them was answered: how long a
//! service was away, as its clients see it.
//!
//! *Invariant*: a request begins at its time, whatever became of those before: nobody waits for an answer to ask again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use crate::host::Host;

/// For an answer. Linux sends a lost SYN again after 1, 3 and 7 s.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that go on until [`Requests::stop`].
pub struct Requests {
    pace: Duration,
    made: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was made.
    pub begin: Instant,
    /// When it was answered or failed.
    pub end: Instant,
    /// The name of the real server, or what went wrong.
    pub answer: Result<String, String>,
}

/// What a client has seen in a span of time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The longest time in which no request was answered, less the pace of requests.
    pub gap: Duration,
    /// Requests made.
    pub made: usize,
    /// Those that failed, and why.
    pub failed: Vec<String>,
}

impl Requests {
    /// Begins to ask for `/` at `to`, from `host`, so many times a second.
    #[track_caller]
    pub fn start(host: &Host, to: SocketAddr, per_second: u32) -> Requests {
        // A port is not free again before a minute has passed: more than Linux gives by itself.
        host.sysctl(&[("ipv4.ip_local_port_range", "1024 65535")]);
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process knows its limits");
        setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a process may go to its limits");
        let pace = Duration::from_secs(1) / per_second;
        let made = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (host, kept, until) = (host.clone(), Arc::clone(&made), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || host.enter(|| run(to, pace, &kept, &until)));
        Requests { pace, made, is_over, thread: Some(thread) }
    }

    /// Whether a request that was made after `moment` has been answered.
    pub fn is_answered_since(&self, moment: Instant) -> bool {
        self.lock().iter().rev().any(|request| request.begin > moment && request.answer.is_ok())
    }

    /// The longest time without an answer from `from` to `to`, and what became of the requests made then. All of them are
    /// over [`PATIENCE`] later; those that are not by now count as failed.
    pub fn seen(&self, from: Instant, to: Instant) -> Seen {
        let all = self.lock();
        let is_within = |moment: Instant| (from..=to).contains(&moment);
        let mut answers: Vec<Instant> =
            all.iter().filter(|it| it.answer.is_ok() && is_within(it.end)).map(|it| it.end).collect();
        answers.extend([from, to]);
        answers.sort();
        let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let made = all.iter().filter(|it| is_within(it.begin));
        let failed = made.clone().filter_map(|it| it.answer.as_ref().err().cloned()).collect();
        Seen { gap: longest.saturating_sub(self.pace), made: made.count(), failed }
    }

    /// Makes no more, and waits for those that are under way. What was seen can still be asked for.
    pub fn stop(&mut self) {
        // Relaxed: nothing else is told by it.
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a client does not panic");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.made.lock().expect("nobody panics with it")
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(to: SocketAddr, pace: Duration, made: &Arc<Mutex<Vec<Request>>>, is_over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut requests = tokio::task::JoinSet::new();
        let mut clock = tokio::time::interval(pace);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !is_over.load(Ordering::Relaxed) {
            clock.tick().await;
            let made = Arc::clone(made);
            requests.spawn(async move {
                let begin = Instant::now();
                let asked = tokio::time::timeout(PATIENCE, ask(to)).await;
                let answer = asked.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")));
                let request = Request { begin, end: Instant::now(), answer };
                made.lock().expect("nobody panics with it").push(request);
            });
            while requests.try_join_next().is_some() {}
        }
        while requests.join_next().await.is_some() {}
    });
}

/// The server closes first: the client's ports are free at once.
async fn ask(to: SocketAddr) -> Result<String, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::with_capacity(512);
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = exchange.await.map_err(|fault: std::io::Error| fault.to_string())?;
    match text.split_once("\r\n\r\n") {
        Some((head, name)) if head.starts_with("HTTP/1.1 200 ") => Ok(name.trim().to_owned()),
        _ => Err(format!("not an answer: {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, ms: &[(u64, u64, bool)]) -> Requests {
        let request = |&(made, over, is_answered): &(u64, u64, bool)| Request {
            begin: begin + Duration::from_millis(made),
            end: begin + Duration::from_millis(over),
            answer: if is_answered { Ok("rs1".to_owned()) } else { Err("reset".to_owned()) },
        };
        let made = Arc::new(Mutex::new(ms.iter().map(request).collect()));
        let is_over = Arc::new(AtomicBool::new(true));
        Requests { pace: Duration::from_millis(1), made, is_over, thread: None }
    }

    #[test]
    fn a_gap_is_the_longest_time_without_an_answer_whoever_began_when() {
        let begin = Instant::now();
        let requests =
            at(begin, &[(0, 2, true), (1, 900, true), (2, 30, false), (40, 43, true), (45, 50, true)]);
        let seen = requests.seen(begin, begin + Duration::from_millis(60));
        assert_eq!((seen.gap, seen.made, seen.failed.len()), (Duration::from_millis(40), 5, 1));
    }

    #[test]
    fn what_was_never_answered_again_is_a_gap_up_to_the_end() {
        let begin = Instant::now();
        let seen = at(begin, &[(0, 5, true)]).seen(begin, begin + Duration::from_millis(100));
        assert_eq!(seen.gap, Duration::from_millis(94));
    }
}

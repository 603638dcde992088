//! The daemon's end of the admin socket. Connections are served by tasks of their own; each request is handed to the
//! supervisor as a [`Call`], so that a slow or silent client delays nobody.
//!
//! Whoever holds connections open keeps nobody out: where there are as many as may be, a newcomer takes the place of the one
//! that has been silent for longest. They never take more than a share of the files that may be open, which checks need too.
//!
//! *Invariants*: the socket has mode 0600 from the moment it exists; a stale one (nobody listens) is replaced, a live
//! one or a file of another kind is an error; it is removed when the server is dropped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::admin::protocol::{Answer, Envelope, MAX_REQUEST, Request, VERSION};
use crate::error::Error;

/// Clients served at once, and the share of all files that may be open: one in so many.
const CLIENTS: usize = 64;
const SHARE: u64 = 8;
/// A client that says nothing, or takes nothing, for this long is shown the door.
const PATIENCE: Duration = Duration::from_secs(5);

/// The listening socket.
pub struct Server {
    path: PathBuf,
    /// Device and inode of the socket made here: another one at the same path is not ours to remove.
    identity: (u64, u64),
    calls: mpsc::Receiver<Call>,
    task: JoinHandle<()>,
}

/// A request that waits for its answer.
pub struct Call {
    request: Request,
    reply: oneshot::Sender<Answer>,
}

impl Call {
    /// What is asked.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Answers; that the client has gone meanwhile is no matter.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

impl Server {
    /// Makes the socket, and its folder if that is missing.
    ///
    /// # Errors
    /// Another daemon answers there, the path is something else than a socket, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let fail = |error| Error::Socket { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The last folder only: /run/shunt is missing after a boot, more than that is a slip of the pen.
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fail(error)),
                _ => {}
            }
        }
        clear(path)?;
        let listener = listen(path).map_err(fail)?;
        let made = std::fs::metadata(path).map_err(fail)?;
        let (sender, calls) = mpsc::channel(CLIENTS);
        let task = tokio::spawn(accept(listener, sender));
        Ok(Server { path: path.to_owned(), identity: (made.dev(), made.ino()), calls, task })
    }

    /// The next request.
    pub async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // Nothing to be done if it cannot be removed: the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes way at `path`.
fn clear(path: &Path) -> Result<(), Error> {
    let fail = |error| Error::Socket { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::SocketNotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Ok(_) => Err(Error::SocketAnswers(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!("{} was left by an earlier run: replaced", path.display());
            std::fs::remove_file(path).map_err(fail)
        }
        Err(error) => Err(fail(error)),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // The mode comes from the umask, so that there is no moment in which others could connect.
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(umask);
    debug_assert!(
        listener.is_err() || std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o777 == 0o600)
    );
    listener
}

/// Those who are served, the oldest first.
struct Served {
    clients: VecDeque<Client>,
    most: usize,
}

struct Client {
    task: JoinHandle<()>,
    /// It has asked, and waits for its answer.
    is_waiting: Arc<AtomicBool>,
}

impl Served {
    fn new() -> Served {
        let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        let share = usize::try_from(limit / SHARE).unwrap_or(usize::MAX);
        Served { clients: VecDeque::new(), most: share.clamp(1, CLIENTS) }
    }

    /// Serves one more, if there is a place or somebody silent has one.
    fn add(&mut self, stream: UnixStream, calls: mpsc::Sender<Call>) {
        self.clients.retain(|client| !client.task.is_finished());
        if self.clients.len() >= self.most {
            // Relaxed: one thread.
            let is_silent = |client: &Client| !client.is_waiting.load(Ordering::Relaxed);
            match self.clients.iter().position(is_silent).and_then(|n| self.clients.remove(n)) {
                Some(silent) => silent.task.abort(),
                None => return refuse(&stream),
            }
        }
        let is_waiting = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_waiting);
        // A client that breaks off is its own business.
        let task = tokio::spawn(async move { drop(serve(stream, calls, &told).await) });
        self.clients.push_back(Client { task, is_waiting });
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.clients.iter().for_each(|client| client.task.abort());
    }
}

/// Says that there is no place. Whoever cannot take so few bytes at once gets none.
fn refuse(stream: &UnixStream) {
    let answer = Answer::error("too many clients wait for an answer: ask again".into());
    let _ = stream.try_write(format!("{}\n", serde_json::json!(answer)).as_bytes());
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let mut served = Served::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => served.add(stream, calls.clone()),
            // Out of file descriptors, say: wait for some to be closed.
            Err(error) => {
                tracing::warn!("an admin connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        // Who was sent away has closed its connection before another one is accepted.
        tokio::task::yield_now().await;
    }
}

async fn serve(stream: UnixStream, calls: mpsc::Sender<Call>, is_waiting: &AtomicBool) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_REQUEST as u64 + 1);
        tokio::time::timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        is_waiting.store(true, Ordering::Relaxed);
        let (answer, last) = match parse(&line) {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                if calls.send(Call { request, reply }).await.is_err() {
                    return Ok(());
                }
                (answer.await.unwrap_or_else(|_| Answer::error("the director is stopping".into())), false)
            }
            // Whatever follows garbage is garbage.
            Err(why) => (Answer::error(why), true),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, write.write_all(&text)).await??;
        is_waiting.store(false, Ordering::Relaxed);
        if last {
            return Ok(());
        }
    }
}

fn parse(line: &[u8]) -> Result<Request, String> {
    if line.len() > MAX_REQUEST {
        return Err(format!("a request is at most {MAX_REQUEST} bytes"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object on one line: {error}"))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => return Err(format!("version {version} is not spoken here: this is {VERSION}")),
        None => return Err(format!("no version: this is {VERSION}")),
    }
    serde_json::from_value::<Envelope>(value).map(|envelope| envelope.request).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_answered_with_what_is_wrong() {
        assert!(parse(b"hello\n").unwrap_err().contains("not a JSON object"));
        assert!(parse(b"{}\n").unwrap_err().contains("no version"));
        assert!(parse(br#"{"version":2,"command":"reload"}"#).unwrap_err().contains("version 2"));
        assert!(parse(br#"{"version":1,"command":"dance"}"#).unwrap_err().contains("dance"));
        assert!(parse(&vec![b' '; MAX_REQUEST + 1]).unwrap_err().contains("at most"));
        assert_eq!(parse(br#"{"version":1,"command":"reload"}"#), Ok(Request::Reload));
    }

    #[tokio::test]
    async fn whoever_is_silent_makes_way_and_whoever_waits_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shunt.sock");
        let mut server = Server::bind(&path).unwrap();
        let request = b"{\"version\":1,\"command\":\"reload\"}\n";
        let mut patient = UnixStream::connect(&path).await.unwrap();
        patient.write_all(request).await.unwrap();
        let call = server.next().await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..3 * CLIENTS {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut late = UnixStream::connect(&path).await.unwrap();
        late.write_all(request).await.unwrap();
        server.next().await.unwrap().answer(Answer::text("late".into()));
        call.answer(Answer::text("first".into()));
        for (stream, word) in [(&mut late, "late"), (&mut patient, "first")] {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.unwrap();
            assert!(line.contains(word), "{line}");
        }
        assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0, "it was sent away");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shunt.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let server = Server::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Server::bind(&path), Err(Error::SocketAnswers(_))));
        drop(server);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Server::bind(&path), Err(Error::SocketNotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}

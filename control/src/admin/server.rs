//! The daemon's end of the admin socket. Connections are served by tasks of their own; each request is handed to the
//! supervisor as a [`Call`], so that a slow or silent client delays nobody.
//!
//! Whoever holds connections open keeps nobody out: where there are as many as may be, a newcomer takes the place of the one
//! that has been silent for longest. They never take more than a share of the files that may be open, which checks need too.
//!
//! *Invariants*
//! - the socket has mode 0600, or 0660 and the readers' group, from the moment it exists; a stale one (nobody listens) is
//!   replaced, a live one or a file of another kind is an error; it is removed when the server is dropped;
//! - nobody's request is handed on who may not ask it (`access`);
//! - readers take half of the places at most: they cannot keep root out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Gid;
use serde::Deserialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::admin::access::{self, Access, Peer};
use crate::admin::protocol::{Answer, Envelope, MAX_REQUEST, Request, VERSION};
use crate::admin::receive::Room;
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
    /// Makes the socket, and its folder if that is missing. `readers`: whose members may use it to read.
    ///
    /// # Errors
    /// Another daemon answers there, the path is something else than a socket, or it cannot be made.
    pub fn bind(path: &Path, readers: Option<Gid>) -> Result<Self, Error> {
        let fail = |error| Error::Socket { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The last folder only: /run/shunt is missing after a boot, more than that is a slip of the pen.
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fail(error)),
                _ => {}
            }
        }
        clear(path)?;
        let listener = listen(path, readers).map_err(fail)?;
        let made = std::fs::metadata(path).map_err(fail)?;
        let (sender, calls) = mpsc::channel(CLIENTS);
        let task = tokio::spawn(accept(listener, readers, sender));
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

fn listen(path: &Path, readers: Option<Gid>) -> io::Result<UnixListener> {
    let mode = if readers.is_some() { 0o660 } else { 0o600 };
    // The mode comes from the umask and the group from the thread, so that there is no moment in which others could connect.
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777 & !mode));
    let group = readers.map(nix::unistd::setfsgid);
    let listener = UnixListener::bind(path);
    group.map(nix::unistd::setfsgid);
    nix::sys::stat::umask(umask);
    let listener = listener?;
    let made = std::fs::metadata(path)?;
    debug_assert_eq!(made.permissions().mode() & 0o777, mode);
    // An ordinary user may only give it to a group of his own, and only so.
    let wanted = readers.map(Gid::as_raw).filter(|group| made.gid() != *group);
    if let Some(group) = wanted {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|error| {
            let _ = std::fs::remove_file(path);
            io::Error::new(
                error.kind(),
                format!("it cannot be given to group {group} (socket_group): {error}"),
            )
        })?;
    }
    Ok(listener)
}

/// What every client is served with.
#[derive(Clone)]
struct Service {
    calls: mpsc::Sender<Call>,
    readers: Option<Gid>,
    places_of_readers: Arc<Semaphore>,
    room: Room,
}

/// Those who are served, the oldest first.
struct Served {
    service: Service,
    clients: VecDeque<Client>,
    most: usize,
}

struct Client {
    task: JoinHandle<()>,
    /// It has asked, and waits for its answer.
    is_waiting: Arc<AtomicBool>,
}

impl Served {
    fn new(calls: mpsc::Sender<Call>, readers: Option<Gid>) -> Served {
        let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        let share = usize::try_from(limit / SHARE).unwrap_or(usize::MAX);
        let most = share.clamp(2, CLIENTS);
        let places_of_readers = Arc::new(Semaphore::new(most / 2));
        let service = Service { calls, readers, places_of_readers, room: Room::new() };
        Served { service, clients: VecDeque::new(), most }
    }

    /// Serves one more, if there is a place or somebody silent has one.
    fn add(&mut self, stream: UnixStream) {
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
        let (service, told) = (self.service.clone(), Arc::clone(&is_waiting));
        // A client that breaks off is its own business.
        let task = tokio::spawn(async move { drop(serve(stream, service, &told).await) });
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

async fn accept(listener: UnixListener, readers: Option<Gid>, calls: mpsc::Sender<Call>) {
    let mut served = Served::new(calls, readers);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => served.add(stream),
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

async fn serve(stream: UnixStream, service: Service, is_waiting: &AtomicBool) -> io::Result<()> {
    let Service { calls, readers, places_of_readers, room } = service;
    let peer = Peer::of(&stream)?;
    let _place = match peer.access(readers) {
        Some(Access::Full) => None,
        // It comes again; who may do nothing has no more right to a place than who may read.
        Some(Access::Read) | None => Some(places_of_readers.try_acquire().map_err(io::Error::other)?),
    };
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = room.receive(&mut read).await?;
        if line.bytes.is_empty() {
            return Ok(());
        }
        is_waiting.store(true, Ordering::Relaxed);
        let bytes = std::mem::take(&mut line.bytes);
        let understood = match line.is_large() {
            // The control thread has no time for it.
            true => tokio::task::spawn_blocking(move || parse(&bytes)).await?,
            false => parse(&bytes),
        };
        let (answer, last) = match understood {
            Ok(request) => match peer.ask(&request, readers) {
                Ok(access) => {
                    let has_secrets = access::has_secrets(&request, access);
                    let (reply, answer) = oneshot::channel();
                    if calls.send(Call { request, reply }).await.is_err() {
                        return Ok(());
                    }
                    let answer = answer.await;
                    let answer = answer.unwrap_or_else(|_| Answer::error("the director is stopping".into()));
                    (if has_secrets { access::veiled(answer) } else { answer }, false)
                }
                Err(refusal) => (refusal, false),
            },
            // Whatever follows garbage is garbage.
            Err(why) => (Answer::error(why), true),
        };
        drop(line);
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
    let said: Version =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object on one line: {error}"))?;
    match said.version {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => return Err(format!("version {version} is not spoken here: this is {VERSION}")),
        None => return Err(format!("no version: this is {VERSION}")),
    }
    serde_json::from_slice::<Envelope>(line).map(|envelope| envelope.request).map_err(|e| e.to_string())
}

/// What every request has, of whatever version.
#[derive(Deserialize)]
struct Version {
    version: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};

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
        let mut server = Server::bind(&path, None).unwrap();
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
        let server = Server::bind(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Server::bind(&path, None), Err(Error::SocketAnswers(_))));
        drop(server);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Server::bind(&path, None), Err(Error::SocketNotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_group_of_the_readers_has_the_socket_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shunt.sock");
        let _server = Server::bind(&path, Some(Gid::from_raw(4242))).unwrap();
        let made = std::fs::metadata(&path).unwrap();
        assert_eq!((made.permissions().mode() & 0o777, made.uid(), made.gid()), (0o660, 0, 4242));
        let file = folder.path().join("later");
        std::fs::write(&file, "").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().gid(), 0, "the thread has its group again");
    }
}

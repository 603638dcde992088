//! The daemon's end of the admin socket. Connections are served by tasks of their own; each request is handed to the
//! supervisor as a [`Call`], so that a slow or silent client delays nobody.
//!
//! *Invariants*: the socket has mode 0600 from the moment it exists; a stale one (nobody listens) is replaced, a live
//! one or a file of another kind is an error; it is removed when the server is dropped.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::admin::protocol::{Answer, Envelope, MAX_REQUEST, Request, VERSION};
use crate::admin::receive::Room;
use crate::error::Error;

/// Clients served at once; more wait to be accepted.
const CLIENTS: usize = 64;
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

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CLIENTS));
    let room = Room::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (calls, room) = (calls.clone(), room.clone());
                tokio::spawn(async move {
                    // A client that breaks off is its own business.
                    let _ = serve(stream, calls, room).await;
                    drop(place);
                });
            }
            // Out of file descriptors, say: wait for some to be closed.
            Err(error) => {
                tracing::warn!("an admin connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, calls: mpsc::Sender<Call>, room: Room) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = room.receive(&mut read).await?;
        if line.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut line.bytes);
        let understood = match line.is_large() {
            // The control thread has no time for it.
            true => tokio::task::spawn_blocking(move || parse(&bytes)).await?,
            false => parse(&bytes),
        };
        let (answer, last) = match understood {
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
        drop(line);
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, write.write_all(&text)).await??;
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

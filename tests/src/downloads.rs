//! Long downloads, side by side, each checked byte for byte as it comes in: whoever takes over from a director must give
//! each to the real server that has it.
//!
//! *Invariant*: a download that was told to be broken is never whole again; one that stands still is broken.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::host::Host;
use crate::webserver::WebServer;
use crate::{payload, wait};

/// What is downloaded, at 16 KiB a second: four minutes and a half.
const FILE: &str = "trickle";
const BYTES: u64 = 4 << 20;
const SEED: u64 = 20;
/// Over how long their beginnings are spread.
const SPREAD: Duration = Duration::from_secs(1);
/// How long a connection may stand still after a director has gone: Linux sends again after 0.2, 0.4, ... s, and the gap
/// may last some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Downloads under way.
pub struct Downloads {
    each: Vec<Arc<Download>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Download {
    bytes: AtomicU64,
    /// The client's.
    port: AtomicU16,
    server: Mutex<String>,
    broken: Mutex<Option<String>>,
}

impl Downloads {
    /// Puts on `server` what is downloaded.
    #[track_caller]
    pub fn prepare(server: &WebServer) {
        server.file(FILE, BYTES, SEED);
    }

    /// Begins `count` downloads from `to`, on `host`. On return all have begun; none is at a server named in `but`.
    /// Panics if one breaks before.
    #[track_caller]
    pub fn start(host: &Host, to: SocketAddr, count: usize, but: &[&str]) -> Downloads {
        let each: Vec<Arc<Download>> = (0..count).map(|_| Arc::default()).collect();
        let (stop, is_over) = watch::channel(false);
        let but: Vec<String> = but.iter().map(|&name| name.to_owned()).collect();
        let (host, all) = (host.clone(), each.clone());
        let thread = std::thread::spawn(move || host.enter(|| run(to, &all, &but, is_over)));
        let downloads = Downloads { each, stop, thread: Some(thread) };
        wait::until(PATIENCE, "the downloads to begin", || {
            downloads.have_come(&vec![0; count]).then_some(())
        });
        assert_eq!(downloads.broken(), Vec::<String>::new());
        downloads
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.each.len()
    }

    /// How many of them each server has.
    pub fn servers(&self) -> std::collections::BTreeMap<String, usize> {
        let mut servers = std::collections::BTreeMap::new();
        for download in &self.each {
            *servers.entry(download.server.lock().expect("nobody panics with it").clone()).or_default() += 1;
        }
        servers
    }

    /// Those that broke so far, and why.
    pub fn broken(&self) -> Vec<String> {
        let why = |download: &Arc<Download>| download.broken.lock().expect("nobody panics with it").clone();
        self.each.iter().filter_map(why).collect()
    }

    /// The ports of the client that they come to.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.each.iter().map(|download| download.port.load(Ordering::Relaxed)).collect()
    }

    /// The ports of those that broke so far.
    pub fn broken_ports(&self) -> BTreeSet<u16> {
        let is_broken =
            |download: &&Arc<Download>| download.broken.lock().expect("nobody panics with it").is_some();
        self.each.iter().filter(is_broken).map(|download| download.port.load(Ordering::Relaxed)).collect()
    }

    /// Waits until each has gone on from where it is, or has broken; those that do neither are broken now.
    pub fn go_on(&self) {
        let here: Vec<u64> =
            self.each.iter().map(|download| download.bytes.load(Ordering::Relaxed)).collect();
        let _ = wait::try_until(PATIENCE, || self.have_come(&here).then_some(()));
        for (download, from) in self.each.iter().zip(here) {
            if download.bytes.load(Ordering::Relaxed) <= from {
                download.breaks(format!("nothing came for {PATIENCE:?}"));
            }
        }
    }

    fn have_come(&self, from: &[u64]) -> bool {
        self.each.iter().zip(from).all(|(download, from)| {
            download.bytes.load(Ordering::Relaxed) > *from
                || download.broken.lock().expect("nobody panics with it").is_some()
        })
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Download {
    fn breaks(&self, why: String) {
        self.broken.lock().expect("nobody panics with it").get_or_insert(why);
    }
}

fn run(to: SocketAddr, all: &[Arc<Download>], but: &[String], is_over: watch::Receiver<bool>) {
    let mut expected = Vec::new();
    payload::stream(&mut expected, BYTES, SEED).expect("writing to memory");
    let expected: Arc<[u8]> = expected.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut downloads = tokio::task::JoinSet::new();
        let count = all.len() as u32;
        for (n, download) in all.iter().enumerate() {
            let (download, expected) = (Arc::clone(download), Arc::clone(&expected));
            let (but, mut is_over) = (but.to_vec(), is_over.clone());
            downloads.spawn(async move {
                // nginx sends a second's worth at once: not all of them in the same moment.
                tokio::time::sleep(SPREAD * n as u32 / count).await;
                tokio::select! {
                    end = follow(to, &download, &but, &expected) => {
                        let why = end.map_or_else(|fault| fault.to_string(), |()| "it has come to its end".to_owned());
                        download.breaks(why);
                    }
                    _ = is_over.changed() => {}
                }
            });
        }
        while downloads.join_next().await.is_some() {}
    });
}

async fn follow(to: SocketAddr, download: &Download, but: &[String], expected: &[u8]) -> std::io::Result<()> {
    let (mut stream, first) = loop {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(format!("GET /{FILE} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let (server, first) = head(&mut stream).await?;
        if !but.contains(&server) {
            *download.server.lock().expect("nobody panics with it") = server;
            // Relaxed: read by those who have waited for bytes.
            download.port.store(stream.local_addr()?.port(), Ordering::Relaxed);
            break (stream, first);
        }
    };
    let mut buffer = vec![0; 1 << 16];
    let (mut at, mut come) = (0, first.len());
    buffer[..come].copy_from_slice(&first);
    while at < expected.len() {
        if expected.get(at..at + come) != Some(&buffer[..come]) {
            return Err(std::io::Error::other(format!("other bytes than expected after {at}")));
        }
        at += come;
        // Relaxed: a number that only grows, read to see whether it has.
        download.bytes.store(at as u64, Ordering::Relaxed);
        come = stream.read(&mut buffer).await?;
        if come == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads the head of an answer: who has sent it, and what has come of the body.
async fn head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let come = stream.read(&mut buffer).await?;
        text.extend_from_slice(&buffer[..come]);
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let lines = String::from_utf8_lossy(&text[..end]).into_owned();
            let name = lines.lines().find_map(|line| line.strip_prefix("X-Real-Server: "));
            let name = name.ok_or_else(|| std::io::Error::other(format!("nobody's answer: {lines}")))?;
            return Ok((name.to_owned(), text[end + 4..].to_vec()));
        }
        if come == 0 || text.len() > 1 << 14 {
            return Err(std::io::Error::other("an answer without a head"));
        }
    }
}

//! Metrics over HTTP: what Prometheus asks for, and nothing else. It can be reached by whoever reaches the port, so it is made
//! for strangers.
//!
//! *Invariants*
//! - a connection carries one request, lives at most `PATIENCE`, and there are at most `CLIENTS`: a newcomer takes the
//!   place of the oldest one, so that whoever holds connections open keeps nobody out;
//! - nothing that is asked is worked on here: the supervisor gives a [`Reply`] that it has made for everybody, and a client
//!   that asks often gets what another one got;
//! - nobody is listened to unless [`Web::follow`] was given a listener, which exists before anything that runs is changed.
//!
//! RFC 9110, sections 9.3.1 and 15.5.6; RFC 9112.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Clients served at once.
pub const CLIENTS: usize = 16;
/// A request, its answer and all between take at most this long.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Longest head of a request, bytes. (The least that hyper takes.)
const MAX_REQUEST: usize = 8192;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// The text format of Prometheus.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";

/// The port, if there is one, and those who ask at it.
pub struct Web {
    listening: Option<Listening>,
    sender: mpsc::Sender<Visit>,
    visits: mpsc::Receiver<Visit>,
}

/// Somebody who waits for an answer.
pub struct Visit(oneshot::Sender<Reply>);

/// What there is to tell.
#[derive(Debug, Clone)]
pub struct Reply {
    /// All metrics, in the text format of Prometheus.
    pub metrics: Bytes,
    /// The start is over.
    pub is_ready: bool,
}

/// A port that nobody is served at yet.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    socket: TcpListener,
}

/// What [`Web::follow`] is to do.
#[derive(Debug)]
pub enum Step {
    /// It is there already, or is to be nowhere and is.
    Stay,
    /// From now on here.
    Move(Listener),
    /// From now on nowhere.
    End,
}

struct Listening {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Visit {
    /// Answers; that the client has gone meanwhile is no matter.
    pub fn answer(self, reply: Reply) {
        let _ = self.0.send(reply);
    }
}

impl Default for Web {
    /// Nowhere.
    fn default() -> Web {
        let (sender, visits) = mpsc::channel(CLIENTS);
        Web { listening: None, sender, visits }
    }
}

impl Web {
    /// What it takes to be at `wanted`. Until [`Web::follow`] everything is as it was. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// The kernel's: the port is taken, the address is not this machine's.
    pub async fn prepare(&self, wanted: Option<SocketAddr>) -> io::Result<Step> {
        match (wanted, &self.listening) {
            (None, None) => Ok(Step::Stay),
            (None, Some(_)) => Ok(Step::End),
            (Some(wanted), Some(there)) if there.address == wanted => Ok(Step::Stay),
            (Some(address), _) => {
                let socket = TcpListener::bind(address).await?;
                Ok(Step::Move(Listener { address, socket }))
            }
        }
    }

    /// Goes where it was prepared to go. Whoever is being served at the old place is not any more.
    pub fn follow(&mut self, step: Step) {
        match step {
            Step::Stay => {}
            Step::End => self.listening = None,
            Step::Move(Listener { address, socket }) => {
                let task = tokio::spawn(accept(socket, self.sender.clone()));
                self.listening = Some(Listening { address, task });
            }
        }
    }

    /// The next one who asks.
    pub async fn next(&mut self) -> Visit {
        self.visits.recv().await.unwrap_or_else(|| unreachable!("`sender` is kept here"))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a port cannot be had, with what to do about it: (message, help).
pub fn refusal(address: SocketAddr, error: &io::Error) -> (String, String) {
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there: `ss -ltnp 'sport = :{}'` says which. End it, or choose another port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "the address is none of this machine's: `ip addr` lists those. A virtual address comes and goes: name one that \
             stays"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 needs the capability CAP_NET_BIND_SERVICE: choose another, or give it".to_owned()
        }
        _ => "choose another address or port, or leave the key out".to_owned(),
    };
    (format!("bind: {address} cannot be listened at: {error}"), help)
}

/// Those who are served, the oldest first.
#[derive(Default)]
struct Served(VecDeque<JoinHandle<()>>);

impl Served {
    fn add(&mut self, client: JoinHandle<()>) {
        self.0.retain(|served| !served.is_finished());
        if self.0.len() >= CLIENTS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(client);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(socket: TcpListener, visits: mpsc::Sender<Visit>) {
    let mut served = Served::default();
    loop {
        match socket.accept().await {
            Ok((stream, _)) => served.add(tokio::spawn(serve(stream, visits.clone()))),
            // Out of file descriptors, say: wait for some to be closed.
            Err(error) => {
                tracing::warn!("a connection for metrics could not be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        // However many come, everything else on this thread has its turn, and who was sent away has closed its socket.
        tokio::task::yield_now().await;
    }
}

async fn serve(stream: TcpStream, visits: mpsc::Sender<Visit>) {
    let answers = service_fn(|request| {
        let visits = visits.clone();
        async move { Ok::<_, Infallible>(answer(&request, &visits).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    server.max_buf_size(MAX_REQUEST).max_headers(MAX_HEADERS);
    // A client that breaks off, or is too slow, is its own business.
    let _ = tokio::time::timeout(PATIENCE, server.serve_connection(TokioIo::new(stream), answers)).await;
}

async fn answer(request: &Request<Incoming>, visits: &mpsc::Sender<Visit>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !["/metrics", "/healthz"].contains(&path) {
        return say(StatusCode::NOT_FOUND, "there is /metrics, and /healthz\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = say(StatusCode::METHOD_NOT_ALLOWED, "it can be read, and nothing else\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let (reply, told) = oneshot::channel();
    if visits.send(Visit(reply)).await.is_err() {
        return stopping();
    }
    match told.await {
        Ok(told) if path == "/metrics" => page(StatusCode::OK, TEXT_FORMAT, told.metrics),
        Ok(told) if told.is_ready => say(StatusCode::OK, "ready\n"),
        Ok(_) => say(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Err(_) => stopping(),
    }
}

fn stopping() -> Response<Full<Bytes>> {
    say(StatusCode::SERVICE_UNAVAILABLE, "the director is stopping\n")
}

fn say(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    page(status, WORDS, Bytes::from_static(words.as_bytes()))
}

fn page(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server with somebody who answers, and where it is.
    async fn running() -> (SocketAddr, JoinHandle<()>) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut web = Web::default();
        web.follow(Step::Move(Listener { address, socket }));
        let supervisor = tokio::spawn(async move {
            for visit in 0.. {
                let reply = Reply { metrics: Bytes::from_static(b"shunt_ready 1\n"), is_ready: visit > 0 };
                web.next().await.answer(reply);
            }
        });
        (address, supervisor)
    }

    async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may have answered, and gone, before it has read all.
        let _ = stream.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    #[tokio::test]
    async fn metrics_are_read_and_nothing_else_is_there() {
        let (address, _supervisor) = running().await;
        let starting = ask(address, get("/healthz")).await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("starting\n"), "{starting}");
        let ready = ask(address, get("/healthz")).await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("ready\n"), "{ready}");
        let page = ask(address, get("/metrics?name[]=a")).await;
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nshunt_ready 1\n"), "{page}");
        assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
        let head = ask(address, get("/metrics").replace("GET", "HEAD")).await;
        assert!(head.contains("content-length: 14\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na").await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
        for path in ["/", "/metrics/", "/../etc/passwd", "/metrics%00"] {
            let answer = ask(address, get(path)).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn garbage_and_what_is_too_long_is_refused() {
        let (address, _supervisor) = running().await;
        for garbage in [
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(),
            b"GET /metrics\r\n\r\n".to_vec(),
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes(),
            format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000)).into_bytes(),
        ] {
            let answer = ask(address, &garbage).await;
            // Nothing, if the rest of what it did not read made the kernel reset the connection.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        assert!(ask(address, get("/metrics")).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn whoever_holds_connections_open_keeps_nobody_out() {
        let (address, _supervisor) = running().await;
        let mut held = Vec::new();
        for _ in 0..3 * CLIENTS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
            held.push(stream);
        }
        assert!(ask(address, get("/metrics")).await.starts_with("HTTP/1.1 200 "));
        // The first ones were sent away for those who came later.
        let mut byte = [0];
        assert!(!held[0].read(&mut byte).await.is_ok_and(|read| read > 0));
    }

    #[tokio::test]
    async fn a_client_that_does_not_end_its_request_is_sent_away() {
        let (address, _supervisor) = running().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /met").await.unwrap();
        let mut rest = Vec::new();
        // Else this never ends.
        let _ = tokio::time::timeout(20 * PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    }

    #[tokio::test]
    async fn it_moves_only_when_the_new_place_is_there() {
        let mut web = Web::default();
        assert!(matches!(web.prepare(None).await, Ok(Step::Stay)));
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = web.prepare(Some(address)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(refusal(address, &error).1.contains(&format!("sport = :{}", address.port())));
        drop(taken);
        let step = web.prepare(Some(address)).await.unwrap();
        web.follow(step);
        assert!(TcpStream::connect(address).await.is_ok());
        assert!(matches!(web.prepare(Some(address)).await, Ok(Step::Stay)));
        let step = web.prepare(None).await.unwrap();
        assert!(matches!(step, Step::End));
        web.follow(step);
        tokio::task::yield_now().await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}

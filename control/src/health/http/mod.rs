//! The HTTP probe, in plain text or over TLS.
//!
//! The connection, with its TLS handshake, has the check's timeout, and the answer has it again, from the request to
//! the last byte. So a server that takes no connections is found out in one timeout, one that takes them and says
//! nothing too, and one that is merely slow has as long as keepalived would give it. (keepalived waits as long for each
//! piece of the answer: a server that sends a byte a second keeps it for ever.)
//!
//! A check with several requests makes one a probe, in turn ([`super::runner`]): so does keepalived.

pub mod answer;
mod request;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::socket::Way;
use super::tls::Client;
use super::{Failure, seconds};
use crate::model::Http;
use answer::{Answer, Whole};
use request::Ready;

/// The requests of one check.
pub(super) struct Requests {
    tls: Option<Client>,
    requests: Vec<Ready>,
}

impl Requests {
    pub(super) fn new(http: &Http, to: SocketAddr) -> Requests {
        Requests {
            tls: http.tls.as_ref().map(|tls| Client::new(tls, to.ip())),
            requests: http.requests.iter().map(|request| Ready::new(http, request, to)).collect(),
        }
    }

    /// Makes request `turn`.
    pub(super) async fn probe(&self, way: &Way, turn: usize, timeout: Duration) -> Result<(), Failure> {
        let request = &self.requests[turn];
        let began = Instant::now();
        let stream = way.connect(timeout).await?;
        let answer = match &self.tls {
            None => exchange(stream, request, timeout).await,
            Some(tls) => {
                let left = timeout.saturating_sub(began.elapsed());
                let stream = match tokio::time::timeout(left, tls.connect(stream)).await {
                    Ok(stream) => stream?,
                    Err(_) => {
                        return Err(Failure::Wrong(format!("no TLS handshake within {}", seconds(timeout))));
                    }
                };
                exchange(stream, request, timeout).await
            }
        };
        request.judge(&answer?).map_err(Failure::Wrong)
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Ready,
    timeout: Duration,
) -> Result<Whole, Failure> {
    let mut answer = request.answer();
    match tokio::time::timeout(timeout, converse(&mut stream, &request.bytes, &mut answer)).await {
        Ok(Ok(())) => answer.end().map_err(Failure::Wrong),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            let received = answer.received();
            let so_far = if received == 0 { String::new() } else { format!(" ({received} bytes came)") };
            Err(Failure::Wrong(format!("no complete answer within {}{so_far}", seconds(timeout))))
        }
    }
}

async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    answer: &mut Answer,
) -> Result<(), Failure> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = match stream.read(&mut piece).await {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            // A TLS server that closes without saying so; what matters is whether the answer is right.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if answer.take(&piece[..length]).map_err(Failure::Wrong)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::request::tests::{http, request};
    use super::*;
    use crate::health::{block_on, way_to};

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(10);

    /// The request.
    fn head_of(stream: &mut TcpStream) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// What a probe says of a server that does this when it has the request.
    fn result(timeout: Duration, serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            head_of(&mut stream);
            serve(stream);
        });
        let requests = Requests::new(&http(request("/")), to);
        let result = block_on(requests.probe(&way_to(to), 0, timeout));
        served.join().unwrap();
        result.map_or_else(|failure| failure.to_string(), |()| "up".into())
    }

    fn waits_for_the_end(mut stream: TcpStream) {
        let _ = stream.read(&mut [0]);
    }

    #[test]
    fn a_good_answer_is_up_whether_the_server_closes_or_says_the_length() {
        let closes = |mut stream: TcpStream| stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").unwrap();
        assert_eq!(result(LONG, closes), "up");
        let stays = |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
            waits_for_the_end(stream);
        };
        assert_eq!(result(LONG, stays), "up");
    }

    #[test]
    fn a_bad_answer_is_told_apart_from_none() {
        let bad = |mut stream: TcpStream| stream.write_all(b"HTTP/1.0 404 No\r\n\r\n").unwrap();
        assert_eq!(result(LONG, bad), "status 404, expected 200-299");
        let garbage = |mut stream: TcpStream| stream.write_all(&[0xff; 100]).unwrap();
        assert!(result(LONG, garbage).starts_with(r#"the answer is not HTTP: it begins with "\xff\xff"#));
        assert_eq!(result(LONG, drop), "the connection was closed without an answer");
        let half = |stream: TcpStream| stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(result(LONG, half), "the connection was closed without an answer");
    }

    #[test]
    fn a_server_that_says_nothing_or_a_byte_now_and_then_does_not_outlive_the_timeout() {
        assert_eq!(result(SHORT, waits_for_the_end), "no complete answer within 100 ms");
        let drips = |mut stream: TcpStream| {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            // Ends when the probe has closed.
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let said = result(SHORT, drips);
        assert!(said.starts_with("no complete answer within 100 ms ("), "{said}");
    }

    #[test]
    fn a_stream_without_end_ends() {
        let endless = |head: &'static [u8]| {
            move |mut stream: TcpStream| {
                let _ = stream.write_all(head);
                while stream.write_all(&[b'a'; 10_000]).is_ok() {}
            }
        };
        assert_eq!(
            result(LONG, endless(b"HTTP/1.0 200 OK\r\n")),
            "the head of the answer is longer than 16 KiB"
        );
        assert_eq!(result(LONG, endless(b"HTTP/1.0 200 OK\r\n\r\n")), "the body is longer than 16 MiB");
    }

    #[test]
    fn each_turn_is_another_request() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            [(); 2].map(|()| {
                let (mut stream, _) = server.accept().unwrap();
                let head = head_of(&mut stream);
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
                head.lines().next().unwrap().to_owned()
            })
        });
        let mut http = http(request("/a"));
        http.requests.push(request("/b"));
        let requests = Requests::new(&http, to);
        for turn in 0..2 {
            block_on(requests.probe(&way_to(to), turn, LONG)).unwrap();
        }
        assert_eq!(served.join().unwrap(), ["GET /a HTTP/1.0", "GET /b HTTP/1.0"]);
    }
}

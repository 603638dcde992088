//! The SMTP probe: a mail server must greet, and answer to `HELO`.
//!
//! The connection has the check's timeout, and the conversation has it again. It is ended with `QUIT`, so that the mail
//! server's log does not fill with lost connections.

pub mod conversation;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::socket::Way;
use super::{Failure, seconds};
use crate::model::Smtp;
use conversation::{Conversation, Turn};

/// Talks to the server, or says why it could not.
pub(super) async fn probe(way: &Way, smtp: &Smtp, timeout: Duration) -> Result<(), Failure> {
    let mut stream = way.connect(timeout).await?;
    let mut conversation = Conversation::new(&smtp.helo);
    match tokio::time::timeout(timeout, converse(&mut stream, &mut conversation)).await {
        Ok(result) => result,
        Err(_) => {
            let awaited = conversation.awaits();
            Err(Failure::Wrong(format!("{awaited}: none within {}", seconds(timeout))))
        }
    }
}

async fn converse(stream: &mut TcpStream, conversation: &mut Conversation) -> Result<(), Failure> {
    let mut piece = [0; 1024];
    loop {
        let length = match stream.read(&mut piece).await {
            Ok(0) => return conversation.end().map_err(Failure::Wrong),
            Ok(length) => length,
            Err(error) => return conversation.end().map_err(|_| error.into()),
        };
        match conversation.hear(&piece[..length]).map_err(Failure::Wrong)? {
            Turn::Listen => {}
            Turn::Say(text) => stream.write_all(text.as_bytes()).await?,
            Turn::Done => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::health::{block_on, way_to};

    /// What a probe says of a server that says these things, each when it has heard a line but for the first; and what it
    /// has heard.
    fn result(timeout: Duration, says: &'static [&'static [u8]]) -> (String, Vec<String>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = way_to(server.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut heard = Vec::new();
            for text in says {
                stream.write_all(text).unwrap();
                match lines.next() {
                    Some(Ok(line)) => heard.push(line),
                    _ => break,
                }
            }
            heard
        });
        let result = block_on(probe(&way, &Smtp { helo: "d.example".into() }, timeout));
        let said = result.map_or_else(|failure| failure.to_string(), |()| "up".into());
        (said, served.join().unwrap())
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn a_mail_server_that_greets_is_up() {
        let heard = vec!["HELO d.example".to_owned(), "QUIT".into()];
        assert_eq!(
            result(LONG, &[b"220-mx\r\n220 ESMTP\r\n", b"250 mx\r\n", b"221 bye\r\n"]),
            ("up".into(), heard.clone())
        );
        // It closes without an answer to QUIT.
        assert_eq!(result(LONG, &[b"220 mx\r\n", b"250 mx\r\n"]), ("up".into(), heard));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_the_server_said() {
        let said = |says| result(LONG, says).0;
        assert_eq!(said(&[b"421 busy\r\n"]), "greeting: \"421 busy\", expected 220");
        assert_eq!(said(&[b"220 a\r\n", b"502 ?\r\n"]), "answer to HELO: \"502 ?\", expected 250");
        assert_eq!(said(&[]), "greeting: the connection was closed");
    }

    #[test]
    fn a_server_that_says_nothing_does_not_outlive_the_timeout() {
        assert_eq!(result(SHORT, &[b""]).0, "greeting: none within 100 ms");
        assert_eq!(result(SHORT, &[b"220 a\r\n", b"250-"]).0, "answer to HELO: none within 100 ms");
        // A slow one neither.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = way_to(server.local_addr().unwrap());
        let drips = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            while stream.write_all(b"2").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let failure = block_on(probe(&way, &Smtp { helo: "a".into() }, SHORT)).unwrap_err();
        assert_eq!(failure.to_string(), "greeting: none within 100 ms");
        drips.join().unwrap();
    }

    #[test]
    fn a_stream_without_end_ends() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = way_to(server.local_addr().unwrap());
        let streams = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            while stream.write_all(b"220-more\r\n").is_ok() {}
        });
        let failure = block_on(probe(&way, &Smtp { helo: "a".into() }, LONG)).unwrap_err();
        assert_eq!(failure.to_string(), "greeting: more than 100 lines");
        streams.join().unwrap();
    }
}

//! A TCP connection that a test holds open and asks again: whoever it was given to must still be the one that answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::host::Host;

/// Longer than any answer takes, also on a busy machine; nginx keeps a silent connection for 75 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// An HTTP/1.1 connection to a [`crate::WebServer`].
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Connects from `host`.
    #[track_caller]
    pub fn open(host: &Host, to: SocketAddr) -> Session {
        let stream = host.connect(to, PATIENCE).unwrap_or_else(|fault| panic!("{to}: {fault}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Session { stream: BufReader::new(stream) }
    }

    /// The port of the host's end.
    pub fn source_port(&self) -> u16 {
        self.stream.get_ref().local_addr().expect("it is connected").port()
    }

    /// Asks who is there: the name of the real server.
    #[track_caller]
    pub fn ask(&mut self) -> String {
        self.exchange().unwrap_or_else(|fault| panic!("the connection is broken: {fault}"))
    }

    /// Asks who is there; nobody, if the connection is broken.
    pub fn ask_or_break(&mut self) -> Option<String> {
        self.exchange().ok()
    }

    fn exchange(&mut self) -> std::io::Result<String> {
        self.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut name = vec![0; length];
        self.stream.read_exact(&mut name)?;
        Ok(String::from_utf8_lossy(&name).trim().to_owned())
    }
}

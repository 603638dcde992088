//! What comes back from a web server, piece by piece: as much as a check needs of HTTP/1, which is the status, where
//! the body begins, and its length if that is said. Nothing is decoded: the digest is of the bytes as they come, as
//! keepalived has it.
//!
//! *Invariants*
//! - no input panics, or makes it keep more than [`LONGEST_HEAD`] and [`LONGEST_KEPT`];
//! - what is read does not depend on how it is cut into pieces.
//!
//! RFC 9112; lines may end with a bare LF (section 2.2).

use md5::{Digest, Md5};

/// Longest status line and fields, bytes.
pub const LONGEST_HEAD: usize = 16 << 10;
/// Of a body no more is searched for a pattern, bytes.
pub const LONGEST_KEPT: usize = 1 << 20;
/// Longest body, bytes.
pub const LONGEST_BODY: u64 = 16 << 20;

/// An answer as far as it has come.
#[derive(Debug)]
pub struct Answer {
    head: Vec<u8>,
    /// Set when the head is complete.
    status: Option<u16>,
    /// Bytes of the body, if the head says.
    length: Option<u64>,
    received: u64,
    digest: Option<Md5>,
    keeps: bool,
    body: Vec<u8>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Status code, 0-999.
    pub status: u16,
    /// MD5 of the body, if it was asked for.
    pub digest: Option<[u8; 16]>,
    /// The first [`LONGEST_KEPT`] bytes of the body, if they were asked for.
    pub body: Vec<u8>,
}

impl Answer {
    /// Nothing has come yet. Of the body are wanted: its digest, and what can be searched.
    pub fn new(digest: bool, body: bool) -> Answer {
        Answer {
            head: Vec::new(),
            status: None,
            length: None,
            received: 0,
            digest: digest.then(Md5::new),
            keeps: body,
            body: Vec::new(),
        }
    }

    /// Takes in the next bytes; whether the answer is complete with them.
    ///
    /// # Errors
    /// What is wrong with the answer, in words.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        if self.status.is_some() {
            return self.take_body(bytes);
        }
        // The end may be in two pieces.
        let seen = self.head.len().saturating_sub(3);
        let room = LONGEST_HEAD - self.head.len();
        let (taken, rest) = bytes.split_at(bytes.len().min(room));
        let before = self.head.len();
        self.head.extend_from_slice(taken);
        self.check_beginning()?;
        let Some(end) = end_of_head(&self.head[seen..]).map(|end| seen + end) else {
            return match rest.is_empty() && self.head.len() < LONGEST_HEAD {
                true => Ok(false),
                false => Err(format!("the head of the answer is longer than {} KiB", LONGEST_HEAD >> 10)),
            };
        };
        self.head.truncate(end);
        let status = status(&self.head)?;
        self.status = Some(status);
        self.length = match status {
            // They have no body, whatever they say of it.
            100..=199 | 204 | 304 => Some(0),
            _ => content_length(&self.head),
        };
        self.take_body(&bytes[end - before..])
    }

    /// The answer, now that no more comes.
    ///
    /// # Errors
    /// It is no answer yet.
    pub fn end(self) -> Result<Whole, String> {
        match self.status {
            // A body that is too short is worth no more than a line in the log to keepalived, and nothing to us.
            Some(status) => Ok(Whole {
                status,
                digest: self.digest.map(|digest| digest.finalize().into()),
                body: self.body,
            }),
            None if self.head.is_empty() => Err("the connection was closed without an answer".into()),
            None => Err("the connection was closed before the head of the answer was complete".into()),
        }
    }

    /// Bytes of the body so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let wanted = self.length.map_or(u64::MAX, |length| length - self.received);
        let bytes = &bytes[..bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        self.received += bytes.len() as u64;
        if self.received > LONGEST_BODY {
            return Err(format!("the body is longer than {} MiB", LONGEST_BODY >> 20));
        }
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        if self.keeps {
            let room = LONGEST_KEPT - self.body.len();
            self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(self.length == Some(self.received))
    }

    /// Not to wait for the end of what is no HTTP.
    fn check_beginning(&self) -> Result<(), String> {
        let beginning = &self.head[..self.head.len().min(5)];
        if b"HTTP/".starts_with(beginning) {
            return Ok(());
        }
        let shown = &self.head[..self.head.len().min(40)];
        Err(format!("the answer is not HTTP: it begins with \"{}\"", shown.escape_ascii()))
    }
}

/// Where the body begins: behind the first empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(line) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        at += line + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// `HTTP/1.1 200 OK` -> 200.
fn status(head: &[u8]) -> Result<u16, String> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let code = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(1);
    let code = code.filter(|code| code.len() == 3 && code.iter().all(u8::is_ascii_digit));
    let Some(code) = code else {
        let shown = &line[..line.len().min(40)];
        return Err(format!("the answer has no status code: \"{}\"", shown.escape_ascii()));
    };
    Ok(code.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
}

fn content_length(head: &[u8]) -> Option<u64> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        if !name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            return None;
        }
        std::str::from_utf8(value[1..].trim_ascii()).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answer when it comes in pieces of this length; whether it was complete before the end.
    fn read(bytes: &[u8], piece: usize) -> Result<(Whole, bool), String> {
        let mut answer = Answer::new(true, true);
        let mut complete = false;
        for bytes in bytes.chunks(piece) {
            complete = answer.take(bytes)?;
            if complete {
                break;
            }
        }
        Ok((answer.end()?, complete))
    }

    fn md5(bytes: &[u8]) -> Option<[u8; 16]> {
        Some(Md5::digest(bytes).into())
    }

    #[test]
    fn status_and_body_are_found_however_the_answer_is_cut() {
        let bytes = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nHello\r\n\r\nWorld";
        for piece in 1..=bytes.len() {
            let body = b"Hello\r\n\r\nWorld".to_vec();
            let whole = Whole { status: 200, digest: md5(&body), body };
            assert_eq!(read(bytes, piece), Ok((whole, false)), "{piece}");
        }
    }

    #[test]
    fn a_length_that_is_said_ends_the_body() {
        let bytes = b"HTTP/1.1 503 \nX: y\nCONTENT-length : 3\n\nabcdef";
        for piece in [1, 7, 100] {
            let whole = Whole { status: 503, digest: md5(b"abc"), body: b"abc".into() };
            assert_eq!(read(bytes, piece), Ok((whole, true)));
        }
        let (whole, complete) = read(b"HTTP/1.1 204 No Content\r\n\r\nabc", 100).unwrap();
        assert_eq!((whole.status, whole.body, complete), (204, Vec::new(), true));
    }

    #[test]
    fn what_is_no_answer_is_said_in_words() {
        let error = |bytes: &[u8]| read(bytes, 1000).unwrap_err();
        assert_eq!(error(b""), "the connection was closed without an answer");
        assert_eq!(
            error(b"HTTP/1.1 200 OK\r\nA: b\r\n"),
            "the connection was closed before the head of the answer was complete"
        );
        assert_eq!(error(b"SSH-2.0-x\r\n"), r#"the answer is not HTTP: it begins with "SSH-2.0-x\r\n""#);
        for line in ["HTTP/1.1", "HTTP/1.1 OK", "HTTP/1.1 2000", "HTTP/1.1 20"] {
            let said = error(format!("{line}\r\n\r\n").as_bytes());
            assert_eq!(said, format!("the answer has no status code: \"{line}\""));
        }
    }

    #[test]
    fn heads_and_bodies_have_an_end() {
        let mut answer = Answer::new(false, true);
        assert_eq!(answer.take(b"HTTP/1.1 200 OK\r\n"), Ok(false));
        let error = (0..).find_map(|_| answer.take(b"a: b\r\n").err()).unwrap();
        assert_eq!(error, "the head of the answer is longer than 16 KiB");
        assert!(answer.head.len() <= LONGEST_HEAD);

        let mut answer = Answer::new(true, true);
        assert_eq!(answer.take(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(false));
        let error = (0..).find_map(|_| answer.take(&[b'a'; 100_000]).err()).unwrap();
        assert_eq!(error, "the body is longer than 16 MiB");
        assert_eq!(answer.body.len(), LONGEST_KEPT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(
            head in "(HTTP/1\\.[01] [0-9]{3} OK\r?\n)?([A-Za-z-]{1,9}: ?[a-z0-9]{0,9}\r?\n){0,3}(Content-Length: [0-9]{1,2}\r\n)?(\r?\n)?",
            body in proptest::collection::vec(any::<u8>(), 0..60),
            piece in 1usize..20,
        ) {
            let bytes = [head.as_bytes(), &body].concat();
            let (whole, cut) = (read(&bytes, bytes.len().max(1)), read(&bytes, piece));
            prop_assert_eq!(whole.is_err(), cut.is_err());
            if let (Ok(whole), Ok(cut)) = (whole, cut) {
                prop_assert_eq!(whole, cut);
            }
        }
    }
}

//! One request of an HTTP check as it is sent, and what its answer must be.

use std::net::SocketAddr;

use regex::bytes::Regex;

use super::answer::{Answer, LONGEST_KEPT, Whole};
use crate::model::{Http, HttpVersion, Pattern, Request};

/// A request, ready to be sent.
pub(super) struct Ready {
    /// What is sent.
    pub bytes: Vec<u8>,
    status: Vec<(u16, u16)>,
    digest: Option<[u8; 16]>,
    pattern: Option<(Regex, Pattern)>,
}

impl Ready {
    /// The request `request` of `http` to the server at `to`.
    pub(super) fn new(http: &Http, request: &Request, to: SocketAddr) -> Ready {
        let pattern = request.pattern.clone().map(|pattern| match Regex::new(&pattern.expression) {
            Ok(regex) => (regex, pattern),
            Err(error) => unreachable!("the model has valid expressions only: {error}"),
        });
        Ready {
            bytes: bytes(http, request, to),
            status: request.status.clone(),
            digest: request.digest,
            pattern,
        }
    }

    /// For the answer to this request.
    pub(super) fn answer(&self) -> Answer {
        Answer::new(self.digest.is_some(), self.pattern.is_some())
    }

    /// Whether the answer is what it must be; else what it is.
    pub(super) fn judge(&self, answer: &Whole) -> Result<(), String> {
        if !self.status.iter().any(|(first, last)| (first..=last).contains(&&answer.status)) {
            return Err(format!("status {}, expected {}", answer.status, ranges(&self.status)));
        }
        if let Some(expected) = self.digest
            && answer.digest != Some(expected)
        {
            let got = answer.digest.map(hex).unwrap_or_default();
            return Err(format!("digest is {got}, expected {}", hex(expected)));
        }
        match &self.pattern {
            Some((regex, pattern)) => search(regex, pattern, &answer.body),
            None => Ok(()),
        }
    }
}

/// As keepalived writes it, byte for byte: whoever looks for it in a log, or answers it, finds it.
fn bytes(http: &Http, request: &Request, to: SocketAddr) -> Vec<u8> {
    let (version, connection) = match http.version {
        HttpVersion::Http10 => ("1.0", ""),
        HttpVersion::Http10Close => ("1.0", "Connection: close\r\n"),
        HttpVersion::Http11 => ("1.1", "Connection: close\r\n"),
    };
    // A SocketAddr is written with its port, and IPv6 in brackets.
    let host = request.host.as_ref().or(http.host.as_ref()).cloned().unwrap_or_else(|| to.to_string());
    format!(
        "GET {} HTTP/{version}\r\nUser-Agent: KeepAliveClient\r\n{connection}Host: {host}\r\n\r\n",
        request.path
    )
    .into_bytes()
}

fn search(regex: &Regex, pattern: &Pattern, body: &[u8]) -> Result<(), String> {
    // The first match is the one that begins first: if it begins too late, so do all others.
    let found = (pattern.first <= body.len()).then(|| regex.find_at(body, pattern.first)).flatten();
    let found = found.filter(|found| pattern.last.is_none_or(|last| found.start() <= last));
    let expression = &pattern.expression;
    match (found, pattern.negated) {
        (Some(_), false) | (None, true) => Ok(()),
        (Some(found), true) => {
            Err(format!("body matches /{expression}/ at byte {}, and must not", found.start()))
        }
        (None, false) if body.len() == LONGEST_KEPT => {
            Err(format!("the first {} MiB of the body do not match /{expression}/", LONGEST_KEPT >> 20))
        }
        (None, false) => Err(format!("body does not match /{expression}/")),
    }
}

/// "200-299, 304".
fn ranges(ranges: &[(u16, u16)]) -> String {
    let words: Vec<String> = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    words.join(", ")
}

fn hex(digest: [u8; 16]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn request(path: &str) -> Request {
        Request { path: path.into(), host: None, status: vec![(200, 299)], digest: None, pattern: None }
    }

    pub(in super::super) fn http(request: Request) -> Http {
        Http {
            tls: None,
            version: HttpVersion::default(),
            host: None,
            requests: vec![request],
            fast_recovery: false,
        }
    }

    fn sent(http: &Http, to: &str) -> String {
        let ready = Ready::new(http, &http.requests[0], to.parse().unwrap());
        String::from_utf8(ready.bytes).unwrap()
    }

    #[test]
    fn a_request_is_written_as_keepalived_writes_it() {
        let mut http = http(request("/a?b=c"));
        assert_eq!(
            sent(&http, "192.0.2.21:80"),
            "GET /a?b=c HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 192.0.2.21:80\r\n\r\n"
        );
        http.version = HttpVersion::Http10Close;
        assert_eq!(
            sent(&http, "[2001:db8::21]:8080"),
            "GET /a?b=c HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\n\
             Host: [2001:db8::21]:8080\r\n\r\n"
        );
        http.version = HttpVersion::Http11;
        http.host = Some("www.example.org".into());
        assert_eq!(
            sent(&http, "192.0.2.21:80"),
            "GET /a?b=c HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\n\
             Host: www.example.org\r\n\r\n"
        );
        http.requests[0].host = Some("other".into());
        assert!(sent(&http, "192.0.2.21:80").ends_with("\r\nHost: other\r\n\r\n"));
    }

    fn judged(request: Request, status: u16, body: &[u8]) -> String {
        let ready = Ready::new(&http(request.clone()), &request, "192.0.2.21:80".parse().unwrap());
        let mut answer = ready.answer();
        answer.take(format!("HTTP/1.0 {status} X\r\n\r\n").as_bytes()).unwrap();
        answer.take(body).unwrap();
        ready.judge(&answer.end().unwrap()).map_or_else(|why| why, |()| "up".into())
    }

    #[test]
    fn a_status_must_be_one_of_those_expected() {
        let status =
            |status| judged(Request { status: vec![(200, 299), (304, 304)], ..request("/") }, status, b"");
        assert_eq!((status(200), status(299), status(304)), ("up".into(), "up".into(), "up".into()));
        assert_eq!(status(404), "status 404, expected 200-299, 304");
        assert_eq!(status(199), "status 199, expected 200-299, 304");
    }

    #[test]
    fn a_digest_is_that_of_the_body() {
        // md5sum of "hello\n".
        let digest = 0xb194_6ac9_2492_d234_7c62_35b4_d261_1184u128.to_be_bytes();
        let request = Request { digest: Some(digest), ..request("/") };
        assert_eq!(judged(request.clone(), 200, b"hello\n"), "up");
        assert_eq!(
            judged(request, 200, b""),
            "digest is d41d8cd98f00b204e9800998ecf8427e, expected b1946ac92492d2347c6235b4d2611184"
        );
    }

    #[test]
    fn a_pattern_is_searched_where_it_may_begin() {
        let matches = |expression: &str, negated, first, last, body: &[u8]| {
            let pattern = Pattern { expression: expression.into(), negated, first, last };
            judged(Request { pattern: Some(pattern), ..request("/") }, 200, body)
        };
        assert_eq!(matches("o w", false, 0, None, b"hello world"), "up");
        assert_eq!(matches("(?i)O W", false, 4, Some(4), b"hello world"), "up");
        for (first, last) in [(5, None), (0, Some(3)), (100, None)] {
            assert_eq!(matches("o w", false, first, last, b"hello world"), "body does not match /o w/");
            assert_eq!(matches("o w", true, first, last, b"hello world"), "up");
        }
        assert_eq!(matches("wor", true, 0, None, b"\xffworld"), "body matches /wor/ at byte 1, and must not");
        let long = vec![b'a'; LONGEST_KEPT + 1];
        assert_eq!(matches("b", false, 0, None, &long), "the first 1 MiB of the body do not match /b/");
    }
}

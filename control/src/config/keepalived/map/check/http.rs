//! `HTTP_GET` and `SSL_GET` (check_http.c).

use super::super::super::report::Report;
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use super::pattern;
use crate::model::{Http, HttpVersion, Request, Tls};

/// keepalived: HTTP_DEFAULT_STATUS_CODE_MIN and _MAX.
const GOOD: (u16, u16) = (200, 299);
/// keepalived: HTTP_STATUS_CODE_MIN and _MAX.
const CODES: std::ops::RangeInclusive<u16> = 100..=599;

const VERSIONS: &[(&str, HttpVersion)] = &[
    ("1.0", HttpVersion::Http10),
    ("1.0C", HttpVersion::Http10Close),
    ("1.0c", HttpVersion::Http10Close),
    ("1.1", HttpVersion::Http11),
];

/// The probes of a checker: one, or one for each name that TLS asks for. `host`: `virtualhost` of the checker or of what
/// stands around it.
pub(super) fn probes(report: &mut Report, line: &Line<'_>, host: Option<&str>) -> Vec<Http> {
    let section = &line.section;
    let is_tls = line.key.name == "SSL_GET";
    let version = section
        .last("http_protocol")
        .and_then(|line| value::word(report, line.word(0)?, line.path(), "version of HTTP", VERSIONS));
    let mut switch = |name| section.last(name).and_then(|line| value::switch(report, line)).unwrap_or(false);
    let (sni, fast_recovery) = (switch("enable_sni"), switch("fast_recovery"));
    if let Some(line) = section.last("enable_sni").filter(|_| sni && !is_tls) {
        report.warning(
            line.at(),
            line.path(),
            "HTTP_GET has no TLS to ask for a name with",
            "write SSL_GET, or take it out",
        );
    }
    if !section.has("url") {
        if section.lacks("url") {
            let message = format!("{} has no url: nothing would ever be asked", named(line.key.name));
            report.error(line.at(), line.path(), message, "add one: url { path / }");
        }
        return Vec::new();
    }
    let mut probes: Vec<Http> = Vec::new();
    for url in section.all("url") {
        let Some(request) = request(report, url) else { continue };
        let name = request.host.as_deref().or(host).filter(|_| sni);
        if let Some(line) = section.last("enable_sni").filter(|_| sni && is_tls && name.is_none()) {
            let message = "there is no virtualhost, so there is no name to ask for";
            report.warning(line.at(), line.path(), message, "add the name: virtualhost www.example.com");
        }
        let tls = is_tls.then(|| Tls { server_name: name.and_then(server_name), verify: None });
        match probes.iter_mut().find(|probe| probe.tls == tls) {
            Some(probe) => probe.requests.push(request),
            None => probes.push(Http {
                tls,
                version: version.unwrap_or_default(),
                host: host.map(str::to_owned),
                requests: vec![request],
                fast_recovery,
            }),
        }
    }
    probes
}

/// SNI has no port in it.
fn server_name(host: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    (!name.is_empty()).then(|| name.to_owned())
}

fn request(report: &mut Report, url: &Line<'_>) -> Option<Request> {
    let section = &url.section;
    let path = match section.last("path") {
        Some(line) => path(report, line),
        None => {
            if section.lacks("path") {
                report.error(url.at(), url.path(), "the url has no path", "add one: path /");
            }
            None
        }
    };
    let host = section.last("virtualhost").and_then(|line| value::token(report, line.word(0)?, line.path()));
    let status = status(report, section);
    let digest = section.last("digest").and_then(|line| digest(report, line));
    let pattern = pattern::pattern(report, section);
    Some(Request { path: path?, host, status, digest, pattern })
}

fn path(report: &mut Report, line: &Line<'_>) -> Option<String> {
    let word = line.word(0)?;
    let path = value::token(report, word, line.path())?;
    if !path.starts_with('/') {
        let message = format!("{} is no path: it does not begin with a /", named(&word.text));
        report.error(&word.at, line.path(), message, "give the part of the URL after the host: /health");
        return None;
    }
    Some(path)
}

/// All codes of all `status_code` lines.
fn status(report: &mut Report, section: &Section<'_>) -> Vec<(u16, u16)> {
    let mut codes = Vec::new();
    for line in section.all("status_code") {
        for word in line.words() {
            let (first, last) = word.text.split_once('-').unwrap_or((&word.text, &word.text));
            let code = |text: &str| {
                let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|code| digits && CODES.contains(code))
            };
            match (code(first), code(last)) {
                (Some(first), Some(last)) if first <= last => codes.push((first, last)),
                _ => {
                    let message = format!("{} is no status code and no range of them", named(&word.text));
                    let help = "give codes from 100 to 599, and ranges of them: 200 301-302";
                    report.error(&word.at, line.path(), message, help);
                }
            }
        }
    }
    if codes.is_empty() {
        codes.push(GOOD);
    }
    codes
}

fn digest(report: &mut Report, line: &Line<'_>) -> Option<[u8; 16]> {
    let word = line.word(0)?;
    let digest: Option<Vec<u8>> = hex(&word.text);
    let digest = digest.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    if digest.is_none() {
        let message = format!("{} is no MD5: 32 hexadecimal digits", named(&word.text));
        report.error(&word.at, line.path(), message, "`curl -s URL | md5sum` says what it is");
    }
    digest
}

/// Pairs of hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_tls_asks_for_has_no_port() {
        assert_eq!(server_name("www.example.com:8443").as_deref(), Some("www.example.com"));
        assert_eq!(server_name("www.example.com").as_deref(), Some("www.example.com"));
        assert_eq!(server_name("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(server_name(":443"), None);
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(hex("0aFf"), Some(vec![10, 255]));
        assert_eq!(hex(""), Some(vec![]));
        for bad in ["0", "0x", "zz", "+1", "é"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }
}

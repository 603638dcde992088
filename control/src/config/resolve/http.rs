//! Checks over HTTP and HTTPS: one request typed among the keys of the check, or several in tables of their own.

use std::net::IpAddr;

use toml::Spanned;

use super::report::Report;
use super::{probe, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file::{self, BooleanOrText, IntegerOrText, Typed};
use crate::config::keys::join;
use crate::model::{Http, HttpVersion, Pattern, Request, Tls, Verify};

const VERSIONS: &[(&str, HttpVersion)] =
    &[("1.0", HttpVersion::Http10), ("1.0C", HttpVersion::Http10Close), ("1.1", HttpVersion::Http11)];

/// Status codes have three digits (RFC 9110, section 15).
const STATUS: std::ops::RangeInclusive<i64> = 100..=999;

/// The requests of a check; `None` after an error.
pub(super) fn resolve(report: &mut Report, typed: &file::Check, path: &str, is_tls: bool) -> Option<Http> {
    let host = host(report, &typed.host, path);
    let version = match &typed.http_version {
        Some(word) => value::word(report, word, &join(path, "http_version"), "version of HTTP", VERSIONS),
        None => Some(HttpVersion::default()),
    };
    let requests = requests(report, typed, path);
    let tls = match is_tls {
        true => tls(report, typed, host.as_ref(), path).map(Some),
        false => Some(None),
    };
    Some(Http {
        tls: tls?,
        version: version?,
        host: host?,
        requests: requests?,
        fast_recovery: value::boolean(typed.fast_recovery.as_ref()),
    })
}

/// The name that a server is asked for that is called `host`, which may name a port: none if it is an address (RFC 6066,
/// section 3).
pub(in crate::config) fn server_name(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = [host, name].iter().any(|text| text.parse::<IpAddr>().is_ok()) || name.starts_with('[');
    (!is_address).then_some(name)
}

fn host(report: &mut Report, typed: &Typed<String>, path: &str) -> Option<Option<String>> {
    match typed {
        Some(name) => value::token(report, name, &join(path, "host"), "host name").map(Some),
        None => Some(None),
    }
}

fn requests(report: &mut Report, typed: &file::Check, path: &str) -> Option<Vec<Request>> {
    let only = file::Request {
        path: typed.path.clone(),
        host: None,
        status: typed.status.clone(),
        digest: typed.digest.clone(),
        pattern: typed.pattern.clone(),
        match_not: typed.match_not.clone(),
        match_from: typed.match_from.clone(),
        match_to: typed.match_to.clone(),
    };
    if typed.request.is_empty() {
        return Some(vec![request(report, &only, path)?]);
    }
    let misplaced = [
        ("path", only.path.as_ref().map(Spanned::span)),
        ("status", only.status.as_ref().map(Spanned::span)),
        ("digest", only.digest.as_ref().map(Spanned::span)),
        ("match", only.pattern.as_ref().map(Spanned::span)),
        ("match_not", only.match_not.as_ref().map(Spanned::span)),
        ("match_from", only.match_from.as_ref().map(Spanned::span)),
        ("match_to", only.match_to.as_ref().map(Spanned::span)),
    ];
    for (key, at) in misplaced.iter().filter_map(|(key, at)| Some((key, at.clone()?))) {
        let message = format!("the check has its requests in tables of their own, so this {key} is nobody's");
        report.error(at, &join(path, key), message, format!("put it below a [[{path}.request]]"));
    }
    let path = join(path, "request");
    let requests: Vec<Option<Request>> =
        typed.request.iter().map(|typed| request(report, typed.get_ref(), &path)).collect();
    requests.into_iter().collect()
}

fn request(report: &mut Report, typed: &file::Request, path: &str) -> Option<Request> {
    let target = match &typed.path {
        Some(text) => target(report, text, &join(path, "path")),
        None => Some(defaults::PATH.to_owned()),
    };
    let host = host(report, &typed.host, path);
    let status = status(report, typed.status.as_ref(), &join(path, "status"));
    let digest = match &typed.digest {
        Some(text) => digest(report, text, &join(path, "digest")).map(Some),
        None => Some(None),
    };
    let pattern = pattern(report, typed, path);
    Some(Request { path: target?, host: host?, status: status?, digest: digest?, pattern: pattern? })
}

/// What the request line asks for.
fn target(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<String> {
    let target = value::token(report, typed, path, "path of a request")?;
    if !target.starts_with('/') {
        let help = format!("begin with /: path = {}", quote(&format!("/{target}")));
        report.error(typed.span(), path, format!("{} does not begin with /", quote(&target)), help);
        return None;
    }
    Some(target)
}

fn status(
    report: &mut Report,
    typed: Option<&Spanned<Vec<Spanned<IntegerOrText>>>>,
    path: &str,
) -> Option<Vec<(u16, u16)>> {
    const HELP: &str = "give codes from 100 to 999, and ranges of them: [200, \"300-399\"]";
    let Some(list) = typed else { return Some(vec![defaults::STATUS]) };
    if list.get_ref().is_empty() {
        report.error(list.span(), path, "no status is good", HELP);
        return None;
    }
    let mut one = |typed: &Spanned<IntegerOrText>| {
        let message = match typed.get_ref() {
            IntegerOrText::Integer(code) => match u16::try_from(*code) {
                Ok(status) if STATUS.contains(code) => return Some((status, status)),
                _ => format!("{code} is out of range"),
            },
            IntegerOrText::Text(text) => match range(text) {
                Some(range) => return Some(range),
                None => format!("{} is not a range of status codes", quote(text)),
            },
        };
        report.error(typed.span(), path, message, HELP);
        None
    };
    let ranges: Vec<Option<(u16, u16)>> = list.get_ref().iter().map(&mut one).collect();
    ranges.into_iter().collect()
}

/// Both ends of `300-399`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let code = |text: &str| {
        let code = text.trim();
        let code: u16 = (code.len() == 3).then(|| code.parse().ok()).flatten()?;
        STATUS.contains(&i64::from(code)).then_some(code)
    };
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}

fn digest(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<[u8; 16]> {
    let digest = probe::unhex(typed.get_ref()).and_then(|bytes| bytes.try_into().ok());
    if digest.is_none() {
        let message = format!("{} is not an MD5 digest", quote(typed.get_ref()));
        let help = "write its 32 hexadecimal digits: `curl -s http://192.0.2.21/ | md5sum` prints them";
        report.error(typed.span(), path, message, help);
    }
    digest
}

/// What the body must have in it, or must not; `None` after an error.
fn pattern(report: &mut Report, typed: &file::Request, path: &str) -> Option<Option<Pattern>> {
    let mut offset = |typed: &Typed<i64>, key| match typed {
        Some(offset) => {
            value::number(report, offset, &join(path, key), 0..=u32::MAX).map(|at| Some(at as usize))
        }
        None => Some(None),
    };
    let (first, last) = (offset(&typed.match_from, "match_from"), offset(&typed.match_to, "match_to"));
    let (expression, key, negated) = match (&typed.pattern, &typed.match_not) {
        (Some(_), Some(not)) => {
            let help = "take out one of the two, or make two requests";
            report.error(not.span(), &join(path, "match_not"), "there is a match already", help);
            return None;
        }
        (Some(expression), None) => (expression, "match", false),
        (None, Some(expression)) => (expression, "match_not", true),
        (None, None) => {
            let typed = [("match_from", &typed.match_from), ("match_to", &typed.match_to)];
            for (key, at) in typed.into_iter().filter_map(|(key, typed)| Some((key, typed.as_ref()?.span())))
            {
                let help = "say what is to match: match = \"OK\"";
                report.error(at, &join(path, key), "there is nothing to match", help);
            }
            return (first?.is_none() && last?.is_none()).then_some(None);
        }
    };
    if let Err(error) = regex::bytes::Regex::new(expression.get_ref()) {
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let message = format!("{} is not a regular expression: {why}", quote(expression.get_ref()));
        let help =
            "see https://docs.rs/regex for what can be written; in '...' TOML leaves backslashes alone";
        report.error(expression.span(), &join(path, key), message, help);
        return None;
    }
    let (first, last) = (first?.unwrap_or(0), last?);
    if let (Some(last), Some(place)) = (last.filter(|last| *last < first), &typed.match_to) {
        let message = format!("{last} is before match_from, {first}: nothing can match");
        report.error(place.span(), &join(path, "match_to"), message, "make it at least match_from");
        return None;
    }
    Some(Some(Pattern { expression: expression.get_ref().clone(), negated, first, last }))
}

/// `host`: none if it has an error.
fn tls(report: &mut Report, typed: &file::Check, host: Option<&Option<String>>, path: &str) -> Option<Tls> {
    let default = || host.map(|host| host.as_deref().and_then(server_name).map(str::to_owned));
    let server_name = match &typed.sni {
        None => default(),
        Some(sni) => match sni.get_ref() {
            BooleanOrText::Boolean(false) => Some(None),
            BooleanOrText::Boolean(true) => match default() {
                Some(None) => {
                    let help = "name it: sni = \"www.example.com\"";
                    report.error(
                        sni.span(),
                        &join(path, "sni"),
                        "there is no host to take the name of",
                        help,
                    );
                    None
                }
                name => name,
            },
            BooleanOrText::Text(text) => name(report, sni, text, &join(path, "sni")).map(Some),
        },
    };
    let authorities = match &typed.ca {
        Some(file) => value::path(report, file, &join(path, "ca")).map(Some),
        None => Some(None),
    };
    let verified = match &typed.verify {
        None => Some(None),
        Some(verify) => match verify.get_ref() {
            BooleanOrText::Boolean(is_verified) => Some(is_verified.then_some(None)),
            BooleanOrText::Text(text) => {
                name(report, verify, text, &join(path, "verify")).map(|name| Some(Some(name)))
            }
        },
    };
    if let (Some(file), Some(None)) = (&typed.ca, &verified) {
        let help = "write verify = true, or take it out";
        report.error(file.span(), &join(path, "ca"), "the certificate is not verified", help);
        return None;
    }
    let (server_name, authorities) = (server_name?, authorities?);
    Some(Tls { server_name, verify: verified?.map(|name| Verify { authorities, name }) })
}

fn name(report: &mut Report, typed: &Spanned<BooleanOrText>, text: &str, path: &str) -> Option<String> {
    value::token(report, &Spanned::new(typed.span(), text.to_owned()), path, "host name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_status_codes_has_two_ends_in_order() {
        assert_eq!(range("200-299"), Some((200, 299)));
        assert_eq!(range("200 - 200"), Some((200, 200)));
        for bad in ["200", "299-200", "99-200", "200-1000", "200-", "+20-300", "a-b", ""] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_no_name_to_ask_for() {
        assert_eq!(server_name("www.example.com"), Some("www.example.com"));
        assert_eq!(server_name("www.example.com:8443"), Some("www.example.com"));
        for address in ["192.0.2.1", "192.0.2.1:443", "2001:db8::1", "[2001:db8::1]:443", "[2001:db8::1]"] {
            assert_eq!(server_name(address), None, "{address}");
        }
    }
}

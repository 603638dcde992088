//! What a check probes: the keys of each kind of probe, and that no other's are there.

use std::ops::Range;
use std::str::FromStr;

use hickory_proto::rr::{Name, RecordType};
use toml::Spanned;

use super::report::Report;
use super::{command, http, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file::{self, Typed};
use crate::config::keys::join;
use crate::model::{Command, Dns, FileCheck, Probe, Script, Smtp, Udp};

/// RFC 768 over IPv4: what fits one datagram.
const LARGEST_PAYLOAD: usize = 65_507;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
    Https,
    Smtp,
    Dns,
    Udp,
    Ping,
    Script,
    File,
}

use Kind::{Dns as DNS, File as FILE, Http as HTTP, Https as HTTPS, Ping as PING, Script as SCRIPT};
use Kind::{Smtp as SMTP, Tcp as TCP, Udp as UDP};

const KINDS: &[(&str, Kind)] = &[
    ("tcp", TCP),
    ("http", HTTP),
    ("https", HTTPS),
    ("smtp", SMTP),
    ("dns", DNS),
    ("udp", UDP),
    ("ping", PING),
    ("script", SCRIPT),
    ("file", FILE),
];

/// What the check of type `name` probes; `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Check,
    name: &Spanned<String>,
    path: &str,
) -> Option<Probe> {
    let kind = value::word(report, name, &join(path, "type"), "type of check", KINDS)?;
    let belongs = all_belong(report, typed, kind, path);
    let probe = match kind {
        Kind::Tcp => Some(Probe::Tcp),
        Kind::Ping => Some(Probe::Ping),
        Kind::Http => http::resolve(report, typed, path, false).map(Probe::Http),
        Kind::Https => http::resolve(report, typed, path, true).map(Probe::Http),
        Kind::Smtp => smtp(report, typed, path).map(Probe::Smtp),
        Kind::Dns => dns(report, typed, path).map(Probe::Dns),
        Kind::Udp => udp(report, typed, path).map(Probe::Udp),
        Kind::Script => script(report, table, typed, path).map(Probe::Script),
        Kind::File => file(report, table, typed, path).map(Probe::File),
    };
    probe.filter(|_| belongs)
}

/// Whether no key is there that is of another kind of probe: it would be thought to act.
fn all_belong(report: &mut Report, typed: &file::Check, kind: Kind, path: &str) -> bool {
    fn at<T>(typed: &Typed<T>) -> Option<Range<usize>> {
        typed.as_ref().map(Spanned::span)
    }
    const NET: &[Kind] = &[TCP, HTTP, HTTPS, SMTP, DNS, UDP, PING];
    const PORT: &[Kind] = &[TCP, HTTP, HTTPS, SMTP, DNS, UDP];
    const WEB: &[Kind] = &[HTTP, HTTPS];
    let keys = [
        ("address", at(&typed.address), NET),
        ("source", at(&typed.source), NET),
        ("interface", at(&typed.interface), NET),
        ("mark", at(&typed.mark), NET),
        ("port", at(&typed.port), PORT),
        ("source_port", at(&typed.source_port), PORT),
        ("path", at(&typed.path), &[HTTP, HTTPS, FILE]),
        ("status", at(&typed.status), WEB),
        ("digest", at(&typed.digest), WEB),
        ("match", at(&typed.pattern), WEB),
        ("match_not", at(&typed.match_not), WEB),
        ("match_from", at(&typed.match_from), WEB),
        ("match_to", at(&typed.match_to), WEB),
        ("host", at(&typed.host), WEB),
        ("http_version", at(&typed.http_version), WEB),
        ("fast_recovery", at(&typed.fast_recovery), WEB),
        ("request", typed.request.first().map(Spanned::span), WEB),
        ("sni", at(&typed.sni), &[HTTPS]),
        ("verify", at(&typed.verify), &[HTTPS]),
        ("ca", at(&typed.ca), &[HTTPS]),
        ("helo", at(&typed.helo), &[SMTP]),
        ("record", at(&typed.record), &[DNS]),
        ("name", at(&typed.name), &[DNS]),
        ("payload", at(&typed.payload), &[UDP]),
        ("payload_hex", at(&typed.payload_hex), &[UDP]),
        ("require_reply", at(&typed.require_reply), &[UDP]),
        ("min_reply", at(&typed.min_reply), &[UDP]),
        ("max_reply", at(&typed.max_reply), &[UDP]),
        ("command", at(&typed.command), &[SCRIPT]),
        ("user", at(&typed.user), &[SCRIPT]),
        ("group", at(&typed.group), &[SCRIPT]),
        ("sets_weight", at(&typed.sets_weight), &[SCRIPT]),
        ("factor", at(&typed.factor), &[FILE]),
    ];
    let mut all = true;
    for (key, at, kinds) in keys {
        let Some(at) = at.filter(|_| !kinds.contains(&kind)) else { continue };
        let named = |kinds: &[Kind]| -> String {
            let names = KINDS.iter().filter(|(_, kind)| kinds.contains(kind));
            names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        let message = format!("a check of type {} has no {key}", named(&[kind]));
        let help = format!("take it out; {key} is for checks of type {}", named(kinds));
        report.error(at, &join(path, key), message, help);
        all = false;
    }
    all
}

fn smtp(report: &mut Report, typed: &file::Check, path: &str) -> Option<Smtp> {
    let helo = match &typed.helo {
        Some(name) => value::token(report, name, &join(path, "helo"), "host name"),
        None => Some(defaults::HELO.to_owned()),
    };
    Some(Smtp { helo: helo? })
}

fn dns(report: &mut Report, typed: &file::Check, path: &str) -> Option<Dns> {
    let mut one = |typed: &Typed<String>, key, noun, default: &str, help, is_good: fn(&str) -> bool| {
        let Some(typed) = typed else { return Some(default.to_owned()) };
        let text = typed.get_ref();
        if is_good(text) {
            return Some(text.clone());
        }
        report.error(typed.span(), &join(path, key), format!("{} is not a {noun}", quote(text)), help);
        None
    };
    let record = one(
        &typed.record,
        "record",
        "type of record",
        defaults::RECORD,
        "write it in capitals: \"A\", \"AAAA\", \"SOA\", \"MX\", \"TXT\"",
        // The crate asserts that no letter is small.
        |text| !text.contains(|c: char| c.is_ascii_lowercase()) && RecordType::from_str(text).is_ok(),
    );
    let name = one(
        &typed.name,
        "name",
        "domain name",
        defaults::NAME,
        "labels of at most 63 characters, parted by dots: \"example.com.\"; \".\" is the root",
        |text| !text.is_empty() && Name::from_ascii(text).is_ok(),
    );
    Some(Dns { record: record?, name: name? })
}

fn udp(report: &mut Report, typed: &file::Check, path: &str) -> Option<Udp> {
    let payload = payload(report, typed, path);
    let mut length = |typed: &Typed<i64>, key, default: usize| match typed {
        Some(count) => value::number(report, count, &join(path, key), 0..=defaults::MAX_REPLY),
        None => Some(default),
    };
    let least = length(&typed.min_reply, "min_reply", 0);
    let most = length(&typed.max_reply, "max_reply", defaults::MAX_REPLY);
    let bound = typed.min_reply.as_ref().or(typed.max_reply.as_ref());
    let wanted = match (&typed.require_reply, bound) {
        (Some(wanted), Some(bound)) if !wanted.get_ref() => {
            let message = "no reply is required, so its length says nothing";
            let help = "take it out, or write require_reply = true";
            let key = if typed.min_reply.is_some() { "min_reply" } else { "max_reply" };
            report.error(bound.span(), &join(path, key), message, help);
            return None;
        }
        (Some(wanted), _) => *wanted.get_ref(),
        // Whoever says how long an answer is wants one.
        (None, bound) => bound.is_some(),
    };
    let (least, most) = (least?, most?);
    if let Some(place) = typed.min_reply.as_ref().filter(|_| least > most) {
        let message = format!("no answer is at least {least} and at most {most} bytes long");
        report.error(place.span(), &join(path, "min_reply"), message, "make it at most max_reply");
        return None;
    }
    Some(Udp { payload: payload?, reply: wanted.then_some((least, most)) })
}

fn payload(report: &mut Report, typed: &file::Check, path: &str) -> Option<Vec<u8>> {
    let (typed, bytes, key) = match (&typed.payload, &typed.payload_hex) {
        (None, None) => return Some(Vec::new()),
        (Some(_), Some(hex)) => {
            let help = "give it once: as text, or in hexadecimal digits";
            report.error(hex.span(), &join(path, "payload_hex"), "there is a payload already", help);
            return None;
        }
        (Some(text), None) => (text, Some(text.get_ref().as_bytes().to_vec()), "payload"),
        (None, Some(hex)) => (hex, unhex(hex.get_ref()), "payload_hex"),
    };
    let (message, help) = match bytes {
        Some(bytes) if bytes.len() <= LARGEST_PAYLOAD => return Some(bytes),
        Some(bytes) => (
            format!("{} bytes do not fit one datagram", bytes.len()),
            format!("give at most {LARGEST_PAYLOAD}"),
        ),
        None => (
            format!("{} is not a row of bytes", quote(typed.get_ref())),
            "write two hexadecimal digits for each byte: \"00ff\"".to_owned(),
        ),
    };
    report.error(typed.span(), &join(path, key), message, help);
    None
}

/// The bytes that pairs of hexadecimal digits are.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let (pairs, []) = digits.as_ref()?.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn script(report: &mut Report, table: &Range<usize>, typed: &file::Check, path: &str) -> Option<Script> {
    const PATH: &str = "service.check.command";
    let argv = match &typed.command {
        Some(words) => command::argv(report, words, &join(path, "command"), table, PATH),
        None => {
            report.missing_at(table.clone(), PATH, &join(path, "command"));
            None
        }
    };
    let user = command::user(report, typed.user.as_ref(), typed.group.as_ref(), path);
    // What is wrong with it is said with the timing.
    let timeout = typed.timeout.as_ref().and_then(|text| value::parse_duration(text.get_ref()));
    Some(Script {
        command: Command { argv: argv?, user: user?, timeout },
        sets_weight: value::boolean(typed.sets_weight.as_ref()),
    })
}

fn file(report: &mut Report, table: &Range<usize>, typed: &file::Check, path: &str) -> Option<FileCheck> {
    const PATH: &str = "service.check.path";
    let file = match &typed.path {
        Some(text) => value::path(report, text, &join(path, "path")),
        None => {
            report.missing_at(table.clone(), PATH, &join(path, "path"));
            None
        }
    };
    let factor = match &typed.factor {
        Some(factor) => value::number(report, factor, &join(path, "factor"), i32::MIN..=i32::MAX),
        None => Some(0),
    };
    Some(FileCheck { path: file?, factor: factor? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("00fFa1"), Some(vec![0, 0xff, 0xa1]));
        for bad in ["0", "0g", "0x00", "+1", "00 ff"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_of_probe_is_called_what_it_is_shown_as() {
        let named = |probe: Probe| KINDS.iter().any(|(name, _)| *name == probe.name());
        assert!(named(Probe::Tcp) && named(Probe::Ping));
        assert!(named(Probe::Smtp(Smtp { helo: String::new() })));
        assert!(named(Probe::Udp(Udp { payload: Vec::new(), reply: None })));
    }
}

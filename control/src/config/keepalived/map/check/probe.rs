//! What the checkers other than HTTP's ask.

use std::time::Duration;

use hickory_proto::rr::Name;

use super::super::super::report::Report;
use super::super::command;
use super::super::file::{self, Files};
use super::super::section::{Line, Section};
use super::super::value::{self, LONGEST, named};
use super::http::hex;
use crate::model::{Command, Dns, FileCheck, Probe, Script, Smtp, Udp};

/// keepalived: SMTP_DEFAULT_HELO, check_smtp.h.
const HELO: &str = "smtpchecker.keepalived.org";
/// keepalived: DNS_TYPE, check_dns.h; the first is the default.
const RECORDS: &[(&str, &str)] = &[
    ("SOA", "SOA"),
    ("A", "A"),
    ("NS", "NS"),
    ("CNAME", "CNAME"),
    ("MX", "MX"),
    ("TXT", "TXT"),
    ("AAAA", "AAAA"),
    ("RRSIG", "RRSIG"),
    ("DNSKEY", "DNSKEY"),
];
/// RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// keepalived: UINT8_MAX, udp_check_handler().
const LONGEST_REPLY: usize = 255;
/// A datagram of IPv4: 65535 bytes less both headers.
const LONGEST_PAYLOAD: usize = 65_507;

pub(super) fn smtp(report: &mut Report, section: &Section<'_>) -> Option<Probe> {
    let helo = match section.last("helo_name") {
        Some(line) => value::token(report, line.word(0)?, line.path())?,
        None => HELO.to_owned(),
    };
    Some(Probe::Smtp(Smtp { helo }))
}

pub(super) fn dns(report: &mut Report, section: &Section<'_>) -> Option<Probe> {
    let record = match section.last("type") {
        Some(line) => {
            // keepalived: dns_type_lookup() takes them in any case.
            let mut word = line.word(0)?.clone();
            word.text = word.text.to_uppercase();
            value::word(report, &word, line.path(), "type of record", RECORDS)
        }
        None => Some(RECORDS[0].0),
    };
    let name = match section.last("name") {
        Some(line) => name(report, line),
        None => Some(".".to_owned()),
    };
    Some(Probe::Dns(Dns { record: record?.to_owned(), name: name? }))
}

fn name(report: &mut Report, line: &Line<'_>) -> Option<String> {
    let word = line.word(0)?;
    let name = value::token(report, word, line.path())?;
    let labels = name.strip_suffix('.').unwrap_or(&name);
    let good = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
    let fits = labels.len() <= LONGEST_NAME && (name == "." || labels.split('.').all(good));
    if !fits || Name::from_ascii(&name).is_err() {
        let message = format!("{} is no name: a label is 1 to {LONGEST_LABEL} bytes", named(&word.text));
        report.error(&word.at, line.path(), message, "give a name such as www.example.com");
        return None;
    }
    Some(name)
}

pub(super) fn udp(report: &mut Report, section: &Section<'_>) -> Option<Probe> {
    let payload = match section.last("payload") {
        Some(line) => payload(report, line),
        None => Some(Vec::new()),
    };
    let mut length = |name| {
        let line = section.last(name)?;
        value::number(report, line.word(0)?, line.path(), 0..=usize::from(u16::MAX))
    };
    let (least, most) = (length("min_reply_length"), length("max_reply_length"));
    let Some(line) = section.last("require_reply") else {
        for name in ["min_reply_length", "max_reply_length"] {
            if let Some(line) = section.last(name).filter(|_| section.lacks("require_reply")) {
                let message = format!("no answer is required, so {} changes nothing", named(name));
                report.warning(line.at(), line.path(), message, "add require_reply, or take it out");
            }
        }
        return Some(Probe::Udp(Udp { payload: payload?, reply: None }));
    };
    if let Some(word) = line.word(0) {
        let message = "an answer is required, and what is in it is not looked at";
        report.warning(&word.at, line.path(), message, "know that, or check with a program: MISC_CHECK");
    }
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(LONGEST_REPLY));
    if least > most {
        let message = format!("no answer has at least {least} and at most {most} bytes");
        let at = section.last("min_reply_length").unwrap_or(line);
        report.error(at.at(), at.path(), message, "make max_reply_length the larger one");
    }
    Some(Probe::Udp(Udp { payload: payload?, reply: Some((least, most)) }))
}

/// Hexadecimal digits, in groups if one likes.
fn payload(report: &mut Report, line: &Line<'_>) -> Option<Vec<u8>> {
    let text: String = line.words().iter().map(|word| word.text.as_str()).collect::<Vec<_>>().concat();
    let text: String = text.split_whitespace().collect();
    let bytes = hex(&text).filter(|bytes| (1..=LONGEST_PAYLOAD).contains(&bytes.len()));
    if bytes.is_none() {
        let message = format!("{} are no bytes in hexadecimal digits", named(&text));
        report.error(line.at(), line.path(), message, "give two digits a byte: payload 0a0b 0c0d");
    }
    bytes
}

/// `misc_timeout`; 0 is keepalived's way to leave it out.
pub(super) fn script_timeout(report: &mut Report, section: &Section<'_>) -> Option<Duration> {
    let line = section.last("misc_timeout")?;
    let timeout = value::duration(report, line.word(0)?, line.path(), Duration::ZERO..=LONGEST)?;
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

pub(super) fn script(report: &mut Report, line: &Line<'_>, timeout: Option<Duration>) -> Option<Probe> {
    let section = &line.section;
    let Some(path) = section.last("misc_path") else {
        if section.lacks("misc_path") {
            let message = "MISC_CHECK has no misc_path: there is nothing to run";
            report.error(
                line.at(),
                line.path(),
                message,
                "add one: misc_path \"/usr/local/bin/check 192.0.2.11\"",
            );
        }
        return None;
    };
    let command = command::command(report, path)?;
    // A user may stand after the program, or on a line of its own, which counts.
    let user = section.last("user").and_then(|line| command::user(report, line)).or(command.user);
    Some(Probe::Script(Script {
        command: Command { argv: command.argv, user, timeout },
        sets_weight: section.has("misc_dynamic"),
    }))
}

pub(super) fn file(report: &mut Report, line: &Line<'_>, files: &Files) -> Option<Probe> {
    let section = &line.section;
    let own = section.last("weight").map(|line| file::factor(report, line));
    let Some(track) = section.last("track_file") else {
        if section.lacks("track_file") {
            let message = "FILE_CHECK has no track_file: there is nothing to look at";
            report.error(
                line.at(),
                line.path(),
                message,
                "add the name of a track_file block: track_file load",
            );
        }
        return None;
    };
    let file = files.find(report, track.word(0)?, track.path())?;
    let factor = match own {
        Some(factor) => factor?,
        None => file.factor,
    };
    Some(Probe::File(FileCheck { path: file.path, factor }))
}

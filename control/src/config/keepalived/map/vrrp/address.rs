//! A line of `virtual_ipaddress`: an address, its prefix, and where it is put.

use std::net::IpAddr;

use super::super::super::report::{At, Report};
use super::super::super::tree::{Statement, Word};
use super::super::value::{self, named};
use crate::config::resolve;

/// What may follow the address, and how many words each takes.
const OPTIONS: &[(&str, usize)] = &[
    ("dev", 1),
    ("brd", 1),
    ("broadcast", 1),
    ("scope", 1),
    ("label", 1),
    ("peer", 1),
    ("preferred_lft", 1),
    ("track_group", 1),
    ("home", 0),
    ("-nodad", 0),
    ("mngtmpaddr", 0),
    ("noprefixroute", 0),
    ("autojoin", 0),
    ("no_track", 0),
    ("use_vmac", 0),
];

/// An address, and the interface that it is put on, if the line names one.
pub(super) struct Address {
    pub address: IpAddr,
    pub interface: Option<(String, At)>,
}

/// Reads a line; none after an error.
pub(super) fn read(report: &mut Report, statement: &Statement, path: &str) -> Option<Address> {
    let word = &statement.keyword;
    let (head, prefix) = match word.text.split_once('/') {
        Some((head, prefix)) => (head, Some(prefix)),
        None => (word.text.as_str(), None),
    };
    let address = value::any_address(report, &Word { text: head.to_owned(), at: word.at.clone() }, path);
    let interface = options(report, &statement.arguments, path);
    let address = address?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let fits = |prefix: &str| {
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        (digits && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= width))
            || (address.is_ipv4() && resolve::netmask(prefix).is_some())
    };
    if let Some(prefix) = prefix.filter(|prefix| !fits(prefix)) {
        let message = format!("{} is no prefix length of {address}", named(prefix));
        report.error(&word.at, path, message, format!("give 0 to {width}: {address}/{width}"));
    }
    Some(Address { address, interface })
}

/// The interface that is named among them.
fn options(report: &mut Report, words: &[Word], path: &str) -> Option<(String, At)> {
    let mut interface = None;
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let Some((name, takes)) = OPTIONS.iter().find(|(name, _)| *name == word.text) else {
            let message = format!("{} is no option of an address", named(&word.text));
            report.error(&word.at, path, message, "one address a line: 192.0.2.10/24 dev eth0 label eth0:1");
            return interface;
        };
        let Some(value) = after.get(..*takes) else {
            report.error(
                &word.at,
                path,
                format!("there is nothing after {}", named(name)),
                "give its value, or take it out",
            );
            return interface;
        };
        if let ("dev", [value]) = (*name, value) {
            interface = value::interface(report, value, path).map(|name| (name, value.at.clone()));
        }
        rest = &after[*takes..];
    }
    interface
}

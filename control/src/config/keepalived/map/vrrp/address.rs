//! A line of `virtual_ipaddress`: an address, its prefix, and how it is put on an interface.

use std::net::{IpAddr, Ipv4Addr};

use super::super::super::report::Report;
use super::super::super::tree::{Statement, Word};
use super::super::value::{self, named};
use crate::config::resolve;
use crate::model::VirtualAddress;

/// What may follow the address, how many words each takes, and what is lost where it does nothing.
const OPTIONS: &[(&str, usize, Option<&str>)] = &[
    ("dev", 1, None),
    ("brd", 1, None),
    ("broadcast", 1, None),
    ("scope", 1, None),
    ("label", 1, None),
    ("peer", 1, None),
    ("no_track", 0, None),
    ("preferred_lft", 1, Some("the address is preferred for as long as it is there")),
    ("track_group", 1, Some("there are no static addresses to track")),
    ("home", 0, Some("the address is not marked as a home address")),
    (
        "-nodad",
        0,
        Some("IPv6 addresses are added without duplicate address detection, as those without this word"),
    ),
    ("mngtmpaddr", 0, Some("the kernel makes no temporary addresses of it")),
    ("noprefixroute", 0, Some("the kernel adds the route of its prefix")),
    ("autojoin", 0, Some("multicast groups are not joined with it")),
    (
        "use_vmac",
        0,
        Some("it is put on the interface as it is; use_vmac of the instance is for all its addresses"),
    ),
];

/// Names of scopes: /etc/iproute2/rt_scopes as it is shipped.
const SCOPES: &[(&str, u8)] =
    &[("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

const LINE: &str = "one address a line: 192.0.2.10/24 dev eth0 label eth0:1";

/// Reads a line; none after an error.
pub(super) fn read(report: &mut Report, statement: &Statement, path: &str) -> Option<VirtualAddress> {
    let (address, prefix) = prefixed(report, &statement.keyword, path)?;
    let mut read = VirtualAddress {
        address,
        prefix_len: prefix.unwrap_or(width(address)),
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    };
    let mut broadcast = None;
    let mut rest = statement.arguments.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let Some((name, takes, lost)) = OPTIONS.iter().find(|(name, ..)| *name == word.text) else {
            report.error(&word.at, path, format!("{} is no option of an address", named(&word.text)), LINE);
            return None;
        };
        let Some(values) = after.get(..*takes) else {
            let message = format!("there is nothing after {}", named(name));
            report.error(&word.at, path, message, "give its value, or take it out");
            return None;
        };
        rest = &after[*takes..];
        if let Some(lost) = lost {
            let message = format!("{} of an address does nothing here: {lost}", named(name));
            report.warning(&word.at, path, message, "take it out, or know that");
            continue;
        }
        match (*name, values.first()) {
            ("dev", Some(word)) => read.interface = Some(value::interface(report, word, path)?),
            ("brd" | "broadcast", Some(word)) => broadcast = Some(word),
            ("scope", Some(word)) => read.scope = scope(report, word, path)?,
            ("label", Some(word)) => read.label = Some(label(report, word, path)?),
            ("peer", Some(word)) => peer(report, word, path, prefix, &mut read)?,
            _ => read.no_track = true,
        }
    }
    if let Some(word) = broadcast {
        read.broadcast = broadcast_of(report, word, path, &read)?;
    }
    Some(read)
}

/// Bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `ADDRESS[/PREFIX]`
fn prefixed(report: &mut Report, word: &Word, path: &str) -> Option<(IpAddr, Option<u8>)> {
    let (head, prefix) = match word.text.split_once('/') {
        Some((head, prefix)) => (head, Some(prefix)),
        None => (word.text.as_str(), None),
    };
    let address = value::host(report, &Word { text: head.to_owned(), at: word.at.clone() }, path)?;
    let Some(prefix) = prefix else { return Some((address, None)) };
    let width = width(address);
    let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let length = match prefix.parse::<u8>().ok().filter(|length| digits && *length <= width) {
        Some(length) => Some(length),
        None if address.is_ipv4() => resolve::netmask(prefix),
        None => None,
    };
    if length.is_none() {
        let message = format!("{} is no prefix length of {address}", named(prefix));
        report.error(&word.at, path, message, format!("give 0 to {width}: {address}/{width}"));
    }
    Some((address, Some(length?)))
}

fn scope(report: &mut Report, word: &Word, path: &str) -> Option<u8> {
    match word.text.starts_with(|c: char| c.is_ascii_digit()) {
        true => value::number(report, word, path, 0..=u8::MAX),
        false => value::word(report, word, path, "scope", SCOPES),
    }
}

fn label(report: &mut Report, word: &Word, path: &str) -> Option<String> {
    let label = value::token(report, word, path)?;
    if label.len() > resolve::LONGEST_NAME {
        let message = format!("{} has more than {} bytes", named(&label), resolve::LONGEST_NAME);
        report.error(&word.at, path, message, "give a shorter label: eth0:1");
        return None;
    }
    Some(label)
}

/// `prefix`: of the address itself, for which that of the peer stands.
fn peer(
    report: &mut Report,
    word: &Word,
    path: &str,
    prefix: Option<u8>,
    read: &mut VirtualAddress,
) -> Option<()> {
    let (address, length) = prefixed(report, word, path)?;
    if address.is_ipv4() != read.address.is_ipv4() {
        let message = format!("{address} and {} are of two families", read.address);
        report.error(&word.at, path, message, "give both of one family");
        return None;
    }
    if prefix.is_some_and(|prefix| prefix != width(address)) {
        let message = format!("the prefix of {} is not taken: that of its peer counts", read.address);
        report.warning(&word.at, path, message, "put the prefix behind the peer alone");
    }
    read.prefix_len = length.unwrap_or(width(address));
    read.peer = Some(address);
    Some(())
}

/// `+`: all bits of the host are set; `-`: none is.
fn broadcast_of(
    report: &mut Report,
    word: &Word,
    path: &str,
    read: &VirtualAddress,
) -> Option<Option<Ipv4Addr>> {
    let IpAddr::V4(address) = read.address else {
        let message = format!("{} has no broadcast address: it is IPv6", read.address);
        report.error(&word.at, path, message, "take it out");
        return None;
    };
    let host = u32::MAX.checked_shr(read.prefix_len.into()).unwrap_or(0);
    match word.text.as_str() {
        // The address alone has nobody to be heard by.
        "+" | "-" if host <= 1 => Some(None),
        "+" => Some(Some(Ipv4Addr::from_bits(address.to_bits() | host))),
        "-" => Some(Some(Ipv4Addr::from_bits(address.to_bits() & !host))),
        text => match text.parse() {
            Ok(broadcast) => Some(Some(broadcast)),
            Err(_) => {
                let message = format!("{} is not an IPv4 address", named(text));
                report.error(&word.at, path, message, "give an address, or + for the one of the prefix");
                None
            }
        },
    }
}

//! `virtual_server_group`: several VIPs and ports that one `virtual_server` stands for. Each becomes a service of its own.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::report::{At, Report};
use super::super::tree::{Statement, Word};
use super::section::Section;
use super::value::{self, named};
use crate::config::shape::closest;
use crate::model::Ports;

/// More than this many addresses in one line are a slip.
const MOST_ADDRESSES: u128 = 1 << 16;

/// A VIP and its port.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub vip: IpAddr,
    pub ports: Ports,
    /// Where it stands.
    pub at: At,
}

/// The groups by name.
#[derive(Default)]
pub(super) struct Groups {
    groups: HashMap<String, Vec<Entry>>,
}

impl Groups {
    /// Reads all groups of the file.
    pub(super) fn read(report: &mut Report, root: &Section<'_>) -> Groups {
        let used: BTreeSet<&str> = root
            .all("virtual_server")
            .filter(|line| line.words().len() == 2 && line.words()[0].text == "group")
            .map(|line| line.words()[1].text.as_str())
            .collect();
        let mut groups = Groups::default();
        for line in root.all("virtual_server_group") {
            let Some(name) = line.word(0) else { continue };
            if line.entries().is_empty() {
                let message = format!("group {} is empty", named(&name.text));
                report.error(
                    line.at(),
                    line.path(),
                    message,
                    "give it a VIP and a port a line: 192.0.2.10 80",
                );
            }
            if !used.contains(name.text.as_str()) {
                let message = format!("no virtual_server is of group {}", named(&name.text));
                let help =
                    format!("add `virtual_server group {} {{ ... }}`, or take the group out", name.text);
                report.warning(line.at(), line.path(), message, help);
            }
            let mut entries = Vec::new();
            for statement in line.entries() {
                entries.extend(entry(report, statement, line.path()).into_iter().flatten());
            }
            if groups.groups.insert(name.text.clone(), entries).is_some() {
                let message = format!("group {} is here twice: this one counts", named(&name.text));
                report.warning(&name.at, line.path(), message, "put all its lines into one block");
            }
        }
        groups
    }

    /// The entries of the group called `name`.
    pub(super) fn find(&self, report: &mut Report, name: &Word, path: &str) -> Option<&[Entry]> {
        let found = self.groups.get(&name.text);
        if found.is_none() {
            let help = match closest(&name.text, self.groups.keys().map(String::as_str)) {
                Some(close) => format!("did you mean {}?", named(close)),
                None => format!("add it: virtual_server_group {} {{ 192.0.2.10 80 }}", name.text),
            };
            report.error(&name.at, path, format!("there is no group {}", named(&name.text)), help);
        }
        found.map(Vec::as_slice)
    }
}

/// The port of a virtual server: 0, or none, is any.
pub(super) fn ports(report: &mut Report, word: Option<&Word>, path: &str) -> Option<Ports> {
    let Some(word) = word else { return Some(Ports::ANY) };
    match value::number(report, word, path, 0..=u16::MAX)? {
        0 => Some(Ports::ANY),
        port => Some(Ports::exact(port)),
    }
}

/// `ADDRESS[-LAST|/PREFIX] [PORT]`
fn entry(report: &mut Report, statement: &Statement, path: &str) -> Option<Vec<Entry>> {
    let word = &statement.keyword;
    if word.text == "fwmark" {
        let message = "firewall marks are not there: shunt takes frames before the firewall sees them";
        report.error(&word.at, path, message, "name the VIPs and ports themselves: 192.0.2.10 80");
        return None;
    }
    if let Some(extra) = statement.arguments.get(1) {
        let message = format!("{} is too much", named(&extra.text));
        report.error(&extra.at, path, message, "one VIP and port a line: 192.0.2.10 80");
        return None;
    }
    let ports = ports(report, statement.arguments.first(), path);
    let (first, last) = match span(&word.text) {
        Ok(Some(span)) => span,
        Ok(None) => value::address(report, word, path).map(|address| (address, address))?,
        Err((message, help)) => {
            report.error(&word.at, path, format!("{} {message}", named(&word.text)), help);
            return None;
        }
    };
    for end in [first, last] {
        if let Some((what, help)) = crate::config::resolve::unusable(end) {
            report.error(&word.at, path, format!("{end} is {what}"), help);
            return None;
        }
    }
    let ports = ports?;
    let addresses = bits(first)..=bits(last);
    Some(
        addresses
            .map(|bits| Entry { vip: of_bits(bits, first.is_ipv4()), ports, at: word.at.clone() })
            .collect(),
    )
}

type Wrong = (&'static str, &'static str);

/// First and last address of a range or a network; none: it is neither.
fn span(text: &str) -> Result<Option<(IpAddr, IpAddr)>, Wrong> {
    const RANGE: Wrong = (
        "is not a range of addresses",
        "write first and last address, or the last one's last part: 192.0.2.10-192.0.2.15, 192.0.2.10-15",
    );
    let (first, last) = if let Some((head, prefix)) = text.split_once('/') {
        network(head, prefix)?
    } else if let Some((head, tail)) = text.split_once('-') {
        let first: IpAddr = head.parse().map_err(|_| RANGE)?;
        let last = match tail.contains(['.', ':']) {
            true => tail.parse().map_err(|_| RANGE)?,
            false => with_last_part(first, tail).ok_or(RANGE)?,
        };
        (first, last)
    } else {
        return Ok(None);
    };
    if first.is_ipv4() != last.is_ipv4() {
        return Err(RANGE);
    }
    match bits(last).checked_sub(bits(first)) {
        None => Err(("is a range upside down", "the lower address comes first")),
        Some(more) if more >= MOST_ADDRESSES => {
            Err(("has more than 65536 addresses", "a service is made of each: give a smaller range"))
        }
        Some(_) => Ok(Some((first, last))),
    }
}

fn network(head: &str, prefix: &str) -> Result<(IpAddr, IpAddr), Wrong> {
    const NETWORK: Wrong = ("is not a network", "write its address and prefix length: 192.0.2.16/28");
    let first: IpAddr = head.parse().map_err(|_| NETWORK)?;
    let width = if first.is_ipv4() { 32 } else { 128 };
    let prefix: u32 = prefix.parse().ok().filter(|prefix| (1..=width).contains(prefix)).ok_or(NETWORK)?;
    let host = u128::MAX.checked_shr(128 - (width - prefix)).unwrap_or(0);
    if bits(first) & host != 0 {
        return Err(("has bits set beyond its prefix", "give the first address of the network"));
    }
    Ok((first, of_bits(bits(first) | host, first.is_ipv4())))
}

/// keepalived (inet_stor): the last byte in decimal of an IPv4 address, the last 16 bits in hexadecimal of an IPv6 one.
fn with_last_part(first: IpAddr, part: &str) -> Option<IpAddr> {
    if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match first {
        IpAddr::V4(v4) => {
            let last: u8 = part.parse().ok()?;
            Some(Ipv4Addr::from_bits(v4.to_bits() & !0xff | u32::from(last)).into())
        }
        IpAddr::V6(v6) => {
            let last = u16::from_str_radix(part, 16).ok()?;
            Some(Ipv6Addr::from_bits(v6.to_bits() & !0xffff | u128::from(last)).into())
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn of_bits(bits: u128, is_ipv4: bool) -> IpAddr {
    match is_ipv4 {
        true => Ipv4Addr::from_bits(bits as u32).into(),
        false => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_an_address_or_the_last_part_of_one() {
        let ends = |text: &str| span(text).unwrap().map(|(first, last)| format!("{first} {last}"));
        assert_eq!(ends("192.0.2.10"), None);
        assert_eq!(ends("192.0.2.10-15").unwrap(), "192.0.2.10 192.0.2.15");
        assert_eq!(ends("192.0.2.10-192.0.3.1").unwrap(), "192.0.2.10 192.0.3.1");
        assert_eq!(ends("2001:db8::10-1f").unwrap(), "2001:db8::10 2001:db8::1f");
        assert_eq!(ends("192.0.2.16/28").unwrap(), "192.0.2.16 192.0.2.31");
        assert_eq!(ends("192.0.2.16/32").unwrap(), "192.0.2.16 192.0.2.16");
        assert_eq!(ends("2001:db8::/120").unwrap(), "2001:db8:: 2001:db8::ff");
        assert_eq!(ends("10.0.0.0/16").unwrap(), "10.0.0.0 10.0.255.255");
    }

    #[test]
    fn what_is_no_range_says_why() {
        let why = |text: &str| span(text).unwrap_err().0;
        assert_eq!(why("192.0.2.15-10"), "is a range upside down");
        for bad in ["192.0.2.10-", "192.0.2.10-256", "192.0.2.10-x", "192.0.2.10-2001:db8::1", "x-5"] {
            assert_eq!(why(bad), "is not a range of addresses", "{bad}");
        }
        for bad in ["192.0.2.16/", "192.0.2.16/0", "192.0.2.16/33", "x/8"] {
            assert_eq!(why(bad), "is not a network", "{bad}");
        }
        assert_eq!(why("192.0.2.17/28"), "has bits set beyond its prefix");
        assert_eq!(why("10.0.0.0/15"), "has more than 65536 addresses");
        assert_eq!(why("2001:db8::/32"), "has more than 65536 addresses");
    }
}

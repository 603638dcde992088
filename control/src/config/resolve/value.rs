//! Single values: numbers in a range, words out of a list, durations, addresses. Each function reports its own fault
//! and answers `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use crate::config::error::quote;
use crate::config::shape::closest;

/// A number within `range`.
pub(super) fn number<T>(
    report: &mut Report,
    typed: &Spanned<i64>,
    path: &str,
    range: RangeInclusive<T>,
) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let value = T::try_from(*typed.get_ref()).ok().filter(|value| range.contains(value));
    if value.is_none() {
        let help = format!("give a number from {} to {}", range.start(), range.end());
        report.error(typed.span(), path, format!("{} is out of range", typed.get_ref()), help);
    }
    value
}

/// One word out of `known`.
pub(super) fn word<T: Copy>(
    report: &mut Report,
    typed: &Spanned<String>,
    path: &str,
    noun: &str,
    known: &[(&str, T)],
) -> Option<T> {
    let text = typed.get_ref();
    let value = known.iter().find(|(name, _)| name == text).map(|(_, value)| *value);
    if value.is_none() {
        report.error(
            typed.span(),
            path,
            format!("unknown {noun} {}", quote(text)),
            help_for_word(text, known),
        );
    }
    value
}

/// A duration with its unit: `200ms`, `2s`, `1m`.
pub(super) fn duration(
    report: &mut Report,
    typed: &Spanned<String>,
    path: &str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let (start, end) = (*range.start(), *range.end());
    match parse_duration(typed.get_ref()) {
        Some(duration) if range.contains(&duration) => Some(duration),
        Some(_) => {
            let help = format!("give a duration from {start:?} to {end:?}");
            report.error(typed.span(), path, format!("{} is out of range", quote(typed.get_ref())), help);
            None
        }
        None => {
            let help = "write a whole number and its unit, ms, s or m: \"200ms\", \"2s\", \"1m\"";
            report.error(typed.span(), path, format!("{} is not a duration", quote(typed.get_ref())), help);
            None
        }
    }
}

/// An address that a host can have.
pub(super) fn address(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<IpAddr> {
    let text = typed.get_ref();
    let Ok(address) = text.parse::<IpAddr>() else {
        report.error(
            typed.span(),
            path,
            format!("{} is not an IP address", quote(text)),
            help_for_address(text),
        );
        return None;
    };
    if let Some(what) = unusable(address) {
        let help = "give the address of one host";
        report.error(typed.span(), path, format!("{address} is {what}"), help);
        return None;
    }
    Some(address)
}

/// Whether the dataplane forwards the family of this address. The one place to change once it forwards IPv6.
pub(super) fn is_forwarded(address: IpAddr) -> bool {
    address.is_ipv4()
}

/// Refuses an address of a family that is not forwarded.
pub(super) fn forwarded(report: &mut Report, address: IpAddr, span: Range<usize>, path: &str) {
    if !is_forwarded(address) {
        let help = "give an IPv4 address; IPv6 services stay with IPVS for now";
        report.error(span, path, format!("{address} is IPv6, and this version forwards IPv4 only"), help);
    }
}

/// The unit is required: a bare number means seconds to some programs and milliseconds to others.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

fn help_for_word<T>(text: &str, known: &[(&str, T)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    match closest(text, names.iter().copied()) {
        Some(close) => format!("did you mean \"{close}\"?"),
        None => format!("known: {}", names.join(", ")),
    }
}

fn help_for_address(text: &str) -> &'static str {
    let has_address = |separator| {
        text.rsplit_once(separator).is_some_and(|(head, _): (&str, &str)| head.parse::<Ipv4Addr>().is_ok())
    };
    if has_address('/') {
        "give the address alone, without a prefix length"
    } else if has_address(':') {
        "give the address alone; the port is a key of its own"
    } else if text.starts_with('[') {
        "give the address alone, without brackets"
    } else if text.split('.').count() == 4 && text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        "an IPv4 address is four numbers from 0 to 255, without leading zeros"
    } else if text.chars().any(char::is_alphabetic) && !text.contains(':') {
        "give an address; host names are not looked up"
    } else {
        "give an address such as 192.0.2.10"
    }
}

/// Why no host has this address.
fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an unspecified address (0.0.0.0/8)"),
        IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6 == Ipv6Addr::UNSPECIFIED => Some("an unspecified address"),
        IpAddr::V6(v6) if v6.is_loopback() => Some("a loopback address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("1m"), Some(Duration::from_secs(60)));
        for bad in [
            "",
            "2",
            "s",
            "1.5s",
            "-1s",
            "2 s",
            "2S",
            "2sec",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_told_apart() {
        let what = |text: &str| unusable(text.parse().unwrap());
        assert_eq!(what("0.0.0.0"), Some("an unspecified address (0.0.0.0/8)"));
        assert_eq!(what("127.0.0.1"), Some("a loopback address"));
        assert_eq!(what("224.0.0.18"), Some("a multicast address"));
        assert_eq!(what("255.255.255.255"), Some("the broadcast address"));
        assert_eq!(what("::"), Some("an unspecified address"));
        assert_eq!(what("::1"), Some("a loopback address"));
        assert_eq!(what("ff02::12"), Some("a multicast address"));
        assert_eq!(what("192.0.2.10"), None);
        assert_eq!(what("2001:db8::1"), None);
    }

    #[test]
    fn the_help_for_an_address_sees_what_was_typed_instead() {
        assert!(help_for_address("192.0.2.10/32").contains("prefix length"));
        assert!(help_for_address("192.0.2.10:80").contains("port"));
        assert!(help_for_address("[2001:db8::1]").contains("brackets"));
        assert!(help_for_address("192.0.2.256").contains("0 to 255"));
        assert!(help_for_address("192.0.2.010").contains("leading zeros"));
        assert!(help_for_address("www.example.com").contains("host names"));
        assert!(help_for_address("").contains("such as"));
    }
}

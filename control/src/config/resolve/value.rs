//! Single values: numbers in a range, words out of a list, durations, shares, addresses. Each function reports its own fault
//! and answers `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
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
            let help = format!("give a duration from {} to {}", spell(start), spell(end));
            report.error(typed.span(), path, format!("{} is out of range", quote(typed.get_ref())), help);
            None
        }
        None => {
            let help = "write a whole number and its unit, ms, s, m, h or d: \"200ms\", \"2s\", \"1m\"";
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
    if let Some((what, help)) = unusable(address) {
        report.error(typed.span(), path, format!("{address} is {what}"), help);
        return None;
    }
    Some(address)
}

/// An address that a probe can go to or come from, the director's own included.
pub(super) fn host(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<IpAddr> {
    let text = typed.get_ref();
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => return Some(address),
        Ok(address) => {
            let message = format!("{address} is no address of a host");
            report.error(typed.span(), path, message, "give the address of one host");
        }
        Err(_) => {
            let message = format!("{} is not an IP address", quote(text));
            report.error(typed.span(), path, message, help_for_address(text));
        }
    }
    None
}

/// Text that becomes part of a line of some protocol: not empty, without blanks and control characters.
pub(super) fn token(report: &mut Report, typed: &Spanned<String>, path: &str, noun: &str) -> Option<String> {
    let text = typed.get_ref();
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if !text.is_empty() && !text.contains(bad) {
        return Some(text.clone());
    }
    let message = format!("{} is not a {noun}", quote(text));
    report.error(typed.span(), path, message, "write it without blanks and control characters");
    None
}

/// One line of text, not empty.
pub(super) fn line(report: &mut Report, typed: &Spanned<String>, path: &str, noun: &str) -> Option<String> {
    let text = typed.get_ref();
    if !text.trim().is_empty() && !text.contains(char::is_control) {
        return Some(text.clone());
    }
    let message = format!("{} is not a {noun}", quote(text));
    report.error(typed.span(), path, message, "write one line of text");
    None
}

/// The absolute path of a file.
pub(super) fn path(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<PathBuf> {
    let text = typed.get_ref();
    if text.starts_with('/') && !text.contains('\0') {
        return Some(PathBuf::from(text));
    }
    let message = format!("{} is not an absolute path", quote(text));
    report.error(typed.span(), path, message, "begin with /: shunt may be started in any directory");
    None
}

/// Whether a switch is on.
pub(super) fn boolean(typed: Option<&Spanned<bool>>) -> bool {
    typed.is_some_and(|typed| *typed.get_ref())
}

/// A share such as `50%` or `12.5%`, in 1/1000; 0.1 % to 100 %.
pub(super) fn percent(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<u16> {
    let share = parse_percent(typed.get_ref());
    if share.is_none() {
        let message = format!("{} is not a share", quote(typed.get_ref()));
        report.error(typed.span(), path, message, "write a percentage from \"0.1%\" to \"100%\": \"50%\"");
    }
    share
}

/// The MAC address of one host.
pub(super) fn mac(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<[u8; 6]> {
    let text = quote(typed.get_ref());
    let Some(mac) = parse_mac(typed.get_ref()) else {
        let help = "write six pairs of hexadecimal digits: \"02:00:00:00:00:21\"";
        report.error(typed.span(), path, format!("{text} is not a MAC address"), help);
        return None;
    };
    // IEEE 802, section 8.2: the lowest bit of the first byte marks a group.
    let what = if mac == [0; 6] {
        "no host's address"
    } else if mac[0] & 1 == 1 {
        "a group address"
    } else {
        return Some(mac);
    };
    report.error(typed.span(), path, format!("{text} is {what}"), "give the MAC address of one host");
    None
}

fn parse_percent(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenths) || tenths.len() != 1 {
        return None;
    }
    let share = whole.parse::<u16>().ok()?.checked_mul(10)?.checked_add(tenths.parse().ok()?)?;
    (1..=1000).contains(&share).then_some(share)
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut pairs = text.split([':', '-']);
    for byte in &mut mac {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        *byte = pair.bytes().all(|c| c.is_ascii_hexdigit()).then(|| u8::from_str_radix(pair, 16).ok())??;
    }
    pairs.next().is_none().then_some(mac)
}

/// The unit is required: a bare number means seconds to some programs and milliseconds to others.
pub(in crate::config) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
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

/// What to write instead of `text`, which is no address.
pub(in crate::config) fn help_for_address(text: &str) -> &'static str {
    let has_port = text.rsplit_once(':').is_some_and(|(head, _)| head.parse::<Ipv4Addr>().is_ok());
    let is_prefix = text.rsplit_once('/').is_some_and(|(head, _)| head.parse::<IpAddr>().is_ok());
    if is_prefix {
        "give the address alone, without a prefix length"
    } else if has_port {
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

/// A duration as people write it: in the largest unit that keeps it whole.
pub(in crate::config) fn spell(duration: Duration) -> String {
    let millis = duration.as_millis();
    if !millis.is_multiple_of(1000) {
        return format!("{millis}ms");
    }
    match duration.as_secs() {
        days if days > 0 && days.is_multiple_of(86_400) => format!("{}d", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        seconds => format!("{seconds}s"),
    }
}

/// Why this is no address that clients or frames can be sent to, and what to give instead.
pub(in crate::config) fn unusable(address: IpAddr) -> Option<(&'static str, String)> {
    let what = match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "an unspecified address (0.0.0.0/8)",
        IpAddr::V4(v4) if v4.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6 == Ipv6Addr::UNSPECIFIED => "an unspecified address",
        IpAddr::V6(v6) if v6.is_loopback() => "a loopback address",
        IpAddr::V6(v6) if v6.is_multicast() => "a multicast address",
        // RFC 4291 section 2.5.5.2. On the wire it is that IPv4 address, or nothing.
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            let v4 = v6.to_ipv4_mapped().map(|v4| v4.to_string()).unwrap_or_default();
            return Some(("an IPv4-mapped address", format!("give the IPv4 address itself: \"{v4}\"")));
        }
        // RFC 4291 section 2.5.6: it means another host on each link, and clients behind a router have none of it.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let help =
                "give an address that is valid beyond its link: a global or a unique local one (fd00::/8)";
            return Some(("a link-local address", help.into()));
        }
        _ => return None,
    };
    Some((what, "give the address of one host".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("1m"), Some(Duration::from_secs(60)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_duration("31d"), Some(Duration::from_secs(31 * 86_400)));
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
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_duration_is_spelled_so_that_it_can_be_read_again() {
        for (millis, spelled) in [
            (1, "1ms"),
            (1500, "1500ms"),
            (60_000, "60s"),
            (3_600_000, "1h"),
            (90_000_000, "25h"),
            (86_400_000, "1d"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(spell(duration), spelled);
            assert_eq!(parse_duration(spelled), Some(duration));
        }
    }

    #[test]
    fn a_share_is_a_percentage_with_at_most_one_decimal() {
        for (text, share) in [("100%", 1000), ("50%", 500), ("0.1%", 1), ("12.5%", 125), ("007%", 70)] {
            assert_eq!(parse_percent(text), Some(share), "{text}");
        }
        for bad in [
            "", "%", "0%", "0.0%", "100.1%", "101%", "50", "-1%", "+5%", ".5%", "5.%", "1.25%", "9999999%",
            "5 %",
        ] {
            assert_eq!(parse_percent(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_mac_address_is_six_pairs() {
        assert_eq!(parse_mac("02:00:00:00:aB:21"), Some([2, 0, 0, 0, 0xab, 0x21]));
        assert_eq!(parse_mac("02-00-00-00-00-21"), Some([2, 0, 0, 0, 0, 0x21]));
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:00:21",
            "2:0:0:0:0:21",
            "02:00:00:00:00:+1",
            "020000000021",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_told_apart() {
        let what = |text: &str| unusable(text.parse().unwrap()).map(|(what, _)| what);
        assert_eq!(what("0.0.0.0"), Some("an unspecified address (0.0.0.0/8)"));
        assert_eq!(what("127.0.0.1"), Some("a loopback address"));
        assert_eq!(what("224.0.0.18"), Some("a multicast address"));
        assert_eq!(what("255.255.255.255"), Some("the broadcast address"));
        assert_eq!(what("::"), Some("an unspecified address"));
        assert_eq!(what("::1"), Some("a loopback address"));
        assert_eq!(what("ff02::12"), Some("a multicast address"));
        assert_eq!(what("::ffff:192.0.2.10"), Some("an IPv4-mapped address"));
        assert_eq!(what("fe80::1"), Some("a link-local address"));
        assert_eq!(what("febf::1"), Some("a link-local address"));
        assert_eq!(what("fec0::1"), None);
        assert_eq!(what("fd00::1"), None);
        assert_eq!(what("192.0.2.10"), None);
        assert_eq!(what("2001:db8::1"), None);
    }

    #[test]
    fn the_help_for_an_address_sees_what_was_typed_instead() {
        assert!(help_for_address("192.0.2.10/32").contains("prefix length"));
        assert!(help_for_address("2001:db8::10/64").contains("prefix length"));
        assert!(help_for_address("192.0.2.10:80").contains("port"));
        assert!(help_for_address("[2001:db8::1]").contains("brackets"));
        assert!(help_for_address("192.0.2.256").contains("0 to 255"));
        assert!(help_for_address("192.0.2.010").contains("leading zeros"));
        assert!(help_for_address("www.example.com").contains("host names"));
        assert!(help_for_address("").contains("such as"));
    }
}

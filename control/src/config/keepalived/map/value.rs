//! Single words: numbers, times, switches, addresses. Each function reports its own fault and answers `None`.
//!
//! keepalived takes what it can read of a number and falls back to a default where it cannot; here a number is one, or an
//! error.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::report::Report;
use super::super::tree::Word;
use super::section::Line;
use crate::config::error::quote;
use crate::config::resolve::{self, spell};
use crate::config::shape::closest;

/// Longest time that makes sense anywhere.
pub(super) const LONGEST: Duration = resolve::LONGEST;

/// A typed word in single quotes: escaped, and cut where it gets long.
pub(super) fn named(typed: &str) -> String {
    let quoted = quote(typed);
    let (head, tail) = quoted[1..].rsplit_once('"').unwrap_or((&quoted, ""));
    format!("'{head}'{tail}")
}

/// A whole number in `range`.
pub(super) fn number<T>(report: &mut Report, word: &Word, path: &str, range: RangeInclusive<T>) -> Option<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    let text = word.text.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let help = || format!("give a number from {} to {}", range.start(), range.end());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        report.error(&word.at, path, format!("{} is not a decimal number", named(text)), help());
        return None;
    }
    let value =
        text.parse::<i128>().ok().and_then(|n| T::try_from(n).ok()).filter(|value| range.contains(value));
    if value.is_none() {
        let message = format!("{} is out of range", cut(text));
        report.error(&word.at, path, message, help());
        return None;
    }
    leading_zero(report, word, path, digits);
    value
}

/// A time in seconds, with decimals down to the microsecond.
pub(super) fn timer(
    report: &mut Report,
    word: &Word,
    path: &str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let text = word.text.as_str();
    let Some(time) = parse_timer(text) else {
        let help = "give seconds, with a decimal point if need be: 6 or 1.5";
        report.error(&word.at, path, format!("{} is not a time in seconds", named(text)), help);
        return None;
    };
    if !range.contains(&time) {
        let help = format!("give seconds from {} to {}", seconds(*range.start()), seconds(*range.end()));
        report.error(&word.at, path, format!("{} s is out of range", cut(text)), help);
        return None;
    }
    leading_zero(report, word, path, text.split('.').next().unwrap_or_default());
    Some(time)
}

/// A time in whole milliseconds, as all of the model's are: the nearest one, and not 0 if it was not.
pub(super) fn duration(
    report: &mut Report,
    word: &Word,
    path: &str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let time = timer(report, word, path, range)?;
    let rounded = nearest_millisecond(time);
    if rounded != time {
        let message = format!("{} s is rounded to {}", cut(&word.text), spell(rounded));
        report.warning(&word.at, path, message, "give at most three decimals");
    }
    Some(rounded)
}

/// A switch: its keyword alone switches it on.
pub(super) fn switch(report: &mut Report, line: &Line<'_>) -> Option<bool> {
    let Some(word) = line.word(0) else { return Some(true) };
    match word.text.as_str() {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        text => {
            let help = "write on or off (true, false, yes and no are the same)";
            report.error(&word.at, line.path(), format!("{} is neither on nor off", named(text)), help);
            None
        }
    }
}

/// One word out of `known`.
pub(super) fn word<T: Copy>(
    report: &mut Report,
    word: &Word,
    path: &str,
    noun: &str,
    known: &[(&str, T)],
) -> Option<T> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == word.text) {
        return Some(*value);
    }
    let names = || known.iter().map(|(name, _)| *name);
    let other_case = names().find(|name| name.eq_ignore_ascii_case(&word.text));
    let help = match other_case.or_else(|| closest(&word.text, names())) {
        Some(close) => format!("did you mean {}?", named(close)),
        None => format!("known: {}", names().collect::<Vec<_>>().join(", ")),
    };
    report.error(&word.at, path, format!("unknown {noun} {}", named(&word.text)), help);
    None
}

/// An address that one host can have.
pub(super) fn address(report: &mut Report, word: &Word, path: &str) -> Option<IpAddr> {
    let address = any_address(report, word, path)?;
    if let Some((what, help)) = resolve::unusable(address) {
        report.error(&word.at, path, format!("{address} is {what}"), help);
        return None;
    }
    Some(address)
}

/// An address, link-local and multicast ones too.
pub(super) fn any_address(report: &mut Report, word: &Word, path: &str) -> Option<IpAddr> {
    let address = word.text.parse::<IpAddr>().ok();
    if address.is_none() {
        let help = resolve::help_for_address(&word.text);
        report.error(&word.at, path, format!("{} is not an IP address", named(&word.text)), help);
    }
    address
}

/// An address that a probe can go to or come from.
pub(super) fn host(report: &mut Report, word: &Word, path: &str) -> Option<IpAddr> {
    let address = any_address(report, word, path)?;
    if address.is_unspecified() || address.is_multicast() {
        report.error(
            &word.at,
            path,
            format!("{address} is no address of a host"),
            "give the address of one host",
        );
        return None;
    }
    Some(address)
}

/// The name of an interface.
pub(super) fn interface(report: &mut Report, word: &Word, path: &str) -> Option<String> {
    if let Some(fault) = resolve::name_fault(&word.text) {
        let help = "`ip link` lists the names of this machine's interfaces";
        report.error(&word.at, path, format!("{} {fault}", named(&word.text)), help);
        return None;
    }
    Some(word.text.clone())
}

/// Text that goes into a line of a protocol: it has no blank and no control character.
pub(super) fn token(report: &mut Report, word: &Word, path: &str) -> Option<String> {
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if word.text.is_empty() || word.text.contains(bad) {
        let message = format!("{} has a blank in it, or is nothing", named(&word.text));
        report.error(&word.at, path, message, "give one word");
        return None;
    }
    Some(word.text.clone())
}

fn leading_zero(report: &mut Report, word: &Word, path: &str, digits: &str) {
    if digits.len() > 1 && digits.starts_with('0') {
        let message = format!("{} has a leading zero; it is read as a decimal number", cut(&word.text));
        report.warning(&word.at, path, message, "take the zero away");
    }
}

fn parse_timer(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
        return None;
    }
    let micros: u32 = format!("{decimals:0<6}").parse().ok()?;
    // More digits than fit are no time that anyone means; the range says so.
    Some(Duration::new(whole.parse().unwrap_or(u64::MAX), micros * 1000))
}

fn nearest_millisecond(time: Duration) -> Duration {
    let rest = time.subsec_nanos() % 1_000_000;
    let whole = time - Duration::from_nanos(rest.into());
    match rest >= 500_000 || (whole.is_zero() && rest > 0) {
        true => whole + Duration::from_millis(1),
        false => whole,
    }
}

fn seconds(time: Duration) -> String {
    match time.subsec_micros() {
        0 => time.as_secs().to_string(),
        _ => time.as_secs_f64().to_string(),
    }
}

/// A number that may be long.
fn cut(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    if head.len() < text.len() { format!("{head}...") } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_decimal_seconds_down_to_the_microsecond() {
        for (text, micros) in
            [("0", 0), ("6", 6_000_000), ("1.5", 1_500_000), ("0.000001", 1), ("12.25", 12_250_000)]
        {
            assert_eq!(parse_timer(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1s", "0x10", "1.0000001", "1,5", "1e3"] {
            assert_eq!(parse_timer(bad), None, "{bad:?}");
        }
        assert!(parse_timer("99999999999999999999999").unwrap() > LONGEST);
    }

    #[test]
    fn a_time_is_rounded_to_the_nearest_millisecond_but_not_to_nothing() {
        for (micros, millis) in [(0, 0), (1, 1), (499, 1), (1499, 1), (1500, 2), (999_999, 1000), (3000, 3)] {
            assert_eq!(
                nearest_millisecond(Duration::from_micros(micros)),
                Duration::from_millis(millis),
                "{micros}"
            );
        }
    }

    #[test]
    fn a_word_is_quoted_so_that_it_cannot_steer_a_terminal() {
        assert_eq!(named("x"), "'x'");
        assert_eq!(named("a\x1b[2J"), r"'a\u{1b}[2J'");
        assert_eq!(named(&"y".repeat(70)), format!("'{}'...", "y".repeat(60)));
    }
}

//! The numbers of VRRP and their ranges (vrrp_parser.c), each read from the line that it stands on. After a fault the
//! answer is that nothing was typed: no model comes out then.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::super::report::Report;
use super::super::section::{Line, Section};
use super::super::value::{self, LONGEST};
use crate::model::Version;

/// RFC 3768: whole seconds in 8 bits. RFC 9568: 1/100 s in 12 bits.
const V2_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(255);
const V3_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(40_950);
/// keepalived: TIMER_MAX_SEC.
const MOST_DELAY: Duration = Duration::from_secs(1000);

/// A whole number in `range`.
pub(super) fn whole<T>(report: &mut Report, line: Option<&Line<'_>>, range: RangeInclusive<T>) -> Option<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    let line = line?;
    value::number(report, line.word(0)?, line.path(), range)
}

/// A whole number of seconds.
pub(super) fn seconds(report: &mut Report, line: Option<&Line<'_>>) -> Option<Duration> {
    whole(report, line, 0..=LONGEST.as_secs()).map(Duration::from_secs)
}

/// A time with decimals, from 0.
pub(super) fn time(report: &mut Report, line: Option<&Line<'_>>) -> Option<Duration> {
    let line = line?;
    value::duration(report, line.word(0)?, line.path(), Duration::ZERO..=LONGEST)
}

/// A switch: its keyword alone switches it on.
pub(super) fn switch(report: &mut Report, line: Option<&Line<'_>>) -> Option<bool> {
    value::switch(report, line?)
}

/// `preempt_delay`
pub(super) fn preempt_delay(report: &mut Report, section: &Section<'_>) -> Option<Duration> {
    let line = section.last("preempt_delay")?;
    value::duration(report, line.word(0)?, line.path(), Duration::ZERO..=MOST_DELAY)
}

/// `version` of an instance, or `vrrp_version` of all.
pub(super) fn version(report: &mut Report, line: Option<&Line<'_>>) -> Option<Version> {
    match whole(report, line, 2..=3_u8)? {
        2 => Some(Version::V2),
        _ => Some(Version::V3),
    }
}

/// A number of announcements; keepalived makes 1 of 0.
pub(super) fn repeat(report: &mut Report, line: Option<&Line<'_>>, most: u32) -> Option<u32> {
    let number = whole(report, line, 0..=most)?;
    if let Some(line) = line.filter(|_| number == 0) {
        let message = format!("{} is at least 1, and 1 is taken", line.key.name);
        report.warning(line.at(), line.path(), message, "write 1");
    }
    Some(number.max(1))
}

/// `advert_int` of an instance of this version.
pub(super) fn interval(report: &mut Report, line: &Line<'_>, version: Version) -> Option<Duration> {
    let word = line.word(0)?;
    let range = if version == Version::V2 { V2_INTERVALS } else { V3_INTERVALS };
    let interval = value::timer(report, word, line.path(), range)?;
    if version == Version::V2 && interval.subsec_nanos() != 0 {
        let message = format!("VRRP version 2 has whole seconds, and not {}", word.text);
        report.error(&word.at, line.path(), message, "give whole seconds, or write `version 3`");
        return None;
    }
    if version == Version::V3 && !interval.as_nanos().is_multiple_of(10_000_000) {
        let message = format!("VRRP version 3 has hundredths of a second, and not {}", word.text);
        report.error(&word.at, line.path(), message, "give two decimals at most");
        return None;
    }
    Some(interval)
}

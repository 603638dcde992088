//! The numbers of VRRP and their ranges (vrrp_parser.c).

use std::time::Duration;

use super::super::super::report::Report;
use super::super::keywords::Block::{self, GarpGroup, TrackProcess, VrrpInstance, VrrpScript};
use super::super::section::{Line, Section};
use super::super::value::{self, LONGEST};

/// What is typed.
#[derive(Clone, Copy)]
enum Range {
    /// A whole number.
    Whole(i64, i64),
    /// Seconds with decimals, from 0.
    Time,
    /// A switch.
    Switch,
    /// A weight, and `reverse` after it if one likes.
    Weight(i64),
}

const MOST: i64 = u32::MAX as i64;

const RANGES: &[(Block, &str, Range)] = &[
    (VrrpInstance, "virtual_router_id", Range::Whole(1, 255)),
    (VrrpInstance, "priority", Range::Whole(1, 255)),
    (VrrpInstance, "version", Range::Whole(2, 3)),
    (VrrpInstance, "preempt_delay", Range::Time),
    (VrrpInstance, "unicast_ttl", Range::Whole(0, 255)),
    (VrrpInstance, "debug", Range::Whole(0, 4)),
    (VrrpInstance, "garp_master_delay", Range::Whole(0, MOST)),
    (VrrpInstance, "garp_master_refresh", Range::Whole(0, MOST)),
    (VrrpInstance, "garp_master_repeat", Range::Whole(0, MOST)),
    (VrrpInstance, "garp_master_refresh_repeat", Range::Whole(0, MOST)),
    (VrrpInstance, "garp_lower_prio_delay", Range::Whole(0, MOST)),
    (VrrpInstance, "garp_lower_prio_repeat", Range::Whole(0, MOST)),
    (VrrpInstance, "down_timer_adverts", Range::Whole(1, 100)),
    (VrrpInstance, "kernel_rx_buf_size", Range::Whole(0, MOST)),
    (VrrpInstance, "skip_check_adv_addr", Range::Switch),
    (VrrpInstance, "strict_mode", Range::Switch),
    (VrrpInstance, "lower_prio_no_advert", Range::Switch),
    (VrrpInstance, "higher_prio_send_advert", Range::Switch),
    (VrrpInstance, "notify_deleted", Range::Switch),
    (VrrpInstance, "notify_priority_changes", Range::Switch),
    (VrrpInstance, "smtp_alert", Range::Switch),
    (Block::SyncGroup, "smtp_alert", Range::Switch),
    (Block::SyncGroup, "notify_priority_changes", Range::Switch),
    (VrrpScript, "interval", Range::Time),
    (VrrpScript, "timeout", Range::Time),
    (VrrpScript, "weight", Range::Weight(253)),
    (VrrpScript, "rise", Range::Whole(1, i32::MAX as i64)),
    (VrrpScript, "fall", Range::Whole(1, i32::MAX as i64)),
    (TrackProcess, "weight", Range::Weight(254)),
    (TrackProcess, "quorum", Range::Whole(1, 65535)),
    (TrackProcess, "quorum_max", Range::Whole(0, 65535)),
    (TrackProcess, "delay", Range::Time),
    (TrackProcess, "terminate_delay", Range::Time),
    (TrackProcess, "fork_delay", Range::Time),
    (GarpGroup, "garp_interval", Range::Time),
    (GarpGroup, "gna_interval", Range::Time),
];

/// RFC 3768: whole seconds in 8 bits. RFC 5798: 1/100 s in 12 bits.
const V2_INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(255);
const V3_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(40_950);

/// The numbers of a block of the file itself.
pub(super) fn check(report: &mut Report, block: &Line<'_>) {
    let Some(opens) = block.key.opens else { return };
    for line in &block.section.lines {
        let range = RANGES.iter().find(|(block, name, _)| *block == opens && *name == line.key.name);
        let Some((_, _, range)) = range else { continue };
        one(report, line, *range);
    }
}

/// The version that instances speak that name none; none: 2, or 3 over IPv6.
pub(super) fn version(report: &mut Report, root: &Section<'_>) -> Option<u8> {
    let line = root.all("global_defs").filter_map(|defs| defs.section.idle("vrrp_version")).last()?;
    value::number(report, line.word(0)?, line.path(), 2..=3)
}

/// `advert_int` of an instance of this version.
pub(super) fn interval(report: &mut Report, line: &Line<'_>, version: u8) {
    let Some(word) = line.word(0) else { return };
    let range = if version == 2 { V2_INTERVALS } else { V3_INTERVALS };
    let Some(interval) = value::timer(report, word, line.path(), range) else { return };
    if version == 2 && interval.subsec_nanos() != 0 {
        let message = format!("VRRP version 2 has whole seconds, and not {}", word.text);
        report.error(&word.at, line.path(), message, "give whole seconds, or write `version 3`");
    } else if version == 3 && !interval.as_millis().is_multiple_of(10) {
        let message = format!("VRRP version 3 has hundredths of a second, and not {}", word.text);
        report.error(&word.at, line.path(), message, "give two decimals at most");
    }
}

/// `N [reverse|noreverse]` after a `weight`.
pub(super) fn weight(report: &mut Report, words: &[super::super::super::tree::Word], path: &str, most: i64) {
    let Some((number, rest)) = words.split_first() else { return };
    value::number(report, number, path, -most..=most);
    if let Some(word) = rest.first() {
        let known = [("reverse", ()), ("noreverse", ()), ("no_reverse", ())];
        value::word(report, word, path, "option", &known);
    }
}

fn one(report: &mut Report, line: &Line<'_>, range: Range) {
    match (range, line.word(0)) {
        (Range::Switch, _) => {
            value::switch(report, line);
        }
        (Range::Weight(most), _) => weight(report, line.words(), line.path(), most),
        (Range::Whole(least, most), Some(word)) => {
            value::number(report, word, line.path(), least..=most);
        }
        (Range::Time, Some(word)) => {
            value::timer(report, word, line.path(), Duration::ZERO..=LONGEST);
        }
        (_, None) => {}
    }
}

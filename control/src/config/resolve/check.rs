//! `[service.check]`: how the real servers of a service are probed.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::value;
use crate::config::defaults;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{HealthCheck, Ports, Probe, Protocol, ServiceKey, Timing, ports as spelled};

const LONGEST: Duration = Duration::from_secs(3600);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Most consecutive results that can be asked for.
const MOST_RESULTS: u32 = 1000;

/// What can be probed; its keys differ, so each gets a function.
#[derive(Clone, Copy)]
enum ProbeType {
    Tcp,
}

const TYPES: &[(&str, ProbeType)] = &[("tcp", ProbeType::Tcp)];

/// The check of a service; `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    table: &Spanned<file::Check>,
    protocol: Option<Protocol>,
    ports: Option<Ports>,
    key: Option<ServiceKey>,
) -> Option<HealthCheck> {
    let (span, typed) = (table.span(), table.get_ref());
    if let Some(key) = key {
        report.locate(Place::Check(key), span.clone());
    }
    let port = match &typed.kind {
        Some(name) => match value::word(report, name, "service.check.type", "type of check", TYPES) {
            Some(ProbeType::Tcp) => tcp(report, &span, typed, protocol, ports),
            None => None,
        },
        None => {
            report.missing(span, "service.check.type");
            None
        }
    };
    let times = times(report, typed);
    let rise = results(report, typed.rise.as_ref(), "service.check.rise", defaults::RISE);
    let fall = results(report, typed.fall.as_ref(), "service.check.fall", defaults::FALL);
    let (interval, timeout) = times?;
    let timing = Timing { interval, timeout, rise: rise?, fall: fall?, ..defaults::TIMING };
    Some(HealthCheck { timing, ..HealthCheck::new(Probe::Tcp, port?) })
}

fn tcp(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Check,
    protocol: Option<Protocol>,
    ports: Option<Ports>,
) -> Option<u16> {
    const PATH: &str = "service.check.port";
    let unlike_tcp = protocol.filter(|protocol| *protocol != Protocol::Tcp);
    match &typed.port {
        Some(port) => return value::number(report, port, PATH, 1..=u16::MAX),
        None if !report.is_missing(table, PATH) => None,
        None => match (unlike_tcp, ports.map(|ports| (ports, ports.single()))) {
            (None, Some((_, Some(port)))) => Some(port),
            (Some(protocol), _) => {
                let message =
                    format!("missing: the service is {protocol}, so its port says nothing about a tcp check");
                let help = "add the TCP port that shows that the real server is well: port = 8080";
                report.error(table.clone(), PATH, message, help);
                None
            }
            (None, Some((ports, None))) => {
                let message = format!("missing: the service has more than one port ({})", spelled(ports));
                let help = "add the TCP port that shows that the real server is well: port = 8080";
                report.error(table.clone(), PATH, message, help);
                None
            }
            (None, None) => None,
        },
    }
}

/// Interval and timeout. A probe that outlives the interval would overlap the next one.
fn times(report: &mut Report, typed: &file::Check) -> Option<(Duration, Duration)> {
    let interval = match &typed.interval {
        Some(text) => value::duration(report, text, "service.check.interval", SHORTEST_INTERVAL..=LONGEST),
        None => Some(defaults::INTERVAL),
    };
    let Some(text) = &typed.timeout else {
        let interval = interval?;
        return Some((interval, defaults::TIMEOUT.min(interval)));
    };
    let timeout = value::duration(report, text, "service.check.timeout", SHORTEST_TIMEOUT..=LONGEST);
    let (interval, timeout) = (interval?, timeout?);
    if timeout > interval {
        let whose = if typed.interval.is_some() { "" } else { ", the default" };
        let message = format!("{timeout:?} is longer than the interval ({interval:?}{whose})");
        report.error(
            text.span(),
            "service.check.timeout",
            message,
            "make the timeout shorter or the interval longer",
        );
        return None;
    }
    Some((interval, timeout))
}

fn results(report: &mut Report, typed: Option<&Spanned<i64>>, path: &str, default: u32) -> Option<u32> {
    match typed {
        Some(count) => value::number(report, count, path, 1..=MOST_RESULTS),
        None => Some(default),
    }
}

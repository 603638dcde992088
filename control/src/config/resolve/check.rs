//! `[service.check]` and `[service.real.check]`: how real servers are probed. What is the same for all kinds of probes
//! is here, what differs in [`super::probe`].

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::timeouts::LONGEST;
use super::{director, probe, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file::{self, Typed};
use crate::config::keys::join;
use crate::config::location::Place;
use crate::model::{
    HealthCheck, Ports, Probe, Protocol, ServiceKey, Start, Target, Timing, ports as spelled,
};

const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Most consecutive results that can be asked for.
pub(in crate::config) const MOST_RESULTS: u32 = 1_000_000;

const START: &[(&str, Start)] = &[("down", Start::Unknown), ("up", Start::Up)];

/// What checks stand in, as far as it is good.
#[derive(Clone, Copy)]
pub(super) struct Home {
    pub(super) protocol: Option<Protocol>,
    pub(super) ports: Option<Ports>,
    pub(super) key: Option<ServiceKey>,
}

/// The checks whose tables are at `path`; `None` after an error.
pub(super) fn resolve_all(
    report: &mut Report,
    typed: &[Spanned<file::Check>],
    path: &str,
    home: &Home,
) -> Option<Vec<HealthCheck>> {
    if let (Some(first), Some(key)) = (typed.first(), home.key) {
        report.locate(Place::Check(key), first.span());
    }
    let checks: Vec<Option<HealthCheck>> =
        typed.iter().map(|table| resolve(report, table, path, home)).collect();
    checks.into_iter().collect()
}

/// The port that is probed where none is named: the service's, if it has one and the probe speaks its protocol.
pub(in crate::config) fn default_port(probe: &Probe, protocol: Protocol, ports: Ports) -> Option<u16> {
    ports.single().filter(|_| transport(probe) == Some(protocol))
}

fn resolve(
    report: &mut Report,
    table: &Spanned<file::Check>,
    path: &str,
    home: &Home,
) -> Option<HealthCheck> {
    let (span, typed) = (table.span(), table.get_ref());
    let probe = match &typed.kind {
        Some(name) => probe::resolve(report, &span, typed, name, path),
        None => {
            report.missing_at(span.clone(), "service.check.type", &join(path, "type"));
            None
        }
    };
    let port = match &probe {
        Some(probe) => port(report, &span, typed, probe, path, home),
        None => None,
    };
    let target = target(report, typed, path);
    let timing = timing(report, typed, probe.as_ref(), path);
    let start = match &typed.start {
        Some(word) => value::word(report, word, &join(path, "start"), "start", START),
        None => Some(Start::default()),
    };
    Some(HealthCheck {
        probe: probe?,
        target: Target { port: port?, ..target? },
        timing: timing?,
        start: start?,
        log_all_failures: value::boolean(typed.log_all_failures.as_ref()),
    })
}

/// The protocol that a probe's packets are, if it goes to a port.
fn transport(probe: &Probe) -> Option<Protocol> {
    match probe {
        Probe::Tcp | Probe::Http(_) | Probe::Smtp(_) => Some(Protocol::Tcp),
        Probe::Dns(_) | Probe::Udp(_) => Some(Protocol::Udp),
        Probe::Ping | Probe::Script(_) | Probe::File(_) => None,
    }
}

/// The port that is probed; 0 where the probe has none.
fn port(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Check,
    probe: &Probe,
    path: &str,
    home: &Home,
) -> Option<u16> {
    const PATH: &str = "service.check.port";
    let Some(transport) = transport(probe) else { return Some(0) };
    if let Some(port) = &typed.port {
        return value::number(report, port, &join(path, "port"), 1..=u16::MAX);
    }
    let (Some(protocol), Some(ports)) = (home.protocol, home.ports) else { return None };
    let port = default_port(probe, protocol, ports);
    if port.is_none() && report.is_missing(table, PATH) {
        let message = match protocol == transport {
            true => format!("missing: the service has more than one port ({})", spelled(ports)),
            false => {
                format!("missing: the service is {protocol}, so its port says nothing about a {probe} check")
            }
        };
        let shows = if transport == Protocol::Tcp { "TCP" } else { "UDP" };
        let help = format!("add the {shows} port that shows that the real server is well: port = 8080");
        report.error(table.clone(), &join(path, "port"), message, help);
    }
    port
}

/// Where probes go and come from, but for the port.
fn target(report: &mut Report, typed: &file::Check, path: &str) -> Option<Target> {
    let host = |report: &mut Report, typed: &Typed<String>, key| match typed {
        Some(text) => value::host(report, text, &join(path, key)).map(Some),
        None => Some(None),
    };
    let address = host(report, &typed.address, "address");
    let source = host(report, &typed.source, "source");
    let source_port = match &typed.source_port {
        Some(port) => value::number(report, port, &join(path, "source_port"), 1..=u16::MAX),
        None => Some(0),
    };
    let interface = match &typed.interface {
        Some(name) => interface(report, name, &join(path, "interface")).map(Some),
        None => Some(None),
    };
    let mark = match &typed.mark {
        Some(mark) => value::number(report, mark, &join(path, "mark"), 0..=u32::MAX),
        None => Some(0),
    };
    let (address, source) = (address?, source?);
    if let (Some(to), Some(from), Some(typed)) = (address, source, &typed.source)
        && to.is_ipv4() != from.is_ipv4()
    {
        let message = format!("{from} and {to} are of different families");
        report.error(typed.span(), &join(path, "source"), message, "give two IPv4 or two IPv6 addresses");
        return None;
    }
    Some(Target { address, port: 0, source, source_port: source_port?, interface: interface?, mark: mark? })
}

fn interface(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<String> {
    let name = typed.get_ref();
    let Some(fault) = director::name_fault(name) else { return Some(name.clone()) };
    let help = "`ip link` lists the names of this machine's interfaces";
    report.error(typed.span(), path, format!("{} {fault}", quote(name)), help);
    None
}

fn timing(report: &mut Report, typed: &file::Check, probe: Option<&Probe>, path: &str) -> Option<Timing> {
    let mut time = |typed: &Typed<String>, key, shortest| match typed {
        Some(text) => value::duration(report, text, &join(path, key), shortest..=LONGEST).map(Some),
        None => Some(None),
    };
    let interval = time(&typed.interval, "interval", SHORTEST_INTERVAL);
    let timeout = time(&typed.timeout, "timeout", SHORTEST_TIMEOUT);
    let retry = time(&typed.retry, "retry", Duration::ZERO);
    let warmup = time(&typed.warmup, "warmup", Duration::ZERO);
    let mut results = |typed: &Typed<i64>, key, default| match typed {
        Some(count) => value::number(report, count, &join(path, key), 1..=MOST_RESULTS),
        None => Some(default),
    };
    let rise = results(&typed.rise, "rise", defaults::RISE);
    let fall = results(&typed.fall, "fall", defaults::FALL);
    let interval = interval?.unwrap_or(defaults::INTERVAL);
    let timeout = timeout?.unwrap_or_else(|| default_timeout(probe, interval));
    if let Some(place) = typed.timeout.as_ref().filter(|_| timeout > interval) {
        let whose = if typed.interval.is_some() { "" } else { ", the default" };
        let message = format!("{timeout:?} is longer than the interval ({interval:?}{whose})");
        let help = "probes do not overlap: after one that takes longer than the interval the next is made at the next \
                    multiple of it; make the timeout shorter, or the interval longer";
        report.warning(place.span(), &join(path, "timeout"), message, help);
    }
    Some(Timing { interval, timeout, retry: retry?, rise: rise?, fall: fall?, warmup: warmup? })
}

/// A probe is answered within the interval, and a program may take all of it.
fn default_timeout(probe: Option<&Probe>, interval: Duration) -> Duration {
    match probe {
        Some(Probe::Script(_)) => interval,
        _ => defaults::TIMEOUT.min(interval),
    }
}

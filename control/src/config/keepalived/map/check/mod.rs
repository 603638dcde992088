//! Checkers: what a real server is asked, from where, and how often.
//!
//! A value that a checker leaves out is the real server's, else the virtual server's, else the default of its kind
//! (keepalived: validate_check_config()).

mod http;
mod pattern;
mod probe;
mod timing;

pub(super) use timing::Inherited;

use super::super::report::{At, Report};
use super::file::Files;
use super::section::{Line, Section};
use super::value::{self, named};
use crate::model::{HealthCheck, Probe, Start, Target};
use timing::Kind;

/// A check, and where its checker stands. Its port is 0 where it is the service's.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    pub check: HealthCheck,
    pub at: At,
}

/// What the checkers of a real server ask of what stands around it.
pub(super) struct Context<'a> {
    pub inherited: &'a Inherited,
    pub files: &'a Files,
    /// The real server's port; 0: the service's.
    pub port: u16,
    /// The real server's family, if its address is good.
    pub is_ipv4: Option<bool>,
}

/// The checkers of a real server, in the order of the file. A fault leaves one out.
pub(super) fn all(report: &mut Report, real: &Section<'_>, context: &Context<'_>) -> Vec<Checker> {
    let mut checkers = Vec::new();
    for line in &real.lines {
        let checks = match line.key.name {
            "TCP_CHECK" => one(report, line, context, Kind::Usual, Some(Probe::Tcp)),
            "HTTP_GET" | "SSL_GET" => http(report, line, context),
            "SMTP_CHECK" => smtp(report, line, context),
            "DNS_CHECK" => {
                let probe = probe::dns(report, &line.section);
                one(report, line, context, Kind::Dns, probe)
            }
            "UDP_CHECK" => {
                let probe = probe::udp(report, &line.section);
                one(report, line, context, Kind::Usual, probe)
            }
            "PING_CHECK" => one(report, line, context, Kind::Usual, Some(Probe::Ping)),
            "MISC_CHECK" => script(report, line, context),
            "FILE_CHECK" => file(report, line, context),
            _ => continue,
        };
        checkers.extend(checks.into_iter().map(|check| Checker { check, at: line.at().clone() }));
    }
    checkers
}

fn one(
    report: &mut Report,
    line: &Line<'_>,
    context: &Context<'_>,
    kind: Kind,
    probe: Option<Probe>,
) -> Vec<HealthCheck> {
    let own = context.inherited.narrowed(report, &line.section);
    let port = if probe.as_ref().is_some_and(Probe::has_port) { context.port } else { 0 };
    let target = target(report, &line.section, port, context.is_ipv4);
    probe.into_iter().map(|probe| check(probe, target.clone(), &own, kind)).collect()
}

fn check(probe: Probe, target: Target, own: &Inherited, kind: Kind) -> HealthCheck {
    HealthCheck {
        probe,
        target,
        timing: own.timing(kind),
        start: if own.alpha { Start::Unknown } else { Start::Up },
        log_all_failures: own.log_all_failures,
    }
}

/// One check for each name that TLS asks for: a check has one.
fn http(report: &mut Report, line: &Line<'_>, context: &Context<'_>) -> Vec<HealthCheck> {
    let own = context.inherited.narrowed(report, &line.section);
    let target = target(report, &line.section, context.port, context.is_ipv4);
    let probes = http::probes(report, line, own.host.as_deref());
    probes.into_iter().map(|probe| check(Probe::Http(probe), target.clone(), &own, Kind::Http)).collect()
}

/// One check for the real server, or for each `host`; for both if the checker names a connection beside its hosts
/// (keepalived: smtp_check_end_handler()).
fn smtp(report: &mut Report, line: &Line<'_>, context: &Context<'_>) -> Vec<HealthCheck> {
    const CONNECTION: &[&str] =
        &["connect_ip", "connect_port", "bindto", "bind_port", "bind_if", "fwmark", "connect_timeout"];
    let own = context.inherited.narrowed(report, &line.section);
    let Some(probe) = probe::smtp(report, &line.section) else { return Vec::new() };
    let mut checks = Vec::new();
    if !line.section.has("host") || CONNECTION.iter().any(|name| line.section.has(name)) {
        let target = target(report, &line.section, context.port, context.is_ipv4);
        checks.push(check(probe.clone(), target, &own, Kind::Usual));
    }
    // A host has a connection of its own; all else is the checker's.
    let of_hosts = Inherited { connect_timeout: context.inherited.connect_timeout, ..own };
    for host in line.section.all("host") {
        let target = target(report, &host.section, context.port, context.is_ipv4);
        let timed = of_hosts.with_timeout(report, &host.section);
        checks.push(check(probe.clone(), target, &timed, Kind::Usual));
    }
    checks
}

fn script(report: &mut Report, line: &Line<'_>, context: &Context<'_>) -> Vec<HealthCheck> {
    let own = context.inherited.narrowed(report, &line.section);
    let timeout = probe::script_timeout(report, &line.section);
    let Some(probe) = probe::script(report, line, timeout) else { return Vec::new() };
    vec![check(probe, Target::default(), &own, Kind::Script(timeout))]
}

/// keepalived looks at the file when it changes, whatever the service's rhythm, and knows it before it starts.
fn file(report: &mut Report, line: &Line<'_>, context: &Context<'_>) -> Vec<HealthCheck> {
    let Some(probe) = probe::file(report, line, context.files) else { return Vec::new() };
    let timing = timing::OF_FILES;
    let start = Start::Unknown;
    vec![HealthCheck { probe, target: Target::default(), timing, start, log_all_failures: false }]
}

/// Where the probe goes, and from where.
fn target(report: &mut Report, section: &Section<'_>, port: u16, is_ipv4: Option<bool>) -> Target {
    let word = |name: &str| section.last(name).and_then(|line| Some((line, line.word(0)?)));
    let address = word("connect_ip").and_then(|(line, word)| {
        let address = value::host(report, word, line.path())?;
        if is_link_local(address) && !section.has("bind_if") {
            let message = format!("{address} is link-local: it means another host on each link");
            report.error(&word.at, line.path(), message, "add the interface that it is behind: bind_if eth0");
        }
        Some(address)
    });
    let source = word("bindto").and_then(|(line, word)| {
        let source = value::host(report, word, line.path())?;
        let to_ipv4 = address.map(|address| address.is_ipv4()).or(is_ipv4);
        if to_ipv4.is_some_and(|to_ipv4| to_ipv4 != source.is_ipv4()) {
            let message = format!("{} is not of the family that is probed", named(&word.text));
            report.error(&word.at, line.path(), message, "give an address of the same family");
        }
        Some(source)
    });
    let mut port_of =
        |name| word(name).and_then(|(line, word)| value::number(report, word, line.path(), 1..=u16::MAX));
    Target {
        port: port_of("connect_port").unwrap_or(port),
        source_port: port_of("bind_port").unwrap_or(0),
        address,
        source,
        interface: word("bind_if").and_then(|(line, word)| value::interface(report, word, line.path())),
        mark: word("fwmark")
            .and_then(|(line, word)| value::number(report, word, line.path(), 0..=u32::MAX))
            .unwrap_or(0),
    }
}

fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local())
}

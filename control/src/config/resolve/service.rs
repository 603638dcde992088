//! `[[service]]`: virtual services, and what holds between them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::ports::Taken;
use super::real::Context;
use super::report::Report;
use super::{check, options, passive, ports, real, timeouts, value};
use crate::config::defaults;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{Director, Ports, Protocol, Quorum, ServiceKey, VipCheck, VirtualService};

const PROTOCOLS: &[(&str, Protocol)] =
    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];

/// The dataplane numbers services in sixteen bits.
const MOST_SERVICES: usize = 1 << 16;

/// The services that have no error of their own. `director`: its settings, if they are good.
pub(super) fn resolve_all(
    report: &mut Report,
    typed: &[Spanned<file::Service>],
    director: Option<&Director>,
) -> Vec<VirtualService> {
    let mut seen = Seen { is_alone: typed.len() == 1, ..Seen::default() };
    let services: Vec<VirtualService> =
        typed.iter().filter_map(|service| resolve(report, service, director, &mut seen)).collect();
    if let Some(first) = typed.get(MOST_SERVICES) {
        let message = format!("{} services; at most {MOST_SERVICES}", typed.len());
        report.error(
            first.span(),
            "service",
            message,
            "run a second shunt for the others, on other interfaces",
        );
    }
    seen.vips_are_no_reals(report);
    services
}

/// What earlier services said, with where they said it.
#[derive(Default)]
pub(super) struct Seen {
    is_alone: bool,
    services: HashMap<ServiceKey, Range<usize>>,
    ports: Taken,
    vips: HashMap<IpAddr, Range<usize>>,
    reals: Vec<(IpAddr, Range<usize>)>,
}

fn resolve(
    report: &mut Report,
    table: &Spanned<file::Service>,
    director: Option<&Director>,
    seen: &mut Seen,
) -> Option<VirtualService> {
    let (span, typed) = (table.span(), table.get_ref());
    let vip = vip(report, &span, typed, seen);
    let ports = ports(report, &span, typed);
    let protocol = protocol(report, &span, typed);
    let key = match (vip, protocol, ports) {
        (Some(vip), Some(protocol), Some(ports)) => Some(ServiceKey { vip, protocol, ports }),
        _ => None,
    };
    let at = typed.vip.as_ref().map_or(span.clone(), Spanned::span);
    if let Some(key) = key
        && is_new(report, key, at, seen)
    {
        seen.ports.take(report, key, &typed.port.as_ref().map_or(span.clone(), Spanned::span));
    }
    let options = options::resolve(report, typed, vip, protocol);
    let timeouts = timeouts::resolve(
        report,
        typed.timeouts.as_ref(),
        &timeouts::SERVICE,
        director.map(|director| director.timeouts),
    );
    let check = match &typed.check {
        Some(check) => check::resolve(report, check, protocol, ports, key).map(Some),
        None => Some(None),
    };
    let passive = match &typed.passive {
        Some(passive) => passive::resolve(report, passive, protocol).map(Some),
        None => Some(None),
    };
    let mut reals = real::resolve_all(report, &span, typed, &Context { vip, key, director }, seen);
    let vip_check = match check {
        Some(Some(_)) => VipCheck::Decides,
        _ => VipCheck::Off,
    };
    for real in reals.iter_mut().flatten() {
        real.checks.extend(check.clone().flatten());
    }
    let options = options?;
    let share = if seen.is_alone { defaults::TABLE_SHARE_ALONE } else { defaults::TABLE_SHARE };
    Some(VirtualService {
        key: key?,
        scheduler: options.scheduler,
        persistence: options.persistence,
        one_packet: options.one_packet,
        on_failure: options.on_failure,
        no_real: options.no_real,
        strict: options.strict,
        keep_ttl: options.keep_ttl,
        table_share: options.table_share.unwrap_or(share),
        slow_start: options.slow_start,
        timeouts: timeouts?,
        passive: passive?,
        vip_check: check.map(|_| vip_check)?,
        quorum: Quorum::default(),
        omega: false,
        group: None,
        reals: reals?,
    })
}

fn vip(report: &mut Report, table: &Range<usize>, typed: &file::Service, seen: &mut Seen) -> Option<IpAddr> {
    const PATH: &str = "service.vip";
    let Some(text) = &typed.vip else {
        report.missing(table.clone(), PATH);
        return None;
    };
    let vip = value::address(report, text, PATH)?;
    seen.vips.entry(vip).or_insert(text.span());
    Some(vip)
}

fn ports(report: &mut Report, table: &Range<usize>, typed: &file::Service) -> Option<Ports> {
    match &typed.port {
        Some(port) => ports::resolve(report, port),
        None => {
            report.missing(table.clone(), "service.port");
            None
        }
    }
}

fn protocol(report: &mut Report, table: &Range<usize>, typed: &file::Service) -> Option<Protocol> {
    match &typed.protocol {
        Some(name) => value::word(report, name, "service.protocol", "protocol", PROTOCOLS),
        None => {
            report.missing(table.clone(), "service.protocol");
            None
        }
    }
}

/// Whether the service is not there already.
fn is_new(report: &mut Report, key: ServiceKey, at: Range<usize>, seen: &mut Seen) -> bool {
    if let Some(first) = seen.services.get(&key) {
        let message = format!("{key} is here twice; first on line {}", report.line(first));
        report.error(at, "service", message, "put all real servers of a service below one [[service]]");
        return false;
    }
    report.locate(Place::Service(key), at.clone());
    seen.services.insert(key, at);
    true
}

impl Seen {
    /// Remembers a real server of any service.
    pub(super) fn real(&mut self, address: IpAddr, at: Range<usize>) {
        self.reals.push((address, at));
    }

    /// A director that owned a real server's address would answer for it.
    fn vips_are_no_reals(&self, report: &mut Report) {
        for (address, span) in &self.reals {
            if let Some(vip) = self.vips.get(address) {
                let message = format!("{address} is also a VIP (line {})", report.line(vip));
                let help = "give the real server's own address; the VIP sits on its loopback in addition";
                report.error(span.clone(), "service.real.address", message, help);
            }
        }
    }
}

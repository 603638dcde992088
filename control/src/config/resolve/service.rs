//! `[[service]]`: virtual services and their real servers, and what holds between them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::report::Report;
use super::{check, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{Protocol, RealServer, Scheduler, ServiceKey, VirtualService};

const SCHEDULERS: &[(&str, Scheduler)] = &[("maglev", Scheduler::Maglev)];

/// Schedulers of IPVS that have no counterpart here yet.
const IPVS_SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"];

const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

/// The dataplane numbers services in sixteen bits.
const MOST_SERVICES: usize = 1 << 16;

/// The services that have no error of their own.
pub(super) fn resolve_all(report: &mut Report, typed: &[Spanned<file::Service>]) -> Vec<VirtualService> {
    let mut seen = Seen::default();
    let services: Vec<VirtualService> =
        typed.iter().filter_map(|service| resolve(report, service, &mut seen)).collect();
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
struct Seen {
    services: HashMap<ServiceKey, Range<usize>>,
    vips: HashMap<IpAddr, Range<usize>>,
    reals: Vec<(IpAddr, Range<usize>)>,
}

fn resolve(report: &mut Report, table: &Spanned<file::Service>, seen: &mut Seen) -> Option<VirtualService> {
    let (span, typed) = (table.span(), table.get_ref());
    let vip = vip(report, &span, typed, seen);
    let port = port(report, &span, typed);
    let protocol = protocol(report, &span, typed);
    let scheduler = match &typed.scheduler {
        Some(name) => scheduler(report, name),
        None => Some(Scheduler::default()),
    };
    let key = match (vip, protocol, port) {
        (Some(vip), Some(protocol), Some(port)) => Some(ServiceKey { vip, protocol, port }),
        _ => None,
    };
    let at = typed.vip.as_ref().map_or(span.clone(), Spanned::span);
    if let Some(key) = key {
        unique(report, key, at, seen);
    }
    let check = match &typed.check {
        Some(check) => check::resolve(report, check, protocol, port, key).map(Some),
        None => Some(None),
    };
    let reals = reals(report, &span, typed, vip, key, seen);
    Some(VirtualService { key: key?, scheduler: scheduler?, check: check?, reals: reals? })
}

fn vip(report: &mut Report, table: &Range<usize>, typed: &file::Service, seen: &mut Seen) -> Option<IpAddr> {
    const PATH: &str = "service.vip";
    let Some(text) = &typed.vip else {
        report.missing(table.clone(), PATH);
        return None;
    };
    let vip = value::address(report, text, PATH)?;
    seen.vips.entry(vip).or_insert(text.span());
    value::forwarded(report, vip, text.span(), PATH);
    Some(vip)
}

fn port(report: &mut Report, table: &Range<usize>, typed: &file::Service) -> Option<u16> {
    match &typed.port {
        Some(port) => value::number(report, port, "service.port", 1..=u16::MAX),
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

fn scheduler(report: &mut Report, typed: &Spanned<String>) -> Option<Scheduler> {
    const PATH: &str = "service.scheduler";
    if IPVS_SCHEDULERS.contains(&typed.get_ref().as_str()) {
        let message = format!("the IPVS scheduler {} is not supported yet", quote(typed.get_ref()));
        let known: Vec<&str> = SCHEDULERS.iter().map(|(name, _)| *name).collect();
        report.error(typed.span(), PATH, message, format!("known: {}", known.join(", ")));
        return None;
    }
    value::word(report, typed, PATH, "scheduler", SCHEDULERS)
}

fn unique(report: &mut Report, key: ServiceKey, at: Range<usize>, seen: &mut Seen) {
    if let Some(first) = seen.services.get(&key) {
        let message = format!("{key} is here twice; first on line {}", report.line(first));
        report.error(at, "service", message, "put all real servers of a service below one [[service]]");
    } else {
        report.locate(Place::Service(key), at.clone());
        seen.services.insert(key, at);
    }
}

fn reals(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Service,
    vip: Option<IpAddr>,
    key: Option<ServiceKey>,
    seen: &mut Seen,
) -> Option<Vec<RealServer>> {
    if typed.real.is_empty() && report.is_missing(table, "service.real") {
        let help =
            "add a [[service.real]] with its address; until then clients of this service get no answer";
        report.warning(table.clone(), "service.real", "the service has no real server", help);
    }
    let mut first: HashMap<IpAddr, Range<usize>> = HashMap::new();
    let reals: Vec<Option<RealServer>> =
        typed.real.iter().map(|typed| real(report, typed, vip, key, &mut first, seen)).collect();
    let reals: Option<Vec<RealServer>> = reals.into_iter().collect();
    if reals.as_ref().is_some_and(|reals| !reals.is_empty() && reals.iter().all(|real| real.weight == 0)) {
        let help = "weight 0 means draining: old flows go on, new ones have nowhere to go";
        report.warning(table.clone(), "service.real.weight", "every real server has weight 0", help);
    }
    reals
}

fn real(
    report: &mut Report,
    table: &Spanned<file::Real>,
    vip: Option<IpAddr>,
    key: Option<ServiceKey>,
    first: &mut HashMap<IpAddr, Range<usize>>,
    seen: &mut Seen,
) -> Option<RealServer> {
    const PATH: &str = "service.real.address";
    let typed = table.get_ref();
    let weight = match &typed.weight {
        Some(weight) => value::number(report, weight, "service.real.weight", 0..=u16::MAX),
        None => Some(defaults::WEIGHT),
    };
    let Some(text) = &typed.address else {
        report.missing(table.span(), PATH);
        return None;
    };
    let address = value::address(report, text, PATH)?;
    seen.reals.push((address, text.span()));
    if let Some(before) = first.get(&address) {
        let message = format!("{address} is in this service twice; first on line {}", report.line(before));
        report.error(text.span(), PATH, message, "name it once; its weight says how many new flows it takes");
    } else {
        first.insert(address, text.span());
        if let Some(key) = key {
            report.locate(Place::Real(key, address), text.span());
        }
    }
    same_family(report, address, vip, text.span(), PATH);
    Some(RealServer { address, weight: weight? })
}

/// A frame keeps its IP header on the way to the real server, so both ends speak the same version.
fn same_family(report: &mut Report, real: IpAddr, vip: Option<IpAddr>, at: Range<usize>, path: &str) {
    match vip {
        // The VIP's own fault says it for all its real servers.
        Some(vip) if !value::is_forwarded(vip) => {}
        Some(vip) if vip.is_ipv4() != real.is_ipv4() => {
            let (family, other) = if vip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            let message = format!("{real} is {other}, the VIP {vip} is {family}");
            report.error(at, path, message, format!("give the {family} address of this real server"));
        }
        Some(_) => {}
        None => value::forwarded(report, real, at, path),
    }
}

impl Seen {
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

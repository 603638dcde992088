//! `[[service]]`: virtual services, and what holds between them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::check::{self, Home};
use super::ports::Taken;
use super::real::Context;
use super::report::Report;
use super::{options, passive, ports, quorum, real, timeouts, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file::{self, BooleanOrText};
use crate::config::location::Place;
use crate::model::{Director, Ports, Protocol, RealServer, ServiceKey, VipCheck, VirtualService};

const PROTOCOLS: &[(&str, Protocol)] =
    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];

/// The dataplane numbers services in sixteen bits.
pub(crate) const MOST_SERVICES: usize = 1 << 16;

/// The services that have no error of their own. `director`: its settings, if they are good. `mails`: there is a mail
/// server.
pub(super) fn resolve_all(
    report: &mut Report,
    typed: &[Spanned<file::Service>],
    director: Option<&Director>,
    mails: bool,
) -> Vec<VirtualService> {
    let mut seen = Seen { is_alone: typed.len() == 1, mails, ..Seen::default() };
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
    mails: bool,
    services: HashMap<ServiceKey, Range<usize>>,
    ports: Taken,
    vips: HashMap<IpAddr, Range<usize>>,
    reals: Vec<(IpAddr, Range<usize>, &'static str)>,
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
    let home = Home { protocol, ports, key };
    let checks = check::resolve_all(report, &typed.check, "service.check", &home);
    let passive = match &typed.passive {
        Some(passive) => passive::resolve(report, passive, protocol).map(Some),
        None => Some(None),
    };
    let context = Context {
        vip,
        key,
        director,
        mails: seen.mails,
        home,
        checks,
        inhibit: value::boolean(typed.inhibit_on_failure.as_ref()),
    };
    let reals = real::resolve_all(report, &span, typed, &context, seen);
    let quorum = quorum::resolve(report, typed, &context, reals.as_deref(), seen);
    let group = match &typed.group {
        Some(name) => value::line(report, name, "service.group", "name").map(Some),
        None => Some(None),
    };
    let vip_check = vip_check(report, typed, reals.as_deref());
    context.checks.as_ref()?;
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
        vip_check: vip_check?,
        quorum: quorum?,
        omega: value::boolean(typed.omega.as_ref()),
        group: group?,
        reals: reals?,
    })
}

/// Whether checks go through the VIP: where there are others, unless it is said.
fn vip_check(report: &mut Report, typed: &file::Service, reals: Option<&[RealServer]>) -> Option<VipCheck> {
    let Some(typed) = &typed.vip_check else {
        return reals.map(default_vip_check);
    };
    match typed.get_ref() {
        BooleanOrText::Boolean(true) => Some(VipCheck::Decides),
        BooleanOrText::Boolean(false) => Some(VipCheck::Off),
        BooleanOrText::Text(text) if text == "report" => Some(VipCheck::Reports),
        BooleanOrText::Text(text) => {
            let message = format!("{} is no way to check", quote(text));
            let help = "give true (they decide), \"report\" (they are only shown) or false";
            report.error(typed.span(), "service.vip_check", message, help);
            None
        }
    }
}

/// What becomes of checks through the VIP where nothing is said.
pub(in crate::config) fn default_vip_check(reals: &[RealServer]) -> VipCheck {
    match reals.iter().any(|real| !real.checks.is_empty()) {
        true => VipCheck::Decides,
        false => VipCheck::Off,
    }
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
    /// Remembers a server of any service, and the key that it was typed at.
    pub(super) fn real(&mut self, address: IpAddr, at: Range<usize>, path: &'static str) {
        self.reals.push((address, at, path));
    }

    /// A director that owned a real server's address would answer for it.
    fn vips_are_no_reals(&self, report: &mut Report) {
        for (address, span, path) in &self.reals {
            if let Some(vip) = self.vips.get(address) {
                let message = format!("{address} is also a VIP (line {})", report.line(vip));
                let help = "give the real server's own address; the VIP sits on its loopback in addition";
                report.error(span.clone(), path, message, help);
            }
        }
    }
}

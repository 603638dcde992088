//! `[[service.real]]`: the real servers of a service, and the way to each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::check::{self, Home};
use super::report::Report;
use super::service::Seen;
use super::{command, value, way};
use crate::config::defaults;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{Director, HealthCheck, Hooks, RealServer, ServiceKey, Thresholds};

/// What a real server stands in.
pub(super) struct Context<'a> {
    /// The VIP, if it is one.
    pub(super) vip: Option<IpAddr>,
    /// The service, if it is one.
    pub(super) key: Option<ServiceKey>,
    /// The director, if its own settings are good.
    pub(super) director: Option<&'a Director>,
    /// There is a mail server: mail is sent unless it is said that none is.
    pub(super) mails: bool,
    /// Where checks stand.
    pub(super) home: Home,
    /// The checks of those that have none of their own, if they are good.
    pub(super) checks: Option<Vec<HealthCheck>>,
    /// What those do when they fail that do not say it.
    pub(super) inhibit: bool,
}

impl Context<'_> {
    /// Whether mail is sent: there is a server for it, and nobody says otherwise.
    pub(super) fn mail(&self, report: &mut Report, typed: Option<&Spanned<bool>>, path: &str) -> bool {
        let Some(typed) = typed else { return self.mails };
        if *typed.get_ref() && !self.mails {
            let help = "add [notify.mail] with a server and recipients; until then no mail is sent";
            report.warning(typed.span(), path, "there is no mail server", help);
        }
        *typed.get_ref() && self.mails
    }
}

/// The real servers of a service; `None` after an error.
pub(super) fn resolve_all(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Service,
    context: &Context<'_>,
    seen: &mut Seen,
) -> Option<Vec<RealServer>> {
    if typed.real.is_empty() && report.is_missing(table, "service.real") {
        let help =
            "add a [[service.real]] with its address; until then clients of this service get no answer";
        report.warning(table.clone(), "service.real", "the service has no real server", help);
    }
    let mut first: HashMap<IpAddr, Range<usize>> = HashMap::new();
    let reals: Vec<Option<RealServer>> =
        typed.real.iter().map(|typed| resolve(report, typed, context, &mut first, seen)).collect();
    let reals: Option<Vec<RealServer>> = reals.into_iter().collect();
    if reals.as_ref().is_some_and(|reals| !reals.is_empty() && reals.iter().all(|real| real.weight == 0)) {
        let help = "weight 0 means draining: old flows go on, new ones have nowhere to go";
        report.warning(table.clone(), "service.real.weight", "every real server has weight 0", help);
    }
    reals
}

fn resolve(
    report: &mut Report,
    table: &Spanned<file::Real>,
    context: &Context<'_>,
    first: &mut HashMap<IpAddr, Range<usize>>,
    seen: &mut Seen,
) -> Option<RealServer> {
    let typed = table.get_ref();
    let weight = match &typed.weight {
        Some(weight) => value::number(report, weight, "service.real.weight", 0..=u16::MAX),
        None => Some(defaults::WEIGHT),
    };
    let thresholds = thresholds(report, typed);
    let address = address(report, table, context, first, seen);
    let way = way::resolve(report, &typed.into(), "service.real", context.director, address.or(context.vip));
    if let (Some(address), Some(key), Some(mtu)) = (address, context.key, &typed.mtu) {
        report.locate(Place::Mtu(key, address), mtu.span());
    }
    let checks = match typed.check.as_slice() {
        [] => context.checks.clone(),
        own => check::resolve_all(report, own, "service.real.check", &context.home),
    };
    let hooks = hooks(report, typed, context);
    let way = way?;
    Some(RealServer {
        address: address?,
        weight: weight?,
        thresholds: thresholds?,
        vlan: way.vlan,
        mac: way.mac,
        interface: way.interface,
        mtu: way.mtu,
        checks: checks?,
        inhibit: typed.inhibit_on_failure.as_ref().map_or(context.inhibit, |inhibit| *inhibit.get_ref()),
        hooks: hooks?,
    })
}

fn hooks(report: &mut Report, typed: &file::Real, context: &Context<'_>) -> Option<Hooks> {
    let up = command::resolve(report, typed.notify_up.as_ref(), "service.real.notify_up");
    let down = command::resolve(report, typed.notify_down.as_ref(), "service.real.notify_down");
    let mail = context.mail(report, typed.mail.as_ref(), "service.real.mail");
    Some(Hooks { up: up?, down: down?, mail })
}

fn address(
    report: &mut Report,
    table: &Spanned<file::Real>,
    context: &Context<'_>,
    first: &mut HashMap<IpAddr, Range<usize>>,
    seen: &mut Seen,
) -> Option<IpAddr> {
    const PATH: &str = "service.real.address";
    let Some(text) = &table.get_ref().address else {
        report.missing(table.span(), PATH);
        return None;
    };
    let address = value::address(report, text, PATH)?;
    seen.real(address, text.span(), PATH);
    if let Some(before) = first.get(&address) {
        let message = format!("{address} is in this service twice; first on line {}", report.line(before));
        report.error(text.span(), PATH, message, "name it once; its weight says how many new flows it takes");
    } else {
        first.insert(address, text.span());
        if let Some(key) = context.key {
            report.locate(Place::Real(key, address), text.span());
        }
    }
    same_family(report, address, text.span(), PATH, context.vip);
    Some(address)
}

/// A frame keeps its IP header on the way to the real server, so both ends speak the same version.
pub(super) fn same_family(
    report: &mut Report,
    address: IpAddr,
    at: Range<usize>,
    path: &str,
    vip: Option<IpAddr>,
) {
    if let Some(vip) = vip.filter(|vip| vip.is_ipv4() != address.is_ipv4()) {
        let (family, other) = if vip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let message = format!("{address} is {other}, the VIP {vip} is {family}");
        report.error(at, path, message, format!("give the {family} address of this real server"));
    }
}

fn thresholds(report: &mut Report, typed: &file::Real) -> Option<Thresholds> {
    const LOWER: &str = "service.real.lower";
    let mut one = |typed: &file::Typed<i64>, path| match typed {
        Some(count) => value::number(report, count, path, 0..=u32::MAX),
        None => Some(0),
    };
    let (upper, lower) = (one(&typed.upper, "service.real.upper"), one(&typed.lower, LOWER));
    let thresholds = Thresholds { upper: upper?, lower: lower? };
    let Some(place) = typed.lower.as_ref().filter(|_| thresholds.lower > thresholds.upper) else {
        return Some(thresholds);
    };
    let (message, help) = match thresholds.upper {
        0 => (
            format!("lower threshold {} without an upper one", thresholds.lower),
            "add the upper one: from that many flows on it takes no new ones until it has fewer than the lower",
        ),
        upper => (
            format!("the thresholds are upside down: lower {} is more than upper {upper}", thresholds.lower),
            "make the lower one the smaller, or leave it out: then it is three quarters of the upper",
        ),
    };
    report.error(place.span(), LOWER, message, help);
    None
}

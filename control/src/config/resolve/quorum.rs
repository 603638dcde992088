//! When a service has enough real servers, and `[service.sorry]`: who answers when it has not.

use std::ops::Range;

use toml::Spanned;

use super::real::{self, Context};
use super::report::Report;
use super::service::Seen;
use super::{command, value, way};
use crate::config::defaults;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{Hooks, Quorum, RealServer, Sorry, Thresholds};

/// The quorum of a service; `None` after an error. `reals`: its real servers, if all are good.
pub(super) fn resolve(
    report: &mut Report,
    typed: &file::Service,
    context: &Context<'_>,
    reals: Option<&[RealServer]>,
    seen: &mut Seen,
) -> Option<Quorum> {
    let needed = needed(report, typed, reals);
    let hysteresis = match &typed.hysteresis {
        Some(count) => value::number(report, count, "service.hysteresis", 0..=u32::MAX),
        None => Some(0),
    };
    let up = command::resolve(report, typed.quorum_up.as_ref(), "service.quorum_up");
    let down = command::resolve(report, typed.quorum_down.as_ref(), "service.quorum_down");
    let mail = context.mail(report, typed.mail.as_ref(), "service.mail");
    let sorry = match &typed.sorry {
        Some(table) => sorry(report, table, typed, context, seen).map(Some),
        None => Some(None),
    };
    let needed = needed?;
    let hysteresis = hysteresis.map(|hysteresis| lowered(report, typed, needed, hysteresis))?;
    Some(Quorum { needed, hysteresis, hooks: Hooks { up: up?, down: down?, mail }, sorry: sorry? })
}

/// What is enough. More than all real servers together could never be gained: then it is all of them.
fn needed(report: &mut Report, typed: &file::Service, reals: Option<&[RealServer]>) -> Option<u32> {
    const PATH: &str = "service.quorum";
    let Some(quorum) = &typed.quorum else { return Some(1) };
    let needed = value::number(report, quorum, PATH, 1..=u32::MAX)?;
    let Some(reals) = reals else { return Some(needed) };
    let sum: u64 = reals.iter().map(|real| u64::from(real.weight)).sum();
    let most = u32::try_from(sum.max(1)).unwrap_or(u32::MAX);
    if needed > most {
        let message = format!("{needed} is more than the sum of the weights, {sum}: {most} is used");
        report.warning(quorum.span(), PATH, message, "lower it, or add real servers");
    }
    Some(needed.min(most))
}

/// A hysteresis that reached the quorum would keep a service that has lost all its real servers.
fn lowered(report: &mut Report, typed: &file::Service, needed: u32, hysteresis: u32) -> u32 {
    let most = needed - 1;
    if let Some(place) = typed.hysteresis.as_ref().filter(|_| hysteresis > most) {
        let message = format!("{hysteresis} is not less than the quorum, {needed}: {most} is used");
        report.warning(place.span(), "service.hysteresis", message, "make it smaller than the quorum");
    }
    hysteresis.min(most)
}

fn sorry(
    report: &mut Report,
    table: &Spanned<file::Sorry>,
    service: &file::Service,
    context: &Context<'_>,
    seen: &mut Seen,
) -> Option<Sorry> {
    const PATH: &str = "service.sorry.address";
    let (span, typed) = (table.span(), table.get_ref());
    let address = match &typed.address {
        Some(text) => value::address(report, text, PATH),
        None => {
            report.missing(span, PATH);
            None
        }
    };
    if let (Some(address), Some(text)) = (address, &typed.address) {
        seen.real(address, text.span(), PATH);
        real::same_family(report, address, text.span(), PATH, context.vip);
        if let Some(key) = context.key {
            report.locate(Place::Real(key, address), text.span());
        }
        if let Some(twin) = twin(service, text.get_ref()) {
            let message = format!("{address} is a real server of this service (line {})", report.line(&twin));
            let help = "name another server: this one is gone when the others are";
            report.error(text.span(), PATH, message, help);
        }
    }
    let weight = match &typed.weight {
        Some(weight) => value::number(report, weight, "service.sorry.weight", 0..=u16::MAX),
        None => Some(defaults::WEIGHT),
    };
    let way = way::resolve(report, &typed.into(), "service.sorry", context.director, address.or(context.vip));
    if let (Some(address), Some(key), Some(mtu)) = (address, context.key, &typed.mtu) {
        report.locate(Place::Mtu(key, address), mtu.span());
    }
    let way = way?;
    let server = RealServer {
        address: address?,
        weight: weight?,
        thresholds: Thresholds::default(),
        vlan: way.vlan,
        mac: way.mac,
        interface: way.interface,
        mtu: way.mtu,
        checks: Vec::new(),
        inhibit: false,
        hooks: Hooks::default(),
    };
    Some(Sorry { server, inhibit: value::boolean(typed.inhibit.as_ref()) })
}

/// Where the same address is a real server.
fn twin(service: &file::Service, address: &str) -> Option<Range<usize>> {
    let address: std::net::IpAddr = address.parse().ok()?;
    let addresses = service.real.iter().filter_map(|real| real.get_ref().address.as_ref());
    addresses.filter(|text| text.get_ref().parse() == Ok(address)).map(Spanned::span).next()
}

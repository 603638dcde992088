//! `[[service.real]]`: the real servers of a service, and the way to each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::report::Report;
use super::service::Seen;
use super::value;
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file::{self, IntegerOrText};
use crate::config::location::Place;
use crate::config::shape::closest;
use crate::model::{Director, Hooks, RealServer, ServiceKey, Thresholds, Vlan};

/// IEEE 802.1Q: 0 is no VLAN and 4095 is reserved.
const LAST_VLAN: u16 = 4094;
const LARGEST_MTU: u16 = 9000;
/// RFC 791: what every host must be able to receive.
const SMALLEST_MTU_IPV4: u16 = 576;
/// RFC 8200, section 5.
const SMALLEST_MTU_IPV6: u16 = 1280;

/// What a real server stands in.
pub(super) struct Context<'a> {
    /// The VIP, if it is one.
    pub(super) vip: Option<IpAddr>,
    /// The service, if it is one.
    pub(super) key: Option<ServiceKey>,
    /// The director, if its own settings are good.
    pub(super) director: Option<&'a Director>,
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
    let vlan = match &typed.vlan {
        Some(vlan) => self::vlan(report, vlan),
        None => Some(Vlan::Keep),
    };
    let mac = match &typed.mac {
        Some(mac) => value::mac(report, mac, "service.real.mac").map(Some),
        None => Some(None),
    };
    let interface = interface(report, typed, context.director);
    let address = address(report, table, context, first, seen);
    let mtu = match &typed.mtu {
        Some(mtu) => self::mtu(report, mtu, address.or(context.vip)).map(Some),
        None => Some(None),
    };
    if let (Some(address), Some(key), Some(mtu)) = (address, context.key, &typed.mtu) {
        report.locate(Place::Mtu(key, address), mtu.span());
    }
    Some(RealServer {
        address: address?,
        weight: weight?,
        thresholds: thresholds?,
        vlan: vlan?,
        mac: mac?,
        interface: interface?,
        mtu: mtu?,
        checks: Vec::new(),
        inhibit: false,
        hooks: Hooks::default(),
    })
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
    seen.real(address, text.span());
    if let Some(before) = first.get(&address) {
        let message = format!("{address} is in this service twice; first on line {}", report.line(before));
        report.error(text.span(), PATH, message, "name it once; its weight says how many new flows it takes");
    } else {
        first.insert(address, text.span());
        if let Some(key) = context.key {
            report.locate(Place::Real(key, address), text.span());
        }
    }
    // A frame keeps its IP header on the way to the real server, so both ends speak the same version.
    if let Some(vip) = context.vip
        && vip.is_ipv4() != address.is_ipv4()
    {
        let (family, other) = if vip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let message = format!("{address} is {other}, the VIP {vip} is {family}");
        report.error(text.span(), PATH, message, format!("give the {family} address of this real server"));
    }
    Some(address)
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

fn vlan(report: &mut Report, typed: &Spanned<IntegerOrText>) -> Option<Vlan> {
    const PATH: &str = "service.real.vlan";
    let help = format!("give a number from 1 to {LAST_VLAN}, \"none\" to take tags off, or \"keep\"");
    let message = match typed.get_ref() {
        IntegerOrText::Integer(number) => match u16::try_from(*number) {
            Ok(vlan @ 1..=LAST_VLAN) => return Some(Vlan::Tagged(vlan)),
            _ => format!("{number} is out of range"),
        },
        IntegerOrText::Text(text) => match text.as_str() {
            "none" => return Some(Vlan::Untagged),
            "keep" => return Some(Vlan::Keep),
            _ => format!("{} is not a VLAN", quote(text)),
        },
    };
    report.error(typed.span(), PATH, message, help);
    None
}

fn interface(report: &mut Report, typed: &file::Real, director: Option<&Director>) -> Option<Option<String>> {
    const PATH: &str = "service.real.interface";
    let Some(director) = director else {
        return Some(typed.interface.as_ref().map(|name| name.get_ref().clone()));
    };
    let names = || director.interfaces.iter().map(String::as_str);
    if let Some(name) = &typed.interface {
        if names().any(|known| known == name.get_ref()) {
            return Some(Some(name.get_ref().clone()));
        }
        let help = match closest(name.get_ref(), names()) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None => format!("add it there, or name one of: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{} is not one of director.interfaces", quote(name.get_ref()));
        report.error(name.span(), PATH, message, help);
        return None;
    }
    let Some(mac) = &typed.mac else { return Some(None) };
    if let [only] = director.interfaces.as_slice() {
        return Some(Some(only.clone()));
    }
    let help = format!("say by which one it is reached: interface = \"{}\"", director.interfaces[0]);
    let message = "a fixed MAC address says nothing about the way, and the director has several interfaces";
    report.error(mac.span(), "service.real.mac", message, help);
    None
}

fn mtu(report: &mut Report, typed: &Spanned<i64>, address: Option<IpAddr>) -> Option<u16> {
    let smallest = match address {
        Some(IpAddr::V6(_)) => SMALLEST_MTU_IPV6,
        _ => SMALLEST_MTU_IPV4,
    };
    value::number(report, typed, "service.real.mtu", smallest..=LARGEST_MTU)
}

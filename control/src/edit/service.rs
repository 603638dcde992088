//! Services that come, change and go.
//!
//! One that comes is what a configuration would make of its key alone, but that nobody checks its real servers: without a
//! file nobody has said how, and the VIP is not probed either.

use std::time::Duration;

use super::{EditError, Kind, ServiceChange};
use crate::config::closest;
use crate::config::defaults::{TABLE_SHARE, TABLE_SHARE_ALONE};
use crate::config::resolve::{LONGEST, MOST_SERVICES, SCHEDULERS, starts_slowly};
use crate::model::{
    HashFlags, Hooks, Model, NoReal, OnFailure, Persistence, Ports, Protocol, Quorum, Scheduler, ServiceKey,
    VipCheck, VirtualService,
};

/// Adds a service.
pub(super) fn add(model: &mut Model, key: ServiceKey, change: &ServiceChange) -> Result<(), EditError> {
    if model.services.iter().any(|service| service.key == key) {
        let help = "change it, or remove it first";
        return Err(EditError::new(Kind::ServiceExists, format!("the service {key} is there already"), help));
    }
    if model.services.len() == MOST_SERVICES {
        let message = format!("there are {MOST_SERVICES} services, and no room for more");
        return Err(EditError::invalid(
            message,
            "remove one, or run a second shunt for the others, on other interfaces",
        ));
    }
    if let Some(other) = model.services.iter().find(|service| overlap(service.key, key)) {
        let message = format!("{key} overlaps {}", other.key);
        return Err(EditError::invalid(
            message,
            "let each port be in one range; a single port may be inside one",
        ));
    }
    let has = |service: &&VirtualService| service.servers().any(|server| server.address == key.vip);
    if let Some(other) = model.services.iter().find(has) {
        let message = format!("{} is a real server of {}", key.vip, other.key);
        let help =
            "a director that owned its address would answer for it: give the VIP an address of its own";
        return Err(EditError::invalid(message, help));
    }
    let service = changed(&blank(model, key), change)?;
    model.services.push(service);
    if let [only, _] = &mut model.services[..]
        && only.table_share == TABLE_SHARE_ALONE
    {
        only.table_share = TABLE_SHARE;
    }
    Ok(())
}

/// Removes the service at this place. The last one may fill the flow table again.
pub(super) fn remove(model: &mut Model, at: usize) {
    model.services.remove(at);
    if let [only] = &mut model.services[..]
        && only.table_share == TABLE_SHARE
    {
        only.table_share = TABLE_SHARE_ALONE;
    }
}

/// The service with this change.
pub(super) fn changed(service: &VirtualService, change: &ServiceChange) -> Result<VirtualService, EditError> {
    let mut changed = service.clone();
    changed.scheduler = scheduler(service.scheduler, change)?;
    if service.slow_start.is_some() && !starts_slowly(changed.scheduler) {
        let message =
            format!("{} starts its real servers slowly, and {} cannot", service.key, changed.scheduler);
        return Err(EditError::invalid(
            message,
            "choose wrr, wlc or maglev, or take slow_start out of the file",
        ));
    }
    changed.persistence = persistence(service, change)?;
    changed.one_packet = change.one_packet.unwrap_or(service.one_packet);
    if changed.one_packet && service.key.protocol != Protocol::Udp {
        let message =
            format!("one-packet scheduling is for udp, and the service is {}", service.key.protocol);
        return Err(EditError::invalid(
            message,
            "leave it out: a connection cannot be spread over several real servers",
        ));
    }
    if changed.one_packet && changed.persistence.is_some() {
        let message = "one-packet scheduling spreads what persistence keeps together";
        return Err(EditError::invalid(message, "choose one of the two"));
    }
    Ok(changed)
}

/// What a configuration makes of the key alone.
fn blank(model: &Model, key: ServiceKey) -> VirtualService {
    VirtualService {
        key,
        scheduler: Scheduler::default(),
        persistence: None,
        one_packet: false,
        on_failure: OnFailure::default(),
        no_real: NoReal::default(),
        strict: false,
        keep_ttl: false,
        table_share: if model.services.is_empty() { TABLE_SHARE_ALONE } else { TABLE_SHARE },
        slow_start: None,
        timeouts: model.director.timeouts,
        vip_check: VipCheck::Off,
        quorum: Quorum {
            hooks: Hooks { mail: model.notify.mail.is_some(), ..Hooks::default() },
            ..Quorum::default()
        },
        omega: false,
        group: None,
        passive: None,
        reals: Vec::new(),
    }
}

/// Whether two ranges of ports are in each other's way: single ports and "any" never are.
fn overlap(one: ServiceKey, other: ServiceKey) -> bool {
    let is_range = |key: ServiceKey| key.ports.single().is_none() && key.ports != Ports::ANY;
    (one.vip, one.protocol) == (other.vip, other.protocol)
        && is_range(one)
        && is_range(other)
        && one.ports.first <= other.ports.last
        && other.ports.first <= one.ports.last
}

fn scheduler(now: Scheduler, change: &ServiceChange) -> Result<Scheduler, EditError> {
    let named = match &change.scheduler {
        None => now,
        Some(name) => named(name)?,
    };
    // Flags go with their scheduler.
    let is_same = std::mem::discriminant(&named) == std::mem::discriminant(&now);
    let kept = if is_same { now } else { named };
    let Some(typed) = &change.flags else { return Ok(kept) };
    let mut flags = HashFlags::default();
    for flag in typed {
        match (named, flag.as_str()) {
            (Scheduler::Sh(_), "sh-port") | (Scheduler::Mh(_), "mh-port") => flags.port = true,
            (Scheduler::Sh(_), "sh-fallback") | (Scheduler::Mh(_), "mh-fallback") => flags.fallback = true,
            _ => {
                let name = named.to_string();
                let name = name.split(' ').next().unwrap_or_default();
                let message = format!("{flag:?} is no flag of the scheduler {name}");
                let help = "sh knows sh-port and sh-fallback, mh knows mh-port and mh-fallback";
                return Err(EditError::invalid(message, help));
            }
        }
    }
    Ok(match named {
        Scheduler::Sh(_) => Scheduler::Sh(flags),
        Scheduler::Mh(_) => Scheduler::Mh(flags),
        other => other,
    })
}

fn named(name: &str) -> Result<Scheduler, EditError> {
    if let Some((_, scheduler)) = SCHEDULERS.iter().find(|(known, _)| *known == name) {
        return Ok(*scheduler);
    }
    let names = || SCHEDULERS.iter().map(|(name, _)| *name);
    let help = match closest(name, names()) {
        Some(close) => format!("did you mean {close}?"),
        None => format!("known: {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(EditError::new(Kind::NoScheduler, format!("there is no scheduler {name:?}"), help))
}

fn persistence(service: &VirtualService, change: &ServiceChange) -> Result<Option<Persistence>, EditError> {
    let all = if service.is_ipv6() { 128 } else { 32 };
    let timeout = match change.persistence {
        None => service.persistence.map(|persistence| persistence.timeout),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
    };
    if let Some(long) = timeout.filter(|timeout| *timeout > LONGEST) {
        let message = format!("a persistence of {} s is out of range", long.as_secs());
        return Err(EditError::invalid(message, format!("give 1 to {} s", LONGEST.as_secs())));
    }
    let Some(timeout) = timeout else {
        return match change.prefix {
            None => Ok(None),
            Some(_) => Err(EditError::invalid(
                format!("there is no persistence in {}", service.key),
                "say how long a client is remembered as well, or leave the mask out",
            )),
        };
    };
    let before = service.persistence.map(|persistence| persistence.prefix);
    let prefix = change.prefix.or(before).unwrap_or(all);
    if !(1..=all).contains(&prefix) {
        let message = format!("a mask of {prefix} bits does not fit {}", service.key);
        return Err(EditError::invalid(message, format!("give 1 to {all}")));
    }
    Ok(Some(Persistence { timeout, prefix }))
}

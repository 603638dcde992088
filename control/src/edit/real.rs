//! Real servers that come and change.

use std::net::IpAddr;

use super::apply::no_such;
use super::{EditError, Kind, RealChange};
use crate::config::defaults;
use crate::config::resolve::unusable;
use crate::model::{HealthCheck, Hooks, Model, RealServer, Thresholds, VirtualService, Vlan};

/// Adds a real server to the service at this place. What its fellows all have it has too: their checks, and what they do when
/// they fail, as if it stood below the same `[[service]]`.
pub(super) fn add(
    model: &mut Model,
    at: usize,
    address: IpAddr,
    change: &RealChange,
) -> Result<(), EditError> {
    let service = &model.services[at];
    let key = service.key;
    if service.reals.iter().any(|real| real.address == address) {
        let message = format!("{address} is a real server of {key} already");
        return Err(EditError::new(Kind::RealExists, message, "change it, or remove it first"));
    }
    if let Some((what, help)) = unusable(address) {
        return Err(EditError::invalid(format!("{address} is {what}"), help));
    }
    if address.is_ipv4() != key.vip.is_ipv4() {
        let message = format!("{address} and the VIP of {key} are of two families");
        return Err(EditError::invalid(message, "give the real server's address of the other family"));
    }
    if model.services.iter().any(|service| service.key.vip == address) {
        let help = "give the real server's own address; the VIP sits on its loopback in addition";
        return Err(EditError::invalid(format!("{address} is also a VIP"), help));
    }
    if service.servers().any(|server| server.address == address) {
        let message = format!("{address} is the sorry server of {key}");
        return Err(EditError::invalid(
            message,
            "name another server: this one is for when the others are gone",
        ));
    }
    let blank = RealServer {
        address,
        weight: defaults::WEIGHT,
        thresholds: Thresholds::default(),
        vlan: Vlan::Keep,
        mac: None,
        interface: None,
        mtu: None,
        checks: shared_checks(&service.reals).to_vec(),
        inhibit: !service.reals.is_empty() && service.reals.iter().all(|real| real.inhibit),
        hooks: Hooks { mail: model.notify.mail.is_some(), ..Hooks::default() },
    };
    let real = changed(&blank, change)?;
    model.services[at].reals.push(real);
    Ok(())
}

/// The real server with this change.
pub(super) fn changed(real: &RealServer, change: &RealChange) -> Result<RealServer, EditError> {
    let upper = change.upper.unwrap_or(real.thresholds.upper);
    // Without a limit there is nothing to come back below.
    let kept = if change.upper == Some(0) { 0 } else { real.thresholds.lower };
    let lower = change.lower.unwrap_or(kept);
    if lower > upper {
        let message =
            format!("the lower threshold {lower} of {} is more than the upper, {upper}", real.address);
        let help = "make it the smaller one, or 0: three quarters of the upper";
        return Err(EditError::invalid(message, help));
    }
    let weight = change.weight.unwrap_or(real.weight);
    Ok(RealServer { weight, thresholds: Thresholds { upper, lower }, ..real.clone() })
}

/// The real server of a service.
pub(super) fn find(service: &mut VirtualService, address: IpAddr) -> Result<&mut RealServer, EditError> {
    let key = service.key;
    let Some(at) = service.reals.iter().position(|real| real.address == address) else {
        let known: Vec<String> = service.reals.iter().map(|real| real.address.to_string()).collect();
        let missing = no_such(Kind::NoReal, "real server", &address.to_string(), &known);
        return Err(EditError { message: format!("{} in {key}", missing.message), ..missing });
    };
    Ok(&mut service.reals[at])
}

/// The checks that all real servers have.
fn shared_checks(reals: &[RealServer]) -> &[HealthCheck] {
    match reals.split_first() {
        Some((first, others)) if others.iter().all(|real| real.checks == first.checks) => &first.checks,
        _ => &[],
    }
}

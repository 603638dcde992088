//! What leads from one model to another, as changes: few, whatever way was taken.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Edit, RealChange, ServiceChange, apply, real, service};
use crate::model::{Model, RealServer, ServiceKey, VirtualService};

/// The changes that make `to` of `from`, but for the order of things and the shares of the flow table, which follow from
/// the number of services. What both have and no change can make, the other way to check for example, is removed and added.
pub(super) fn difference(from: &Model, to: &Model) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut from = from.clone();
    if let Some(timeouts) = timeouts(&from, to) {
        // They are what was asked for once, and so are valid.
        let _ = apply::alter(&mut from, &timeouts);
        edits.push(timeouts);
    }
    let before: HashMap<ServiceKey, &VirtualService> =
        from.services.iter().map(|service| (service.key, service)).collect();
    let after: HashMap<ServiceKey, &VirtualService> =
        to.services.iter().map(|service| (service.key, service)).collect();
    for service in &from.services {
        let stays = after.get(&service.key).is_some_and(|after| alike(service, after).is_some());
        if !stays {
            edits.push(Edit::RemoveService { service: service.key.to_string() });
        }
    }
    for service in &to.services {
        match before.get(&service.key).and_then(|before| Some((before, alike(before, service)?))) {
            Some((before, change)) => {
                if change != ServiceChange::default() {
                    edits.push(Edit::ChangeService { service: service.key.to_string(), change });
                }
                reals(&before.reals, service, &mut edits);
            }
            None => {
                let change = all_of_service(service);
                edits.push(Edit::AddService { service: service.key.to_string(), change });
                reals(&[], service, &mut edits);
            }
        }
    }
    edits
}

/// What is otherwise with a service, if that is all there is; real servers aside.
fn alike(before: &VirtualService, after: &VirtualService) -> Option<ServiceChange> {
    let all = all_of_service(after);
    let was = all_of_service(before);
    let change = ServiceChange {
        scheduler: all.scheduler.filter(|name| was.scheduler.as_ref() != Some(name)),
        flags: all.flags.filter(|_| before.scheduler != after.scheduler),
        persistence: all.persistence.filter(|_| was.persistence != all.persistence),
        prefix: all.prefix.filter(|_| was.prefix != all.prefix),
        one_packet: all.one_packet.filter(|_| before.one_packet != after.one_packet),
    };
    let mut made = service::changed(before, &change).ok()?;
    made.reals.clone_from(&after.reals);
    made.table_share = after.table_share;
    (made == *after).then_some(change)
}

/// All that a change can say of a service.
fn all_of_service(service: &VirtualService) -> ServiceChange {
    let shown = service.scheduler.to_string();
    let (name, flags) = shown.split_once(" (").unwrap_or((&shown, ""));
    let flags = flags.trim_end_matches(')').split(',').filter(|flag| !flag.is_empty()).map(str::to_owned);
    let seconds = |persistence: crate::model::Persistence| {
        u32::try_from(persistence.timeout.as_secs()).unwrap_or(u32::MAX)
    };
    ServiceChange {
        scheduler: Some(name.to_owned()),
        persistence: Some(service.persistence.map_or(0, seconds)),
        prefix: service.persistence.map(|persistence| persistence.prefix),
        one_packet: Some(service.one_packet),
        flags: Some(flags.collect()),
    }
}

fn reals(before: &[RealServer], service: &VirtualService, edits: &mut Vec<Edit>) {
    let name = service.key.to_string();
    let old: HashMap<IpAddr, &RealServer> = before.iter().map(|real| (real.address, real)).collect();
    let changes: Vec<(&RealServer, Option<RealChange>)> = service
        .reals
        .iter()
        .map(|real| (real, old.get(&real.address).and_then(|before| changed(before, real))))
        .collect();
    let added = |real: &RealServer| Edit::AddReal {
        service: name.clone(),
        real: real.address,
        change: all_of_real(real),
    };
    // One that has its fellows' checks came while they were there.
    let (with, without): (Vec<_>, Vec<_>) = changes
        .iter()
        .filter(|(_, change)| change.is_none())
        .map(|(real, _)| *real)
        .partition(|real| !real.checks.is_empty() && !old.contains_key(&real.address));
    edits.extend(with.into_iter().map(added));
    let stays = |address| changes.iter().any(|(real, change)| real.address == address && change.is_some());
    let gone = before.iter().filter(|real| !stays(real.address));
    edits.extend(gone.map(|real| Edit::RemoveReal { service: name.clone(), real: real.address }));
    edits.extend(without.into_iter().map(added));
    for (real, change) in changes {
        if let Some(change) = change.filter(|change| *change != RealChange::default()) {
            edits.push(Edit::ChangeReal { service: name.clone(), real: real.address, change });
        }
    }
}

/// What is otherwise with a real server, if that is all there is.
fn changed(before: &RealServer, after: &RealServer) -> Option<RealChange> {
    let (was, is) = (before.thresholds, after.thresholds);
    let differs = was != is;
    let change = RealChange {
        weight: (before.weight != after.weight).then_some(after.weight),
        upper: differs.then_some(is.upper),
        lower: differs.then_some(is.lower),
    };
    (real::changed(before, &change).ok()? == *after).then_some(change)
}

/// All that a change can say of a real server; thresholds that are none go without saying.
fn all_of_real(real: &RealServer) -> RealChange {
    let thresholds = Some(real.thresholds).filter(|thresholds| thresholds.upper > 0);
    RealChange {
        weight: Some(real.weight),
        upper: thresholds.map(|thresholds| thresholds.upper),
        lower: thresholds.map(|thresholds| thresholds.lower),
    }
}

fn timeouts(from: &Model, to: &Model) -> Option<Edit> {
    let (was, is) = (&from.director.timeouts, &to.director.timeouts);
    let seconds = |was: std::time::Duration, is: std::time::Duration| {
        if was == is { 0 } else { u32::try_from(is.as_secs()).unwrap_or(u32::MAX) }
    };
    let [tcp, tcp_fin, udp] =
        [seconds(was.established, is.established), seconds(was.fin, is.fin), seconds(was.udp, is.udp)];
    ([tcp, tcp_fin, udp] != [0; 3]).then_some(Edit::Timeouts { tcp, tcp_fin, udp })
}

//! One change of a model, and what follows from it.

use std::net::IpAddr;
use std::time::Duration;

use super::{Edit, EditError, Kind, real, service, service_key};
use crate::config::closest;
use crate::config::resolve::LONGEST;
use crate::model::{Model, Timeouts};

/// The model with this change: as valid as before.
///
/// A drained real server has weight 0 in it; the weight it had is what [`super::Changes`] remembers, so
/// [`Edit::Undrain`] is refused here.
///
/// # Errors
/// Why the change cannot be made.
pub fn apply(model: &Model, edit: &Edit) -> Result<Model, EditError> {
    let mut changed = model.clone();
    alter(&mut changed, edit)?;
    settle(&mut changed);
    Ok(changed)
}

/// Makes the change; after an error it is not made. Quorums may be more than can be reached until [`settle`].
pub(super) fn alter(model: &mut Model, edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::AddService { service, change } => service::add(model, service_key(service)?, change),
        Edit::ChangeService { service, change } => {
            let at = find(model, service)?;
            model.services[at] = service::changed(&model.services[at], change)?;
            Ok(())
        }
        Edit::RemoveService { service } => {
            let at = find(model, service)?;
            service::remove(model, at);
            Ok(())
        }
        Edit::AddReal { service, real, change } => {
            let at = find(model, service)?;
            real::add(model, at, *real, change)
        }
        Edit::ChangeReal { service, real, change } => {
            let at = find(model, service)?;
            let real = real::find(&mut model.services[at], *real)?;
            *real = real::changed(real, change)?;
            Ok(())
        }
        Edit::RemoveReal { service, real } => {
            let at = find(model, service)?;
            let service = &mut model.services[at];
            real::find(service, *real)?;
            service.reals.retain(|other| other.address != *real);
            Ok(())
        }
        Edit::Weight { real, service: Some(service), weight } => {
            let at = find(model, service)?;
            real::find(&mut model.services[at], *real)?.weight = *weight;
            Ok(())
        }
        Edit::Weight { real, service: None, weight } => weigh(model, *real, *weight),
        Edit::Drain { real } => weigh(model, *real, 0),
        Edit::Undrain { real } => Err(not_drained(*real)),
        Edit::Clear => {
            model.services.clear();
            Ok(())
        }
        Edit::Timeouts { tcp, tcp_fin, udp } => timeouts(model, [*tcp, *tcp_fin, *udp]),
    }
}

/// What is enough can be had: more than all real servers together could never be gained.
pub(super) fn settle(model: &mut Model) {
    for service in &mut model.services {
        let sum: u64 = service.reals.iter().map(|real| u64::from(real.weight)).sum();
        let most = u32::try_from(sum.max(1)).unwrap_or(u32::MAX);
        let quorum = &mut service.quorum;
        quorum.needed = quorum.needed.min(most);
        quorum.hysteresis = quorum.hysteresis.min(quorum.needed - 1);
    }
}

/// The place of a service.
fn find(model: &Model, name: &str) -> Result<usize, EditError> {
    let key = service_key(name)?;
    let found = model.services.iter().position(|service| service.key == key);
    found.ok_or_else(|| {
        let known: Vec<String> = model.services.iter().map(|service| service.key.to_string()).collect();
        no_such(Kind::NoService, "service", &key.to_string(), &known)
    })
}

/// Gives a real server its weight in every service that has it.
fn weigh(model: &mut Model, address: IpAddr, weight: u16) -> Result<(), EditError> {
    is_known(model, address)?;
    let reals = model.services.iter_mut().flat_map(|service| &mut service.reals);
    reals.filter(|real| real.address == address).for_each(|real| real.weight = weight);
    Ok(())
}

/// Whether some service has this real server.
pub(super) fn is_known(model: &Model, address: IpAddr) -> Result<(), EditError> {
    let reals = || model.services.iter().flat_map(|service| &service.reals).map(|real| real.address);
    if reals().any(|real| real == address) {
        return Ok(());
    }
    let mut known: Vec<IpAddr> = reals().collect();
    known.sort_unstable();
    known.dedup();
    let known: Vec<String> = known.iter().map(IpAddr::to_string).collect();
    Err(no_such(Kind::NoReal, "real server", &address.to_string(), &known))
}

pub(super) fn not_drained(real: IpAddr) -> EditError {
    let help = format!("`shunt weight {real} N` gives it a weight; `shunt show reals` shows the weights");
    EditError::new(Kind::NotDrained, format!("{real} was not drained by `shunt drain`"), help)
}

/// There is no `name`; what there is instead.
pub(super) fn no_such(kind: Kind, noun: &str, name: &str, known: &[String]) -> EditError {
    const MOST: usize = 10;
    let help = match (closest(name, known.iter().map(String::as_str)), known.len()) {
        (_, 0) => format!("there is no {noun} at all"),
        (Some(close), _) => format!("did you mean {close}?"),
        (None, count) if count > MOST => {
            format!("there are {}, ... ({count} in all; see `shunt show`)", known[..MOST].join(", "))
        }
        (None, _) => format!("there are: {}", known.join(", ")),
    };
    EditError::new(kind, format!("there is no {noun} {name}"), help)
}

/// Gives all services these timeouts, in seconds: TCP established, after a FIN, UDP. 0: as it is.
fn timeouts(model: &mut Model, seconds: [u32; 3]) -> Result<(), EditError> {
    let seconds = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    if let Some(long) = seconds.iter().find(|timeout| **timeout > LONGEST) {
        let message = format!("a timeout of {} s is out of range", long.as_secs());
        return Err(EditError::invalid(
            message,
            format!("give 1 to {} s, or 0: as it is", LONGEST.as_secs()),
        ));
    }
    let services = model.services.iter_mut().map(|service| &mut service.timeouts);
    // Services that come later have them too.
    for Timeouts { established, fin, udp, .. } in services.chain([&mut model.director.timeouts]) {
        for (timeout, wanted) in [established, fin, udp].into_iter().zip(seconds) {
            if !wanted.is_zero() {
                *timeout = wanted;
            }
        }
    }
    Ok(())
}

//! The invariants of the model, asked of one.

use std::collections::HashSet;

use crate::model::{HealthCheck, Model, Probe, Protocol, VirtualService};

/// What the model breaks.
pub(super) fn check(model: &Model) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    must(model.director.auto_interfaces || !model.director.interfaces.is_empty(), "no interface")?;
    let interfaces: HashSet<_> = model.director.interfaces.iter().collect();
    must(interfaces.len() == model.director.interfaces.len(), "an interface twice")?;
    let keys: HashSet<_> = model.services.iter().map(|service| service.key).collect();
    must(keys.len() == model.services.len(), "a service twice")?;
    let vips: HashSet<_> = model.services.iter().map(|service| service.key.vip).collect();
    for service in &model.services {
        let servers = service.reals.iter().chain(service.quorum.sorry.iter().map(|sorry| &sorry.server));
        for server in servers {
            must(!vips.contains(&server.address), "a real server that is a VIP")?;
            must(server.address.is_ipv4() == service.key.vip.is_ipv4(), "two families in a service")?;
            must(!server.hooks.mail || model.notify.mail.is_some(), "mail without a mail server")?;
            let thresholds = server.thresholds;
            must(thresholds.lower <= thresholds.upper, "thresholds upside down")?;
            for check in &server.checks {
                of_check(check)?;
            }
        }
        let addresses: HashSet<_> = service.reals.iter().map(|real| real.address).collect();
        must(addresses.len() == service.reals.len(), "a real server twice")?;
        must(!service.quorum.hooks.mail || model.notify.mail.is_some(), "mail without a mail server")?;
        let sorry = service.quorum.sorry.as_ref().map(|sorry| sorry.server.address);
        must(!sorry.is_some_and(|sorry| addresses.contains(&sorry)), "a sorry server that is a real server")?;
        of_service(service)?;
    }
    Ok(())
}

fn of_service(service: &VirtualService) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let weights: u32 = service.reals.iter().map(|real| u32::from(real.weight)).sum();
    must(service.quorum.needed >= 1, "a quorum of nothing")?;
    must(service.quorum.needed <= weights.max(1), "a quorum that cannot be reached")?;
    must(service.quorum.hysteresis < service.quorum.needed, "a hysteresis as large as the quorum")?;
    let spread = service.key.protocol == Protocol::Udp && service.persistence.is_none();
    must(!service.one_packet || spread, "one-packet scheduling of what is not UDP, or persistent")?;
    must((1..=1000).contains(&service.table_share), "a share of nothing")
}

fn of_check(check: &HealthCheck) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    must(check.timing.rise >= 1 && check.timing.fall >= 1, "rise or fall of nothing")?;
    must(!check.timing.interval.is_zero() && !check.timing.timeout.is_zero(), "a check without a pause")?;
    must(
        check.probe.has_port() == (check.target.port != 0),
        "a port where there is none, or none where there is one",
    )?;
    let timing = &check.timing;
    let times = [Some(timing.interval), Some(timing.timeout), timing.retry, timing.warmup];
    let whole = times.iter().flatten().all(|time| time.subsec_nanos() % 1_000_000 == 0);
    must(whole, "a time that is not whole milliseconds")?;
    match &check.probe {
        Probe::Http(http) => {
            must(!http.requests.is_empty(), "no request")?;
            must(http.requests.iter().all(|request| request.path.starts_with('/')), "a path without /")?;
            must(http.requests.iter().all(|request| !request.status.is_empty()), "no good status")
        }
        Probe::Script(script) => {
            must(!script.command.argv.is_empty(), "no program")?;
            must(script.command.timeout.is_none_or(|limit| limit == timing.timeout), "two limits of time")
        }
        Probe::Udp(udp) => must(udp.reply.is_none_or(|(least, most)| least <= most), "no such length"),
        _ => Ok(()),
    }
}

//! The director: keepalived.conf names interfaces where VRRP wants them; those to the real servers are found by their
//! routes.

use super::super::report::Report;
use super::global::Globals;
use super::vrrp::Instance;
use crate::config::resolve::MOST_INTERFACES;
use crate::config::{Place, defaults};
use crate::model::{Director, Idle, WorkerFailure};

/// The director's settings: shunt's defaults, but for interfaces and timeouts.
pub(super) fn director(report: &mut Report, globals: &Globals, instances: &[Instance]) -> Director {
    let mut interfaces: Vec<String> = Vec::new();
    for (name, at) in instances.iter().flat_map(|instance| &instance.interfaces) {
        if !interfaces.contains(name) {
            report.locate(Place::Interface(name.clone()), at);
            interfaces.push(name.clone());
        }
    }
    interfaces.extend(
        globals.interface.iter().filter(|name| !interfaces.contains(name)).cloned().collect::<Vec<_>>(),
    );
    if let Some((_, at)) = instances.last().and_then(|instance| instance.interfaces.last())
        && interfaces.len() > MOST_INTERFACES
    {
        let message = format!("{} interfaces; at most {MOST_INTERFACES}", interfaces.len());
        report.error(
            at,
            "vrrp_instance.interface",
            message,
            "run a second shunt for the others, with its own socket",
        );
    }
    Director {
        interfaces,
        auto_interfaces: true,
        cores: Vec::new(),
        flows_per_worker: defaults::FLOWS_PER_WORKER,
        flows_per_worker_ipv6: defaults::FLOWS_PER_WORKER,
        frames_per_queue: defaults::FRAMES_PER_QUEUE,
        hash_key: defaults::HASH_KEY,
        idle: Idle::default(),
        worker_failure: WorkerFailure::default(),
        icmp_rate: defaults::ICMP_RATE,
        reset_rate: defaults::RESET_RATE,
        timeouts: globals.timeouts,
        metrics: None,
        socket_group: None,
    }
}

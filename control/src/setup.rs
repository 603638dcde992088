//! What of a configuration makes the dataplane itself, and so is settled at start.

use shunt_dataplane::director::Rates;
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::plane::{Dataplane, InterfaceSetup, Setup};
use shunt_dataplane::worker::Idle as WorkerIdle;
use shunt_dataplane::xsk::program::XdpMode;

use crate::config::{Faults, Loaded, Place};
use crate::link::Link;
use crate::model::{Idle, Model};
use crate::survey::Survey;
use crate::{programs, rights};

/// The dataplane that a configuration asks for on this machine.
pub fn setup(model: &Model, survey: &Survey) -> Setup {
    let director = &model.director;
    Setup {
        interfaces: survey.interfaces.iter().map(interface_setup).collect(),
        cores: director.cores.clone(),
        flows_per_worker: Capacity { ipv4: director.flows_per_worker, ipv6: director.flows_per_worker_ipv6 },
        rates: Rates { icmp: director.icmp_rate, reset: director.reset_rate },
        frames_per_queue: director.frames_per_queue,
        idle: match director.idle {
            Idle::Adaptive => WorkerIdle::Adaptive,
            Idle::Spin => WorkerIdle::Spin,
        },
        hash_key: HashKey(director.hash_key),
    }
}

/// The keys of `[director]` that differ from the running configuration and that workers cannot change while they run:
/// a fault each.
pub fn needs_restart(running: &Model, wanted: &Loaded) -> Faults {
    let (old, new) = (&running.director, &wanted.model.director);
    let differing = [
        ("interfaces", old.interfaces != new.interfaces),
        ("cores", old.cores != new.cores),
        ("flows_per_worker", old.flows_per_worker != new.flows_per_worker),
        ("flows_per_worker_ipv6", old.flows_per_worker_ipv6 != new.flows_per_worker_ipv6),
        ("frames_per_queue", old.frames_per_queue != new.frames_per_queue),
        ("hash_key", old.hash_key != new.hash_key),
        ("idle", old.idle != new.idle),
        ("icmp_rate", old.icmp_rate != new.icmp_rate),
        ("reset_rate", old.reset_rate != new.reset_rate),
        ("socket_group", old.socket_group != new.socket_group),
    ];
    let fault = |(key, differs): (&str, bool)| {
        let message = format!("director.{key} cannot be changed while shunt runs");
        differs.then(|| wanted.locations.error(&Place::Director, message, "restart shunt to change it"))
    };
    let program = programs::first(&wanted.model).filter(|_| !rights::may_run_programs()).map(|place| {
        let message = "this is the first program to be run, and shunt has given up the rights to run programs as their users";
        wanted.locations.error(&place, message.to_owned(), "restart shunt: it keeps them where a program is configured")
    });
    differing.into_iter().filter_map(fault).chain(program).collect()
}

/// Says how the frames come in; what is slower than it could be is a warning.
pub fn describe(plane: &Dataplane) {
    for (n, worker) in plane.workers().iter().enumerate() {
        for queue in &worker.queues {
            let copies = if queue.zero_copy { "zero-copy" } else { "copy mode" };
            let pages =
                if queue.huge_pages { "huge pages" } else { "small pages (huge ones: vm.nr_hugepages)" };
            tracing::info!(
                "worker {n}: {} queue {}, {} XDP, {copies}, frames in {pages}",
                queue.interface,
                queue.queue,
                queue.mode
            );
            if queue.mode == XdpMode::Generic {
                tracing::warn!(
                    "{}: its driver refuses native XDP. Generic mode copies every frame into an skb first, which costs most \
                     of the speed of AF_XDP, and frames that senders or GRO have joined to more than one MTU are lost: if \
                     there is a device below {} with native XDP, name that one instead",
                    queue.interface,
                    queue.interface
                );
            }
        }
    }
}

fn interface_setup(link: &Link) -> InterfaceSetup {
    // Software on the other end may leave a checksum to hardware that is not there. Hardware has no kind, and a
    // driver that is not one of a hypervisor's.
    const HYPERVISORS: [&str; 3] = ["virtio_net", "xen_netfront", "hv_netvsc"];
    let complete_checksums = !link.kind.is_empty() || HYPERVISORS.contains(&link.driver.as_str());
    InterfaceSetup {
        name: link.name.clone(),
        index: link.index,
        mac: MacAddress(link.mac),
        rx_queues: link.rx_queues,
        tx_queues: link.tx_queues,
        mtu: link.mtu,
        complete_checksums,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = include_str!("../../configs/reference.toml");

    fn refused(text: &str) -> Vec<String> {
        let parse = |text: &str| crate::config::parse("a.toml", text).unwrap();
        let faults = needs_restart(&parse(FULL).model, &parse(text));
        faults.iter().map(|fault| fault.message.clone()).collect()
    }

    #[test]
    fn what_makes_the_dataplane_needs_a_restart() {
        for (before, after, key) in [
            ("flows_per_worker_ipv6 = 1048576", "flows_per_worker_ipv6 = 4096", "flows_per_worker_ipv6"),
            ("icmp_rate = 1000", "icmp_rate = 0", "icmp_rate"),
            ("reset_rate = 10000", "reset_rate = 1", "reset_rate"),
            ("idle = \"adaptive\"", "idle = \"spin\"", "idle"),
        ] {
            let text = FULL.replace(before, after);
            assert_eq!(refused(&text), [format!("director.{key} cannot be changed while shunt runs")]);
        }
    }

    #[test]
    fn all_that_a_service_says_is_changed_while_shunt_runs() {
        let (director, _) = FULL.split_once("\n[[service]]").unwrap();
        assert_eq!(refused(director), [] as [&str; 0]);
        let timeouts = FULL.replacen("established = \"900s\"", "established = \"7200s\"", 1);
        assert_ne!(timeouts, FULL);
        assert_eq!(refused(&timeouts), [] as [&str; 0]);
    }
}

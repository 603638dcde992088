//! What of a configuration makes the dataplane itself, and so is settled at start.

use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::plane::{Dataplane, InterfaceSetup, Setup};
use shunt_dataplane::worker::Idle as WorkerIdle;
use shunt_dataplane::xsk::program::XdpMode;

use crate::link::Link;
use crate::model::{Idle, Model};
use crate::survey::Survey;

/// The dataplane that a configuration asks for on this machine.
pub fn setup(model: &Model, survey: &Survey) -> Setup {
    let director = &model.director;
    Setup {
        interfaces: survey.interfaces.iter().map(interface_setup).collect(),
        cores: director.cores.clone(),
        flows_per_worker: director.flows_per_worker,
        frames_per_queue: director.frames_per_queue,
        idle: match director.idle {
            Idle::Adaptive => WorkerIdle::Adaptive,
            Idle::Spin => WorkerIdle::Spin,
        },
        hash_key: HashKey(director.hash_key),
    }
}

/// A key of `[director]` that differs and that workers cannot change while they run.
pub fn needs_restart(old: &Model, new: &Model) -> Option<&'static str> {
    let (old, new) = (&old.director, &new.director);
    [
        ("interfaces", old.interfaces != new.interfaces),
        ("cores", old.cores != new.cores),
        ("flows_per_worker", old.flows_per_worker != new.flows_per_worker),
        ("frames_per_queue", old.frames_per_queue != new.frames_per_queue),
        ("hash_key", old.hash_key != new.hash_key),
        ("idle", old.idle != new.idle),
    ]
    .into_iter()
    .find_map(|(key, differs)| differs.then_some(key))
}

/// Says how the frames come in; what is slower than it could be is a warning.
pub fn describe(plane: &Dataplane) {
    for (n, worker) in plane.workers().iter().enumerate() {
        for queue in &worker.queues {
            let copies = if queue.zero_copy { "zero-copy" } else { "copy mode" };
            tracing::info!(
                "worker {n}: {} queue {}, {} XDP, {copies}",
                queue.interface,
                queue.queue,
                queue.mode
            );
            if queue.mode == XdpMode::Generic {
                tracing::warn!(
                    "{}: its driver has no native XDP: generic mode copies every frame into an skb first, which costs \
                     most of the speed of AF_XDP",
                    queue.interface
                );
            }
        }
    }
}

fn interface_setup(link: &Link) -> InterfaceSetup {
    // Devices whose other end is software: a checksum left to the hardware was never computed.
    const VIRTUAL: [&str; 5] = ["veth", "virtio_net", "tun", "tap", "macvlan"];
    InterfaceSetup {
        name: link.name.clone(),
        index: link.index,
        mac: MacAddress(link.mac),
        queues: link.rx_queues.min(link.tx_queues),
        mtu: link.mtu,
        complete_checksums: VIRTUAL.contains(&link.kind.as_str()) || VIRTUAL.contains(&link.driver.as_str()),
    }
}

//! Workers on memory ports, driven by hand, with tables so small that they fill up.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_dataplane::director::{Director, Memory, Rates};
use shunt_dataplane::flow::{Capacity, FlowReader, FlowTable, FragmentTable};
use shunt_dataplane::forwarding::{
    Builder, ForwardingState, NoReal, OnFailure, Options, Path, Ports, RealSlot, RealSpec, ServiceId,
    ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::port::memory::{MemoryFrame, MemoryPort};
use shunt_dataplane::port::{Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::rewrite::{MacHeader, Vlan};
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::worker::{AttachedPort, Worker};

/// Workers of a rig.
pub const WORKERS: usize = 2;
/// Ports of a worker: 0 is one of hardware, 1 a virtual one, whose checksums are completed.
pub const PORTS: usize = 2;
/// Frames a port keeps to receive into.
const SHARE: usize = 32;
/// Frames of a worker. What waits for its first fragment, 64 frames at most, must not use them up.
const FRAMES: usize = 192;
/// Flows of either family, and datagrams in fragments, that a worker remembers.
const FLOWS: usize = 64;
/// Most fragments that a worker keeps waiting.
pub const MOST_HELD: u64 = 64;
/// The secret of this boot.
const BOOT_KEY: u64 = 0x5eed;

/// The VIPs.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The same with IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The director.
pub const DIRECTOR_MAC: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d];
/// How the MAC address of a real server begins; the number of its service and its own follow.
pub const REAL_MAC: [u8; 4] = [0x02, 0x00, 0x00, 0x00];

/// A worker.
pub struct Seat {
    /// It.
    pub worker: Worker<MemoryPort>,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// Its flows.
    pub flows: FlowReader,
}

/// The dataplane without a kernel.
pub struct Rig {
    /// Where states come from.
    pub publisher: Publisher<ForwardingState>,
    /// The workers.
    pub seats: Vec<Seat>,
    /// Milliseconds since the start.
    pub now: u64,
}

/// A frame that a worker sent.
pub struct Sent {
    /// The number of the port.
    pub port: usize,
    /// The frame.
    pub bytes: Vec<u8>,
}

impl Rig {
    /// Workers with these memories and no service.
    pub fn new(memories: Vec<Memory>, rates: Rates) -> Self {
        let mut publisher = Publisher::new(ForwardingState::empty(HashKey([7, 11])));
        let seat = |(n, memory): (usize, Memory)| {
            let stats = Arc::new(WorkerStats::default());
            let flows = memory.flows.reader();
            let director = Director::new(n, memory, rates, stats.clone());
            let port = |id: usize| AttachedPort {
                port: MemoryPort::new(SHARE),
                interface: PortId(id as u8),
                complete_checksums: id == 1,
            };
            let ports = (0..PORTS).map(port).collect();
            let pool = Pool::new(MemoryFrame::many(FRAMES));
            let worker = Worker::new(ports, pool, director, publisher.subscribe(), stats.clone());
            Seat { worker, stats, flows }
        };
        let seats = memories.into_iter().enumerate().map(seat).collect();
        Rig { publisher, seats, now: 0 }
    }

    /// The next state.
    pub fn publish(&mut self, specs: &[ServiceSpec]) {
        let next = Builder::after(self.publisher.current(), self.seats.len(), PORTS).build(specs);
        self.publisher.publish(next.expect("the specification is right"));
    }

    /// A frame arrives at a worker; false: there was none to receive it into.
    pub fn arrive(&mut self, worker: usize, port: usize, frame: &[u8]) -> bool {
        self.seats[worker].worker.port(port).is_some_and(|port| port.arrive(frame))
    }

    /// One turn of a worker: how many frames it received, and what it sent, in the order of each port.
    pub fn turn(&mut self, worker: usize) -> (usize, Vec<Sent>) {
        let seat = &mut self.seats[worker];
        let received = seat.worker.turn(self.now);
        check_stats(&seat.stats);
        let mut sent = Vec::new();
        for number in 0..PORTS {
            if let Some(port) = seat.worker.port(number) {
                port.sent(|bytes| sent.push(Sent { port: number, bytes: bytes.to_vec() }));
            }
        }
        (received, sent)
    }

    /// Panics unless the gauges of each real server are the flows that the tables hold for it.
    pub fn check_gauges(&self) {
        for (worker, seat) in self.seats.iter().enumerate() {
            let mut held: HashMap<(ServiceId, RealSlot, u8), [u64; 3]> = HashMap::new();
            for (key, flow) in seat.flows.iter() {
                let held = held.entry((key.service, flow.real, flow.epoch)).or_default();
                let [active, inactive, templates] = held;
                *(if flow.state.is_template() {
                    templates
                } else if flow.state.is_active() {
                    active
                } else {
                    inactive
                }) += 1;
            }
            for (id, service) in self.publisher.current().services() {
                for (slot, real) in service.reals() {
                    let counters = &real.counters()[worker];
                    let gauges = [&counters.active, &counters.inactive, &counters.templates];
                    let expected = held.get(&(id, slot, real.epoch())).copied().unwrap_or_default();
                    assert_eq!(
                        gauges.map(|gauge| gauge.value()),
                        expected,
                        "worker {worker}, {:?}, {}",
                        service.key(),
                        real.address()
                    );
                }
            }
        }
    }
}

/// Panics unless each frame is in one place, and each received one has one verdict.
pub fn check_stats(stats: &WorkerStats) {
    let held = stats.frames_held.value();
    let places = [&stats.frames_free, &stats.frames_filling, &stats.frames_sending];
    let places = places.iter().map(|gauge| gauge.value()).sum::<u64>() + held;
    assert_eq!(places, stats.frames_total.value(), "frames are lost, or in two places");
    assert!(held <= MOST_HELD, "{held} fragments wait");
    let verdicts = stats.tx_frames.value() + stats.drops_total() + held;
    assert_eq!(stats.rx_frames.value(), verdicts, "a frame without a verdict, or with two");
}

/// The memories of `count` workers: as `Memory::for_workers`, but with room for few datagrams.
pub fn memories(count: usize) -> Vec<Memory> {
    let table = || (FlowTable::new(Capacity::each(FLOWS), BOOT_KEY), FragmentTable::new(FLOWS, BOOT_KEY));
    let tables: Vec<_> = (0..count).map(|_| table()).collect();
    let readers: Vec<_> =
        tables.iter().map(|(flows, fragments)| (flows.reader(), fragments.reader())).collect();
    let memory = |(n, (flows, fragments))| {
        let others = || readers.iter().enumerate().filter(|(other, _)| *other != n);
        Memory {
            flows,
            other_flows: others().map(|(_, (flows, _))| flows.clone()).collect(),
            fragments,
            other_fragments: others().map(|(_, (_, fragments))| fragments.clone()).collect(),
        }
    };
    tables.into_iter().enumerate().map(memory).collect()
}

/// TCP at port 80 of the VIP.
pub fn http() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(80), protocol: Protocol::Tcp }
}

/// UDP at port 53 of the VIP.
pub fn dns() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(53), protocol: Protocol::Udp }
}

/// A service with so many real servers behind port 0, by round robin.
pub fn service(key: ServiceKey, reals: u8) -> ServiceSpec {
    let (policy, no_real) = (Policy::Rr, NoReal::Unreachable);
    let options = Options { policy, no_real, on_failure: OnFailure::Rehash, ..Options::default() };
    ServiceSpec { key, options, reals: (0..reals).map(|n| real(&key, 0, n)).collect() }
}

/// Real server number `n` of service number `service`, up.
pub fn real(key: &ServiceKey, service: u8, n: u8) -> RealSpec {
    let last = u16::from_be_bytes([service + 1, n + 1]);
    let address: Address = match key.address.v4() {
        Some(_) => Ipv4Addr::from_bits(Ipv4Addr::new(198, 19, 0, 0).to_bits() + u32::from(last)).into(),
        None => std::net::IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0019 << 80 | u128::from(last))).into(),
    };
    let path = Path { header: header(service, n), port: PortId(0), mtu: 1500, vlan: Vlan::Keep };
    let thresholds = Thresholds::default();
    RealSpec { address, weight: 1, share: 1, thresholds, healthy: true, keeps_flows: false, path: Some(path) }
}

/// The MAC addresses of a frame to it.
pub fn header(service: u8, n: u8) -> MacHeader {
    let [a, b, c, d] = REAL_MAC;
    MacHeader::new(MacAddress([a, b, c, d, service, n]), MacAddress(DIRECTOR_MAC))
}

/// The numbers of the service and of the real server that a frame has this header for.
pub fn recipient(frame: &[u8]) -> Option<(u8, u8)> {
    match frame.strip_prefix(&REAL_MAC)? {
        [service, n, source @ ..] if source.starts_with(&DIRECTOR_MAC) => Some((*service, *n)),
        _ => None,
    }
}

//! Workers on memory ports, driven by hand: the dataplane without a kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use shunt_dataplane::director::{Director, Memory, Rates};
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowReader};
use shunt_dataplane::forwarding::{
    Builder, ForwardingState, NoReal, OnFailure, Options, Path, Ports, RealSlot, RealSpec, ServiceId,
    ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::port::memory::{MemoryFrame, MemoryPort};
use shunt_dataplane::port::{BURST, Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::recorder::{Armed, FlightReader, Recorder};
use shunt_dataplane::rewrite::{MacHeader, Vlan};
use shunt_dataplane::stats::{RealCounters, ServiceCounters, WorkerStats};
use shunt_dataplane::verdict::DropReason;
use shunt_dataplane::worker::{AttachedPort, Worker};

use crate::craft::{DIRECTOR_MAC, VIP, VIP6};

/// Ports a worker of the rig has: frames come in on 0 (hardware) or 1 (virtual), and go out on either.
pub const PORTS: u8 = 2;
/// Frames each port keeps to receive into.
const SHARE: usize = 2 * BURST;
/// One frame leaves each real server the number in its MAC address.
const REAL_MAC: [u8; 4] = [0x02, 0x00, 0x00, 0x00];

/// One of the rig's workers.
pub struct Seat {
    pub worker: Worker<MemoryPort>,
    pub stats: Arc<WorkerStats>,
    pub flows: FlowReader,
    pub flight: FlightReader,
}

/// The dataplane of a test.
pub struct Rig {
    pub publisher: Publisher<ForwardingState>,
    /// What its workers capture for.
    pub tap: Publisher<Armed>,
    pub seats: Vec<Seat>,
    /// Milliseconds since the start.
    pub now: u64,
}

impl Rig {
    /// A rig of `workers` workers with room for `flows` flows of either family each, and no service.
    pub fn new(workers: usize, flows: usize) -> Self {
        Rig::with_rates(workers, flows, Rates::default())
    }

    /// The same, whose workers say no more than `rates`.
    pub fn with_rates(workers: usize, flows: usize, rates: Rates) -> Self {
        let mut publisher = Publisher::new(ForwardingState::empty(HashKey([7, 11])));
        let mut tap = Publisher::new(Armed::default());
        let seats = Memory::for_workers(workers, Capacity::each(flows), 0x5eed)
            .into_iter()
            .enumerate()
            .map(|(n, memory)| {
                let stats = Arc::new(WorkerStats::default());
                let flows = memory.flows.reader();
                let director = Director::new(n, memory, rates, stats.clone());
                let (ports, pool) = equipment();
                let worker = Worker::new(ports, pool, director, publisher.subscribe(), stats.clone());
                let recorder = Recorder::new(n, tap.subscribe(), stats.clone());
                let flight = recorder.reader();
                Seat { worker: worker.with_recorder(recorder), stats, flows, flight }
            })
            .collect();
        Rig { publisher, tap, seats, now: 0 }
    }

    /// Another worker takes the place of this one, with its memory and nothing else.
    pub fn replace(&mut self, n: usize) {
        let Seat { worker, stats, flows, flight } = self.seats.remove(n);
        let (mut director, mut subscriber, recorder) = worker.into_memory();
        director.recount(subscriber.current());
        let (ports, pool) = equipment();
        let worker = Worker::new(ports, pool, director, subscriber, stats.clone())
            .with_recorder(recorder.expect("each has one"));
        self.seats.insert(n, Seat { worker, stats, flows, flight });
    }

    /// The next state.
    pub fn publish(&mut self, specs: &[ServiceSpec]) {
        let next = Builder::after(self.publisher.current(), self.seats.len(), usize::from(PORTS))
            .build(specs)
            .expect("the specification is right");
        self.publisher.publish(next);
    }

    /// The state published last.
    pub fn state(&self) -> &Arc<ForwardingState> {
        self.publisher.current()
    }

    /// One frame through a worker: what came out, and on which port.
    pub fn send(&mut self, worker: usize, ingress: u8, frame: &[u8]) -> Option<(u8, Vec<u8>)> {
        let seat = &mut self.seats[worker];
        assert!(port(seat, ingress).arrive(frame), "no frame to receive into");
        assert_eq!(seat.worker.turn(self.now), 1);
        let mut out = None;
        for id in 0..PORTS {
            port(seat, id).sent(|bytes| {
                assert!(out.is_none(), "one frame came in, two went out");
                out = Some((id, bytes.to_vec()));
            });
        }
        out
    }

    /// One frame through a worker: all that came out, also what had waited for it.
    pub fn exchange(&mut self, worker: usize, ingress: u8, frame: &[u8]) -> Vec<(u8, Vec<u8>)> {
        assert!(port(&mut self.seats[worker], ingress).arrive(frame), "no frame to receive into");
        self.turn(worker)
    }

    /// One turn of a worker, now: all that came out.
    pub fn turn(&mut self, worker: usize) -> Vec<(u8, Vec<u8>)> {
        let seat = &mut self.seats[worker];
        seat.worker.turn(self.now);
        let mut out = Vec::new();
        for id in 0..PORTS {
            port(seat, id).sent(|bytes| out.push((id, bytes.to_vec())));
        }
        out
    }

    /// What one counter of one reason has come to, on all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.total(|stats| stats.drops(reason).value())
    }

    /// Panics unless every frame is somewhere and every one received has a fate.
    pub fn check_frames(&self) {
        for Seat { stats, .. } in &self.seats {
            let places =
                [&stats.frames_free, &stats.frames_held, &stats.frames_filling, &stats.frames_sending];
            let sum: u64 = places.iter().map(|gauge| gauge.value()).sum();
            assert_eq!(sum, stats.frames_total.value());
            let fates = stats.tx_frames.value() + stats.drops_total() + stats.frames_held.value();
            assert_eq!(stats.rx_frames.value(), fates);
        }
    }

    /// Which real server gets a frame that comes in on the hardware port of a worker; none: it is dropped.
    pub fn real(&mut self, worker: usize, frame: &[u8]) -> Option<u16> {
        self.send(worker, 0, frame).map(|(_, bytes)| real_of(&bytes))
    }

    /// Lets `seconds` go by with no frame coming, a second at a time.
    pub fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1000;
            for seat in &mut self.seats {
                assert_eq!(seat.worker.turn(self.now), 0);
            }
        }
    }

    /// Lets every flow expire: the longest timeout, and one walk through the table.
    pub fn expire_all(&mut self) {
        self.wait(900 + 17);
    }

    /// Flows remembered now, by worker.
    pub fn flows(&self, worker: usize) -> Vec<(FlowKey, Flow)> {
        self.seats[worker].flows.iter().collect()
    }

    /// What one counter of all workers has come to.
    pub fn total(&self, count: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.seats.iter().map(|seat| count(&seat.stats)).sum()
    }

    /// Panics unless each real server's gauges equal the flows that the tables hold for it.
    pub fn check_gauges(&self) {
        for worker in 0..self.seats.len() {
            let mut held: BTreeMap<(ServiceId, RealSlot, u8), [u64; 3]> = BTreeMap::new();
            for (key, flow) in self.flows(worker) {
                let held = held.entry((key.service, flow.real, flow.epoch)).or_default();
                let [active, inactive, templates] = held;
                *(match (flow.state.is_template(), flow.state.is_active()) {
                    (true, _) => templates,
                    (false, true) => active,
                    (false, false) => inactive,
                }) += 1;
            }
            for (id, service) in self.state().services() {
                for (slot, real) in service.reals() {
                    let counters = &real.counters()[worker];
                    let gauges = [&counters.active, &counters.inactive, &counters.templates];
                    let gauges = gauges.map(|gauge| gauge.value());
                    let expected = held.get(&(id, slot, real.epoch())).copied().unwrap_or_default();
                    assert_eq!(gauges, expected, "worker {worker}, {:?}, {}", service.key(), real.address());
                }
            }
        }
    }
}

/// The ports of a worker, and their frames.
fn equipment() -> (Vec<AttachedPort<MemoryPort>>, Pool<MemoryFrame>) {
    let port = |id| AttachedPort {
        port: MemoryPort::new(SHARE),
        interface: PortId(id),
        complete_checksums: id == 1,
    };
    // As many again as the ports keep: some frames are always free.
    ((0..PORTS).map(port).collect(), Pool::new(MemoryFrame::many(2 * SHARE * usize::from(PORTS))))
}

/// One of a worker's ports.
pub fn port(seat: &mut Seat, id: u8) -> &mut MemoryPort {
    seat.worker.port(usize::from(id)).expect("the rig has this port")
}

/// The number of the real server that a frame was rewritten for.
pub fn real_of(frame: &[u8]) -> u16 {
    assert_eq!(frame[..4], REAL_MAC, "not the MAC address of a real server");
    u16::from_be_bytes([frame[4], frame[5]])
}

/// The TCP service of the tests.
pub fn http() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(80), protocol: Protocol::Tcp }
}

/// The UDP service of the tests.
pub fn dns() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(53), protocol: Protocol::Udp }
}

/// The SCTP service of the tests.
pub fn sip() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(5060), protocol: Protocol::Sctp }
}

/// The same service on the VIP of IPv6.
pub fn six(key: ServiceKey) -> ServiceKey {
    ServiceKey { address: IpAddr::from(VIP6).into(), ..key }
}

/// A service with these real servers.
pub fn service(key: ServiceKey, reals: impl IntoIterator<Item = RealSpec>) -> ServiceSpec {
    let options = Options { on_failure: OnFailure::Rehash, no_real: NoReal::Silent, ..Options::default() };
    ServiceSpec { key, options, reals: reals.into_iter().collect() }
}

/// The same with other options.
pub fn with(
    key: ServiceKey,
    reals: impl IntoIterator<Item = RealSpec>,
    change: impl FnOnce(&mut Options),
) -> ServiceSpec {
    let mut spec = service(key, reals);
    change(&mut spec.options);
    spec
}

/// Address of real server number `n`: 198.19.0.0 + n.
pub fn address(n: u16) -> Address {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 19, 0, 0).to_bits() + u32::from(n)).into()
}

/// Real server number `n`, up.
pub fn up(n: u16) -> RealSpec {
    weighted(n, 1)
}

/// Real server number `n`, up with this weight.
pub fn weighted(n: u16, weight: u16) -> RealSpec {
    let thresholds = Thresholds::default();
    RealSpec {
        address: address(n),
        weight,
        share: weight,
        thresholds,
        healthy: true,
        keeps_flows: false,
        path: Some(path(n, 1)),
    }
}

/// Real server number `n`, weight 0.
pub fn draining(n: u16) -> RealSpec {
    weighted(n, 0)
}

/// Real server number `n`, down.
pub fn down(n: u16) -> RealSpec {
    RealSpec { healthy: false, ..up(n) }
}

/// How real server number `n` is reached.
pub fn path(n: u16, port: u8) -> Path {
    let [a, b, c, d] = REAL_MAC;
    let [e, f] = n.to_be_bytes();
    let header = MacHeader::new(MacAddress([a, b, c, d, e, f]), MacAddress(DIRECTOR_MAC));
    Path { header, port: PortId(port), mtu: 1500, vlan: Vlan::Keep }
}

/// Every counter and gauge of a worker but those of the loop itself (turns, bursts, sleeps, where frames
/// are), by name. Exhaustive: a new counter does not compile before it stands here.
pub fn counters(stats: &WorkerStats) -> BTreeMap<String, u64> {
    let WorkerStats {
        rx_frames,
        rx_bytes,
        tx_frames,
        tx_bytes,
        drops: _,
        checksums_completed,
        bursts: _,
        turns: _,
        sleeps: _,
        generation: _,
        flows,
        flows_at_risk,
        flows_expired,
        flows_evicted,
        flows_dispensed,
        flows_refused,
        flows_adopted,
        flows_synced,
        flows_moved,
        answers_icmp,
        answers_reset,
        answers_withheld,
        fragments_held,
        frames_held: _,
        frames_free: _,
        frames_filling: _,
        frames_sending: _,
        frames_total: _,
        captured,
        capture_lost,
        kicks_refused: _,
        busy_millis: _,
        thread: _,
    } = stats;
    let mut counters: BTreeMap<String, u64> = [
        ("rx_frames", rx_frames),
        ("rx_bytes", rx_bytes),
        ("tx_frames", tx_frames),
        ("tx_bytes", tx_bytes),
        ("checksums_completed", checksums_completed),
        ("flows", flows),
        ("flows_expired", flows_expired),
        ("flows_at_risk", flows_at_risk),
        ("flows_evicted", flows_evicted),
        ("flows_dispensed", flows_dispensed),
        ("flows_refused", flows_refused),
        ("flows_adopted", flows_adopted),
        ("flows_synced", flows_synced),
        ("flows_moved", flows_moved),
        ("answers_icmp", answers_icmp),
        ("answers_reset", answers_reset),
        ("answers_withheld", answers_withheld),
        ("fragments_held", fragments_held),
        ("captured", captured),
        ("capture_lost", capture_lost),
    ]
    .map(|(name, counter)| (name.to_string(), counter.value()))
    .into();
    for reason in DropReason::ALL {
        counters.insert(format!("drop.{}", reason.name()), stats.drops(reason).value());
    }
    counters
}

/// Every counter of the services and real servers of a state, all workers together, by name.
pub fn state_counters(state: &ForwardingState) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for (_, service) in state.services() {
        let ServiceCounters { frames: _, bytes: _, flows: _ } = &*service.counters()[0];
        let name = format!("{}", service.key().protocol);
        let all = service.counters();
        counters.insert(format!("{name}.service.frames"), all.total(|c| &c.frames));
        counters.insert(format!("{name}.service.bytes"), all.total(|c| &c.bytes));
        counters.insert(format!("{name}.service.flows"), all.total(|c| &c.flows));
        for (slot, real) in service.reals() {
            let RealCounters {
                frames: _,
                bytes: _,
                flows: _,
                active: _,
                inactive: _,
                templates: _,
                handshakes_completed: _,
                handshakes_retransmitted: _,
                handshakes_reset: _,
            } = &*real.counters()[0];
            let (name, all) = (format!("{name}.real{}", slot.0), real.counters());
            counters.insert(format!("{name}.frames"), all.total(|c| &c.frames));
            counters.insert(format!("{name}.bytes"), all.total(|c| &c.bytes));
            counters.insert(format!("{name}.flows"), all.total(|c| &c.flows));
            counters.insert(format!("{name}.active"), all.total(|c| &c.active));
            counters.insert(format!("{name}.inactive"), all.total(|c| &c.inactive));
            counters.insert(format!("{name}.templates"), all.total(|c| &c.templates));
            counters.insert(format!("{name}.handshakes_completed"), all.total(|c| &c.handshakes_completed));
            counters.insert(
                format!("{name}.handshakes_retransmitted"),
                all.total(|c| &c.handshakes_retransmitted),
            );
            counters.insert(format!("{name}.handshakes_reset"), all.total(|c| &c.handshakes_reset));
        }
    }
    counters
}

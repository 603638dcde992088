//! The whole pass: everything between receive and transmit.

use std::hint::black_box;
use std::sync::Arc;

use hashbrown::HashMap;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::{Capacity, FlowKey};
use shunt_dataplane::forwarding::{ForwardingState, Options, RealSlot};
use shunt_dataplane::parse::parse;
use shunt_dataplane::port::memory::{MemoryFrame, MemoryPort};
use shunt_dataplane::port::{BURST, Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::rewrite::{Vlan, rewrite};
use shunt_dataplane::schedule::Question;
use shunt_dataplane::stats::{Counter, WorkerStats};
use shunt_dataplane::worker::{AttachedPort, Worker};

use crate::memory::Row;
use crate::memory::stage::{BOOT_KEY, key, room};
use crate::state::{KEY, header, of, services};
use crate::traffic::{FRAME, Family, Frames, Shape, Traffic};
use crate::umem::{BURSTS, Umem};

/// The time in all rows.
const NOW: Tick = Tick::new(0);

/// A director and what comes to it.
pub struct Scene<const N: usize> {
    /// What comes.
    pub traffic: Traffic,
    umem: Umem<N>,
    state: ForwardingState,
    director: Director,
    verdicts: Verdicts,
}

impl<const N: usize> Scene<N> {
    /// A director that knows all flows of this traffic.
    pub fn new(shape: Shape, options: Options) -> Scene<N> {
        let shape = Shape { frame: N, ..shape };
        let capacity = match shape.family {
            Family::Ipv4 | Family::Tagged => room(shape.flows),
            Family::Ipv6 => Capacity { ipv4: 0, ipv6: room(shape.flows).ipv4 },
        };
        let memory = Memory::for_workers(1, capacity, BOOT_KEY).pop().expect("one worker");
        let mut traffic = Traffic::shaped(shape);
        let mut scene = Scene {
            umem: Umem::of(&mut traffic),
            traffic,
            state: of(&services(shape.family, shape.services, options)),
            director: Director::new(0, memory, Rates::default(), Arc::new(WorkerStats::default())),
            verdicts: Verdicts::new(),
        };
        // Twice: what is new is on probation. And what was written ahead is looked at.
        for _ in 0..2 * scene.traffic.round().div_ceil(BURST) + BURSTS {
            scene.turn();
        }
        scene
    }

    /// A burst comes, and is decided.
    #[inline(always)]
    pub fn turn(&mut self) {
        let Scene { umem, traffic, state, director, verdicts } = self;
        director.direct(state, black_box(umem.turn(traffic)), false, NOW, verdicts);
        black_box(verdicts);
    }

    /// A burst comes, and is decided under this state.
    #[inline(always)]
    pub fn turn_under(&mut self, state: &ForwardingState) {
        let Scene { umem, traffic, director, verdicts, .. } = self;
        director.direct(state, black_box(umem.turn(traffic)), false, NOW, verdicts);
        black_box(verdicts);
    }

    /// A burst comes while other traffic is written.
    #[inline(always)]
    pub fn turn_with(&mut self, other: &mut Traffic) {
        let Scene { umem, state, director, verdicts, .. } = self;
        director.direct(state, black_box(umem.turn(other)), false, NOW, verdicts);
        black_box(verdicts);
    }
}

/// The whole decision.
pub fn director<const N: usize>(
    name: &str,
    parameter: impl ToString,
    shape: Shape,
    options: Options,
    at: usize,
) -> Row {
    Row::new(name, parameter, at, move || {
        let mut scene = Scene::<N>::new(shape, options);
        move || scene.turn()
    })
}

/// The whole decision about frames that are in the first cache.
pub fn director_here(at: usize) -> Row {
    Row::new("pass/director here", 1_000, at, move || {
        let mut scene = Scene::<FRAME>::new(Shape::of(1_000), Options::default());
        let mut frames: Frames = scene.traffic.frames();
        move || {
            let Scene { traffic, state, director, verdicts, .. } = &mut scene;
            traffic.write(&mut frames);
            director.direct(state, black_box(&mut frames), false, NOW, verdicts);
            black_box(verdicts);
        }
    })
}

/// What a simple director would do: facts, a general-purpose map, rewrite, counters. No states of flows, no timeouts, no
/// real servers that go.
pub fn hashbrown<const N: usize>(name: &str, shape: Shape, at: usize) -> Row {
    Row::new(name, shape.flows, at, move || {
        let shape = Shape { frame: N, ..shape };
        let mut traffic = Traffic::shaped(shape);
        let mut umem = Umem::<N>::of(&mut traffic);
        let state = of(&services(shape.family, shape.services, Options::default()));
        let headers: Vec<_> = (0..10).map(header).collect();
        let counters: Vec<[Counter; 2]> = (0..10).map(|_| Default::default()).collect();
        let mut map: HashMap<FlowKey, RealSlot> = HashMap::with_capacity(shape.flows);
        let mut turn = move || {
            for frame in black_box(umem.turn(&mut traffic)) {
                let Ok(packet) = parse(&frame.0) else { continue };
                let Some(id) = state.lookup(&packet) else { continue };
                let key = FlowKey { service: id, ..key(&packet) };
                let real = match map.get(&key) {
                    Some(real) => *real,
                    None => {
                        let hash = KEY.flow(
                            packet.src,
                            packet.dst,
                            packet.src_port,
                            packet.dst_port,
                            packet.protocol as u8,
                        );
                        let (src, src_port, dst) = (packet.src, packet.src_port, packet.dst);
                        let question = Question { hash, src, src_port, dst, now: NOW };
                        let Some(real) = state.service(id).and_then(|service| service.schedule(&question))
                        else {
                            continue;
                        };
                        map.insert(key, real);
                        real
                    }
                };
                let [count, bytes] = &counters[usize::from(real.0)];
                count.add(1);
                bytes.add(N as u64);
                rewrite(frame, &packet, &headers[usize::from(real.0)], Vlan::Keep, false);
            }
        };
        for _ in 0..shape.flows.div_ceil(BURST) + BURSTS {
            turn();
        }
        turn
    })
}

/// A worker on a memory port: the frame is copied in, received, decided, transmitted and recycled.
pub fn worker<const N: usize>(shape: Shape, at: usize) -> Row {
    Row::new("pass/worker", shape.flows, at, move || {
        let shape = Shape { frame: N, ..shape };
        let mut traffic = Traffic::shaped(shape);
        let mut umem = Umem::<N>::of(&mut traffic);
        let stats = Arc::new(WorkerStats::default());
        let memory = Memory::for_workers(1, room(shape.flows), BOOT_KEY).pop().expect("one worker");
        let director = Director::new(0, memory, Rates::default(), stats.clone());
        let mut publisher = Publisher::new(of(&services(shape.family, shape.services, Options::default())));
        let port = MemoryPort::new(2 * BURST);
        let ports = vec![AttachedPort { port, interface: PortId(0), complete_checksums: false }];
        let pool = Pool::new(MemoryFrame::many(4 * BURST));
        let mut worker = Worker::new(ports, pool, director, publisher.subscribe(), stats);
        let mut turn = move || {
            // Control's end must live.
            let _ = &publisher;
            let port = worker.port(0).expect("it has one");
            for frame in umem.turn(&mut traffic) {
                assert!(port.arrive(&frame.0));
            }
            assert_eq!(worker.turn(0), BURST);
            worker.port(0).expect("it has one").sent(|frame| {
                black_box(frame);
            });
        };
        for _ in 0..2 * shape.flows.div_ceil(BURST) + BURSTS {
            turn();
        }
        turn
    })
}

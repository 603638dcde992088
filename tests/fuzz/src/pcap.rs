//! Any file as a capture: the pcap port replays it to its end or to an error, in bounded time and memory, and no
//! frame is lost between the places where frames are.

use std::io::{Cursor, Sink, sink};
use std::sync::Arc;

use shunt_dataplane::director::{Director, Rates};
use shunt_dataplane::forwarding::{Builder, ForwardingState};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::port::memory::MemoryFrame;
use shunt_dataplane::port::pcap::PcapPort;
use shunt_dataplane::port::{Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::worker::{AttachedPort, Worker};

use crate::memory;
use crate::rig;

/// Frames of the worker: fewer than a burst.
const FRAMES: usize = 16;
/// The reader's buffer (8 MB) and a worker.
const MOST_MEMORY: usize = 10_000_000;
/// A packet of a capture has a header of 16 bytes.
const PACKET_HEADER: usize = 16;

/// The target.
pub fn run(input: &[u8]) {
    let used = memory::peak(|| replay(input));
    assert!(used <= MOST_MEMORY, "{used} bytes for a capture of {}", input.len());
}

fn replay(input: &[u8]) {
    let Ok(port) = PcapPort::new(Cursor::new(input), sink()) else { return };
    let state = ForwardingState::empty(HashKey([7, 11]));
    let specs = [rig::service(rig::http(), 2), rig::service(rig::dns(), 1)];
    let state = Builder::after(&state, 1, 1).build(&specs).expect("the specification is right");
    let mut publisher = Publisher::new(state);
    let stats = Arc::new(WorkerStats::default());
    let memory = rig::memories(1).pop().expect("one worker has one memory");
    let director = Director::new(0, memory, Rates::default(), stats.clone());
    let ports = vec![AttachedPort { port, interface: PortId(0), complete_checksums: true }];
    let pool = Pool::new(MemoryFrame::many(FRAMES));
    let mut worker = Worker::new(ports, pool, director, publisher.subscribe(), stats.clone());
    let most = input.len() / PACKET_HEADER;
    let (mut turns, mut received) = (0, 0);
    while !worker.port(0).is_none_or(|port: &mut PcapPort<_, Sink>| port.at_end()) {
        assert!(turns <= most as u64 + 1, "the replay does not end");
        received += worker.turn(turns * 100);
        turns += 1;
        rig::check_stats(&stats);
    }
    // What waits for its first fragment waits no longer.
    worker.turn(turns * 100 + 1000);
    rig::check_stats(&stats);
    assert_eq!(stats.frames_held.value(), 0);
    assert_eq!(stats.rx_frames.value(), received as u64);
    let skipped = worker.port(0).map_or(0, |port| port.too_long());
    assert!(received as u64 + skipped <= most as u64, "more packets than there can be");
}

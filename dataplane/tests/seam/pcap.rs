//! Replays of captures, good and bad.

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError};
use proptest::prelude::*;
use shunt_dataplane::director::{Director, Memory, Rates};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::forwarding::{Builder, ForwardingState, Path, ServiceSpec};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::port::memory::{FRAME_ROOM, MemoryFrame};
use shunt_dataplane::port::pcap::PcapPort;
use shunt_dataplane::port::{BURST, Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::DropReason;
use shunt_dataplane::worker::{AttachedPort, Worker};

use crate::craft::{ACK, Craft, SYN};
use crate::rig::{dns, http, real_of, service, up};

fn capture(link: DataLink, frames: &[Vec<u8>]) -> Vec<u8> {
    let header = PcapHeader { datalink: link, ..Default::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for (n, frame) in frames.iter().enumerate() {
        let at = Duration::from_millis(n as u64);
        writer.write_packet(&PcapPacket::new(at, frame.len() as u32, frame)).unwrap();
    }
    writer.into_writer()
}

/// What a port writes, to be read while the worker has the port.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Replay {
    stats: Arc<WorkerStats>,
    sent: Vec<Vec<u8>>,
    too_long: u64,
    error: Option<String>,
}

/// Runs a capture through a worker to its end.
fn replay(input: &[u8]) -> Result<Replay, PcapError> {
    replay_for(input, &[service(http(), [up(1), up(2)]), service(dns(), [up(3)])])
}

fn replay_for(input: &[u8], specs: &[ServiceSpec]) -> Result<Replay, PcapError> {
    let mut specs = specs.to_vec();
    for real in specs.iter_mut().flat_map(|spec| &mut spec.reals) {
        real.path = real.path.map(|path| Path { port: PortId(0), ..path });
    }
    let state = ForwardingState::empty(HashKey([7, 11]));
    let mut publisher = Publisher::new(Builder::after(&state, 1, 1).build(&specs).unwrap());
    let stats = Arc::new(WorkerStats::default());
    let memory = Memory::for_workers(1, Capacity::each(1024), 1).pop().expect("one");
    let director = Director::new(0, memory, Rates::default(), stats.clone());
    let output = Sink::default();
    let port = PcapPort::new(Cursor::new(input), output.clone())?;
    let ports = vec![AttachedPort { port, interface: PortId(0), complete_checksums: false }];
    let pool = Pool::new(MemoryFrame::many(BURST / 2));
    let mut worker = Worker::new(ports, pool, director, publisher.subscribe(), stats.clone());
    let mut turns = 0;
    while !worker.port(0).unwrap().at_end() {
        worker.turn(turns);
        turns += 1;
        assert!(turns < 200, "the replay does not end");
        let places = [&stats.frames_free, &stats.frames_held, &stats.frames_filling, &stats.frames_sending];
        assert_eq!(places.iter().map(|gauge| gauge.value()).sum::<u64>(), stats.frames_total.value());
    }
    worker.turn(turns);
    let port = worker.port(0).unwrap();
    let (too_long, error) = (port.too_long(), port.error().map(ToString::to_string));
    let output = output.0.take();
    let mut reader = PcapReader::new(Cursor::new(output)).unwrap();
    let mut sent = Vec::new();
    while let Some(packet) = reader.next_packet() {
        sent.push(packet.unwrap().data.into_owned());
    }
    Ok(Replay { stats, sent, too_long, error })
}

fn conversation() -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = (0..100).map(|n| Craft::tcp(n, SYN).bytes()).collect();
    frames.extend((0..100).map(|n| Craft::tcp(n, ACK).bytes()));
    frames.push(Craft::udp(1).bytes());
    frames
}

#[test]
fn a_capture_is_forwarded_into_another() {
    let mut frames = conversation();
    frames.push(Craft { ttl: 1, ..Craft::udp(2) }.bytes());
    frames.push(vec![0; FRAME_ROOM + 1]);
    let replay = replay(&capture(DataLink::ETHERNET, &frames)).unwrap();
    assert_eq!(replay.error, None);
    assert_eq!(replay.too_long, 1);
    assert_eq!(replay.stats.rx_frames.value(), 202);
    assert_eq!(replay.stats.drops(DropReason::TtlExpired).value(), 1);
    assert_eq!(replay.sent.len(), 202);
    // Its sender is told that its time was over: protocol ICMP, type 11, back to where it came from.
    let (told, expired) = (&replay.sent[201], &frames[201]);
    assert_eq!((told[23], told[34]), (1, 11));
    assert_eq!((&told[..6], &told[30..34]), (&expired[6..12], &expired[26..30]));
    for (n, (before, after)) in frames.iter().zip(&replay.sent[..201]).enumerate() {
        assert_eq!(before[34..], after[34..], "frame {n} in order, unchanged above IP");
        assert_eq!(before[22] - 1, after[22]);
    }
    let servers: Vec<u16> = replay.sent[..201].iter().map(|frame| real_of(frame)).collect();
    assert_eq!(servers[..100], servers[100..200], "each flow keeps its server");
    assert!(servers[..100].contains(&1) && servers[..100].contains(&2));
    assert_eq!(servers[200], 3);
}

#[test]
fn a_capture_that_is_not_of_ethernet_is_refused() {
    let input = capture(DataLink::RAW, &conversation());
    assert!(replay(&input).is_err());
}

#[test]
fn a_capture_that_is_cut_is_replayed_up_to_there_and_says_so() {
    let frames = &conversation()[..3];
    let input = capture(DataLink::ETHERNET, frames);
    // 24 bytes of file header, 16 of each packet's.
    let packet = 16 + frames[0].len();
    for length in 0..input.len() {
        // Without a service: what is received is what matters here.
        let Ok(replay) = replay_for(&input[..length], &[]) else {
            assert!(length < 24, "{length} bytes: the header is whole");
            continue;
        };
        assert!(length >= 24, "{length} bytes: the header is not whole");
        let (whole, rest) = ((length - 24) / packet, (length - 24) % packet);
        assert_eq!(replay.stats.rx_frames.value(), whole as u64, "{length} bytes");
        assert_eq!(replay.error.is_some(), rest > 0, "{length} bytes: {:?}", replay.error);
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_an_end_but_no_panic(
        garbage in proptest::collection::vec(any::<u8>(), 0..300), with_header in any::<bool>(),
    ) {
        let mut input = if with_header { capture(DataLink::ETHERNET, &[]) } else { Vec::new() };
        input.extend(garbage);
        if let Ok(replay) = replay_for(&input, &[]) {
            prop_assert_eq!(replay.stats.rx_frames.value(), replay.stats.tx_frames.value() + replay.stats.drops_total());
        }
    }

    #[test]
    fn a_capture_with_a_few_wrong_bytes_is_no_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut input = capture(DataLink::ETHERNET, &conversation()[..5]);
        for (at, value) in changes {
            let at = at.index(input.len());
            input[at] = value;
        }
        let _ = replay_for(&input, &[]);
    }
}

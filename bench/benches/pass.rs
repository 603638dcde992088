//! The whole pass over a burst of 64 frames, its stages, and what they are measured against. `../README.md`
//! says what each row means.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::HashMap;
use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::TcpPacket;
use shunt_bench::state::{KEY, header, state};
use shunt_bench::traffic::Traffic;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowState, FlowTable};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};
use shunt_dataplane::packet::{Address, Packet};
use shunt_dataplane::parse::parse;
use shunt_dataplane::port::memory::{MemoryFrame, MemoryPort};
use shunt_dataplane::port::{BURST, Pool, PortId};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::rewrite::{Vlan, rewrite};
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::Verdict;
use shunt_dataplane::worker::{AttachedPort, Worker};

const BOOT_KEY: u64 = 0x9e37_79b9_7f4a_7c15;
const FLOWS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
/// Room for twice the flows: the load that operators are told to plan for.
fn room(flows: usize) -> Capacity {
    Capacity { ipv4: 2 * flows, ipv6: 0 }
}

fn table(flows: usize) -> FlowTable {
    FlowTable::new(room(flows), BOOT_KEY)
}

fn director(flows: usize, stats: Arc<WorkerStats>) -> Director {
    let memory = Memory::for_workers(1, room(flows), BOOT_KEY).pop().expect("one worker");
    Director::new(0, memory, Rates::default(), stats)
}

fn hash(packet: &Packet) -> u64 {
    KEY.flow(packet.src, packet.dst, packet.src_port, packet.dst_port, packet.protocol as u8)
}

fn key(packet: &Packet) -> FlowKey {
    FlowKey::new(packet.src, packet.src_port, packet.dst_port, ServiceId(0))
}

/// Quick: a first look at each row, not the last word. 60 samples in a second.
fn group<'c>(
    c: &'c mut Criterion,
    name: &str,
) -> criterion::BenchmarkGroup<'c, criterion::measurement::WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(BURST as u64));
    group.sample_size(60).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

/// What every row below pays, and the least that any director must do.
fn floor(c: &mut Criterion) {
    let mut group = group(c, "floor");
    let mut traffic = Traffic::new(1_000);
    let mut frames = traffic.frames();
    group.bench_function("write", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            black_box(&frames);
        });
    });
    traffic.write(&mut frames);
    let packet = parse(&frames[0]).expect("a good frame");
    group.bench_function("rewrite", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            for frame in &mut frames {
                rewrite(frame, black_box(&packet), &header(1), Vlan::Keep, false);
            }
            black_box(&frames);
        });
    });
}

/// The same facts, found and checked with pnet_packet's views.
fn with_pnet(frame: &[u8]) -> Option<(u32, u32, u16, u16, u8)> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new(ethernet.payload())?;
    let (header, total) = (usize::from(ip.get_header_length()) * 4, usize::from(ip.get_total_length()));
    if ip.get_version() != 4 || header < 20 || total < header || total > ethernet.payload().len() {
        return None;
    }
    if ip.get_checksum() != ipv4::checksum(&ip) {
        return None;
    }
    if ip.get_flags() & 1 != 0 || ip.get_fragment_offset() != 0 || ip.get_ttl() <= 1 {
        return None;
    }
    let (src, dst) = (ip.get_source(), ip.get_destination());
    if src.octets()[0] == 0 || src.is_loopback() || src.octets()[0] >= 224 || src == dst {
        return None;
    }
    if ip.get_next_level_protocol() != IpNextHeaderProtocols::Tcp {
        return None;
    }
    let segment = &ethernet.payload()[header..total];
    let tcp = TcpPacket::new(segment)?;
    let offset = usize::from(tcp.get_data_offset()) * 4;
    (offset >= 20 && offset <= segment.len())
        .then(|| (src.to_bits(), dst.to_bits(), tcp.get_source(), tcp.get_destination(), tcp.get_flags()))
}

fn stages(c: &mut Criterion) {
    let state = state();
    let mut traffic = Traffic::new(1_000);
    let mut frames = traffic.frames();
    traffic.write(&mut frames);
    let packets = frames.map(|frame| parse(&frame).expect("a good frame"));
    let mut group = group(c, "stage");
    group.bench_function("parse/shunt", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(parse(black_box(frame)).is_ok_and(|packet| black_box(packet).src_port > 0));
            }
        });
    });
    group.bench_function("parse/pnet_packet", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(with_pnet(black_box(frame)));
            }
        });
    });
    group.bench_function("hash", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            for packet in &packets {
                black_box(hash(black_box(packet)));
            }
        });
    });
    group.bench_function("lookup", |b| {
        b.iter(|| {
            traffic.write(&mut frames);
            for packet in &packets {
                black_box(state.lookup(black_box(packet)));
            }
        });
    });
    group.finish();
}

/// The flow table alone, and a general-purpose map with the same keys and values in its place.
fn flow(c: &mut Criterion) {
    let mut group = group(c, "flow");
    for flows in FLOWS {
        let mut traffic = Traffic::new(flows);
        let mut frames = traffic.frames();
        let (mut table, mut map) = (table(flows), HashMap::with_capacity(flows));
        let flow =
            Flow { real: RealSlot(1), epoch: 0, state: FlowState::Established, expires: Tick::new(3600) };
        for _ in 0..flows.div_ceil(BURST) {
            traffic.write(&mut frames);
            for frame in &frames {
                let packet = parse(frame).expect("a good frame");
                let key = key(&packet);
                let slot = table.slot(hash(&packet), &key);
                if table.find(slot, &key).is_none() {
                    table.insert(slot, &key, flow, Tick::new(0), 1000, |_, _| false);
                    map.insert(key, flow);
                }
            }
        }
        // Hash and key are made here in both rows: parsing is another row's business.
        let facts = |frame: &[u8]| {
            let word =
                |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
            let (client, ports) = (word(26), word(34));
            let (from, to) = ((ports >> 16) as u16, ports as u16);
            let key = FlowKey::new(Address::from_v4(client), from, to, ServiceId(0));
            (KEY.words(u64::from(client) << 32 | u64::from(word(30)), u64::from(ports) << 32 | 6), key)
        };
        group.bench_function(BenchmarkId::new("find", flows), |b| {
            b.iter(|| {
                traffic.write(&mut frames);
                let wanted = frames.each_ref().map(|frame| {
                    let (hash, key) = facts(frame);
                    let slot = table.slot(hash, &key);
                    table.prefetch(slot);
                    (slot, key)
                });
                for (slot, key) in wanted {
                    black_box(table.find(slot, &key));
                }
            });
        });
        group.bench_function(BenchmarkId::new("hashbrown", flows), |b| {
            b.iter(|| {
                traffic.write(&mut frames);
                for frame in &frames {
                    let (_, key) = facts(frame);
                    black_box(map.get(&key));
                }
            });
        });
    }
    group.finish();
}

/// Everything between receive and transmit.
fn pass(c: &mut Criterion) {
    let mut group = group(c, "pass");
    let state = state();
    for flows in FLOWS {
        let mut traffic = Traffic::new(flows);
        let mut frames = traffic.frames();
        let mut director = director(flows, Arc::new(WorkerStats::default()));
        let mut verdicts = Verdicts::new();
        let mut direct = |traffic: &mut Traffic| {
            traffic.write(&mut frames);
            director.direct(&state, black_box(&mut frames), false, Tick::new(0), &mut verdicts);
            assert!(matches!(black_box(&verdicts)[BURST - 1], Verdict::Forward(_)));
        };
        // Before the clock starts every flow is known.
        for _ in 0..traffic.flows().div_ceil(BURST) {
            direct(&mut traffic);
        }
        group.bench_function(BenchmarkId::new("director", flows), |b| b.iter(|| direct(&mut traffic)));
    }
    for flows in FLOWS {
        let mut traffic = Traffic::new(flows);
        let mut frames = traffic.frames();
        let stats = Arc::new(WorkerStats::default());
        let director = director(flows, stats.clone());
        let mut publisher = Publisher::new(shunt_bench::state::state());
        let port = MemoryPort::new(2 * BURST);
        let ports = vec![AttachedPort { port, interface: PortId(0), complete_checksums: false }];
        let pool = Pool::new(MemoryFrame::many(4 * BURST));
        let mut worker = Worker::new(ports, pool, director, publisher.subscribe(), stats);
        let mut turn = |traffic: &mut Traffic| {
            traffic.write(&mut frames);
            let port = worker.port(0).expect("it has one");
            for frame in &frames {
                assert!(port.arrive(frame));
            }
            assert_eq!(worker.turn(0), BURST);
            worker.port(0).expect("it has one").sent(|frame| {
                black_box(frame);
            });
        };
        for _ in 0..traffic.flows().div_ceil(BURST) {
            turn(&mut traffic);
        }
        group.bench_function(BenchmarkId::new("worker", flows), |b| b.iter(|| turn(&mut traffic)));
    }
    group.finish();
}

criterion_group!(benches, floor, stages, flow, pass);
criterion_main!(benches);

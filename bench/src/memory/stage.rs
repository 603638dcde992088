//! Each stage of the path alone, and what it could be done with instead.

use std::hint::black_box;

use hashbrown::HashMap;
use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::TcpPacket;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::{Capacity, Destination, Flow, FlowKey, FlowState, FlowTable};
use shunt_dataplane::forwarding::{Options, RealSlot, ServiceId};
use shunt_dataplane::packet::{Address, Packet, Protocol};
use shunt_dataplane::parse::parse;
use shunt_dataplane::port::BURST;
use shunt_dataplane::rewrite::{Vlan, rewrite};

use crate::memory::Row;
use crate::state::{KEY, header, of, services};
use crate::traffic::{FRAME, Family, Frames, Shape, Traffic};
use crate::umem::Umem;

/// Secret of the tables.
pub const BOOT_KEY: u64 = 0x9e37_79b9_7f4a_7c15;

/// The writing of frames: what every row of frames of this shape pays. It stands at place `at` of its set.
pub fn write<const N: usize>(shape: Shape, at: usize) -> Row {
    Row::new("floor/write", shape.flows, at, move || {
        let mut traffic = Traffic::shaped(Shape { frame: N, ..shape });
        let mut umem = Umem::<N>::of(&mut traffic);
        move || {
            black_box(umem.write(&mut traffic));
        }
    })
}

/// The same in the first cache: what rows of single stages pay.
pub fn write_here(at: usize) -> Row {
    Row::new("floor/write here", 1_000, at, move || {
        let mut traffic = Traffic::new(1_000);
        let mut frames: Frames = traffic.frames();
        move || {
            traffic.write(&mut frames);
            black_box(&frames);
        }
    })
}

/// The least that any director does: MAC addresses, TTL and checksum of frames that need no decision.
pub fn floor<const N: usize>(shape: Shape, at: usize) -> Row {
    Row::new("floor/rewrite", shape.flows, at, move || {
        let mut traffic = Traffic::shaped(Shape { frame: N, ..shape });
        let mut umem = Umem::<N>::of(&mut traffic);
        let (packet, header) = (parse(&umem.write(&mut traffic)[0].0).expect("a good frame"), header(1));
        move || {
            let burst = black_box(umem.turn(&mut traffic));
            for frame in burst {
                rewrite(frame, black_box(&packet), black_box(&header), Vlan::Keep, false);
            }
        }
    })
}

/// The floor with frames that are in the first cache.
pub fn floor_here(at: usize) -> Row {
    Row::new("floor/rewrite here", 1_000, at, move || {
        let mut traffic = Traffic::new(1_000);
        let mut frames: Frames = traffic.frames();
        traffic.write(&mut frames);
        let (packet, header) = (parse(&frames[0]).expect("a good frame"), header(1));
        move || {
            traffic.write(&mut frames);
            for frame in black_box(&mut frames) {
                rewrite(frame, black_box(&packet), black_box(&header), Vlan::Keep, false);
            }
        }
    })
}

/// Bytes to facts.
pub fn parsing<const N: usize>(name: &str, shape: Shape, at: usize) -> Row {
    Row::new(name, "shunt", at, move || {
        let mut traffic = Traffic::shaped(Shape { frame: N, ..shape });
        let mut frames: Frames<N> = traffic.frames();
        move || {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(parse(black_box(frame)).is_ok_and(|packet| black_box(&packet).src_port > 0));
            }
        }
    })
}

/// Bytes to facts the short way.
pub fn plain(at: usize) -> Row {
    Row::new("stage/parse", "plain", at, move || {
        let mut traffic = Traffic::new(1_000);
        let mut frames: Frames = traffic.frames();
        move || {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(
                    shunt_dataplane::parse::plain(black_box(frame)).is_some_and(|plain| plain.client > 0),
                );
            }
        }
    })
}

/// The same with pnet_packet's views.
pub fn parsing_with_pnet(at: usize) -> Row {
    Row::new("stage/parse", "pnet_packet", at, move || {
        let mut traffic = Traffic::new(1_000);
        let mut frames: Frames = traffic.frames();
        move || {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(with_pnet(black_box(frame)));
            }
        }
    })
}

/// The hash of a flow.
pub fn hashing(at: usize) -> Row {
    Row::new("stage/hash", 1_000, at, move || {
        let (mut traffic, mut frames, packets) = packets(1);
        move || {
            traffic.write(&mut frames);
            for packet in &packets {
                black_box(hash(black_box(packet)));
            }
        }
    })
}

/// Destination to service, among so many.
pub fn lookup(count: u16, at: usize) -> Row {
    Row::new("stage/lookup", count, at, move || {
        let (mut traffic, mut frames, packets) = packets(count);
        let state = of(&services(Family::Ipv4, count, Options::default()));
        move || {
            traffic.write(&mut frames);
            for packet in &packets {
                black_box(state.lookup(black_box(packet)));
            }
        }
    })
}

/// A flow in the flow table, all known: hash, prefetch, find.
pub fn finding(flows: usize, at: usize) -> Row {
    Row::new("stage/find", flows, at, move || {
        let (mut traffic, mut frames) = (Traffic::new(flows), [[0; FRAME]; BURST]);
        let mut table = FlowTable::new(room(flows), BOOT_KEY);
        each_flow(&mut traffic, |packet| {
            let key = key(packet);
            let slot = table.slot(Destination::new(packet.dst, packet.protocol), &key);
            if table.find(slot, &key).is_none() {
                table.insert(slot, &key, FLOW, Tick::new(0), 1000, |_, _| false);
            }
        });
        move || {
            traffic.write(&mut frames);
            let spots = frames.each_ref().map(|frame| {
                let to = Destination::new(Address::from_v4(word(frame, 30)), Protocol::Tcp);
                table.spot(u64::from(word(frame, 26)) << 32 | u64::from(word(frame, 34)), to)
            });
            for spot in spots {
                black_box(table.find_at(&spot));
            }
        }
    })
}

/// The same with a general-purpose map and its own hash.
pub fn finding_with_hashbrown(flows: usize, at: usize) -> Row {
    Row::new("stage/find/hashbrown", flows, at, move || {
        let (mut traffic, mut frames) = (Traffic::new(flows), [[0; FRAME]; BURST]);
        let mut map = HashMap::with_capacity(flows);
        each_flow(&mut traffic, |packet| {
            map.insert(key(packet), FLOW);
        });
        move || {
            traffic.write(&mut frames);
            for frame in &frames {
                black_box(map.get(&facts(frame)));
            }
        }
    })
}

const FLOW: Flow =
    Flow { real: RealSlot(1), epoch: 0, state: FlowState::Established, expires: Tick::new(3600) };

/// Room for these flows at the design load of 0.6.
pub fn room(flows: usize) -> Capacity {
    Capacity { ipv4: flows * 10 / 6, ipv6: 0 }
}

/// The key of a packet's flow.
pub fn key(packet: &Packet) -> FlowKey {
    FlowKey::new(packet.src, packet.src_port, packet.dst_port, ServiceId(0))
}

fn hash(packet: &Packet) -> u64 {
    KEY.flow(packet.src, packet.dst, packet.src_port, packet.dst_port, packet.protocol as u8)
}

/// The key without a parser: parsing is another row's business.
#[inline(always)]
fn facts(frame: &[u8; FRAME]) -> FlowKey {
    let (client, ports) = (word(frame, 26), word(frame, 34));
    FlowKey::new(Address::from_v4(client), (ports >> 16) as u16, ports as u16, ServiceId(0))
}

#[inline(always)]
fn word(frame: &[u8; FRAME], at: usize) -> u32 {
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

/// A burst, and its facts, for so many services.
fn packets(services: u16) -> (Traffic, Frames, [Packet; BURST]) {
    let mut traffic = Traffic::shaped(Shape { services, ..Shape::of(10_000) });
    let mut frames: Frames = traffic.frames();
    traffic.write(&mut frames);
    let packets = frames.map(|frame| parse(&frame).expect("a good frame"));
    (traffic, frames, packets)
}

/// Each flow of the traffic at least once.
fn each_flow(traffic: &mut Traffic, mut each: impl FnMut(&Packet)) {
    let mut frames: Frames = traffic.frames();
    for _ in 0..traffic.flows().div_ceil(BURST) {
        traffic.write(&mut frames);
        frames.iter().for_each(|frame| each(&parse(frame).expect("a good frame")));
    }
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

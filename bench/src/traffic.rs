//! Bursts of TCP frames of a given number of flows: uniform, in an order that no cache foresees, or by Zipf's law.
//!
//! Writing a burst restores all that the pass changes (MAC addresses, TTL, header checksum), so every row
//! writes its burst first and all rows pay the same for it: the row `floor/write`.

use shunt_dataplane::packet::Address;
use shunt_dataplane::port::BURST;
use std::net::{IpAddr, Ipv6Addr};

/// The virtual IP that IPv4 frames are for, host order.
pub const VIP: u32 = 0xc000_020a;
/// The virtual IP that IPv6 frames are for, host order.
pub const VIP6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_000a;
/// The port of the first service; the others have the next ones.
pub const PORT: u16 = 80;
/// Ethernet, IPv4 and TCP headers, padded to the least that Ethernet carries (without FCS).
pub const FRAME: usize = 60;
/// The same with a VLAN tag.
pub const TAGGED_FRAME: usize = 64;
/// Ethernet, IPv6 and TCP headers.
pub const IPV6_FRAME: usize = 74;
/// Most bytes of a frame that `write` writes: up to the flags of TCP.
const HEAD: usize = 68;
/// Flows of one client address.
const PORTS: usize = 1 << 14;
const FIRST_PORT: usize = 1024;
/// Primes: a stride of either meets every flow before it meets one again.
const STRIDE: usize = 611_953;
/// Frames after which the sequence of Zipf's law begins again.
const PICKS: usize = 1 << 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// One burst.
pub type Frames<const N: usize = FRAME> = [[u8; N]; BURST];

/// What is inside an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv4 behind one 802.1Q tag.
    Tagged,
    /// IPv6.
    Ipv6,
}

/// What traffic is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Flows that live, at least one.
    pub flows: usize,
    /// Some have far more frames than others: the nth one a share of 1/n. Otherwise all have as many.
    pub is_zipf: bool,
    /// What the frames are.
    pub family: Family,
    /// Services, at least one; flows are for them in turn.
    pub services: u16,
    /// Length of all frames, bytes.
    pub frame: usize,
    /// Of 100 frames, how many are the SYN of a flow that was never there: 0, or a divisor of 100.
    pub fresh: usize,
}

impl Shape {
    /// Minimal IPv4 frames of that many flows, for one service.
    pub const fn of(flows: usize) -> Shape {
        Shape { flows, is_zipf: false, family: Family::Ipv4, services: 1, frame: FRAME, fresh: 0 }
    }
}

/// A source of bursts.
pub struct Traffic {
    shape: Shape,
    /// What each client's frames begin with.
    heads: Vec<[u8; HEAD]>,
    /// Offset of the ports.
    ports: usize,
    /// By Zipf's law: which flow is next.
    picks: Vec<u32>,
    next: usize,
    stride: usize,
    /// New flows so far, and frames until the next one.
    fresh: u32,
    until_fresh: usize,
}

impl Traffic {
    /// Traffic of `flows` flows, as `Shape::of` has it.
    pub fn new(flows: usize) -> Self {
        Self::shaped(Shape::of(flows))
    }

    /// Traffic of this shape.
    pub fn shaped(shape: Shape) -> Self {
        let clients = shape.flows.div_ceil(PORTS).max(1) as u32;
        let heads = (0..clients).map(|client| head(&shape, client, ACK)).collect();
        let ports = match shape.family {
            Family::Ipv4 => 34,
            Family::Tagged => 38,
            Family::Ipv6 => 54,
        };
        let picks = if shape.is_zipf { zipf(shape.flows) } else { Vec::new() };
        let until_fresh = 100usize.checked_div(shape.fresh).unwrap_or(usize::MAX);
        Traffic { heads, ports, picks, next: 0, stride: STRIDE % shape.flows, fresh: 0, until_fresh, shape }
    }

    /// How many flows live.
    pub fn flows(&self) -> usize {
        self.shape.flows
    }

    /// Frames after which each flow had one, new ones not counted in.
    pub fn round(&self) -> usize {
        if self.shape.is_zipf { PICKS } else { self.shape.flows }
    }

    /// Writes the next burst over the one before.
    #[inline(always)]
    pub fn write<'a, const N: usize>(&mut self, frames: impl IntoIterator<Item = &'a mut [u8; N]>) {
        for frame in frames {
            self.until_fresh -= 1;
            if self.until_fresh == 0 {
                self.until_fresh = 100 / self.shape.fresh;
                self.write_fresh(frame);
                continue;
            }
            let flow = self.pick();
            begin(frame, &self.heads[flow / PORTS]);
            self.write_ports(frame, flow);
        }
    }

    #[inline(always)]
    fn pick(&mut self) -> usize {
        if self.picks.is_empty() {
            let flow = self.next;
            self.next += self.stride;
            if self.next >= self.shape.flows {
                self.next -= self.shape.flows;
            }
            flow
        } else {
            self.next = (self.next + 1) % PICKS;
            self.picks[self.next] as usize
        }
    }

    #[inline(always)]
    fn write_ports<const N: usize>(&self, frame: &mut [u8; N], flow: usize) {
        let client = (FIRST_PORT + flow % PORTS) as u16;
        let service = if self.shape.services == 1 { 0 } else { flow % usize::from(self.shape.services) };
        let ports = u32::from(client) << 16 | u32::from(PORT + service as u16);
        frame[self.ports..self.ports + 4].copy_from_slice(&ports.to_be_bytes());
    }

    /// The first segment of a flow that was never there.
    #[inline(never)]
    fn write_fresh<const N: usize>(&mut self, frame: &mut [u8; N]) {
        let flow = self.fresh as usize;
        // It begins again after 2^28 flows.
        self.fresh = (self.fresh + 1) % (1 << 28);
        // Clients of 100.64.0.0/10 on, which no living flow has.
        let client = 0x0a00_0000 + (flow / PORTS) as u32;
        begin(frame, &head(&self.shape, client, SYN));
        self.write_ports(frame, flow);
    }

    /// A burst with all that `write` leaves alone.
    pub fn frames<const N: usize>(&self) -> Frames<N> {
        [[0; N]; BURST]
    }
}

#[inline(always)]
fn begin<const N: usize>(frame: &mut [u8; N], head: &[u8; HEAD]) {
    let length = const { if N < HEAD { N } else { HEAD } };
    frame[..length].copy_from_slice(&head[..length]);
}

/// Flows by Zipf's law with exponent 1, drawn from a fixed sequence.
fn zipf(flows: usize) -> Vec<u32> {
    let mut sums = Vec::with_capacity(flows);
    let mut sum = 0.0;
    for n in 1..=flows {
        sum += 1.0 / n as f64;
        sums.push(sum);
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = (seed >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let rank = sums.partition_point(|below| *below < at).min(flows - 1);
        // Neighbours in rank are none in the table, nor have they one client.
        (rank * STRIDE % flows) as u32
    };
    (0..PICKS).map(|_| draw()).collect()
}

/// The headers of a client's frames; the ports are missing.
fn head(&Shape { family, frame, .. }: &Shape, client: u32, flags: u8) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..6].copy_from_slice(&[0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d]);
    head[6..12].copy_from_slice(&[0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]);
    let l3 = match family {
        Family::Ipv4 | Family::Ipv6 => 14,
        Family::Tagged => {
            head[12..16].copy_from_slice(&[0x81, 0x00, 0x00, 0x2a]);
            18
        }
    };
    if family == Family::Ipv6 {
        head[12..14].copy_from_slice(&[0x86, 0xdd]);
        let [high, low] = (frame as u16 - 54).to_be_bytes();
        head[14..22].copy_from_slice(&[0x60, 0, 0, 0, high, low, 6, 64]);
        head[22..38].copy_from_slice(&client6(client).to_be_bytes());
        head[38..54].copy_from_slice(&VIP6.to_be_bytes());
        head[66..68].copy_from_slice(&[5 << 4, flags]);
        return head;
    }
    head[l3 - 2..l3].copy_from_slice(&[0x08, 0x00]);
    // What is minimal is padded.
    let total = if frame <= TAGGED_FRAME { 40 } else { frame - l3 } as u16;
    let [high, low] = total.to_be_bytes();
    head[l3..l3 + 10].copy_from_slice(&[0x45, 0, high, low, 0x1d, 0x0f, 0x40, 0, 64, 6]);
    head[l3 + 12..l3 + 16].copy_from_slice(&(0xc612_0001 + client).to_be_bytes());
    head[l3 + 16..l3 + 20].copy_from_slice(&VIP.to_be_bytes());
    let checksum = !shunt_dataplane::checksum::sum(&head[l3..l3 + 20]);
    head[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
    head[l3 + 32..l3 + 34].copy_from_slice(&[5 << 4, flags]);
    head
}

fn client6(client: u32) -> u128 {
    0x2001_0db8_0001_0000_0000_0000_0000_0001 + (u128::from(client) << 32)
}

/// The VIP as the dataplane has it.
pub fn vip(family: Family) -> Address {
    match family {
        Family::Ipv4 | Family::Tagged => Address::from_v4(VIP),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(VIP6)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_dataplane::packet::TcpFlags;
    use shunt_dataplane::parse::parse;
    use std::collections::HashSet;

    #[test]
    fn every_flow_comes_once_before_one_comes_again() {
        for flows in [1, 1_000, 100_000, 1_000_000] {
            let mut traffic = Traffic::new(flows);
            let (mut frames, mut seen): (Frames, _) = (traffic.frames(), HashSet::new());
            for _ in 0..flows.div_ceil(BURST) {
                traffic.write(&mut frames);
                for frame in &frames {
                    let packet = parse(frame).expect("a good frame");
                    seen.insert((packet.src, packet.src_port));
                }
            }
            assert_eq!(seen.len(), flows);
        }
    }

    fn facts<const N: usize>(shape: Shape) -> (usize, usize) {
        let mut traffic = Traffic::shaped(Shape { frame: N, ..shape });
        let (mut frames, mut flows, mut fresh): (Frames<N>, _, _) = (traffic.frames(), HashSet::new(), 0);
        for _ in 0..100 {
            traffic.write(&mut frames);
            for frame in &frames {
                let packet = parse(frame).expect("a good frame");
                assert_eq!(packet.dst, vip(shape.family));
                assert!((PORT..PORT + shape.services).contains(&packet.dst_port));
                flows.insert((packet.src, packet.src_port));
                fresh += usize::from(packet.flags.has(TcpFlags::SYN));
            }
        }
        (flows.len(), fresh)
    }

    #[test]
    fn frames_are_good_in_every_shape_and_new_flows_as_many_as_asked_for() {
        for (fresh, wanted) in [(0, 0), (1, 64), (50, 3_200), (100, 6_400)] {
            let shape = Shape { fresh, services: 10, ..Shape::of(1_000) };
            for (flows, found) in [
                facts::<FRAME>(shape),
                facts::<1514>(shape),
                facts::<TAGGED_FRAME>(Shape { family: Family::Tagged, ..shape }),
                facts::<IPV6_FRAME>(Shape { family: Family::Ipv6, ..shape }),
            ] {
                assert_eq!(found, wanted);
                assert_eq!(flows, wanted + if fresh == 100 { 0 } else { 1_000 });
            }
        }
    }

    #[test]
    fn by_zipf_some_flows_have_far_more_frames_than_others() {
        let (flows, _) = facts::<FRAME>(Shape { is_zipf: true, ..Shape::of(100_000) });
        assert!((1_500..5_000).contains(&flows), "{flows} of 6,400 frames");
    }
}

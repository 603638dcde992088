//! Fragments of sixteen datagrams in any order, on two workers, over time, while real servers come and go; beside a
//! model of what is known of each datagram, and of what waits.
//!
//! The promises: a later fragment goes where the first one of its datagram went, whichever worker saw that, for 30 s,
//! as long as the real server serves; one that is early waits, for 200 ms and with at most 63 others; nothing else
//! happens to it.
//!
//! The input: a byte of options, then one operation after the other, each of a byte that says what (bits 0-2) and how,
//! and its operands.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;

use shunt_dataplane::director::{Memory, Rates};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::forwarding::{NoReal, Ports, ServiceKey, ServiceSpec};
use shunt_dataplane::packet::Protocol;
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::DropReason;

use crate::input::Input;
use crate::rig::{DIRECTOR_MAC, MOST_HELD, PORTS, Rig, Sent, VIP, VIP6, WORKERS, recipient, service};
use crate::wire;

/// Real servers of each service.
const REALS: usize = 3;
/// Milliseconds that may go by at once.
const PAUSES: [u64; 8] = [1, 7, 50, 199, 200, 10_000, 29_000, 31_000];
/// Quarters of a second for which a datagram is known: 30 s.
const LIFETIME: u64 = 120;
/// Milliseconds for which an early fragment waits.
const HOLD: u64 = 200;
/// Data of each fragment: enough for every transport header.
const PIECE: u16 = 24;
/// Fragments of a datagram.
const PIECES: u16 = 4;

/// The number of a datagram. Those from 16 on never get a first fragment.
type Datagram = u16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Up,
    Draining,
    Down,
    Removed,
}

/// A fragment: of which datagram, and which one.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    datagram: Datagram,
    piece: u16,
}

/// What a worker should know.
#[derive(Default)]
struct Desk {
    /// Where the first fragment of a datagram went, and when (quarters of a second).
    known: HashMap<Datagram, (Option<usize>, u64)>,
    /// What waits, and since when (milliseconds).
    held: Vec<(Fragment, u64)>,
    /// When those were last looked at.
    offered: u64,
    arrived: [VecDeque<Fragment>; PORTS],
}

struct Run {
    rig: Rig,
    desks: [Desk; WORKERS],
    specs: Vec<ServiceSpec>,
    reals: [Status; REALS],
}

/// The target.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let memories = Memory::for_workers(WORKERS, Capacity::each(64), 0x5eed);
    let mut run = Run {
        rig: Rig::new(memories, Rates::default()),
        desks: Default::default(),
        specs: specs(input.byte()),
        reals: [Status::Up; REALS],
    };
    run.publish();
    while !input.is_empty() {
        run.operation(&mut input);
    }
    for _ in 0..2 {
        (0..WORKERS).for_each(|worker| run.turn(worker));
        run.rig.now += HOLD;
    }
    assert!(run.desks.iter().all(|desk| desk.held.is_empty()), "the model waits for ever");
    run.rig.check_gauges();
}

fn specs(options: u8) -> Vec<ServiceSpec> {
    let policies = [Policy::Rr, Policy::Wlc, Policy::Lblcr, Policy::Twos];
    let services = [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 5060)];
    let of = |address| {
        services.map(|(protocol, port)| {
            let key = ServiceKey { address, ports: Ports::exact(port), protocol };
            let mut spec = service(key, REALS as u8);
            spec.options.no_real = NoReal::Silent;
            spec.options.policy = policies[usize::from(options & 3)];
            spec.options.one_packet = options & 4 != 0 && protocol == Protocol::Udp;
            spec
        })
    };
    [of(VIP.into()), of(std::net::IpAddr::V6(VIP6).into())].concat()
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let how = usize::from(what >> 3);
        let (worker, port, at_once) = (how & 1, how >> 1 & 1, how >> 2 & 1 == 0);
        match what & 7 {
            0..=4 => {
                let which = u16::from(input.byte());
                self.arrive(worker, port, Fragment { datagram: which & 15, piece: which >> 4 & 3 });
            }
            5 => self.rig.now += PAUSES[how & 7],
            6 => {
                let statuses = [Status::Up, Status::Draining, Status::Down, Status::Removed];
                self.reals[usize::from(input.byte()) % REALS] = statuses[how & 3];
                self.publish();
            }
            _ => {
                for n in 0..u16::from(input.byte()) {
                    self.arrive(worker, port, Fragment { datagram: 16 + n, piece: 1 + n % 3 });
                }
            }
        }
        if at_once {
            self.turn(worker);
        }
    }

    fn arrive(&mut self, worker: usize, port: usize, fragment: Fragment) {
        let frame = frame(fragment);
        if !self.rig.arrive(worker, port, &frame) {
            self.turn(worker);
            assert!(self.rig.arrive(worker, port, &frame), "no frame to receive into after a turn");
        }
        self.desks[worker].arrived[port].push_back(fragment);
    }

    fn publish(&mut self) {
        let mut specs = self.specs.clone();
        for spec in &mut specs {
            for (real, status) in spec.reals.iter_mut().zip(self.reals) {
                real.healthy = status != Status::Down;
                if status == Status::Draining {
                    (real.weight, real.share) = (0, 0);
                }
            }
            let mut statuses = self.reals.iter();
            spec.reals.retain(|_| statuses.next() != Some(&Status::Removed));
        }
        self.rig.publish(&specs);
    }

    /// One turn of a worker, and of the model.
    fn turn(&mut self, worker: usize) {
        let (_, sent) = self.rig.turn(worker);
        let mut sent = sent.iter();
        for port in 0..PORTS {
            while let Some(fragment) = self.desks[worker].arrived[port].pop_front() {
                if fragment.piece == 0 {
                    self.first(worker, fragment, &mut sent);
                } else if !self.later(worker, fragment, &mut sent) {
                    let now = self.rig.now;
                    let held = &mut self.desks[worker].held;
                    if (held.len() as u64) < MOST_HELD {
                        held.push((fragment, now));
                    }
                }
            }
        }
        let now = self.rig.now;
        if !self.desks[worker].held.is_empty() && self.desks[worker].offered != now {
            self.desks[worker].offered = now;
            for (fragment, since) in std::mem::take(&mut self.desks[worker].held) {
                if !self.later(worker, fragment, &mut sent) && now - since < HOLD {
                    self.desks[worker].held.push((fragment, since));
                }
            }
        }
        assert!(sent.next().is_none(), "sent what should not be");
        let stats = &self.rig.seats[worker].stats;
        assert_eq!(stats.frames_held.value(), self.desks[worker].held.len() as u64);
        check_reasons(stats);
    }

    /// A first fragment goes wherever the scheduler says, and is remembered.
    fn first<'s>(
        &mut self,
        worker: usize,
        fragment: Fragment,
        sent: &mut (impl Iterator<Item = &'s Sent> + Clone),
    ) {
        let may = |status| self.reals.contains(&status);
        let expected = frame(fragment);
        let real = sent.clone().next().and_then(|sent| went(sent, &expected));
        match real {
            Some(real) => {
                sent.next();
                assert!(self.serves(real), "to a real server that is {:?}", self.reals[real]);
            }
            None => assert!(!may(Status::Up), "a first fragment went nowhere: {fragment:?}"),
        }
        let tick = self.rig.now / 250;
        self.desks[worker].known.insert(fragment.datagram, (real, tick));
    }

    /// Where a later fragment goes is known, or it is not: then false.
    fn later<'s>(
        &self,
        worker: usize,
        fragment: Fragment,
        sent: &mut impl Iterator<Item = &'s Sent>,
    ) -> bool {
        let tick = self.rig.now / 250;
        let known = |desk: &Desk| desk.known.get(&fragment.datagram).copied();
        let lives = |(_, since): &(Option<usize>, u64)| tick - since < LIFETIME;
        let own = known(&self.desks[worker]).filter(lives);
        let all = || self.desks.iter().filter_map(known).find(lives);
        let Some((real, _)) = own.or_else(all) else { return false };
        // That of a real server that is gone is dropped, and that of a first one that went nowhere.
        if let Some(real) = real.filter(|real| self.serves(*real)) {
            let sent = sent.next().unwrap_or_else(|| panic!("a later fragment went nowhere: {fragment:?}"));
            assert_eq!(
                went(sent, &frame(fragment)),
                Some(real),
                "{fragment:?} went elsewhere than the first"
            );
        }
        true
    }

    fn serves(&self, real: usize) -> bool {
        matches!(self.reals[real], Status::Up | Status::Draining)
    }
}

/// Nothing is dropped for any reason but these.
fn check_reasons(stats: &WorkerStats) {
    let allowed = [DropReason::NoReal, DropReason::FragmentOrphan, DropReason::FragmentNoRoom];
    let dropped: u64 = allowed.map(|reason| stats.drops(reason).value()).iter().sum();
    assert_eq!(stats.drops_total(), dropped, "a fragment that is whole was called something else");
}

/// Which real server a frame was sent to, if it is this one.
fn went(sent: &Sent, frame: &[u8]) -> Option<usize> {
    let mut expected = frame.to_vec();
    let is_v4 = expected[14] >> 4 == 4;
    expected[if is_v4 { 22 } else { 21 }] -= 1;
    if is_v4 {
        wire::repair_checksums(&mut expected);
    }
    let (_, real) = recipient(&sent.bytes)?;
    (sent.bytes[12..] == expected[12..]).then_some(usize::from(real))
}

/// A fragment of a datagram: of either family, of each protocol, of two clients; some differ in their identification
/// alone.
fn frame(Fragment { datagram, piece }: Fragment) -> Vec<u8> {
    let (v6, protocol, client) = (datagram & 1 != 0, datagram >> 1 & 3, (datagram >> 3) as u8);
    let id = if protocol == 3 { 0x1235u16 } else { 0x1234 };
    let (number, port) = [(17, 53), (6, 80), (132, 5060u16), (17, 53)][usize::from(protocol)];
    let (offset, more) = (piece * PIECE, piece < PIECES - 1);
    let mut frame = [&DIRECTOR_MAC[..], &[0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]].concat();
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8 + PIECE as u8, 44, 64]);
        frame.extend(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client.into()).octets());
        frame.extend(VIP6.octets());
        frame.extend([number, 0]);
        frame.extend((offset | u16::from(more)).to_be_bytes());
        frame.extend(u32::from(id).to_be_bytes());
    } else {
        frame.extend([0x08, 0x00, 0x45, 0, 0, 20 + PIECE as u8]);
        frame.extend(id.to_be_bytes());
        frame.extend(((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        frame.extend([64, number, 0, 0, 198, 18, 0, client]);
        frame.extend(VIP.octets());
    }
    let data = frame.len();
    frame.extend((0..PIECE as u8).map(|n| n ^ (piece as u8) << 5));
    if piece == 0 {
        let [high, low] = port.to_be_bytes();
        frame[data..data + 4].copy_from_slice(&[0x9c, 0x40, high, low]);
        match number {
            // The length of the whole datagram.
            17 => frame[data + 4..data + 6].copy_from_slice(&(PIECE * PIECES).to_be_bytes()),
            // Header length, ACK.
            6 => frame[data + 12..data + 14].copy_from_slice(&[0x50, 0x10]),
            _ => {}
        }
    }
    wire::repair_checksums(&mut frame);
    frame
}

//! Frames of every kind, right and wrong, through two workers, while time goes by and real servers come and go.
//!
//! The promises: no panic; each frame is in one place and gets one verdict; what is forwarded goes to a real server
//! that may have it, and is what came in but for what `rewrite` says; what is answered is a right answer to what came
//! in. Each is checked by code that shares nothing with the dataplane's (`wire`).
//!
//! The input: options of the services (`services`), then one operation after the other, each of a byte that says what
//! (bits 0-2) and how, and its operands.

use std::net::IpAddr;

use shunt_dataplane::director::Rates;
use shunt_dataplane::port::memory::FRAME_ROOM;
use shunt_dataplane::rewrite::Vlan;
use shunt_dataplane::stats::WorkerStats;

use crate::input::Input;
use crate::rig::{Rig, Sent, VIP, VIP6, WORKERS, memories, recipient};
use crate::services::Services;
use crate::wire::{self, Reading, read, sum};

/// Milliseconds that may go by at once.
const PAUSES: [u64; 8] = [1, 20, 199, 250, 1_000, 10_000, 61_000, 901_000];

/// A frame that came in and whose fate is not known yet.
struct Arrived {
    port: usize,
    bytes: Vec<u8>,
    /// None: it cannot be read.
    reading: Option<Reading>,
}

struct Run {
    rig: Rig,
    services: Services,
    /// By worker.
    arrived: Vec<Vec<Arrived>>,
    /// What came before, to come again.
    frames: Vec<Vec<u8>>,
}

/// The target.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let services = Services::new(&mut input);
    let rates = if input.byte() & 1 == 0 { Rates::default() } else { Rates { icmp: 2, reset: 1 } };
    let arrived = (0..WORKERS).map(|_| Vec::new()).collect();
    let mut run = Run { rig: Rig::new(memories(WORKERS), rates), services, arrived, frames: Vec::new() };
    run.publish();
    while !input.is_empty() {
        run.operation(&mut input);
    }
    // What waits for its first fragment waits no longer.
    for _ in 0..2 {
        run.turns();
        run.rig.now += 1_000;
    }
    for seat in &run.rig.seats {
        assert_eq!(seat.stats.frames_held.value(), 0, "a fragment waits for ever");
    }
    run.rig.check_gauges();
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let how = usize::from(what >> 3);
        // For frames: worker, port, two bits of repair, and whether the worker looks at once.
        let (worker, port, repair, at_once) = (how & 1, how >> 1 & 1, how >> 2 & 3, how >> 4 == 0);
        match what & 7 {
            0..=2 => {
                let length = usize::from(input.word()) % (FRAME_ROOM + 1);
                let frame = repaired(input.bytes(length).to_vec(), repair);
                self.arrive(worker, port, &frame);
                self.frames.push(frame);
            }
            3 => {
                let Some(mut frame) = self.earlier(input.byte()) else { return };
                let (at, value) = (usize::from(input.byte()), input.byte());
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
                self.arrive(worker, port, &repaired(frame, repair));
            }
            4 => {
                self.turns();
                self.rig.now += PAUSES[how & 7];
                self.turns();
                self.rig.check_gauges();
            }
            5 => {
                // What has arrived meets the state of its turn.
                self.services.change(input);
                self.publish();
            }
            6 => self.turn(worker),
            _ => {
                // Many clients: the same frame from one source address after the other.
                let Some(mut frame) = self.earlier(input.byte()) else { return };
                let l3 = wire::network(&frame);
                let at = if frame.get(l3 - 2) == Some(&8) { l3 + 15 } else { l3 + 23 };
                for n in 0..input.byte() {
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = n;
                    }
                    self.arrive(worker, port, &repaired(frame.clone(), repair));
                }
            }
        }
        if at_once {
            self.turn(worker);
        }
    }

    fn earlier(&self, index: u8) -> Option<Vec<u8>> {
        self.frames.get(usize::from(index).checked_rem(self.frames.len())?).cloned()
    }

    fn arrive(&mut self, worker: usize, port: usize, frame: &[u8]) {
        if !self.rig.arrive(worker, port, frame) {
            self.turn(worker);
            assert!(self.rig.arrive(worker, port, frame), "no frame to receive into after a turn");
        }
        self.arrived[worker].push(Arrived { port, bytes: frame.to_vec(), reading: read(frame) });
    }

    fn publish(&mut self) {
        let specs = self.services.specs();
        self.rig.publish(&specs);
    }

    fn turns(&mut self) {
        (0..WORKERS).for_each(|worker| self.turn(worker));
    }

    /// One turn of a worker, and the fate of each frame.
    fn turn(&mut self, worker: usize) {
        let said = |stats: &WorkerStats| {
            let answers = stats.answers_icmp.value() + stats.answers_reset.value();
            (stats.tx_frames.value(), answers, stats.rx_frames.value())
        };
        let before = said(&self.rig.seats[worker].stats);
        let (received, sent) = self.rig.turn(worker);
        let after = said(&self.rig.seats[worker].stats);
        assert_eq!(after.2 - before.2, received as u64);
        let arrived = &mut self.arrived[worker];
        let (mut forwarded, mut answered) = (0, 0);
        for sent in &sent {
            match recipient(&sent.bytes).and_then(|to| origin(&self.services, arrived, sent, to)) {
                Some(at) => {
                    arrived.swap_remove(at);
                    forwarded += 1;
                }
                None => {
                    let after = read(&sent.bytes).expect("what is sent can be read");
                    let asked = arrived.iter().position(|asked| is_answer(asked, sent, &after));
                    let asked = asked.unwrap_or_else(|| panic!("out of nothing: {:02x?}", sent.bytes));
                    arrived.swap_remove(asked);
                    answered += 1;
                }
            }
        }
        assert_eq!((after.0 - before.0, after.1 - before.1), (forwarded, answered));
        // Later fragments may wait; all else has its verdict.
        let held = self.rig.seats[worker].stats.frames_held.value() > 0;
        arrived.retain(|frame| held && frame.reading.is_some_and(|reading| reading.is_later));
    }
}

fn repaired(mut frame: Vec<u8>, repair: usize) -> Vec<u8> {
    if repair & 1 == 0 {
        wire::repair_checksums(&mut frame);
    }
    if repair & 2 != 0 {
        wire::repair_length(&mut frame);
        wire::repair_checksums(&mut frame);
    }
    frame
}

/// Which of the frames that came in was sent to this recipient. Panics if it should not have been.
fn origin(services: &Services, arrived: &[Arrived], sent: &Sent, (service, n): (u8, u8)) -> Option<usize> {
    let (path, keep_ttl) = services.treatment(service, n);
    let ip = &sent.bytes[wire::network(&sent.bytes)..];
    for (at, Arrived { port, bytes, reading }) in arrived.iter().enumerate() {
        let Some(reading) = reading else { continue };
        // For speed: a flood is mostly of others. What is compared here never changes.
        let came = &bytes[reading.l3..];
        if came.len() != ip.len() || came[12..20] != ip[12..20] {
            continue;
        }
        let mut expected = path.header.0.to_vec();
        match path.vlan {
            Vlan::Keep => expected.extend(&bytes[12..reading.l3 - 2]),
            Vlan::Untagged => {}
            Vlan::Tagged(id) => {
                let priority = if reading.l3 > 14 { bytes[14] & 0xf0 } else { 0 };
                let [high, low] = id.to_be_bytes();
                expected.extend([0x81, 0, priority | high, low]);
            }
        }
        let l3 = expected.len() + 2;
        expected.extend(&bytes[reading.l3 - 2..]);
        let ttl = if reading.src.is_ipv4() { 8 } else { 7 };
        if !keep_ttl {
            expected[l3 + ttl] = expected[l3 + ttl].wrapping_sub(1);
        }
        let mut got = sent.bytes.clone();
        let mut blank = |field: usize| {
            for frame in [&mut expected, &mut got] {
                if let Some(field) = frame.get_mut(field..field + 2) {
                    field.fill(0);
                }
            }
        };
        if reading.src.is_ipv4() {
            blank(l3 + 10);
        }
        let completed = reading.checksum_at().filter(|_| *port == 1);
        if let Some(field) = completed {
            blank(field - reading.l3 + l3);
        }
        if got != expected || !checksums_are_right(bytes, reading, sent, completed) {
            continue;
        }
        services.check_recipient(service, n, reading, bytes);
        assert!(keep_ttl || reading.ttl > 1, "it had no hop left");
        assert!(reading.end - reading.l3 <= usize::from(path.mtu), "too long for the way");
        assert_eq!(sent.port, usize::from(path.port.0));
        return Some(at);
    }
    None
}

/// Whether the checksums came right and went right. `completed`: where one stood that was to be completed if it was a
/// sender's half.
fn checksums_are_right(bytes: &[u8], before: &Reading, sent: &Sent, completed: Option<usize>) -> bool {
    let Some(after) = read(&sent.bytes) else { return false };
    if !before.header_is_valid(bytes) || !after.header_is_valid(&sent.bytes) {
        return false;
    }
    let Some(field) = completed else { return true };
    let moved = field - before.l3 + after.l3;
    let [old, new] = [&bytes[field..field + 2], &sent.bytes[moved..moved + 2]];
    // The sender's own stays.
    if *old == before.pseudo_sum().to_be_bytes() { after.segment_is_valid(&sent.bytes) } else { old == new }
}

/// Whether `sent` is a right answer to this frame.
fn is_answer(asked: &Arrived, sent: &Sent, after: &Reading) -> bool {
    let (bytes, port) = (&sent.bytes, asked.port);
    let (Some(before), asked) = (asked.reading, &asked.bytes) else { return false };
    let l3 = before.l3;
    let is_back = (after.src, after.dst) == (before.dst, before.src)
        && sent.port == port
        && after.l3 == l3
        && after.end == bytes.len()
        && bytes[..6] == asked[6..12]
        && bytes[6..12] == asked[..6]
        && bytes[12..l3] == asked[12..l3];
    let is_vip = [IpAddr::V4(VIP), IpAddr::V6(VIP6)].contains(&after.src);
    let is_sound = after.header_is_valid(bytes) && after.is_whole && after.ttl == 64;
    if !is_back || !is_vip || !is_sound || before.is_later || after.end < after.l4 + 8 {
        return false;
    }
    let message = &bytes[after.l4..];
    let packet = &asked[l3..before.end];
    match (after.protocol, after.src) {
        (6, _) => {
            let (Some((from, to)), true) = (before.ports(asked), before.protocol == 6) else { return false };
            let (came, flags) = (asked[before.l4 + 13], message[13]);
            after.ports(bytes) == Some((to, from))
                && after.segment_is_valid(bytes)
                && message.len() == 20
                && came & 4 == 0
                && flags & 4 != 0
                // RFC 9293: it acknowledges, unless the number is the client's own acknowledgement.
                && (flags & 0x10 == 0) == (came & 0x10 != 0)
                && (flags & 0x10 != 0 || message[4..8] == asked[before.l4 + 8..before.l4 + 12])
        }
        (1, IpAddr::V4(_)) => {
            let quoted = packet.len().min(576 - 28);
            sum(message) == 0xffff
                && matches!(message[..2], [3, 3] | [3, 4] | [11, 0])
                && message[8..] == packet[..quoted]
        }
        (58, IpAddr::V6(_)) => {
            let quoted = packet.len().min(1280 - 48);
            after.segment_is_valid(bytes)
                && matches!(message[..2], [1, 4] | [2, 0] | [3, 0])
                && message[8..] == packet[..quoted]
        }
        _ => false,
    }
}

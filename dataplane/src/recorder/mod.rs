//! What a worker writes down of the frames it has had: the last verdicts always (`flight`), and whole frames while somebody
//! captures (`tap`, of which `sieve` leaves out what nobody asked for).
//!
//! A forwarded frame differs from the received one in its first bytes only, so those are kept before the verdict and the
//! rest is taken from what is sent. Kept for all frames of a burst while a tap is armed, else for as many as come in a
//! millisecond at a moderate rate: beyond that, a frame costs the recorder its count and nothing more.
//!
//! *Invariants*
//! - Nobody armed: a branch a burst, and the flight recorder's budget.
//! - A frame that waits (a fragment) is recorded once, when it is decided about.
//! - The hot-path contract: no allocation, no lock, no wait. What there is no room for is lost and counted.

mod facts;
mod flight;
mod sieve;
mod tap;

use std::sync::Arc;

use crate::flow::{Destination, FlowKey, FlowTable};
use crate::forwarding::ForwardingState;
use crate::id::{RealSlot, ServiceId};
use crate::packet::{Kind, MacAddress, Packet};
use crate::parse::parse;
use crate::port::{BURST, FrameBytes, PortId};
use crate::publish::Subscriber;
use crate::stats::WorkerStats;
use crate::verdict::{DropReason, Verdict};

pub use facts::{Facts, Outcome};
pub use flight::{FlightReader, KEPT, Past, RATE, RECORDS};
pub use sieve::{Prefix, Sieve};
pub use tap::{Armed, Captured, MAX_SNAP, RING, TapReader};

use flight::Flight;
use tap::Tap;

/// Bytes kept of a frame before its verdict: more than a verdict ever changes, and a multiple of 8.
const HEAD: usize = 128;

/// A worker's recorder.
pub struct Recorder {
    worker: usize,
    flight: Flight,
    armed: Subscriber<Armed>,
    heads: Box<[Head; BURST]>,
    /// Heads of the burst at hand that were kept.
    kept: usize,
    /// Heads that may still be kept in this millisecond.
    looks: usize,
    now: u64,
    stats: Arc<WorkerStats>,
}

/// The first bytes of a frame as it was received.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; HEAD],
    /// Length of the whole frame.
    length: usize,
}

/// What the verdicts of a burst were made by.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The forwarding state.
    pub state: &'a ForwardingState,
    /// The worker's flow table, as the verdicts left it.
    pub flows: &'a FlowTable,
}

impl Recorder {
    /// The recorder of worker number `worker`, which looks at `armed` once a burst and counts in `stats`.
    pub fn new(worker: usize, armed: Subscriber<Armed>, stats: Arc<WorkerStats>) -> Self {
        let head = Head { bytes: [0; HEAD], length: 0 };
        Recorder {
            worker,
            flight: Flight::new(),
            armed,
            heads: Box::new([head; BURST]),
            kept: 0,
            looks: BURST,
            now: 0,
            stats,
        }
    }

    /// The flight recorder, for whoever wants to know what has been.
    pub fn reader(&self) -> FlightReader {
        self.flight.reader()
    }

    /// Before the verdicts on a burst, at `now` milliseconds since the start: keeps what they may change.
    #[inline]
    pub fn before<F: FrameBytes>(&mut self, burst: &[F], now: u64) {
        if now != self.now {
            self.now = now;
            self.looks = BURST;
            self.flight.tick(now);
        }
        let is_armed = self.armed.current().0.is_some();
        self.kept = if is_armed { burst.len() } else { burst.len().min(self.looks) };
        self.looks -= self.kept.min(self.looks);
        for (head, frame) in self.heads.iter_mut().zip(burst).take(self.kept) {
            head.keep(frame.as_ref());
        }
    }

    /// After the verdicts, before the frames are sent on their way. `ingress`: where frame number `n` came in.
    #[inline]
    pub fn after<F: FrameBytes>(
        &mut self,
        scene: Scene<'_>,
        burst: &[F],
        verdicts: &[Verdict],
        ingress: impl Fn(usize) -> PortId,
    ) {
        let tap = self.armed.peek().0.as_deref();
        if tap.is_none() {
            let forwarded = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Forward(_))).count();
            let held = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Hold)).count();
            if self.flight.skip([forwarded, verdicts.len() - forwarded - held]) {
                return;
            }
        }
        for (n, (frame, &verdict)) in burst.iter().zip(verdicts).enumerate() {
            let Some((outcome, reason)) = Outcome::of(verdict) else { continue };
            let (for_flight, ordinal) = self.flight.count(outcome);
            let tap = tap.filter(|tap| tap.sieve.takes(outcome, reason));
            if !for_flight && tap.is_none() {
                continue;
            }
            let head = if n < self.kept { self.heads.get(n) } else { None };
            let moment = Moment { outcome, reason, ordinal, now: self.now, ingress: ingress(n) };
            let frame = frame.as_ref();
            let packet = packet(frame, outcome);
            // The same for both, and found out at most once.
            let facts = moment.facts(scene, frame, verdict, packet.as_ref(), head);
            if for_flight {
                self.flight.record(&facts, head.map_or(frame, Head::bytes));
            }
            if let Some(tap) = tap.filter(|tap| tap.sieve.has(packet.as_ref())) {
                let fits = match head {
                    Some(head) => capture(tap, self.worker, &facts, head, frame),
                    // Unreachable while a tap is armed: all heads were kept.
                    None => false,
                };
                let count = if fits { &self.stats.captured } else { &self.stats.capture_lost };
                count.add(1);
            }
        }
    }
}

/// What the loop knows of a verdict.
struct Moment {
    outcome: Outcome,
    reason: Option<DropReason>,
    ordinal: u64,
    now: u64,
    ingress: PortId,
}

impl Moment {
    #[inline]
    fn facts(
        self,
        scene: Scene<'_>,
        frame: &[u8],
        verdict: Verdict,
        packet: Option<&Packet>,
        head: Option<&Head>,
    ) -> Facts {
        let Moment { outcome, reason, ordinal, now, ingress } = self;
        let is_sent = outcome != Outcome::Drop;
        let (service, real) = packet.map_or((None, None), |packet| place(scene, packet));
        Facts {
            millis: now,
            ordinal,
            outcome,
            reason,
            ingress,
            egress: if let Verdict::Forward(port) = verdict { port } else { ingress },
            generation: scene.state.generation(),
            service,
            real,
            to: MacAddress(frame.first_chunk().copied().filter(|_| is_sent).unwrap_or_default()),
            received: head.map_or(if is_sent { 0 } else { clamp(frame.len()) }, |head| clamp(head.length)),
            sent: if is_sent { clamp(frame.len()) } else { 0 },
            shows_sent: head.is_none() && is_sent,
        }
    }
}

/// The packet as it was received, by what the frame is now.
#[inline]
fn packet(frame: &[u8], outcome: Outcome) -> Option<Packet> {
    let packet = parse(frame).ok()?;
    Some(match outcome {
        Outcome::Forward | Outcome::Drop => packet,
        // Turned around: a RST, or an error that quotes it.
        Outcome::Answer => Packet {
            kind: Kind::Whole,
            src: packet.dst,
            dst: packet.src,
            src_port: packet.dst_port,
            dst_port: packet.src_port,
            ..packet
        },
    })
}

/// The service of a packet, and the real server that its flow is remembered with.
#[inline]
fn place(scene: Scene<'_>, packet: &Packet) -> (Option<ServiceId>, Option<(RealSlot, u8)>) {
    if packet.kind == Kind::Later {
        return (None, None);
    }
    let Some(service) = scene.state.lookup(packet) else { return (None, None) };
    let key = FlowKey::new(packet.src, packet.src_port, packet.dst_port, service);
    let to = Destination::new(packet.dst, packet.protocol);
    let flow = scene.flows.find(scene.flows.slot(to, &key), &key);
    (Some(service), flow.map(|(_, flow)| (flow.real, flow.epoch)))
}

/// Captures a frame as received and as sent. Returns whether there was room.
#[inline]
fn capture(tap: &Tap, worker: usize, facts: &Facts, head: &Head, frame: &[u8]) -> bool {
    let sent = if facts.sent == 0 { &[] } else { frame };
    // Behind the head nothing has changed; it may have moved, by a VLAN tag. Of an answer it is gone.
    let moved = (HEAD + frame.len()).checked_sub(head.length);
    let rest = match (facts.outcome, moved) {
        (Outcome::Forward | Outcome::Drop, Some(from)) if head.length > HEAD => {
            frame.get(from..).unwrap_or(&[])
        }
        _ => &[],
    };
    tap.push(worker, facts, [head.bytes(), rest], sent)
}

impl Head {
    #[inline(always)]
    fn keep(&mut self, frame: &[u8]) {
        self.length = frame.len();
        match frame.first_chunk::<HEAD>() {
            Some(bytes) => self.bytes = *bytes,
            None => self.bytes.iter_mut().zip(frame).for_each(|(to, from)| *to = *from),
        }
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

#[inline(always)]
fn clamp(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

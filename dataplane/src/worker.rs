//! One pinned thread: subscribe, receive, direct, transmit, recycle, count. [`Worker::turn`] is one round of
//! the loop and has no idea of threads, so tests drive it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;

use crate::clock::{Clock, Tick};
use crate::director::{Director, Verdicts};
use crate::forwarding::ForwardingState;
use crate::port::{BURST, Burst, Pool, Port, PortId};
use crate::publish::Subscriber;
use crate::recorder::{Recorder, Scene};
use crate::stats::WorkerStats;
use crate::verdict::{DropReason, Verdict};

/// The whole flow table is looked through for silent flows once in this many milliseconds.
const AGE_PERIOD: u64 = 16_000;
/// Most buckets looked through in one turn: with frames waiting (about 5 us), and without.
const AGE_SLICE: u64 = 128;
const AGE_SLICE_IDLE: u64 = 2048;
/// Most fragments that wait for the first one of their datagram, and how long, in milliseconds.
const HELD: usize = BURST;
const HOLD: u64 = 200;
/// Turns without a frame before the worker sleeps.
const SPIN_TURNS: u32 = 200;
/// Longest sleep in milliseconds, with something on its way (a transmission to reclaim) and without.
const NAP: i32 = 1;
const SLEEP: i32 = 100;

/// A port and what is known about its far end.
pub struct AttachedPort<P> {
    /// The port.
    pub port: P,
    /// The interface it is a queue of.
    pub interface: PortId,
    /// Its device is virtual: senders may leave transport checksums to hardware that is not there.
    pub complete_checksums: bool,
}

/// What a worker does when no frame comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idle {
    /// Spins for a moment, then sleeps until a frame comes.
    #[default]
    Adaptive,
    /// Never sleeps.
    Spin,
}

/// What outlives a worker: what its director remembers, its end of the states' way, and its recorder, if it has one.
pub type Remains = (Director, Subscriber<ForwardingState>, Option<Recorder>);

/// Runs frames of its ports to completion.
pub struct Worker<P: Port> {
    ports: Vec<AttachedPort<P>>,
    /// Which of `ports` transmits on an interface.
    egress: Vec<usize>,
    pool: Pool<P::Frame>,
    director: Director,
    recorder: Option<Recorder>,
    subscriber: Subscriber<ForwardingState>,
    stats: Arc<WorkerStats>,
    burst: Burst<P::Frame>,
    verdicts: Verdicts,
    /// Fragments that overtook the first one of their datagram.
    held: ArrayVec<Held<P::Frame>, HELD>,
    /// When they were last shown to the director, in milliseconds.
    offered: u64,
    /// Buckets of the flow table looked through since the start.
    aged: u64,
}

/// A fragment that waits.
struct Held<F> {
    frame: F,
    /// Index of the port it came in on.
    ingress: usize,
    /// When it came, in milliseconds.
    since: u64,
}

impl<P: Port> Worker<P> {
    /// A worker for these ports, whose frames all come from `pool`. Fills the ports: frames may come in from
    /// here on.
    pub fn new(
        ports: Vec<AttachedPort<P>>,
        pool: Pool<P::Frame>,
        director: Director,
        subscriber: Subscriber<ForwardingState>,
        stats: Arc<WorkerStats>,
    ) -> Self {
        stats.frames_total.set(pool.total() as u64);
        let interfaces = ports.iter().map(|p| p.interface.0 as usize + 1).max().unwrap_or(0);
        let egress = (0..interfaces)
            .map(|i| ports.iter().position(|p| p.interface.0 as usize == i).unwrap_or_default())
            .collect();
        let mut worker = Worker {
            ports,
            egress,
            pool,
            director,
            recorder: None,
            subscriber,
            stats,
            burst: Burst::new(),
            verdicts: Verdicts::new(),
            held: ArrayVec::new(),
            offered: 0,
            aged: 0,
        };
        worker.recycle();
        worker
    }

    /// The same, writing down what it does.
    #[must_use]
    pub fn with_recorder(self, recorder: Recorder) -> Self {
        Worker { recorder: Some(recorder), ..self }
    }

    /// One round: a burst from each port, decided and sent on its way. `now`: milliseconds since the start.
    /// Returns the number of frames received.
    pub fn turn(&mut self, now: u64) -> usize {
        let tick = Tick::from_millis(now);
        let mut received = 0;
        for ingress in 0..self.ports.len() {
            received += self.burst(ingress, now, tick);
        }
        if !self.held.is_empty() && now != self.offered {
            self.offer(now, tick);
        }
        self.recycle();
        self.age(now, tick, received == 0);
        self.stats.turns.add(1);
        received
    }

    fn burst(&mut self, ingress: usize, now: u64, tick: Tick) -> usize {
        let AttachedPort { port, complete_checksums, interface } = &mut self.ports[ingress];
        port.receive(&mut self.burst);
        // After receiving: a frame steered here because of a new state also meets that state.
        let state = self.subscriber.current();
        let received = self.burst.len();
        // Also of an empty burst: a capture that is over is let go.
        if let Some(recorder) = &mut self.recorder {
            recorder.before(&self.burst, now);
        }
        if received == 0 {
            return 0;
        }
        self.stats.bursts.add(1);
        let bytes = self.burst.iter().map(|frame| frame.as_ref().len() as u64).sum();
        self.director.direct(state, &mut self.burst, *complete_checksums, tick, &mut self.verdicts);
        if self.held.len() + received > HELD {
            refuse_what_cannot_wait(&mut self.verdicts, HELD - self.held.len());
        }
        if let Some(recorder) = &mut self.recorder {
            let scene = Scene { state, flows: self.director.flows() };
            recorder.after(scene, &self.burst, &self.verdicts, |_| *interface);
        }
        let (mut sent, mut sent_bytes) = (0, 0);
        for (frame, &verdict) in self.burst.drain(..).zip(&self.verdicts) {
            let port = match verdict {
                Verdict::Forward(PortId(interface)) => {
                    sent += 1;
                    sent_bytes += frame.as_ref().len() as u64;
                    self.egress[interface as usize]
                }
                Verdict::Answer(reason) => {
                    self.stats.drops(reason).add(1);
                    ingress
                }
                Verdict::Drop(reason) => {
                    self.stats.drops(reason).add(1);
                    self.pool.give(frame);
                    continue;
                }
                Verdict::Hold => {
                    self.held.push(Held { frame, ingress, since: now });
                    self.stats.fragments_held.add(1);
                    continue;
                }
            };
            self.ports[port].port.transmit(frame);
        }
        self.stats.tx_frames.add(sent);
        self.stats.tx_bytes.add(sent_bytes);
        // Last: whoever sees a frame counted as received sees what became of it.
        self.stats.rx_frames.add(received as u64);
        self.stats.rx_bytes.add(bytes);
        received
    }

    /// Shows the fragments that wait to the director again: at most once a millisecond, so that a flood of them
    /// costs little.
    fn offer(&mut self, now: u64, tick: Tick) {
        self.offered = now;
        let state = self.subscriber.current();
        let mut waiting: ArrayVec<(usize, u64), HELD> = ArrayVec::new();
        for Held { frame, ingress, since } in self.held.drain(..) {
            self.burst.push(frame);
            waiting.push((ingress, since));
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.before(&self.burst, now);
        }
        // A later fragment has no transport checksum to complete.
        self.director.direct(state, &mut self.burst, false, tick, &mut self.verdicts);
        for (verdict, (_, since)) in self.verdicts.iter_mut().zip(&waiting) {
            match verdict {
                Verdict::Hold if now.saturating_sub(*since) < HOLD => {}
                // `answer` never speaks of a later fragment.
                Verdict::Hold | Verdict::Answer(_) => *verdict = Verdict::Drop(DropReason::FragmentOrphan),
                Verdict::Drop(_) | Verdict::Forward(_) => {}
            }
        }
        if let Some(recorder) = &mut self.recorder {
            let scene = Scene { state, flows: self.director.flows() };
            let port = |n: usize| self.ports[waiting[n].0].interface;
            recorder.after(scene, &self.burst, &self.verdicts, port);
        }
        for ((frame, &verdict), (ingress, since)) in self.burst.drain(..).zip(&self.verdicts).zip(waiting) {
            match verdict {
                Verdict::Hold => self.held.push(Held { frame, ingress, since }),
                Verdict::Drop(reason) | Verdict::Answer(reason) => {
                    self.stats.drops(reason).add(1);
                    self.pool.give(frame);
                }
                Verdict::Forward(PortId(interface)) => {
                    self.stats.tx_frames.add(1);
                    self.stats.tx_bytes.add(frame.as_ref().len() as u64);
                    self.ports[self.egress[interface as usize]].port.transmit(frame);
                }
            }
        }
    }

    fn recycle(&mut self) {
        let (mut filling, mut sending, mut refusals) = (0, 0, 0);
        for AttachedPort { port, .. } in &mut self.ports {
            port.turn(&mut self.pool);
            let census = port.census();
            filling += census.filling as u64;
            sending += census.sending as u64;
            refusals += census.refusals;
        }
        self.stats.frames_free.set(self.pool.free() as u64);
        self.stats.frames_held.set(self.held.len() as u64);
        self.stats.frames_filling.set(filling);
        self.stats.frames_sending.set(sending);
        self.stats.kicks_refused.set(refusals);
    }

    /// Looks through the share of the flow table that the time since the last turn asks for.
    fn age(&mut self, now: u64, tick: Tick, idle: bool) {
        let buckets = self.director.flows().buckets() as u64;
        // What a busy worker leaves is owed, not forgotten; but never more than the whole table.
        let wanted = buckets * now / AGE_PERIOD;
        self.aged = self.aged.max(wanted.saturating_sub(buckets));
        let slice = (wanted - self.aged).min(if idle { AGE_SLICE_IDLE } else { AGE_SLICE });
        if slice > 0 {
            let state = self.subscriber.current();
            self.director.age(state, slice as usize, tick);
            self.stats.generation.set(state.generation());
            self.aged += slice;
        }
    }

    /// Turns until `stop`; calls `beat` with the time once a millisecond at most, and when idle `wait` with the longest
    /// time to sleep, in milliseconds.
    pub fn run(
        &mut self,
        clock: Clock,
        idle: Idle,
        stop: &AtomicBool,
        beat: impl Fn(u64),
        mut wait: impl FnMut(i32),
    ) {
        let (mut empty_turns, mut beaten) = (1, clock.millis());
        // Relaxed: nothing else is read because of it.
        while !stop.load(Ordering::Relaxed) {
            let now = clock.millis();
            if now != beaten {
                // What goes on when a millisecond ends goes on for as much of the time as it is met so.
                if empty_turns == 0 {
                    self.stats.busy_millis.add(now - beaten);
                }
                beaten = now;
                beat(now);
            }
            if self.turn(now) > 0 {
                empty_turns = 0;
                continue;
            }
            empty_turns += 1;
            if idle == Idle::Adaptive && empty_turns >= SPIN_TURNS {
                self.stats.sleeps.add(1);
                let busy = !self.held.is_empty() || self.ports.iter().any(|p| p.port.is_busy());
                wait(if busy { NAP } else { SLEEP });
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// What outlives its ports and their frames.
    pub fn into_memory(self) -> Remains {
        (self.director, self.subscriber, self.recorder)
    }

    /// Its port number `n`.
    pub fn port(&mut self, n: usize) -> Option<&mut P> {
        self.ports.get_mut(n).map(|attached| &mut attached.port)
    }

    /// The worker's director.
    pub fn director(&self) -> &Director {
        &self.director
    }

    /// Its counters.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.stats
    }
}

/// Turns into refusals all but the first `room` verdicts that have a fragment wait.
#[cold]
fn refuse_what_cannot_wait(verdicts: &mut Verdicts, room: usize) {
    for verdict in verdicts.iter_mut().filter(|verdict| **verdict == Verdict::Hold).skip(room) {
        *verdict = Verdict::Drop(DropReason::FragmentNoRoom);
    }
}

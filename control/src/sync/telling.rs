//! Which flows the other directors are told of, and when: those whose real server they could not choose by themselves.
//!
//! *Who looks*: this thread reads the workers' tables, a slice every tick and all of them in half a second, and
//! remembers of each entry what it has told. The workers do nothing at all. The other way would be for each worker to
//! push what is new into a queue: sooner by a quarter of a second on average, but it costs the packet path a branch and
//! a store for each new flow, a flood fills the queue, and what becomes an exception only when the set of real servers
//! changes, what must be told again before the others forget it and what a newcomer asks for have to be found by
//! looking through the tables all the same. So there is one way and not two; what is over the rate is not lost but found
//! again by the next look.
//!
//! *What is told*: a flow that is more than its first packet (a flood of first packets tells nobody anything), if the
//! current state's hash does not say its real server anyway; of a service with a scheduler that goes by turn or load, or
//! with persistence, every flow and template; and one that another director has told otherwise of, for the client may have
//! ended that connection here, and begun another one from the same port. It is told again when something about it has changed, and when the
//! others would remember it for less than half as long as this director does. When it is closing they are told how
//! soon they may forget it. A flow that is closing when it is first seen is told of if packets keep coming: the client
//! has closed its direction, and goes on to receive.
//!
//! *Invariants*: the memory is 12 bytes for each entry of the tables, and pages of it that were never written to are none;
//! `tell` looks at a bounded number of buckets, for a bounded time, and tells no more than it is allowed to.

use std::time::{Duration, Instant};

use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::is_dispensable;
use shunt_dataplane::flow::table::WAYS;
use shunt_dataplane::flow::{Flow, FlowKey, FlowReader};
use shunt_dataplane::forwarding::{ForwardingState, ServiceKey};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::plane::Flows;

use crate::sync::message::Told;

/// Ticks in which all tables are looked through, if they are not too large for the time that a tick may take.
const TURN: usize = 10;
/// Fewest buckets looked through in a tick.
const LEAST: usize = 16_384;
/// Buckets between two looks at the clock.
const STRIDE: usize = 256;
/// Longest that one tick looks through tables.
const PATIENCE: Duration = Duration::from_millis(4);

/// What the others were told of the flow in one entry:
///
/// ```text
/// tag 32, which tells the flow from others that had the entry
/// until when they remember it, a tick 31..8 | phase 7..4 | epoch 3..0
/// slot of the real server 32
/// ```
#[derive(Debug, Clone, Copy)]
struct Mark([u32; 3]);

/// How far telling of a flow has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Untold = 0,
    /// Seen while it was closing, and not told.
    Watched = 1,
    Open = 2,
    Closing = 3,
}

/// Remembers what was told, and where to look next.
pub struct Telling {
    /// By worker, by entry. Plain numbers: zeroed memory that is never written to costs nothing.
    marks: Vec<Vec<[u32; 3]>>,
    /// Where to look next.
    live: Place,
    /// The same for the whole that somebody asked for.
    whole: Option<Whole>,
}

/// Somewhere in the tables of the workers.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    table: usize,
    entry: usize,
}

/// How far telling all has come.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    own: Place,
    /// Next entry of what other directors told.
    synced: usize,
}

/// What may be told in one tick.
#[derive(Debug)]
pub struct Slice {
    /// Flows that may still be told of.
    pub allowed: usize,
    /// Flows to tell of.
    pub told: Vec<(ServiceKey, Told)>,
    /// There were more.
    pub is_held_up: bool,
}

impl Telling {
    /// Nobody was told of anything.
    pub fn new() -> Telling {
        Telling { marks: Vec::new(), live: Place::default(), whole: None }
    }

    /// Begins to tell all.
    pub fn begin_whole(&mut self) {
        self.whole = Some(Whole::default());
    }

    /// Goes on to tell all. Returns whether that is done.
    pub fn tell_whole(&mut self, flows: &Flows<'_>, slice: &mut Slice) -> bool {
        let Some(mut whole) = self.whole else { return true };
        let until = Instant::now() + PATIENCE;
        while whole.own.table < flows.workers.len() {
            if !self.look(flows, &mut whole.own, true, slice) || Instant::now() >= until {
                self.whole = Some(whole);
                return false;
            }
        }
        let reader = flows.synced.reader();
        while whole.synced < reader.buckets() * WAYS {
            if !relay(flows, &reader, &mut whole.synced, slice) || Instant::now() >= until {
                break;
            }
        }
        let is_done = whole.synced >= reader.buckets() * WAYS;
        self.whole = (!is_done).then_some(whole);
        is_done
    }

    /// Tells what is new, in the next slice of the tables.
    pub fn tell(&mut self, flows: &Flows<'_>, slice: &mut Slice) {
        let until = Instant::now() + PATIENCE;
        let total: usize = flows.workers.iter().map(|table| table.buckets()).sum();
        let mut left = total.min((total / TURN).max(LEAST)).div_ceil(STRIDE);
        while left > 0 {
            if self.live.table >= flows.workers.len() {
                self.live = Place::default();
            }
            let mut place = self.live;
            let went_on = self.look(flows, &mut place, false, slice);
            self.live = place;
            left -= 1;
            if !went_on || Instant::now() >= until {
                return;
            }
        }
    }

    /// Looks through the next few buckets; `anew`: as if nobody had been told. Returns false, and stays, when no more may
    /// be told.
    fn look(&mut self, flows: &Flows<'_>, place: &mut Place, anew: bool, slice: &mut Slice) -> bool {
        let Some(table) = flows.workers.get(place.table) else { return true };
        if self.marks.len() <= place.table {
            self.marks.resize_with(flows.workers.len(), Vec::new);
        }
        let marks = &mut self.marks[place.table];
        if marks.len() != table.buckets() * WAYS {
            *marks = vec![[0; 3]; table.buckets() * WAYS];
        }
        let bucket = place.entry / WAYS;
        for (entry, key, flow) in table.walk(bucket, STRIDE).skip_while(|(entry, ..)| *entry < place.entry) {
            let mark = &mut marks[entry];
            let Some(next) = judge(flows, &key, &flow, Mark(*mark), anew) else { continue };
            if next.phase() == Phase::Watched {
                *mark = next.0;
                continue;
            }
            let Some(told) = told(flows.state, &key, &flow, flows.now) else { continue };
            if slice.is_full() {
                slice.is_held_up = true;
                place.entry = entry;
                return false;
            }
            *mark = next.0;
            slice.push(told);
        }
        *place = match bucket + STRIDE >= table.buckets() {
            true => Place { table: place.table + 1, entry: 0 },
            false => Place { entry: (bucket + STRIDE) * WAYS, ..*place },
        };
        true
    }
}

impl Slice {
    /// So many flows may be told of.
    pub fn of(allowed: usize) -> Slice {
        Slice { allowed, told: Vec::new(), is_held_up: false }
    }

    fn is_full(&self) -> bool {
        self.allowed == 0
    }

    fn push(&mut self, told: (ServiceKey, Told)) {
        self.allowed -= 1;
        self.told.push(told);
    }
}

/// What will have been told of a flow, if it is to be told of now (or watched).
fn judge(flows: &Flows<'_>, key: &FlowKey, flow: &Flow, mark: Mark, anew: bool) -> Option<Mark> {
    let now = flows.now;
    if flow.state.is_on_probation() || flow.is_expired(now) {
        return None;
    }
    let tag = tag(key);
    let phase = if mark.tag() == tag { mark.phase() } else { Phase::Untold };
    let next = if flow.state.is_closing() { Phase::Closing } else { Phase::Open };
    let told = Mark::of(tag, next, flow);
    let until = Flow { expires: mark.expires(), ..*flow };
    if matches!(phase, Phase::Open | Phase::Closing) && !until.is_expired(now) {
        // They remember it: nothing wrong may stay with them.
        let is_same = (mark.slot(), mark.epoch(), phase) == (told.slot(), told.epoch(), next);
        let is_short = until.remaining(now) < flow.remaining(now) / 2;
        let again = !is_same || ((is_short || anew) && is_exception(flows, key, flow));
        return again.then_some(told);
    }
    if next == Phase::Closing {
        // Over, but for those who go on receiving.
        let goes_on = phase == Phase::Watched && mark.expires() != flow.expires;
        if !goes_on {
            return (phase != Phase::Watched).then_some(Mark::of(tag, Phase::Watched, flow));
        }
    }
    is_exception(flows, key, flow).then_some(told)
}

/// Whether another director could not know the real server of this flow by itself, or believes otherwise.
fn is_exception(flows: &Flows<'_>, key: &FlowKey, flow: &Flow) -> bool {
    let state = flows.state;
    let is_persistent = state.service(key.service).is_some_and(|s| s.options().persistence.is_some());
    let is_told_otherwise = || {
        let to = state.destination(key)?;
        let (_, told) = flows.synced.find(flows.synced.slot(to, key), key)?;
        Some(!told.is_expired(flows.now) && (told.real, told.epoch) != (flow.real, flow.epoch))
    };
    is_persistent || !is_dispensable(state, key, flow, flows.now) || is_told_otherwise() == Some(true)
}

/// A flow by names; none if its service or real server is gone.
fn told(state: &ForwardingState, key: &FlowKey, flow: &Flow, now: Tick) -> Option<(ServiceKey, Told)> {
    let service = state.service(key.service).filter(|service| service.is_live())?;
    let real = service.tenant(flow.real, flow.epoch)?.address();
    let (client, client_port, port) = (key.client, key.client_port, key.dst_port);
    let (state, left) = (flow.state, flow.remaining(now));
    let told = Told { client, client_port, port, real, state, is_hearsay: false, left };
    Some((*service.key(), told))
}

/// Tells what other directors told of, but for what a worker knows better: the next few buckets from `entry` on. Returns
/// false, and stays, when no more may be told.
fn relay(flows: &Flows<'_>, synced: &FlowReader, entry: &mut usize, slice: &mut Slice) -> bool {
    let (bucket, from) = (*entry / WAYS, *entry);
    for (at, key, mut flow) in synced.walk(bucket, STRIDE).skip_while(|(at, ..)| *at < from) {
        let Some(to) = flows.state.destination(&key) else { continue };
        if flows.workers.iter().any(|table| table.find(to, &key).is_some()) {
            continue;
        }
        if !flow.state.is_closing() {
            // What was granted on the way is not handed on.
            flow.expires = Tick::new(flow.expires.number().wrapping_sub(shunt_dataplane::forwarding::GRACE));
        }
        let Some((service, told)) = told(flows.state, &key, &flow, flows.now) else { continue };
        if told.left == 0 {
            continue;
        }
        if slice.is_full() {
            slice.is_held_up = true;
            *entry = at;
            return false;
        }
        slice.push((service, Told { is_hearsay: true, ..told }));
    }
    *entry = (bucket + STRIDE) * WAYS;
    true
}

fn tag(key: &FlowKey) -> u32 {
    let bits = key.client.bits();
    let rest = u64::from(key.client_port) << 48 | u64::from(key.dst_port) << 32 | u64::from(key.service.0);
    let mixed = HashKey([rest, 1]).words((bits >> 64) as u64, bits as u64);
    (mixed >> 32) as u32
}

impl Mark {
    fn of(tag: u32, phase: Phase, flow: &Flow) -> Mark {
        let meta = flow.expires.number() << 8 | (phase as u32) << 4 | u32::from(flow.epoch & 0xf);
        Mark([tag, meta, u32::from(flow.real.0)])
    }

    fn tag(self) -> u32 {
        self.0[0]
    }

    fn slot(self) -> u32 {
        self.0[2]
    }

    fn expires(self) -> Tick {
        Tick::new(self.0[1] >> 8)
    }

    fn phase(self) -> Phase {
        match self.0[1] >> 4 & 0xf {
            1 => Phase::Watched,
            2 => Phase::Open,
            3 => Phase::Closing,
            _ => Phase::Untold,
        }
    }

    fn epoch(self) -> u8 {
        self.0[1] as u8 & 0xf
    }
}

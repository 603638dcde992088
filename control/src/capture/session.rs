//! The daemon's side. Frames are taken out, named and filtered on a thread of its own, so that a capture of much traffic
//! delays nobody who asks something else.
//!
//! *Invariants*: at most four captures, of which one has the tap; one that nobody reads for [`LEASE`] is over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use shunt_dataplane::clock::Clock;
use shunt_dataplane::plane::Dataplane;
use shunt_dataplane::recorder::{Captured, Facts, FlightReader, KEPT, MAX_SNAP, Outcome, Past, TapReader};

use super::filter::{Filter, Subject};
use super::names::Names;
use super::packet::Decoded;
use super::protocol::{Ask, Batch, Count, Row, Started, Stopped};
use crate::admin::protocol::Answer;
use crate::admin::server::Call;

/// A capture that nobody reads for so long is over.
pub const LEASE: Duration = Duration::from_secs(5);
/// Less than this is rounding, not a clock that was set; milliseconds.
const STEP: u64 = 10;
/// Captures at once.
const MOST: usize = 4;
/// Bytes of frames in one answer.
const BATCH: usize = 256 << 10;
/// Frames of the flight recorders in one answer.
const PAGE: usize = 2000;

/// All captures of a director.
#[derive(Default)]
pub struct Captures {
    sessions: Vec<Session>,
    last_id: u64,
    /// When the workers' clock began, in milliseconds since 1970.
    start: u64,
}

struct Session {
    id: u64,
    /// As it was asked for.
    filter: String,
    /// It has the tap.
    is_live: bool,
    touched: Instant,
    body: Arc<Mutex<Body>>,
}

/// What is taken out and how.
struct Body {
    filter: Filter,
    source: Source,
    /// The start of the workers' clock, in milliseconds since 1970.
    start: u64,
}

enum Source {
    Tap(TapReader),
    Past { records: VecDeque<(usize, Past)>, not_recorded: u64 },
}

impl Captures {
    /// Answers; `interfaces` are named by port.
    pub fn answer(&mut self, ask: &Ask, plane: &mut Dataplane, interfaces: Vec<String>, call: Call) {
        match ask {
            Ask::Start { filter, snap, last_ms } => match self.start(filter, *snap, *last_ms, plane) {
                Ok(session) => {
                    let started = Started { id: session.id, interfaces };
                    match last_ms {
                        Some(last) => {
                            let flights =
                                plane.workers().iter().map(|worker| worker.flight.clone()).collect();
                            let since = plane.clock().millis().saturating_sub(*last);
                            let body = session.body.clone();
                            tokio::task::spawn_blocking(move || {
                                lock(&body).recall(flights, since);
                                call.answer(json(&started));
                            });
                        }
                        None => call.answer(json(&started)),
                    }
                }
                Err(why) => call.answer(Answer::error(why)),
            },
            Ask::Read { id } => match self.sessions.iter_mut().find(|session| session.id == *id) {
                Some(session) => {
                    session.touched = Instant::now();
                    let body = session.body.clone();
                    let names = Names { state: plane.state().clone(), interfaces };
                    tokio::task::spawn_blocking(move || call.answer(json(&lock(&body).read(&names))));
                }
                None => call.answer(Answer::error(gone(*id))),
            },
            Ask::Stop { id } => match self.sessions.iter().position(|session| session.id == *id) {
                Some(place) => {
                    let session = self.sessions.remove(place);
                    if session.is_live {
                        plane.untap();
                    }
                    let body = session.body;
                    tokio::task::spawn_blocking(move || {
                        call.answer(json(&Stopped { counts: lock(&body).counts() }));
                    });
                }
                None => call.answer(Answer::error(gone(*id))),
            },
        }
    }

    /// Ends the captures that nobody reads any more. Call now and then.
    pub fn expire(&mut self, plane: &mut Dataplane) {
        self.sessions.retain(|session| {
            let is_over = session.touched.elapsed() > LEASE;
            if is_over {
                tracing::info!("capture {} has ended: nobody read it any more", session.id);
                if session.is_live {
                    plane.untap();
                }
            }
            !is_over
        });
    }

    fn start(
        &mut self,
        text: &str,
        snap: u16,
        last: Option<u64>,
        plane: &mut Dataplane,
    ) -> Result<&Session, String> {
        let filter = Filter::parse(text)?;
        if snap == 0 || snap > MAX_SNAP {
            return Err(format!("snap is {snap}: from 1 to {MAX_SNAP} bytes of a frame can be captured"));
        }
        let other = self.sessions.iter().find(|session| session.is_live && last.is_none());
        if let Some(Session { id, filter, .. }) = other {
            return Err(format!(
                "capture {id} has not ended (filter: {:?}), and there is one at a time. What has been can be looked at \
                 meanwhile: shunt capture --last 10s",
                filter
            ));
        }
        if self.sessions.len() >= MOST {
            return Err(format!("{MOST} captures have not ended, and that is the most"));
        }
        let source = match last {
            Some(_) => Source::Past { records: VecDeque::new(), not_recorded: 0 },
            None => Source::Tap(plane.tap(filter.sieve(), snap)),
        };
        self.last_id += 1;
        // A frame has the same time whenever it is asked for, unless the host's clock was set.
        let start = start_of(plane.clock());
        if self.start.abs_diff(start) > STEP {
            self.start = start;
        }
        let body = Body { filter, source, start: self.start };
        self.sessions.push(Session {
            id: self.last_id,
            filter: text.to_owned(),
            is_live: last.is_none(),
            touched: Instant::now(),
            body: Arc::new(Mutex::new(body)),
        });
        Ok(self.sessions.last().expect("it was pushed just now"))
    }
}

impl Body {
    /// Takes over what the flight recorders have since `since`, in milliseconds of the workers' clock.
    fn recall(&mut self, flights: Vec<FlightReader>, since: u64) {
        let mut all: Vec<(usize, Past)> = Vec::new();
        for (worker, flight) in flights.into_iter().enumerate() {
            all.extend(flight.since(since).into_iter().map(|past| (worker, past)));
        }
        all.sort_by_key(|(_, past)| past.facts.millis);
        let not_recorded = all.iter().map(|(_, past)| past.skipped).sum();
        self.source = Source::Past { records: all.into(), not_recorded };
    }

    fn read(&mut self, names: &Names) -> Batch {
        let (filter, start) = (&self.filter, self.start);
        let (frames, more, not_recorded) = match &mut self.source {
            Source::Tap(tap) => {
                let (frames, more) = tap.take(BATCH);
                let rows = frames.iter().filter_map(|frame| row_of(frame, names, filter, start));
                (rows.collect(), more, 0)
            }
            Source::Past { records, not_recorded } => {
                let page = records.drain(..records.len().min(PAGE));
                let rows = page.filter_map(|(worker, past)| row_of_past(worker, &past, names, filter, start));
                (rows.collect(), !records.is_empty(), *not_recorded)
            }
        };
        Batch { frames, more, not_recorded, counts: self.counts() }
    }

    fn counts(&self) -> Vec<Count> {
        match &self.source {
            Source::Tap(tap) => tap.counts().into_iter().map(|(seen, lost)| Count { seen, lost }).collect(),
            Source::Past { .. } => Vec::new(),
        }
    }
}

fn row_of(frame: &Captured, names: &Names, filter: &Filter, start: u64) -> Option<Row> {
    let packet = Decoded::of(&frame.received);
    let row = row(frame.worker, &frame.facts, packet, names, filter, start)?;
    Some(Row { received: hex(&frame.received), sent: hex(&frame.sent), ..row })
}

fn row_of_past(worker: usize, past: &Past, names: &Names, filter: &Filter, start: u64) -> Option<Row> {
    let Past { facts, bytes, skipped } = past;
    let packet = Decoded::of(bytes).map(|packet| match facts.outcome {
        Outcome::Answer if facts.shows_sent => packet.reversed(),
        _ => packet,
    });
    let row = row(worker, facts, packet, names, filter, start)?;
    debug_assert!(bytes.len() <= KEPT);
    Some(match facts.shows_sent {
        true => Row { sent: hex(bytes), not_recorded: *skipped, ..row },
        false => Row { received: hex(bytes), not_recorded: *skipped, ..row },
    })
}

/// What is said of a frame beside its bytes, if the filter asks for it.
fn row(
    worker: usize,
    facts: &Facts,
    packet: Option<Decoded>,
    names: &Names,
    filter: &Filter,
    start: u64,
) -> Option<Row> {
    let service = names.service(facts, packet.as_ref());
    let real = names.real(facts, packet.as_ref());
    let Facts { outcome, reason, .. } = *facts;
    let subject = Subject { packet, outcome, reason, service: service.as_deref(), real };
    filter.has(&subject).then(|| Row {
        time_ms: start + facts.millis,
        worker,
        interface: names.interface(facts.ingress.0),
        out: (facts.sent > 0).then(|| names.interface(facts.egress.0)),
        verdict: outcome.name().to_owned(),
        reason: reason.map(|reason| reason.name().to_owned()),
        service,
        real,
        generation: facts.generation,
        received_bytes: Some(facts.received).filter(|_| !facts.shows_sent),
        received: String::new(),
        sent_bytes: Some(facts.sent).filter(|sent| *sent > 0),
        sent: String::new(),
        not_recorded: 0,
    })
}

/// When a clock began, in milliseconds since 1970.
fn start_of(clock: Clock) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() as u64).saturating_sub(clock.millis())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// A body that is half read is as good as a whole one.
fn lock(body: &Mutex<Body>) -> MutexGuard<'_, Body> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json<T: serde::Serialize>(data: &T) -> Answer {
    Answer::data(serde_json::to_value(data).unwrap_or(Value::Null))
}

fn gone(id: u64) -> String {
    format!("there is no capture {id}: one that nobody reads for {} s is over", LEASE.as_secs())
}

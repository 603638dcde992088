//! Flows survive a change of director: directors tell each other of the flows whose real server the other could not
//! choose by itself.
//!
//! With a scheduler that only hashes, two directors with the same key and the same real servers choose alike, and
//! nothing need be said but exceptions: flows that began when the set was another one. With the others, and with
//! persistence, all flows are told. `telling` finds them in the workers' tables, `message` is what is sent of them,
//! `learning` puts what comes into a table that workers ask when they do not know a flow. A flow that is taken over is
//! from then on the worker's own, and told of in turn.
//!
//! `exchange` is the conversation, `peers` who takes part in it, `window` what of it has come, `key` what it is proved
//! with, `rejection` why something is not believed, `socket` how it is carried. `FlowSyncer` puts them together.
//!
//! *Invariants*
//! - nothing here blocks, and each tick does a bounded amount of work: the control thread has other things to do;
//! - nothing is believed without a proof (HMAC-SHA256), and nothing twice;
//! - the packet path pays nothing for it but a look-up when a flow is not known; without `vrrp.sync` not even that.

mod exchange;
pub mod key;
mod learning;
pub mod message;
mod peers;
mod rejection;
mod socket;
mod telling;
mod view;
mod window;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use shunt_dataplane::flow::Capacity;
use shunt_dataplane::plane::Flows;
use thiserror::Error;

use crate::link::Link;
use crate::model::{Director, FlowSync};
use crate::sync::exchange::{Exchange, Joining, Terms};
use crate::sync::key::{Key, KeyError};
use crate::sync::socket::{Ends, Socket, SocketError};

pub use view::{PeerView, View};

/// `FlowSyncer::tick` is to be called this often.
pub const TICK: Duration = Duration::from_millis(50);
/// Datagrams looked at in a tick; the socket keeps the others.
const DATAGRAMS: usize = 512;
/// Headers of IPv6 and UDP.
const HEADERS: u32 = 48;
/// Longest datagram: what Ethernet takes, also where the interface would take more and the way might not. And the least
/// that every IPv6 link takes.
const ROOM: (u32, u32) = (1280 - HEADERS, 1500 - HEADERS);

/// What the supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The flows of the others are here, or the wait for them is over. Once, and once again after `rejoin`.
    Synced,
}

/// Why there is no synchronisation.
#[derive(Debug, Error)]
pub enum Error {
    /// What is wrong with the key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is wrong with the socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The interface is not there.
    #[error("flow synchronisation needs the interface {0}, which does not exist")]
    NoInterface(String),
    /// The kernel has no random numbers.
    #[error("the kernel gives no random numbers (getrandom)")]
    NoRandom,
}

/// Tells other directors of flows, and hears of theirs.
pub struct FlowSyncer {
    exchange: Exchange,
    ends: Ends,
    /// None: `set` could not open it anew.
    socket: Option<Socket>,
    buffer: Box<[u8]>,
    unsent: u64,
    held: u64,
    is_said: bool,
}

/// Room for the flows of others: as many as the `workers` of this director remember themselves.
pub fn room(director: &Director, workers: usize) -> Capacity {
    Capacity {
        ipv4: director.flows_per_worker.saturating_mul(workers),
        ipv6: director.flows_per_worker_ipv6.saturating_mul(workers),
    }
}

impl FlowSyncer {
    /// Opens the socket. The first word is said by the first tick.
    ///
    /// # Errors
    /// The interface is missing, the key file is wrong, or the kernel refuses the socket.
    pub fn start(sync: &FlowSync, links: &BTreeMap<u32, Link>, now: Instant) -> Result<FlowSyncer, Error> {
        let (ends, terms) = settle(sync, links)?;
        let key = Key::load(&sync.key_file)?;
        let (boot, secret) = (random()?, Key::new(&random()?));
        let socket = Some(Socket::open(&ends)?);
        let exchange = Exchange::new(terms, key, u64::from_ne_bytes(boot), secret, now);
        let buffer = vec![0; 1 << 16].into();
        Ok(FlowSyncer { exchange, ends, socket, buffer, unsent: 0, held: 0, is_said: false })
    }

    /// Goes on as `sync` says, with who is known and what was told. To be called after each reload, and when a link has
    /// changed.
    ///
    /// # Errors
    /// As of `start`. It goes on as before; if the kernel refuses the socket it is deaf and dumb until `set` succeeds.
    pub fn set(&mut self, sync: &FlowSync, links: &BTreeMap<u32, Link>) -> Result<(), Error> {
        let (ends, terms) = settle(sync, links)?;
        let key = Key::load(&sync.key_file)?;
        if ends != self.ends || self.socket.is_none() {
            // The kernel gives the port to one socket at a time.
            self.socket = None;
            self.socket = Some(Socket::open(&ends)?);
            self.ends = ends;
        }
        self.exchange.set(terms, key);
        Ok(())
    }

    /// This director was cut off from the others, or is: it waits for their flows as at its start, and says so again.
    pub fn rejoin(&mut self, now: Instant) {
        self.exchange.rejoin(now);
        self.is_said = false;
    }

    /// Hears what has come, tells what there is to tell. To be called every `TICK`.
    pub fn tick(&mut self, now: Instant, mut flows: Flows<'_>) -> Option<Event> {
        for _ in 0..DATAGRAMS {
            let come = self.socket.as_ref().and_then(|socket| socket.receive(&mut self.buffer));
            let Some((length, source)) = come else { break };
            self.exchange.hear(now, source, &self.buffer[..length], &mut flows);
        }
        for datagram in self.exchange.tick(now, &mut flows) {
            self.unsent += self.socket.as_ref().map_or(1, |socket| socket.send(&datagram));
        }
        self.held = flows.synced.len() as u64;
        let is_synced = self.exchange.joining() != Joining::Waiting;
        (is_synced && !std::mem::replace(&mut self.is_said, is_synced)).then_some(Event::Synced)
    }

    /// What there is to see of it.
    pub fn view(&self, now: Instant) -> View {
        View::of(&self.exchange, self.unsent, self.held, now)
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandom)?;
    Ok(bytes)
}

/// Where to send, and what to keep to.
fn settle(sync: &FlowSync, links: &BTreeMap<u32, Link>) -> Result<(Ends, Terms), Error> {
    let link = links.values().find(|link| link.name == sync.interface);
    let link = link.ok_or_else(|| Error::NoInterface(sync.interface.clone()))?;
    let (interface, peers, port) = (sync.interface.clone(), sync.peers.clone(), sync.port);
    let ends = Ends { interface, index: link.index, peers, port };
    let sources = ends.group().is_none().then(|| ends.peers.clone());
    let room = link.mtu.saturating_sub(HEADERS).clamp(ROOM.0, ROOM.1) as usize;
    let terms = Terms { sources, room, rate: sync.rate.max(1), wait: sync.wait };
    Ok((ends, terms))
}

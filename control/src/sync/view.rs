//! What there is to see of flow synchronisation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use serde::Serialize;

use crate::sync::exchange::{Counts, Exchange, Joining};
use crate::sync::learning::Learned;
use crate::sync::rejection::Rejection;

/// Flow synchronisation at one moment. Counters are of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// `waiting` for the flows of the others; they have `told` all; or nobody has in time, and it is `alone`.
    pub snapshot: &'static str,
    /// All is being told to a director that has asked.
    pub telling_all: bool,
    /// Datagrams said, to all peers at once.
    pub sent: u64,
    /// Datagrams said again, because somebody missed them.
    pub sent_again: u64,
    /// Datagrams that the kernel did not take, counted for each peer.
    pub unsent: u64,
    /// Flows told.
    pub flows_told: u64,
    /// Ticks in which flows had to wait, because there were more than the rate allows.
    pub held_up: u64,
    /// Times all was told to directors that asked.
    pub snapshots: u64,
    /// Datagrams believed.
    pub heard: u64,
    /// Flows in them.
    pub flows_heard: u64,
    /// What became of those.
    pub flows: Learned,
    /// Flows of others that are remembered now.
    pub flows_held: u64,
    /// Datagrams that never came.
    pub lost: u64,
    /// Datagrams that were not believed, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Directors heard.
    pub peers: Vec<PeerView>,
}

/// Another director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerView {
    /// Where it was heard from.
    pub address: IpAddr,
    /// Its name: one run of it, in hexadecimal digits.
    pub boot: String,
    /// Since it was heard last.
    pub silent_ms: u64,
    /// It has told all.
    pub told: bool,
}

impl View {
    pub(super) fn of(exchange: &Exchange, unsent: u64, flows_held: u64, now: Instant) -> View {
        let Counts { sent, sent_again, flows_told, held_up, heard, flows_heard, lost, snapshots } =
            exchange.counts();
        let rejected = Rejection::ALL.map(|why| (why.name(), exchange.rejections().count(why))).into();
        let peers = exchange.peers().iter().map(|peer| PeerView {
            address: peer.address,
            boot: format!("{:016x}", peer.boot),
            silent_ms: now.duration_since(peer.heard).as_millis() as u64,
            told: peer.request.is_none(),
        });
        View {
            snapshot: match exchange.joining() {
                Joining::Waiting => "waiting",
                Joining::Told => "told",
                Joining::Alone => "alone",
            },
            telling_all: exchange.is_telling_all(),
            sent,
            sent_again,
            unsent,
            flows_told,
            held_up,
            snapshots,
            heard,
            flows_heard,
            flows: exchange.learned(),
            flows_held,
            lost,
            rejected,
            peers: peers.collect(),
        }
    }
}

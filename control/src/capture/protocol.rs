//! What is said over the admin socket: a capture is begun, read until it has nothing more to say, and stopped.
//!
//! ```text
//! -> {"version":1,"command":"capture","act":"start","filter":"host 198.51.100.7 and verdict drop","snap":128}
//! <- {"ok":true,"data":{"id":1,"interfaces":["eth0"]}}
//! -> {"version":1,"command":"capture","act":"read","id":1}
//! <- {"ok":true,"data":{"frames":[...],"more":false,"not_recorded":0,"counts":[{"seen":3,"lost":0}]}}
//! -> {"version":1,"command":"capture","act":"stop","id":1}
//! <- {"ok":true,"data":{"counts":[{"seen":3,"lost":0}]}}
//! ```

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shunt_dataplane::recorder::MAX_SNAP;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "lowercase")]
pub enum Ask {
    /// Begin.
    Start {
        /// Which frames; empty: all.
        #[serde(default)]
        filter: String,
        /// Most bytes of a frame.
        #[serde(default = "max_snap")]
        snap: u16,
        /// What the flight recorders have of so many milliseconds, in place of what comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_ms: Option<u64>,
    },
    /// What there is by now.
    Read {
        /// As `start` has answered.
        id: u64,
    },
    /// It is over.
    Stop {
        /// As `start` has answered.
        id: u64,
    },
}

fn max_snap() -> u16 {
    MAX_SNAP
}

/// The answer to `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// To read and stop it by.
    pub id: u64,
    /// Names of the interfaces, in the order of `counts`.
    pub interfaces: Vec<String>,
}

/// The answer to `read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Frames, in the order of time as far as a batch goes.
    pub frames: Vec<Row>,
    /// There is more to read at once.
    pub more: bool,
    /// Frames that the flight recorders have seen in that time and not recorded, whatever the filter.
    pub not_recorded: u64,
    /// By interface.
    pub counts: Vec<Count>,
}

/// The answer to `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// By interface.
    pub counts: Vec<Count>,
}

/// What came of frames that came in on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Those that workers took for what the filter asks for.
    pub seen: u64,
    /// Those of them for which there was no room.
    pub lost: u64,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Of the verdict: milliseconds since 1970.
    pub time_ms: u64,
    /// The worker that had it.
    pub worker: usize,
    /// The interface it came in on.
    pub interface: String,
    /// The interface it, or the answer to it, was sent out of.
    pub out: Option<String>,
    /// `forward`, `drop`, `answer`.
    pub verdict: String,
    /// Why it was not forwarded.
    pub reason: Option<String>,
    /// Its service.
    pub service: Option<String>,
    /// The real server that it went to, or that its flow has.
    pub real: Option<IpAddr>,
    /// Generation of the forwarding state that decided.
    pub generation: u64,
    /// Its length as received; null: it was not kept.
    pub received_bytes: Option<u16>,
    /// In hex, as far as it was captured; empty: it was not kept.
    pub received: String,
    /// The length of what was sent; null: nothing was.
    pub sent_bytes: Option<u16>,
    /// In hex; empty: it was not kept.
    pub sent: String,
    /// Frames like it (forwarded, or refused) that the flight recorder has seen since the one before, and not recorded.
    pub not_recorded: u64,
}

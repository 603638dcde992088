//! What there is to see of VRRP: plain data, as `shunt show vrrp --json` prints it and metrics count it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::lateness::Lateness;

/// Everything, as of a moment: at most a second old.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct View {
    /// The virtual routers, in the order of the configuration.
    pub routers: Vec<RouterView>,
    /// Their groups, in the order of the configuration.
    pub groups: Vec<GroupView>,
    /// How late adverts were.
    pub lateness: Lateness,
    /// Adverts for VRIDs that nobody here has.
    pub unknown_vrid: u64,
}

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterView {
    /// Its name.
    pub name: String,
    /// The interface that it lives on.
    pub interface: String,
    /// Its VRID.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// keepalived's word: `INIT`, `BACKUP`, `MASTER`, `FAULT`.
    pub state: &'static str,
    /// For how long it has been in that state.
    pub since_seconds: f64,
    /// Priority in force.
    pub priority: u8,
    /// Priority in the configuration.
    pub configured_priority: u8,
    /// Why it is in Fault.
    pub fault: Option<String>,
    /// The active router that was heard last.
    pub active: Option<ActiveView>,
    /// Interval of adverts in force, seconds.
    pub interval_seconds: f64,
    /// What it holds, or would hold: `ADDRESS/PREFIX`.
    pub addresses: Vec<String>,
    /// They are on their interfaces.
    pub holds: bool,
    /// Why its last advert could not be sent.
    pub unsent: Option<String>,
    /// Counters since the start.
    pub counters: Counters,
    /// Adverts that were refused, by the name of the reason; reasons that never were are missing.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The last one of them.
    pub last_rejected: Option<RejectedView>,
    /// Somebody else who is active at the same time.
    pub rival: Option<RivalView>,
    /// The last change of its state.
    pub last_change: Option<ChangeView>,
    /// The latest that an advert of it was, microseconds.
    pub worst_lateness_us: u64,
}

/// The active router, as heard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActiveView {
    /// Source of its adverts.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it was last heard.
    pub seconds_ago: f64,
}

/// What a virtual router counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Adverts sent, one for each time and not for each peer.
    pub adverts_sent: u64,
    /// Adverts that passed every check.
    pub adverts_received: u64,
    /// Of those, with a checksum over the message alone (RFC 9568; version 3 over IPv4).
    pub checksum_message_only: u64,
    /// Adverts that failed a check.
    pub rejected: u64,
    /// "I stop" sent.
    pub priority_zero_sent: u64,
    /// "I stop" received.
    pub priority_zero_received: u64,
    /// How often it became active or ceased to be.
    pub transitions: u64,
    /// How often two were active at once.
    pub rivals: u64,
}

/// A refused advert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RejectedView {
    /// Who sent it.
    pub source: IpAddr,
    /// The name of the reason.
    pub reason: &'static str,
    /// What is wrong with it.
    pub sentence: String,
    /// When it came.
    pub seconds_ago: f64,
}

/// Somebody else who is active.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RivalView {
    /// Source of his adverts.
    pub source: IpAddr,
    /// His priority; none: his adverts are refused (the router's `last_rejected` says why).
    pub priority: Option<u8>,
    /// For how long.
    pub seconds: f64,
    /// When he was last heard.
    pub seconds_ago: f64,
    /// How many adverts.
    pub adverts: u64,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeView {
    /// What it was.
    pub from: &'static str,
    /// What it became.
    pub to: &'static str,
    /// Why.
    pub cause: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// The state that all its routers are in; none: they differ.
    pub state: Option<&'static str>,
    /// Names of its routers.
    pub members: Vec<String>,
}

#[cfg(test)]
impl RouterView {
    /// A router of which nothing is known.
    pub(crate) fn sample(name: &str) -> RouterView {
        RouterView {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            vrid: 1,
            version: 3,
            state: "INIT",
            since_seconds: 0.0,
            priority: 100,
            configured_priority: 100,
            fault: None,
            active: None,
            interval_seconds: 1.0,
            addresses: Vec::new(),
            holds: false,
            unsent: None,
            counters: Counters::default(),
            rejected: BTreeMap::new(),
            last_rejected: None,
            rival: None,
            last_change: None,
            worst_lateness_us: 0,
        }
    }
}

//! `[vrrp]` and `[sync]` as they are typed.

use serde::Deserialize;
use toml::Spanned;

use super::{BooleanOrText, Command, IntegerOrText, Pipe, Typed};

/// `[vrrp]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Vrrp {
    pub startup_delay: Typed<String>,
    pub log_unknown_vrids: Typed<bool>,
    #[serde(default)]
    pub pipe: Vec<Spanned<Pipe>>,
    #[serde(default)]
    pub router: Vec<Spanned<Router>>,
    #[serde(default)]
    pub group: Vec<Spanned<Group>>,
    #[serde(default)]
    pub script: Vec<Spanned<Script>>,
    #[serde(default)]
    pub file: Vec<Spanned<File>>,
    #[serde(default)]
    pub process: Vec<Spanned<Process>>,
}

/// `[[vrrp.router]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Router {
    pub name: Typed<String>,
    pub interface: Typed<String>,
    pub vrid: Typed<i64>,
    pub addresses: Typed<Vec<Spanned<Address>>>,
    pub excluded: Typed<Vec<Spanned<Address>>>,
    pub version: Typed<i64>,
    pub priority: Typed<i64>,
    pub state: Typed<String>,
    pub interval: Typed<String>,
    pub down_timer_adverts: Typed<i64>,
    pub preempt: Typed<bool>,
    pub preempt_delay: Typed<String>,
    pub password: Typed<String>,
    pub source: Typed<String>,
    pub track_source: Typed<bool>,
    pub group: Typed<String>,
    pub peers: Typed<Vec<Spanned<Peer>>>,
    pub ttl: Typed<i64>,
    pub fault_without_peers: Typed<bool>,
    pub check_source: Typed<bool>,
    pub skip_known_addresses: Typed<bool>,
    pub strict: Typed<bool>,
    pub lower_prio_no_advert: Typed<bool>,
    pub higher_prio_send_advert: Typed<bool>,
    pub checksum: Typed<String>,
    pub vmac: Typed<BooleanOrText>,
    pub vmac_transmit_base: Typed<bool>,
    pub announce: Typed<Announce>,
    pub track: Typed<Track>,
    pub notify_active: Typed<Command>,
    pub notify_backup: Typed<Command>,
    pub notify_fault: Typed<Command>,
    pub notify_stop: Typed<Command>,
    pub notify: Typed<Command>,
    pub notify_lower_heard: Typed<Command>,
    pub priority_changes: Typed<bool>,
    pub mail: Typed<bool>,
}

/// An address; one that was typed as text comes as its `address`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Address {
    pub address: Typed<String>,
    pub interface: Typed<String>,
    pub broadcast: Typed<String>,
    pub scope: Typed<IntegerOrText>,
    pub label: Typed<String>,
    pub peer: Typed<String>,
    pub no_track: Typed<bool>,
}

/// A peer; one that was typed as text comes as its `address`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Peer {
    pub address: Typed<String>,
    pub min_ttl: Typed<i64>,
    pub max_ttl: Typed<i64>,
}

/// `[vrrp.router.announce]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Announce {
    pub repeat: Typed<i64>,
    pub delay: Typed<String>,
    pub refresh: Typed<String>,
    pub refresh_repeat: Typed<i64>,
    pub lower_repeat: Typed<i64>,
    pub lower_delay: Typed<String>,
    pub arp_gap: Typed<String>,
    pub na_gap: Typed<String>,
    pub form: Typed<String>,
}

/// `[vrrp.router.track]` and `[vrrp.group.track]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Track {
    pub own_interface: Typed<bool>,
    pub interfaces: Typed<Vec<Spanned<Tracked>>>,
    pub scripts: Typed<Vec<Spanned<Tracked>>>,
    pub files: Typed<Vec<Spanned<Tracked>>>,
    pub processes: Typed<Vec<Spanned<Tracked>>>,
    pub workers: Typed<IntegerOrText>,
    pub silence: Typed<String>,
    pub silent: Typed<IntegerOrText>,
    pub real_servers: Typed<IntegerOrText>,
}

/// Something tracked; what was typed as text comes as its `name`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tracked {
    pub name: Typed<String>,
    pub weight: Typed<i64>,
    pub reverse: Typed<bool>,
}

/// `[[vrrp.group]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Group {
    pub name: Typed<String>,
    pub members: Typed<Vec<Spanned<String>>>,
    pub tracking_weight: Typed<bool>,
    pub track: Typed<Track>,
    pub notify_active: Typed<Command>,
    pub notify_backup: Typed<Command>,
    pub notify_fault: Typed<Command>,
    pub notify_stop: Typed<Command>,
    pub notify: Typed<Command>,
    pub notify_lower_heard: Typed<Command>,
    pub priority_changes: Typed<bool>,
    pub mail: Typed<bool>,
}

/// `[[vrrp.script]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Script {
    pub name: Typed<String>,
    pub command: Typed<Command>,
    pub interval: Typed<String>,
    pub weight: Typed<i64>,
    pub reverse: Typed<bool>,
    pub rise: Typed<i64>,
    pub fall: Typed<i64>,
    pub init_fail: Typed<bool>,
}

/// `[[vrrp.file]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct File {
    pub name: Typed<String>,
    pub path: Typed<String>,
    pub init: Typed<i64>,
    pub overwrite: Typed<bool>,
}

/// `[[vrrp.process]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Process {
    pub name: Typed<String>,
    pub process: Typed<String>,
    pub arguments: Typed<Vec<Spanned<String>>>,
    #[serde(rename = "match")]
    pub matching: Typed<String>,
    pub full_command: Typed<bool>,
    pub quorum: Typed<i64>,
    pub quorum_max: Typed<i64>,
    pub fork_delay: Typed<String>,
    pub terminate_delay: Typed<String>,
}

/// `[sync]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sync {
    pub interface: Typed<String>,
    pub peers: Typed<Vec<Spanned<String>>>,
    pub port: Typed<i64>,
    pub key_file: Typed<String>,
    pub rate: Typed<i64>,
    pub wait: Typed<String>,
}

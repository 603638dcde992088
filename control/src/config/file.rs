//! What was typed: the native TOML format as serde types, with the place of every value. Nothing is judged here but
//! the form; what the values mean is decided by [`super::resolve`].
//!
//! *Invariants*
//! - Every key is optional: whether its absence is a fault is resolve's to say.
//! - All faults of the form are reported at once. After a syntax error the tree is only partly what was meant, so
//!   then no key counts as unknown, misplaced or missing.

mod vrrp;

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{Fault, Severity};
use super::shape::{self, Removed};
use super::source::Source;
use super::syntax;
pub(super) use vrrp::File as TrackFile;
pub(super) use vrrp::{Address, Announce, Group, Peer, Process, Router, Script, Sync, Track, Tracked, Vrrp};

/// A value and its place, or nothing.
pub(super) type Typed<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub director: Typed<Director>,
    #[serde(default)]
    pub service: Vec<Spanned<Service>>,
    pub scripts: Typed<Scripts>,
    pub notify: Typed<Notify>,
    pub vrrp: Typed<Vrrp>,
    pub sync: Typed<Sync>,
}

/// `[director]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Director {
    pub interfaces: Typed<Vec<Spanned<String>>>,
    pub cores: Typed<Vec<Spanned<i64>>>,
    pub flows_per_worker: Typed<i64>,
    pub flows_per_worker_ipv6: Typed<i64>,
    pub frames_per_queue: Typed<i64>,
    pub hash_key: Typed<String>,
    pub idle: Typed<String>,
    pub worker_failure: Typed<String>,
    pub icmp_rate: Typed<i64>,
    pub reset_rate: Typed<i64>,
    pub metrics: Typed<String>,
    pub socket_group: Typed<String>,
    pub timeouts: Typed<Timeouts>,
}

/// `[director.timeouts]` and `[service.timeouts]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub syn: Typed<String>,
    pub established: Typed<String>,
    pub fin: Typed<String>,
    pub closed: Typed<String>,
    pub udp: Typed<String>,
    pub sctp: Typed<String>,
}

/// `[[service]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub vip: Typed<String>,
    pub port: Typed<IntegerOrText>,
    pub protocol: Typed<String>,
    pub scheduler: Typed<String>,
    pub scheduler_flags: Typed<Vec<Spanned<String>>>,
    pub persistence: Typed<String>,
    pub persistence_prefix: Typed<IntegerOrText>,
    pub one_packet: Typed<bool>,
    pub on_failure: Typed<String>,
    pub no_real: Typed<String>,
    pub strict: Typed<bool>,
    pub ttl: Typed<String>,
    pub table_share: Typed<String>,
    pub slow_start: Typed<String>,
    pub inhibit_on_failure: Typed<bool>,
    pub vip_check: Typed<BooleanOrText>,
    pub quorum: Typed<i64>,
    pub hysteresis: Typed<i64>,
    pub quorum_up: Typed<Command>,
    pub quorum_down: Typed<Command>,
    pub mail: Typed<bool>,
    pub omega: Typed<bool>,
    pub group: Typed<String>,
    pub timeouts: Typed<Timeouts>,
    #[serde(default)]
    pub check: Vec<Spanned<Check>>,
    pub passive: Typed<Passive>,
    #[serde(default)]
    pub real: Vec<Spanned<Real>>,
    pub sorry: Typed<Sorry>,
}

/// `[service.check]` and `[service.real.check]`, once or several times.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    #[serde(rename = "type")]
    pub kind: Typed<String>,
    pub interval: Typed<String>,
    pub timeout: Typed<String>,
    pub retry: Typed<String>,
    pub rise: Typed<i64>,
    pub fall: Typed<i64>,
    pub warmup: Typed<String>,
    pub start: Typed<String>,
    pub log_all_failures: Typed<bool>,
    pub address: Typed<String>,
    pub port: Typed<i64>,
    pub source: Typed<String>,
    pub source_port: Typed<i64>,
    pub interface: Typed<String>,
    pub mark: Typed<i64>,
    pub path: Typed<String>,
    pub status: Typed<Vec<Spanned<IntegerOrText>>>,
    pub digest: Typed<String>,
    #[serde(rename = "match")]
    pub pattern: Typed<String>,
    pub match_not: Typed<String>,
    pub match_from: Typed<i64>,
    pub match_to: Typed<i64>,
    pub host: Typed<String>,
    pub http_version: Typed<String>,
    pub fast_recovery: Typed<bool>,
    pub sni: Typed<BooleanOrText>,
    pub verify: Typed<BooleanOrText>,
    pub ca: Typed<String>,
    #[serde(default)]
    pub request: Vec<Spanned<Request>>,
    pub helo: Typed<String>,
    pub record: Typed<String>,
    pub name: Typed<String>,
    pub payload: Typed<String>,
    pub payload_hex: Typed<String>,
    pub require_reply: Typed<bool>,
    pub min_reply: Typed<i64>,
    pub max_reply: Typed<i64>,
    pub command: Typed<Words>,
    pub user: Typed<String>,
    pub group: Typed<String>,
    pub sets_weight: Typed<bool>,
    pub factor: Typed<i64>,
}

/// `[[service.check.request]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub path: Typed<String>,
    pub host: Typed<String>,
    pub status: Typed<Vec<Spanned<IntegerOrText>>>,
    pub digest: Typed<String>,
    #[serde(rename = "match")]
    pub pattern: Typed<String>,
    pub match_not: Typed<String>,
    pub match_from: Typed<i64>,
    pub match_to: Typed<i64>,
}

/// `[service.sorry]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sorry {
    pub address: Typed<String>,
    pub weight: Typed<i64>,
    pub inhibit: Typed<bool>,
    pub vlan: Typed<IntegerOrText>,
    pub mac: Typed<String>,
    pub interface: Typed<String>,
    pub mtu: Typed<i64>,
}

/// `[service.passive]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Passive {
    pub failures: Typed<String>,
    pub window: Typed<String>,
    pub minimum: Typed<i64>,
    pub hold: Typed<String>,
}

/// `[[service.real]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Real {
    pub address: Typed<String>,
    pub weight: Typed<i64>,
    pub upper: Typed<i64>,
    pub lower: Typed<i64>,
    pub vlan: Typed<IntegerOrText>,
    pub mac: Typed<String>,
    pub interface: Typed<String>,
    pub mtu: Typed<i64>,
    pub inhibit_on_failure: Typed<bool>,
    pub notify_up: Typed<Command>,
    pub notify_down: Typed<Command>,
    pub mail: Typed<bool>,
    #[serde(default)]
    pub check: Vec<Spanned<Check>>,
}

/// `[scripts]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scripts {
    pub security: Typed<bool>,
    pub user: Typed<String>,
    pub group: Typed<String>,
}

/// `[notify]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub at_start: Typed<bool>,
    #[serde(default)]
    pub pipe: Vec<Spanned<Pipe>>,
    #[serde(default)]
    pub service_pipe: Vec<Spanned<Pipe>>,
    pub mail: Typed<Mail>,
}

/// `[[notify.pipe]]`, `[[notify.service_pipe]]` and `[[vrrp.pipe]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipe {
    pub path: Typed<String>,
    pub reader: Typed<Command>,
}

/// `[notify.mail]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    pub server: Typed<String>,
    pub port: Typed<i64>,
    pub helo: Typed<String>,
    pub timeout: Typed<String>,
    pub from: Typed<String>,
    pub to: Typed<Vec<Spanned<String>>>,
    pub router_id: Typed<String>,
    pub no_faults: Typed<bool>,
}

/// A program to run. What was typed as a line or as words alone comes as its `run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    pub run: Typed<Words>,
    pub user: Typed<String>,
    pub group: Typed<String>,
    pub timeout: Typed<String>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    Line(String),
    Words(Vec<String>),
}

/// `true`, `false`, or a word in their place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum BooleanOrText {
    Boolean(bool),
    Text(String),
}

/// An integer, or a word or a notation in its place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum IntegerOrText {
    Integer(i64),
    Text(String),
}

/// A file with the faults of its form.
#[derive(Debug)]
pub(super) struct Reading {
    /// What could be read.
    pub file: File,
    /// Faults of the form.
    pub faults: Vec<Fault>,
    /// Which absent keys are not missing.
    pub absent: Absent,
}

/// Why a key may be absent without being missing.
#[derive(Debug)]
pub(super) struct Absent {
    /// Lines with a syntax error; none: the tree is what was meant.
    broken_lines: HashSet<usize>,
    removed: Removed,
}

impl Reading {
    /// What was read from another format, less what had a fault.
    pub(super) fn of(file: File, faults: Vec<Fault>, removed: Removed) -> Reading {
        Reading { file, faults, absent: Absent { broken_lines: HashSet::new(), removed } }
    }
}

impl Absent {
    /// Whether an absent key of the table at `table` was left out by the operator, not by a fault reported already.
    pub(super) fn is_missing(&self, table: &Range<usize>, path: &'static str) -> bool {
        self.broken_lines.is_empty() && !self.removed.contains(&(table.start, path))
    }

    /// Whether a fault on this line can be believed.
    pub(super) fn trusts(&self, line: usize) -> bool {
        !self.broken_lines.contains(&line)
    }
}

/// Reads the form of `source`.
pub(super) fn read(source: &Source) -> Reading {
    let (mut document, errors) = DeTable::parse_recoverable(source.text());
    let mut faults = syntax::faults(source, &document, errors);
    let broken_lines: HashSet<usize> = faults.iter().map(|fault| fault.line).collect();
    let (misshapen, removed) = shape::prune(&mut document, source);
    if broken_lines.is_empty() {
        faults.extend(misshapen);
    }
    let span = document.span();
    let document = Spanned::new(span.clone(), DeValue::Table(document.into_inner()));
    let file = File::deserialize(ValueDeserializer::from(document)).unwrap_or_else(|error| {
        // `shape` lets nothing through that serde refuses; should it ever, the operator still gets an answer.
        let span = error.span().unwrap_or(span);
        faults.push(source.fault(Severity::Error, span, "file", error.message().to_owned()));
        File::default()
    });
    Reading { file, faults, absent: Absent { broken_lines, removed } }
}

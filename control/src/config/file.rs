//! What was typed: the native TOML format as serde types, with the place of every value. Nothing is judged here but
//! the form; what the values mean is decided by [`super::resolve`].
//!
//! *Invariants*
//! - Every key is optional: whether its absence is a fault is resolve's to say.
//! - All faults of the form are reported at once. After a syntax error the tree is only partly what was meant, so
//!   then no key counts as unknown, misplaced or missing.

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{Fault, Severity};
use super::shape::{self, Removed};
use super::source::Source;
use super::syntax;

/// A value and its place, or nothing.
pub(super) type Typed<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub director: Typed<Director>,
    #[serde(default)]
    pub service: Vec<Spanned<Service>>,
}

/// `[director]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Director {
    pub interfaces: Typed<Vec<Spanned<String>>>,
    pub cores: Typed<Vec<Spanned<i64>>>,
    pub flows_per_worker: Typed<i64>,
    pub flows_per_worker_ipv6: Typed<i64>,
    pub frames_per_queue: Typed<i64>,
    pub hash_key: Typed<String>,
    pub idle: Typed<String>,
    pub icmp_rate: Typed<i64>,
    pub reset_rate: Typed<i64>,
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
#[derive(Debug, Deserialize)]
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
    pub timeouts: Typed<Timeouts>,
    pub check: Typed<Check>,
    pub passive: Typed<Passive>,
    #[serde(default)]
    pub real: Vec<Spanned<Real>>,
}

/// `[service.check]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    #[serde(rename = "type")]
    pub kind: Typed<String>,
    pub interval: Typed<String>,
    pub timeout: Typed<String>,
    pub rise: Typed<i64>,
    pub fall: Typed<i64>,
    pub port: Typed<i64>,
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
#[derive(Debug, Deserialize)]
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

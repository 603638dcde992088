//! Fuzz targets for whatever reads bytes of a stranger. Each is a plain function on bytes that panics when a promise
//! is broken: the fuzzers (`src/bin`) call it with what they think of, the corpus test (`tests/corpus.rs`) with what
//! they have thought of before. See README.md.
//!
//! *Invariant*: a target is a function of its input. Nothing stays from one call to the next, so that an input that
//! breaks something breaks it again.

pub mod answers;
pub mod fragments;
pub mod frame;
pub mod input;
pub mod keepalived;
pub mod memory;
pub mod pcap;
pub mod rig;
pub mod services;
pub mod sync;
pub mod table;
pub mod vrrp;
pub mod wire;

#[global_allocator]
static ALLOCATOR: memory::Measured = memory::Measured;

/// A target: takes any bytes, panics if a promise is broken.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders in `tests/corpus`.
pub const TARGETS: [(&str, Target); 8] = [
    ("answers", answers::run),
    ("frame", frame::run),
    ("fragments", fragments::run),
    ("keepalived", keepalived::run),
    ("pcap", pcap::run),
    ("sync", sync::run),
    ("table", table::run),
    ("vrrp", vrrp::run),
];

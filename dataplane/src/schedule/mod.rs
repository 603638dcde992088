//! Which real server a new flow gets. A closed set of schedulers, chosen when the state is built.

pub mod maglev;

pub use maglev::MaglevTable;

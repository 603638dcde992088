//! What a worker remembers of flows: which real server each one has, so that it keeps it whatever happens to
//! the set of servers.
//!
//! `entry` is the layout of one remembered flow, `state` the life of a flow seen from one side, `table` the
//! bounded hash table of entries.

pub mod entry;
pub mod state;
pub mod table;

pub use entry::{Flow, FlowKey};
pub use state::{FlowState, Timeouts};
pub use table::{FlowReader, FlowTable, Slot};

//! What a worker remembers of flows: which real server each one has, so that it keeps it whatever happens to
//! the set of servers; and where the later fragments of a datagram go, which name no flow.
//!
//! `entry` is the layout of one remembered flow, `state` the life of a flow seen from one side, `timeouts` how long
//! each state is remembered, `table` the bounded hash table of flows, `fragments` that of datagrams. Both tables
//! stand on `buckets`, the memory that one writes and many read, and that on `pages`.

mod buckets;
pub mod entry;
pub mod fragments;
mod pages;
pub mod state;
pub mod table;
pub mod timeouts;

pub use entry::{Destination, Flow, FlowKey};
pub use fragments::{FragmentReader, FragmentTable};
pub use state::FlowState;
pub use table::{Capacity, FlowReader, FlowTable, Slot};
pub use timeouts::Timeouts;

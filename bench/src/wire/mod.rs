//! The end-to-end comparison on veth: a generator in the kernel, the thing under test in a namespace of its own, and a
//! sink in the kernel that counts what was delivered.
//!
//! ```text
//!   namespace wire                          namespace director
//!   generator --> wire0 ===== veth ===== eth0 --> subject
//!   sink      <--/                           \<--/
//! ```
//!
//! Every subject stands on a bed of its own all the time; who is not measured is stopped. So they can take turns many
//! times a minute, and what disturbs the machine disturbs them alike.
//!
//! *Invariants*: what is delivered is counted by the kernel behind the last cable, and only if it is a frame of the
//! generator with the MAC address of a real server. Namespaces, programs and processes go with the values that own them.

pub mod bed;
pub mod cores;
pub mod generator;
pub mod histogram;
pub mod interrupt;
pub mod measure;
pub mod roll_call;
pub mod sink;
pub mod statistics;
pub mod subject;

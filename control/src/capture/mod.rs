//! What became of which frame? `shunt capture` shows frames as they were received and as they were sent, each with its
//! verdict: XDP takes them before tcpdump on the director sees them, and no other tool knows the verdict.
//!
//! [`command`] is the command line, which writes `pcapng` or lines (`words`); [`protocol`] is what it asks the daemon and is answered;
//! [`session`] is the daemon's side, which takes frames out of the dataplane's recorder, names what they are about (`names`)
//! and lets through what the `filter` asks for (`packet` reads what is left of a frame).
//!
//! *Invariants*
//! - Bounded: at most one tap at a time, a ring of fixed size for each worker, a batch of fixed size for each answer. What
//!   there is no room for is lost, counted and shown.
//! - Whoever asks reads again within [`session::LEASE`], or the tap is taken away.
//! - Files are written by whoever asks, with his rights and on his disk.
//!
//! draft-ietf-opsawg-pcapng.

pub mod command;
mod filter;
mod names;
mod packet;
mod pcapng;
pub mod protocol;
pub mod session;
mod words;

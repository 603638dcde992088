//! VRRP: who of several directors holds the addresses (RFC 9568, RFC 3768, and keepalived where it differs from them).
//!
//! Two halves. The *core* asks nobody and does nothing: bytes and times go in, actions come out, so that it is tested in
//! simulated time. The *thread* does: it owns sockets, addresses and announcements, and nothing else of shunt runs on it, so
//! that no health check, script, mail or reload delays an advert.
//!
//! ```text
//!  packet ─> inbox ─> routers (machine, group) ─> actions
//!   bytes     which      step(now, input)           │ thread does them: wire (adverts), holder (addresses),
//!             router,                               │ announcer (gratuitous ARP, NA), and tells the supervisor
//!             is it valid                           ▼
//!  track ─> Standing (priority, fault)            Event, View
//! ```
//!
//! *Invariants*
//! - times are `Duration`s and `Instant`s; the units of the wire (seconds, centiseconds) are known to `packet` alone;
//! - an advert that fails any check changes no state and no timer: it is a counter and a rate-limited line;
//! - addresses are added after the first advert and before the announcements, and removed before Backup is told.

pub mod inbox;
pub mod packet;
pub mod rejection;
pub mod routers;
pub mod step;
pub mod thread;
pub mod timing;
pub mod track;
pub mod view;
pub mod vmac;

mod clock;
mod driver;
mod group;
mod holder;
mod lateness;
mod limiter;
mod machine;
mod seat;
mod wire;

pub(crate) use clock::real_time;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulation;

pub use holder::MARK;
pub use inbox::{Counts, Inbox, Packet, Read};
pub use lateness::Lateness;
pub use rejection::Rejection;
pub use routers::{Changed, Rival, Routers, Status};
pub use step::{Action, Burst, Cause, Heard, Input, Level, RouterId, Standing, State};
pub use thread::{Event, Facts, VrrpThread};
pub use view::View;

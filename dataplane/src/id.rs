//! Dense indices by which forwarding states and flow tables know services and real servers. Stable from state to
//! state (`forwarding::builder`).

/// Index of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u16);

/// Index of a real server in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealSlot(pub u16);

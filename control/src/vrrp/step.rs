//! The words of the core: what virtual routers are told, and what they want done.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Dense index of a virtual router: its place in [`crate::model::Vrrp::routers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterId(pub usize);

/// States of RFC 9568 section 6.4, and keepalived's Fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Not begun.
    #[default]
    Initialize,
    /// Another director holds the addresses.
    Backup,
    /// This one does ("MASTER" in keepalived).
    Active,
    /// It must not: an interface is down, or something tracked has failed.
    Fault,
}

/// What a virtual router may be, from everything that is tracked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Effective priority, 1..=255 (255 only if configured).
    pub priority: u8,
    /// Why it must be in Fault, in words: `eth0 is down`, `script chk_haproxy failed`; none: it need not.
    pub fault: Option<String>,
    /// Source of its adverts; none: the interface has none (which is a fault already).
    pub source: Option<IpAddr>,
}

/// An advert that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub source: IpAddr,
    /// Its priority; 0: it stops.
    pub priority: u8,
    /// Its interval; of our own in version 2, where others are refused.
    pub interval: Duration,
}

/// What happens to virtual routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An advert for it.
    Advert {
        /// Whose.
        router: RouterId,
        /// What it says.
        advert: Heard,
    },
    /// What it may be has changed, or is known for the first time: a router begins with its first standing.
    Standing {
        /// Whose.
        router: RouterId,
        /// What it is now.
        standing: Standing,
    },
    /// Time has passed; due timers go off. They do with any other input too, but adverts: what was received is to be handed
    /// in before the time.
    Tick,
    /// An address that it holds was removed by somebody.
    AddressLost {
        /// Whose.
        router: RouterId,
        /// The address.
        address: IpAddr,
    },
    /// Its neighbours may have forgotten or been told otherwise: the link came back, somebody else claimed an address, or
    /// the operator asks. Announces if it is active.
    Announce {
        /// Whose; none: all.
        router: Option<RouterId>,
    },
    /// Whether taking over from a lower priority is allowed: not before the flows of the others are known.
    Preempt {
        /// It is.
        allowed: bool,
    },
    /// The end: everybody active gives up with priority 0.
    Stop,
}

/// What virtual routers want done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send an advert, to all peers.
    Send {
        /// Whose.
        router: RouterId,
        /// With this priority; 0: it stops.
        priority: u8,
        /// And this interval (that of the active router, if this one learned it).
        interval: Duration,
    },
    /// Put all its addresses on their interfaces.
    Hold {
        /// Whose.
        router: RouterId,
    },
    /// Take all its addresses off.
    Release {
        /// Whose.
        router: RouterId,
    },
    /// Announce all its addresses.
    Announce {
        /// Whose.
        router: RouterId,
        /// How often.
        burst: Burst,
    },
    /// Announce no more: what is queued is dropped.
    Hush {
        /// Whose.
        router: RouterId,
    },
    /// It changed its state: who is to know is told.
    Changed {
        /// Whose.
        router: RouterId,
        /// What it was.
        from: State,
        /// What it is.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// All members of a group have come to one state.
    GroupChanged {
        /// Place in [`crate::model::Vrrp::groups`].
        group: usize,
        /// What it is.
        to: State,
    },
    /// Its effective priority changed.
    PriorityChanged {
        /// Whose.
        router: RouterId,
        /// What it was.
        from: u8,
        /// What it is.
        to: u8,
    },
    /// As Active it heard a lower priority (`notify_master_rx_lower_pri`).
    LowerHeard {
        /// Whose.
        router: RouterId,
        /// From whom.
        source: IpAddr,
        /// Which.
        priority: u8,
    },
    /// Log this. keepalived's sentence where it has one: people grep for them.
    Say {
        /// How loud.
        level: Level,
        /// What.
        text: String,
    },
}

/// How often addresses are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Burst {
    /// `repeat` at once, and again after `delay`, and the refreshes from then on.
    Full,
    /// `lower_repeat` at once, and again after `lower_delay`.
    Lower,
}

/// Loudness of what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
}

/// Why a virtual router changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It began.
    Start,
    /// No advert came in time.
    Timeout,
    /// The active router said that it stops.
    Stopped {
        /// Who.
        source: IpAddr,
    },
    /// A higher priority was heard, or an equal one from a higher address.
    Higher {
        /// From whom.
        source: IpAddr,
        /// Which.
        priority: u8,
    },
    /// What is tracked failed.
    Fault(String),
    /// What is tracked is well again.
    Recovered,
    /// A member of its group made it.
    Group {
        /// Name of the member.
        member: String,
    },
    /// Somebody removed this address.
    AddressLost(IpAddr),
    /// It owns its addresses: priority 255.
    Owner,
    /// The end.
    Stop,
}

impl State {
    /// keepalived's word for it, which scripts get.
    pub fn word(self) -> &'static str {
        match self {
            State::Initialize => "INIT",
            State::Backup => "BACKUP",
            State::Active => "MASTER",
            State::Fault => "FAULT",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Start => f.write_str("start"),
            Cause::Timeout => f.write_str("no advert came in time"),
            Cause::Stopped { source } => write!(f, "{source} stopped"),
            Cause::Higher { source, priority } => write!(f, "{source} has priority {priority}"),
            Cause::Fault(why) => f.write_str(why),
            Cause::Recovered => f.write_str("what failed is well again"),
            Cause::Group { member } => write!(f, "{member} of its group"),
            Cause::AddressLost(address) => write!(f, "{address} was removed by somebody"),
            Cause::Owner => f.write_str("it owns its addresses (priority 255)"),
            Cause::Stop => f.write_str("stop"),
        }
    }
}

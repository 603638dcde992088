//! Who holds an address is told to the link: gratuitous ARP and unsolicited neighbour advertisements. Switches and caches
//! learn the way by them alone, and some hear the first one never (a link that has just come up, a port that does not
//! forward yet) or only one of the two forms; so they are repeated, by a clock of their own.
//!
//! [`Announcer`] says what is due and sends nothing; [`Transmitter`] sends; [`Claims`] hears who else says that he has an
//! address of ours.
//!
//! *Invariants*
//! - of a router that was hushed nothing is sent any more, whatever was queued or refused before;
//! - every address of a router is announced once before any is announced a second time, and so are the routers of one
//!   interface;
//! - between two frames of one kind on one interface lies its gap, however late the caller is;
//! - nothing here waits, and one call hands out [`AT_ONCE`] frames at most.
//!
//! RFC 826, RFC 4861 section 7.2.6, RFC 5227 section 3, RFC 9568 sections 6.4.2 and 8; schedule and form as keepalived's.

mod claims;
mod frames;
mod lane;
mod socket;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use claims::{Claim, Claims};
pub use socket::{Counts, Transmitter};

use crate::model::{Announce, GarpForm};
use crate::vrrp::Burst;
use lane::{Kind, Lanes};

/// Frames that are due at once at most.
pub const AT_ONCE: usize = 64;

/// What is announced when.
#[derive(Debug, Default)]
pub struct Announcer {
    jobs: BTreeMap<u64, Job>,
    lanes: Lanes,
}

/// An address, and what it is announced with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Index of the interface that the frame leaves by: the macvlan's, if there is one.
    pub interface: u32,
    /// Its MAC address, which the address belongs to from now on.
    pub mac: [u8; 6],
    /// The address.
    pub address: IpAddr,
    /// Name of the interface, for the log.
    pub interface_name: String,
}

/// How often, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Announcements of each address at once.
    pub first: u32,
    /// The same number again after this.
    pub again: Option<Duration>,
    /// So many each time that this has gone by, for ever.
    pub refresh: Option<(Duration, u32)>,
    /// Between two gratuitous ARP on one interface.
    pub arp_gap: Duration,
    /// Between two neighbour advertisements on one interface.
    pub na_gap: Duration,
    /// Form of gratuitous ARP.
    pub form: GarpForm,
    /// Neighbour advertisements say that a router sends them: the host forwards IPv6.
    pub router_flag: bool,
}

/// A frame that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who asked for it.
    pub key: u64,
    /// Index of the interface that it leaves by.
    pub interface: u32,
    /// From the Ethernet header on; the kernel pads it.
    pub bytes: Vec<u8>,
    /// To be logged. keepalived says it of every frame; here only the first announcement of each address in a burst says
    /// it, and the others are for who debugs ([`Frame`] is displayed as the same sentence).
    pub say: Option<String>,
    about: Arc<Target>,
    /// How often the interface has refused it.
    refused: u32,
}

/// What is to come of one router, beside what is in the lanes.
#[derive(Debug)]
struct Job {
    announcements: Vec<Announcement>,
    plan: Plan,
    again: Option<(Instant, u32)>,
    refresh: Option<Instant>,
}

/// What is sent for one target: one frame, or two forms.
#[derive(Debug, Clone)]
struct Announcement {
    about: Arc<Target>,
    frames: Arc<[Vec<u8>]>,
}

impl Announcer {
    /// Nothing is due.
    pub fn new() -> Self {
        Announcer::default()
    }

    /// Announces the addresses of `key` (a router) by this plan.
    ///
    /// It takes the place of what is left of an earlier plan of the same key, and loses nothing of it: the next wave has
    /// as many rounds as the larger of the two; the second wave comes after the later one's delay, or, if that has none,
    /// when it would have come. The refresh counts from now.
    pub fn announce(&mut self, now: Instant, key: u64, targets: Vec<Target>, plan: &Plan) {
        let before = self.jobs.remove(&key);
        let announcements: Vec<Announcement> =
            targets.into_iter().map(|target| Announcement::of(target, plan)).collect();
        let pending = before.as_ref().and_then(|job| job.again);
        let rounds = plan.first.max(pending.map_or(0, |(_, rounds)| rounds));
        let again = match plan.again {
            Some(delay) if plan.first > 0 => Some((now + delay, rounds)),
            _ => pending,
        };
        // A plan that announces nothing now must not put off what was going to.
        let refresh = before.and_then(|job| job.refresh).filter(|_| plan.first == 0);
        let refresh = plan.refresh.map(|(period, _)| refresh.unwrap_or(now + period));
        self.lanes.push(now, key, &announcements, plan, plan.first, true);
        self.jobs.insert(key, Job { announcements, plan: *plan, again, refresh });
    }

    /// Announces nothing more for `key`: what is queued is dropped.
    pub fn hush(&mut self, key: u64) {
        self.jobs.remove(&key);
        self.lanes.hush(key);
    }

    /// When [`Announcer::due`] has something next; in the past if it has now.
    pub fn deadline(&self) -> Option<Instant> {
        let clocks = self.jobs.values().flat_map(|job| [job.again.map(|(at, _)| at), job.refresh]);
        clocks.flatten().chain(self.lanes.deadline()).min()
    }

    /// The frames to be sent now, in this order, [`AT_ONCE`] at most: ask [`Announcer::deadline`] for more.
    pub fn due(&mut self, now: Instant) -> Vec<Frame> {
        for (&key, job) in &mut self.jobs {
            let again = job.again.take_if(|(at, _)| *at <= now).map_or(0, |(_, rounds)| rounds);
            let mut rounds = again;
            if let (Some(at), Some((period, refresh))) = (&mut job.refresh, job.plan.refresh)
                && *at <= now
            {
                // From now on, not from then: who comes late sends no more for it.
                *at = now + period;
                rounds = rounds.max(refresh);
            }
            if rounds > 0 {
                self.lanes.push(now, key, &job.announcements, &job.plan, rounds, false);
            }
        }
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && let Some(frame) = self.lanes.next(now)
        {
            due.push(frame);
        }
        due
    }

    /// Takes back a frame that its interface had no room for: it is due again a little later, before the others of the
    /// interface. False if it was refused too often, or is not wanted any more: it is lost then.
    pub fn refused(&mut self, now: Instant, frame: Frame) -> bool {
        self.jobs.contains_key(&frame.key) && self.lanes.put_back(now, frame)
    }
}

impl Plan {
    /// That of a burst, by the configuration. `router_flag` is off: who knows whether the host forwards sets it.
    pub fn of(announce: &Announce, burst: Burst) -> Plan {
        let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let (first, again) = match burst {
            Burst::Full => (announce.repeat, announce.delay),
            Burst::Lower => (announce.lower_repeat, announce.lower_delay),
        };
        Plan {
            first,
            again: some(again),
            refresh: some(announce.refresh).map(|period| (period, announce.refresh_repeat)),
            arp_gap: announce.arp_gap,
            na_gap: announce.na_gap,
            form: announce.form,
            router_flag: false,
        }
    }
}

/// keepalived's sentence at the beginning of a burst on an interface: `(VI_1) Sending/queueing gratuitous ARPs on eth0 for
/// 192.0.2.10`. It says it for each address.
pub fn burst_sentence(router: &str, target: &Target) -> String {
    let what = match target.address {
        IpAddr::V4(_) => "gratuitous ARPs",
        IpAddr::V6(_) => "Neighbour Adverts",
    };
    format!("({router}) Sending/queueing {what} on {} for {}", target.interface_name, target.address)
}

impl Announcement {
    fn of(target: Target, plan: &Plan) -> Announcement {
        let mac = target.mac;
        let frames = match (target.address, plan.form) {
            (IpAddr::V6(address), _) => vec![frames::advertisement(mac, address, plan.router_flag)],
            (IpAddr::V4(address), GarpForm::Request) => vec![frames::request(mac, address)],
            (IpAddr::V4(address), GarpForm::Reply) => vec![frames::reply(mac, address)],
            (IpAddr::V4(address), GarpForm::Both) => {
                vec![frames::request(mac, address), frames::reply(mac, address)]
            }
        };
        Announcement { about: Arc::new(target), frames: frames.into() }
    }

    fn kind(&self) -> Kind {
        if self.about.address.is_ipv4() { Kind::Arp } else { Kind::Na }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.about.address {
            IpAddr::V4(_) => "gratuitous ARP",
            IpAddr::V6(_) => "unsolicited Neighbour Advert",
        };
        write!(f, "Sending {what} on {} for {}", self.about.interface_name, self.about.address)
    }
}

#[cfg(test)]
mod tests;

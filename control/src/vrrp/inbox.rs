//! Which virtual router a packet is for, and whether it counts.
//!
//! What is checked, and in which order, is what keepalived 2.2.7 does (`vrrp_check_packet`), so that two directors of
//! different make agree about the same packet; with these exceptions:
//! - unicast adverts must have TTL 255 too (RFC 5082), unless the peer has `min_ttl` and `max_ttl`;
//! - another list of addresses is a reason to refuse in version 2, as in keepalived, but in version 3 is only reported
//!   (RFC 9568 section 7.1) unless `strict`;
//! - packets with IP options or extension headers, or from a source that no host has, are refused;
//! - in version 3 over IPv4 either checksum is right;
//! - version 3 with an interval of 0 or without addresses is refused: nobody can go by it.
//!
//! *Invariants*
//! - [`Read::heard`] is an advert that passed every check; nothing else reaches a state machine;
//! - memory is bounded by the configuration, whatever is received.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::limiter::Limiter;
use super::packet::{self, Covers, Message};
use super::rejection::Rejection;
use super::step::{Heard, Level, RouterId};
use crate::model::{Peers, Version, VirtualRouter, Vrrp};

/// What RFC 9568 section 7.1 asks for: the packet was not forwarded.
const TTL: u8 = 255;

/// Of an IPv4 packet without options. keepalived counts it in the lengths that it tells.
const IPV4_HEADER: usize = 20;

/// One IP packet of protocol 112 as the socket gave it.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Where it came in.
    pub interface: &'a str,
    /// Its source.
    pub source: IpAddr,
    /// Its destination, of the same family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// It has IPv4 options or IPv6 extension headers.
    pub options: bool,
    /// What is behind the IP header.
    pub message: &'a [u8],
}

/// Reads packets.
#[derive(Debug)]
pub struct Inbox {
    routers: Vec<Entry>,
    /// Places in `routers`, by interface, then family (IPv6) and VRID.
    places: HashMap<String, HashMap<(bool, u8), Vec<usize>>>,
    unknown: u64,
    say_unknown: bool,
    limiter: Limiter<Option<u8>>,
}

/// What became of a packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// It counts.
    pub heard: Option<(RouterId, Heard)>,
    /// Worth a line of the log; limited already.
    pub say: Option<(Level, String)>,
}

/// What came for a virtual router.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Adverts that passed every check.
    pub accepted: u64,
    /// Of these, those of version 3 over IPv4 whose checksum is that of the message alone (RFC 9568).
    pub checksum_message_only: u64,
    /// Of these, those with another list of addresses than ours.
    pub addresses_differ: u64,
    /// Our own, come back: ignored.
    pub own: u64,
    /// By [`Rejection`], in the order of [`Rejection::ALL`].
    pub rejected: [u64; Rejection::ALL.len()],
    /// The last one that was refused: when, whose, why, and that in words.
    pub last_rejected: Option<(Instant, IpAddr, Rejection, String)>,
}

#[derive(Debug)]
struct Entry {
    router: VirtualRouter,
    counts: Counts,
    limiter: Limiter<Topic>,
    /// Who sent the last advert that counted.
    last: Option<IpAddr>,
}

/// What lines of the log are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Rejected(Rejection),
    Addresses,
    Checksum,
}

/// A reason with its values.
struct Refused {
    reason: Rejection,
    /// keepalived's sentence, where it has one.
    sentence: String,
}

/// What an advert that counts has beside its content.
#[derive(Default)]
struct Remarks {
    message_only: bool,
    /// In words, how its list of addresses is not ours.
    addresses: Option<String>,
}

impl Inbox {
    /// An inbox for the routers of this configuration.
    pub fn new(vrrp: &Vrrp) -> Inbox {
        let mut inbox = Inbox {
            routers: Vec::new(),
            places: HashMap::new(),
            unknown: 0,
            say_unknown: false,
            limiter: Limiter::new(),
        };
        inbox.set(vrrp);
        inbox
    }

    /// Goes on with another configuration. Counts of routers with the same name, interface, family and VRID are kept.
    pub fn set(&mut self, vrrp: &Vrrp) {
        let mut before = std::mem::take(&mut self.routers);
        self.places.clear();
        self.say_unknown = vrrp.log_unknown_vrids;
        for (place, router) in vrrp.routers.iter().enumerate() {
            let same = before.iter().position(|entry| entry.router.identity() == router.identity());
            let entry = same.map_or_else(|| Entry::new(router), |n| before.swap_remove(n));
            self.routers.push(Entry { router: router.clone(), ..entry });
            let places = self.places.entry(router.interface.clone()).or_default();
            places.entry((router.ipv6, router.vrid)).or_default().push(place);
        }
    }

    /// Reads a packet. `own`: its source is one of this host's addresses.
    pub fn read(&mut self, now: Instant, packet: &Packet, own: bool) -> Read {
        let Some(place) = self.place(packet) else { return self.unknown_vrid(now, packet, own) };
        let entry = &mut self.routers[place];
        if own {
            entry.counts.own += 1;
            return Read::default();
        }
        match entry.check(packet) {
            Ok((message, remarks)) => {
                let advert = entry.heard(packet, &message);
                Read { heard: Some((RouterId(place), advert)), say: entry.remark(now, packet, remarks) }
            }
            Err(refused) => Read { heard: None, say: entry.refuse(now, packet, refused) },
        }
    }

    /// What came for a router.
    pub fn counts(&self, router: RouterId) -> &Counts {
        &self.routers[router.0].counts
    }

    /// Packets for no router of ours: an unknown VRID, or a message too short to have one.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The router that a packet is for. Several may have its VRID, if those who send can tell them apart.
    fn place(&self, packet: &Packet) -> Option<usize> {
        let vrid = *packet.message.get(1)?;
        let places = self.places.get(packet.interface)?.get(&(packet.source.is_ipv6(), vrid))?;
        if let [only] = places[..] {
            return Some(only);
        }
        let meant = |place: &usize| match &self.routers[*place].router.peers {
            Peers::Multicast { group } => *group == packet.destination,
            Peers::Unicast { peers, .. } => {
                !packet.destination.is_multicast() && peers.iter().any(|peer| peer.address == packet.source)
            }
        };
        places.iter().copied().find(meant)
    }

    fn unknown_vrid(&mut self, now: Instant, packet: &Packet, own: bool) -> Read {
        // Whether our own adverts of another interface come back is no news.
        if own {
            return Read::default();
        }
        self.unknown += 1;
        let vrid = packet.message.get(1).copied();
        let left_out = match self.say_unknown {
            true => self.limiter.ask(now, vrid, packet.source),
            false => None,
        };
        let say = left_out.map(|left_out| {
            let text = match vrid {
                Some(vrid) => format!(
                    "Unknown VRID({vrid}) received on interface({}). ignoring... (from {})",
                    packet.interface, packet.source
                ),
                None => too_short(packet),
            };
            (Level::Info, text + &more(left_out))
        });
        Read { heard: None, say }
    }
}

impl Entry {
    fn new(router: &VirtualRouter) -> Entry {
        Entry { router: router.clone(), counts: Counts::default(), limiter: Limiter::new(), last: None }
    }

    /// All checks, in keepalived's order.
    fn check<'a>(&self, packet: &Packet<'a>) -> Result<(Message<'a>, Remarks), Refused> {
        let router = &self.router;
        source(packet)?;
        let message = packet::decode(packet.message)
            .map_err(|_| Refused { reason: Rejection::TooShort, sentence: too_short(packet) })?;
        length(packet, &message)?;
        ttl(router, packet)?;
        let version = router.version.number();
        if message.version() != version {
            let sentence = format!("wrong version. Received {} and expect {version}", message.version());
            return Err(Refused { reason: Rejection::Version, sentence });
        }
        if router.version == Version::V2 {
            authentication(router, &message)?;
        }
        interval(router, &message)?;
        if message.kind() != packet::ADVERTISEMENT {
            let sentence =
                format!("Invalid packet type. {} and expect {}", message.kind(), packet::ADVERTISEMENT);
            return Err(Refused { reason: Rejection::Type, sentence });
        }
        let compared = !(router.checks.skip_known_addresses && self.last == Some(packet.source));
        let mut remarks = Remarks::default();
        // RFC 9568 section 5.2.5: the least is 1.
        if message.count() == 0 && router.version == Version::V3 {
            return Err(count(router, &message));
        }
        let only_reported = router.version == Version::V3 && !router.checks.strict;
        if compared && !only_reported && usize::from(message.count()) != router.addresses.len() {
            return Err(count(router, &message));
        }
        match message.covers(packet.source, packet.destination) {
            Some(covers) => remarks.message_only = covers == Covers::Message && version == 3,
            None => {
                let sentence = format!("Invalid VRRPv{version} checksum");
                return Err(Refused { reason: Rejection::Checksum, sentence });
            }
        }
        destination(router, packet)?;
        if compared && let Err(refused) = addresses(router, &message) {
            if !only_reported {
                return Err(refused);
            }
            remarks.addresses = Some(refused.sentence);
        }
        if router.checks.unicast_source
            && let Peers::Unicast { peers, .. } = &router.peers
            && !peers.iter().any(|peer| peer.address == packet.source)
        {
            let sentence = format!("unicast source address {} not a unicast peer", packet.source);
            return Err(Refused { reason: Rejection::Peer, sentence });
        }
        Ok((message, remarks))
    }

    fn heard(&mut self, packet: &Packet, message: &Message) -> Heard {
        self.counts.accepted += 1;
        self.last = Some(packet.source);
        Heard { source: packet.source, priority: message.priority(), interval: message.interval() }
    }

    /// Counts what is remarkable about an advert that counts, and says it.
    fn remark(&mut self, now: Instant, packet: &Packet, remarks: Remarks) -> Option<(Level, String)> {
        let (name, source) = (&self.router.name, packet.source);
        let mut say = None;
        if remarks.message_only {
            self.counts.checksum_message_only += 1;
            if self.limiter.ask(now, Topic::Checksum, source) == Some(0)
                && self.counts.checksum_message_only == 1
            {
                let text = format!(
                    "({name}) {source} computes checksums without pseudo header (RFC 9568): accepted"
                );
                say = Some((Level::Info, text));
            }
        }
        if let Some(sentence) = remarks.addresses {
            self.counts.addresses_differ += 1;
            if let Some(left_out) = self.limiter.ask(now, Topic::Addresses, source) {
                let text = format!(
                    "({name}) {sentence} (from {source}: accepted all the same; set virtual_ipaddress alike)"
                );
                say = Some((Level::Warn, text + &more(left_out)));
            }
        }
        say
    }

    fn refuse(&mut self, now: Instant, packet: &Packet, refused: Refused) -> Option<(Level, String)> {
        let Refused { reason, sentence } = refused;
        let source = packet.source;
        self.counts.rejected[reason as usize] += 1;
        // What is sent to others is heard too wherever unicast and multicast routers share an interface: that is said
        // once.
        let said = match reason {
            Rejection::Destination => (self.counts.rejected[reason as usize] == 1).then_some(0),
            _ => self.limiter.ask(now, Topic::Rejected(reason), source),
        };
        let say = said.map(|left_out| {
            let name = &self.router.name;
            let text = format!("({name}) {sentence} (from {source}: {})", reason.meaning());
            (Level::Warn, text + &more(left_out))
        });
        self.counts.last_rejected = Some((now, source, reason, sentence));
        say
    }
}

fn more(left_out: u64) -> String {
    match left_out {
        0 => String::new(),
        n => format!("; {n} more since the last line"),
    }
}

fn source(packet: &Packet) -> Result<(), Refused> {
    let source = packet.source;
    if source.is_unspecified() || source.is_multicast() || source == IpAddr::V4(Ipv4Addr::BROADCAST) {
        let sentence = format!("invalid source address {source}");
        return Err(Refused { reason: Rejection::Source, sentence });
    }
    if packet.options {
        let what = if source.is_ipv6() { "IPv6 extension headers" } else { "IPv4 options" };
        return Err(Refused { reason: Rejection::Options, sentence: format!("packet with {what}") });
    }
    Ok(())
}

fn too_short(packet: &Packet) -> String {
    let (family, header) = if packet.source.is_ipv6() { (6, 0) } else { (4, IPV4_HEADER) };
    format!("IPv{family} VRRP packet too short - {} bytes", header + packet.message.len())
}

/// RFC 9568 section 7.1: the packet contains the complete message.
fn length(packet: &Packet, message: &Message) -> Result<(), Refused> {
    let ipv6 = packet.source.is_ipv6();
    let header = if ipv6 { 0 } else { IPV4_HEADER };
    let (is, must) = (packet.message.len(), message.length(ipv6));
    let (reason, how) = match is.cmp(&must) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => (Rejection::TooShort, "short"),
        std::cmp::Ordering::Greater => (Rejection::TooLong, "long"),
    };
    let sentence = format!("vrrp packet too {how}, length {} and expect {}", header + is, header + must);
    Err(Refused { reason, sentence })
}

/// RFC 9568 section 7.1: it is 255. For a unicast peer that is what it says.
fn ttl(router: &VirtualRouter, packet: &Packet) -> Result<(), Refused> {
    let peer = match &router.peers {
        Peers::Multicast { .. } => None,
        Peers::Unicast { peers, .. } => peers.iter().find(|peer| peer.address == packet.source),
    };
    let (min, max) = peer.map_or((TTL, TTL), |peer| (peer.min_ttl, peer.max_ttl));
    if (min..=max).contains(&packet.ttl) {
        return Ok(());
    }
    let sentence = match (min, max) {
        (TTL, TTL) => format!("invalid TTL/HL. Received {} and expect {TTL}", packet.ttl),
        _ => format!("TTL/HL {} not in range {min} - {max}", packet.ttl),
    };
    Err(Refused { reason: Rejection::Ttl, sentence })
}

/// RFC 2338 section 7.1.
fn authentication(router: &VirtualRouter, message: &Message) -> Result<(), Refused> {
    let (is, must) = match router.password {
        Some(_) => (message.auth_type(), packet::AUTH_PASSWORD),
        None => (message.auth_type(), packet::AUTH_NONE),
    };
    if is > packet::AUTH_AH {
        let sentence = format!("Invalid auth type: {is}");
        return Err(Refused { reason: Rejection::InvalidAuthType, sentence });
    }
    if is != must {
        let sentence = format!("received a {is} auth, expecting {must}!");
        return Err(Refused { reason: Rejection::AuthType, sentence });
    }
    if router.password.is_some() && message.password() != router.password {
        // Neither password is shown: the log is read by more people than the configuration.
        return Err(Refused {
            reason: Rejection::Password,
            sentence: "received an invalid passwd!".to_owned(),
        });
    }
    Ok(())
}

/// RFC 3768 section 7.1: it is ours. In version 3 it may be another, and a Backup takes it over.
fn interval(router: &VirtualRouter, message: &Message) -> Result<(), Refused> {
    let (mine, received) = (router.interval, message.interval());
    let sentence = match router.version {
        Version::V2 if mine != received => {
            format!(
                "advertisement interval mismatch mine={} sec rcv'd={} sec",
                mine.as_secs(),
                received.as_secs()
            )
        }
        Version::V3 if received == Duration::ZERO => "advertisement interval 0".to_owned(),
        _ => return Ok(()),
    };
    Err(Refused { reason: Rejection::Interval, sentence })
}

fn count(router: &VirtualRouter, message: &Message) -> Refused {
    let (is, must) = (message.count(), router.addresses.len());
    let sentence = format!("received an unexpected ip number count {is}, expected {must}!");
    Refused { reason: Rejection::Count, sentence }
}

fn destination(router: &VirtualRouter, packet: &Packet) -> Result<(), Refused> {
    let is = if packet.destination.is_multicast() { "mult" } else { "un" };
    let must = match router.peers {
        Peers::Multicast { .. } => "mult",
        Peers::Unicast { .. } => "un",
    };
    if is == must {
        return Ok(());
    }
    let sentence = format!("Expected {must}icast packet but received {is}icast packet");
    Err(Refused { reason: Rejection::Destination, sentence })
}

/// RFC 9568 section 7.1, RFC 3768 section 7.1: each of our addresses is in it. They may be in any order.
fn addresses(router: &VirtualRouter, message: &Message) -> Result<(), Refused> {
    if usize::from(message.count()) != router.addresses.len() {
        return Err(count(router, message));
    }
    // As a rule they are in the same order.
    let same = message.addresses(router.ipv6).eq(router.addresses.iter().map(|address| address.address));
    if same {
        return Ok(());
    }
    let received: std::collections::HashSet<IpAddr> = message.addresses(router.ipv6).collect();
    let missing = router.addresses.iter().find(|address| !received.contains(&address.address));
    let Some(missing) = missing else { return Ok(()) };
    let sentence = format!(
        "ip address associated with VRID {} not present in MASTER advert: {}",
        router.vrid, missing.address
    );
    Err(Refused { reason: Rejection::Addresses, sentence })
}

//! Virtual routers: addresses that two or more directors hold together (RFC 9568, RFC 3768), and what makes one of them
//! yield.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::notify::Command;

/// Everything about VRRP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vrrp {
    /// The virtual routers (`vrrp_instance`), in the order of the file; names are unique.
    pub routers: Vec<VirtualRouter>,
    /// Virtual routers that fail together (`vrrp_sync_group`); a router is in one at most.
    pub groups: Vec<SyncGroup>,
    /// Programs whose exit status is tracked (`vrrp_script`), named by [`Tracking`].
    pub scripts: Vec<TrackScript>,
    /// Files whose number is tracked (`track_file`).
    pub files: Vec<TrackFile>,
    /// Processes that are counted (`vrrp_track_process`).
    pub processes: Vec<TrackProcess>,
    /// No state but Backup for this long after the start (`vrrp_startup_delay`).
    pub startup_delay: Duration,
    /// Adverts for VRIDs that nobody here has are logged (`log_unknown_vrids`).
    pub log_unknown_vrids: bool,
    /// Pipes that get a line for every change of virtual routers and groups only (`vrrp_notify_fifo`); those of
    /// [`super::Notify`] get them too.
    pub pipes: Vec<super::Pipe>,
    /// How directors tell each other of flows; none: they do not.
    pub sync: Option<FlowSync>,
}

/// A virtual router: addresses, who else has them, and how it is decided who holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualRouter {
    /// Its name in logs, and for commands.
    pub name: String,
    /// What is spoken: version 2 (RFC 3768, IPv4 only) or 3 (RFC 9568).
    pub version: Version,
    /// IPv6 adverts, to ff02::12; else IPv4, to 224.0.0.18. The family of `addresses`, if there are any.
    pub ipv6: bool,
    /// The interface that it lives on. It may be missing at the start: the router waits for it in Fault.
    pub interface: String,
    /// 1..=255. With interface, family and (for unicast) peers it is what tells routers apart.
    pub vrid: u8,
    /// Configured priority, 1..=255; 255: the owner of the addresses.
    pub priority: u8,
    /// `state MASTER`: a hint that this node shall be active. (Its log says so; only priority 255 begins as Active.)
    pub begins_active: bool,
    /// Between two adverts. Version 2: whole seconds 1..=255; 3: 10 ms..=40.95 s in hundredths of a second.
    pub interval: Duration,
    /// Adverts missed until the active router counts as gone, >= 1; 3 in the RFCs (`down_timer_adverts`).
    pub down_timer_adverts: u8,
    /// Password of RFC 2338 (`auth_type PASS`), padded with zeros; version 2 only. No protection: it is sent in clear.
    pub password: Option<[u8; 8]>,
    /// Advertised addresses, in their order; one family; at most 255.
    pub addresses: Vec<VirtualAddress>,
    /// Held and announced, but not advertised; any family (`virtual_ipaddress_excluded`).
    pub excluded: Vec<VirtualAddress>,
    /// Who else has the router.
    pub peers: Peers,
    /// Source of adverts (`unicast_src_ip`, `mcast_src_ip`); none: the interface's primary (or link-local) address.
    pub source: Option<IpAddr>,
    /// It is a fault that the interface has not `source` (`track_src_ip`).
    pub track_source: bool,
    /// Whether a higher priority takes over from an active router of lower priority. False is `nopreempt`.
    pub preempt: bool,
    /// After the start it takes over from a lower priority only after this long.
    pub preempt_delay: Duration,
    /// As Active, hearing a lower priority, it does not answer with an advert at once (`lower_prio_no_advert`).
    pub lower_prio_no_advert: bool,
    /// Yielding to a higher priority it sends one more advert (`higher_prio_send_advert`).
    pub higher_prio_send_advert: bool,
    /// What is held against adverts beyond the RFCs.
    pub checks: AdvertChecks,
    /// How version 3 over IPv4 computes the checksum of what is sent. Either is accepted.
    pub checksum: Checksum,
    /// A virtual MAC address (`use_vmac`); none: the interface's own.
    pub vmac: Option<Vmac>,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub announce: Announce,
    /// What makes it yield.
    pub track: Tracking,
    /// Who is told.
    pub hooks: VrrpHooks,
}

/// Versions of VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// RFC 3768.
    #[default]
    V2,
    /// RFC 9568.
    V3,
}

/// An address that the active router holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length; 32 or 128 unless the configuration says otherwise.
    pub prefix_len: u8,
    /// Where it is put; none: the interface of the router, or its virtual MAC's.
    pub interface: Option<String>,
    /// Broadcast address (`brd`); none: none. IPv4 only.
    pub broadcast: Option<std::net::Ipv4Addr>,
    /// Scope as in `ip address add ... scope`: 0 universe, 200 site, 253 link, 254 host.
    pub scope: u8,
    /// Label as in `ip address add ... label`; at most 15 bytes.
    pub label: Option<String>,
    /// Point-to-point peer address.
    pub peer: Option<IpAddr>,
    /// That it is removed by hand changes nothing (`no_track`): it is added again.
    pub no_track: bool,
}

/// Who else has the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Whoever listens to the group.
    Multicast {
        /// 224.0.0.18 or ff02::12 unless configured (`vrrp_mcast_group4`, `mcast_dst_ip`).
        group: IpAddr,
    },
    /// These, one datagram each.
    Unicast {
        /// In the order of the file; one family with the adverts.
        peers: Vec<Peer>,
        /// TTL or hop limit of what is sent (`unicast_ttl`).
        ttl: u8,
        /// An empty list is a fault (`unicast_fault_no_peer`).
        fault_without: bool,
    },
}

/// A unicast peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Least TTL or hop limit of its adverts that is accepted.
    pub min_ttl: u8,
    /// Greatest one.
    pub max_ttl: u8,
}

/// What is held against adverts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdvertChecks {
    /// The address list of the router that is active already is not compared again (`skip_check_adv_addr`).
    pub skip_known_addresses: bool,
    /// A unicast advert must come from one of the peers (`check_unicast_src`).
    pub unicast_source: bool,
    /// RFC to the letter: another address list is refused, and not only reported (`vrrp_strict`, `strict_mode`).
    pub strict: bool,
}

/// Checksum of version 3 over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// With a pseudo header, as RFC 5798 was read and keepalived does.
    #[default]
    PseudoHeader,
    /// The message alone (RFC 9568 section 5.2.8).
    MessageOnly,
}

/// A virtual MAC address: 00:00:5e:00:01:VRID, 00:00:5e:00:02:VRID for IPv6, on a macvlan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vmac {
    /// Name of the macvlan; none: `vrrp.VRID`, or `vrrp6.VRID` for IPv6.
    pub interface: Option<String>,
    /// Adverts leave by the interface below (`vmac_xmit_base`).
    pub transmit_base: bool,
}

/// How addresses are announced. keepalived's names and defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Announcements of each address at once, on becoming active (`garp_master_repeat`, 5).
    pub repeat: u32,
    /// The same number again after this; zero: not (`garp_master_delay`, 5 s).
    pub delay: Duration,
    /// And ever again; zero: not (`garp_master_refresh`, off).
    pub refresh: Duration,
    /// So many then (`garp_master_refresh_repeat`, 1).
    pub refresh_repeat: u32,
    /// After a lower priority was heard: so many (`garp_lower_prio_repeat`), and again after `lower_delay`.
    pub lower_repeat: u32,
    /// See `lower_repeat`; zero: not again (`garp_lower_prio_delay`).
    pub lower_delay: Duration,
    /// Between two gratuitous ARP on an interface (`garp_interval`).
    pub arp_gap: Duration,
    /// Between two neighbour advertisements on an interface (`gna_interval`).
    pub na_gap: Duration,
    /// Form of gratuitous ARP.
    pub form: GarpForm,
}

/// Form of gratuitous ARP (RFC 5227 section 3; equipment listens to one or the other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GarpForm {
    /// Requests, as keepalived.
    #[default]
    Request,
    /// Replies.
    Reply,
    /// A request, and a reply.
    Both,
}

/// What is watched, and what its failure does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracking {
    /// The router's own interface is not tracked (`dont_track_primary`).
    pub not_own_interface: bool,
    /// Interfaces (`track_interface`).
    pub interfaces: Vec<Tracked>,
    /// Scripts, by the name of a [`TrackScript`].
    pub scripts: Vec<Tracked>,
    /// Files, by the name of a [`TrackFile`].
    pub files: Vec<Tracked>,
    /// Processes, by the name of a [`TrackProcess`].
    pub processes: Vec<Tracked>,
    /// A worker of the dataplane that stands still. Unless configured it is a fault: who cannot forward must not be active.
    pub workers: Effect,
    /// An interface of the director that received nothing for this long; none: not tracked.
    pub receiving: Option<(Duration, Effect)>,
    /// No service has a real server that is up; none: not tracked.
    pub real_servers: Option<Effect>,
}

/// Something watched, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// Name of the interface, script, file or process.
    pub name: String,
    /// What its failure does.
    pub effect: Effect,
}

/// What a failure does to a virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// The router is in Fault as long as it lasts (`weight 0`).
    #[default]
    Fault,
    /// keepalived's weight, -253..=253. Positive: added while all is well; negative: taken off while it is not.
    /// Reversed: taken off instead of added, and added instead of taken off. For files the number in the file is
    /// multiplied by it. `weight 0 reverse` is a fault while all is well; 0 without `reverse` is [`Effect::Fault`].
    Weight {
        /// The weight.
        weight: i16,
        /// `reverse`.
        reverse: bool,
    },
}

/// Programs, mail: who is told of a router's or a group's changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VrrpHooks {
    /// `notify_master`.
    pub active: Option<Command>,
    /// `notify_backup`.
    pub backup: Option<Command>,
    /// `notify_fault`.
    pub fault: Option<Command>,
    /// `notify_stop`; none: `fault` is not run either.
    pub stop: Option<Command>,
    /// `notify`: run for all of them with the arguments `INSTANCE|GROUP NAME MASTER|BACKUP|FAULT|STOP PRIORITY`.
    pub any: Option<Command>,
    /// `notify_master_rx_lower_pri`: as Active, a lower priority was heard.
    pub lower_heard: Option<Command>,
    /// Pipes are told of changes of the priority too (`notify_priority_changes`).
    pub priority_changes: bool,
    /// Mail is sent (`smtp_alert`).
    pub mail: bool,
}

/// Virtual routers that fail together: if one is in Fault all are, if one becomes active all do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// Names of its routers, at least one.
    pub members: Vec<String>,
    /// What is tracked for all members; `not_own_interface` and `workers` have no meaning here.
    pub track: Tracking,
    /// Members may have weights that change their priorities (`sync_group_tracking_weight`). Unless they may, weights of
    /// interfaces and of the dataplane are a fault, weight 1 of a file too, and all others count for nothing (keepalived).
    pub tracking_weight: bool,
    /// Who is told.
    pub hooks: VrrpHooks,
}

/// A program whose exit status says whether all is well: 0 (`vrrp_script`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackScript {
    /// Its name.
    pub name: String,
    /// The program; its `timeout` is that of the run, and none here means `interval`.
    pub command: Command,
    /// From start to start.
    pub interval: Duration,
    /// What its failure does where a router does not say; see [`Tracked`], which has it filled in.
    pub effect: Effect,
    /// Successes in a row until it is well again, >= 1.
    pub rise: u32,
    /// Failures in a row until it is not, >= 1.
    pub fall: u32,
    /// It counts as failed until it has succeeded (`init_fail`).
    pub init_fail: bool,
}

/// A file with a number that is multiplied by a weight (`track_file`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFile {
    /// Its name.
    pub name: String,
    /// Where it is; a file that is missing or has no number counts as 0.
    pub path: PathBuf,
    /// `init_file VALUE [overwrite]`: made at the start with this number; the flag: also if it is there.
    pub init: Option<(i64, bool)>,
}

/// Processes that are counted (`vrrp_track_process`): well is a number in `quorum..=quorum_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackProcess {
    /// Its name.
    pub name: String,
    /// Name of the program: of its file, or of `/proc/PID/comm`.
    pub process: String,
    /// Arguments that it must have; none: any.
    pub arguments: Option<Vec<String>>,
    /// How `arguments` are compared.
    pub matching: ArgumentMatch,
    /// `process` is the whole of `argv[0]`, and not the name of its file alone (`full_command`).
    pub full_command: bool,
    /// Least number, >= 1; 0 where `quorum_max` is 0: none may run.
    pub quorum: u32,
    /// Greatest number; none: any.
    pub quorum_max: Option<u32>,
    /// After a process has begun it is believed after this long.
    pub fork_delay: Duration,
    /// After one has ended that is believed after this long.
    pub terminate_delay: Duration,
}

/// How the arguments of a process are compared (`param_match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArgumentMatch {
    /// All of them, each exactly.
    #[default]
    Exact,
    /// The first ones exactly.
    Initial,
    /// The last one only in its beginning (`partial`).
    Partial,
}

/// How directors tell each other of the flows that a hash cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowSync {
    /// The interface that it is sent on.
    pub interface: String,
    /// Where to: the other directors, or one multicast group.
    pub peers: Vec<IpAddr>,
    /// UDP port, of both ends.
    pub port: u16,
    /// File with the key, which all directors share: 32 bytes as 64 hexadecimal digits; readable by its owner only.
    pub key_file: PathBuf,
    /// Flows a second that are sent at most.
    pub rate: u32,
    /// A director that returns waits this long at most for the flows of the others before it preempts.
    pub wait: Duration,
}

impl Version {
    /// 2 or 3, as on the wire.
    pub fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

impl Vrrp {
    /// Whether a virtual router is on this interface, or tracks it, or has an address there.
    pub fn on(&self, interface: &str) -> bool {
        self.routers.iter().any(|router| {
            let places = router.all_addresses().filter_map(|address| address.interface.as_deref());
            let tracked = router.track.interfaces.iter().map(|tracked| tracked.name.as_str());
            router.interface == interface || places.chain(tracked).any(|name| name == interface)
        })
    }

    /// All addresses that virtual routers hold while they are active.
    pub fn addresses(&self) -> HashSet<IpAddr> {
        self.routers.iter().flat_map(VirtualRouter::all_addresses).map(|address| address.address).collect()
    }
}

impl VirtualRouter {
    /// What makes it the same router in another configuration: its name, interface, family and VRID.
    pub fn identity(&self) -> (&str, &str, bool, u8) {
        (&self.name, &self.interface, self.ipv6, self.vrid)
    }

    /// All addresses that the active router holds: the advertised, then the excluded.
    pub fn all_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.excluded)
    }
}

impl Default for Announce {
    fn default() -> Self {
        Announce {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_repeat: 5,
            lower_delay: Duration::from_secs(5),
            arp_gap: Duration::ZERO,
            na_gap: Duration::ZERO,
            form: GarpForm::Request,
        }
    }
}

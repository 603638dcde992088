//! Keywords of VRRP (vrrp_parser.c).

use super::Block::{
    Authentication, GarpGroup, List, Root, SyncGroup, TrackGroup, TrackProcess, VrrpInstance, VrrpScript,
};
use super::server::BFD;
use super::{Block, Key, MANY, Tier, acts, already, rejected, warns};

const ROOT: &[Block] = &[Root];
const I: &[Block] = &[VrrpInstance];
const G: &[Block] = &[SyncGroup];
const BOTH: &[Block] = &[VrrpInstance, SyncGroup];
const A: &[Block] = &[Authentication];
const S: &[Block] = &[VrrpScript];
const P: &[Block] = &[TrackProcess];

const LINK: &str = "the kernel says when a link is lost";
const ROUTES: &str = "shunt adds no routes: a program named by notify_master can, or the system's network";
const RULES: &str = "shunt adds no rules: a program named by notify_master can, or the system's network";
const BESIDE: &str = "addresses are announced on the interfaces that they are on alone";

pub(super) const KEYS: &[Key] = &[
    acts(ROOT, "vrrp_instance", 1..=1, "VI_1").opens(VrrpInstance).often(),
    acts(ROOT, "vrrp_sync_group", 1..=1, "VG_1").opens(SyncGroup).often(),
    acts(ROOT, "vrrp_script", 1..=1, "chk").opens(VrrpScript).often(),
    acts(ROOT, "vrrp_track_process", 1..=1, "chk").opens(TrackProcess).often(),
    warns(ROOT, "track_group", 1..=1, "TG_1", "there are no static addresses and routes to track").opens(TrackGroup).often(),
    acts(ROOT, "garp_group", 0..=0, "").opens(GarpGroup).often(),
    warns(
        ROOT,
        "interface_up_down_delays",
        0..=0,
        "",
        "an interface is down, and up again, as soon as the kernel says so; preempt_delay keeps a flapping link from \
         moving addresses",
    ).opens(List),
    warns(
        ROOT,
        "static_ipaddress",
        0..=0,
        "",
        "shunt adds no addresses but its VIPs: configure them with the system's network",
    )
    .opens(List)
    .often(),
    warns(ROOT, "static_routes", 0..=0, "", "shunt adds no routes: configure them with the system's network")
        .opens(List)
        .often(),
    warns(ROOT, "static_rules", 0..=0, "", "shunt adds no rules: configure them with the system's network")
        .opens(List)
        .often(),
    // vrrp_instance
    acts(I, "state", 1..=1, "MASTER"),
    acts(I, "interface", 1..=1, "eth0"),
    acts(I, "virtual_router_id", 1..=1, "51"),
    acts(I, "priority", 1..=1, "150"),
    acts(I, "advert_int", 1..=1, "2"),
    acts(I, "version", 1..=1, "3"),
    acts(I, "nopreempt", 0..=0, ""),
    already(I, "preempt", 0..=0, "", "a higher priority takes over unless nopreempt says otherwise").means("nopreempt"),
    acts(I, "preempt_delay", 1..=1, "5"),
    acts(I, "authentication", 0..=0, "").opens(Authentication),
    acts(I, "virtual_ipaddress", 0..=0, "").opens(List).often(),
    acts(I, "virtual_ipaddress_excluded", 0..=0, "").opens(List).often(),
    warns(I, "virtual_routes", 0..=0, "", ROUTES).opens(List).often(),
    warns(I, "virtual_rules", 0..=0, "", RULES).opens(List).often(),
    acts(I, "unicast_src_ip", 1..=1, "198.18.0.2"),
    acts(I, "unicast_peer", 0..=0, "").opens(List).often(),
    acts(I, "unicast_ttl", 1..=1, "64"),
    acts(I, "unicast_fault_no_peer", 0..=0, ""),
    acts(I, "mcast_src_ip", 1..=1, "198.18.0.2"),
    acts(I, "mcast_dst_ip", 1..=1, "224.0.0.19"),
    acts(I, "track_src_ip", 0..=0, ""),
    acts(I, "check_unicast_src", 0..=0, ""),
    warns(
        I,
        "old_unicast_checksum",
        0..=1,
        "never",
        "checksums are those of keepalived since 1.3.6; an older peer over VRRP version 3 is not understood",
    ),
    already(I, "native_ipv6", 0..=0, "", "the family of the first address says so"),
    warns(I, "vrf", 1..=1, "red", "an instance is on its interface, whatever VRF that is in"),
    acts(I, "use_vmac", 0..=2, ""),
    warns(
        I,
        "use_vmac_addr",
        0..=0,
        "",
        "an address with a `dev` of its own is put on that interface, and has its MAC address",
    ),
    acts(I, "vmac_xmit_base", 0..=0, ""),
    rejected(
        I,
        "use_ipvlan",
        0..=3,
        "",
        "the interfaces of a director are not shared with ipvlans",
        "take it out: VIPs are held on the interface itself",
    ),
    acts(I, "dont_track_primary", 0..=0, ""),
    warns(
        I,
        "promote_secondaries",
        0..=0,
        "",
        "the setting of the kernel is left as it is (net.ipv4.conf.IFACE.promote_secondaries)",
    ),
    warns(I, "linkbeat_use_polling", 0..=0, "", LINK),
    already(I, "accept", 0..=0, "", "packets to the address that are for no service reach this machine"),
    warns(
        I,
        "no_accept",
        0..=0,
        "",
        "shunt makes no firewall rules: packets to the address that are for no service reach this machine",
    )
    .means("accept"),
    acts(I, "skip_check_adv_addr", 0..=1, ""),
    acts(I, "strict_mode", 0..=1, ""),
    // Since keepalived 2.2.8.
    acts(I, "v3_checksum_as_v2", 0..=1, ""),
    warns(I, "debug", 1..=1, "0", "`shunt show vrrp` and the log say what happens"),
    warns(
        I,
        "notify_deleted",
        0..=MANY,
        "",
        "an instance that a reload takes out is told of as stopped: notify_stop",
    ),
    acts(I, "notify_master_rx_lower_pri", 1..=MANY, "/bin/true"),
    Key {
        tier: Tier::Deprecated("lvs_sync_daemon"),
        ..acts(I, "lvs_sync_daemon_interface", 1..=1, "eth0")
    },
    acts(I, "garp_master_delay", 1..=1, "10"),
    acts(I, "garp_master_refresh", 1..=1, "60"),
    acts(I, "garp_master_repeat", 1..=1, "3"),
    acts(I, "garp_master_refresh_repeat", 1..=1, "2"),
    acts(I, "garp_lower_prio_delay", 1..=1, "10"),
    acts(I, "garp_lower_prio_repeat", 1..=1, "3"),
    acts(I, "down_timer_adverts", 1..=1, "4"),
    warns(I, "garp_extra_if", 1..=2, "100", BESIDE),
    warns(I, "vmac_garp_intvl", 1..=2, "100", BESIDE),
    acts(I, "lower_prio_no_advert", 0..=1, ""),
    acts(I, "higher_prio_send_advert", 0..=1, ""),
    warns(I, "kernel_rx_buf_size", 1..=1, "65536", "shunt sets the size of its buffers itself"),
    // Of instances and of groups of them.
    acts(BOTH, "track_interface", 0..=0, "").opens(List).often(),
    acts(BOTH, "track_script", 0..=0, "").opens(List).often(),
    acts(BOTH, "track_file", 0..=0, "").opens(List).often(),
    acts(BOTH, "track_process", 0..=0, "").opens(List).often(),
    rejected(
        BOTH,
        "track_bfd",
        0..=0,
        "",
        "shunt has no BFD, and what is not watched would never fail",
        BFD.1,
    ).opens(List).often(),
    acts(BOTH, "notify_backup", 1..=MANY, "/bin/true"),
    acts(BOTH, "notify_master", 1..=MANY, "/bin/true"),
    acts(BOTH, "notify_fault", 1..=MANY, "/bin/true"),
    acts(BOTH, "notify_stop", 1..=MANY, "/bin/true"),
    acts(BOTH, "notify", 1..=MANY, "/bin/true"),
    acts(BOTH, "notify_priority_changes", 0..=1, ""),
    acts(BOTH, "smtp_alert", 0..=1, ""),
    acts(G, "group", 0..=0, "").opens(List),
    Key {
        tier: Tier::Deprecated("sync_group_tracking_weight"),
        ..acts(G, "global_tracking", 0..=0, "")
    }
    .means("sync_group_tracking_weight"),
    acts(G, "sync_group_tracking_weight", 0..=0, ""),
    acts(A, "auth_type", 1..=1, "PASS"),
    acts(A, "auth_pass", 1..=1, "1111"),
    // vrrp_script
    acts(S, "script", 1..=MANY, "\"/usr/bin/pidof haproxy\""),
    acts(S, "interval", 1..=1, "2"),
    acts(S, "timeout", 1..=1, "3"),
    acts(S, "weight", 1..=2, "-10"),
    acts(S, "rise", 1..=1, "2"),
    acts(S, "fall", 1..=1, "2"),
    acts(S, "user", 1..=2, "nobody"),
    acts(S, "init_fail", 0..=0, ""),
    // vrrp_track_process
    acts(P, "process", 1..=MANY, "haproxy"),
    acts(P, "param_match", 1..=1, "initial"),
    acts(P, "weight", 1..=2, "10"),
    acts(P, "quorum", 1..=1, "2"),
    acts(P, "quorum_max", 1..=1, "3"),
    acts(P, "delay", 1..=1, "1"),
    acts(P, "terminate_delay", 1..=1, "1"),
    acts(P, "fork_delay", 1..=1, "1"),
    acts(P, "full_command", 0..=0, ""),
    // The others.
    already(&[TrackGroup], "group", 0..=0, "", "the group it is in does nothing").opens(List),
    acts(&[GarpGroup], "garp_interval", 1..=1, "0.1"),
    acts(&[GarpGroup], "gna_interval", 1..=1, "0.1"),
    acts(&[GarpGroup], "interface", 1..=1, "eth5"),
    acts(&[GarpGroup], "interfaces", 0..=0, "").opens(List),
];

//! Keywords of VRRP (vrrp_parser.c). This version runs none of it: the blocks warn, and what is in them is checked.

use super::Block::{
    Authentication, GarpGroup, List, Root, SyncGroup, TrackGroup, TrackProcess, VrrpInstance, VrrpScript,
};
use super::{Block, Key, MANY, rejected, vrrp, warns};

const ROOT: &[Block] = &[Root];
const I: &[Block] = &[VrrpInstance];
const G: &[Block] = &[SyncGroup];
const BOTH: &[Block] = &[VrrpInstance, SyncGroup];
const A: &[Block] = &[Authentication];
const S: &[Block] = &[VrrpScript];
const P: &[Block] = &[TrackProcess];

const NONE: &str = "this version of shunt runs no VRRP";

pub(super) const KEYS: &[Key] = &[
    vrrp(ROOT, "vrrp_instance", 1..=1, "VI_1").opens(VrrpInstance).often(),
    warns(ROOT, "vrrp_sync_group", 1..=1, "VG_1", NONE).opens(SyncGroup).often(),
    warns(ROOT, "vrrp_script", 1..=1, "chk", NONE).opens(VrrpScript).often(),
    warns(ROOT, "vrrp_track_process", 1..=1, "chk", NONE).opens(TrackProcess).often(),
    warns(ROOT, "track_group", 1..=1, "TG_1", NONE).opens(TrackGroup).often(),
    warns(ROOT, "garp_group", 0..=0, "", NONE).opens(GarpGroup).often(),
    warns(ROOT, "interface_up_down_delays", 0..=0, "", NONE).opens(List),
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
    vrrp(I, "state", 1..=1, "BACKUP"),
    vrrp(I, "interface", 1..=1, "eth0"),
    vrrp(I, "virtual_router_id", 1..=1, "51"),
    vrrp(I, "priority", 1..=1, "100"),
    vrrp(I, "advert_int", 1..=1, "1"),
    vrrp(I, "version", 1..=1, "2"),
    vrrp(I, "nopreempt", 0..=0, ""),
    vrrp(I, "preempt", 0..=0, "").means("nopreempt"),
    vrrp(I, "preempt_delay", 1..=1, "5"),
    vrrp(I, "authentication", 0..=0, "").opens(Authentication),
    vrrp(I, "virtual_ipaddress", 0..=0, "").opens(List).often(),
    vrrp(I, "virtual_ipaddress_excluded", 0..=0, "").opens(List).often(),
    vrrp(I, "virtual_routes", 0..=0, "").opens(List).often(),
    vrrp(I, "virtual_rules", 0..=0, "").opens(List).often(),
    vrrp(I, "unicast_src_ip", 1..=1, "198.18.0.2"),
    vrrp(I, "unicast_peer", 0..=0, "").opens(List).often(),
    vrrp(I, "unicast_ttl", 1..=1, "255"),
    vrrp(I, "unicast_fault_no_peer", 0..=0, ""),
    vrrp(I, "mcast_src_ip", 1..=1, "198.18.0.2"),
    vrrp(I, "mcast_dst_ip", 1..=1, "224.0.0.18"),
    vrrp(I, "track_src_ip", 0..=0, ""),
    vrrp(I, "check_unicast_src", 0..=0, ""),
    vrrp(I, "old_unicast_checksum", 0..=1, "never"),
    vrrp(I, "native_ipv6", 0..=0, ""),
    vrrp(I, "vrf", 1..=1, "red"),
    vrrp(I, "use_vmac", 0..=2, ""),
    vrrp(I, "use_vmac_addr", 0..=0, ""),
    vrrp(I, "vmac_xmit_base", 0..=0, ""),
    rejected(
        I,
        "use_ipvlan",
        0..=3,
        "",
        "the interfaces of a director are not shared with ipvlans",
        "take it out: VIPs are held on the interface itself",
    ),
    vrrp(I, "dont_track_primary", 0..=0, ""),
    vrrp(I, "promote_secondaries", 0..=0, ""),
    vrrp(I, "linkbeat_use_polling", 0..=0, ""),
    vrrp(I, "accept", 0..=0, ""),
    vrrp(I, "no_accept", 0..=0, "").means("accept"),
    vrrp(I, "skip_check_adv_addr", 0..=1, ""),
    vrrp(I, "strict_mode", 0..=1, "off"),
    vrrp(I, "debug", 1..=1, "0"),
    vrrp(I, "notify_deleted", 0..=1, ""),
    vrrp(I, "notify_master_rx_lower_pri", 1..=MANY, "/bin/true"),
    vrrp(I, "lvs_sync_daemon_interface", 1..=1, "eth0"),
    vrrp(I, "garp_master_delay", 1..=1, "5"),
    vrrp(I, "garp_master_refresh", 1..=1, "60"),
    vrrp(I, "garp_master_repeat", 1..=1, "5"),
    vrrp(I, "garp_master_refresh_repeat", 1..=1, "2"),
    vrrp(I, "garp_lower_prio_delay", 1..=1, "5"),
    vrrp(I, "garp_lower_prio_repeat", 1..=1, "5"),
    vrrp(I, "down_timer_adverts", 1..=1, "3"),
    vrrp(I, "garp_extra_if", 1..=2, "100"),
    vrrp(I, "vmac_garp_intvl", 1..=2, "100"),
    vrrp(I, "lower_prio_no_advert", 0..=1, ""),
    vrrp(I, "higher_prio_send_advert", 0..=1, ""),
    vrrp(I, "kernel_rx_buf_size", 1..=1, "65536"),
    // Of instances and of groups of them.
    vrrp(BOTH, "track_interface", 0..=0, "").opens(List).often(),
    vrrp(BOTH, "track_script", 0..=0, "").opens(List).often(),
    vrrp(BOTH, "track_file", 0..=0, "").opens(List).often(),
    vrrp(BOTH, "track_process", 0..=0, "").opens(List).often(),
    vrrp(BOTH, "track_bfd", 0..=0, "").opens(List).often(),
    vrrp(BOTH, "notify_backup", 1..=MANY, "/bin/true"),
    vrrp(BOTH, "notify_master", 1..=MANY, "/bin/true"),
    vrrp(BOTH, "notify_fault", 1..=MANY, "/bin/true"),
    vrrp(BOTH, "notify_stop", 1..=MANY, "/bin/true"),
    vrrp(BOTH, "notify", 1..=MANY, "/bin/true"),
    vrrp(BOTH, "notify_priority_changes", 0..=1, ""),
    vrrp(BOTH, "smtp_alert", 0..=1, ""),
    vrrp(G, "group", 0..=0, "").opens(List),
    vrrp(G, "global_tracking", 0..=0, ""),
    vrrp(G, "sync_group_tracking_weight", 0..=0, ""),
    vrrp(A, "auth_type", 1..=1, "PASS"),
    vrrp(A, "auth_pass", 1..=1, "1111"),
    // vrrp_script
    vrrp(S, "script", 1..=MANY, "\"/usr/bin/pidof haproxy\""),
    vrrp(S, "interval", 1..=1, "2"),
    vrrp(S, "timeout", 1..=1, "2"),
    vrrp(S, "weight", 1..=2, "-10"),
    vrrp(S, "rise", 1..=1, "2"),
    vrrp(S, "fall", 1..=1, "2"),
    vrrp(S, "user", 1..=2, "nobody"),
    vrrp(S, "init_fail", 0..=0, ""),
    // vrrp_track_process
    vrrp(P, "process", 1..=MANY, "haproxy"),
    vrrp(P, "param_match", 1..=1, "initial"),
    vrrp(P, "weight", 1..=2, "10"),
    vrrp(P, "quorum", 1..=1, "1"),
    vrrp(P, "quorum_max", 1..=1, "3"),
    vrrp(P, "delay", 1..=1, "1"),
    vrrp(P, "terminate_delay", 1..=1, "1"),
    vrrp(P, "fork_delay", 1..=1, "1"),
    vrrp(P, "full_command", 0..=0, ""),
    // The others.
    vrrp(&[TrackGroup], "group", 0..=0, "").opens(List),
    vrrp(&[GarpGroup], "garp_interval", 1..=1, "0.1"),
    vrrp(&[GarpGroup], "gna_interval", 1..=1, "0.1"),
    vrrp(&[GarpGroup], "interface", 1..=1, "eth0"),
    vrrp(&[GarpGroup], "interfaces", 0..=0, "").opens(List),
];

//! Keywords of virtual servers and real servers (check_parser.c), of `SSL` and of `track_file`.

use super::Block::{List, RealServer, Root, Ssl, TrackFile, VirtualServer};
use super::{Block, Key, MANY, Tier, acts, already, rejected, warns};

const ROOT: &[Block] = &[Root];
const V: &[Block] = &[VirtualServer];
const R: &[Block] = &[RealServer];
const BOTH: &[Block] = &[VirtualServer, RealServer];
const T: &[Block] = &[TrackFile];
const S: &[Block] = &[Ssl];

const SNMP: &str = "shunt has no SNMP agent";
const CLIENT: &str = "checks show no certificate of their own: a server that asks for one refuses them";

pub(super) const KEYS: &[Key] = &[
    acts(ROOT, "virtual_server", 1..=2, "198.18.0.100 80").opens(VirtualServer).often(),
    acts(ROOT, "virtual_server_group", 1..=1, "web").opens(List).often(),
    // How flows are scheduled.
    acts(V, "lb_algo", 1..=1, "rr"),
    acts(V, "lvs_sched", 1..=1, "rr").means("lb_algo"),
    acts(V, "lb_kind", 1..=MANY, "DR"),
    acts(V, "lvs_method", 1..=MANY, "DR").means("lb_kind"),
    acts(V, "protocol", 1..=1, "TCP"),
    already(V, "ip_family", 1..=1, "inet", "the address says so"),
    warns(V, "hashed", 0..=0, "", "IPVS keeps this flag for itself, and it has no meaning"),
    acts(V, "ops", 0..=0, ""),
    acts(V, "flag-1", 0..=0, ""),
    acts(V, "flag-2", 0..=0, ""),
    warns(V, "flag-3", 0..=0, "", "no scheduler knows it"),
    acts(V, "sh-port", 0..=0, ""),
    acts(V, "sh-fallback", 0..=0, ""),
    acts(V, "mh-port", 0..=0, ""),
    acts(V, "mh-fallback", 0..=0, ""),
    acts(V, "persistence_timeout", 0..=1, "50"),
    acts(V, "persistence_granularity", 1..=1, "255.255.255.0"),
    rejected(
        V,
        "persistence_engine",
        1..=1,
        "sip",
        "persistence by what is in a packet (SIP) is not there",
        "take it out: then a client is told by its address",
    ),
    // When it has enough real servers.
    acts(V, "quorum", 1..=1, "2"),
    acts(V, "hysteresis", 1..=1, "1"),
    acts(V, "quorum_up", 1..=MANY, "/bin/true"),
    acts(V, "quorum_down", 1..=MANY, "/bin/true"),
    acts(V, "omega", 0..=0, ""),
    acts(V, "sorry_server", 1..=2, "198.18.0.99 80"),
    acts(V, "sorry_server_inhibit", 0..=0, ""),
    already(V, "sorry_server_lvs_method", 1..=MANY, "DR", "every server is reached by direct routing"),
    warns(
        V,
        "ha_suspend",
        0..=0,
        "",
        "the checks of a director run also while another one has the VIP, so that it knows its real servers when it takes over",
    ),
    // Of both.
    acts(BOTH, "delay_loop", 1..=1, "7"),
    acts(BOTH, "retry", 1..=1, "2"),
    acts(BOTH, "delay_before_retry", 1..=1, "2.5"),
    acts(BOTH, "warmup", 1..=1, "4"),
    acts(BOTH, "connect_timeout", 1..=1, "1.5"),
    acts(BOTH, "inhibit_on_failure", 0..=1, ""),
    acts(BOTH, "alpha", 0..=1, ""),
    acts(BOTH, "weight", 1..=1, "5"),
    acts(V, "smtp_alert", 0..=1, ""),
    acts(R, "smtp_alert", 0..=1, "off"),
    acts(BOTH, "virtualhost", 1..=1, "www.example.com"),
    warns(BOTH, "snmp_name", 1..=1, "web", SNMP),
    // Of real servers.
    acts(V, "real_server", 1..=2, "198.18.0.12 80").opens(RealServer).often(),
    already(R, "lvs_method", 1..=MANY, "DR", "every server is reached by direct routing"),
    acts(R, "uthreshold", 1..=1, "100"),
    acts(R, "lthreshold", 1..=1, "50"),
    acts(R, "notify_up", 1..=MANY, "/bin/true"),
    acts(R, "notify_down", 1..=MANY, "/bin/true"),
    // Beside them.
    acts(T, "file", 1..=1, "/run/load"),
    acts(T, "weight", 1..=2, "3"),
    acts(T, "init_file", 0..=2, ""),
    warns(S, "password", 1..=1, "secret", CLIENT),
    warns(
        S,
        "ca",
        1..=1,
        "/etc/ssl/ca.pem",
        "certificates are not verified, as in keepalived, which reads this file and then asks nobody about it; the check of a \
         native configuration can verify",
    ),
    warns(S, "certificate", 1..=1, "/etc/ssl/client.pem", CLIENT),
    warns(S, "key", 1..=1, "/etc/ssl/client.key", CLIENT),
    Key { tier: Tier::Rejected(BFD.0, BFD.1), ..acts(ROOT, "bfd_instance", 1..=1, "b") }.opens(List).often(),
];

/// Why there is no BFD.
pub(super) const BFD: (&str, &str) = (
    "shunt has no BFD, and a check that is not made would leave its server up for ever",
    "take it out; a PING_CHECK or a TCP_CHECK with a short delay_loop comes closest",
);

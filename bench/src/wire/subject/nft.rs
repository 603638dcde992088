//! nftables in the netdev hook: the DSR that a kernel without IPVS can do. It hashes and writes the MAC address, and
//! neither decrements the TTL nor remembers a flow.

use crate::wire::bed::{Bed, DIRECTOR_MAC, INTERFACE, REAL_SERVERS, mac, real_server_mac};
use crate::wire::subject::InKernel;

/// Lays the rules.
#[track_caller]
pub fn start(bed: &Bed) -> InKernel {
    let map: Vec<String> = (0..REAL_SERVERS).map(|n| format!("{n} : {}", mac(real_server_mac(n)))).collect();
    let rules = format!(
        "table netdev director {{\n\
         chain ingress {{\n\
         type filter hook ingress device {INTERFACE} priority 0;\n\
         ip daddr 192.0.2.10 udp dport 80 ether saddr set {own} \
         ether daddr set jhash ip saddr . udp sport mod {REAL_SERVERS} map {{ {map} }} fwd to {INTERFACE}\n\
         }}\n}}\n",
        own = mac(DIRECTOR_MAC),
        map = map.join(", "),
    );
    bed.director().feed("nft", &["-f", "-"], &rules);
    bed.thread_softirq(true);
    InKernel
}

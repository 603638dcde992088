//! The kernel's bridge: what a switch in software costs. One port in hairpin mode, so that a frame leaves by the port
//! it came in on.

use crate::wire::bed::{Bed, INTERFACE, mac, real_server_mac};
use crate::wire::subject::InKernel;

/// Builds the bridge.
#[track_caller]
pub fn start(bed: &Bed) -> InKernel {
    let director = bed.director();
    director.ip(&format!(
        "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
         link set {INTERFACE} master br0\nlink set br0 up\n"
    ));
    director.run("bridge", &["link", "set", "dev", INTERFACE, "hairpin", "on", "learning", "off"]);
    director.run("bridge", &["fdb", "add", &mac(real_server_mac(0)), "dev", INTERFACE, "master", "static"]);
    bed.thread_softirq(true);
    InKernel
}

//! `[director]`.

use super::{Key, Kind, duration, key};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("director", Kind::Table, "[director]", &["global", "global_defs", "shunt"]).required()
        .about("The machine that directs."),
    key("director.interfaces", Kind::Texts, "interfaces = [\"eth0\"]", &["interface", "iface", "device", "nic"])
        .required().about("Interfaces that frames of clients come in on; \"auto\": those that the routes to the real servers lead to."),
    key("director.cores", Kind::Integers, "cores = [1]", &["core", "cpus", "cpu"]).range(0, 8191)
        .about("Core of worker 0, of worker 1, ...; none: the last core downwards."),
    key("director.flows_per_worker", Kind::Integer, "flows_per_worker = 1048576", &["flows", "conn_tab_size"])
        .range(1, 1 << 28).about("IPv4 flows that each worker remembers."),
    key("director.flows_per_worker_ipv6", Kind::Integer, "flows_per_worker_ipv6 = 1048576", &["flows_ipv6"])
        .range(1, 1 << 28).about("IPv6 flows that each worker remembers."),
    key("director.frames_per_queue", Kind::Integer, "frames_per_queue = 4096", &["frames", "ring_size"])
        .range(256, 65536).about("Frames of memory for each queue, a power of two."),
    key("director.hash_key", Kind::Text, "hash_key = \"000102030405060708090a0b0c0d0e0f\"", &["key", "seed"])
        .pattern("^[0-9A-Fa-f]{32}$").about("Key of the scheduling hash; the same on every director of a cluster."),
    key("director.idle", Kind::Text, "idle = \"adaptive\"", &["busy_poll"]).words(&["adaptive", "spin"])
        .about("What a worker does when no frame comes."),
    key("director.worker_failure", Kind::Text, "worker_failure = \"exit\"", &["on_worker_failure", "worker_restart", "watchdog"])
        .words(&["exit", "restart"]).about("What becomes of the director when a worker dies; one that hangs ends it in any case."),
    key("director.icmp_rate", Kind::Integer, "icmp_rate = 1000", &["icmp_ratelimit"]).range(0, 10_000_000)
        .about("ICMP errors a second that the director itself sends at most; 0: none."),
    key("director.reset_rate", Kind::Integer, "reset_rate = 10000", &["rst_rate"]).range(0, 10_000_000)
        .about("TCP resets a second that the director itself sends at most; 0: none."),
    key("director.metrics", Kind::Text, "metrics = \"127.0.0.1:9877\"", &["prometheus", "metrics_address", "exporter"])
        .about("Address and port at which metrics are served over HTTP, for Prometheus; not served unless given."),
    key("director.socket_group", Kind::Text, "socket_group = \"shunt\"", &["group", "readers", "socket_mode", "admin_group"])
        .about("Group whose members may read by the control socket, by name or number; nobody's unless given."),
    key("director.timeouts", Kind::Table, "[director.timeouts]", &["timeout"])
        .about("How long silent flows are remembered, unless a service says otherwise."),
    duration("director.timeouts.syn", "syn = \"60s\"", &["syn_recv", "syn_received", "handshake"])
        .about("TCP: the client's SYN was seen, and nothing after it."),
    duration("director.timeouts.established", "established = \"900s\"", &["tcp"])
        .about("TCP: the handshake is complete."),
    duration("director.timeouts.fin", "fin = \"120s\"", &["tcpfin", "tcp_fin", "fin_wait", "time_wait"])
        .about("TCP: a FIN was seen."),
    duration("director.timeouts.closed", "closed = \"10s\"", &["close", "rst"]).about("TCP: a RST was seen."),
    duration("director.timeouts.udp", "udp = \"300s\"", &[]).about("UDP."),
    duration("director.timeouts.sctp", "sctp = \"900s\"", &[]).about("SCTP."),
];

//! `[[service]]` and what stands below it, but for its checks.

use super::{Key, Kind, duration, key, share};

const SCHEDULERS: &[&str] = &[
    "maglev", "rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "fo", "ovf", "lblc", "lblcr", "twos",
];

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("service", Kind::Tables, "[[service]]", &["services", "virtual_server", "virtual_service"])
        .about("A virtual service: what clients connect to."),
    key("service.vip", Kind::Text, "vip = \"192.0.2.10\"", &["address", "virtual_ip", "virtual_ipaddress"]).required()
        .about("The virtual address."),
    key("service.port", Kind::IntegerOrText, "port = 80", &["dport", "dst_port", "ports"]).required()
        .range(1, 65535).pattern("^(any|[0-9]+ *- *[0-9]+)$")
        .about("The port that clients connect to, a range (\"8000-8100\") or \"any\"."),
    key("service.protocol", Kind::Text, "protocol = \"tcp\"", &["proto"]).required().words(&["tcp", "udp", "sctp"])
        .about("Transport protocol."),
    key("service.scheduler", Kind::Text, "scheduler = \"maglev\"", &["lb_algo", "lvs_sched", "algorithm", "sched"])
        .words(SCHEDULERS).about("Who gets a new flow."),
    key("service.scheduler_flags", Kind::Texts, "scheduler_flags = [\"sh-port\"]", &["flags", "sched_flags"])
        .words(&["sh-port", "sh-fallback", "mh-port", "mh-fallback"])
        .about("What the schedulers sh and mh do in addition."),
    duration("service.persistence", "persistence = \"300s\"", &["persistence_timeout", "persistent", "sticky"])
        .about("A client keeps its real server for this long after its last flow."),
    key("service.persistence_prefix", Kind::IntegerOrText, "persistence_prefix = 24",
        &["persistence_granularity", "netmask", "granularity", "persistence_mask"]).range(1, 128)
        .about("Leading bits, or a netmask, of the addresses that count as one client."),
    key("service.one_packet", Kind::Boolean, "one_packet = true", &["ops"])
        .about("UDP: each datagram is scheduled for itself, and nothing is remembered."),
    key("service.on_failure", Kind::Text, "on_failure = \"reset\"", &[]).words(&["reset", "rehash", "keep"])
        .about("What becomes of the TCP flows of a real server that failed."),
    key("service.no_real", Kind::Text, "no_real = \"icmp\"", &[]).words(&["icmp", "reset", "drop"])
        .about("What a client is told that no real server takes."),
    key("service.strict", Kind::Boolean, "strict = false", &["sloppy_tcp"])
        .about("TCP: what belongs to no known flow and is no SYN is answered by a RST."),
    key("service.ttl", Kind::Text, "ttl = \"decrement\"", &["hop_limit"]).words(&["decrement", "keep"])
        .about("What becomes of TTL and hop limit."),
    share("service.table_share", "table_share = \"50%\"", &["share"])
        .about("Share of each worker's flow table that the flows of this service may take."),
    duration("service.slow_start", "slow_start = \"60s\"", &["slowstart", "warmup"])
        .about("A real server that comes back gets its weight in ten steps over this time."),
    key("service.inhibit_on_failure", Kind::Boolean, "inhibit_on_failure = true", &["inhibit"])
        .about("What its real servers do that do not say it themselves: one that fails keeps its flows, and gets no new ones."),
    key("service.vip_check", Kind::BooleanOrText, "vip_check = \"report\"", &["check_vip", "dsr_check"]).words(&["report"])
        .about("Checks through the VIP: they decide with the others (true), are only shown (\"report\"), or are not made (false)."),
    key("service.quorum", Kind::Integer, "quorum = 2", &["minimum", "min_reals"]).range(1, u32::MAX as i64)
        .about("Sum of the weights of live real servers that is enough."),
    key("service.hysteresis", Kind::Integer, "hysteresis = 1", &[]).range(0, u32::MAX as i64)
        .about("The quorum is lost below quorum - hysteresis, and gained from quorum + hysteresis."),
    key("service.quorum_up", Kind::Command, "quorum_up = \"/usr/local/bin/up.sh\"", &["notify_up"])
        .about("Run when the quorum is gained."),
    key("service.quorum_down", Kind::Command, "quorum_down = \"/usr/local/bin/down.sh\"", &["notify_down"])
        .about("Run when the quorum is lost."),
    key("service.mail", Kind::Boolean, "mail = true", &["smtp_alert", "email"])
        .about("Mail is sent when the quorum is gained and lost."),
    key("service.omega", Kind::Boolean, "omega = true", &[])
        .about("When shunt ends, whoever is told of the service and its real servers is told that they are down."),
    key("service.group", Kind::Text, "group = \"web\"", &["virtual_server_group"])
        .about("Services of one group are one to whoever is told of them."),
    key("service.timeouts", Kind::Table, "[service.timeouts]", &["timeout"])
        .about("How long silent flows of this service are remembered."),
    duration("service.timeouts.syn", "syn = \"60s\"", &["syn_recv", "syn_received", "handshake"])
        .about("TCP: the client's SYN was seen, and nothing after it."),
    duration("service.timeouts.established", "established = \"900s\"", &["tcp"])
        .about("TCP: the handshake is complete."),
    duration("service.timeouts.fin", "fin = \"120s\"", &["tcpfin", "tcp_fin", "fin_wait", "time_wait"])
        .about("TCP: a FIN was seen."),
    duration("service.timeouts.closed", "closed = \"10s\"", &["close", "rst"]).about("TCP: a RST was seen."),
    duration("service.timeouts.udp", "udp = \"300s\"", &[]).about("UDP."),
    duration("service.timeouts.sctp", "sctp = \"900s\"", &[]).about("SCTP."),
    key("service.check", Kind::TableOrTables, "[service.check]",
        &["health", "health_check", "healthcheck", "TCP_CHECK", "HTTP_GET", "SSL_GET", "MISC_CHECK"])
        .about("How its real servers are probed; one is up while all its checks succeed."),
    key("service.passive", Kind::Table, "[service.passive]", &["outlier_detection", "passive_check"])
        .about("Takes a real server out that fails for its clients."),
    share("service.passive.failures", "failures = \"50%\"", &["threshold"])
        .about("Share of handshakes that are retransmitted or reset, not completed."),
    duration("service.passive.window", "window = \"10s\"", &["interval"])
        .about("The handshakes of this last stretch of time count."),
    key("service.passive.minimum", Kind::Integer, "minimum = 20", &["request_volume", "min"]).range(1, 1_000_000)
        .about("Fewer handshakes than this in a window say nothing."),
    duration("service.passive.hold", "hold = \"30s\"", &["ejection_time", "hold_time"])
        .about("How long a real server stays out before clients try it again."),
    key("service.real", Kind::Tables, "[[service.real]]", &["reals", "real_server", "backend", "server", "upstream"])
        .about("A real server: a machine that answers."),
    key("service.real.address", Kind::Text, "address = \"192.0.2.21\"", &["ip", "rip", "host", "server"]).required()
        .about("Its own address, on a network that the director is on."),
    key("service.real.weight", Kind::Integer, "weight = 1", &[]).range(0, 65535)
        .about("Its share of new flows; 0 drains it."),
    key("service.real.upper", Kind::Integer, "upper = 1000", &["uthreshold", "upper_threshold", "maxconn", "max_conn"])
        .range(0, u32::MAX as i64).about("From this many flows on it takes no new ones; 0: no limit."),
    key("service.real.lower", Kind::Integer, "lower = 750", &["lthreshold", "lower_threshold", "minconn"])
        .range(0, u32::MAX as i64).about("Below this many it takes new ones again; 0: three quarters of upper."),
    key("service.real.vlan", Kind::IntegerOrText, "vlan = 100", &["vlan_id", "vid"]).range(1, 4094).words(&["keep", "none"])
        .about("VLAN tags of its frames."),
    key("service.real.mac", Kind::Text, "mac = \"02:00:00:00:00:21\"", &["lladdr", "mac_address"])
        .about("Its MAC address: nobody is asked for it."),
    key("service.real.interface", Kind::Text, "interface = \"eth0\"", &["iface", "device", "dev"])
        .about("The interface that leads to it."),
    key("service.real.mtu", Kind::Integer, "mtu = 1400", &[]).range(576, 9000).about("Longest IP packet that reaches it."),
    key("service.real.inhibit_on_failure", Kind::Boolean, "inhibit_on_failure = true", &["inhibit"])
        .about("When it fails it keeps its flows, and gets no new ones."),
    key("service.real.notify_up", Kind::Command, "notify_up = \"/usr/local/bin/up.sh\"", &["on_up"])
        .about("Run when it comes up."),
    key("service.real.notify_down", Kind::Command, "notify_down = \"/usr/local/bin/down.sh\"", &["on_down"])
        .about("Run when it goes down."),
    key("service.real.mail", Kind::Boolean, "mail = true", &["smtp_alert", "email"])
        .about("Mail is sent when it comes up and goes down."),
    key("service.real.check", Kind::TableOrTables, "[service.real.check]",
        &["health", "health_check", "healthcheck", "TCP_CHECK", "HTTP_GET", "SSL_GET", "MISC_CHECK"])
        .about("How this real server is probed, instead of the checks of its service."),
    key("service.sorry", Kind::Table, "[service.sorry]", &["sorry_server", "fallback", "backup"])
        .about("The server that answers while the quorum is lost, instead of the real servers."),
    key("service.sorry.address", Kind::Text, "address = \"192.0.2.99\"", &["ip", "host", "server"]).required()
        .about("Its own address."),
    key("service.sorry.weight", Kind::Integer, "weight = 1", &[]).range(0, 65535).about("Its weight."),
    key("service.sorry.inhibit", Kind::Boolean, "inhibit = true", &["sorry_server_inhibit", "inhibit_on_failure"])
        .about("It keeps its flows when the quorum is back."),
    key("service.sorry.vlan", Kind::IntegerOrText, "vlan = 100", &["vlan_id", "vid"]).range(1, 4094).words(&["keep", "none"])
        .about("VLAN tags of its frames."),
    key("service.sorry.mac", Kind::Text, "mac = \"02:00:00:00:00:99\"", &["lladdr", "mac_address"])
        .about("Its MAC address: nobody is asked for it."),
    key("service.sorry.interface", Kind::Text, "interface = \"eth0\"", &["iface", "device", "dev"])
        .about("The interface that leads to it."),
    key("service.sorry.mtu", Kind::Integer, "mtu = 1400", &[]).range(576, 9000).about("Longest IP packet that reaches it."),
];

//! Every key of the native format, with what belongs there: the vocabulary that [`super::shape`] checks a file
//! against and that help texts quote. The types that the values are read into are in [`super::file`].
//!
//! *Invariants* (tested): each entry is a field in `file`, and each is described in `configs/README.md` and shown in
//! `configs/reference.toml`.

/// What may stand at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[key]`
    Table,
    /// `[[key]]`, any number of times.
    Tables,
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// An integer, or a word in its place.
    IntegerOrText,
    /// `true` or `false`.
    Boolean,
    /// An array of strings.
    Texts,
    /// An array of integers.
    Integers,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted path without indices.
    pub path: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// How it is written.
    pub example: &'static str,
    /// What the same thing is called elsewhere, for "did you mean".
    pub aliases: &'static [&'static str],
}

/// All keys, in the order of `configs/README.md`.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("director", Kind::Table, "[director]", &["global", "global_defs", "shunt"]),
    key("director.interfaces", Kind::Texts, "interfaces = [\"eth0\"]", &["interface", "iface", "device", "nic"]),
    key("director.cores", Kind::Integers, "cores = [1]", &["core", "cpus", "cpu"]),
    key("director.flows_per_worker", Kind::Integer, "flows_per_worker = 1048576", &["flows", "conn_tab_size"]),
    key("director.flows_per_worker_ipv6", Kind::Integer, "flows_per_worker_ipv6 = 1048576", &["flows_ipv6"]),
    key("director.frames_per_queue", Kind::Integer, "frames_per_queue = 4096", &["frames", "ring_size"]),
    key("director.hash_key", Kind::Text, "hash_key = \"000102030405060708090a0b0c0d0e0f\"", &["key", "seed"]),
    key("director.idle", Kind::Text, "idle = \"adaptive\"", &["busy_poll"]),
    key("director.icmp_rate", Kind::Integer, "icmp_rate = 1000", &["icmp_ratelimit"]),
    key("director.reset_rate", Kind::Integer, "reset_rate = 10000", &["rst_rate"]),
    key("director.timeouts", Kind::Table, "[director.timeouts]", &["timeout"]),
    key("director.timeouts.syn", Kind::Text, "syn = \"60s\"", &["syn_recv", "syn_received", "handshake"]),
    key("director.timeouts.established", Kind::Text, "established = \"900s\"", &["tcp"]),
    key("director.timeouts.fin", Kind::Text, "fin = \"120s\"", &["tcpfin", "tcp_fin", "fin_wait", "time_wait"]),
    key("director.timeouts.closed", Kind::Text, "closed = \"10s\"", &["close", "rst"]),
    key("director.timeouts.udp", Kind::Text, "udp = \"300s\"", &[]),
    key("director.timeouts.sctp", Kind::Text, "sctp = \"900s\"", &[]),
    key("service", Kind::Tables, "[[service]]", &["services", "virtual_server", "virtual_service"]),
    key("service.vip", Kind::Text, "vip = \"192.0.2.10\"", &["address", "virtual_ip", "virtual_ipaddress"]),
    key("service.port", Kind::IntegerOrText, "port = 80", &["dport", "dst_port", "ports"]),
    key("service.protocol", Kind::Text, "protocol = \"tcp\"", &["proto"]),
    key("service.scheduler", Kind::Text, "scheduler = \"maglev\"", &["lb_algo", "lvs_sched", "algorithm", "sched"]),
    key("service.scheduler_flags", Kind::Texts, "scheduler_flags = [\"sh-port\"]", &["flags", "sched_flags"]),
    key("service.persistence", Kind::Text, "persistence = \"300s\"", &["persistence_timeout", "persistent", "sticky"]),
    key("service.persistence_prefix", Kind::IntegerOrText, "persistence_prefix = 24",
        &["persistence_granularity", "netmask", "granularity", "persistence_mask"]),
    key("service.one_packet", Kind::Boolean, "one_packet = true", &["ops"]),
    key("service.on_failure", Kind::Text, "on_failure = \"reset\"", &[]),
    key("service.no_real", Kind::Text, "no_real = \"icmp\"", &[]),
    key("service.strict", Kind::Boolean, "strict = false", &["sloppy_tcp"]),
    key("service.ttl", Kind::Text, "ttl = \"decrement\"", &["hop_limit"]),
    key("service.table_share", Kind::Text, "table_share = \"50%\"", &["share"]),
    key("service.slow_start", Kind::Text, "slow_start = \"60s\"", &["slowstart", "warmup"]),
    key("service.timeouts", Kind::Table, "[service.timeouts]", &["timeout"]),
    key("service.timeouts.syn", Kind::Text, "syn = \"60s\"", &["syn_recv", "syn_received", "handshake"]),
    key("service.timeouts.established", Kind::Text, "established = \"900s\"", &["tcp"]),
    key("service.timeouts.fin", Kind::Text, "fin = \"120s\"", &["tcpfin", "tcp_fin", "fin_wait", "time_wait"]),
    key("service.timeouts.closed", Kind::Text, "closed = \"10s\"", &["close", "rst"]),
    key("service.timeouts.udp", Kind::Text, "udp = \"300s\"", &[]),
    key("service.timeouts.sctp", Kind::Text, "sctp = \"900s\"", &[]),
    key("service.check", Kind::Table, "[service.check]", &["health", "health_check", "healthcheck", "TCP_CHECK"]),
    key("service.check.type", Kind::Text, "type = \"tcp\"", &["kind"]),
    key("service.check.interval", Kind::Text, "interval = \"2s\"", &["delay_loop", "inter", "period"]),
    key("service.check.timeout", Kind::Text, "timeout = \"1s\"", &["connect_timeout"]),
    key("service.check.rise", Kind::Integer, "rise = 1", &[]),
    key("service.check.fall", Kind::Integer, "fall = 3", &["retry"]),
    key("service.check.port", Kind::Integer, "port = 8080", &["connect_port"]),
    key("service.passive", Kind::Table, "[service.passive]", &["outlier_detection", "passive_check"]),
    key("service.passive.failures", Kind::Text, "failures = \"50%\"", &["threshold"]),
    key("service.passive.window", Kind::Text, "window = \"10s\"", &["interval"]),
    key("service.passive.minimum", Kind::Integer, "minimum = 20", &["request_volume", "min"]),
    key("service.passive.hold", Kind::Text, "hold = \"30s\"", &["ejection_time", "hold_time"]),
    key("service.real", Kind::Tables, "[[service.real]]", &["reals", "real_server", "backend", "server", "upstream"]),
    key("service.real.address", Kind::Text, "address = \"192.0.2.21\"", &["ip", "rip", "host", "server"]),
    key("service.real.weight", Kind::Integer, "weight = 1", &[]),
    key("service.real.upper", Kind::Integer, "upper = 1000", &["uthreshold", "upper_threshold", "maxconn", "max_conn"]),
    key("service.real.lower", Kind::Integer, "lower = 750", &["lthreshold", "lower_threshold", "minconn"]),
    key("service.real.vlan", Kind::IntegerOrText, "vlan = 100", &["vlan_id", "vid"]),
    key("service.real.mac", Kind::Text, "mac = \"02:00:00:00:00:21\"", &["lladdr", "mac_address"]),
    key("service.real.interface", Kind::Text, "interface = \"eth0\"", &["iface", "device", "dev"]),
    key("service.real.mtu", Kind::Integer, "mtu = 1400", &[]),
];

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The keys directly below `table` (the empty path: the top level).
pub(super) fn children(table: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.table() == table)
}

/// `table.name`, or `name` at the top level.
pub(super) fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

impl Key {
    /// The last part of the path: what is typed.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the table that the key stands in.
    pub(super) fn table(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }
}

impl Kind {
    /// For "expected ...".
    pub(super) fn describe(self) -> &'static str {
        match self {
            Kind::Table => "a table",
            Kind::Tables => "an array of tables",
            Kind::Text => "a string",
            Kind::Integer => "an integer",
            Kind::IntegerOrText => "an integer or a string",
            Kind::Boolean => "true or false",
            Kind::Texts => "an array of strings",
            Kind::Integers => "an array of integers",
        }
    }
}

const fn key(path: &'static str, kind: Kind, example: &'static str, aliases: &'static [&'static str]) -> Key {
    Key { path, kind, example, aliases }
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::*;

    const REFERENCE: &str = include_str!("../../../configs/reference.toml");
    const README: &str = include_str!("../../../configs/README.md");

    #[test]
    fn a_path_is_its_table_and_its_name() {
        let weight = find("service.real.weight").unwrap();
        assert_eq!((weight.table(), weight.name()), ("service.real", "weight"));
        assert_eq!(join(weight.table(), weight.name()), weight.path);
        assert_eq!(children("").map(Key::name).collect::<Vec<_>>(), ["director", "service"]);
        assert_eq!(children("service.check").map(Key::name).next(), Some("type"));
    }

    #[test]
    fn every_key_is_in_the_reference_file_and_in_the_readme() {
        let reference = Value::Table(REFERENCE.parse().unwrap());
        for key in KEYS {
            let shown = key.path.split('.').fold(vec![&reference], |values, name| {
                let entries = values.iter().flat_map(|value| match value {
                    Value::Array(entries) => entries.iter().collect(),
                    value => vec![*value],
                });
                entries.filter_map(|entry| entry.get(name)).collect()
            });
            assert!(!shown.is_empty(), "configs/reference.toml lacks {}", key.path);
            assert!(README.contains(&format!("`{}`", key.path)), "configs/README.md lacks {}", key.path);
        }
    }

    #[test]
    fn every_example_can_be_pasted() {
        for key in KEYS {
            assert!(key.example.parse::<toml::Table>().is_ok(), "{}", key.example);
        }
    }
}

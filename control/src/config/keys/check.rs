//! `[service.check]`, the same for `[service.real.check]`.

use super::{Key, Kind, duration, key};

const TYPES: &[&str] = &["tcp", "http", "https", "smtp", "dns", "udp", "ping", "script", "file"];
const MD5: &str = "^[0-9A-Fa-f]{32}$";
const STATUS: &str = "^[0-9]+ *- *[0-9]+$";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("service.check.type", Kind::Text, "type = \"tcp\"", &["kind"]).required().words(TYPES)
        .about("What is probed."),
    duration("service.check.interval", "interval = \"2s\"", &["delay_loop", "inter", "period"])
        .about("Time between the starts of two probes."),
    duration("service.check.timeout", "timeout = \"1s\"", &["connect_timeout", "misc_timeout"])
        .about("A probe without an answer has failed after this."),
    duration("service.check.retry", "retry = \"1s\"", &["delay_before_retry"])
        .about("Time from the end of a failed probe of a server that is up to the next."),
    key("service.check.rise", Kind::Integer, "rise = 1", &[]).range(1, 1_000_000)
        .about("Successes in a row that bring a real server up."),
    key("service.check.fall", Kind::Integer, "fall = 3", &["retries"]).range(1, 1_000_000)
        .about("Failures in a row that bring it down."),
    duration("service.check.warmup", "warmup = \"5s\"", &["initial_delay"])
        .about("The first probe is made at random within this time."),
    key("service.check.start", Kind::Text, "start = \"down\"", &["alpha", "initial"]).words(&["down", "up"])
        .about("What is assumed before the first result."),
    key("service.check.log_all_failures", Kind::Boolean, "log_all_failures = true", &["checker_log_all_failures"])
        .about("Each failed probe is logged, not only the one that takes the server out."),
    key("service.check.address", Kind::Text, "address = \"192.0.2.31\"", &["connect_ip", "ip"])
        .about("Where the probe goes, if not to the real server's own address."),
    key("service.check.port", Kind::Integer, "port = 8080", &["connect_port"]).range(1, 65535)
        .about("The port that is probed."),
    key("service.check.source", Kind::Text, "source = \"192.0.2.1\"", &["bindto", "bind"])
        .about("Source address of the probe."),
    key("service.check.source_port", Kind::Integer, "source_port = 40000", &["bind_port"]).range(1, 65535)
        .about("Source port of the probe."),
    key("service.check.interface", Kind::Text, "interface = \"eth1\"", &["bind_if", "iface", "device", "dev"])
        .about("The interface that the probe leaves by."),
    key("service.check.mark", Kind::Integer, "mark = 1", &["fwmark"]).range(0, u32::MAX as i64)
        .about("Firewall mark of the probe's packets; 0: none."),
    key("service.check.path", Kind::Text, "path = \"/\"", &["url", "uri", "file", "track_file"]).pattern("^/")
        .about("http, https: path with query of the request. file: the file."),
    key("service.check.status", Kind::IntegersOrTexts, "status = [200, \"300-399\"]", &["status_code", "expect"])
        .range(100, 999).pattern(STATUS).about("http, https: status codes that are good."),
    key("service.check.digest", Kind::Text, "digest = \"d41d8cd98f00b204e9800998ecf8427e\"", &["md5"]).pattern(MD5)
        .about("http, https: MD5 of the body."),
    key("service.check.match", Kind::Text, "match = \"OK\"", &["regex", "pattern"])
        .about("http, https: a regular expression that matches the body."),
    key("service.check.match_not", Kind::Text, "match_not = \"ERROR\"", &["regex_no_match"])
        .about("http, https: a regular expression that does not match the body."),
    key("service.check.match_from", Kind::Integer, "match_from = 0", &["regex_min_offset"]).range(0, u32::MAX as i64)
        .about("http, https: first byte of the body at which a match may begin."),
    key("service.check.match_to", Kind::Integer, "match_to = 1000", &["regex_max_offset"]).range(0, u32::MAX as i64)
        .about("http, https: last byte of the body at which a match may begin."),
    key("service.check.host", Kind::Text, "host = \"www.example.com\"", &["virtualhost", "vhost"])
        .about("http, https: what Host: says."),
    key("service.check.http_version", Kind::Text, "http_version = \"1.0\"", &["http_protocol", "version"])
        .words(&["1.0", "1.0C", "1.1"]).about("http, https: version in the request; 1.0C and 1.1 say Connection: close."),
    key("service.check.fast_recovery", Kind::Boolean, "fast_recovery = true", &[])
        .about("http, https: a server that is down is up again with the first request that succeeds."),
    key("service.check.sni", Kind::BooleanOrText, "sni = \"www.example.com\"", &["enable_sni", "server_name"])
        .about("https: the name asked for; true: that of host; false: none."),
    key("service.check.verify", Kind::BooleanOrText, "verify = true", &["tls_verify", "ssl_verify"])
        .about("https: the certificate must be valid, for the name asked for (true) or for this one."),
    key("service.check.ca", Kind::Text, "ca = \"/etc/ssl/certs/example.pem\"", &["ca_file", "cacert"]).pattern("^/")
        .about("https: certificates to trust instead of the system's, PEM."),
    key("service.check.request", Kind::Tables, "[[service.check.request]]", &["requests"])
        .about("http, https: one of several requests; all must succeed."),
    key("service.check.request.path", Kind::Text, "path = \"/\"", &["url", "uri"]).pattern("^/")
        .about("Path with query."),
    key("service.check.request.host", Kind::Text, "host = \"www.example.com\"", &["virtualhost", "vhost"])
        .about("What Host: says, if not that of the check."),
    key("service.check.request.status", Kind::IntegersOrTexts, "status = [200, \"300-399\"]", &["status_code", "expect"])
        .range(100, 999).pattern(STATUS).about("Status codes that are good."),
    key("service.check.request.digest", Kind::Text, "digest = \"d41d8cd98f00b204e9800998ecf8427e\"", &["md5"]).pattern(MD5)
        .about("MD5 of the body."),
    key("service.check.request.match", Kind::Text, "match = \"OK\"", &["regex", "pattern"])
        .about("A regular expression that matches the body."),
    key("service.check.request.match_not", Kind::Text, "match_not = \"ERROR\"", &["regex_no_match"])
        .about("A regular expression that does not match the body."),
    key("service.check.request.match_from", Kind::Integer, "match_from = 0", &["regex_min_offset"]).range(0, u32::MAX as i64)
        .about("First byte of the body at which a match may begin."),
    key("service.check.request.match_to", Kind::Integer, "match_to = 1000", &["regex_max_offset"]).range(0, u32::MAX as i64)
        .about("Last byte of the body at which a match may begin."),
    key("service.check.helo", Kind::Text, "helo = \"director.example.com\"", &["helo_name", "ehlo"])
        .about("smtp: the name given with HELO."),
    key("service.check.record", Kind::Text, "record = \"SOA\"", &["record_type", "query"])
        .about("dns: type of the record asked for."),
    key("service.check.name", Kind::Text, "name = \"example.com.\"", &["query_name", "domain"])
        .about("dns: the name asked for."),
    key("service.check.payload", Kind::Text, "payload = \"ping\"", &["send", "data"])
        .about("udp: what is sent, as text."),
    key("service.check.payload_hex", Kind::Text, "payload_hex = \"00ff\"", &["hex"]).pattern("^([0-9A-Fa-f]{2})*$")
        .about("udp: what is sent, in hexadecimal digits."),
    key("service.check.require_reply", Kind::Boolean, "require_reply = true", &["reply"])
        .about("udp: an answer must come; else only an ICMP error is a failure."),
    key("service.check.min_reply", Kind::Integer, "min_reply = 1", &["min_reply_length"]).range(0, 65535)
        .about("udp: least bytes of the answer."),
    key("service.check.max_reply", Kind::Integer, "max_reply = 512", &["max_reply_length"]).range(0, 65535)
        .about("udp: most bytes of the answer."),
    key("service.check.command", Kind::Words, "command = \"/usr/local/bin/check.sh\"", &["script", "misc_path", "run", "exec"])
        .about("script: the program; exit status 0 is up."),
    key("service.check.user", Kind::Text, "user = \"nobody\"", &["script_user"])
        .about("script: whose rights it has."),
    key("service.check.group", Kind::Text, "group = \"nogroup\"", &[]).about("script: its group, if not the user's."),
    key("service.check.sets_weight", Kind::Boolean, "sets_weight = true", &["misc_dynamic", "dynamic"])
        .about("script: exit status 2 to 255 is a success, and sets the weight to that less 2."),
    key("service.check.factor", Kind::Integer, "factor = 1", &["weight"]).range(i32::MIN as i64, i32::MAX as i64)
        .about("file: the number in the file times this is added to the weight; 0: another number than 0 is down."),
];

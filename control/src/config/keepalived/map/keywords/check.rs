//! Keywords of checkers (check_api.c for those that all have, and check_*.c).

use super::Block::{Dns, File, Host, Http, Misc, Ping, RealServer, Smtp, Tcp, Udp, Url};
use super::server::BFD;
use super::{Block, Key, MANY, Tier, acts, warns};

const R: &[Block] = &[RealServer];
/// Checks that are made from a socket with a port.
const PORTS: &[Block] = &[Tcp, Http, Smtp, Host, Dns, Udp];
/// Checks that are made from a socket.
const SOCKETS: &[Block] = &[Tcp, Http, Smtp, Host, Dns, Udp, Ping];
/// Checks that have a rhythm.
const ALL: &[Block] = &[Tcp, Http, Smtp, Dns, Udp, Ping, Misc];
const WEB: &[Block] = &[Http];
const U: &[Block] = &[Url];

const HOST: &str = "it counts for all hosts of an SMTP_CHECK and stands outside `host`";

pub(super) const KEYS: &[Key] = &[
    acts(R, "TCP_CHECK", 0..=0, "").opens(Tcp).often(),
    acts(R, "HTTP_GET", 0..=0, "").opens(Http).often(),
    acts(R, "SSL_GET", 0..=0, "").opens(Http).often(),
    acts(R, "SMTP_CHECK", 0..=0, "").opens(Smtp).often(),
    acts(R, "DNS_CHECK", 0..=0, "").opens(Dns).often(),
    acts(R, "UDP_CHECK", 0..=0, "").opens(Udp).often(),
    acts(R, "PING_CHECK", 0..=0, "").opens(Ping).often(),
    acts(R, "MISC_CHECK", 0..=0, "").opens(Misc).often(),
    acts(R, "FILE_CHECK", 0..=0, "").opens(File).often(),
    Key { tier: Tier::Rejected(BFD.0, BFD.1), ..acts(R, "BFD_CHECK", 0..=0, "") }.opens(Block::List).often(),
    // Where from and where to.
    acts(SOCKETS, "connect_ip", 1..=1, "198.18.0.77"),
    acts(PORTS, "connect_port", 1..=1, "8080"),
    acts(SOCKETS, "bindto", 1..=1, "198.18.0.1"),
    acts(PORTS, "bind_port", 1..=1, "4000"),
    acts(SOCKETS, "bind_if", 1..=1, "eth1"),
    acts(SOCKETS, "connect_timeout", 1..=1, "1.25"),
    acts(SOCKETS, "fwmark", 1..=1, "7"),
    warns(&[Ping], "connect_port", 1..=1, "8080", "a ping has no port"),
    warns(&[Ping], "bind_port", 1..=1, "4000", "a ping has no port"),
    // When.
    acts(ALL, "retry", 1..=1, "4"),
    acts(ALL, "delay_before_retry", 1..=1, "2.25"),
    acts(ALL, "warmup", 1..=1, "3"),
    acts(ALL, "delay_loop", 1..=1, "9"),
    acts(ALL, "alpha", 0..=1, ""),
    acts(ALL, "log_all_failures", 0..=1, ""),
    warns(&[Host], "retry", 1..=1, "4", HOST),
    warns(&[Host], "delay_before_retry", 1..=1, "2", HOST),
    warns(&[Host], "warmup", 1..=1, "3", HOST),
    warns(&[Host], "delay_loop", 1..=1, "9", HOST),
    warns(&[Host], "alpha", 0..=1, "", HOST),
    warns(&[Host], "log_all_failures", 0..=1, "", HOST),
    // HTTP_GET, SSL_GET.
    Key { tier: Tier::Deprecated("retry"), ..acts(WEB, "nb_get_retry", 1..=1, "3") }.means("retry"),
    acts(WEB, "virtualhost", 1..=1, "check.example.com"),
    acts(WEB, "http_protocol", 1..=1, "1.1"),
    acts(WEB, "enable_sni", 0..=1, ""),
    acts(WEB, "fast_recovery", 0..=1, ""),
    acts(WEB, "url", 0..=0, "").opens(Url).often(),
    acts(U, "path", 1..=1, "/other"),
    acts(U, "digest", 1..=1, "9b3a0c85a887a256d6939da88aabd8cd"),
    acts(U, "status_code", 1..=MANY, "200 301-302").often(),
    acts(U, "virtualhost", 1..=1, "url.example.com"),
    acts(U, "regex", 1..=MANY, "well"),
    acts(U, "regex_no_match", 0..=0, ""),
    acts(U, "regex_options", 1..=MANY, "caseless").often(),
    acts(U, "regex_min_offset", 1..=1, "10"),
    acts(U, "regex_max_offset", 1..=1, "100"),
    warns(U, "regex_stack", 2..=2, "32768 524288", "patterns are matched without a stack"),
    // The others.
    acts(&[Smtp], "helo_name", 1..=1, "lb1.example.com"),
    acts(&[Smtp], "host", 0..=0, "").opens(Host).often(),
    acts(&[Dns], "type", 1..=1, "A"),
    acts(&[Dns], "name", 1..=1, "www.example.com"),
    acts(&[Udp], "payload", 1..=MANY, "0a0b0c"),
    acts(&[Udp], "require_reply", 0..=MANY, ""),
    acts(&[Udp], "min_reply_length", 1..=1, "10"),
    acts(&[Udp], "max_reply_length", 1..=1, "100"),
    acts(&[Misc], "misc_path", 1..=MANY, "/usr/bin/check"),
    acts(&[Misc], "misc_timeout", 1..=1, "3"),
    acts(&[Misc], "misc_dynamic", 0..=0, ""),
    acts(&[Misc], "user", 1..=2, "nobody"),
    acts(&[File], "track_file", 1..=1, "load"),
    acts(&[File], "weight", 1..=2, "2 reverse"),
];

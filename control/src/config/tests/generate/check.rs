//! Checks of every kind.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::notify;
use crate::model::{
    Command, Dns, FileCheck, HealthCheck, Http, HttpVersion, Pattern, Probe, Request, Script, Smtp, Start,
    Target, Timing, Tls, Udp, Verify,
};

pub(super) fn check() -> impl Strategy<Value = HealthCheck> {
    let start = prop::sample::select(vec![Start::Unknown, Start::Up]);
    (probe(), target(), timing(), start, any::<bool>()).prop_map(
        |(mut probe, target, mut timing, start, log_all_failures)| {
            let target = match probe {
                Probe::Ping => Target { port: 0, source_port: 0, ..target },
                Probe::Script(_) | Probe::File(_) => Target::default(),
                _ => target,
            };
            if let Probe::Script(Script { command, .. }) = &mut probe {
                // One time limit, however it is called.
                command.timeout = command.timeout.map(|_| timing.timeout);
                timing.timeout = command.timeout.unwrap_or(timing.interval);
            }
            HealthCheck { probe, target, timing, start, log_all_failures }
        },
    )
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Tcp),
        Just(Probe::Ping),
        http().prop_map(Probe::Http),
        name().prop_map(|helo| Probe::Smtp(Smtp { helo })),
        dns().prop_map(Probe::Dns),
        udp().prop_map(Probe::Udp),
        script().prop_map(Probe::Script),
        file().prop_map(Probe::File),
    ]
}

fn timing() -> impl Strategy<Value = Timing> {
    let long = |least: u64| (least..=2_678_400_000).prop_map(Duration::from_millis);
    (long(10), long(1), of(long(0)), 1..=1_000_000u32, 1..=1_000_000u32, of(long(0))).prop_map(
        |(interval, timeout, retry, rise, fall, warmup)| Timing {
            interval,
            timeout,
            retry,
            rise,
            fall,
            warmup,
        },
    )
}

fn target() -> impl Strategy<Value = Target> {
    let host = || {
        any::<IpAddr>().prop_filter("a host", |address| !address.is_multicast() && !address.is_unspecified())
    };
    let ports = (1..=u16::MAX, any::<u16>());
    (of(host()), ports, of(host()), of("[a-z\"][a-z0-9.]{0,9}"), any::<u32>()).prop_map(
        |(address, (port, source_port), source, interface, mark)| {
            let is_alike = |source: &IpAddr| address.is_none_or(|to| to.is_ipv4() == source.is_ipv4());
            Target { address, port, source: source.filter(is_alike), source_port, interface, mark }
        },
    )
}

fn http() -> impl Strategy<Value = Http> {
    let version =
        prop::sample::select(vec![HttpVersion::Http10, HttpVersion::Http10Close, HttpVersion::Http11]);
    let host =
        of(prop_oneof![name(), "192\\.0\\.2\\.[1-9](:[1-9]{2})?", "\\[2001:db8::[1-9]\\](:[1-9]{2})?"]);
    (of(tls()), version, host, vec(request(), 1..4), any::<bool>()).prop_map(
        |(tls, version, host, requests, fast_recovery)| Http { tls, version, host, requests, fast_recovery },
    )
}

fn tls() -> impl Strategy<Value = Tls> {
    let verify = (of(path()), of(name())).prop_map(|(authorities, name)| Verify { authorities, name });
    (of(name()), of(verify)).prop_map(|(server_name, verify)| Tls { server_name, verify })
}

fn request() -> impl Strategy<Value = Request> {
    let status = (100..=999u16, 100..=999u16).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let status = prop_oneof![Just(vec![(200, 299)]), vec(status, 1..4)];
    let path = "/[!-~\u{fc}]{0,9}";
    (path, of(name()), status, of(any::<[u8; 16]>()), of(pattern()))
        .prop_map(|(path, host, status, digest, pattern)| Request { path, host, status, digest, pattern })
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let parts =
        ("(\\(\\?i\\))?", "[a-z\"' \u{fc}\n]{0,6}", prop::sample::select(vec!["", "\\.", "\\d+", "[a-z]*"]));
    let expression = parts.prop_map(|(options, text, end)| format!("{options}{text}{end}"));
    (expression, any::<bool>(), any::<u32>(), of(any::<u32>())).prop_map(|(expression, negated, a, b)| {
        let first = b.map_or(a, |b| a.min(b)) as usize;
        Pattern { expression, negated, first, last: b.map(|b| a.max(b) as usize) }
    })
}

fn dns() -> impl Strategy<Value = Dns> {
    let record = prop::sample::select(vec!["SOA", "A", "AAAA", "MX", "NS", "TXT", "PTR", "CNAME"]);
    let name = prop_oneof!["\\.", "[a-z0-9_]{1,9}(\\.[a-z0-9]{1,9}){0,2}\\.?"];
    (record, name).prop_map(|(record, name)| Dns { record: record.to_owned(), name })
}

fn udp() -> impl Strategy<Value = Udp> {
    let payload = prop_oneof![vec(any::<u8>(), 0..9), "[a-z \"\u{fc}]{0,9}".prop_map(String::into_bytes)];
    let lengths = (0..=65535usize, 0..=65535usize).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let reply = of(prop_oneof![Just((0, 65535)), lengths]);
    (payload, reply).prop_map(|(payload, reply)| Udp { payload, reply })
}

fn script() -> impl Strategy<Value = Script> {
    (notify::argv(), notify::user(), any::<bool>(), any::<bool>()).prop_map(
        |(argv, user, has_timeout, sets_weight)| Script {
            command: Command { argv, user, timeout: has_timeout.then_some(Duration::ZERO) },
            sets_weight,
        },
    )
}

fn file() -> impl Strategy<Value = FileCheck> {
    (path(), any::<i32>()).prop_map(|(path, factor)| FileCheck { path, factor })
}

fn path() -> impl Strategy<Value = PathBuf> {
    "(/[a-z\u{fc}\" '.]{1,6}){1,3}".prop_map(PathBuf::from)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,8}(\\.[a-z0-9-]{1,8}){0,2}(:[0-9]{1,5})?"
}

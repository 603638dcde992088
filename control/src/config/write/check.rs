//! Checks of real servers.

use super::notify::words;
use super::page::{Page, duration, string};
use crate::config::defaults;
use crate::config::resolve::{default_port, server_name};
use crate::model::{
    Dns, FileCheck, HealthCheck, Http, HttpVersion, Pattern, Probe, Request, Script, ServiceKey, Smtp, Start,
    Target, Timing, Tls, Udp,
};

/// The checks as tables at `path`, of a service that is `key`.
pub(super) fn checks(page: &mut Page, path: &str, checks: &[HealthCheck], key: ServiceKey) {
    for check in checks {
        page.table(&match checks.len() {
            1 => format!("[{path}]"),
            _ => format!("[[{path}]]"),
        });
        page.set("type", string(check.probe.name()));
        timing(page, check);
        target(page, &check.target, default_port(&check.probe, key.protocol, key.ports));
        page.set_unless("log_all_failures", check.log_all_failures, false);
        match &check.probe {
            Probe::Tcp | Probe::Ping => {}
            Probe::Http(http) => self::http(page, path, http),
            Probe::Smtp(Smtp { helo }) => page.set_unless("helo", string(helo), string(defaults::HELO)),
            Probe::Dns(Dns { record, name }) => {
                page.set("record", string(record));
                page.set("name", string(name));
            }
            Probe::Udp(udp) => self::udp(page, udp),
            Probe::Script(script) => self::script(page, script),
            Probe::File(FileCheck { path, factor }) => {
                page.set("path", string(&path.to_string_lossy()));
                page.set_unless("factor", *factor, 0);
            }
        }
    }
}

fn timing(page: &mut Page, check: &HealthCheck) {
    let Timing { interval, timeout, retry, rise, fall, warmup } = &check.timing;
    page.set("interval", duration(*interval));
    match &check.probe {
        // A program that is given no time may take the interval.
        Probe::Script(Script { command, .. }) => {
            if let Some(timeout) = command.timeout {
                page.set("timeout", duration(timeout));
            }
        }
        _ => page.set("timeout", duration(*timeout)),
    }
    if let Some(retry) = retry {
        page.set("retry", duration(*retry));
    }
    page.set_unless("rise", *rise, defaults::RISE);
    page.set("fall", fall);
    if let Some(warmup) = warmup {
        page.set("warmup", duration(*warmup));
    }
    if check.start == Start::Up {
        page.set("start", "\"up\"");
    }
}

fn target(page: &mut Page, target: &Target, default_port: Option<u16>) {
    let Target { address, port, source, source_port, interface, mark } = target;
    if let Some(address) = address {
        page.set("address", string(&address.to_string()));
    }
    page.set_unless("port", *port, default_port.unwrap_or(0));
    if let Some(source) = source {
        page.set("source", string(&source.to_string()));
    }
    page.set_unless("source_port", *source_port, 0);
    if let Some(interface) = interface {
        page.set("interface", string(interface));
    }
    page.set_unless("mark", *mark, 0);
}

fn http(page: &mut Page, path: &str, http: &Http) {
    let Http { tls, version, host, requests, fast_recovery } = http;
    if let Some(host) = host {
        page.set("host", string(host));
    }
    match version {
        HttpVersion::Http10 => {}
        HttpVersion::Http10Close => page.set("http_version", "\"1.0C\""),
        HttpVersion::Http11 => page.set("http_version", "\"1.1\""),
    }
    page.set_unless("fast_recovery", *fast_recovery, false);
    if let Some(tls) = tls {
        self::tls(page, tls, host.as_deref());
    }
    match requests.as_slice() {
        // Its Host: would be that of the check.
        [only @ Request { host: None, .. }] => request(page, only),
        several => {
            for one in several {
                page.table(&format!("[[{path}.request]]"));
                request(page, one);
            }
        }
    }
}

fn tls(page: &mut Page, tls: &Tls, host: Option<&str>) {
    let Tls { server_name: name, verify } = tls;
    match name {
        name if name.as_deref() == host.and_then(server_name) => {}
        Some(name) => page.set("sni", string(name)),
        None => page.set("sni", false),
    }
    let Some(verify) = verify else { return };
    match &verify.name {
        Some(name) => page.set("verify", string(name)),
        None => page.set("verify", true),
    }
    if let Some(file) = &verify.authorities {
        page.set("ca", string(&file.to_string_lossy()));
    }
}

fn request(page: &mut Page, request: &Request) {
    let Request { path, host, status, digest, pattern } = request;
    page.set("path", string(path));
    if let Some(host) = host {
        page.set("host", string(host));
    }
    if *status != [defaults::STATUS] {
        let codes = status.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("\"{first}-{last}\""),
        });
        page.set("status", format!("[{}]", codes.collect::<Vec<_>>().join(", ")));
    }
    if let Some(digest) = digest {
        page.set("digest", format!("\"{}\"", hex(digest)));
    }
    if let Some(Pattern { expression, negated, first, last }) = pattern {
        page.set(if *negated { "match_not" } else { "match" }, string(expression));
        page.set_unless("match_from", *first, 0);
        if let Some(last) = last {
            page.set("match_to", last);
        }
    }
}

fn udp(page: &mut Page, udp: &Udp) {
    let Udp { payload, reply } = udp;
    match std::str::from_utf8(payload) {
        Ok("") => {}
        Ok(text) if !text.contains(char::is_control) => page.set("payload", string(text)),
        _ => page.set("payload_hex", format!("\"{}\"", hex(payload))),
    }
    if let Some((least, most)) = reply {
        page.set("require_reply", true);
        page.set_unless("min_reply", *least, 0);
        page.set_unless("max_reply", *most, defaults::MAX_REPLY);
    }
}

fn script(page: &mut Page, script: &Script) {
    page.set("command", words(&script.command.argv));
    if let Some(user) = &script.command.user {
        page.set("user", string(&user.name));
        if let Some(group) = &user.group {
            page.set("group", string(group));
        }
    }
    page.set_unless("sets_weight", script.sets_weight, false);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

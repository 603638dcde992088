//! [`Model`] -> native TOML, every key spelled out: what a converter prints, and the other half of the round trip that
//! the tests take.

use std::fmt::Write;

use shunt_dataplane::packet::MacAddress;

use super::resolve::spell as duration;
use crate::model::{
    Director, HashFlags, HealthCheck, Idle, Model, NoReal, OnFailure, Passive, RealServer, Scheduler,
    Timeouts, VirtualService, Vlan, percent, ports,
};

/// The model as a native configuration; parsed again it gives an equal model.
pub fn to_toml(model: &Model) -> String {
    let mut text = String::new();
    director(&mut text, &model.director);
    for service in &model.services {
        virtual_service(&mut text, service);
    }
    text
}

fn director(text: &mut String, director: &Director) {
    let idle = match director.idle {
        Idle::Adaptive => "adaptive",
        Idle::Spin => "spin",
    };
    let interfaces: Vec<String> = director.interfaces.iter().map(|name| string(name)).collect();
    line(text, "[director]");
    line(text, &format!("interfaces = [{}]", interfaces.join(", ")));
    if !director.cores.is_empty() {
        line(text, &format!("cores = {:?}", director.cores));
    }
    line(text, &format!("flows_per_worker = {}", director.flows_per_worker));
    line(text, &format!("flows_per_worker_ipv6 = {}", director.flows_per_worker_ipv6));
    line(text, &format!("frames_per_queue = {}", director.frames_per_queue));
    line(text, &format!("hash_key = \"{:016x}{:016x}\"", director.hash_key[0], director.hash_key[1]));
    line(text, &format!("idle = \"{idle}\""));
    line(text, &format!("icmp_rate = {}", director.icmp_rate));
    line(text, &format!("reset_rate = {}", director.reset_rate));
    timeouts(text, "director", &director.timeouts);
}

fn virtual_service(text: &mut String, service: &VirtualService) {
    line(text, "\n[[service]]");
    line(text, &format!("vip = \"{}\"", service.key.vip));
    match service.key.ports.single() {
        Some(port) => line(text, &format!("port = {port}")),
        None => line(text, &format!("port = \"{}\"", ports(service.key.ports))),
    }
    line(text, &format!("protocol = \"{}\"", service.key.protocol));
    scheduler(text, service.scheduler);
    if let Some(persistence) = service.persistence {
        line(text, &format!("persistence = \"{}\"", duration(persistence.timeout)));
        line(text, &format!("persistence_prefix = {}", persistence.prefix));
    }
    line(text, &format!("one_packet = {}", service.one_packet));
    let on_failure = match service.on_failure {
        OnFailure::Reset => "reset",
        OnFailure::Rehash => "rehash",
        OnFailure::Keep => "keep",
    };
    line(text, &format!("on_failure = \"{on_failure}\""));
    let no_real = match service.no_real {
        NoReal::Unreachable => "icmp",
        NoReal::Reset => "reset",
        NoReal::Silent => "drop",
    };
    line(text, &format!("no_real = \"{no_real}\""));
    line(text, &format!("strict = {}", service.strict));
    line(text, &format!("ttl = \"{}\"", if service.keep_ttl { "keep" } else { "decrement" }));
    line(text, &format!("table_share = \"{}\"", percent(service.table_share)));
    if let Some(slow_start) = service.slow_start {
        line(text, &format!("slow_start = \"{}\"", duration(slow_start)));
    }
    timeouts(text, "service", &service.timeouts);
    // The checks of all real servers are one table: what the native format can say so far.
    if let Some(check) = service.reals.iter().flat_map(|real| &real.checks).next() {
        health_check(text, check);
    }
    if let Some(rule) = &service.passive {
        passive(text, rule);
    }
    for real in &service.reals {
        real_server(text, real);
    }
}

fn scheduler(text: &mut String, scheduler: Scheduler) {
    let (name, flags) = match scheduler {
        Scheduler::Sh(flags) => ("sh".to_owned(), flags),
        Scheduler::Mh(flags) => ("mh".to_owned(), flags),
        other => (other.to_string(), HashFlags::default()),
    };
    line(text, &format!("scheduler = \"{name}\""));
    let set = [(flags.port, "port"), (flags.fallback, "fallback")];
    let set: Vec<String> =
        set.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| format!("\"{name}-{flag}\"")).collect();
    if !set.is_empty() {
        line(text, &format!("scheduler_flags = [{}]", set.join(", ")));
    }
}

fn timeouts(text: &mut String, table: &str, timeouts: &Timeouts) {
    let Timeouts { syn, established, fin, closed, udp, sctp } = *timeouts;
    line(text, &format!("\n[{table}.timeouts]"));
    let all = [
        ("syn", syn),
        ("established", established),
        ("fin", fin),
        ("closed", closed),
        ("udp", udp),
        ("sctp", sctp),
    ];
    for (name, timeout) in all {
        line(text, &format!("{name} = \"{}\"", duration(timeout)));
    }
}

fn passive(text: &mut String, rule: &Passive) {
    line(text, "\n[service.passive]");
    line(text, &format!("failures = \"{}\"", percent(rule.failures)));
    line(text, &format!("window = \"{}\"", duration(rule.window)));
    line(text, &format!("minimum = {}", rule.minimum));
    line(text, &format!("hold = \"{}\"", duration(rule.hold)));
}

fn real_server(text: &mut String, real: &RealServer) {
    line(text, "\n[[service.real]]");
    line(text, &format!("address = \"{}\"", real.address));
    line(text, &format!("weight = {}", real.weight));
    line(text, &format!("upper = {}", real.thresholds.upper));
    line(text, &format!("lower = {}", real.thresholds.lower));
    match real.vlan {
        Vlan::Keep => line(text, "vlan = \"keep\""),
        Vlan::Untagged => line(text, "vlan = \"none\""),
        Vlan::Tagged(vlan) => line(text, &format!("vlan = {vlan}")),
    }
    if let Some(mac) = real.mac {
        line(text, &format!("mac = \"{}\"", MacAddress(mac)));
    }
    if let Some(interface) = &real.interface {
        line(text, &format!("interface = {}", string(interface)));
    }
    if let Some(mtu) = real.mtu {
        line(text, &format!("mtu = {mtu}"));
    }
}

fn health_check(text: &mut String, check: &HealthCheck) {
    line(text, "\n[service.check]");
    line(text, &format!("type = \"{}\"", check.probe));
    line(text, &format!("port = {}", check.target.port));
    line(text, &format!("interval = \"{}\"", duration(check.timing.interval)));
    line(text, &format!("timeout = \"{}\"", duration(check.timing.timeout)));
    line(text, &format!("rise = {}", check.timing.rise));
    line(text, &format!("fall = {}", check.timing.fall));
}

fn string(value: &str) -> String {
    toml::Value::from(value).to_string()
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

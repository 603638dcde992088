//! [`Model`] -> native TOML, as a person would write it: what has its default is left out, but for what is asked about
//! first. It is what `shunt convert` prints, and the other half of the round trip that the tests take.

mod check;
mod notify;
mod page;
mod vrrp;

use shunt_dataplane::packet::MacAddress;

use super::defaults;
use super::resolve::{AUTO, default_vip_check};
use crate::model::{
    Director, HashFlags, HealthCheck, Idle, Model, NoReal, OnFailure, Passive, Quorum, RealServer, Scheduler,
    Sorry, Thresholds, Timeouts, VipCheck, VirtualService, Vlan, WorkerFailure, percent, ports,
};
use page::{Page, duration, string, strings};

/// The model as a native configuration; parsed again it gives an equal model.
pub fn to_toml(model: &Model) -> String {
    let mut page = Page::default();
    director(&mut page, &model.director);
    notify::scripts(&mut page, &model.scripts);
    notify::notify(&mut page, &model.notify);
    let context = Context {
        timeouts: model.director.timeouts,
        table_share: match model.services.len() {
            1 => defaults::TABLE_SHARE_ALONE,
            _ => defaults::TABLE_SHARE,
        },
        mails: model.notify.mail.is_some(),
    };
    for service in &model.services {
        virtual_service(&mut page, service, &context);
    }
    vrrp::vrrp(&mut page, &model.vrrp);
    page.text
}

/// What the defaults of a service come from.
struct Context {
    timeouts: Timeouts,
    table_share: u16,
    mails: bool,
}

fn director(page: &mut Page, director: &Director) {
    let auto = director.auto_interfaces.then_some(AUTO);
    let interfaces = director.interfaces.iter().map(String::as_str).chain(auto);
    page.table("[director]");
    page.set("interfaces", strings(interfaces));
    if !director.cores.is_empty() {
        page.set("cores", format!("{:?}", director.cores));
    }
    page.set_unless("flows_per_worker", director.flows_per_worker, defaults::FLOWS_PER_WORKER);
    page.set_unless("flows_per_worker_ipv6", director.flows_per_worker_ipv6, director.flows_per_worker);
    page.set_unless("frames_per_queue", director.frames_per_queue, defaults::FRAMES_PER_QUEUE);
    if director.hash_key != defaults::HASH_KEY {
        let [high, low] = director.hash_key;
        page.set("hash_key", format!("\"{high:016x}{low:016x}\""));
    }
    if director.idle == Idle::Spin {
        page.set("idle", "\"spin\"");
    }
    if director.worker_failure == WorkerFailure::Restart {
        page.set("worker_failure", "\"restart\"");
    }
    page.set_unless("icmp_rate", director.icmp_rate, defaults::ICMP_RATE);
    page.set_unless("reset_rate", director.reset_rate, defaults::RESET_RATE);
    if let Some(metrics) = director.metrics {
        page.set("metrics", string(&metrics.to_string()));
    }
    if let Some(group) = &director.socket_group {
        page.set("socket_group", string(group));
    }
    timeouts(page, "[director.timeouts]", &director.timeouts, &defaults::TIMEOUTS);
}

fn virtual_service(page: &mut Page, service: &VirtualService, context: &Context) {
    page.table("[[service]]");
    page.set("vip", string(&service.key.vip.to_string()));
    match service.key.ports.single() {
        Some(port) => page.set("port", port),
        None => page.set("port", string(&ports(service.key.ports))),
    }
    page.set("protocol", string(&service.key.protocol.to_string()));
    scheduler(page, service.scheduler);
    if let Some(persistence) = service.persistence {
        page.set("persistence", duration(persistence.timeout));
        page.set_unless("persistence_prefix", persistence.prefix, if service.is_ipv6() { 128 } else { 32 });
    }
    page.set_unless("one_packet", service.one_packet, false);
    fates(page, service);
    page.set_unless(
        "table_share",
        string(&percent(service.table_share)),
        string(&percent(context.table_share)),
    );
    if let Some(slow_start) = service.slow_start {
        page.set("slow_start", duration(slow_start));
    }
    // Once for all, where all do the same.
    let inhibit = !service.reals.is_empty() && service.reals.iter().all(|real| real.inhibit);
    page.set_unless("inhibit_on_failure", inhibit, false);
    if service.vip_check != default_vip_check(&service.reals) {
        page.set(
            "vip_check",
            match service.vip_check {
                VipCheck::Decides => "true",
                VipCheck::Reports => "\"report\"",
                VipCheck::Off => "false",
            },
        );
    }
    quorum(page, &service.quorum, context);
    page.set_unless("omega", service.omega, false);
    if let Some(group) = &service.group {
        page.set("group", string(group));
    }
    timeouts(page, "[service.timeouts]", &service.timeouts, &context.timeouts);
    let shared = shared_checks(service);
    check::checks(page, "service.check", shared, service.key);
    if let Some(rule) = &service.passive {
        passive(page, rule);
    }
    if let Some(Sorry { server, inhibit }) = &service.quorum.sorry {
        page.table("[service.sorry]");
        page.set("address", string(&server.address.to_string()));
        page.set_unless("weight", server.weight, defaults::WEIGHT);
        page.set_unless("inhibit", *inhibit, false);
        way(page, server);
    }
    for real in &service.reals {
        real_server(page, real, inhibit, context);
        let own = if shared.is_empty() { &real.checks[..] } else { &[] };
        check::checks(page, "service.real.check", own, service.key);
    }
}

/// The checks that all real servers have; none where each has its own.
fn shared_checks(service: &VirtualService) -> &[HealthCheck] {
    match service.reals.split_first() {
        Some((first, others)) if others.iter().all(|real| real.checks == first.checks) => &first.checks,
        _ => &[],
    }
}

/// What becomes of flows that a real server does not take.
fn fates(page: &mut Page, service: &VirtualService) {
    match service.on_failure {
        OnFailure::Reset => {}
        OnFailure::Rehash => page.set("on_failure", "\"rehash\""),
        OnFailure::Keep => page.set("on_failure", "\"keep\""),
    }
    match service.no_real {
        NoReal::Unreachable => {}
        NoReal::Reset => page.set("no_real", "\"reset\""),
        NoReal::Silent => page.set("no_real", "\"drop\""),
    }
    page.set_unless("strict", service.strict, false);
    if service.keep_ttl {
        page.set("ttl", "\"keep\"");
    }
}

fn scheduler(page: &mut Page, scheduler: Scheduler) {
    let (name, flags) = match scheduler {
        Scheduler::Sh(flags) => ("sh".to_owned(), flags),
        Scheduler::Mh(flags) => ("mh".to_owned(), flags),
        other => (other.to_string(), HashFlags::default()),
    };
    page.set("scheduler", string(&name));
    let set = [(flags.port, "port"), (flags.fallback, "fallback")];
    let set: Vec<String> =
        set.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| format!("{name}-{flag}")).collect();
    if !set.is_empty() {
        page.set("scheduler_flags", strings(set.iter().map(String::as_str)));
    }
}

fn quorum(page: &mut Page, quorum: &Quorum, context: &Context) {
    page.set_unless("quorum", quorum.needed, 1);
    page.set_unless("hysteresis", quorum.hysteresis, 0);
    notify::hooks(page, &quorum.hooks, ["quorum_up", "quorum_down"], context.mails);
}

fn timeouts(page: &mut Page, table: &str, timeouts: &Timeouts, default: &Timeouts) {
    if timeouts == default {
        return;
    }
    page.table(table);
    let Timeouts { syn, established, fin, closed, udp, sctp } = *timeouts;
    let all = [
        ("syn", syn, default.syn),
        ("established", established, default.established),
        ("fin", fin, default.fin),
        ("closed", closed, default.closed),
        ("udp", udp, default.udp),
        ("sctp", sctp, default.sctp),
    ];
    for (name, timeout, default) in all {
        page.set_unless(name, duration(timeout), duration(default));
    }
}

fn passive(page: &mut Page, rule: &Passive) {
    page.table("[service.passive]");
    page.set("failures", string(&percent(rule.failures)));
    page.set_unless("window", duration(rule.window), duration(defaults::PASSIVE.window));
    page.set_unless("minimum", rule.minimum, defaults::PASSIVE.minimum);
    page.set_unless("hold", duration(rule.hold), duration(defaults::PASSIVE.hold));
}

/// `inhibit`: what the service says that all do when they fail.
fn real_server(page: &mut Page, real: &RealServer, inhibit: bool, context: &Context) {
    page.table("[[service.real]]");
    page.set("address", string(&real.address.to_string()));
    page.set("weight", real.weight);
    let Thresholds { upper, lower } = real.thresholds;
    page.set_unless("upper", upper, 0);
    page.set_unless("lower", lower, 0);
    way(page, real);
    page.set_unless("inhibit_on_failure", real.inhibit, inhibit);
    notify::hooks(page, &real.hooks, ["notify_up", "notify_down"], context.mails);
}

/// The way to a real server or sorry server.
fn way(page: &mut Page, server: &RealServer) {
    match server.vlan {
        Vlan::Keep => {}
        Vlan::Untagged => page.set("vlan", "\"none\""),
        Vlan::Tagged(vlan) => page.set("vlan", vlan),
    }
    if let Some(mac) = server.mac {
        page.set("mac", string(&MacAddress(mac).to_string()));
    }
    if let Some(interface) = &server.interface {
        page.set("interface", string(interface));
    }
    if let Some(mtu) = server.mtu {
        page.set("mtu", mtu);
    }
}

//! `virtual_server`: one virtual service, or one for each entry of a group; and what holds between services.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::report::{At, Report};
use super::check::Inherited;
use super::file::Files;
use super::global::Globals;
use super::group::{self, Entry, Groups};
use super::real_server::{self, Real};
use super::section::{Line, Section};
use super::value::{self, named};
use super::{quorum, schedule};
use crate::config::{Place, defaults};
use crate::model::{
    NoReal, OnFailure, Ports, Protocol, RealServer, ServiceKey, VipCheck, VirtualService, ports as spelled,
};

/// The dataplane numbers services in sixteen bits.
const MOST_SERVICES: usize = 1 << 16;

const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

/// The services of the file, in its order. A virtual server with a fault is left out.
pub(super) fn all(
    report: &mut Report,
    root: &Section<'_>,
    globals: &Globals,
    groups: &Groups,
    files: &Files,
) -> Vec<VirtualService> {
    let mut seen = Seen::default();
    let mut services = Vec::new();
    for line in root.all("virtual_server") {
        if let Some(group) = read(report, line, globals, groups, files, &mut seen) {
            services.extend(group);
        }
        if services.len() > MOST_SERVICES {
            let message = format!("more than {MOST_SERVICES} services");
            report.error(
                line.at(),
                line.path(),
                message,
                "run a second shunt for the others, on other interfaces",
            );
            break;
        }
    }
    seen.vips_are_no_reals(report);
    let share = if services.len() == 1 { defaults::TABLE_SHARE_ALONE } else { defaults::TABLE_SHARE };
    for service in &mut services {
        service.table_share = share;
    }
    services
}

/// What earlier virtual servers said, with where they said it.
#[derive(Default)]
struct Seen {
    services: HashMap<ServiceKey, At>,
    vips: HashMap<IpAddr, At>,
    reals: Vec<(IpAddr, At, String)>,
}

fn read(
    report: &mut Report,
    line: &Line<'_>,
    globals: &Globals,
    groups: &Groups,
    files: &Files,
    seen: &mut Seen,
) -> Option<Vec<VirtualService>> {
    let section = &line.section;
    let header = header(report, line, groups);
    let protocol = protocol(report, line);
    direct_routing(report, line, "lb_kind");
    direct_routing(report, line, "sorry_server_lvs_method");
    if !section.has("lb_kind") && section.lacks("lb_kind") {
        let message = "lb_kind is missing, and keepalived would use NAT, which is not there";
        report.error(line.at(), line.path(), message, "write `lb_kind DR`");
    }
    let entries = header.as_ref().map_or(&[][..], |header| &header.entries);
    ip_family(report, section, entries);
    let scheduler = schedule::scheduler(report, section);
    let persistence = schedule::persistence(report, section, entries);
    let one_packet = schedule::one_packet(report, section, protocol, persistence.flatten());
    let inherited = Inherited { log_all_failures: globals.log_all_failures, ..Inherited::default() }
        .narrowed(report, section);
    let around =
        real_server::Around { inherited: &inherited, globals, files, entries, virtual_server: section };
    let reals = real_server::all(report, &around);
    for (address, at, path) in reals.iter().map(|real| (real.server.address, &real.at, &real.path)) {
        seen.reals.push((address, at.clone(), path.clone()));
    }
    let sorry = real_server::sorry(report, &around);
    if let Some((sorry, at, path)) = &sorry {
        if let Some(twin) = reals.iter().find(|real| real.server.address == sorry.server.address) {
            let address = sorry.server.address;
            let message = format!("{address} is a real server of this service (line {})", twin.at.line());
            let help = "name another server: this one is gone when the others are";
            report.error(at, path, message, help);
        }
        seen.reals.push((sorry.server.address, at.clone(), path.clone()));
    }
    let weights = reals.iter().fold(0, |sum: u32, real| sum.saturating_add(real.server.weight.into()));
    let quorum = quorum::quorum(report, section, globals, weights, sorry.map(|(sorry, ..)| sorry));
    let header = header?;
    if reals.is_empty() {
        if section.lacks("real_server") {
            let message = "the virtual server has no real server: it is left out, as keepalived does";
            report.warning(line.at(), line.path(), message, "add one: real_server 192.0.2.11 80 { ... }");
        }
        return None;
    }
    if weights == 0 {
        let message = "every real server has weight 0";
        let help = "weight 0 means draining: old flows go on, new ones have nowhere to go";
        report.warning(line.at(), line.path(), message, help);
    }
    let (protocol, scheduler) = (protocol?, scheduler?);
    let (persistence, one_packet) = (persistence?, one_packet?);
    let mut services = Vec::new();
    for entry in header.entries {
        let key = ServiceKey { vip: entry.vip, protocol, ports: entry.ports };
        if !seen.is_new(report, key, &entry.at, line.path()) {
            continue;
        }
        let Some(servers) = servers(report, key, &reals) else { break };
        services.push(VirtualService {
            key,
            scheduler,
            persistence,
            one_packet,
            on_failure: OnFailure::default(),
            no_real: NoReal::default(),
            strict: false,
            keep_ttl: false,
            table_share: defaults::TABLE_SHARE,
            slow_start: None,
            timeouts: globals.timeouts,
            vip_check: vip_check(key),
            quorum: quorum.clone(),
            omega: section.has("omega"),
            group: header.group.clone(),
            passive: None,
            reals: servers,
        });
    }
    Some(services)
}

/// What a virtual server stands for.
struct Header {
    group: Option<String>,
    entries: Vec<Entry>,
}

/// `virtual_server ADDRESS [PORT]`, `group NAME` or `fwmark N`.
fn header(report: &mut Report, line: &Line<'_>, groups: &Groups) -> Option<Header> {
    let word = line.word(0)?;
    match word.text.as_str() {
        "fwmark" => {
            let message = "firewall marks are not there: shunt takes frames before the firewall sees them";
            let help = "name the VIPs and ports themselves, in a virtual_server_group if there are several";
            report.error(&word.at, line.path(), message, help);
            None
        }
        "group" => {
            let Some(name) = line.word(1) else {
                report.error(
                    &word.at,
                    line.path(),
                    "the name of the group is missing",
                    "write it: virtual_server group web",
                );
                return None;
            };
            let entries = groups.find(report, name, line.path())?.to_vec();
            Some(Header { group: Some(name.text.clone()), entries })
        }
        _ => {
            let vip = value::address(report, word, line.path());
            let ports = group::ports(report, line.word(1), line.path());
            let entry = Entry { vip: vip?, ports: ports?, at: word.at.clone() };
            Some(Header { group: None, entries: vec![entry] })
        }
    }
}

fn protocol(report: &mut Report, line: &Line<'_>) -> Option<Protocol> {
    let section = &line.section;
    let Some(line) = section.last("protocol") else {
        if section.lacks("protocol") {
            let message = "protocol is missing, and keepalived would use UDP";
            report.error(line.at(), line.path(), message, "write `protocol TCP`, or UDP or SCTP");
        }
        return None;
    };
    // keepalived takes it in any case.
    let mut word = line.word(0)?.clone();
    word.text.make_ascii_uppercase();
    value::word(report, &word, line.path(), "protocol", PROTOCOLS)
}

/// Nothing but `DR` may stand there.
pub(super) fn direct_routing(report: &mut Report, around: &Line<'_>, name: &str) {
    const HELP: &str = "write DR, and put the VIP on the loopback of each real server";
    for line in around.section.all(name) {
        let Some(word) = line.word(0) else { continue };
        let message = match word.text.as_str() {
            "DR" => match line.word(1) {
                Some(extra) => format!("{} is too much after DR", named(&extra.text)),
                None => continue,
            },
            "NAT" => "NAT: this director is for direct routing only; answers do not come back through it"
                .to_owned(),
            "TUN" => {
                "TUN: this director is for direct routing only; it wraps nothing into tunnels".to_owned()
            }
            text if text.eq_ignore_ascii_case("dr") => format!("{} is written DR", named(text)),
            text => format!("{} is no way to reach a real server", named(text)),
        };
        report.error(&word.at, line.path(), message, HELP);
    }
}

fn ip_family(report: &mut Report, section: &Section<'_>, entries: &[Entry]) {
    let Some((line, word)) = section.last("ip_family").and_then(|line| Some((line, line.word(0)?))) else {
        return;
    };
    let is_ipv4 =
        value::word(report, word, line.path(), "address family", &[("inet", true), ("inet6", false)]);
    if let Some(entry) = entries.iter().find(|entry| is_ipv4.is_some_and(|v4| v4 != entry.vip.is_ipv4())) {
        let message = format!("{} is not the family of {}", word.text, entry.vip);
        report.error(&word.at, line.path(), message, "take it out: the address says it");
    }
}

/// The real servers of one service: checks get its port where they have none of their own.
fn servers(report: &mut Report, key: ServiceKey, reals: &[Real]) -> Option<Vec<RealServer>> {
    let mut servers = Vec::new();
    for real in reals {
        let mut server = real.server.clone();
        for checker in &real.checkers {
            let mut check = checker.check.clone();
            if check.probe.has_port() && check.target.port == 0 {
                let Some(port) = key.ports.single() else {
                    let message =
                        format!("the service is for port {}, so the check has none", spelled(key.ports));
                    report.error(
                        &checker.at,
                        &real.path,
                        message,
                        "add the port that shows that the real server is well: connect_port 80",
                    );
                    return None;
                };
                check.target.port = port;
            }
            report.locate(Place::Check(key), &checker.at);
            server.checks.push(check);
        }
        report.locate(Place::Real(key, server.address), &real.at);
        servers.push(server);
    }
    Some(servers)
}

/// What keepalived's checks cannot see is looked at beside them.
fn vip_check(key: ServiceKey) -> VipCheck {
    match key.protocol == Protocol::Tcp && key.ports.single().is_some() {
        true => VipCheck::Reports,
        false => VipCheck::Off,
    }
}

impl Seen {
    /// Whether the service is not there already.
    fn is_new(&mut self, report: &mut Report, key: ServiceKey, at: &At, path: &str) -> bool {
        self.vips.entry(key.vip).or_insert_with(|| at.clone());
        if let Some(first) = self.services.get(&key) {
            let message = format!("{key} is here twice; first on line {}", first.line());
            report.error(at, path, message, "put all real servers of a service into one virtual_server");
            return false;
        }
        report.locate(Place::Service(key), at);
        self.services.insert(key, at.clone());
        true
    }

    /// A director that owned a real server's address would answer for it.
    fn vips_are_no_reals(&self, report: &mut Report) {
        for (address, at, path) in &self.reals {
            if let Some(vip) = self.vips.get(address) {
                let message = format!("{address} is also a VIP (line {})", vip.line());
                let help = "give the real server's own address; the VIP sits on its loopback in addition";
                report.error(at, path, message, help);
            }
        }
    }
}

/// Whether a service is for this port, or for any.
pub(super) fn is_for(ports: Ports, port: u16) -> bool {
    if port == 0 { ports == Ports::ANY } else { ports.single() == Some(port) }
}

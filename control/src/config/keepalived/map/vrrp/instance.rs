//! `vrrp_instance`.

use std::collections::HashMap;

use super::super::super::report::{At, Report};
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use super::{address, number};

/// RFC 2338: the password has eight bytes.
const LONGEST_PASSWORD: usize = 8;

/// What others need to know of an instance.
pub(in super::super) struct Instance {
    /// Its name, and where it stands.
    name: (String, At),
    /// Interfaces that it or its addresses name, in the order of the file.
    pub interfaces: Vec<(String, At)>,
    /// What tells it from others on its interface, and where that stands: interface, IPv6, VRID.
    identity: Option<((String, bool, u8), At)>,
}

/// Reads an instance. `version`: of the global definitions.
pub(super) fn read(
    report: &mut Report,
    line: &Line<'_>,
    version: Option<u8>,
    default_interface: Option<&str>,
) -> Instance {
    let section = &line.section;
    let name = line.word(0).map_or(String::new(), |word| word.text.clone());
    report.warning(
        line.at(),
        line.path(),
        format!("vrrp_instance {}: this version of shunt runs no VRRP", named(&name)),
        "the VIPs of the virtual servers are held here for as long as shunt runs: do not run two directors with this file at \
         the same time",
    );
    let interface = interface(report, line, default_interface);
    let addresses = addresses(report, section);
    let is_ipv6 =
        addresses.first().is_some_and(|first| first.address.is_ipv6()) || section.has("native_ipv6");
    let vrid = vrid(report, line);
    let version = own_version(section).or(version).unwrap_or(if is_ipv6 { 3 } else { 2 });
    if let Some(line) = section.last("advert_int") {
        number::interval(report, line, version);
    }
    state(report, section);
    authentication(report, section, version);
    peers(report, section);
    if version == 3 && addresses.is_empty() && section.lacks("virtual_ipaddress") {
        let message =
            format!("vrrp_instance {} has no virtual_ipaddress, and VRRP version 3 needs one", named(&name));
        report.error(line.at(), line.path(), message, "add one: virtual_ipaddress { 192.0.2.10 }");
    }
    let of_addresses = addresses.into_iter().filter_map(|address| address.interface);
    let identity = match (&interface, vrid) {
        // Told apart by their peers.
        _ if section.has("unicast_peer") => None,
        (Some((interface, _)), Some((vrid, at))) => Some(((interface.clone(), is_ipv6, vrid), at)),
        _ => None,
    };
    let interfaces = interface.into_iter().chain(of_addresses).collect();
    Instance { name: (name, line.at().clone()), interfaces, identity }
}

/// No two instances have one name, or one VRID on one interface.
pub(super) fn are_apart(report: &mut Report, instances: &[Instance]) {
    let (mut names, mut identities) = (HashMap::new(), HashMap::new());
    for instance in instances {
        let (name, at) = &instance.name;
        if let Some(first) = names.insert(name, at) {
            let message =
                format!("vrrp_instance {} is here twice; first on line {}", named(name), first.line());
            report.error(at, "vrrp_instance", message, "give each instance its own name");
        }
        let Some((identity, at)) = &instance.identity else { continue };
        if let Some(first) = identities.insert(identity, at) {
            let (interface, is_ipv6, vrid) = identity;
            let family = if *is_ipv6 { "IPv6" } else { "IPv4" };
            let message = format!(
                "virtual_router_id {vrid} is taken on {interface} for {family}, on line {}",
                first.line()
            );
            let help = "give each instance on an interface its own, the same on all directors";
            report.error(at, "vrrp_instance.virtual_router_id", message, help);
        }
    }
}

fn interface(report: &mut Report, line: &Line<'_>, default: Option<&str>) -> Option<(String, At)> {
    let section = &line.section;
    match section.last("interface") {
        Some(line) => {
            let word = line.word(0)?;
            Some((value::interface(report, word, line.path())?, word.at.clone()))
        }
        None => {
            // keepalived.conf(5): with unicast peers the routes say by which interface they are reached.
            if default.is_none() && section.lacks("interface") && section.lacks("unicast_peer") {
                report.error(
                    line.at(),
                    line.path(),
                    "interface is missing",
                    "add a line such as: interface eth0",
                );
            }
            default.map(|name| (name.to_owned(), line.at().clone()))
        }
    }
}

fn vrid(report: &mut Report, line: &Line<'_>) -> Option<(u8, At)> {
    let section = &line.section;
    let Some(line) = section.last("virtual_router_id") else {
        if section.lacks("virtual_router_id") {
            let help = "add a line such as: virtual_router_id 51";
            report.error(line.at(), line.path(), "virtual_router_id is missing", help);
        }
        return None;
    };
    let word = line.word(0)?;
    // A number out of range has its fault already.
    Some((word.text.parse().ok().filter(|vrid| *vrid > 0)?, word.at.clone()))
}

fn own_version(section: &Section<'_>) -> Option<u8> {
    section.last("version")?.word(0)?.text.parse().ok().filter(|version| (2..=3).contains(version))
}

fn state(report: &mut Report, section: &Section<'_>) {
    let Some((line, word)) = section.last("state").and_then(|line| Some((line, line.word(0)?))) else {
        return;
    };
    let known = [("MASTER", true), ("BACKUP", false)];
    if value::word(report, word, line.path(), "state", &known) != Some(true) {
        return;
    }
    for name in ["nopreempt", "preempt_delay"] {
        if let Some(line) = section.last(name).filter(|line| line.key.name == name) {
            let message =
                format!("{name} does not work with state MASTER and is cleared: this node will preempt");
            report.warning(line.at(), line.path(), message, "write `state BACKUP` on all directors");
        }
    }
}

fn authentication(report: &mut Report, section: &Section<'_>, version: u8) {
    let Some(block) = section.last("authentication") else { return };
    let inside = &block.section;
    if version == 3 {
        let message = "VRRP version 3 has no authentication";
        report.warning(block.at(), block.path(), message, "take it out, or write `version 2`");
    }
    let Some((line, word)) = inside.last("auth_type").and_then(|line| Some((line, line.word(0)?))) else {
        if inside.lacks("auth_type") {
            report.error(block.at(), block.path(), "auth_type is missing", "write `auth_type PASS`");
        }
        return;
    };
    if word.text == "AH" {
        let message = "auth_type AH is gone: RFC 3768 took it out of VRRP";
        report.error(&word.at, line.path(), message, "write `auth_type PASS`, on all directors");
        return;
    }
    value::word(report, word, line.path(), "auth_type", &[("PASS", ())]);
    match inside.last("auth_pass").and_then(|line| Some((line, line.word(0)?))) {
        Some((line, word)) if word.text.len() > LONGEST_PASSWORD => {
            let message = format!("auth_pass is truncated to its first {LONGEST_PASSWORD} bytes");
            report.warning(&word.at, line.path(), message, "give eight at most, the same on all directors");
        }
        Some(_) => {}
        None => {
            if inside.lacks("auth_pass") {
                report.error(block.at(), block.path(), "auth_pass is missing", "write `auth_pass SECRET`");
            }
        }
    }
}

fn addresses(report: &mut Report, section: &Section<'_>) -> Vec<address::Address> {
    let mut advertised = Vec::new();
    for line in section.all("virtual_ipaddress") {
        for statement in line.entries() {
            advertised.extend(address::read(report, statement, line.path()));
        }
    }
    if let Some(first) = advertised.first()
        && let Some(other) =
            advertised.iter().find(|other| other.address.is_ipv4() != first.address.is_ipv4())
        && let Some(line) = section.last("virtual_ipaddress")
    {
        let message =
            format!("{} and {} are of two families, and an instance has one", first.address, other.address);
        report.error(
            line.at(),
            line.path(),
            message,
            "put those of the other into virtual_ipaddress_excluded",
        );
    }
    let mut all = advertised;
    for line in section.all("virtual_ipaddress_excluded") {
        for statement in line.entries() {
            all.extend(address::read(report, statement, line.path()));
        }
    }
    all
}

fn peers(report: &mut Report, section: &Section<'_>) {
    for name in ["unicast_src_ip", "mcast_src_ip", "mcast_dst_ip"] {
        if let Some((line, word)) = section.last(name).and_then(|line| Some((line, line.word(0)?))) {
            value::any_address(report, word, line.path());
        }
    }
    for line in section.all("unicast_peer") {
        for statement in line.entries() {
            value::any_address(report, &statement.keyword, line.path());
            ttls(report, &statement.arguments, line.path());
        }
    }
}

/// `[min_ttl N] [max_ttl N]`
fn ttls(report: &mut Report, words: &[super::super::super::tree::Word], path: &str) {
    for pair in words.chunks(2) {
        let known = [("min_ttl", ()), ("max_ttl", ())];
        if value::word(report, &pair[0], path, "option", &known).is_none() {
            continue;
        }
        match pair.get(1) {
            Some(ttl) => {
                value::number(report, ttl, path, 0..=255_u8);
            }
            None => report.error(&pair[0].at, path, "a number is missing after it", "give 0 to 255"),
        }
    }
}

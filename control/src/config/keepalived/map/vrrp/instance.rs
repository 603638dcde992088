//! `vrrp_instance`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::super::super::report::{At, Report};
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use super::defaults::Defaults;
use super::things::Things;
use super::{address, announce, hooks, locate, number, peers, strict, track};
use crate::config::VrrpPart;
use crate::model::{AdvertChecks, Checksum, Peers, Version, VirtualAddress, VirtualRouter, Vmac};

/// RFC 2338: the password has eight bytes.
const LONGEST_PASSWORD: usize = 8;
/// The count of an advert has eight bits.
const MOST_ADDRESSES: usize = 255;
/// keepalived: VRRP_PRIO_DFL.
const PRIORITY: u8 = 100;

/// An instance, and what others need to know of it.
pub(in super::super) struct Instance {
    /// None after an error.
    pub router: Option<VirtualRouter>,
    /// Its name, and where it stands.
    pub name: (String, At),
    /// Interfaces that it or its addresses name, in the order of the file.
    pub interfaces: Vec<(String, At)>,
    /// Where its VRID stands.
    vrid: At,
}

/// Reads an instance.
pub(super) fn read(
    report: &mut Report,
    line: &Line<'_>,
    default_interface: Option<&str>,
    defaults: &Defaults,
    things: &Things,
) -> Instance {
    let section = &line.section;
    let name = line.word(0).map_or(String::new(), |word| word.text.clone());
    locate(report, VrrpPart::Router, &name, line.at());
    let interface = interface(report, line, default_interface);
    let vrid = vrid(report, line);
    let on = interface.as_ref().map(|(name, _)| name.as_str());
    let (addresses, excluded, placed) = addresses(report, section, on);
    let mut router = router(report, line, on, defaults, things, addresses, excluded);
    router.name = name.clone();
    router.vrid = vrid.as_ref().map_or(0, |(vrid, _)| *vrid);
    let complete = interface.is_some() && vrid.is_some();
    Instance {
        router: complete.then_some(router),
        name: (name, line.at().clone()),
        interfaces: interface.into_iter().chain(placed).collect(),
        vrid: vrid.map_or_else(|| line.at().clone(), |(_, at)| at),
    }
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
        let Some(router) = &instance.router else { continue };
        // Those that have peers are told apart by them.
        let peers: Vec<Option<IpAddr>> = match &router.peers {
            Peers::Multicast { .. } => vec![None],
            Peers::Unicast { peers, .. } => peers.iter().map(|peer| Some(peer.address)).collect(),
        };
        for peer in peers {
            let VirtualRouter { vrid, interface, ipv6, .. } = router;
            let Some(first) = identities.insert((interface, ipv6, vrid, peer), &instance.vrid) else {
                continue;
            };
            let family = if *ipv6 { "IPv6" } else { "IPv4" };
            let with = peer.map_or(String::new(), |peer| format!(" with peer {peer}"));
            let line = first.line();
            let message = format!(
                "virtual_router_id {vrid} is taken on {interface} for {family}{with}, on line {line}"
            );
            let help = "give each instance on an interface its own, the same on all directors";
            report.error(&instance.vrid, "vrrp_instance.virtual_router_id", message, help);
            break;
        }
    }
}

/// Gives the virtual interfaces the names that keepalived would: one that is taken is not given again, and a standard one
/// that is taken gets a number.
pub(super) fn name_vmacs(report: &mut Report, instances: &mut [Instance], prefix: Option<&str>) {
    let mut taken: Vec<String> = Vec::new();
    for instance in instances.iter_mut() {
        let vmac = instance.router.as_mut().and_then(|router| router.vmac.as_mut());
        let Some(name) = vmac.and_then(|vmac| vmac.interface.take()) else { continue };
        if taken.contains(&name) {
            let (at, key) = (&instance.name.1, "vrrp_instance.use_vmac");
            let message = format!(
                "the virtual interface {} is another instance's: a standard name is taken",
                named(&name)
            );
            report.warning(at, key, message, "give each its own name, or none");
            continue;
        }
        taken.push(name.clone());
        if let Some(vmac) = instance.router.as_mut().and_then(|router| router.vmac.as_mut()) {
            vmac.interface = Some(name);
        }
    }
    for router in instances.iter_mut().filter_map(|instance| instance.router.as_mut()) {
        let Some(vmac) = router.vmac.as_mut().filter(|vmac| vmac.interface.is_none()) else { continue };
        let six = if router.ipv6 { "6" } else { "" };
        let standard = format!("vrrp{six}.{}", router.vrid);
        let first = prefix.map_or(standard.clone(), |prefix| format!("{prefix}{six}.{}", router.vrid));
        let others = (1..).map(|number| format!("vrrp{six}.{}.{number}", router.vrid));
        let name = std::iter::once(first).chain(others).find(|name| !taken.contains(name));
        let name = name.unwrap_or_else(|| unreachable!("numbers do not end before names do"));
        taken.push(name.clone());
        vmac.interface = (name != standard).then_some(name);
    }
}

/// The router but for its name and VRID. `on`: its interface, empty in the router after an error.
fn router(
    report: &mut Report,
    line: &Line<'_>,
    on: Option<&str>,
    defaults: &Defaults,
    things: &Things,
    addresses: Vec<VirtualAddress>,
    excluded: Vec<VirtualAddress>,
) -> VirtualRouter {
    let section = &line.section;
    let name = line.word(0).map_or("", |word| &word.text);
    let typed = peers::read(report, section);
    let ipv6 = is_ipv6(section, &typed);
    let version = version(report, section, ipv6, defaults);
    has_addresses(report, line, version, &addresses);
    let switch =
        |report: &mut Report, name, default| number::switch(report, section.last(name)).unwrap_or(default);
    let checks = AdvertChecks {
        skip_known_addresses: switch(report, "skip_check_adv_addr", defaults.checks.skip_known_addresses),
        unicast_source: section.has("check_unicast_src")
            || typed.checks_ttl
            || defaults.checks.unicast_source,
        strict: switch(report, "strict_mode", defaults.checks.strict),
    };
    let message_only = switch(report, "v3_checksum_as_v2", false);
    let state = state(report, section);
    let priority = number::whole(report, section.last("priority"), 1..=strict::OWNER);
    let priority = priority.unwrap_or(if state == Some(true) { strict::OWNER } else { PRIORITY });
    let peers = peers::resolve(report, line, &typed, ipv6, defaults);
    let interval = section.last("advert_int").and_then(|line| number::interval(report, line, version));
    let mut router = VirtualRouter {
        name: String::new(),
        version,
        ipv6,
        interface: on.unwrap_or_default().to_owned(),
        vrid: 0,
        priority,
        begins_active: state.unwrap_or(priority == strict::OWNER),
        interval: interval.unwrap_or(Duration::from_secs(1)),
        down_timer_adverts: number::whole(report, section.last("down_timer_adverts"), 1..=100)
            .unwrap_or(defaults.down_timer_adverts),
        password: authentication(report, section, version),
        addresses,
        excluded,
        vmac: vmac(report, section, &peers),
        peers,
        source: typed.source,
        track_source: track_source(report, section, typed.source),
        preempt: section.last("nopreempt").is_none_or(|line| line.key.name != "nopreempt"),
        preempt_delay: number::preempt_delay(report, section).unwrap_or_default(),
        lower_prio_no_advert: switch(report, "lower_prio_no_advert", defaults.lower_prio_no_advert),
        higher_prio_send_advert: switch(report, "higher_prio_send_advert", defaults.higher_prio_send_advert),
        checks,
        checksum: if message_only { Checksum::MessageOnly } else { Checksum::PseudoHeader },
        announce: announce::read(report, section, on, defaults),
        track: track::read(report, section, things),
        hooks: hooks::read(report, section, name, VrrpPart::RouterHook, defaults),
    };
    strict::settle(report, section, &mut router);
    if router.priority == strict::OWNER {
        let why = "priority 255 does not change";
        strict::weightless(report, section, &mut router.track, why, false);
    }
    router
}

fn interface(report: &mut Report, line: &Line<'_>, default: Option<&str>) -> Option<(String, At)> {
    let section = &line.section;
    match section.last("interface") {
        Some(line) => {
            let word = line.word(0)?;
            let name = value::interface(report, word, line.path())?;
            if name == "lo" {
                let message = "no other director is reached by a loopback interface";
                report.error(&word.at, line.path(), message, "name the interface to the other directors");
            }
            Some((name, word.at.clone()))
        }
        None => {
            if default.is_none() && section.lacks("interface") {
                let help = match section.has("unicast_peer") {
                    true => "name the one that leads to the peers: interface eth0",
                    false => "add a line such as: interface eth0",
                };
                report.error(line.at(), line.path(), "interface is missing", help);
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
    Some((number::whole(report, Some(line), 1..=u8::MAX)?, line.word(0)?.at.clone()))
}

/// The family of the first address that says one, whatever else is wrong with it.
fn is_ipv6(section: &Section<'_>, typed: &peers::Typed) -> bool {
    let group = section.last("mcast_dst_ip").and_then(|line| line.word(0)?.text.parse().ok());
    advertised(section)
        .next()
        .or(typed.source)
        .or(typed.peers.first().map(|peer| peer.address))
        .or(group)
        .map_or(section.has("native_ipv6"), |address| address.is_ipv6())
}

/// The addresses of `virtual_ipaddress` as they are typed.
fn advertised<'a>(section: &'a Section<'_>) -> impl Iterator<Item = IpAddr> + 'a {
    let entries = section.all("virtual_ipaddress").flat_map(|line| line.entries());
    entries.filter_map(|entry| entry.keyword.text.split('/').next()?.parse().ok())
}

fn version(report: &mut Report, section: &Section<'_>, ipv6: bool, defaults: &Defaults) -> Version {
    let own = number::version(report, section.last("version"));
    match own.or(defaults.version) {
        Some(Version::V2) if ipv6 => {
            if let Some(line) = section.last("version") {
                let message = "IPv6 has no VRRP version 2: version 3 is spoken";
                report.warning(line.at(), line.path(), message, "write `version 3`");
            }
            Version::V3
        }
        Some(version) => version,
        None if ipv6 => Version::V3,
        None => Version::V2,
    }
}

fn has_addresses(report: &mut Report, line: &Line<'_>, version: Version, addresses: &[VirtualAddress]) {
    if !addresses.is_empty() || !line.section.lacks("virtual_ipaddress") {
        return;
    }
    let name = named(line.word(0).map_or("", |word| &word.text));
    let help = "add one: virtual_ipaddress { 192.0.2.10 }";
    match version {
        Version::V3 => {
            let message =
                format!("vrrp_instance {name} has no virtual_ipaddress, and VRRP version 3 needs one");
            report.error(line.at(), line.path(), message, help);
        }
        Version::V2 => {
            let message =
                format!("vrrp_instance {name} has no virtual_ipaddress: it tells who is active, and no more");
            report.warning(line.at(), line.path(), message, help);
        }
    }
}

/// Whether it says MASTER.
fn state(report: &mut Report, section: &Section<'_>) -> Option<bool> {
    let line = section.last("state")?;
    value::word(report, line.word(0)?, line.path(), "state", &[("MASTER", true), ("BACKUP", false)])
}

fn authentication(
    report: &mut Report,
    section: &Section<'_>,
    version: Version,
) -> Option<[u8; LONGEST_PASSWORD]> {
    let block = section.last("authentication")?;
    let inside = &block.section;
    if version == Version::V3 {
        let message = "VRRP version 3 has no authentication: none is sent, and none is expected";
        report.warning(block.at(), block.path(), message, "take it out, or write `version 2`");
    }
    let Some((line, word)) = inside.last("auth_type").and_then(|line| Some((line, line.word(0)?))) else {
        if inside.lacks("auth_type") {
            report.error(block.at(), block.path(), "auth_type is missing", "write `auth_type PASS`");
        }
        return None;
    };
    if word.text == "AH" {
        let message = "auth_type AH is gone: RFC 3768 took it out of VRRP";
        report.error(&word.at, line.path(), message, "write `auth_type PASS`, on all directors");
        return None;
    }
    value::word(report, word, line.path(), "auth_type", &[("PASS", ())]);
    let given = inside.last("auth_pass").and_then(|line| Some((line, line.word(0)?)));
    let Some((line, word)) = given.filter(|(_, word)| !word.text.is_empty()) else {
        if given.is_some() || inside.lacks("auth_pass") {
            report.error(block.at(), block.path(), "auth_pass is missing", "write `auth_pass SECRET`");
        }
        return None;
    };
    if word.text.len() > LONGEST_PASSWORD {
        let help = "give eight at most, the same on all directors";
        let message = format!("auth_pass is truncated to its first {LONGEST_PASSWORD} bytes");
        match word.text.is_char_boundary(LONGEST_PASSWORD) {
            true => report.warning(&word.at, line.path(), message, help),
            false => report.error(&word.at, line.path(), message + ", which is within a character", help),
        }
    }
    let mut password = [0; LONGEST_PASSWORD];
    for (byte, typed) in password.iter_mut().zip(word.text.bytes()) {
        *byte = typed;
    }
    (version == Version::V2).then_some(password)
}

/// Those that are advertised, those that are not, and the interfaces that they name.
fn addresses(
    report: &mut Report,
    section: &Section<'_>,
    on: Option<&str>,
) -> (Vec<VirtualAddress>, Vec<VirtualAddress>, Vec<(String, At)>) {
    let (mut lists, mut placed) = ([Vec::new(), Vec::new()], Vec::new());
    for (list, name) in lists.iter_mut().zip(["virtual_ipaddress", "virtual_ipaddress_excluded"]) {
        for line in section.all(name) {
            for statement in line.entries() {
                let Some(mut read) = address::read(report, statement, line.path()) else { continue };
                let at = &statement.keyword.at;
                placed.extend(read.interface.iter().map(|name| (name.clone(), at.clone())));
                // Where it would be put anyway.
                read.interface = read.interface.filter(|name| Some(name.as_str()) != on);
                if list.iter().any(|other: &VirtualAddress| other.address == read.address) {
                    let message = format!("{} is here twice: the first line counts", read.address);
                    report.warning(at, line.path(), message, "take one of them out");
                    continue;
                }
                list.push(read);
            }
        }
    }
    let [mut advertised, mut excluded] = lists;
    let Some(line) = section.last("virtual_ipaddress") else { return (advertised, excluded, placed) };
    let mut typed = self::advertised(section);
    if let Some(first) = typed.next()
        && let Some(other) = typed.find(|other| other.is_ipv4() != first.is_ipv4())
    {
        let message = format!("{first} and {other} are of two families, and an instance has one");
        let help = "put those of the other into virtual_ipaddress_excluded";
        report.error(line.at(), line.path(), message, help);
    }
    if advertised.len() > MOST_ADDRESSES {
        let message = format!(
            "{} addresses, and an advert has room for {MOST_ADDRESSES}: the others are held, and not advertised",
            advertised.len()
        );
        report.warning(line.at(), line.path(), message, "put the others into virtual_ipaddress_excluded");
        excluded.splice(0..0, advertised.drain(MOST_ADDRESSES..));
    }
    (advertised, excluded, placed)
}

/// `use_vmac [NAME] [MAC]`
fn vmac(report: &mut Report, section: &Section<'_>, peers: &Peers) -> Option<Vmac> {
    let base = section.last("vmac_xmit_base");
    let Some(line) = section.last("use_vmac") else {
        if let Some(line) = base {
            let message = "vmac_xmit_base does nothing without use_vmac";
            report.warning(line.at(), line.path(), message, "add use_vmac, or take it out");
        }
        return None;
    };
    let mut interface = None;
    for word in line.words() {
        if word.text.contains(':') {
            let message =
                format!("{} is not taken: the virtual MAC address is that of the RFC", named(&word.text));
            report.warning(&word.at, line.path(), message, "take it out, on all directors");
        } else if interface.is_none() {
            interface = value::interface(report, word, line.path());
        } else {
            report.error(&word.at, line.path(), "a second name", "give one name: use_vmac vrrp.51");
        }
    }
    let unicast = matches!(peers, Peers::Unicast { .. });
    if unicast && base.is_none() {
        let message = "with unicast_peer adverts leave by the interface below: vmac_xmit_base is set";
        report.warning(line.at(), line.path(), message, "write vmac_xmit_base");
    }
    Some(Vmac { interface, transmit_base: unicast || base.is_some() })
}

fn track_source(report: &mut Report, section: &Section<'_>, source: Option<IpAddr>) -> bool {
    let Some(line) = section.last("track_src_ip") else { return false };
    if source.is_none() {
        let message = "track_src_ip does nothing without an address to track";
        report.warning(line.at(), line.path(), message, "add unicast_src_ip or mcast_src_ip");
    }
    source.is_some()
}

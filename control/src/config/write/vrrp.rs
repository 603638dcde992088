//! `[vrrp]` and `[sync]`.

use std::time::Duration;

use super::notify::{command, pipes};
use super::page::{Page, duration, string, strings};
use crate::config::defaults;
use crate::config::resolve::{OF_FILE, SCOPES, standard_group};
use crate::model::{
    Announce, ArgumentMatch, Checksum, Effect, FlowSync, GarpForm, Peer, Peers, SyncGroup, TrackFile,
    TrackProcess, TrackScript, Tracked, Tracking, Version, VirtualAddress, VirtualRouter, Vrrp, VrrpHooks,
};

pub(super) fn vrrp(page: &mut Page, vrrp: &Vrrp) {
    if !vrrp.startup_delay.is_zero() || vrrp.log_unknown_vrids {
        page.table("[vrrp]");
        page.set_unless("startup_delay", duration(vrrp.startup_delay), duration(Duration::ZERO));
        page.set_unless("log_unknown_vrids", vrrp.log_unknown_vrids, false);
    }
    pipes(page, "[[vrrp.pipe]]", &vrrp.pipes);
    for script in &vrrp.scripts {
        self::script(page, script);
    }
    for file in &vrrp.files {
        self::file(page, file);
    }
    for process in &vrrp.processes {
        self::process(page, process);
    }
    for router in &vrrp.routers {
        self::router(page, router, &vrrp.scripts);
    }
    for group in &vrrp.groups {
        self::group(page, group, &vrrp.scripts);
    }
    if let Some(sync) = &vrrp.sync {
        self::sync(page, sync);
    }
}

fn script(page: &mut Page, script: &TrackScript) {
    page.table("[[vrrp.script]]");
    page.set("name", string(&script.name));
    page.set("command", command(&script.command));
    page.set("interval", duration(script.interval));
    if let Effect::Weight { weight, reverse } = script.effect {
        page.set("weight", weight);
        page.set_unless("reverse", reverse, false);
    }
    page.set_unless("rise", script.rise, 1);
    page.set_unless("fall", script.fall, 1);
    page.set_unless("init_fail", script.init_fail, false);
}

fn file(page: &mut Page, file: &TrackFile) {
    page.table("[[vrrp.file]]");
    page.set("name", string(&file.name));
    page.set("path", string(&file.path.to_string_lossy()));
    if let Some((number, overwrite)) = file.init {
        page.set("init", number);
        page.set_unless("overwrite", overwrite, false);
    }
}

fn process(page: &mut Page, process: &TrackProcess) {
    page.table("[[vrrp.process]]");
    page.set("name", string(&process.name));
    page.set("process", string(&process.process));
    if let Some(arguments) = &process.arguments {
        page.set("arguments", strings(arguments.iter().map(String::as_str)));
        match process.matching {
            ArgumentMatch::Exact => {}
            ArgumentMatch::Initial => page.set("match", "\"initial\""),
            ArgumentMatch::Partial => page.set("match", "\"partial\""),
        }
    }
    page.set_unless("full_command", process.full_command, process.arguments.is_some());
    page.set_unless("quorum", process.quorum, u32::from(process.quorum_max != Some(0)));
    if let Some(most) = process.quorum_max {
        page.set("quorum_max", most);
    }
    page.set_unless("fork_delay", duration(process.fork_delay), duration(Duration::ZERO));
    page.set_unless("terminate_delay", duration(process.terminate_delay), duration(Duration::ZERO));
}

fn router(page: &mut Page, router: &VirtualRouter, scripts: &[TrackScript]) {
    page.table("[[vrrp.router]]");
    page.set("name", string(&router.name));
    page.set("interface", string(&router.interface));
    page.set("vrid", router.vrid);
    for (key, list) in [("addresses", &router.addresses), ("excluded", &router.excluded)] {
        if !list.is_empty() {
            page.set(key, format!("[{}]", list.iter().map(address).collect::<Vec<_>>().join(", ")));
        }
    }
    if router.version == Version::V2 {
        page.set("version", 2);
    }
    page.set("priority", router.priority);
    if router.begins_active != (router.priority == 255) {
        page.set("state", if router.begins_active { "\"active\"" } else { "\"backup\"" });
    }
    page.set("interval", duration(router.interval));
    page.set_unless("down_timer_adverts", router.down_timer_adverts, 3);
    page.set_unless("preempt", router.preempt, true);
    page.set_unless("preempt_delay", duration(router.preempt_delay), duration(Duration::ZERO));
    if let Some(password) = router.password {
        let text = String::from_utf8_lossy(&password);
        page.set("password", string(text.trim_end_matches('\0')));
    }
    if let Some(source) = router.source {
        page.set("source", string(&source.to_string()));
    }
    page.set_unless("track_source", router.track_source, false);
    peers(page, router);
    page.set_unless("check_source", router.checks.unicast_source, false);
    page.set_unless("skip_known_addresses", router.checks.skip_known_addresses, false);
    page.set_unless("strict", router.checks.strict, false);
    page.set_unless("lower_prio_no_advert", router.lower_prio_no_advert, false);
    page.set_unless("higher_prio_send_advert", router.higher_prio_send_advert, false);
    if router.checksum == Checksum::MessageOnly {
        page.set("checksum", "\"rfc9568\"");
    }
    if let Some(vmac) = &router.vmac {
        page.set("vmac", vmac.interface.as_ref().map_or("true".to_owned(), |name| string(name)));
        let unicast = matches!(router.peers, Peers::Unicast { .. });
        page.set_unless("vmac_transmit_base", vmac.transmit_base, unicast);
    }
    hooks(page, &router.hooks);
    announce(page, &router.announce);
    track(page, "[vrrp.router.track]", &router.track, scripts);
}

/// An address: text where that says all.
fn address(address: &VirtualAddress) -> String {
    let width = if address.address.is_ipv4() { 32 } else { 128 };
    let with_prefix = |of: &std::net::IpAddr| match address.prefix_len == width {
        true => string(&of.to_string()),
        false => string(&format!("{of}/{}", address.prefix_len)),
    };
    // The prefix is the peer's, where there is one.
    let own = match address.peer {
        Some(_) => string(&address.address.to_string()),
        None => with_prefix(&address.address),
    };
    let mut more = Vec::new();
    if let Some(interface) = &address.interface {
        more.push(format!("interface = {}", string(interface)));
    }
    if let Some(broadcast) = address.broadcast {
        more.push(format!("broadcast = \"{broadcast}\""));
    }
    if address.scope != 0 {
        let name = SCOPES.iter().find(|(_, scope)| *scope == address.scope);
        more.push(match name {
            Some((name, _)) => format!("scope = \"{name}\""),
            None => format!("scope = {}", address.scope),
        });
    }
    if let Some(label) = &address.label {
        more.push(format!("label = {}", string(label)));
    }
    if let Some(peer) = &address.peer {
        more.push(format!("peer = {}", with_prefix(peer)));
    }
    if address.no_track {
        more.push("no_track = true".to_owned());
    }
    match more.is_empty() {
        true => own,
        false => format!("{{ address = {own}, {} }}", more.join(", ")),
    }
}

fn peers(page: &mut Page, router: &VirtualRouter) {
    match &router.peers {
        Peers::Multicast { group } => {
            let standard = standard_group(router.ipv6);
            page.set_unless("group", string(&group.to_string()), string(&standard.to_string()));
        }
        Peers::Unicast { peers, ttl, fault_without } => {
            page.set("peers", format!("[{}]", peers.iter().map(peer).collect::<Vec<_>>().join(", ")));
            page.set_unless("ttl", *ttl, u8::MAX);
            page.set_unless("fault_without_peers", *fault_without, false);
        }
    }
}

fn peer(peer: &Peer) -> String {
    let address = string(&peer.address.to_string());
    let limits = [("min_ttl", peer.min_ttl), ("max_ttl", peer.max_ttl)];
    let more: String = limits
        .iter()
        .filter(|(_, ttl)| *ttl != u8::MAX)
        .map(|(key, ttl)| format!(", {key} = {ttl}"))
        .collect();
    if more.is_empty() { address } else { format!("{{ address = {address}{more} }}") }
}

fn hooks(page: &mut Page, hooks: &VrrpHooks) {
    for (key, hook) in [
        ("notify_active", &hooks.active),
        ("notify_backup", &hooks.backup),
        ("notify_fault", &hooks.fault),
        ("notify_stop", &hooks.stop),
        ("notify", &hooks.any),
        ("notify_lower_heard", &hooks.lower_heard),
    ] {
        if let Some(hook) = hook {
            page.set(key, command(hook));
        }
    }
    page.set_unless("priority_changes", hooks.priority_changes, false);
    page.set_unless("mail", hooks.mail, false);
}

fn announce(page: &mut Page, announce: &Announce) {
    let default = Announce::default();
    if *announce == default {
        return;
    }
    page.table("[vrrp.router.announce]");
    page.set_unless("repeat", announce.repeat, default.repeat);
    page.set_unless("delay", duration(announce.delay), duration(default.delay));
    page.set_unless("refresh", duration(announce.refresh), duration(default.refresh));
    page.set_unless("refresh_repeat", announce.refresh_repeat, default.refresh_repeat);
    page.set_unless("lower_repeat", announce.lower_repeat, default.lower_repeat);
    page.set_unless("lower_delay", duration(announce.lower_delay), duration(default.lower_delay));
    page.set_unless("arp_gap", duration(announce.arp_gap), duration(default.arp_gap));
    page.set_unless("na_gap", duration(announce.na_gap), duration(default.na_gap));
    match announce.form {
        GarpForm::Request => {}
        GarpForm::Reply => page.set("form", "\"reply\""),
        GarpForm::Both => page.set("form", "\"both\""),
    }
}

fn track(page: &mut Page, table: &str, track: &Tracking, scripts: &[TrackScript]) {
    if *track == Tracking::default() {
        return;
    }
    page.table(table);
    page.set_unless("own_interface", !track.not_own_interface, true);
    let of_script = |name: &str| {
        scripts.iter().find(|script| script.name == name).map_or(Effect::Fault, |script| script.effect)
    };
    list(page, "interfaces", &track.interfaces, |_| Effect::Fault);
    list(page, "scripts", &track.scripts, of_script);
    list(page, "files", &track.files, |_| OF_FILE);
    list(page, "processes", &track.processes, |_| Effect::Fault);
    if track.workers != Effect::Fault {
        page.set("workers", fate(track.workers));
    }
    if let Some((silence, effect)) = track.receiving {
        page.set("silence", duration(silence));
        page.set("silent", fate(effect));
    }
    if let Some(effect) = track.real_servers {
        page.set("real_servers", fate(effect));
    }
}

/// What is tracked; `default`: what its failure does unless that is said.
fn list(page: &mut Page, key: &str, tracked: &[Tracked], default: impl Fn(&str) -> Effect) {
    if tracked.is_empty() {
        return;
    }
    let one = |tracked: &Tracked| {
        let name = string(&tracked.name);
        match tracked.effect {
            effect if effect == default(&tracked.name) => name,
            Effect::Fault => format!("{{ name = {name}, weight = 0 }}"),
            Effect::Weight { weight, reverse: false } => format!("{{ name = {name}, weight = {weight} }}"),
            Effect::Weight { weight, reverse: true } => {
                format!("{{ name = {name}, weight = {weight}, reverse = true }}")
            }
        }
    };
    page.set(key, format!("[{}]", tracked.iter().map(one).collect::<Vec<_>>().join(", ")));
}

fn fate(effect: Effect) -> String {
    match effect {
        Effect::Fault => "\"fault\"".to_owned(),
        Effect::Weight { weight, .. } => weight.to_string(),
    }
}

fn group(page: &mut Page, group: &SyncGroup, scripts: &[TrackScript]) {
    page.table("[[vrrp.group]]");
    page.set("name", string(&group.name));
    page.set("members", strings(group.members.iter().map(String::as_str)));
    page.set_unless("tracking_weight", group.tracking_weight, false);
    hooks(page, &group.hooks);
    track(page, "[vrrp.group.track]", &group.track, scripts);
}

fn sync(page: &mut Page, sync: &FlowSync) {
    page.table("[sync]");
    page.set("interface", string(&sync.interface));
    if sync.peers != [defaults::SYNC_GROUP] {
        let peers: Vec<String> = sync.peers.iter().map(ToString::to_string).collect();
        page.set("peers", strings(peers.iter().map(String::as_str)));
    }
    page.set_unless("port", sync.port, defaults::SYNC_PORT);
    if sync.key_file != std::path::Path::new(defaults::SYNC_KEY_FILE) {
        page.set("key_file", string(&sync.key_file.to_string_lossy()));
    }
    page.set_unless("rate", sync.rate, defaults::SYNC_RATE);
    page.set_unless("wait", duration(sync.wait), duration(defaults::SYNC_WAIT));
}

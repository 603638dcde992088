//! Virtual routers, their groups, and what they watch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::notify;
use crate::model::*;

/// Names are their numbers with something before them: unique, and there.
pub(super) fn vrrp() -> impl Strategy<Value = Vrrp> {
    let things = (vec(script(), 0..3), vec(track_file(), 0..3), vec(process(), 0..3));
    let routers = vec(router(), 0..5);
    let rest = (0..100_000u64, any::<bool>(), vec(notify::command(), 0..3), prop::option::of(sync()));
    (things, routers, vec(group(), 0..2), rest).prop_map(|(things, routers, groups, rest)| {
        let (mut scripts, mut files, mut processes) = things;
        let (startup_delay, log_unknown_vrids, readers, sync) = rest;
        for (at, script) in scripts.iter_mut().enumerate() {
            script.name = format!("s {at}");
        }
        for (at, file) in files.iter_mut().enumerate() {
            file.name = format!("f{at}");
        }
        for (at, process) in processes.iter_mut().enumerate() {
            process.name = format!("\"{at}\u{fc}");
        }
        let fit = |track: Tracking, weights: bool| fit(track, weights, &scripts, &files, &processes);
        let mut routers: Vec<VirtualRouter> = routers;
        let mut groups: Vec<SyncGroup> = groups;
        let mut left = routers.len();
        for (at, group) in groups.iter_mut().enumerate() {
            group.name = format!("g{at}");
            let members = left.min(2);
            group.members = (left - members..left).map(|at| format!("r{at}")).collect();
            left -= members;
        }
        groups.retain(|group| !group.members.is_empty());
        for (at, router) in routers.iter_mut().enumerate() {
            router.name = format!("r{at}");
            router.vrid = at as u8 + 1;
            if let Some(name) = router.vmac.as_mut().and_then(|vmac| vmac.interface.as_mut()) {
                *name += &at.to_string();
            }
            let group = groups.iter().find(|group| group.members.contains(&router.name));
            let weights = router.priority < 255 && group.is_none_or(|group| group.tracking_weight);
            router.track = fit(router.track.clone(), weights);
        }
        for group in &mut groups {
            let is_owner = |router: &VirtualRouter| router.priority == 255;
            let weights =
                !routers.iter().any(|router| group.members.contains(&router.name) && is_owner(router));
            group.track = Tracking { not_own_interface: false, ..fit(group.track.clone(), weights) };
        }
        let pipes = readers.into_iter().enumerate();
        let pipes =
            pipes.map(|(at, reader)| Pipe { path: PathBuf::from(format!("/vrrp/{at}")), reader }).collect();
        let startup_delay = Duration::from_millis(startup_delay);
        Vrrp { routers, groups, scripts, files, processes, startup_delay, log_unknown_vrids, pipes, sync }
    })
}

/// Only what is there is tracked; a file is not reversed.
fn fit(
    track: Tracking,
    weights: bool,
    scripts: &[TrackScript],
    files: &[TrackFile],
    processes: &[TrackProcess],
) -> Tracking {
    let effect = |effect: Effect| if weights { effect } else { Effect::Fault };
    let named = |tracked: Vec<Tracked>, names: Vec<&String>| -> Vec<Tracked> {
        let pairs = tracked.into_iter().zip(names);
        pairs.map(|(tracked, name)| Tracked { name: name.clone(), effect: effect(tracked.effect) }).collect()
    };
    let straight = |tracked: Tracked| match tracked.effect {
        Effect::Weight { weight, .. } => {
            Tracked { effect: Effect::Weight { weight, reverse: false }, ..tracked }
        }
        Effect::Fault => tracked,
    };
    let alone = |effect_of: Effect| match effect(effect_of) {
        Effect::Weight { weight, .. } => Effect::Weight { weight, reverse: false },
        Effect::Fault => Effect::Fault,
    };
    let interfaces: Vec<String> = (0..3).map(|at| format!("eth{at}")).collect();
    Tracking {
        not_own_interface: track.not_own_interface,
        interfaces: named(track.interfaces, interfaces.iter().collect()),
        scripts: named(track.scripts, scripts.iter().map(|script| &script.name).collect()),
        files: named(
            track.files.into_iter().map(straight).collect(),
            files.iter().map(|file| &file.name).collect(),
        ),
        processes: named(track.processes, processes.iter().map(|process| &process.name).collect()),
        workers: alone(track.workers),
        receiving: track.receiving.map(|(silence, effect)| (silence, alone(effect))),
        real_servers: track.real_servers.map(alone),
    }
}

fn effect() -> impl Strategy<Value = Effect> {
    let weight = prop_oneof![-253..=-1i16, 1..=253i16];
    prop_oneof![
        Just(Effect::Fault),
        (weight, any::<bool>()).prop_map(|(weight, reverse)| Effect::Weight { weight, reverse }),
    ]
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn track() -> impl Strategy<Value = Tracking> {
    let tracked = || vec(effect().prop_map(|effect| Tracked { name: String::new(), effect }), 0..3);
    let receiving = prop::option::of((millis(100..=100_000), effect()));
    let alone = (effect(), receiving, prop::option::of(effect()));
    (any::<bool>(), tracked(), tracked(), tracked(), tracked(), alone).prop_map(
        |(not_own_interface, interfaces, scripts, files, processes, alone)| Tracking {
            not_own_interface,
            interfaces,
            scripts,
            files,
            processes,
            workers: alone.0,
            receiving: alone.1,
            real_servers: alone.2,
        },
    )
}

fn hooks() -> impl Strategy<Value = VrrpHooks> {
    let command = notify::command;
    (command(), command(), command(), command(), command(), command(), any::<[bool; 2]>()).prop_map(
        |(active, backup, fault, stop, any, lower_heard, [priority_changes, mail])| VrrpHooks {
            active,
            backup,
            fault,
            stop,
            any,
            lower_heard,
            priority_changes,
            mail,
        },
    )
}

fn address(ipv6: bool, last: u16) -> IpAddr {
    match ipv6 {
        true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, last)),
        false => IpAddr::V4(Ipv4Addr::from_bits(0xcb00_7200 + u32::from(last))),
    }
}

/// Of one family, each once.
fn addresses(ipv6: bool, least: usize) -> impl Strategy<Value = Vec<VirtualAddress>> {
    let label = prop::option::of("[a-z0-9:]{1,15}");
    let one = (0..=128u8, prop::option::of("[a-z]{1,6}"), any::<[bool; 3]>(), any::<u8>(), label);
    let one = one.prop_map(move |(prefix_len, interface, [broadcast, peer, no_track], scope, label)| {
        VirtualAddress {
            address: address(ipv6, 0),
            prefix_len: if ipv6 { prefix_len } else { prefix_len.min(32) },
            interface,
            broadcast: (broadcast && !ipv6).then_some(Ipv4Addr::new(203, 0, 115, 255)),
            scope,
            label,
            peer: peer.then(|| address(ipv6, 999)),
            no_track,
        }
    });
    vec(one, least..4).prop_map(move |mut addresses| {
        for (at, one) in addresses.iter_mut().enumerate() {
            one.address = address(ipv6, at as u16 + 1);
        }
        addresses
    })
}

fn peers(ipv6: bool) -> impl Strategy<Value = Peers> {
    let peer = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let unicast =
        (vec(peer, 0..4), any::<u8>(), any::<bool>()).prop_map(move |(peers, ttl, fault_without)| {
            let peers: Vec<Peer> = (1..)
                .zip(peers)
                .map(|(at, (min_ttl, max_ttl))| Peer { address: address(ipv6, 100 + at), min_ttl, max_ttl })
                .collect();
            Peers::Unicast { fault_without: fault_without || peers.is_empty(), peers, ttl }
        });
    let group = match ipv6 {
        true => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
        false => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
    };
    let other = match ipv6 {
        true => IpAddr::V6(Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x13)),
        false => IpAddr::V4(Ipv4Addr::new(239, 1, 0, 18)),
    };
    prop_oneof![
        prop::sample::select(vec![group, other]).prop_map(|group| Peers::Multicast { group }),
        unicast,
    ]
}

fn announce() -> impl Strategy<Value = Announce> {
    let time = || millis(0..=100_000);
    let counts = (1..=10_000u32, 1..=10_000u32, 0..=10_000u32);
    let form = prop::sample::select(vec![GarpForm::Request, GarpForm::Reply, GarpForm::Both]);
    let some = (counts, time(), time(), time(), time(), time(), form).prop_map(
        |((repeat, refresh_repeat, lower_repeat), delay, refresh, lower_delay, arp_gap, na_gap, form)| {
            Announce {
                repeat,
                delay,
                refresh,
                refresh_repeat,
                lower_repeat,
                lower_delay,
                arp_gap,
                na_gap,
                form,
            }
        },
    );
    prop_oneof![Just(Announce::default()), some]
}

fn router() -> impl Strategy<Value = VirtualRouter> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(ipv6, two)| {
        let version = if two && !ipv6 { Version::V2 } else { Version::V3 };
        let least = usize::from(version == Version::V3);
        let held = (addresses(ipv6, least), addresses(!ipv6, 0), peers(ipv6));
        let numbers = (1..=255u8, 1..=100u8, 1..=255u64, 1..=4095u64, 0..=1_000_000u64);
        let names = ("[a-z][a-z0-9.]{0,9}", prop::option::of("[a-z\u{fc}\" ]{1,4}"), any::<bool>());
        let vmac = prop::option::of((prop::option::of("[a-z]{1,9}"), any::<bool>()));
        let rest = (vmac, announce(), track(), hooks());
        (held, numbers, any::<[bool; 10]>(), names, rest).prop_map(move |(held, numbers, flags, names, rest)| {
            let (addresses, excluded, peers) = held;
            let (priority, down_timer_adverts, seconds, centis, preempt_delay) = numbers;
            let [active, track, preempt, lower, higher, known, source_checked, strict, checksum, delayed] = flags;
            let (interface, password, has_source) = names;
            let (vmac, announce, tracking, hooks) = rest;
            // Without addresses the family is IPv4.
            let preempt = preempt || active || priority == 255;
            let delayed = delayed && preempt && !active && priority < 255;
            VirtualRouter {
                name: String::new(),
                version,
                ipv6,
                interface,
                vrid: 0,
                priority,
                begins_active: active || (priority == 255 && lower),
                interval: match version {
                    Version::V2 => Duration::from_secs(seconds),
                    Version::V3 => Duration::from_millis(centis * 10),
                },
                down_timer_adverts,
                password: password.filter(|_| version == Version::V2).map(|text| {
                    let mut password = [0; 8];
                    password[..text.len()].copy_from_slice(text.as_bytes());
                    password
                }),
                addresses,
                excluded,
                peers,
                source: has_source.then(|| address(ipv6, 77)),
                track_source: track && has_source,
                preempt,
                preempt_delay: Duration::from_millis(if delayed { preempt_delay } else { 0 }),
                lower_prio_no_advert: lower,
                higher_prio_send_advert: higher,
                checks: AdvertChecks {
                    skip_known_addresses: known,
                    unicast_source: source_checked,
                    strict,
                },
                checksum: if checksum { Checksum::MessageOnly } else { Checksum::PseudoHeader },
                vmac: vmac.map(|(interface, transmit_base)| Vmac { interface, transmit_base }),
                announce,
                track: tracking,
                hooks,
            }
        })
    })
}

fn group() -> impl Strategy<Value = SyncGroup> {
    (track(), any::<bool>(), hooks()).prop_map(|(track, tracking_weight, hooks)| SyncGroup {
        name: String::new(),
        members: Vec::new(),
        track,
        tracking_weight,
        hooks,
    })
}

fn script() -> impl Strategy<Value = TrackScript> {
    let command = (notify::argv(), notify::user(), prop::option::of(millis(1..=10_000)));
    let command = command.prop_map(|(argv, user, timeout)| Command { argv, user, timeout });
    let counts = (1..=i32::MAX as u32, 1..=i32::MAX as u32);
    (command, millis(1..=100_000), effect(), counts, any::<bool>()).prop_map(
        |(command, interval, effect, (rise, fall), init_fail)| TrackScript {
            name: String::new(),
            command,
            interval,
            effect,
            rise,
            fall,
            init_fail,
        },
    )
}

fn track_file() -> impl Strategy<Value = TrackFile> {
    let init = prop::option::of((-i64::MAX..=i64::MAX, any::<bool>()));
    ("/[a-z /\u{fc}]{1,6}", init).prop_map(|(path, init)| TrackFile {
        name: String::new(),
        path: PathBuf::from(path),
        init,
    })
}

fn process() -> impl Strategy<Value = TrackProcess> {
    let matching =
        prop::sample::select(vec![ArgumentMatch::Exact, ArgumentMatch::Initial, ArgumentMatch::Partial]);
    let arguments = prop::option::of((vec(notify::word(), 0..3), matching));
    let counts = (any::<bool>(), 1..=65_535u32, prop::option::of(1..=65_535u32));
    let delays = (millis(0..=3_600_000), millis(0..=3_600_000));
    ("[a-z/ ]{0,6}[a-z]", arguments, any::<bool>(), counts, delays).prop_map(
        |(process, arguments, full_command, (none, least, most), (fork_delay, terminate_delay))| {
            let (arguments, matching) = arguments.unzip();
            TrackProcess {
                name: String::new(),
                process,
                arguments,
                matching: matching.unwrap_or_default(),
                full_command,
                quorum: if none { 0 } else { least.min(most.unwrap_or(least)) },
                quorum_max: if none { Some(0) } else { most.map(|most| most.max(least.min(most))) },
                fork_delay,
                terminate_delay,
            }
        },
    )
}

fn sync() -> impl Strategy<Value = FlowSync> {
    let hosts = (1..4u16).prop_map(|many| (0..many).map(|at| address(at % 2 == 0, 50 + at)).collect());
    let peers = prop_oneof![Just(vec![crate::config::defaults::SYNC_GROUP]), hosts];
    ("[a-z]{1,8}", peers, 1..=u16::MAX, "/[a-z\" ]{1,6}", 1..=10_000_000u32, millis(0..=3_600_000)).prop_map(
        |(interface, peers, port, key_file, rate, wait)| FlowSync {
            interface,
            peers,
            port,
            key_file: PathBuf::from(key_file),
            rate,
            wait,
        },
    )
}

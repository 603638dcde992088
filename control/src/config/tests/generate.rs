//! Random models, all that is valid and nothing else.

mod check;
mod notify;
mod vrrp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::model::{
    Director, HashFlags, Hooks, Idle, Model, NoReal, OnFailure, Passive, Persistence, Ports, Protocol,
    Quorum, RealServer, Scheduler, ServiceKey, Sorry, Thresholds, Timeouts, VipCheck, VirtualService, Vlan,
    WorkerFailure,
};

pub(crate) fn model() -> impl Strategy<Value = Model> {
    let rest = (notify::scripts(), notify::notify(), vrrp::vrrp());
    (director(), vec(service(), 0..6), rest).prop_map(|(director, services, (scripts, notify, mut vrrp))| {
        let routers = vrrp.routers.iter_mut().map(|router| &mut router.hooks);
        for hooks in routers.chain(vrrp.groups.iter_mut().map(|group| &mut group.hooks)) {
            hooks.mail &= notify.mail.is_some();
        }
        // The service's place in the list is its VIP: keys are unique, and no VIP is a real server.
        let services = services
            .into_iter()
            .enumerate()
            .map(|(at, mut service)| {
                service.key.vip = match service.key.vip {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, at as u8)),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, at as u16)),
                };
                let sorry = service.quorum.sorry.as_mut().map(|sorry| &mut sorry.server);
                for real in service.reals.iter_mut().chain(sorry) {
                    // The first interface, where one has to be named.
                    let first = director.interfaces.first().cloned();
                    real.interface = real.interface.take().and(first);
                    real.mac = real.mac.filter(|_| real.interface.is_some());
                }
                let hooks = service.reals.iter_mut().map(|real| &mut real.hooks);
                for hooks in hooks.chain([&mut service.quorum.hooks]) {
                    hooks.mail &= notify.mail.is_some();
                }
                service
            })
            .collect();
        Model { director, services, scripts, notify, vrrp }
    })
}

fn director() -> impl Strategy<Value = Director> {
    let name =
        || "[a-z\"\\\\\u{fc}][a-z0-9.@'-]{0,11}".prop_filter("the word for others", |name| name != "auto");
    let interfaces =
        prop_oneof![(Just(false), btree_set(name(), 1..4)), (Just(true), btree_set(name(), 0..4)),];
    let idle = prop_oneof![Just(Idle::Adaptive), Just(Idle::Spin)];
    let idle = (idle, prop_oneof![Just(WorkerFailure::Exit), Just(WorkerFailure::Restart)]);
    let flows = (1..=1usize << 28, 1..=1usize << 28);
    let rates = (0..=10_000_000u32, 0..=10_000_000u32);
    let address =
        any::<std::net::IpAddr>().prop_filter("no host's", |ip| !ip.is_unspecified() && !ip.is_multicast());
    let metrics = proptest::option::of((address, 1..=u16::MAX).prop_map(std::net::SocketAddr::from));
    let group = proptest::option::of("[a-z0-9\"_-]{1,12}");
    let rest = (8..=16u32, any::<[u64; 2]>(), idle, timeouts(), (metrics, group));
    (interfaces, btree_set(0..8192usize, 0..4), flows, rates, rest).prop_map(
        |(
            (auto_interfaces, interfaces),
            cores,
            flows,
            rates,
            (frames, hash_key, (idle, worker_failure), timeouts, (metrics, socket_group)),
        )| Director {
            auto_interfaces,
            interfaces: interfaces.into_iter().collect(),
            cores: cores.into_iter().collect(),
            flows_per_worker: flows.0,
            flows_per_worker_ipv6: flows.1,
            frames_per_queue: 1 << frames,
            hash_key,
            idle,
            worker_failure,
            icmp_rate: rates.0,
            reset_rate: rates.1,
            timeouts,
            metrics,
            socket_group,
        },
    )
}

/// 1 s to 31 days, mostly in odd milliseconds.
fn long() -> impl Strategy<Value = Duration> {
    let millis = prop_oneof![1000..=2_678_400_000u64, (1..=31u64).prop_map(|days| days * 86_400_000)];
    millis.prop_map(Duration::from_millis)
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    (long(), long(), long(), long(), long(), long()).prop_map(|(syn, established, fin, closed, udp, sctp)| {
        Timeouts { syn, established, fin, closed, udp, sctp }
    })
}

fn scheduler() -> impl Strategy<Value = Scheduler> {
    let flags = || (any::<bool>(), any::<bool>()).prop_map(|(port, fallback)| HashFlags { port, fallback });
    prop_oneof![
        prop::sample::select(vec![
            Scheduler::Maglev,
            Scheduler::Wrr,
            Scheduler::Wlc,
            Scheduler::Sed,
            Scheduler::Nq,
            Scheduler::Fo,
            Scheduler::Ovf,
            Scheduler::Lblc,
            Scheduler::Lblcr,
            Scheduler::Twos,
        ]),
        flags().prop_map(Scheduler::Sh),
        flags().prop_map(Scheduler::Mh),
    ]
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        (1..=u16::MAX).prop_map(Ports::exact),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| Ports { first: a.min(b), last: a.max(b) }),
        Just(Ports::ANY),
    ]
}

fn service() -> impl Strategy<Value = VirtualService> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let key = (any::<bool>(), protocol, ports(), scheduler());
    let fates = (
        prop::sample::select(vec![OnFailure::Reset, OnFailure::Rehash, OnFailure::Keep]),
        prop::sample::select(vec![NoReal::Unreachable, NoReal::Reset, NoReal::Silent]),
        any::<[bool; 3]>(),
        1..=1000u16,
    );
    let times = (prop::option::of((long(), 1..=32u8)), prop::option::of(1000..=3_600_000u64), timeouts());
    let checks = (vec(check::check(), 0..3), any::<bool>(), prop::option::of(passive()));
    let reals = (prop::collection::btree_map(1..=254u8, real(), 0..5), quorum());
    let rest = (vip_check(), any::<bool>(), prop::option::of("[a-z\"][a-z \u{fc}]{0,5}"));
    (key, fates, times, checks, reals, rest).prop_map(|(key, fates, times, checks, reals, rest)| {
        let (reals, (mut quorum, needed)) = reals;
        let (shared, is_shared, passive) = checks;
        let (vip_check, omega, group) = rest;
        let (is_ipv6, protocol, ports, scheduler) = key;
        let (on_failure, no_real, [one_packet, strict, keep_ttl], table_share) = fates;
        let (persistence, slow_start, timeouts) = times;
        let address = |host: u8| match is_ipv6 {
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into())),
            false => IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
        };
        let one_packet = one_packet && protocol == Protocol::Udp;
        let can_start_slowly = !matches!(
            scheduler,
            Scheduler::Rr
                | Scheduler::Lc
                | Scheduler::Dh
                | Scheduler::Sh(_)
                | Scheduler::Mh(_)
                | Scheduler::Fo
        );
        let sum: u32 = reals.values().map(|real| u32::from(real.weight)).sum();
        quorum.needed = needed.min(sum.max(1));
        quorum.hysteresis = quorum.hysteresis.min(quorum.needed - 1);
        let fits = |host: u8, real: RealServer| RealServer {
            address: address(host),
            mtu: real.mtu.map(|mtu| if is_ipv6 { mtu.max(1280) } else { mtu }),
            checks: if is_shared { shared.clone() } else { real.checks },
            ..real
        };
        // No real server has the last address.
        let sorry = quorum.sorry.take().map(|sorry| Sorry {
            server: RealServer {
                thresholds: Thresholds::default(),
                checks: Vec::new(),
                inhibit: false,
                hooks: Hooks::default(),
                ..fits(255, sorry.server)
            },
            ..sorry
        });
        VirtualService {
            key: ServiceKey { vip: address(0), protocol, ports },
            scheduler,
            persistence: persistence
                .filter(|_| !one_packet)
                .map(|(timeout, prefix)| Persistence { timeout, prefix }),
            one_packet,
            on_failure,
            no_real,
            strict,
            keep_ttl,
            table_share,
            slow_start: slow_start.map(Duration::from_millis).filter(|_| can_start_slowly),
            timeouts,
            vip_check,
            passive: passive.filter(|_| protocol == Protocol::Tcp),
            quorum: Quorum { sorry, ..quorum },
            omega,
            group,
            reals: reals.into_iter().map(|(host, real)| fits(host, real)).collect(),
        }
    })
}

fn vip_check() -> impl Strategy<Value = VipCheck> {
    prop::sample::select(vec![VipCheck::Decides, VipCheck::Reports, VipCheck::Off])
}

/// A quorum, and what it is at most.
fn quorum() -> impl Strategy<Value = (Quorum, u32)> {
    let sorry = prop::option::of((real(), any::<bool>()));
    (0..9u32, notify::hooks(), sorry, 1..200_000u32).prop_map(|(hysteresis, hooks, sorry, needed)| {
        let sorry = sorry.map(|(server, inhibit)| Sorry { server, inhibit });
        (Quorum { needed, hysteresis, hooks, sorry }, needed)
    })
}

fn real() -> impl Strategy<Value = RealServer> {
    let vlan = prop_oneof![Just(Vlan::Keep), Just(Vlan::Untagged), (1..=4094u16).prop_map(Vlan::Tagged)];
    let mac = any::<[u8; 6]>().prop_map(|[_, rest @ ..]| {
        let [b, c, d, e, f] = rest;
        [2, b, c, d, e, f]
    });
    let thresholds =
        (any::<u32>(), any::<u32>()).prop_map(|(a, b)| Thresholds { upper: a.max(b), lower: a.min(b) });
    let way = (vlan, prop::option::of(mac), any::<bool>(), prop::option::of(576..=9000u16));
    let rest = (vec(check::check(), 0..3), any::<bool>(), notify::hooks());
    (any::<u16>(), thresholds, way, rest).prop_map(
        |(weight, thresholds, (vlan, mac, named, mtu), (checks, inhibit, hooks))| RealServer {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            weight,
            thresholds,
            vlan,
            mac,
            interface: (named || mac.is_some()).then(String::new),
            mtu,
            checks,
            inhibit,
            hooks,
        },
    )
}

fn passive() -> impl Strategy<Value = Passive> {
    (1..=1000u16, 1000..=600_000u64, 1..=1_000_000u32, 1000..=3_600_000u64).prop_map(
        |(failures, window, minimum, hold)| Passive {
            failures,
            window: Duration::from_millis(window),
            minimum,
            hold: Duration::from_millis(hold),
        },
    )
}

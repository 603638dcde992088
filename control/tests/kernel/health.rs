//! Checks of real servers in another network namespace.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use shunt::address::{Vip, VipOwner};
use shunt::config::defaults;
use shunt::health::{CheckKey, Event, Runner, Status};
use shunt::model::{HealthCheck, Probe, Target, Timing, Udp};
use shunt::netlink::Netlink;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{Namespace, next, shell, until};

const INTERVAL: Duration = Duration::from_millis(100);

fn check(address: &str) -> CheckKey {
    check_with(address, Probe::Tcp, Target { port: 80, ..Target::default() })
}

fn check_with(address: &str, probe: Probe, target: Target) -> CheckKey {
    let timing =
        Timing { interval: INTERVAL, timeout: Duration::from_millis(500), fall: 2, ..defaults::TIMING };
    let check = HealthCheck { timing, target, ..HealthCheck::new(probe, 80) };
    CheckKey { address: address.parse().unwrap(), check }
}

/// What the first probe of a check says that has time enough.
async fn first(mut key: CheckKey) -> (Status, Option<String>) {
    key.check.timing.timeout = Duration::from_secs(10);
    let (events, mut inbox) = unbounded_channel();
    let mut runner = Runner::new(events);
    runner.set([key]);
    change(&mut inbox, "a first result").await
}

fn listen(namespace: &Namespace, address: &str) -> TcpListener {
    let address: IpAddr = address.parse().unwrap();
    namespace.run(|| TcpListener::bind(SocketAddr::new(address, 80)).unwrap())
}

async fn change(inbox: &mut UnboundedReceiver<Event>, what: &str) -> (Status, Option<String>) {
    loop {
        if let Event::Changed { after, reason, .. } = next(inbox, what).await {
            return (after, reason);
        }
    }
}

#[test]
fn a_real_server_goes_down_with_a_reason_and_comes_up_again() {
    let (director, real) = Namespace::pair();
    let server = listen(&real, "192.0.2.21");
    director.block_on(async || {
        let (events, mut inbox) = unbounded_channel();
        let mut runner = Runner::new(events);
        runner.set([check("192.0.2.21")]);
        assert_eq!(change(&mut inbox, "up").await, (Status::Up, None));

        drop(server);
        let refused = (Status::Down, Some("connection refused".into()));
        assert_eq!(change(&mut inbox, "refused").await, refused);
        let server = listen(&real, "192.0.2.21");
        assert_eq!(change(&mut inbox, "up again").await.0, Status::Up);

        // Nothing comes back.
        real.command("nft add table ip t");
        real.command("nft add chain ip t c { type filter hook input priority 0 ; }");
        real.command("nft add rule ip t c tcp dport 80 drop");
        let timed_out = (Status::Down, Some("timed out after 500 ms".into()));
        assert_eq!(change(&mut inbox, "timed out").await, timed_out);
        assert_eq!(runner.view().health(&check("192.0.2.21")).unwrap().last_error(), timed_out.1.as_deref());
        real.command("nft delete table ip t");
        assert_eq!(change(&mut inbox, "up again").await.0, Status::Up);
        drop(server);
    });
}

#[test]
fn what_keeps_a_probe_from_its_server_is_said_in_words() {
    let (director, _real) = Namespace::pair();
    director.ip("route add prohibit 192.0.2.22");
    director.block_on(async || {
        for (address, reason) in [
            ("192.0.2.99", "no route to host"),
            ("203.0.113.1", "network is unreachable"),
            ("192.0.2.22", "not permitted: a route or rule of this machine forbids the probe"),
        ] {
            let (events, mut inbox) = unbounded_channel();
            let mut runner = Runner::new(events);
            let mut key = check(address);
            // The kernel gives up on the neighbour first, after 0.3 s.
            key.check.timing.timeout = Duration::from_secs(5);
            runner.set([key]);
            let (after, why) = change(&mut inbox, reason).await;
            assert_eq!((after, why.as_deref()), (Status::Down, Some(reason)), "{address}");
        }
    });
}

#[test]
fn probes_come_from_the_interfaces_own_address_and_never_from_the_vip() {
    let (director, real) = Namespace::pair_with_ipv6();
    let index = director.index("d0");
    let servers = [listen(&real, "192.0.2.21"), listen(&real, "2001:db8::21")];
    director.block_on(async || {
        let (lost, _inbox) = unbounded_channel::<shunt::address::Event>();
        let mut owner = VipOwner::start(&Netlink::open().unwrap(), lost).unwrap();
        // Numerically before and after the interface's own.
        let vips = ["192.0.2.0", "192.0.2.10", "2001:db8::", "2001:db8::20"]
            .map(|text| Vip { index, address: text.parse().unwrap() });
        for claim in owner.claim(&[index], &vips).await.unwrap() {
            claim.outcome.unwrap();
        }
        let (events, _inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        let checks = [check("192.0.2.21"), check("2001:db8::21")];
        runner.set(checks.clone());
        for check in checks {
            until("up", || runner.view().status(&check) == Status::Up).await;
        }
    });
    for (server, own) in servers.iter().zip(["192.0.2.1", "2001:db8::1"]) {
        let (_, from) = server.accept().unwrap();
        assert_eq!(from.ip(), own.parse::<IpAddr>().unwrap());
    }
}

#[test]
fn probes_leave_no_connection_behind() {
    let (director, real) = Namespace::pair();
    let _server = listen(&real, "192.0.2.21");
    director.block_on(async || {
        let (events, mut inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        runner.set([check("192.0.2.21")]);
        assert_eq!(change(&mut inbox, "up").await.0, Status::Up);
        let key = check("192.0.2.21");
        until("five probes", || runner.view().health(&key).unwrap().streak() >= 5).await;
        drop(runner);
        assert_eq!(shell("ss --no-header --tcp --all --numeric"), "");
    });
}

#[test]
fn a_ping_is_answered_with_and_without_rights_to_raw_sockets_and_a_missing_host_is_said_to_be() {
    let (director, _real) = Namespace::pair_with_ipv6();
    let ping = |address: &str| check_with(address, Probe::Ping, Target::default());
    // Group 0 may use the socket that needs no rights, or nobody may.
    for range in ["0 0", "1 0"] {
        director.sysctl("net.ipv4.ping_group_range", range);
        director.block_on(async || {
            for address in ["192.0.2.21", "2001:db8::21"] {
                assert_eq!(first(ping(address)).await, (Status::Up, None), "{address}, {range}");
            }
            for address in ["192.0.2.99", "2001:db8::99"] {
                let expected = (Status::Down, Some("no route to host".into()));
                assert_eq!(first(ping(address)).await, expected, "{address}, {range}");
            }
        });
    }
}

#[test]
fn a_datagram_to_a_missing_host_fails_though_no_answer_is_asked_for() {
    let (director, real) = Namespace::pair();
    let udp = |address: &str| {
        let probe = Probe::Udp(Udp { payload: b"x".into(), reply: None });
        check_with(address, probe, Target { port: 53, ..Target::default() })
    };
    let silent = real.run(|| std::net::UdpSocket::bind("192.0.2.21:53").unwrap());
    director.block_on(async || {
        let missing = (Status::Down, Some("no route to host".into()));
        assert_eq!(first(udp("192.0.2.99")).await, missing);
        let (events, mut inbox) = unbounded_channel();
        let mut runner = Runner::new(events);
        runner.set([udp("192.0.2.21")]);
        assert_eq!(change(&mut inbox, "up").await, (Status::Up, None));
        drop(silent);
        let refused = (Status::Down, Some("connection refused".into()));
        assert_eq!(change(&mut inbox, "refused").await, refused);
    });
}

#[test]
fn probes_leave_by_the_interface_with_the_mark_and_to_the_address_that_are_asked_for() {
    let (director, real) = Namespace::pair();
    let _server = listen(&real, "192.0.2.21");
    director.ip("rule add fwmark 7 prohibit");
    director.block_on(async || {
        for (target, expected) in [
            (Target::default(), None),
            (Target { mark: 6, interface: Some("d0".into()), ..Target::default() }, None),
            (
                Target { mark: 7, ..Target::default() },
                Some("not permitted: a route or rule of this machine forbids the probe"),
            ),
            (
                Target { address: Some("203.0.113.1".parse().unwrap()), ..Target::default() },
                Some("network is unreachable"),
            ),
        ] {
            for probe in [Probe::Tcp, Probe::Ping] {
                let target = Target { port: if probe == Probe::Tcp { 80 } else { 0 }, ..target.clone() };
                let (after, why) = first(check_with("192.0.2.21", probe, target.clone())).await;
                assert_eq!(why.as_deref(), expected, "{target:?}");
                assert_eq!(after == Status::Up, expected.is_none());
            }
        }
        // On lo nobody listens at its address.
        let lo = Target { interface: Some("lo".into()), port: 80, ..Target::default() };
        let mut elsewhere = check_with("192.0.2.21", Probe::Tcp, lo);
        elsewhere.check.timing.timeout = Duration::from_millis(200);
        let (events, mut inbox) = unbounded_channel();
        let mut runner = Runner::new(events);
        runner.set([elsewhere]);
        assert_eq!(change(&mut inbox, "a result").await.0, Status::Down);
    });
}

//! TCP checks of real servers in another network namespace.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use shunt::address::{Vip, VipOwner};
use shunt::config::defaults;
use shunt::health::{CheckKey, Event, Runner, Status};
use shunt::model::{HealthCheck, Probe, Timing};
use shunt::netlink::Netlink;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{Namespace, next, shell, until};

const INTERVAL: Duration = Duration::from_millis(100);

fn check(address: &str) -> CheckKey {
    let timing =
        Timing { interval: INTERVAL, timeout: Duration::from_millis(500), fall: 2, ..defaults::TIMING };
    let check = HealthCheck { timing, ..HealthCheck::new(Probe::Tcp, 80) };
    CheckKey { address: address.parse().unwrap(), check }
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

//! Checks through a VIP against a real kernel, on a director that has the VIP and on one that has not: each fault is made
//! on purpose, is named, and is gone when it is mended.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use shunt::health::vip::{Kind, Path, Request, Subject, VipChecks, VipHealth, Wanted};
use shunt::health::{RealKey, Status};
use shunt::model::{Ports, Protocol, ServiceKey, Vlan};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{Namespace, until};

type Event = shunt::health::vip::Event;

/// One family's addresses.
#[derive(Clone, Copy)]
struct Family {
    vip: &'static str,
    real: &'static str,
    prefix: u8,
    nft: &'static str,
}

const IPV4: Family = Family { vip: "192.0.2.10", real: "192.0.2.21", prefix: 32, nft: "ip" };
const IPV6: Family = Family { vip: "2001:db8::10", real: "2001:db8::21", prefix: 128, nft: "ip6" };
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];

impl Family {
    fn vip(&self) -> IpAddr {
        self.vip.parse().unwrap()
    }

    fn key(&self) -> RealKey {
        let ports = Ports { first: 80, last: 80 };
        (ServiceKey { vip: self.vip(), protocol: Protocol::Tcp, ports }, self.real.parse().unwrap())
    }

    fn hold(&self, host: &Namespace, verb: &str, device: &str) {
        let nodad = if self.prefix == 128 && verb == "add" { "nodad" } else { "" };
        host.ip(&format!("address {verb} {}/{} dev {device} {nodad}", self.vip, self.prefix));
        if verb == "add" {
            let family = if self.prefix == 128 { "-6" } else { "-4" };
            host.wait_for(&format!("{family} route show table local"), &format!("local {} ", self.vip));
        }
    }
}

/// A director and a real server that is set up as it should be, its server on all addresses.
fn lab(family: Family, is_active: bool) -> (Namespace, Namespace, TcpListener) {
    let (director, real) = Namespace::pair_with_ipv6();
    real.sysctl("net.ipv4.conf.all.arp_ignore", "1");
    real.sysctl("net.ipv4.conf.all.arp_announce", "2");
    family.hold(&real, "add", "lo");
    if is_active {
        family.hold(&director, "add", "d0");
        // As shunt holds it: the kernel prefers other addresses. (IPv4 prefers the first of the network.)
        if family.prefix == 128 {
            director.ip(&format!("address change {}/128 dev d0 preferred_lft 0 nodad", family.vip));
        }
    }
    let server = listen(&real, "::");
    (director, real, server)
}

fn listen(host: &Namespace, address: &str) -> TcpListener {
    let address: IpAddr = address.parse().unwrap();
    host.run(|| TcpListener::bind(SocketAddr::new(address, 80)).unwrap())
}

/// Every RST or other packet to the VIP that a director's kernel sends would be seen here: the real server counts what
/// reaches the VIP from ports that no probe has.
fn count_resets(family: Family, director: &Namespace, real: &Namespace) {
    // Without somebody who says where the VIP is, a reset would never leave.
    director.ip(&format!("neighbour replace {} lladdr 02:00:00:00:00:21 dev d0 nud permanent", family.vip));
    real.command("nft add table inet watch");
    real.command("nft add chain inet watch c { type filter hook prerouting priority -300 ; }");
    // A probe's own RST has no more hops than a probe; the kernel's has 64.
    let hops = if family.prefix == 32 { "ip ttl" } else { "ip6 hoplimit" };
    real.command(&format!(
        "nft add rule inet watch c {} daddr {} {hops} > 2 tcp flags rst counter",
        family.nft, family.vip
    ));
}

fn resets(real: &Namespace) -> bool {
    !real.command("nft list table inet watch").contains("packets 0 ")
}

struct Checks {
    checks: VipChecks<Event>,
    _events: UnboundedReceiver<Event>,
    family: Family,
    wanted: Wanted,
}

impl Checks {
    fn start(family: Family, kind: Kind, index: u32) -> Checks {
        let (sender, events) = unbounded_channel();
        let path = Path {
            index,
            interface: "d0".into(),
            own_mac: [2, 0, 0, 0, 0, 1],
            mac: MAC,
            is_fixed: true,
            mtu: 1500,
            vlan: Vlan::Keep,
        };
        let subject = Subject { vip: family.vip(), real: family.key().1, kind };
        let interval = Duration::from_millis(100);
        let wanted = Wanted { key: family.key(), subject, interval, path: Some(path), was_up: false };
        let mut checks = VipChecks::new(sender);
        checks.follow([wanted.clone()]);
        Checks { checks, _events: events, family, wanted }
    }

    fn health(&self) -> VipHealth {
        self.checks.view().health(&self.family.key()).unwrap().clone()
    }

    fn is(&self, status: Status, fault: Option<&str>) -> bool {
        let health = self.health();
        health.status() == status && health.fault().map(|fault| fault.name()) == fault
    }

    async fn expect(&self, status: Status, fault: Option<&str>) -> VipHealth {
        let give_up = tokio::time::Instant::now() + crate::namespace::DEADLINE;
        while !self.is(status, fault) {
            assert!(tokio::time::Instant::now() < give_up, "not {status} {fault:?} but {:#?}", self.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.health()
    }

    async fn serves(&self) {
        self.expect(Status::Up, None).await;
    }

    async fn fails(&self, fault: &str) -> VipHealth {
        self.expect(Status::Down, Some(fault)).await
    }
}

/// All combinations of family and role, each in namespaces of its own.
fn everywhere(test: impl Fn(Family, bool)) {
    for family in [IPV4, IPV6] {
        for is_active in [false, true] {
            println!("{} {}", family.vip, if is_active { "active" } else { "backup" });
            test(family, is_active);
        }
    }
}

#[test]
fn a_missing_vip_is_told_from_a_firewall_and_no_reset_reaches_the_vip() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        count_resets(family, &director, &real);
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;

            family.hold(&real, "del", "lo");
            let health = checks.fails("vip_missing").await;
            assert_eq!(health.words().unwrap(), format!("{} does not have {}", family.real, family.vip));
            assert!(health.down(true).is_some(), "only this check can see it");
            family.hold(&real, "add", "lo");
            checks.serves().await;

            for rule in ["tcp dport 80 drop", "drop"] {
                real.command("nft add table inet t");
                real.command("nft add chain inet t c { type filter hook input priority 0 ; }");
                real.command(&format!("nft add rule inet t c {} daddr {} {rule}", family.nft, family.vip));
                let health = checks.fails("filtered").await;
                assert!(health.down(true).is_some(), "{rule}");
                assert!(health.remedy().unwrap().contains("nft list ruleset"));
                real.command("nft delete table inet t");
                checks.serves().await;
            }
        });
        assert!(!resets(&real), "the director's kernel has answered");
    });
}

#[test]
fn a_port_that_is_closed_on_the_vip_only_is_told_from_one_that_is_closed() {
    everywhere(|family, is_active| {
        let (director, real, server) = lab(family, is_active);
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            drop(server);
            let health = checks.fails("port_closed").await;
            assert_eq!(health.down(true), None, "its own check sees that too");
            let server = listen(&real, family.real);
            let health = checks.fails("port_closed_on_vip").await;
            assert!(health.remedy().unwrap().contains("ss -ltn 'sport = :80'"));
            drop(server);
            let _server = listen(&real, "::");
            checks.serves().await;
        });
    });
}

#[test]
fn who_answers_for_the_vip_is_reported_and_stays_in() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            // IPv6 never answers for an address of another interface.
            let is_ipv4 = family.prefix == 32;
            let set = |wrong: bool| match is_ipv4 {
                true => real.sysctl("net.ipv4.conf.all.arp_ignore", if wrong { "0" } else { "1" }),
                false => family.hold(&real, if wrong { "add" } else { "del" }, "r0"),
            };
            set(true);
            let health = checks.expect(Status::Up, Some("answers_arp")).await;
            assert!(health.remedy().unwrap().contains(if is_ipv4 { "arp_ignore=1" } else { "ip -6 addr" }));
            set(false);
            checks.serves().await;
        });
    });
}

#[test]
fn a_narrow_way_is_noticed_and_a_host_without_echoes_is_not_taken_for_one() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            real.ip("link set r0 mtu 1400");
            let health = checks.fails("mtu_too_small").await;
            assert!(health.words().unwrap().starts_with("packets of 1500 bytes do not reach"));
            real.ip("link set r0 mtu 1500");
            checks.serves().await;
            real.command("nft add table inet t");
            real.command("nft add chain inet t c { type filter hook input priority 0 ; }");
            real.command("nft add rule inet t c icmp type echo-request drop");
            real.command("nft add rule inet t c icmpv6 type echo-request drop");
            let rounds = async |n: u32| {
                for _ in 0..n {
                    let last = checks.health().last_round();
                    until("a round", || checks.health().last_round() > last).await;
                    assert!(checks.is(Status::Up, None), "{:#?}", checks.health());
                }
            };
            rounds(10).await;
        });
    });
}

#[test]
fn a_dead_host_and_one_that_has_moved_are_told_apart() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        let index = director.index("d0");
        director.block_on(async || {
            let mut checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            real.ip("link set r0 address 02:00:00:00:00:99");
            let health = checks.fails("mac_changed").await;
            assert!(health.words().unwrap().contains("02:00:00:00:00:99"), "{health:#?}");
            let mut path = checks.wanted.path.clone().unwrap();
            path.mac[5] = 0x99;
            checks.wanted.path = Some(path);
            checks.checks.follow([checks.wanted.clone()]);
            checks.serves().await;
            // It is there, and deaf: its end of the wire stays up, so that the director's does.
            real.command("nft add table netdev t");
            real.command(
                "nft add chain netdev t c { type filter hook ingress device r0 priority 0 ; policy drop ; }",
            );
            let health = checks.fails("host_dead").await;
            assert_eq!(health.down(true), None, "its own checks have their patience");
            assert!(health.down(false).is_some(), "it has none");
        });
    });
}

#[test]
fn a_redirected_vip_is_served_though_the_host_does_not_have_it() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        family.hold(&real, "del", "lo");
        real.command("nft add table inet t");
        real.command("nft add chain inet t c { type nat hook prerouting priority -100 ; }");
        real.command(&format!(
            "nft add rule inet t c {} daddr {} tcp dport 80 redirect",
            family.nft, family.vip
        ));
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            real.command("nft flush table inet t");
            checks.fails("vip_missing").await;
        });
    });
}

#[test]
fn a_host_that_forwards_and_lacks_the_vip_is_not_saved_by_another() {
    everywhere(|family, is_active| {
        let (director, real, _server) = lab(family, is_active);
        for name in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            real.sysctl(name, "1");
        }
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Tcp(80), index);
            checks.serves().await;
            family.hold(&real, "del", "lo");
            checks.fails("vip_missing").await;
        });
    });
}

#[test]
fn the_answer_to_a_request_through_the_vip_counts() {
    everywhere(|family, is_active| {
        let (director, real, server) = lab(family, is_active);
        // Wrong for whoever comes to the VIP, until it is told otherwise.
        let (vip, status) = (family.vip(), std::sync::Arc::new(std::sync::atomic::AtomicU16::new(200)));
        let says = status.clone();
        std::thread::spawn(move || {
            for connection in server.incoming() {
                let Ok(mut connection) = connection else { return };
                let Ok(to) = connection.local_addr() else { continue };
                let status = if to.ip().to_canonical() == vip {
                    says.load(std::sync::atomic::Ordering::Relaxed)
                } else {
                    200
                };
                let mut request = [0; 512];
                let Ok(length @ 1..) = connection.read(&mut request) else { continue };
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
                let body = "x".repeat(60_000);
                let _ = connection.write_all(format!("HTTP/1.1 {status} Whatever\r\n\r\n{body}").as_bytes());
            }
        });
        let index = director.index("d0");
        let request = Request {
            text: "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            status: vec![(200, 299)],
            timeout: Duration::from_secs(5),
        };
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Http(80, request), index);
            checks.serves().await;
            status.store(503, std::sync::atomic::Ordering::Relaxed);
            let health = checks.fails("wrong_answer").await;
            assert!(health.words().unwrap().ends_with("answers with status 503"), "{health:#?}");
            assert!(health.down(true).is_some());
            status.store(200, std::sync::atomic::Ordering::Relaxed);
            checks.serves().await;
        });
        drop(real);
    });
}

#[test]
fn a_service_that_is_not_tcp_is_asked_by_echoes_alone() {
    everywhere(|family, is_active| {
        let (director, real, server) = lab(family, is_active);
        drop(server);
        let index = director.index("d0");
        director.block_on(async || {
            let checks = Checks::start(family, Kind::Echo, index);
            checks.serves().await;
            family.hold(&real, "del", "lo");
            checks.fails("vip_missing").await;
            // Without any echo nothing can be said.
            real.command("nft add table inet t");
            real.command("nft add chain inet t c { type filter hook input priority 0 ; }");
            real.command("nft add rule inet t c icmp type echo-request drop");
            real.command("nft add rule inet t c icmpv6 type echo-request drop");
            checks.expect(Status::Unknown, None).await;
            assert!(!checks.health().is_awaited());
        });
    });
}

#[test]
fn probes_do_not_come_from_a_vip_that_the_kernel_prefers() {
    let (director, _real, _server) = lab(IPV6, false);
    // Nearer to the real server's than the director's own, and not deprecated.
    director.ip("address add 2001:db8::10/128 dev d0 nodad");
    director.wait_for("-6 route show table local", "local 2001:db8::10 ");
    let index = director.index("d0");
    director.block_on(async || Checks::start(IPV6, Kind::Tcp(80), index).serves().await);
}

#[test]
fn nothing_is_sent_without_a_way_and_nobody_waits_for_it() {
    let (director, _real, _server) = lab(IPV4, false);
    let index = director.index("d0");
    director.block_on(async || {
        let mut checks = Checks::start(IPV4, Kind::Tcp(80), index);
        assert!(checks.health().is_awaited());
        checks.serves().await;
        checks.wanted.path = None;
        checks.checks.follow([checks.wanted.clone()]);
        checks.expect(Status::Unknown, None).await;
        assert!(!checks.health().is_awaited());
        // No round is begun for several of its intervals. (Frames cannot be counted: the kernel sends some of its own.)
        let before = checks.health().last_round();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(checks.health().last_round(), before);
    });
}

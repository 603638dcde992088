//! Announcements on a wire, claims heard from it, and virtual MAC addresses.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt::address::{self, Vip};
use shunt::announce::{Announcer, Claim, Claims, Plan, Target, Transmitter};
use shunt::link::{Link, links};
use shunt::model::{
    AdvertChecks, Announce, Checksum, Peers, Tracking, Version, VirtualAddress, VirtualRouter, Vmac,
    VrrpHooks,
};
use shunt::netlink::Netlink;
use shunt::vrrp::{Burst, vmac};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::{DEADLINE, Namespace, shell};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn router(vrid: u8, addresses: &[&str]) -> VirtualRouter {
    let virtual_address = |text: &&str| VirtualAddress {
        address: address(text),
        prefix_len: if address(text).is_ipv4() { 32 } else { 128 },
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    };
    VirtualRouter {
        name: format!("VI_{vrid}"),
        version: Version::V3,
        ipv6: address(addresses[0]).is_ipv6(),
        interface: "d0".into(),
        vrid,
        priority: 100,
        begins_active: false,
        interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        password: None,
        addresses: addresses.iter().map(virtual_address).collect(),
        excluded: Vec::new(),
        peers: Peers::Multicast { group: address("224.0.0.18") },
        source: None,
        track_source: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        checks: AdvertChecks::default(),
        checksum: Checksum::PseudoHeader,
        vmac: Some(Vmac { interface: None, transmit_base: false }),
        announce: Announce::default(),
        track: Tracking::default(),
        hooks: VrrpHooks::default(),
    }
}

async fn link(netlink: &Netlink, name: &str) -> Link {
    links(netlink).await.unwrap().into_iter().find(|link| link.name == name).unwrap()
}

/// Announces these once by the interface of this name in the namespace of this thread.
fn announce(name: &str, mac: [u8; 6], addresses: &[&str]) {
    transmit(announcer(name, mac, addresses), addresses.len());
}

/// The same in VLAN 7. (A frame that was refused is sent as it was given back.)
fn announce_tagged(name: &str, mac: [u8; 6], addresses: &[&str]) {
    let mut announcer = announcer(name, mac, addresses);
    for mut frame in announcer.due(Instant::now()) {
        frame.bytes.splice(12..12, [0x81, 0, 0, 7]);
        assert!(announcer.refused(Instant::now(), frame));
    }
    transmit(announcer, addresses.len());
}

fn announcer(name: &str, mac: [u8; 6], addresses: &[&str]) -> Announcer {
    let interface = nix::net::if_::if_nametoindex(name).unwrap();
    let target = |text: &&str| Target { interface, mac, address: address(text), interface_name: name.into() };
    let mut announcer = Announcer::new();
    let plan = Plan { first: 1, again: None, ..Plan::of(&Announce::default(), Burst::Full) };
    announcer.announce(Instant::now(), 1, addresses.iter().map(target).collect(), &plan);
    announcer
}

fn transmit(mut announcer: Announcer, frames: usize) {
    let mut transmitter = Transmitter::open().unwrap();
    while let Some(deadline) = announcer.deadline() {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        transmitter.send_due(Instant::now(), &mut announcer);
    }
    assert_eq!(transmitter.counts().sent, frames as u64);
}

/// Hears every frame that comes to this namespace.
fn capture() -> Socket {
    let everything = Protocol::from(i32::from((nix::libc::ETH_P_ALL as u16).to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(everything)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// The next captured frame from this MAC address that is ARP, or a neighbour advertisement.
fn announced(socket: &Socket, from: [u8; 6]) -> Vec<u8> {
    let mut buffer = [0; 2048];
    loop {
        let length = (&mut &*socket).read(&mut buffer).expect("a frame in time");
        let frame = &buffer[..length];
        let is_na = frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 136;
        if frame[6..12] == from && (frame[12..14] == [8, 6] || is_na) {
            return frame.to_vec();
        }
    }
}

/// The MAC addresses that captured ARP, of whichever kind, says this address has.
fn claimed(socket: &Socket, address: [u8; 4]) -> HashSet<[u8; 6]> {
    let mut buffer = [0; 2048];
    let mut macs = HashSet::new();
    socket.set_nonblocking(true).unwrap();
    while let Ok(length) = (&mut &*socket).read(&mut buffer) {
        if length >= 42 && buffer[12..14] == [8, 6] && buffer[28..32] == address {
            macs.insert(buffer[22..28].try_into().unwrap());
        }
    }
    macs
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap()).collect()
}

#[test]
fn announcements_on_the_wire_are_byte_for_byte_as_keepalived_sends_them() {
    let (director, real) = Namespace::pair();
    let socket = real.run(capture);
    director.run(|| announce("d0", MAC, &["10.0.0.5", "fe80::5"]));
    let first = announced(&socket, MAC);
    let second = announced(&socket, MAC);
    assert_eq!(
        first,
        hex(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000005 ffffffffffff 0a000005"
        )
    );
    let vip = "fe800000000000000000000000000005";
    assert_eq!(
        second,
        hex(&format!(
            "333300000001 020000000001 86dd 60000000 0020 3a ff {vip} ff020000000000000000000000000001 8800 5793
             20000000 {vip} 0201 020000000001"
        ))
    );
}

#[test]
fn an_announcement_moves_an_address_in_the_neighbours_cache() {
    let (director, real) = Namespace::pair_with_ipv6();
    for vip in ["192.0.2.10", "2001:db8::10"] {
        real.ip(&format!("neigh replace {vip} lladdr 02:00:00:00:00:99 nud stale dev r0"));
        director.run(|| announce("d0", MAC, &[vip]));
        real.wait_for(&format!("neigh show {vip} dev r0"), "02:00:00:00:00:01");
    }
}

#[test]
fn what_an_interface_that_is_down_or_gone_does_not_send_is_counted() {
    let director = Namespace::new();
    director.ip("link add d0 type veth peer name r0");
    director.run(|| {
        let interface = nix::net::if_::if_nametoindex("d0").unwrap();
        let (mut announcer, mut transmitter) = (Announcer::new(), Transmitter::open().unwrap());
        let target = |interface| Target {
            interface,
            mac: MAC,
            address: address("192.0.2.10"),
            interface_name: "d0".into(),
        };
        let plan = Plan::of(&Announce::default(), Burst::Full);
        announcer.announce(Instant::now(), 1, vec![target(interface), target(9999)], &plan);
        transmitter.send_due(Instant::now(), &mut announcer);
        let counts = transmitter.counts();
        assert_eq!((counts.sent, counts.refused, counts.lost), (0, 0, 10));
    });
}

#[test]
fn claims_of_others_are_heard_and_our_own_frames_are_not() {
    let (director, real) = Namespace::pair_with_ipv6();
    let index = director.index("d0");
    let claims_by = |name, mac, addresses: &[&str]| real.run(|| announce(name, mac, addresses));
    director.block_on(async || {
        let mut claims = Claims::new();
        let vips: HashSet<IpAddr> = ["192.0.2.10", "192.0.2.11", "2001:db8::10"].map(address).into();
        let refused = claims.watch(HashMap::from([(index, vips)]), HashSet::from([MAC]));
        assert!(refused.is_empty(), "{refused:?}");
        let claim = |text: &str, mac| Claim { interface: index, address: address(text), mac };

        // Sent by ourselves, with whatever MAC address; ours, back from the wire; of nobody's interest; of another VLAN.
        announce("d0", OTHER, &["192.0.2.10", "2001:db8::10"]);
        claims_by("r0", MAC, &["192.0.2.10", "2001:db8::10"]);
        claims_by("r0", OTHER, &["192.0.2.12", "2001:db8::12"]);
        real.run(|| announce_tagged("r0", [2, 0, 0, 0, 0, 0x77], &["192.0.2.10", "2001:db8::10"]));
        claims_by("r0", OTHER, &["192.0.2.10"]);
        assert_eq!(claims.next().await, claim("192.0.2.10", OTHER));
        // Again: it is known.
        claims_by("r0", OTHER, &["192.0.2.10", "192.0.2.11"]);
        assert_eq!(claims.next().await, claim("192.0.2.11", OTHER));
        claims_by("r0", OTHER, &["2001:db8::10"]);
        assert_eq!(claims.next().await, claim("2001:db8::10", OTHER));

        // Not watched any more.
        let vips = HashSet::from([address("192.0.2.13")]);
        claims.watch(HashMap::from([(index, vips)]), HashSet::from([MAC]));
        claims_by("r0", OTHER, &["2001:db8::10", "192.0.2.11", "192.0.2.13"]);
        assert_eq!(claims.next().await, claim("192.0.2.13", OTHER));
    });
}

#[test]
fn an_interface_that_cannot_be_listened_on_is_named_and_the_others_are_heard() {
    let (director, real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let mut claims = Claims::new();
        let vips = || HashSet::from([address("192.0.2.10")]);
        let refused = claims.watch(HashMap::from([(index, vips()), (9999, vips())]), HashSet::new());
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [9999]);
        real.run(|| announce("r0", OTHER, &["192.0.2.10"]));
        assert_eq!(claims.next().await.interface, index);
    });
}

#[test]
fn only_the_macvlan_answers_for_its_address_with_the_virtual_mac_address() {
    let (director, real) = Namespace::pair();
    // The strictest that distributions set.
    director.sysctl("net.ipv4.conf.all.rp_filter", "1");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let base = link(&netlink, "d0").await;
        let macvlan = vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &base).await.unwrap();
        assert_eq!((macvlan.name.as_str(), macvlan.mac), ("vrrp.51", [0, 0, 0x5e, 0, 1, 51]));
        assert!(macvlan.up && macvlan.kind == "macvlan");
        assert!(!shell("ip address show dev vrrp.51").contains("inet6"), "it makes up no address");
        address::add(&netlink, Vip { index: macvlan.index, address: address("192.0.2.10") }).await.unwrap();

        let socket = real.run(capture);
        // The director asks for its neighbour: not in the name of the VIP, which would move it.
        shell("ip neigh flush dev d0");
        real.command("ping -c 1 -W 5 192.0.2.10");
        let known = real.ip("neigh show 192.0.2.10 dev r0");
        assert!(known.contains("00:00:5e:00:01:33"), "{known}");
        assert_eq!(claimed(&socket, [192, 0, 2, 10]), HashSet::from([[0, 0, 0x5e, 0, 1, 51]]));
        // The interface's own address is still where it was.
        real.command("ping -c 1 -W 5 192.0.2.1");
        let known = real.ip("neigh show 192.0.2.1 dev r0");
        assert!(known.contains("02:00:00:00:00:01"), "{known}");
    });
}

#[test]
fn an_ipv6_address_is_answered_for_with_the_virtual_mac_address() {
    let (director, real) = Namespace::pair_with_ipv6();
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let base = link(&netlink, "d0").await;
        let macvlan = vmac::ensure(&netlink, &router(51, &["2001:db8::10"]), &base).await.unwrap();
        assert_eq!((macvlan.name.as_str(), macvlan.mac), ("vrrp6.51", [0, 0, 0x5e, 0, 2, 51]));
        assert!(!shell("ip address show dev vrrp6.51").contains("inet6"), "it makes up no address");
        address::add(&netlink, Vip { index: macvlan.index, address: address("2001:db8::10") }).await.unwrap();
        real.command("ping -c 1 -W 5 2001:db8::10");
        let known = real.ip("neigh show 2001:db8::10 dev r0");
        assert!(known.contains("00:00:5e:00:02:33"), "{known}");
    });
}

fn arp_settings() -> [String; 2] {
    ["arp_ignore", "arp_announce"].map(|key| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/d0/{key}")).unwrap().trim().to_owned()
    })
}

#[test]
fn what_a_killed_shunt_left_is_adopted_or_removed_and_the_interface_is_as_it_was() {
    let (director, _real) = Namespace::pair();
    director.sysctl("net.ipv4.conf.d0.arp_announce", "1");
    director.ip("link add link d0 name theirs type macvlan mode private");
    let made = director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let base = link(&netlink, "d0").await;
        let first = vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &base).await.unwrap();
        let second = vmac::ensure(&netlink, &router(52, &["192.0.2.11"]), &base).await.unwrap();
        assert_eq!(vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &base).await.unwrap(), first);
        assert_eq!(arp_settings(), ["1", "2"]);
        // Killed: nobody removes.
        [first.index, second.index]
    });
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let base = link(&netlink, "d0").await;
        let again = vmac::ensure(&netlink, &router(52, &["192.0.2.11"]), &base).await.unwrap();
        assert_eq!(again.index, made[1]);
        vmac::remove_leftovers(&netlink, &[again.index]).await.unwrap();
        let shown = shell("ip link show");
        assert!(
            !shown.contains("vrrp.51") && shown.contains("vrrp.52") && shown.contains("theirs"),
            "{shown}"
        );
        assert_eq!(arp_settings(), ["1", "2"], "one of them is still there");
        vmac::remove(&netlink, again.index).await.unwrap();
        vmac::remove(&netlink, again.index).await.unwrap();
        vmac::remove(&netlink, link(&netlink, "theirs").await.index).await.unwrap();
        let shown = shell("ip link show");
        assert!(!shown.contains("vrrp.52") && shown.contains("theirs"), "{shown}");
        assert_eq!(arp_settings(), ["0", "1"]);
    });
}

#[test]
fn one_vrid_on_two_interfaces_is_two_macvlans_and_a_strangers_name_is_not_taken() {
    let (director, _real) = Namespace::pair();
    director.ip("link add d1 type veth peer name r1");
    director.ip("link add vrrp.53 type veth peer name r53");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let (d0, d1) = (link(&netlink, "d0").await, link(&netlink, "d1").await);
        let first = vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &d0).await.unwrap();
        let second = vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &d1).await.unwrap();
        assert_eq!((first.name, second.name), ("vrrp.51".into(), format!("vrrp.51.{}", d1.index)));
        let third = vmac::ensure(&netlink, &router(53, &["192.0.2.10"]), &d0).await.unwrap();
        assert_eq!(third.name, format!("vrrp.53.{}", d0.index));

        let named = Some(Vmac { interface: Some("vrrp.53".into()), transmit_base: false });
        let named = VirtualRouter { vmac: named, ..router(54, &["192.0.2.10"]) };
        let error = vmac::ensure(&netlink, &named, &d0).await.unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::EEXIST));
        assert!(error.to_string().contains("give use_vmac another name"), "{error}");
    });
}

#[test]
fn a_mac_address_that_another_daemon_has_is_said_to_be_so() {
    let (director, _real) = Namespace::pair();
    director.ip("link add link d0 name ka type macvlan mode private");
    director.ip("link set ka address 00:00:5e:00:01:33 up");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let base = link(&netlink, "d0").await;
        let error = vmac::ensure(&netlink, &router(51, &["192.0.2.10"]), &base).await.unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::EADDRINUSE));
        assert!(error.to_string().contains("another VRRP daemon"), "{error}");
    });
}

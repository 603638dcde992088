//! Packets of protocol 112 for six virtual routers, one after the other, and what the routers make of them.
//!
//! A packet is: a byte that says how it comes, a byte that says when, a length, and as many bytes of VRRP. Each is counted
//! once, in one place; what is heard is an advert by a second reading of it (checksum word by word); no packet makes more
//! than a few actions, and memory stays.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt::model::{
    AdvertChecks, Announce, Checksum, Peer, Peers, Tracking, Version, VirtualAddress, VirtualRouter, Vrrp,
    VrrpHooks,
};
use shunt::vrrp::{Action, Heard, Inbox, Input as Happens, Packet, RouterId, Routers, Standing, State};

use crate::input::Input;
use crate::memory;

/// Six routers, and lines about eight sources for each topic.
const MOST_MEMORY: usize = 200_000;
/// Of one packet: with what it sets off in all routers.
const MOST_ACTIONS: usize = 16;

const OURS: [&str; 2] = ["10.0.0.1", "fe80::1"];
const SOURCES: [&str; 8] =
    ["10.0.0.2", "10.0.0.3", "10.0.0.2", "0.0.0.0", "fe80::2", "fe80::3", "fe80::2", "ff02::1"];
const DESTINATIONS: [[&str; 2]; 2] = [["224.0.0.18", "10.0.0.1"], ["ff02::12", "fe80::1"]];

/// The target.
pub fn run(input: &[u8]) {
    let used = memory::peak(|| hear(input));
    assert!(used <= MOST_MEMORY + 8 * input.len(), "{used} bytes for packets of {}", input.len());
}

fn hear(input: &[u8]) {
    let vrrp = Vrrp { routers: routers(), log_unknown_vrids: true, ..Vrrp::default() };
    let mut now = Instant::now();
    let (mut inbox, mut machines) = (Inbox::new(&vrrp), Routers::new(&vrrp, now));
    for (n, router) in vrrp.routers.iter().enumerate() {
        let source = Some(ip(OURS[usize::from(router.ipv6)]));
        let standing = Standing { priority: router.priority, fault: None, source };
        machines.step(now, Happens::Standing { router: RouterId(n), standing });
    }
    let mut input = Input::new(input);
    for packets in 1u64.. {
        if input.is_empty() {
            break;
        }
        let (how, wait, length) = (input.byte(), input.byte(), input.byte());
        now += Duration::from_millis(u64::from(wait) * 10);
        let source = ip(SOURCES[usize::from(how & 7)]);
        let destination = ip(DESTINATIONS[usize::from(source.is_ipv6())][usize::from(how >> 3 & 1)]);
        let packet = Packet {
            interface: if how & 0x10 == 0 { "eth0" } else { "eth1" },
            source,
            destination,
            ttl: if how & 0x20 == 0 { 255 } else { 254 },
            options: how & 0x40 != 0,
            message: input.bytes(usize::from(length)),
        };
        let read = inbox.read(now, &packet, false);
        let count = |n: usize| {
            let counts = inbox.counts(RouterId(n));
            assert!(counts.checksum_message_only.max(counts.addresses_differ) <= counts.accepted);
            counts.accepted + counts.rejected.iter().sum::<u64>()
        };
        assert_eq!((0..vrrp.routers.len()).map(count).sum::<u64>() + inbox.unknown(), packets);
        assert!(read.say.is_none_or(|(_, text)| text.len() < 300));
        if let Some((router, advert)) = read.heard {
            is_advert(&vrrp.routers[router.0], &packet, &advert);
            let actions = machines.step(now, Happens::Advert { router, advert });
            assert!(actions.len() <= MOST_ACTIONS, "{actions:?}");
        }
        for action in machines.step(now, Happens::Tick) {
            assert!(!matches!(action, Action::Send { priority: 0, .. }), "nobody was told to stop");
        }
        assert!(machines.deadline().is_some_and(|deadline| deadline > now));
        for n in 0..vrrp.routers.len() {
            assert!(matches!(machines.status(RouterId(n)).state, State::Active | State::Backup));
        }
    }
}

/// That this is an advert for the router, told once more.
fn is_advert(router: &VirtualRouter, packet: &Packet, advert: &Heard) {
    let bytes = packet.message;
    assert!(!packet.options && packet.ttl == 255 && packet.interface == router.interface);
    assert_eq!(packet.source, advert.source);
    assert_eq!(packet.destination.is_multicast(), matches!(router.peers, Peers::Multicast { .. }));
    assert_eq!(
        (bytes[0], bytes[1], bytes[2]),
        (router.version.number() << 4 | 1, router.vrid, advert.priority)
    );
    let each = if router.ipv6 { 16 } else { 4 };
    let password = if router.version == Version::V2 { 8 } else { 0 };
    assert_eq!(bytes.len(), 8 + usize::from(bytes[3]) * each + password);
    let interval = match router.version {
        Version::V2 => Duration::from_secs(bytes[5].into()),
        Version::V3 => Duration::from_millis((u64::from(bytes[4] & 15) << 8 | u64::from(bytes[5])) * 10),
    };
    assert!(interval == advert.interval && !interval.is_zero());
    let pseudo = sum(bytes, Some(packet)) == 0xffff;
    assert!(if router.version == Version::V2 || !router.ipv6 {
        pseudo || sum(bytes, None) == 0xffff
    } else {
        pseudo
    });
    if router.version == Version::V2 {
        assert_eq!(bytes[4], u8::from(router.password.is_some()));
        assert!(router.password.is_none_or(|password| bytes.ends_with(&password)));
    }
}

/// The sum of RFC 1071, word by word; with the pseudo header of a packet.
fn sum(bytes: &[u8], packet: Option<&Packet>) -> u16 {
    let mut sum: u16 = 0;
    let mut add = |word: u16| {
        let (low, carry) = sum.overflowing_add(word);
        sum = low + u16::from(carry);
    };
    let mut all = |bytes: &[u8]| {
        bytes
            .chunks(2)
            .for_each(|word| add(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    };
    all(bytes);
    if let Some(packet) = packet {
        for address in [packet.source, packet.destination] {
            match address {
                IpAddr::V4(address) => all(&address.octets()),
                IpAddr::V6(address) => all(&address.octets()),
            }
        }
        all(&[0, 112]);
        all(&(bytes.len() as u16).to_be_bytes());
    }
    sum
}

/// One of each kind, with their own VRIDs but for the last two, which are told apart by their peers.
fn routers() -> Vec<VirtualRouter> {
    let one = VirtualRouter {
        name: "VI_1".to_owned(),
        version: Version::V2,
        ipv6: false,
        interface: "eth0".to_owned(),
        vrid: 1,
        priority: 100,
        begins_active: false,
        interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        password: Some(*b"foo\0\0\0\0\0"),
        addresses: vec![held("10.0.0.5")],
        excluded: Vec::new(),
        peers: Peers::Multicast { group: ip("224.0.0.18") },
        source: None,
        track_source: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        checks: AdvertChecks::default(),
        checksum: Checksum::PseudoHeader,
        vmac: None,
        announce: Announce::default(),
        track: Tracking::default(),
        hooks: VrrpHooks::default(),
    };
    let unicast = |address: &str| {
        let peers = vec![Peer { address: ip(address), min_ttl: 255, max_ttl: 255 }];
        Peers::Unicast { peers, ttl: 255, fault_without: false }
    };
    let two = VirtualRouter { name: "VI_2".to_owned(), vrid: 51, password: None, ..one.clone() };
    let three = VirtualRouter {
        name: "VI_3".to_owned(),
        version: Version::V3,
        vrid: 3,
        password: None,
        addresses: vec![held("10.0.0.5"), held("10.0.0.6")],
        ..one.clone()
    };
    let strict = AdvertChecks { strict: true, ..AdvertChecks::default() };
    let six = VirtualRouter {
        name: "VI_6".to_owned(),
        ipv6: true,
        addresses: vec![held("fe80::5"), held("2001:db8::5")],
        peers: Peers::Multicast { group: ip("ff02::12") },
        checks: strict,
        ..three.clone()
    };
    let near =
        VirtualRouter { name: "VI_4".to_owned(), vrid: 4, peers: unicast("10.0.0.2"), ..three.clone() };
    let far = VirtualRouter { name: "VI_5".to_owned(), peers: unicast("10.0.0.3"), ..near.clone() };
    vec![one, two, three, six, near, far]
}

fn held(address: &str) -> VirtualAddress {
    VirtualAddress {
        address: ip(address),
        prefix_len: 32,
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

//! Adverts that must count for nothing, and those that must count although they look odd: keepalived 2.2.7's verdict and
//! sentence for each, and the places where ours is another.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::samples::{hex, ip, router, unicast};
use super::{Counts, Inbox, Level, Packet, Read, Rejection, RouterId, packet};
use crate::model::{AdvertChecks, Checksum, Peers, Version, VirtualRouter, Vrrp};

const ONE: RouterId = RouterId(0);
const PEER: &str = "10.0.0.2";
const GROUP: &str = "224.0.0.18";

/// Version 2, VRID 51, password `foo`, one address.
fn v2() -> VirtualRouter {
    VirtualRouter { password: Some(*b"foo\0\0\0\0\0"), ..router("VI_1", Version::V2, &["10.0.0.100"]) }
}

fn v3() -> VirtualRouter {
    router("VI_1", Version::V3, &["10.0.0.100"])
}

/// What the peer sends, which is configured as `router`.
fn advert(router: &VirtualRouter) -> Vec<u8> {
    packet::encode(router, router.priority, router.interval, ip(PEER), ip(GROUP))
}

/// With the bytes at `place`, and the checksum of version 2 right again.
fn with(mut frame: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    frame[place..place + bytes.len()].copy_from_slice(bytes);
    repair(frame)
}

fn repair(mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..8].fill(0);
    let words =
        frame.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[6..8].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn inbox(routers: &[VirtualRouter]) -> Inbox {
    Inbox::new(&Vrrp { routers: routers.to_vec(), ..Vrrp::default() })
}

fn from_peer(message: &[u8]) -> Packet<'_> {
    Packet { interface: "eth0", source: ip(PEER), destination: ip(GROUP), ttl: 255, options: false, message }
}

fn rejections(counts: &Counts) -> Vec<(&'static str, u64)> {
    let all = Rejection::ALL.iter().zip(counts.rejected);
    all.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.name(), count)).collect()
}

/// It is refused three times: three are counted, under one reason; one line is logged.
#[track_caller]
fn refused(router: &VirtualRouter, packet: Packet, reason: &'static str, sentence: &str) {
    let (mut inbox, now) = (inbox(std::slice::from_ref(router)), Instant::now());
    let Read { heard: None, say: Some((Level::Warn, text)) } = inbox.read(now, &packet, false) else {
        panic!("it is not refused, or nothing is said");
    };
    let begins = format!("(VI_1) {sentence} (from {}: ", packet.source);
    assert!(text.starts_with(&begins), "{text}\n{begins}");
    for _ in 0..2 {
        assert_eq!(inbox.read(now, &packet, false), Read::default());
    }
    let counts = inbox.counts(ONE);
    assert_eq!((rejections(counts), counts.accepted), (vec![(reason, 3)], 0));
    let (_, source, last, words) = counts.last_rejected.clone().unwrap();
    assert_eq!((source, last.name(), &words[..]), (packet.source, reason, sentence));
}

#[track_caller]
fn accepted(router: &VirtualRouter, packet: Packet) -> (Inbox, Read) {
    let mut inbox = inbox(std::slice::from_ref(router));
    let read = inbox.read(Instant::now(), &packet, false);
    assert!(read.heard.is_some(), "{read:?}");
    assert_eq!((rejections(inbox.counts(ONE)), inbox.counts(ONE).accepted), (vec![], 1));
    (inbox, read)
}

#[test]
fn version_2_what_keepalived_refuses_is_refused_in_its_words() {
    let (ours, good) = (v2(), advert(&v2()));
    let check = |frame: &[u8], reason, sentence: &str| refused(&ours, from_peer(frame), reason, sentence);
    let mut damaged = good.clone();
    damaged[6] ^= 1;
    check(&damaged, "checksum", "Invalid VRRPv2 checksum");
    check(&with(good.clone(), 12, b"bar\0\0\0\0\0"), "password", "received an invalid passwd!");
    check(&with(good.clone(), 4, &[0]), "auth_type", "received a 0 auth, expecting 1!");
    check(&with(good.clone(), 4, &[2]), "auth_type", "received a 2 auth, expecting 1!");
    check(&with(good.clone(), 4, &[7]), "invalid_auth_type", "Invalid auth type: 7");
    check(&advert(&v3()), "version", "wrong version. Received 3 and expect 2");
    check(&with(good.clone(), 0, &[0x41]), "too_long", "vrrp packet too long, length 40 and expect 32");
    check(&with(good.clone(), 0, &[0x22]), "type", "Invalid packet type. 2 and expect 1");
    check(&with(good.clone(), 5, &[2]), "interval", "advertisement interval mismatch mine=1 sec rcv'd=2 sec");
    let sentence = "ip address associated with VRID 51 not present in MASTER advert: 10.0.0.100";
    check(&with(good.clone(), 11, &[101]), "addresses", sentence);
    let mut two = v2();
    two.addresses.extend(router("", Version::V2, &["10.0.0.101"]).addresses);
    check(&advert(&two), "count", "received an unexpected ip number count 2, expected 1!");
    check(&good[..12], "too_short", "vrrp packet too short, length 32 and expect 40");
    check(&good[..4], "too_short", "IPv4 VRRP packet too short - 24 bytes");
    check(&good[..7], "too_short", "IPv4 VRRP packet too short - 27 bytes");
    let many = with(good.clone(), 3, &[255]);
    check(&many, "too_short", "vrrp packet too short, length 40 and expect 1056");
    let trailing = [&good[..], &[0; 4]].concat();
    check(&trailing, "too_long", "vrrp packet too long, length 44 and expect 40");
}

#[test]
fn version_3_what_keepalived_refuses_is_refused_in_its_words() {
    let (ours, good) = (v3(), advert(&v3()));
    let check = |frame: &[u8], reason, sentence: &str| refused(&ours, from_peer(frame), reason, sentence);
    let mut damaged = good.clone();
    damaged[6] ^= 1;
    check(&damaged, "checksum", "Invalid VRRPv3 checksum");
    check(&advert(&v2()), "version", "wrong version. Received 2 and expect 3");
    check(&with(good.clone(), 0, &[0x30]), "type", "Invalid packet type. 0 and expect 1");
    check(&good[..8], "too_short", "vrrp packet too short, length 28 and expect 32");
    let none = router("VI_1", Version::V3, &[]);
    check(&advert(&none), "count", "received an unexpected ip number count 0, expected 1!");
    check(&with(good.clone(), 4, &[0, 0]), "interval", "advertisement interval 0");
    let strict = VirtualRouter { checks: AdvertChecks { strict: true, ..AdvertChecks::default() }, ..v3() };
    let other = advert(&router("VI_1", Version::V3, &["10.0.0.101"]));
    let sentence = "ip address associated with VRID 51 not present in MASTER advert: 10.0.0.100";
    refused(&strict, from_peer(&other), "addresses", sentence);
}

#[test]
fn what_may_have_come_from_afar_is_refused() {
    let (v2, v3, two, three) = (v2(), v3(), advert(&v2()), advert(&v3()));
    let (two, three) = (from_peer(&two), from_peer(&three));
    refused(&v2, Packet { ttl: 254, ..two }, "ttl", "invalid TTL/HL. Received 254 and expect 255");
    refused(&v3, Packet { ttl: 1, ..three }, "ttl", "invalid TTL/HL. Received 1 and expect 255");
    refused(&v2, Packet { options: true, ..two }, "options", "packet with IPv4 options");
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        let sentence = format!("invalid source address {source}");
        refused(&v2, Packet { source: ip(source), ..two }, "source", &sentence);
    }
    let six = router("VI_1", Version::V3, &["fe80::5"]);
    let (from, to) = (ip("fe80::2"), ip("ff02::12"));
    let frame = packet::encode(&six, 100, six.interval, from, to);
    let good = Packet { source: from, destination: to, ..from_peer(&frame) };
    accepted(&six, good);
    refused(&six, Packet { ttl: 254, ..good }, "ttl", "invalid TTL/HL. Received 254 and expect 255");
    refused(&six, Packet { options: true, ..good }, "options", "packet with IPv6 extension headers");
    refused(&six, Packet { source: ip("::"), ..good }, "source", "invalid source address ::");
    refused(&six, Packet { source: ip("fe80::3"), ..good }, "checksum", "Invalid VRRPv3 checksum");
}

#[test]
fn what_is_valid_counts() {
    let (_, read) = accepted(&v2(), from_peer(&advert(&v2())));
    let (_, heard) = read.heard.unwrap();
    assert_eq!((heard.source, heard.priority, heard.interval), (ip(PEER), 100, Duration::from_secs(1)));
    assert_eq!(read.say, None);
    let (_, read) = accepted(&v2(), from_peer(&with(advert(&v2()), 2, &[0])));
    assert_eq!(read.heard.unwrap().1.priority, 0);
    // Another interval of version 3 is one to learn; reserved bits mean nothing.
    let quick = VirtualRouter { interval: Duration::from_millis(200), ..v3() };
    let (_, read) = accepted(&v3(), from_peer(&advert(&quick)));
    assert_eq!(read.heard.unwrap().1.interval, Duration::from_millis(200));
    let (_, read) = accepted(&v3(), from_peer(&with(advert(&v3()), 4, &[0xf0])));
    assert_eq!(read.heard.unwrap().1.interval, Duration::from_secs(1));
    // Version 2 may have no addresses at all.
    let none = router("VI_1", Version::V2, &[]);
    accepted(&none, from_peer(&advert(&none)));
}

#[test]
fn addresses_may_be_in_any_order_and_any_number() {
    for (version, count) in [(Version::V2, 12), (Version::V2, 255), (Version::V3, 255)] {
        let texts: Vec<String> = (0..count).map(|n| format!("10.0.1.{n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let backwards: Vec<&str> = texts.iter().copied().rev().collect();
        let ours = router("VI_1", version, &texts);
        let (inbox, read) = accepted(&ours, from_peer(&advert(&router("VI_1", version, &backwards))));
        assert_eq!((read.say, inbox.counts(ONE).addresses_differ), (None, 0));
    }
}

#[test]
fn version_3_another_list_of_addresses_is_only_reported() {
    let now = Instant::now();
    for (list, sentence) in [
        (
            &["10.0.0.101"][..],
            "(VI_1) ip address associated with VRID 51 not present in MASTER advert: 10.0.0.100 (from 10.0.0.2: \
             accepted all the same; set virtual_ipaddress alike)",
        ),
        (
            &["10.0.0.100", "10.0.0.101"],
            "(VI_1) received an unexpected ip number count 2, expected 1! (from 10.0.0.2: accepted all the same; set \
             virtual_ipaddress alike)",
        ),
    ] {
        let frame = advert(&router("VI_1", Version::V3, list));
        let mut inbox = inbox(&[v3()]);
        assert_eq!(inbox.read(now, &from_peer(&frame), false).say, Some((Level::Warn, sentence.to_owned())));
        assert_eq!(inbox.read(now, &from_peer(&frame), false).say, None);
        assert_eq!((inbox.counts(ONE).addresses_differ, inbox.counts(ONE).accepted), (2, 2));
    }
}

#[test]
fn a_list_that_is_known_to_differ_is_not_compared_again_if_so_configured() {
    let checks = AdvertChecks { skip_known_addresses: true, ..AdvertChecks::default() };
    let mut inbox = inbox(&[VirtualRouter { checks, ..v2() }]);
    let (good, other) = (advert(&v2()), with(advert(&v2()), 11, &[101]));
    let now = Instant::now();
    assert!(inbox.read(now, &from_peer(&other), false).heard.is_none());
    assert!(inbox.read(now, &from_peer(&good), false).heard.is_some());
    assert!(inbox.read(now, &from_peer(&other), false).heard.is_some());
    let elsewhere = Packet { source: ip("10.0.0.3"), ..from_peer(&other) };
    assert!(inbox.read(now, &elsewhere, false).heard.is_none());
}

#[test]
fn version_3_either_checksum_over_ipv4_is_right_and_which_is_counted() {
    let theirs = VirtualRouter { checksum: Checksum::MessageOnly, ..v3() };
    let (inbox, read) = accepted(&v3(), from_peer(&advert(&theirs)));
    assert_eq!(inbox.counts(ONE).checksum_message_only, 1);
    let text = "(VI_1) 10.0.0.2 computes checksums without pseudo header (RFC 9568): accepted";
    assert_eq!(read.say, Some((Level::Info, text.to_owned())));
    let (inbox, read) = accepted(&v3(), from_peer(&advert(&v3())));
    assert_eq!((inbox.counts(ONE).checksum_message_only, read.say), (0, None));
}

#[test]
fn our_own_adverts_are_ignored_in_silence() {
    let mut inbox = inbox(&[v2()]);
    let frame = advert(&v2());
    assert_eq!(inbox.read(Instant::now(), &from_peer(&frame), true), Read::default());
    assert_eq!((inbox.counts(ONE).own, inbox.counts(ONE).accepted), (1, 0));
}

#[test]
fn unknown_vrids_are_counted_and_logged_only_if_asked_for() {
    for (say, vrid) in [(false, 52), (true, 52), (true, 0)] {
        let vrrp = Vrrp { routers: vec![v2()], log_unknown_vrids: say, ..Vrrp::default() };
        let mut inbox = Inbox::new(&vrrp);
        let frame = advert(&VirtualRouter { vrid, ..v2() });
        let text = format!("Unknown VRID({vrid}) received on interface(eth0). ignoring... (from 10.0.0.2)");
        let now = Instant::now();
        assert_eq!(inbox.read(now, &from_peer(&frame), false).say, say.then_some((Level::Info, text)));
        assert_eq!(inbox.read(now, &from_peer(&frame), false).say, None);
        assert_eq!(inbox.unknown(), 2);
        // Of another interface, of another family, and too short to have one.
        let good = advert(&v2());
        inbox.read(now, &Packet { interface: "eth1", ..from_peer(&good) }, false);
        inbox.read(
            now,
            &Packet { source: ip("fe80::1"), destination: ip("ff02::12"), ..from_peer(&good) },
            false,
        );
        inbox.read(now, &from_peer(&good[..1]), false);
        assert_eq!((inbox.unknown(), inbox.counts(ONE).accepted), (5, 0));
    }
}

#[test]
fn unicast_for_a_multicast_router_and_the_reverse_are_counted_and_said_once() {
    let frame = advert(&v2());
    let now = Instant::now();
    let direct = Packet { destination: ip("10.0.0.1"), ..from_peer(&frame) };
    for (ours, packet, sentence) in [
        (v2(), direct, "Expected multicast packet but received unicast packet"),
        (unicast(v2(), &[PEER]), from_peer(&frame), "Expected unicast packet but received multicast packet"),
    ] {
        refused(&ours, packet, "destination", sentence);
        let mut inbox = inbox(&[ours]);
        assert!(inbox.read(now, &packet, false).say.is_some());
        assert!(inbox.read(now + Duration::from_secs(3600), &packet, false).say.is_none());
    }
}

#[test]
fn routers_with_one_vrid_are_told_apart_by_who_sends() {
    let a = unicast(v2(), &["10.0.0.2", "10.0.0.3"]);
    let b = VirtualRouter { name: "VI_2".to_owned(), ..unicast(v2(), &["10.0.0.4"]) };
    let c = VirtualRouter { name: "VI_3".to_owned(), ..v2() };
    let mut inbox = inbox(&[a, b, c]);
    let frame = advert(&v2());
    let mut heard = |source, destination| {
        let packet = Packet { source: ip(source), destination: ip(destination), ..from_peer(&frame) };
        inbox.read(Instant::now(), &packet, false).heard.map(|(router, _)| router.0)
    };
    assert_eq!(heard("10.0.0.3", "10.0.0.1"), Some(0));
    assert_eq!(heard("10.0.0.4", "10.0.0.1"), Some(1));
    assert_eq!(heard("10.0.0.4", GROUP), Some(2));
    assert_eq!(heard("10.0.0.5", "10.0.0.1"), None);
    assert_eq!(inbox.unknown(), 1);
}

#[test]
fn unicast_peers_have_a_ttl_of_their_own_and_may_be_the_only_ones() {
    let mut ours = unicast(v2(), &[PEER]);
    let frame = advert(&v2());
    let peer = Packet { destination: ip("10.0.0.1"), ..from_peer(&frame) };
    let stranger = Packet { source: ip("10.0.0.9"), ..peer };
    refused(&ours, Packet { ttl: 254, ..peer }, "ttl", "invalid TTL/HL. Received 254 and expect 255");
    accepted(&ours, stranger);
    if let Peers::Unicast { peers, .. } = &mut ours.peers {
        (peers[0].min_ttl, peers[0].max_ttl) = (60, 64);
    }
    accepted(&ours, Packet { ttl: 62, ..peer });
    refused(&ours, Packet { ttl: 65, ..peer }, "ttl", "TTL/HL 65 not in range 60 - 64");
    refused(&ours, Packet { ttl: 62, ..stranger }, "ttl", "invalid TTL/HL. Received 62 and expect 255");
    ours.checks.unicast_source = true;
    refused(&ours, stranger, "peer", "unicast source address 10.0.0.9 not a unicast peer");
}

#[test]
fn a_flood_is_counted_to_the_last_one_and_costs_few_lines() {
    let mut inbox = inbox(&[v2()]);
    let frame = with(advert(&v2()), 12, b"bar\0\0\0\0\0");
    let (start, mut lines) = (Instant::now(), 0);
    for n in 0..10_000u32 {
        let source = IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
        let now = start + Duration::from_micros(100) * n;
        lines += u32::from(inbox.read(now, &Packet { source, ..from_peer(&frame) }, false).say.is_some());
    }
    assert!(lines <= 9, "{lines}");
    assert_eq!(rejections(inbox.counts(ONE)), [("password", 10_000)]);
    // A minute later there is a line that says how many there were.
    let packet = Packet { source: ip("10.1.0.0"), ..from_peer(&frame) };
    inbox.read(start, &packet, false);
    let (_, text) = inbox.read(start + Duration::from_secs(60), &packet, false).say.unwrap();
    assert!(text.ends_with("; 1 more since the last line"), "{text}");
}

#[test]
fn a_reload_keeps_the_counts_of_routers_that_stay() {
    let mut inbox = inbox(&[v2()]);
    let frame = advert(&v2());
    inbox.read(Instant::now(), &from_peer(&frame), false);
    let other = VirtualRouter { name: "VI_0".to_owned(), vrid: 1, ..v2() };
    let changed = VirtualRouter { interval: Duration::from_secs(2), ..v2() };
    inbox.set(&Vrrp { routers: vec![other, changed], ..Vrrp::default() });
    assert_eq!((inbox.counts(ONE).accepted, inbox.counts(RouterId(1)).accepted), (0, 1));
    assert!(inbox.read(Instant::now(), &from_peer(&frame), false).heard.is_none());
    assert_eq!(rejections(inbox.counts(RouterId(1))), [("interval", 1)]);
}

#[test]
fn the_golden_adverts_count() {
    let mut ours = VirtualRouter { vrid: 51, password: Some(*b"1111\0\0\0\0"), ..v2() };
    ours.addresses[0].address = ip("192.168.10.110");
    let frame = hex("2133780101013851 c0a80a6e 3131313100000000");
    accepted(&ours, Packet { source: ip("192.168.10.101"), ..from_peer(&frame) });
}

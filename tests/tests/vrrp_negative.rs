//! Adverts that must count for nothing: no state changes, no timer is set back, one counter for each reason, a few lines in
//! the log however many there are. What keepalived makes of them is asked of keepalived.
//!
//! Each case has a virtual router of its own, of one director. It hears good adverts of a higher priority, and then spoilt
//! ones only: so it has to become active as if there were silence, and not a moment later.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use shunt_tests::peer::{Kind, Peer};
use shunt_tests::vrrp::{Advert, Sum};
use shunt_tests::wire::Wire;
use shunt_tests::{Instance, Lab, Mac, PacketSocket, wait};

/// Between two spoilt adverts of a case.
const PAUSE: Duration = Duration::from_millis(100);
const SLACK: Duration = Duration::from_millis(900);
const SOON: Duration = Duration::from_secs(20);
const OWN_PRIORITY: u8 = 100;

/// What becomes of an advert.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    /// It counts: the router stays backup.
    Counts,
    /// It is refused with this sentence; and, by shunt, counted under this name.
    Refused(&'static str, &'static str),
    /// It never gets to a router, or is ignored without a word.
    Unheard,
}
use Verdict::{Counts, Refused, Unheard};

struct Case {
    what: &'static str,
    spoil: fn(&mut Advert),
    keepalived: Verdict,
    shunt: Verdict,
}

/// Where both are of one mind.
const fn case(what: &'static str, spoil: fn(&mut Advert), verdict: Verdict) -> Case {
    Case { what, spoil, keepalived: verdict, shunt: verdict }
}

/// Where they are not, for a reason that `control/README.md` tells.
const fn differ(what: &'static str, spoil: fn(&mut Advert), keepalived: Verdict, shunt: Verdict) -> Case {
    Case { what, spoil, keepalived, shunt }
}

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));

const VERSION_2: &[Case] = &[
    case("a good one", |_| {}, Counts),
    case("bad checksum", |a| a.sum = Sum::Wrong, Refused("Invalid VRRPv2 checksum", "checksum")),
    case("TTL 254", |a| a.ttl = 254, Refused("invalid TTL/HL. Received 254 and expect 255", "ttl")),
    case(
        "wrong password",
        |a| a.password = *b"bar\0\0\0\0\0",
        Refused("received an invalid passwd!", "password"),
    ),
    case("no authentication", |a| a.auth = 0, Refused("received a 0 auth, expecting 1!", "auth_type")),
    case("authentication 7", |a| a.auth = 7, Refused("Invalid auth type: 7", "invalid_auth_type")),
    case(
        "version 3",
        |a| *a = Advert { version: 3, interval: 100, ..a.clone() },
        Refused("wrong version. Received 3 and expect 2", "version"),
    ),
    case("version 4", |a| a.version = 4, Refused("", "")),
    case("type 2", |a| a.kind = 2, Refused("Invalid packet type. 2 and expect 1", "type")),
    case(
        "interval 2",
        |a| a.interval = 2,
        Refused("advertisement interval mismatch mine=1 sec rcv'd=2 sec", "interval"),
    ),
    case(
        "another address",
        |a| a.addresses = vec![STRANGER],
        Refused("not present in MASTER advert", "addresses"),
    ),
    case(
        "an address more",
        |a| a.addresses.push(STRANGER),
        Refused("received an unexpected ip number count 2, expected 1!", "count"),
    ),
    case(
        "no password field",
        |a| a.cut = Some(12),
        Refused("vrrp packet too short, length 32 and expect 40", "too_short"),
    ),
    case("seven bytes", |a| a.cut = Some(7), Refused("too short", "too_short")),
    case("four bytes", |a| a.cut = Some(4), Refused("too short", "too_short")),
    case("255 addresses that are not there", |a| a.count = Some(255), Refused("too short", "too_short")),
    case("four bytes more", |a| a.trailing = 4, Refused("vrrp packet too long", "too_long")),
    case("unicast", |a| a.destination = DIRECTOR, Refused("", "destination")),
    differ("IP options", |a| a.options = true, Counts, Refused("IP options", "options")),
    differ("no source", |a| a.source = UNSPECIFIED, Counts, Refused("source", "source")),
    case("a source of a group", |a| a.source = shunt_tests::vrrp::GROUP, Unheard),
    case("a source of all", |a| a.source = IpAddr::V4(Ipv4Addr::BROADCAST), Unheard),
    case("its own source", |a| a.source = DIRECTOR, Unheard),
    case("longer by its header than by its bytes", |a| a.overstated = 8, Unheard),
    case("of a VLAN that it is not in", |a| a.vlan = Some(7), Unheard),
    case("in two fragments, which the kernel puts together", |a| a.fragmented = true, Counts),
    case("to its Ethernet address alone", |a| a.destination_mac = Some(DIRECTOR_MAC), Counts),
    case("of an unknown VRID", |a| a.vrid = 250, Unheard),
    case("of VRID 0", |a| a.vrid = 0, Unheard),
];

const VERSION_3: &[Case] = &[
    case("a good one", |_| {}, Counts),
    case("an interval of 200 ms", |a| a.interval = 20, Counts),
    case("reserved bits", |a| a.reserved = 15, Counts),
    differ(
        "a checksum without pseudo-header",
        |a| a.sum = Sum::MessageOnly,
        Refused("Invalid VRRPv3 checksum", ""),
        Counts,
    ),
    case("bad checksum", |a| a.sum = Sum::Wrong, Refused("Invalid VRRPv3 checksum", "checksum")),
    case("TTL 1", |a| a.ttl = 1, Refused("invalid TTL/HL. Received 1 and expect 255", "ttl")),
    case(
        "version 2",
        |a| *a = Advert { version: 2, interval: 1, ..a.clone() },
        Refused("wrong version. Received 2 and expect 3", "version"),
    ),
    case("type 0", |a| a.kind = 0, Refused("Invalid packet type. 0 and expect 1", "type")),
    case(
        "no address",
        |a| a.addresses.clear(),
        Refused("received an unexpected ip number count 0, expected 1!", "count"),
    ),
    case("cut", |a| a.cut = Some(10), Refused("vrrp packet too short, length 30 and expect 32", "too_short")),
    differ(
        "another address",
        |a| a.addresses = vec![STRANGER],
        Refused("not present in MASTER advert", ""),
        Counts,
    ),
];

const DIRECTOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const DIRECTOR_MAC: Mac = Mac([2, 0, 0, 0, 0xd0, 2]);
const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[test]
fn keepalived_refuses_version_2_as_recorded() {
    judge(Kind::Keepalived, 2, VERSION_2);
}

#[test]
fn shunt_refuses_of_version_2_what_keepalived_refuses() {
    judge(Kind::Shunt, 2, VERSION_2);
}

#[test]
fn keepalived_refuses_version_3_as_recorded() {
    judge(Kind::Keepalived, 3, VERSION_3);
}

#[test]
fn shunt_refuses_of_version_3_what_keepalived_refuses() {
    judge(Kind::Shunt, 3, VERSION_3);
}

fn name(n: usize) -> String {
    // Not the beginning of another's name.
    format!("V{n:03}")
}

fn instance(version: u8, n: usize) -> Instance {
    let base = if version == 2 {
        Instance::slow(OWN_PRIORITY).password("foo")
    } else {
        Instance::fast(OWN_PRIORITY)
    };
    let vrid = u8::try_from(n + 1).expect("a few cases");
    Instance { name: name(n), vrid, addresses: vec![vip(n).to_string()], interval: 1.0, ..base }
}

fn vip(n: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 100 + n as u8).into()
}

#[track_caller]
fn judge(kind: Kind, version: u8, cases: &[Case]) {
    let lab = Lab::builder().directors(2).real_servers(0).build();
    assert_eq!((lab.director(0).address(), lab.director(0).mac()), (DIRECTOR, DIRECTOR_MAC));
    let config: String = (0..cases.len()).map(|n| instance(version, n).to_string()).collect();
    let other = lab.director(1);
    let good: Vec<Advert> = (0..cases.len())
        .map(|n| {
            let advert = Advert::new(version, other.mac(), other.address(), n as u8 + 1, 200).of(&[vip(n)]);
            if version == 2 { advert.password("foo") } else { advert }
        })
        .collect();
    let spoilt: Vec<Advert> = cases
        .iter()
        .zip(&good)
        .map(|(case, good)| {
            let mut advert = good.clone();
            (case.spoil)(&mut advert);
            // A unicast packet needs somebody on the link.
            if !advert.destination.is_multicast() {
                advert.destination_mac = Some(DIRECTOR_MAC);
            }
            advert
        })
        .collect();
    let socket = PacketSocket::open(lab.switch(), lab.director(0).port());
    let send = |adverts: &[Advert]| {
        adverts.iter().flat_map(Advert::frames).for_each(|frame| socket.send(&frame));
    };

    // Good ones until it has begun, and a while longer.
    let peer = amid(
        || send(&good),
        || {
            let peer = Peer::start(kind, &lab, 0, &config);
            for n in 0..cases.len() {
                peer.wait_for(0, &format!("({}) Entering BACKUP STATE", name(n)));
            }
            peer
        },
    );
    let wire = Wire::tap(&lab);
    send(&good);
    let silent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();

    // Spoilt ones until every router is active that has to be.
    let verdict = |case: &Case| if kind == Kind::Shunt { case.shunt } else { case.keepalived };
    let must_be_active = || (0..cases.len()).filter(|n| verdict(&cases[*n]) != Counts);
    let mut rounds = 0;
    wait::until(SOON, "the routers that hear nothing good to become active", || {
        send(&spoilt);
        rounds += 1;
        std::thread::sleep(PAUSE);
        must_be_active().all(|n| peer.holds(vip(n))).then_some(())
    });
    let seen = wire.stop();
    let log = peer.log().text();

    let down = Duration::from_secs(3) + Duration::from_secs(1) * (256 - u32::from(OWN_PRIORITY)) / 256;
    for (n, case) in cases.iter().enumerate() {
        let (what, verdict) = (case.what, verdict(case));
        let first = seen.of(lab.director(0)).find(|heard| usize::from(heard.advert.vrid) == n + 1);
        let lines = |sentence: &str| {
            let of_it = log
                .lines()
                .filter(|line| line.contains(&format!("({})", name(n))) || kind == Kind::Keepalived);
            of_it.filter(|line| line.contains(sentence)).count()
        };
        if verdict == Counts {
            assert!(!peer.holds(vip(n)) && first.is_none(), "{what}: it counts:\n{log}");
            continue;
        }
        let took = first.unwrap_or_else(|| panic!("{what}: no advert of its router")).time - silent;
        assert!(took + Duration::from_millis(100) > down, "{what}: {took:?} is too early: the state changed");
        // keepalived's timer is put off a little by each that it refuses, and off by a second by many.
        let slack = if kind == Kind::Shunt { SLACK } else { 3 * SLACK };
        assert!(took < down + slack, "{what}: {took:?} is too late: the timer was set back");
        if let Refused(sentence, _) = verdict {
            if sentence.is_empty() && kind == Kind::Keepalived {
                continue;
            }
            let count = lines(sentence);
            assert!(count >= 1, "{what}: {sentence:?} is not in the log:\n{log}");
            if kind == Kind::Shunt && !sentence.is_empty() {
                assert!(count <= 4, "{what}: {count} lines for {rounds} adverts");
            }
        }
    }

    let Peer::Shunt(shunt) = &peer else { return };
    for (n, case) in cases.iter().enumerate() {
        let rejected = |view: &Value| view["rejected"].as_object().cloned().unwrap_or_default();
        let router = || {
            let view = shunt.show("vrrp");
            view["routers"]
                .as_array()
                .and_then(|all| all.iter().find(|row| row["name"] == name(n).as_str()).cloned())
        };
        let Refused(_, reason) = case.shunt else {
            let view = router().expect("every router is shown");
            assert!(rejected(&view).is_empty(), "{}: {view:#}", case.what);
            continue;
        };
        // What is shown is a second old at most.
        let view = wait::try_until(Duration::from_secs(5), || {
            router().filter(|view| rejected(view).values().any(|count| *count == rounds))
        });
        let view =
            view.unwrap_or_else(|| panic!("{}: not {rounds} times: {:#}", case.what, router().unwrap()));
        let reasons: Vec<String> = rejected(&view).keys().cloned().collect();
        assert_eq!(reasons.len(), 1, "{}: {view:#}", case.what);
        assert!(reason.is_empty() || reasons == [reason], "{}: {view:#}", case.what);
    }
    let unknown =
        cases.iter().zip(&spoilt).filter(|(_, a)| a.vrid == 0 || a.vrid == 250).count() as u64 * rounds;
    assert_eq!(shunt.show("vrrp")["unknown_vrid"], unknown);
}

/// Does `work` while `noise` is made again and again, however that ends.
fn amid<T>(noise: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    struct Quiet<'a>(&'a AtomicBool);
    impl Drop for Quiet<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                noise();
                std::thread::sleep(PAUSE);
            }
        });
        let _quiet = Quiet(&done);
        work()
    })
}

#[test]
fn a_priority_of_zero_is_a_takeover_after_the_skew_alone_and_may_be_forged() {
    // Known and told: version 2's password protects nothing, and a replayed advert is as good as the first.
    for kind in [Kind::Keepalived, Kind::Shunt] {
        let lab = Lab::builder().directors(2).real_servers(0).build();
        let other = lab.director(1);
        let socket = PacketSocket::open(lab.switch(), lab.director(0).port());
        let good = Advert::new(3, other.mac(), other.address(), 51, 200).of(&[shunt_tests::address::VIP]);
        let config = Instance { interval: 1.0, ..Instance::fast(OWN_PRIORITY) }.to_string();
        let peer = amid(
            || good.frames().iter().for_each(|frame| socket.send(frame)),
            || {
                let peer = Peer::start(kind, &lab, 0, &config);
                peer.wait_for(0, "(VI_1) Entering BACKUP STATE");
                peer
            },
        );
        let wire = Wire::tap(&lab);
        good.frames().iter().for_each(|frame| socket.send(frame));
        let stop = Advert { priority: 0, ..good.clone() };
        stop.frames().iter().for_each(|frame| socket.send(frame));
        let begin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        peer.until_active();
        // A replay of a higher priority, and it yields.
        good.frames().iter().for_each(|frame| socket.send(frame));
        peer.until_backup();
        let seen = wire.stop();
        let took = seen.of(lab.director(0)).next().expect("its advert").time - begin;
        let skew = Duration::from_secs(1) * 156 / 256;
        assert!(took + Duration::from_millis(100) > skew && took < skew + SLACK, "{kind:?}: {took:?}");
    }
}

#[test]
fn a_flood_of_spoilt_adverts_delays_no_advert_and_fills_no_log() {
    const FLOOD: usize = 20_000;
    let lab = Lab::builder().directors(2).real_servers(0).build();
    let other = lab.director(1);
    let peer = Peer::start(Kind::Shunt, &lab, 0, &Instance::fast(OWN_PRIORITY).to_string());
    peer.until_active();
    let socket = PacketSocket::open(lab.switch(), lab.director(0).port());
    let bad = Advert::new(3, other.mac(), other.address(), 51, 200).of(&[shunt_tests::address::VIP]);
    let frames = Advert { sum: Sum::Wrong, ..bad }.frames();
    let mark = peer.log().mark();
    let wire = Wire::tap(&lab);
    let hundredth = FLOOD / 100;
    for _ in 0..100 {
        // Ten thousand a second: it is the rate, not the queue, that is asked about.
        socket.send_many(&frames, hundredth).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = wire.stop();
    let times: Vec<_> = seen.of(lab.director(0)).map(|heard| heard.time).collect();
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("adverts");
    // A peer of the same interval would not have taken over.
    assert!(widest < Duration::from_millis(600), "{widest:?} between two adverts");
    assert!(peer.holds(shunt_tests::address::VIP));
    let lines = peer.log().text().lines().count() - mark;
    assert!(lines <= 10, "{lines} lines for {FLOOD} adverts");
}

#[test]
fn of_ipv6_a_lower_hop_limit_and_extension_headers_are_refused() {
    let lab = Lab::builder().directors(2).real_servers(0).ipv6().build();
    let other = lab.director(1);
    type Spoilt = (&'static str, fn(&mut Advert), &'static str);
    let cases: [Spoilt; 3] = [
        ("hop limit 254", |a| a.ttl = 254, "ttl"),
        ("options", |a| a.options = true, "options"),
        ("checksum", |a| a.sum = Sum::Wrong, ""),
    ];
    let config: String = (0..cases.len())
        .map(|n| {
            let addresses = vec![format!("fe80::{}", 10 + n)];
            Instance { name: name(n), vrid: n as u8 + 1, addresses, ..Instance::fast(OWN_PRIORITY) }
                .to_string()
        })
        .collect();
    let socket = PacketSocket::open(lab.switch(), lab.director(0).port());
    let peer = Peer::start(Kind::Shunt, &lab, 0, &config);
    let mut rounds = 0;
    let vip = |n: usize| -> IpAddr { format!("fe80::{}", 10 + n).parse().unwrap() };
    wait::until(SOON, "all to become active", || {
        for (n, (_, spoil, _)) in cases.iter().enumerate() {
            let mut advert =
                Advert::new(3, other.mac(), other.mac().link_local(), n as u8 + 1, 200).of(&[vip(n)]);
            spoil(&mut advert);
            advert.frames().iter().for_each(|frame| socket.send(frame));
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(50));
        (0..cases.len()).all(|n| peer.holds(vip(n))).then_some(())
    });
    assert!(rounds > 5);
    let Peer::Shunt(shunt) = &peer else { unreachable!("it was started above") };
    for (n, (what, _, reason)) in cases.iter().enumerate().filter(|(_, case)| !case.2.is_empty()) {
        wait::until(SOON, what, || {
            let view = shunt.show("vrrp");
            let rows = view["routers"].as_array()?.clone();
            let row = rows.into_iter().find(|row| row["name"] == name(n).as_str())?;
            row["rejected"].as_object()?.contains_key(*reason).then_some(())
        });
    }
}

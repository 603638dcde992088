//! The VRRP thread against the real kernel: what is on the wire, and which addresses are held when.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use nix::libc;
use shunt::model::{
    AdvertChecks, Announce, Checksum, Peer, Peers, Tracking, Version, VirtualAddress, VirtualRouter, Vmac,
    Vrrp, VrrpHooks,
};
use shunt::vrrp::track::Results;
use shunt::vrrp::view::RouterView;
use shunt::vrrp::{Cause, Event, Facts, MARK, State, VrrpThread, packet};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{DEADLINE, Namespace};

const QUICK: Duration = Duration::from_millis(100);

/// A director in a namespace. It stops with the test.
struct Director {
    thread: Option<VrrpThread>,
    events: UnboundedReceiver<Event>,
    runtime: tokio::runtime::Runtime,
}

impl Director {
    fn start(namespace: &Namespace, routers: &[VirtualRouter]) -> Director {
        let (events, inbox) = unbounded_channel();
        let thread = namespace.run(|| VrrpThread::start::<Event>(events).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let director = Director { thread: Some(thread), events: inbox, runtime };
        director.configure(routers);
        director.thread().allow_preempt(true);
        director
    }

    fn configure(&self, routers: &[VirtualRouter]) {
        let vrrp = Vrrp { routers: routers.to_vec(), ..Vrrp::default() };
        self.thread().configure(Arc::new(vrrp), Facts::default());
        self.thread().track(Results::default());
    }

    fn thread(&self) -> &VrrpThread {
        self.thread.as_ref().unwrap()
    }

    /// Waits until a router comes to a state; why.
    fn comes_to(&mut self, name: &str, state: State) -> Cause {
        loop {
            let next =
                self.runtime.block_on(async { tokio::time::timeout(DEADLINE, self.events.recv()).await });
            match next {
                Ok(Some(Event::Changed { router, to, cause, .. })) if router == name && to == state => {
                    return cause;
                }
                Ok(Some(Event::Died(why))) => panic!("{why}"),
                Ok(Some(_)) => {}
                other => panic!("{name} never came to {state:?}: {other:?}, {:#?}", self.thread().view()),
            }
        }
    }

    fn router(&self, name: &str) -> Option<RouterView> {
        self.thread().view().routers.iter().find(|router| router.name == name).cloned()
    }

    /// Waits until the view of a router is so.
    fn sees(&self, name: &str, what: &str, fact: impl Fn(&RouterView) -> bool) -> RouterView {
        let give_up = Instant::now() + DEADLINE;
        loop {
            match self.router(name) {
                Some(router) if fact(&router) => return router,
                router => assert!(Instant::now() < give_up, "never happened: {what}: {router:#?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let begin = Instant::now();
            self.runtime.block_on(thread.stop());
            // The bound of a stop, not a speed.
            assert!(begin.elapsed() < Duration::from_secs(3));
        }
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// Hears all frames of an interface, those that it sends too.
struct Ear(Socket);

impl Ear {
    fn open(namespace: &Namespace, interface: &str) -> Ear {
        let index = namespace.index(interface);
        let socket = namespace.run(|| {
            let all = i32::from((libc::ETH_P_ALL as u16).to_be());
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all))).unwrap();
            socket.bind(&link_address(index)).unwrap();
            socket
        });
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Ear(socket)
    }

    /// The next frame for which it is so.
    fn hear(&mut self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let give_up = Instant::now() + DEADLINE;
        let mut frame = [0; 9000];
        while Instant::now() < give_up {
            let length = match self.0.read(&mut frame) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("{what}: {error}"),
            };
            if is_it(&frame[..length]) {
                return frame[..length].to_vec();
            }
        }
        panic!("never heard: {what}")
    }

    fn hear_advert(&mut self) -> Vec<u8> {
        self.hear("an advert", is_advert)
    }
}

fn is_advert(frame: &[u8]) -> bool {
    frame.len() > 34 && frame[12..14] == [8, 0] && frame[23] == 112
        || frame.len() > 54 && frame[12..14] == [0x86, 0xdd] && frame[20] == 112
}

fn is_announcement(frame: &[u8]) -> bool {
    frame[12..14] == [8, 6] && frame[28..32] == frame[38..42]
}

fn link_address(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_storage is made to be seen as the address type of its family, which is set here.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds a sockaddr_ll, and the length is that of one.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// A frame with an advert of `router` to its group, as another director would send it.
fn advert(router: &VirtualRouter, priority: u8, source: [u8; 4]) -> Vec<u8> {
    let (source, group) = (Ipv4Addr::from(source), Ipv4Addr::new(224, 0, 0, 18));
    let message = packet::encode(router, priority, router.interval, source.into(), group.into());
    let mut frame = vec![1, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 0x21, 8, 0, 0x45, 0xc0];
    frame.extend((20 + message.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 255, 112, 0, 0]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    let sum: u32 = frame[14..34].chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(message);
    frame
}

fn router(name: &str, version: Version, addresses: &[&str]) -> VirtualRouter {
    let ipv6 = addresses.first().is_some_and(|first| first.contains(':'));
    VirtualRouter {
        name: name.to_owned(),
        version,
        ipv6,
        interface: "d0".to_owned(),
        vrid: 51,
        priority: 100,
        begins_active: false,
        interval: if version == Version::V3 { QUICK } else { Duration::from_secs(1) },
        down_timer_adverts: 3,
        password: None,
        addresses: addresses.iter().map(|address| held(address)).collect(),
        excluded: Vec::new(),
        peers: Peers::Multicast { group: if ipv6 { "ff02::12" } else { "224.0.0.18" }.parse().unwrap() },
        source: None,
        track_source: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        checks: AdvertChecks::default(),
        checksum: Checksum::PseudoHeader,
        vmac: None,
        announce: Announce { delay: Duration::ZERO, ..Announce::default() },
        track: Tracking::default(),
        hooks: VrrpHooks::default(),
    }
}

fn quick(addresses: &[&str]) -> VirtualRouter {
    router("a", Version::V3, addresses)
}

fn unicast(router: VirtualRouter, peer: &str) -> VirtualRouter {
    let peers = vec![Peer { address: peer.parse().unwrap(), min_ttl: 255, max_ttl: 255 }];
    VirtualRouter { peers: Peers::Unicast { peers, ttl: 255, fault_without: false }, ..router }
}

/// The same on the other end of the wire.
fn across(router: &VirtualRouter, priority: u8) -> VirtualRouter {
    VirtualRouter { interface: "r0".to_owned(), priority, ..router.clone() }
}

fn held(address: &str) -> VirtualAddress {
    let address: IpAddr = address.parse().unwrap();
    VirtualAddress {
        address,
        prefix_len: if address.is_ipv6() { 128 } else { 32 },
        interface: None,
        broadcast: None,
        scope: 0,
        label: None,
        peer: None,
        no_track: false,
    }
}

fn has(namespace: &Namespace, interface: &str, address: &str) -> bool {
    namespace.ip(&format!("address show dev {interface}")).contains(&format!(" {address}/"))
}

/// Adds an address as a shunt does that is killed then.
fn add_marked(namespace: &Namespace, interface: &str, address: &str) {
    let index = namespace.index(interface);
    namespace.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let mut request = handle.address().add(index, address.parse().unwrap(), 32);
        request.message_mut().attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        request.execute().await.unwrap();
    });
}

/// The addresses with the mark of virtual addresses.
fn marked(namespace: &Namespace) -> Vec<IpAddr> {
    namespace.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let all: Vec<AddressMessage> = handle.address().get().execute().try_collect().await.unwrap();
        let mark = AddressAttribute::Protocol(AddressProtocol::Other(MARK));
        let marked = all.iter().filter(|message| message.attributes.contains(&mark));
        let local = |attribute: &AddressAttribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        };
        marked.filter_map(|message| message.attributes.iter().find_map(local)).collect()
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_first_adverts_the_announcement_and_the_last_advert_are_keepalived_s() {
    let (near, far) = Namespace::pair();
    near.ip("address flush dev d0");
    near.ip("address add 10.0.0.1/24 dev d0");
    let mut ear = Ear::open(&far, "r0");
    let golden = VirtualRouter {
        vrid: 1,
        priority: 101,
        password: Some(*b"foo\0\0\0\0\0"),
        down_timer_adverts: 1,
        ..router("VI_1", Version::V2, &["10.0.0.5"])
    };
    let mut director = Director::start(&near, &[golden]);
    for id in 1u16..=2 {
        let mut frame = ear.hear_advert();
        // The checksum of the header depends on the identification.
        assert_eq!(frame[18..20], id.to_be_bytes());
        frame[18..20].fill(0);
        frame[24..26].fill(0);
        assert_eq!(
            frame,
            hex("01005e000012 020000000001 0800 45c00028 00000000 ff700000 0a000001 e0000012
                 2101650101019987 0a000005 666f6f0000000000")
        );
        if id == 1 {
            let announcement = ear.hear("an announcement", is_announcement);
            assert!(has(&near, "d0", "10.0.0.5"), "it is added before it is announced");
            assert_eq!(
                announcement,
                hex(
                    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000005 ffffffffffff 0a000005"
                )
            );
        }
    }
    assert_eq!(director.comes_to("VI_1", State::Active), Cause::Timeout);
    let view = director.sees("VI_1", "two adverts", |router| router.counters.adverts_sent >= 2);
    assert!(view.holds && view.state == "MASTER" && view.addresses == ["10.0.0.5/32"], "{view:#?}");
    assert_eq!(marked(&near), [IpAddr::from([10, 0, 0, 5])]);
    director.stop();
    let last = ear.hear("priority 0", |frame| is_advert(frame) && frame[36] == 0);
    assert_eq!(last[34..], hex("210100010101fe87 0a000005 666f6f0000000000"));
    assert!(!has(&near, "d0", "10.0.0.5"), "it is off when the stop is over");
}

#[test]
fn the_higher_priority_holds_the_address_and_the_other_takes_over_when_it_stops_and_yields_when_it_is_back() {
    let (near, far) = Namespace::pair();
    let low = quick(&["192.0.2.10"]);
    let high = across(&low, 200);
    let mut two = Director::start(&far, std::slice::from_ref(&high));
    two.comes_to("a", State::Active);
    let mut one = Director::start(&near, std::slice::from_ref(&low));
    one.sees("a", "the other is active", |router| {
        router.state == "BACKUP" && router.active.as_ref().is_some_and(|active| active.priority == 200)
    });
    assert!(has(&far, "r0", "192.0.2.10") && !has(&near, "d0", "192.0.2.10"));
    two.stop();
    assert!(!has(&far, "r0", "192.0.2.10"));
    one.comes_to("a", State::Active);
    one.sees("a", "it was told", |router| router.counters.priority_zero_received == 1);
    assert!(has(&near, "d0", "192.0.2.10"));
    let mut two = Director::start(&far, &[high]);
    two.comes_to("a", State::Active);
    let cause = one.comes_to("a", State::Backup);
    assert_eq!(cause, Cause::Higher { source: [192, 0, 2, 21].into(), priority: 200 });
    assert!(
        has(&far, "r0", "192.0.2.10") && !has(&near, "d0", "192.0.2.10"),
        "it was removed before that was told"
    );
}

#[test]
fn silence_is_a_reason_to_take_over_and_a_bad_advert_is_none_to_wait() {
    let (near, far) = Namespace::pair();
    let a = quick(&["192.0.2.10"]);
    let mut director = Director::start(&near, std::slice::from_ref(&a));
    let peer = Ear::open(&far, "r0");
    let good = advert(&a, 200, [192, 0, 2, 21]);
    director.sees("a", "the peer is heard", |router| {
        peer.0.send(&good).unwrap();
        router.counters.adverts_received >= 5 && router.state == "BACKUP"
    });
    let mut bad = good;
    // Its TTL, and the checksum of the header with it.
    bad[22] = 254;
    bad[24] += 1;
    director.sees("a", "it takes over", |router| {
        peer.0.send(&bad).unwrap();
        router.state == "MASTER"
    });
    assert_eq!(director.comes_to("a", State::Active), Cause::Timeout);
    let view = director.sees("a", "bad adverts are counted", |router| router.counters.rejected > 0);
    let reasons: Vec<_> = view.rejected.keys().copied().collect();
    assert_eq!(reasons, [view.last_rejected.unwrap().reason]);
    assert!(has(&near, "d0", "192.0.2.10"));
}

#[test]
fn an_address_removed_by_hand_is_a_reason_to_yield_and_all_others_go() {
    let (near, far) = Namespace::pair();
    let a = VirtualRouter {
        interval: Duration::from_secs(1),
        down_timer_adverts: 1,
        excluded: vec![held("2001:db8::10")],
        ..quick(&["192.0.2.10", "192.0.2.11"])
    };
    let mut director = Director::start(&near, std::slice::from_ref(&a));
    director.comes_to("a", State::Active);
    assert!(has(&near, "d0", "192.0.2.11") && has(&near, "d0", "2001:db8::10"));
    let other = VirtualRouter { preempt: false, ..across(&a, 200) };
    let mut other = Director::start(&far, &[other]);
    other.sees("a", "it hears the first", |router| router.active.is_some());
    near.ip("address del 192.0.2.10/32 dev d0");
    assert_eq!(director.comes_to("a", State::Backup), Cause::AddressLost([192, 0, 2, 10].into()));
    other.comes_to("a", State::Active);
    assert!(!has(&near, "d0", "192.0.2.11") && !has(&near, "d0", "2001:db8::10"));
    other.stop();
    // What it removed itself then was no loss.
    director.comes_to("a", State::Active);
    assert!(has(&near, "d0", "192.0.2.10") && has(&near, "d0", "2001:db8::10"));
}

#[test]
fn an_address_that_is_not_tracked_is_added_again() {
    let (near, _far) = Namespace::pair();
    let mut a = quick(&["192.0.2.10"]);
    a.addresses[0].no_track = true;
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Active);
    near.ip("address del 192.0.2.10/32 dev d0");
    near.wait_for("address show dev d0", "192.0.2.10/32");
    assert_eq!(director.router("a").unwrap().state, "MASTER");
}

#[test]
fn a_link_that_goes_down_is_a_fault_and_one_that_comes_back_ends_it() {
    let (near, far) = Namespace::pair_with_ipv6();
    let a = quick(&["192.0.2.10"]);
    let a = VirtualRouter { excluded: vec![held("2001:db8::10")], ..a };
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Active);
    near.ip("link set d0 down");
    let Cause::Fault(why) = director.comes_to("a", State::Fault) else { panic!("it is a fault") };
    assert!(why.contains("d0"), "{why}");
    assert!(!has(&near, "d0", "192.0.2.10"));
    let mut ear = Ear::open(&far, "r0");
    near.ip("link set d0 up");
    director.comes_to("a", State::Active);
    assert!(has(&near, "d0", "192.0.2.10") && has(&near, "d0", "2001:db8::10"));
    ear.hear_advert();
    ear.hear("an announcement", is_announcement);
}

#[test]
fn whoever_does_not_track_its_link_stays_active_and_announces_when_the_link_is_back() {
    let (near, far) = Namespace::pair_with_ipv6();
    let mut a = VirtualRouter { excluded: vec![held("2001:db8::10")], ..quick(&["192.0.2.10"]) };
    a.track.not_own_interface = true;
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Active);
    let mut ear = Ear::open(&far, "r0");
    near.ip("link set d0 down");
    ear.0.set_nonblocking(true).unwrap();
    while ear.0.read(&mut [0; 2000]).is_ok() {}
    ear.0.set_nonblocking(false).unwrap();
    near.ip("link set d0 up");
    ear.hear("an announcement", is_announcement);
    // The kernel took it off with the link.
    near.wait_for("-6 address show dev d0", "2001:db8::10/128");
    assert_eq!(director.router("a").unwrap().state, "MASTER");
}

#[test]
fn what_is_there_at_the_start_is_removed_until_this_node_is_active() {
    let (near, far) = Namespace::pair();
    let a = quick(&["192.0.2.10", "192.0.2.11"]);
    near.ip("address add 192.0.2.10/32 dev d0");
    near.ip("address add 192.0.2.11/24 dev d0");
    // Of a router that a killed shunt had, and that this one has not.
    add_marked(&near, "d0", "192.0.2.12");
    near.ip("address add 192.0.2.13/32 dev d0");
    let mut other = Director::start(&far, &[across(&a, 200)]);
    other.comes_to("a", State::Active);
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Backup);
    director.sees("a", "the other is active", |router| router.active.is_some());
    for gone in ["192.0.2.10", "192.0.2.11", "192.0.2.12"] {
        let give_up = Instant::now() + DEADLINE;
        while has(&near, "d0", gone) {
            assert!(Instant::now() < give_up, "{gone} stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(has(&near, "d0", "192.0.2.1") && has(&near, "d0", "192.0.2.13"));
}

#[test]
fn over_ipv6_adverts_come_from_the_link_local_address_and_are_heard() {
    let (near, far) = Namespace::pair_with_ipv6();
    let a = quick(&["fe80::5", "2001:db8::5"]);
    let mut ear = Ear::open(&far, "r0");
    let mut one = Director::start(&near, std::slice::from_ref(&a));
    one.comes_to("a", State::Active);
    assert!(has(&near, "d0", "fe80::5") && has(&near, "d0", "2001:db8::5"));
    let frame = ear.hear_advert();
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
    assert_eq!(
        frame[14..22],
        [0x6c, 0, 0, 0, 0, 40, 112, 255],
        "traffic class, length, next header, hop limit"
    );
    assert_eq!(frame[22..38], hex("fe80 0000 0000 0000 0000 00ff fe00 0001")[..]);
    assert_eq!(frame[38..54], hex("ff02 0000 0000 0000 0000 0000 0000 0012")[..]);
    assert_eq!(frame[62..78], hex("fe80 0000 0000 0000 0000 0000 0000 0005")[..]);
    let mut two = Director::start(&far, &[across(&a, 200)]);
    two.comes_to("a", State::Active);
    assert!(matches!(one.comes_to("a", State::Backup), Cause::Higher { priority: 200, .. }));
    assert!(!has(&near, "d0", "fe80::5"));
    two.stop();
    one.comes_to("a", State::Active);
    one.sees("a", "it was told", |router| router.counters.priority_zero_received == 1);
}

#[test]
fn unicast_peers_hear_each_other_and_nobody_else_hears_them() {
    let (near, far) = Namespace::pair();
    let a = quick(&["192.0.2.10"]);
    let mut ear = Ear::open(&far, "r0");
    let mut two = Director::start(&far, &[unicast(across(&a, 200), "192.0.2.1")]);
    two.comes_to("a", State::Active);
    let mut one = Director::start(&near, &[unicast(a, "192.0.2.21")]);
    one.sees("a", "the other is active", |router| {
        router.state == "BACKUP" && router.active.as_ref().is_some_and(|active| active.priority == 200)
    });
    two.stop();
    one.comes_to("a", State::Active);
    one.sees("a", "it was told", |router| router.counters.priority_zero_received == 1);
    for _ in 0..3 {
        let frame = ear.hear_advert();
        assert_eq!(frame[0] & 1, 0, "no advert goes to a group");
        assert_eq!(frame[22], 255);
    }
}

#[test]
fn an_interface_may_come_late_go_and_come_back_with_another_index() {
    let (near, far) = Namespace::pair();
    let a = VirtualRouter { interface: "d1".to_owned(), ..quick(&["192.0.2.10"]) };
    let mut director = Director::start(&near, &[a]);
    let Cause::Fault(why) = director.comes_to("a", State::Fault) else { panic!("it is a fault") };
    assert!(why.contains("d1"), "{why}");
    let mut before = 0;
    for _ in 0..2 {
        near.ip("link add d1 type veth peer name r1");
        near.ip("address add 198.51.100.1/24 dev d1");
        near.ip("link set r1 up");
        near.ip("link set d1 up");
        director.comes_to("a", State::Active);
        assert!(has(&near, "d1", "192.0.2.10"));
        let mut ear = Ear::open(&near, "r1");
        ear.hear_advert();
        assert_ne!(std::mem::replace(&mut before, near.index("d1")), near.index("d1"));
        near.ip("link del d1");
        director.comes_to("a", State::Fault);
    }
    drop(far);
}

#[test]
fn addresses_are_added_as_the_configuration_has_them() {
    let (near, _far) = Namespace::pair();
    near.ip("link add d1 type veth peer name r1");
    near.ip("link set d1 up");
    let mut a = quick(&["192.0.2.10", "198.51.100.5"]);
    a.addresses[0] = VirtualAddress {
        prefix_len: 28,
        broadcast: Some([192, 0, 2, 15].into()),
        label: Some("d0:vip".to_owned()),
        scope: 253,
        ..a.addresses[0].clone()
    };
    a.addresses[1].interface = Some("d1".to_owned());
    a.excluded = vec![VirtualAddress { peer: Some([203, 0, 113, 9].into()), ..held("203.0.113.1") }];
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Active);
    let shown = near.ip("address show dev d0");
    assert!(shown.contains("192.0.2.10/28 brd 192.0.2.15 scope link"), "{shown}");
    assert!(shown.contains("d0:vip"), "{shown}");
    assert!(shown.contains("203.0.113.1 peer 203.0.113.9/32"), "{shown}");
    assert!(has(&near, "d1", "198.51.100.5"));
    director.stop();
    let shown = near.ip("address show");
    assert!(
        !shown.contains("192.0.2.10") && !shown.contains("203.0.113") && !shown.contains("198.51"),
        "{shown}"
    );
}

#[test]
fn one_address_that_the_kernel_refuses_does_not_keep_the_others_off() {
    let (near, _far) = Namespace::pair();
    let mut a = quick(&["192.0.2.10", "192.0.2.11"]);
    a.addresses[0].interface = Some("nowhere0".to_owned());
    a.excluded = vec![VirtualAddress { prefix_len: 200, ..held("2001:db8::1") }];
    let mut director = Director::start(&near, &[a]);
    director.comes_to("a", State::Active);
    assert!(has(&near, "d0", "192.0.2.11"));
}

#[test]
fn another_configuration_changes_the_addresses_of_who_is_active_and_releases_who_is_gone() {
    let (near, far) = Namespace::pair();
    let a = quick(&["192.0.2.10", "192.0.2.11"]);
    let b = VirtualRouter { name: "b".to_owned(), vrid: 52, ..quick(&["192.0.2.20"]) };
    let mut director = Director::start(&near, &[b, a]);
    director.comes_to("a", State::Active);
    near.wait_for("address show dev d0", "192.0.2.20/32");
    let mut ear = Ear::open(&far, "r0");
    director.configure(&[quick(&["192.0.2.11", "192.0.2.12"])]);
    near.wait_for("address show dev d0", "192.0.2.12/32");
    let give_up = Instant::now() + DEADLINE;
    while has(&near, "d0", "192.0.2.10") || has(&near, "d0", "192.0.2.20") {
        assert!(Instant::now() < give_up, "addresses stay");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(has(&near, "d0", "192.0.2.11"));
    ear.hear("that b stops", |frame| is_advert(frame) && frame[35] == 52 && frame[36] == 0);
    let view = director.sees("a", "it goes on", |router| router.addresses.len() == 2);
    assert_eq!(view.state, "MASTER");
    assert!(director.router("b").is_none());
}

#[test]
fn who_gets_another_vrid_or_interface_stops_as_the_one_and_begins_as_the_other() {
    let (near, far) = Namespace::pair();
    near.ip("link add d1 type veth peer name r1");
    near.ip("address add 198.51.100.1/24 dev d1");
    near.ip("link set r1 up");
    near.ip("link set d1 up");
    let a = quick(&["192.0.2.10"]);
    let mut director = Director::start(&near, std::slice::from_ref(&a));
    director.comes_to("a", State::Active);
    let mut ear = Ear::open(&far, "r0");
    let a = VirtualRouter { vrid: 52, ..a };
    director.configure(std::slice::from_ref(&a));
    ear.hear("that 51 stops", |frame| is_advert(frame) && frame[35] == 51 && frame[36] == 0);
    director.comes_to("a", State::Active);
    ear.hear("that 52 goes on", |frame| is_advert(frame) && frame[35] == 52 && frame[36] == 100);
    assert!(has(&near, "d0", "192.0.2.10"));
    director.configure(&[VirtualRouter { interface: "d1".to_owned(), ..a }]);
    director.comes_to("a", State::Active);
    assert!(has(&near, "d1", "192.0.2.10") && !has(&near, "d0", "192.0.2.10"));
}

#[test]
fn the_group_stays_among_the_neighbours_however_full_their_table_is() {
    let (near, _far) = Namespace::pair_with_ipv6();
    let b = VirtualRouter { name: "b".to_owned(), ..quick(&["fe80::10"]) };
    let mut director = Director::start(&near, &[quick(&["192.0.2.10"]), b]);
    for name in ["a", "b"] {
        director.sees(name, "it is active", |router| router.state == "MASTER");
    }
    let permanent = || {
        near.wait_for("neighbour show nud permanent", "224.0.0.18 dev d0 lladdr 01:00:5e:00:00:12");
        near.wait_for("neighbour show nud permanent", "ff02::12 dev d0 lladdr 33:33:00:00:00:12");
    };
    permanent();
    // The kernel takes them off with the link.
    near.ip("link set d0 down");
    near.ip("link set d0 up");
    permanent();
    director.stop();
    let left = near.ip("neighbour show nud permanent");
    assert!(!left.contains("224.0.0.18") && !left.contains("ff02::12"), "{left}");
}

#[test]
fn all_of_255_addresses_in_one_router_and_all_of_100_routers_are_held_and_released() {
    let (near, _far) = Namespace::pair();
    let many: Vec<String> = (1..=255).map(|n| format!("198.51.100.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut routers = vec![quick(&many)];
    routers.extend((101..=200).map(|vrid| VirtualRouter {
        name: format!("r{vrid}"),
        vrid,
        ..quick(&[&format!("203.0.113.{vrid}")])
    }));
    let mut director = Director::start(&near, &routers);
    for router in &routers {
        director
            .sees(&router.name, "it is active and holds", |router| router.state == "MASTER" && router.holds);
    }
    let shown = near.ip("address show dev d0");
    assert_eq!(shown.matches("inet 198.51.100.").count(), 255);
    assert_eq!(shown.matches("inet 203.0.113.").count(), 100);
    director.stop();
    let shown = near.ip("address show dev d0");
    assert!(!shown.contains("198.51.100.") && !shown.contains("203.0.113."), "{shown}");
}

#[test]
fn a_flood_of_bad_adverts_changes_nothing_and_keeps_the_good_ones_from_nothing() {
    let (near, far) = Namespace::pair();
    let a = quick(&["192.0.2.10"]);
    let mut director = Director::start(&near, std::slice::from_ref(&a));
    director.comes_to("a", State::Active);
    let before = director.router("a").unwrap().counters;
    let peer = Ear::open(&far, "r0");
    let mut bad = advert(&a, 200, [192, 0, 2, 21]);
    // Its checksum.
    bad[40] ^= 0xff;
    director.sees("a", "adverts go out and bad ones are counted", |router| {
        for _ in 0..200 {
            peer.0.send(&bad).unwrap();
        }
        assert_eq!(router.state, "MASTER");
        router.counters.adverts_sent > before.adverts_sent + 10 && router.counters.rejected > 5000
    });
    assert_eq!(director.router("a").unwrap().counters.adverts_received, before.adverts_received);
    let lateness = director.thread().view().lateness;
    assert!(
        lateness.count > 10 && lateness.worst_us >= lateness.p50_us && lateness.p50_us > 0,
        "{lateness:?}"
    );
}

#[test]
fn with_a_virtual_mac_adverts_leave_and_addresses_live_on_its_interface() {
    let (near, far) = Namespace::pair();
    let a = VirtualRouter {
        vmac: Some(Vmac { interface: None, transmit_base: false }),
        ..quick(&["192.0.2.10"])
    };
    let mut ear = Ear::open(&far, "r0");
    let mut one = Director::start(&near, std::slice::from_ref(&a));
    one.comes_to("a", State::Active);
    assert!(has(&near, "vrrp.51", "192.0.2.10") && !has(&near, "d0", "192.0.2.10"));
    let mac = [0, 0, 0x5e, 0, 1, 51];
    let frame = ear.hear_advert();
    assert_eq!((&frame[6..12], &frame[26..30]), (&mac[..], &[192, 0, 2, 1][..]));
    assert_eq!(ear.hear("an announcement", is_announcement)[22..28], mac);
    // It hears by the interface below.
    let mut two = Director::start(&far, &[across(&a, 200)]);
    two.comes_to("a", State::Active);
    assert!(matches!(one.comes_to("a", State::Backup), Cause::Higher { priority: 200, .. }));
    one.stop();
    assert!(!near.ip("link show").contains("vrrp.51"));
}

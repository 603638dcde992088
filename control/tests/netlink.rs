//! Links, addresses, routes and neighbours against the real kernel, in network namespaces. Needs root and iproute2.

mod namespace;

use std::net::IpAddr;
use std::time::Duration;

use namespace::{Namespace, next, shell, until};
use shunt::address::{self, Ownership, Vip, VipOwner, addresses, interface_for};
use shunt::link::{self, Change, LinkWatch, links};
use shunt::neighbor::{self, Neighbor, NeighborKey, NeighborWatch};
use shunt::netlink::Netlink;
use shunt::route::{Reach, reach};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const REAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 21));
const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 99));
const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x22];

fn vip(index: u32, address: &str) -> Vip {
    Vip { index, address: address.parse().unwrap() }
}

// --- neighbours ---

/// A watch that wants one neighbour on `d0`, and its events.
fn wanting(index: u32, address: IpAddr) -> (NeighborWatch, NeighborKey, UnboundedReceiver<neighbor::Event>) {
    let (events, inbox) = unbounded_channel();
    let watch = NeighborWatch::start(&Netlink::open().unwrap(), events).unwrap();
    let key = NeighborKey { index, address };
    watch.want([key]);
    (watch, key, inbox)
}

#[test]
fn a_real_server_is_resolved_and_a_missing_one_fails() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (events, mut inbox) = unbounded_channel::<neighbor::Event>();
        let watch = NeighborWatch::start(&Netlink::open().unwrap(), events).unwrap();
        let (there, missing) = (NeighborKey { index, address: REAL }, NeighborKey { index, address: NOBODY });
        assert_eq!(watch.view().neighbor(there), Neighbor::Resolving);
        watch.want([there, missing]);
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, neighbor::Event::Resolved { key: there, mac: REAL_MAC });
        assert_eq!(watch.view().mac(there), Some(REAL_MAC));
        assert_eq!(next(&mut inbox, "the failure").await, neighbor::Event::Failed { key: missing });
        assert!(matches!(watch.view().neighbor(missing), Neighbor::Failed { .. }));
    });
}

#[test]
fn a_real_server_of_ipv6_is_resolved() {
    let (director, real) = Namespace::pair();
    director.ip("address add 2001:db8::1/64 dev d0 nodad");
    real.ip("address add 2001:db8::21/64 dev r0 nodad");
    let index = director.index("d0");
    director.block_on(async || {
        let (_watch, key, mut inbox) = wanting(index, "2001:db8::21".parse().unwrap());
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, neighbor::Event::Resolved { key, mac: REAL_MAC });
    });
}

#[test]
fn what_the_kernel_knows_already_is_known_at_once() {
    let (director, real) = Namespace::pair();
    director.ip("neighbour add 192.0.2.50 lladdr 02:00:00:00:00:50 dev d0 nud permanent");
    // Nobody can answer: what comes, comes from the table.
    real.ip("link set r0 down");
    let index = director.index("d0");
    director.block_on(async || {
        let (_watch, key, mut inbox) = wanting(index, [192, 0, 2, 50].into());
        let event = next(&mut inbox, "the entry").await;
        assert_eq!(event, neighbor::Event::Resolved { key, mac: [2, 0, 0, 0, 0, 0x50] });
    });
}

#[test]
fn a_changed_mac_is_seen() {
    let (director, real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        real.ip("link set r0 down");
        real.ip("link set r0 address 02:00:00:00:00:22");
        real.ip("link set r0 up");
        watch.revalidate(key);
        // Depending on what is first, the old address fails before the new one is known.
        let mac = loop {
            match next(&mut inbox, "the new address").await {
                neighbor::Event::Moved { before, mac, .. } => {
                    assert_eq!(before, REAL_MAC);
                    break mac;
                }
                neighbor::Event::Resolved { mac, .. } => break mac,
                neighbor::Event::Failed { .. } => {}
            }
        };
        assert_eq!((mac, watch.view().mac(key)), (OTHER_MAC, Some(OTHER_MAC)));
    });
}

#[test]
fn a_takeover_announced_by_the_new_owner_is_a_move_without_a_failure() {
    let (director, real) = Namespace::pair();
    director.sysctl("net.ipv4.conf.d0.arp_accept", "1");
    director.sysctl("net.ipv4.neigh.d0.locktime", "0");
    let index = director.index("d0");
    director.block_on(async || {
        let (_watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        // A gratuitous request, as the new owner of an address sends it.
        real.run(|| announce("r0", OTHER_MAC, [192, 0, 2, 21]));
        let event = next(&mut inbox, "the move").await;
        assert_eq!(event, neighbor::Event::Moved { key, before: REAL_MAC, mac: OTHER_MAC });
    });
}

#[test]
fn a_flushed_table_takes_no_server_out_and_is_filled_again() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        for _ in 0..5 {
            shell("ip neighbour flush all");
            until("the entry is back", || {
                assert_eq!(watch.view().mac(key), Some(REAL_MAC));
                shell("ip neighbour show 192.0.2.21 dev d0").contains("02:00:00:00:00:21")
            })
            .await;
        }
        assert!(inbox.try_recv().is_err(), "nothing changed");
    });
}

#[test]
fn a_host_that_went_away_fails_and_one_that_comes_back_is_resolved_again() {
    let (director, real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        real.ip("address del 192.0.2.21/24 dev r0");
        watch.revalidate(key);
        assert_eq!(next(&mut inbox, "the failure").await, neighbor::Event::Failed { key });
        assert_eq!(watch.view().mac(key), None);
        real.ip("address add 192.0.2.21/24 dev r0");
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, neighbor::Event::Resolved { key, mac: REAL_MAC });
    });
}

#[test]
fn a_host_that_went_away_is_noticed_without_anybody_asking() {
    let (director, real) = Namespace::pair();
    // An entry is good for about 0.2 s instead of 30, and then nothing but our use of it makes the kernel ask: this
    // takes the 10 s between two uses.
    director.sysctl("net.ipv4.neigh.d0.base_reachable_time_ms", "200");
    director.sysctl("net.ipv4.neigh.d0.delay_first_probe_time", "0");
    let index = director.index("d0");
    director.block_on(async || {
        let (_watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        real.ip("address del 192.0.2.21/24 dev r0");
        assert_eq!(next(&mut inbox, "the failure").await, neighbor::Event::Failed { key });
    });
}

#[test]
fn an_entry_the_operator_set_by_hand_stays_as_it_is() {
    let (director, _real) = Namespace::pair();
    director.ip("neighbour add 192.0.2.21 lladdr 02:00:00:00:00:22 dev d0 nud permanent");
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, key, mut inbox) = wanting(index, REAL);
        let event = next(&mut inbox, "the entry").await;
        assert_eq!(event, neighbor::Event::Resolved { key, mac: OTHER_MAC });
        watch.revalidate(key);
        // The one that is asked for after it has failed: whatever was to be sent for the first was sent.
        let second = NeighborKey { index, address: NOBODY };
        watch.want([key, second]);
        assert_eq!(next(&mut inbox, "the failure").await, neighbor::Event::Failed { key: second });
        assert!(shell("ip neighbour show 192.0.2.21 dev d0").contains("PERMANENT"));
    });
}

#[test]
fn no_entry_of_ours_outlives_its_time() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, _, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        drop(watch);
    });
    let left = director.ip("-details neighbour show");
    for mark in ["PERMANENT", "NOARP", "managed", "extern_learn", "use"] {
        assert!(!left.contains(mark), "{left}");
    }
    director.ip("neighbour flush all");
    assert_eq!(director.ip("neighbour show"), "");
}

#[test]
fn notifications_lost_in_a_storm_are_made_up_for() {
    let (director, real) = Namespace::pair();
    let index = director.index("d0");
    let storm: String = (0..20_000u32)
        .map(|n| {
            let [_, _, third, fourth] = (n % 2000).to_be_bytes();
            format!("neighbour replace 198.18.{third}.{fourth} lladdr 02:00:00:01:{:02x}:00 dev d0 nud permanent\n", n / 2000)
        })
        .collect();
    let batch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(batch.path(), storm).unwrap();
    director.block_on(async || {
        let (watch, key, mut inbox) = wanting(index, REAL);
        next(&mut inbox, "the answer").await;
        // This thread does not read while the storm lasts; the move comes after it, when the socket is full.
        shell(&format!("ip -batch {}", batch.path().display()));
        shell("ip neighbour replace 192.0.2.21 lladdr 02:00:00:00:00:22 dev d0 nud permanent");
        let event = next(&mut inbox, "the move").await;
        assert_eq!(event, neighbor::Event::Moved { key, before: REAL_MAC, mac: OTHER_MAC });
        assert_eq!(watch.view().mac(key), Some(OTHER_MAC));
    });
    drop(real);
}

/// Sends a gratuitous ARP request (RFC 5227: sender and target are the same address).
fn announce(interface: &str, mac: [u8; 6], address: [u8; 4]) {
    use std::os::fd::AsRawFd;
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0; 6]);
    frame.extend(address);
    let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None).unwrap();
    let to = nix::libc::sockaddr_ll {
        sll_family: nix::libc::AF_PACKET as u16,
        sll_protocol: 0x0806u16.to_be(),
        sll_ifindex: nix::net::if_::if_nametoindex(interface).unwrap() as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff; 8],
    };
    // SAFETY: the buffer and the address live through the call and have the given lengths.
    let sent = unsafe {
        nix::libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as u32,
        )
    };
    assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
}

// --- addresses ---

fn owner() -> (VipOwner, UnboundedReceiver<address::Event>) {
    let (events, inbox) = unbounded_channel();
    (VipOwner::start(&Netlink::open().unwrap(), events).unwrap(), inbox)
}

async fn claim(owner: &mut VipOwner, interfaces: &[u32], wanted: &[Vip]) -> Vec<Ownership> {
    let claims = owner.claim(interfaces, wanted).await.unwrap();
    claims.into_iter().map(|claim| claim.outcome.unwrap()).collect()
}

#[test]
fn a_vip_is_added_marked_and_removed_on_release() {
    let (director, real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        let wanted = [vip(index, "192.0.2.10"), vip(index, "2001:db8::10")];
        assert_eq!(claim(&mut owner, &[index], &wanted).await, [Ownership::Added; 2]);
        let shown = shell("ip -details address show dev d0");
        assert!(shown.contains("192.0.2.10/32") && shown.contains("2001:db8::10/128"), "{shown}");
        let marked: Vec<IpAddr> = addresses(&Netlink::open().unwrap())
            .await
            .unwrap()
            .iter()
            .filter(|address| address.marked)
            .map(|address| address.address)
            .collect();
        assert_eq!(marked, wanted.map(|vip| vip.address));
        // It is owned: the neighbour gets an answer.
        real.command("ping -c 1 -W 5 192.0.2.10");
        // Again: nothing changes.
        assert_eq!(claim(&mut owner, &[index], &wanted).await, [Ownership::Added; 2]);
        owner.release_all().await.unwrap();
        owner.release_all().await.unwrap();
        let shown = shell("ip address show dev d0");
        assert!(!shown.contains("192.0.2.10") && !shown.contains("2001:db8::10"), "{shown}");
        assert!(shown.contains("192.0.2.1/24"), "{shown}");
    });
}

#[test]
fn what_a_killed_shunt_left_is_adopted_if_wanted_and_removed_if_not() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    let wanted = vip(index, "192.0.2.10");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        claim(&mut owner, &[index], &[wanted, vip(index, "192.0.2.11")]).await;
        // Killed: nobody releases.
    });
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        assert_eq!(claim(&mut owner, &[index], &[wanted]).await, [Ownership::Adopted]);
        let shown = shell("ip address show dev d0");
        assert!(shown.contains("192.0.2.10/32") && !shown.contains("192.0.2.11"), "{shown}");
        owner.release_all().await.unwrap();
        assert!(!shell("ip address show dev d0").contains("192.0.2.10"));
    });
}

#[test]
fn an_address_of_the_operator_is_used_and_never_removed() {
    let (director, _real) = Namespace::pair();
    director.ip("address add 192.0.2.10/24 dev d0");
    director.ip("address add 192.0.2.11/32 dev d0");
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        let wanted = [vip(index, "192.0.2.10"), vip(index, "192.0.2.11")];
        assert_eq!(claim(&mut owner, &[index], &wanted).await, [Ownership::Found; 2]);
        assert_eq!(claim(&mut owner, &[index], &wanted[..1]).await, [Ownership::Found]);
        owner.release_all().await.unwrap();
        let shown = shell("ip address show dev d0");
        assert!(shown.contains("192.0.2.10/24") && shown.contains("192.0.2.11/32"), "{shown}");
    });
}

#[test]
fn an_address_the_operator_put_in_place_of_ours_is_theirs() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        let wanted = [vip(index, "192.0.2.10")];
        claim(&mut owner, &[index], &wanted).await;
        shell("ip address del 192.0.2.10/32 dev d0");
        shell("ip address add 192.0.2.10/32 dev d0");
        assert_eq!(claim(&mut owner, &[index], &wanted).await, [Ownership::Found]);
        owner.release_all().await.unwrap();
        assert!(shell("ip address show dev d0").contains("192.0.2.10/32"));
    });
}

#[test]
fn a_vip_that_is_not_wanted_any_more_goes_and_the_others_stay() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, mut inbox) = owner();
        let [first, second, third] = ["192.0.2.10", "192.0.2.11", "192.0.2.12"].map(|text| vip(index, text));
        claim(&mut owner, &[index], &[first, second]).await;
        assert_eq!(claim(&mut owner, &[index], &[second, third]).await, [Ownership::Added; 2]);
        let shown = shell("ip address show dev d0");
        assert!(
            !shown.contains("192.0.2.10/") && shown.contains("192.0.2.11/") && shown.contains("192.0.2.12/")
        );
        // What is removed on purpose is no event; what comes next is.
        shell("ip address del 192.0.2.12/32 dev d0");
        assert_eq!(next(&mut inbox, "the removal").await, address::Event::Removed(third));
    });
}

#[test]
fn a_vip_removed_by_hand_is_told_and_claimed_again() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, mut inbox) = owner();
        let wanted = [vip(index, "192.0.2.10")];
        for _ in 0..3 {
            assert_eq!(claim(&mut owner, &[index], &wanted).await, [Ownership::Added]);
            shell("ip address del 192.0.2.10/32 dev d0");
            assert_eq!(next(&mut inbox, "the removal").await, address::Event::Removed(wanted[0]));
        }
    });
}

#[test]
fn a_vip_on_an_interface_that_does_not_exist_fails_alone_and_says_why() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        let claims =
            owner.claim(&[index], &[vip(9999, "192.0.2.10"), vip(index, "192.0.2.11")]).await.unwrap();
        let error = claims[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::ENODEV));
        assert!(error.to_string().contains("192.0.2.10/32 on interface 9999"), "{error}");
        assert_eq!(*claims[1].outcome.as_ref().unwrap(), Ownership::Added);
    });
}

#[test]
fn a_second_shunt_on_another_interface_is_left_alone() {
    let (director, other) = Namespace::pair();
    director.ip("link add d1 type veth peer name r1");
    let (first, second) = (director.index("d0"), director.index("d1"));
    director.block_on(async || {
        let (mut one, _inbox) = owner();
        let (mut two, _inbox) = owner();
        claim(&mut one, &[first], &[vip(first, "192.0.2.10")]).await;
        claim(&mut two, &[second], &[vip(second, "192.0.2.11")]).await;
        claim(&mut two, &[second], &[]).await;
        two.release_all().await.unwrap();
        assert!(shell("ip address show dev d0").contains("192.0.2.10/32"));
    });
    drop(other);
}

#[test]
fn a_vip_is_put_on_the_interface_of_its_subnet() {
    let (director, _real) = Namespace::pair();
    director.ip("link add d1 type veth peer name r1");
    director.ip("address add 198.51.100.1/24 dev d1");
    let (first, second) = (director.index("d0"), director.index("d1"));
    director.block_on(async || {
        let known = addresses(&Netlink::open().unwrap()).await.unwrap();
        let chosen = |vip: &str| interface_for(vip.parse().unwrap(), &[first, second], &known);
        assert_eq!(chosen("198.51.100.10"), Some(second));
        assert_eq!(chosen("192.0.2.10"), Some(first));
        assert_eq!(chosen("203.0.113.10"), Some(first));
    });
}

// --- routes ---

#[test]
fn the_way_to_a_real_server_is_told_apart() {
    let (director, _real) = Namespace::pair();
    director.ip("address add 2001:db8::1/64 dev d0 nodad");
    director.ip("route add 198.51.100.0/24 via 192.0.2.21");
    director.ip("route add 2001:db8:1::/48 via 2001:db8::21");
    director.ip("route add blackhole 198.18.0.0/24");
    director.ip("route add unreachable 198.18.1.0/24");
    director.ip("route add prohibit 198.18.2.0/24");
    let index = director.index("d0");
    director.block_on(async || {
        let netlink = Netlink::open().unwrap();
        let gateway = |text: &str| Reach::ViaGateway { gateway: text.parse().unwrap(), index };
        for (address, expected) in [
            ("192.0.2.21", Reach::OnLink { index }),
            ("2001:db8::21", Reach::OnLink { index }),
            ("198.51.100.7", gateway("192.0.2.21")),
            ("2001:db8:1::7", gateway("2001:db8::21")),
            ("192.0.2.1", Reach::Local),
            ("127.0.0.1", Reach::Local),
            ("2001:db8::1", Reach::Local),
            ("192.0.2.255", Reach::Unreachable),
            ("203.0.113.7", Reach::Unreachable),
            ("2001:db8:ffff::7", Reach::Unreachable),
            ("198.18.0.7", Reach::Unreachable),
            ("198.18.1.7", Reach::Unreachable),
            ("198.18.2.7", Reach::Unreachable),
        ] {
            assert_eq!(reach(&netlink, address.parse().unwrap()).await.unwrap(), expected, "{address}");
        }
    });
}

// --- links ---

#[test]
fn a_link_is_described_with_its_driver_and_the_queues_in_use() {
    let director = Namespace::new();
    director.ip("link add d0 numrxqueues 4 numtxqueues 4 type veth peer name r0 numrxqueues 4 numtxqueues 4");
    director.command("ethtool -L d0 rx 2 tx 3");
    director.ip("link set d0 address 02:00:00:00:00:01 mtu 1400 up");
    director.ip("tuntap add t0 mode tap");
    director.block_on(async || {
        let links = links(&Netlink::open().unwrap()).await.unwrap();
        let named = |name| links.iter().find(|link| link.name == name).unwrap();
        let d0 = named("d0");
        assert_eq!((d0.kind.as_str(), d0.driver.as_str()), ("veth", "veth"));
        assert_eq!((d0.rx_queues, d0.tx_queues), (2, 3));
        assert_eq!((d0.mac, d0.mtu), ([2, 0, 0, 0, 0, 1], 1400));
        assert!(d0.up && !d0.carrier && !d0.usable(), "the other end is down");
        let t0 = named("t0");
        assert_eq!((t0.kind.as_str(), t0.driver.as_str()), ("tun", "tun"));
        assert_eq!((t0.rx_queues, t0.tx_queues), (1, 1));
        assert!(named("lo").usable());
    });
}

#[test]
fn a_link_that_goes_down_comes_up_and_disappears_is_told() {
    let (director, real) = Namespace::pair();
    director.block_on(async || {
        let (events, mut inbox) = unbounded_channel::<link::Event>();
        let watch = LinkWatch::start(&Netlink::open().unwrap(), events).await.unwrap();
        until("the wire is up", || watch.named("d0").unwrap().usable()).await;
        while inbox.try_recv().is_ok() {}
        let mut expect = async |what: &str| {
            let event = next(&mut inbox, what).await;
            assert_eq!(event.link.name, if what.contains("new") { "d1" } else { "d0" });
            event.change
        };

        // The other end is pulled, and put back.
        real.ip("link set r0 down");
        assert_eq!(expect("carrier lost").await, Change::Down);
        assert!(watch.named("d0").unwrap().up, "still switched on");
        real.ip("link set r0 up");
        assert_eq!(expect("carrier").await, Change::Up);

        shell("ip link set d0 down");
        assert_eq!(expect("switched off").await, Change::Down);
        shell("ip link set d0 address 02:00:00:00:00:02");
        assert_eq!(expect("MAC").await, Change::Mac { before: [2, 0, 0, 0, 0, 1] });
        shell("ip link set d0 up");
        assert_eq!(expect("switched on").await, Change::Up);
        shell("ip link set d0 mtu 1400");
        assert_eq!(expect("MTU").await, Change::Mtu { before: 1500 });

        shell("ip link add d1 type veth peer name r1");
        // The peer is made first.
        assert_eq!(next(&mut inbox, "the new peer").await.link.name, "r1");
        let event = next(&mut inbox, "a new link").await;
        assert_eq!((event.link.name.as_str(), event.change), ("d1", Change::Appeared));
        shell("ip link del d1");
        let mut gone = [next(&mut inbox, "gone").await, next(&mut inbox, "gone").await].map(|event| {
            assert_eq!(event.change, Change::Gone);
            event.link.name
        });
        gone.sort();
        assert_eq!(gone, ["d1", "r1"]);
        assert_eq!(watch.named("d1"), None);
    });
}

#[test]
fn a_port_that_leaves_a_bridge_is_not_a_link_that_disappears() {
    let (director, _real) = Namespace::pair();
    director.ip("link add b0 type bridge");
    director.block_on(async || {
        let (events, mut inbox) = unbounded_channel::<link::Event>();
        let watch = LinkWatch::start(&Netlink::open().unwrap(), events).await.unwrap();
        shell("ip link set d0 master b0");
        shell("ip link set d0 nomaster");
        shell("ip link del b0");
        while next(&mut inbox, "the bridge to go").await.change != Change::Gone {}
        assert!(watch.named("d0").is_some() && watch.named("b0").is_none());
    });
}

#[test]
fn requests_are_answered_while_notifications_storm() {
    let (director, _real) = Namespace::pair();
    let index = director.index("d0");
    director.block_on(async || {
        let (mut owner, _inbox) = owner();
        let netlink = Netlink::open().unwrap();
        for round in 0..200u8 {
            claim(&mut owner, &[index], &[vip(index, &format!("198.51.100.{round}"))]).await;
            tokio::time::timeout(Duration::from_secs(5), addresses(&netlink)).await.unwrap().unwrap();
        }
        assert_eq!(owner.held().len(), 1);
    });
}

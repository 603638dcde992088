//! Neighbours: resolved, moved, flushed, failed, lost in a storm.

use std::net::{IpAddr, Ipv4Addr};

use shunt::neighbor::{Event, Neighbor, NeighborKey, NeighborWatch};
use shunt::netlink::Netlink;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{Namespace, next, shell, until};

const REAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 21));
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));
const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x22];

/// A watch that wants one neighbour on `d0`, and its events.
fn wanting(index: u32, address: IpAddr) -> (NeighborWatch, NeighborKey, UnboundedReceiver<Event>) {
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
        let (events, mut inbox) = unbounded_channel::<Event>();
        let watch = NeighborWatch::start(&Netlink::open().unwrap(), events).unwrap();
        let (there, missing) = (NeighborKey { index, address: REAL }, NeighborKey { index, address: NOBODY });
        assert_eq!(watch.view().neighbor(there), Neighbor::Resolving);
        watch.want([there, missing]);
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, Event::Resolved { key: there, mac: REAL_MAC });
        assert_eq!(watch.view().mac(there), Some(REAL_MAC));
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key: missing });
        assert!(matches!(watch.view().neighbor(missing), Neighbor::Failed { .. }));
    });
}

#[test]
fn a_real_server_of_ipv6_is_resolved() {
    let (director, _real) = Namespace::pair_with_ipv6();
    let index = director.index("d0");
    director.block_on(async || {
        let (_watch, key, mut inbox) = wanting(index, "2001:db8::21".parse().unwrap());
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, Event::Resolved { key, mac: REAL_MAC });
    });
}

#[test]
fn a_real_server_of_ipv6_that_is_missing_or_goes_away_fails() {
    let (director, real) = Namespace::pair_with_ipv6();
    director.sysctl("net.ipv6.neigh.d0.retrans_time_ms", "100");
    // Solicitations come from the link-local address, once it is known to be nobody else's.
    director.wait_for("-6 address show dev d0 scope link -tentative", "fe80::");
    let index = director.index("d0");
    director.block_on(async || {
        let (watch, missing, mut inbox) = wanting(index, "2001:db8::99".parse().unwrap());
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key: missing });
        let key = NeighborKey { index, address: "2001:db8::21".parse().unwrap() };
        watch.want([key]);
        assert_eq!(next(&mut inbox, "the answer").await, Event::Resolved { key, mac: REAL_MAC });
        real.ip("address del 2001:db8::21/64 dev r0");
        watch.revalidate(key);
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key });
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
        assert_eq!(event, Event::Resolved { key, mac: [2, 0, 0, 0, 0, 0x50] });
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
                Event::Moved { before, mac, .. } => {
                    assert_eq!(before, REAL_MAC);
                    break mac;
                }
                Event::Resolved { mac, .. } => break mac,
                Event::Failed { .. } => {}
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
        assert_eq!(event, Event::Moved { key, before: REAL_MAC, mac: OTHER_MAC });
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
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key });
        assert_eq!(watch.view().mac(key), None);
        real.ip("address add 192.0.2.21/24 dev r0");
        let event = next(&mut inbox, "the answer").await;
        assert_eq!(event, Event::Resolved { key, mac: REAL_MAC });
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
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key });
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
        assert_eq!(event, Event::Resolved { key, mac: OTHER_MAC });
        watch.revalidate(key);
        // The one that is asked for after it has failed: whatever was to be sent for the first was sent.
        let second = NeighborKey { index, address: NOBODY };
        watch.want([key, second]);
        assert_eq!(next(&mut inbox, "the failure").await, Event::Failed { key: second });
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
        assert_eq!(event, Event::Moved { key, before: REAL_MAC, mac: OTHER_MAC });
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

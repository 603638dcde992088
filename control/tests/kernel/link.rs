//! Links: what they are, and what happens to them.

use shunt::link::{Change, Event, LinkWatch, links};
use shunt::netlink::Netlink;
use tokio::sync::mpsc::unbounded_channel;

use crate::namespace::{Namespace, next, shell, until};

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
        let (events, mut inbox) = unbounded_channel::<Event>();
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
        let (events, mut inbox) = unbounded_channel::<Event>();
        let watch = LinkWatch::start(&Netlink::open().unwrap(), events).await.unwrap();
        shell("ip link set d0 master b0");
        shell("ip link set d0 nomaster");
        shell("ip link del b0");
        let gone = loop {
            let event = next(&mut inbox, "the bridge to go").await;
            if event.change == Change::Gone {
                break event.link.name;
            }
        };
        assert_eq!(gone, "b0");
        assert!(watch.named("d0").is_some() && watch.named("b0").is_none());
    });
}

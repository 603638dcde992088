//! VIPs: added, adopted, found, removed by hand.

use std::net::IpAddr;
use std::time::Duration;

use shunt::address::{Event, Ownership, Vip, VipOwner, addresses, interface_for};
use shunt::netlink::Netlink;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::namespace::{Namespace, next, shell};

fn vip(index: u32, address: &str) -> Vip {
    Vip { index, address: address.parse().unwrap() }
}

fn owner() -> (VipOwner, UnboundedReceiver<Event>) {
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
        assert_eq!(next(&mut inbox, "the removal").await, Event::Removed(third));
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
            assert_eq!(next(&mut inbox, "the removal").await, Event::Removed(wanted[0]));
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

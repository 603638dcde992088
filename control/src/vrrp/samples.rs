//! Virtual routers for the tests of this folder.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{
    AdvertChecks, Announce, Checksum, Peer, Peers, Tracking, Version, VirtualAddress, VirtualRouter,
    VrrpHooks,
};

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A router on eth0 with an interval of one second, VRID 51, priority 100, and nothing special.
pub(super) fn router(name: &str, version: Version, addresses: &[&str]) -> VirtualRouter {
    let addresses: Vec<VirtualAddress> = addresses.iter().map(|address| held(ip(address))).collect();
    let ipv6 = addresses.first().is_some_and(|first| first.address.is_ipv6());
    VirtualRouter {
        name: name.to_owned(),
        version,
        ipv6,
        interface: "eth0".to_owned(),
        vrid: 51,
        priority: 100,
        begins_active: false,
        interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        password: None,
        addresses,
        excluded: Vec::new(),
        peers: Peers::Multicast { group: ip(if ipv6 { "ff02::12" } else { "224.0.0.18" }) },
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
    }
}

pub(super) fn unicast(router: VirtualRouter, peers: &[&str]) -> VirtualRouter {
    let peer = |address: &&str| Peer { address: ip(address), min_ttl: 255, max_ttl: 255 };
    let peers = peers.iter().map(peer).collect();
    VirtualRouter { peers: Peers::Unicast { peers, ttl: 255, fault_without: false }, ..router }
}

fn held(address: IpAddr) -> VirtualAddress {
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

/// Bytes of hexadecimal digits; spaces are for the eye.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

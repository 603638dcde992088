//! Where the adverts of a virtual router come from.
//!
//! *Invariants*
//! - an address that the director added is never the source: it goes with the state of a router.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::address::{Address, Duplicates};
use crate::link::Link;
use crate::model::{Peers, VirtualRouter};

/// What there is to send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// This.
    Known(IpAddr),
    /// There will be one in a moment: the kernel still looks for duplicates.
    Awaited,
    /// Nothing.
    None(&'static str),
}

/// The source of the adverts of `router`, whose interface is `link`; `virtual_addresses`: those of all routers.
pub(super) fn of(
    router: &VirtualRouter,
    link: &Link,
    addresses: &[Address],
    virtual_addresses: &HashSet<IpAddr>,
) -> Source {
    let here = || addresses.iter().filter(|address| address.index == link.index);
    if let Some(source) = router.source {
        return match here().find(|address| address.address == source).map(|address| address.duplicates) {
            Some(Duplicates::Sought) => Source::Awaited,
            Some(Duplicates::Found) | None if router.track_source => Source::None("its source address"),
            // keepalived sends from it all the same: the host may have it on another interface.
            _ => Source::Known(source),
        };
    }
    let (what, fits): (_, fn(IpAddr) -> bool) = match (router.ipv6, is_link_local(router)) {
        (false, _) => ("an IPv4 address", |address| address.is_ipv4()),
        (true, true) => ("an IPv6 link-local address", is_unicast_link_local),
        (true, false) => {
            ("a global IPv6 address", |address| address.is_ipv6() && !is_unicast_link_local(address))
        }
    };
    // The kernel names primary addresses first. A virtual address that the host has without us is an owner's.
    let fitting = || here().filter(|address| !address.marked && fits(address.address));
    let is_virtual = |address: &&Address| virtual_addresses.contains(&address.address);
    let usable = |address: &&Address| address.duplicates == Duplicates::None;
    let best = fitting().filter(usable).find(|address| !is_virtual(address));
    match best.or_else(|| fitting().find(usable)) {
        Some(address) => Source::Known(address.address),
        None if fitting().any(|address| address.duplicates == Duplicates::Sought) => Source::Awaited,
        None => Source::None(what),
    }
}

/// Whether IPv6 adverts come from the link-local address: to the group they must (RFC 9568 section 5.1.2.1), to a peer
/// if the peer has one.
fn is_link_local(router: &VirtualRouter) -> bool {
    match &router.peers {
        Peers::Multicast { .. } => true,
        Peers::Unicast { peers, .. } => peers.first().is_none_or(|peer| is_unicast_link_local(peer.address)),
    }
}

fn is_unicast_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

//! Where on this host a virtual router lives: which interface its adverts leave by, which ones its addresses are on, which
//! sockets it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::wire::Port;
use crate::model::Peers;
use crate::model::{VirtualRouter, Vrrp};

/// A virtual address, and how it is added to which interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// Its broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// Its scope, as rtnetlink counts.
    pub scope: u8,
    /// Its label.
    pub label: Option<String>,
    /// Its peer.
    pub peer: Option<IpAddr>,
}

/// The interface of a router's own: its virtual MAC's, if it has one.
pub(super) fn interface(router: &VirtualRouter) -> String {
    match &router.vmac {
        None => router.interface.clone(),
        Some(vmac) => vmac.interface.clone().unwrap_or_else(|| match router.ipv6 {
            false => format!("vrrp.{}", router.vrid),
            true => format!("vrrp6.{}", router.vrid),
        }),
    }
}

/// The interface that its adverts leave by.
pub(super) fn transmits_by(router: &VirtualRouter) -> String {
    match &router.vmac {
        Some(vmac) if !vmac.transmit_base => interface(router),
        _ => router.interface.clone(),
    }
}

/// Where all its addresses go.
pub(super) fn places(router: &VirtualRouter) -> Vec<Place> {
    let own = interface(router);
    router
        .all_addresses()
        .map(|address| Place {
            interface: address.interface.clone().unwrap_or_else(|| own.clone()),
            address: address.address,
            prefix_len: address.prefix_len,
            broadcast: address.broadcast,
            scope: address.scope,
            label: address.label.clone(),
            peer: address.peer,
        })
        .collect()
}

/// The sockets that all routers need: one for each interface and family that adverts come in or leave by.
pub(super) fn ports(vrrp: &Vrrp) -> BTreeSet<Port> {
    let mut ports: BTreeMap<(String, bool), (BTreeSet<IpAddr>, bool)> = BTreeMap::new();
    for router in &vrrp.routers {
        ports.entry((transmits_by(router), router.ipv6)).or_default();
        let (groups, hears) = ports.entry((router.interface.clone(), router.ipv6)).or_default();
        *hears = true;
        if let Peers::Multicast { group } = router.peers {
            groups.insert(group);
        }
    }
    ports
        .into_iter()
        .map(|((interface, ipv6), (groups, hears))| Port { interface, ipv6, groups, hears })
        .collect()
}

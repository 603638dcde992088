//! Where on this host a virtual router lives: which interface its adverts leave by, which ones its addresses are on, which
//! sockets it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::wire::{Arrived, Port};
use crate::model::{Peers, VirtualAddress, VirtualRouter, Vrrp};

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

/// Names of the interfaces of virtual MACs that are there, by the name of their router.
pub(super) type Vmacs = BTreeMap<String, String>;

/// The interface of a router's own: its virtual MAC's, if it has one; none: that is not there.
pub(super) fn interface(router: &VirtualRouter, vmacs: &Vmacs) -> Option<String> {
    match router.vmac {
        None => Some(router.interface.clone()),
        Some(_) => vmacs.get(&router.name).cloned(),
    }
}

/// The interface that its adverts leave by; none: it is not there.
pub(super) fn transmits_by(router: &VirtualRouter, vmacs: &Vmacs) -> Option<String> {
    match &router.vmac {
        Some(vmac) if !vmac.transmit_base => interface(router, vmacs),
        _ => Some(router.interface.clone()),
    }
}

/// Where all its addresses go, but for those on a virtual MAC's interface that is not there.
pub(super) fn places(router: &VirtualRouter, vmacs: &Vmacs) -> Vec<Place> {
    let own = interface(router, vmacs);
    let place = |address: &VirtualAddress| {
        Some(Place {
            interface: address.interface.clone().or_else(|| own.clone())?,
            address: address.address,
            prefix_len: address.prefix_len,
            broadcast: address.broadcast,
            scope: address.scope,
            label: address.label.clone(),
            peer: address.peer,
        })
    };
    router.all_addresses().filter_map(place).collect()
}

/// The sockets that all routers need: one for each interface and family that adverts come in or leave by.
pub(super) fn ports(vrrp: &Vrrp, vmacs: &Vmacs) -> BTreeSet<Port> {
    let mut ports: BTreeMap<(String, bool), BTreeSet<IpAddr>> = BTreeMap::new();
    let mut port = |interface: String, router: &VirtualRouter| {
        let groups = ports.entry((interface, router.ipv6)).or_default();
        if let Peers::Multicast { group } = router.peers {
            groups.insert(group);
        }
    };
    for router in &vrrp.routers {
        port(router.interface.clone(), router);
        // A frame from the virtual MAC (the other director has it too) the kernel takes for one of the macvlan's own that
        // came back, and shows it to the macvlan alone (macvlan_handle_frame, private mode).
        if router.vmac.is_some()
            && let Some(interface) = interface(router, vmacs)
        {
            port(interface, router);
        }
    }
    ports.into_iter().map(|((interface, ipv6), groups)| Port { interface, ipv6, groups }).collect()
}

/// The interface that a packet came in by, as the configuration calls it; none: another socket hears it too. To the
/// interface of a virtual MAC the kernel shows all that comes to a group, and it counts there for its own router alone.
pub(super) fn comes_in_by<'a>(
    vrrp: &'a Vrrp,
    vmacs: &Vmacs,
    interface: &'a str,
    packet: &Arrived<'_>,
) -> Option<&'a str> {
    let is_on = |router: &&VirtualRouter| vmacs.get(&router.name).is_some_and(|name| name == interface);
    if !vmacs.values().any(|name| name == interface) {
        return Some(interface);
    }
    let vrid = packet.message.get(1).copied();
    let ours = |router: &&VirtualRouter| {
        (Some(router.vrid), router.ipv6) == (vrid, packet.source.is_ipv6())
            && matches!(router.peers, Peers::Multicast { group } if group == packet.destination)
    };
    vrrp.routers.iter().filter(is_on).find(ours).map(|router| router.interface.as_str())
}

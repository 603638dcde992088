//! Many addresses at once: requests are sent without waiting for the answers to those before.

use std::net::IpAddr;

use futures::future::join_all;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::MARK;
use crate::address::Address;
use crate::netlink::{Error, Netlink};
use crate::vrrp::seat::Place;

/// Requests without an answer: the answers to all of them fit into a socket's buffer of the usual size.
const AT_ONCE: usize = 64;

/// An address, and the interface that it is on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Index of the interface.
    pub index: u32,
    /// The address, and how it is added.
    pub place: Place,
}

/// Adds all; that one is there already is fine. What failed, and why.
pub(super) async fn add<'a>(netlink: &Netlink, wanted: &'a [Placed]) -> Vec<(&'a Placed, Error)> {
    all(wanted, |placed| async move {
        let call = || placed.call("RTM_NEWADDR", "add");
        match netlink
            .change(RouteNetlinkMessage::NewAddress(placed.addition()), NLM_F_CREATE | NLM_F_EXCL, call)
            .await
        {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    })
    .await
}

/// Removes all. What failed, and why.
pub(super) async fn remove<'a>(netlink: &Netlink, unwanted: &'a [Placed]) -> Vec<(&'a Placed, Error)> {
    all(unwanted, |placed| {
        netlink.change(RouteNetlinkMessage::DelAddress(placed.message()), 0, || {
            placed.call("RTM_DELADDR", "del")
        })
    })
    .await
}

/// What the operator can do about an address that the kernel does not take.
pub(super) fn remedy(error: &Error) -> &'static str {
    match error.errno() {
        Some(libc::EACCES) => "IPv6 is off on the interface: set net.ipv6.conf.INTERFACE.disable_ipv6 to 0",
        Some(libc::EPERM) => "shunt needs CAP_NET_ADMIN",
        Some(libc::ENODEV) => "the interface is gone; the address is added when it is back",
        Some(libc::EINVAL) => "look at its prefix length, broadcast and peer in the configuration",
        _ => "the other addresses are not affected",
    }
}

async fn all<'a, F: Future<Output = Result<(), Error>>>(
    placed: &'a [Placed],
    request: impl Fn(&'a Placed) -> F,
) -> Vec<(&'a Placed, Error)> {
    let mut failed = Vec::new();
    for some in placed.chunks(AT_ONCE) {
        let answers = join_all(some.iter().map(&request)).await;
        failed.extend(some.iter().zip(answers).filter_map(|(placed, answer)| Some((placed, answer.err()?))));
    }
    failed
}

impl Placed {
    /// An address as the kernel has it, to be removed.
    pub(super) fn found(address: &Address, interface: &str) -> Placed {
        let place = Place {
            interface: interface.to_owned(),
            address: address.address,
            prefix_len: address.prefix_len,
            broadcast: None,
            scope: 0,
            label: None,
            peer: Some(address.subnet),
        };
        Placed { index: address.index, place }
    }

    fn message(&self) -> AddressMessage {
        let place = &self.place;
        let mut message = AddressMessage::default();
        message.header.family = match place.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.index = self.index;
        message.header.prefix_len = place.prefix_len;
        message.attributes = vec![
            AddressAttribute::Local(place.address),
            AddressAttribute::Address(place.peer.unwrap_or(place.address)),
        ];
        message
    }

    fn addition(&self) -> AddressMessage {
        let place = &self.place;
        let mut message = self.message();
        message.header.scope = AddressScope::from(place.scope);
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        message.attributes.extend(place.broadcast.map(AddressAttribute::Broadcast));
        message.attributes.extend(place.label.clone().map(AddressAttribute::Label));
        if place.address.is_ipv6() {
            // Not tentative while duplicates are looked for: the node that had it a moment ago may still, and it is used
            // the moment it is there. A host address is preferred for no time, so that the kernel picks it for no
            // connection of its own.
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_preferred, lifetime.ifa_valid) =
                (if place.prefix_len == 128 { 0 } else { u32::MAX }, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        message
    }

    fn call(&self, message: &str, verb: &str) -> String {
        let Place { address, prefix_len, interface, .. } = &self.place;
        format!("{message} (ip address {verb} {address}/{prefix_len} dev {interface})")
    }
}

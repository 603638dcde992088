//! Where adverts to a group go on the link. The kernel works that out by itself at the first packet, and keeps it among the
//! neighbours; but when that table is full (`net.ipv4.neigh.default.gc_thresh3`: a thousand real servers are enough) groups
//! are what it throws away first, and it takes no new one: adverts can be lost for seconds, also without an error, and another
//! director takes over. An entry that is permanent is never thrown away, nor is there ever no room for it.
//!
//! RFC 1112 section 6.4, RFC 2464 section 7; `neigh_alloc` and `neigh_forced_gc` in `net/core/neighbour.c`.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Error, Netlink};
use crate::vrrp::wire::Port;

/// Makes the entries of a port's groups permanent on the interface of this index. The kernel drops them when the interface
/// is switched off, or gets another MAC address.
pub(super) async fn fix(netlink: &Netlink, port: &Port, index: u32) -> Result<(), Error> {
    for group in &port.groups {
        let request = RouteNetlinkMessage::NewNeighbour(entry(*group, index));
        let call =
            || format!("RTM_NEWNEIGH (ip neighbour replace {group} nud permanent dev {})", port.interface);
        netlink.change(request, NLM_F_CREATE | NLM_F_REPLACE, call).await?;
    }
    Ok(())
}

/// Takes them off again. That there are none is fine.
pub(super) async fn forget(netlink: &Netlink, port: &Port, index: u32) {
    for group in &port.groups {
        let request = RouteNetlinkMessage::DelNeighbour(entry(*group, index));
        let _ = netlink.change(request, 0, String::new).await;
    }
}

fn entry(group: IpAddr, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if group.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(group.into()),
        NeighbourAttribute::LinkLayerAddress(mac(group).to_vec()),
    ];
    message
}

/// The MAC address of a group.
fn mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_mac_address_of_the_rfcs() {
        let mac = |group: &str| mac(group.parse().unwrap());
        assert_eq!(mac("224.0.0.18"), [0x01, 0x00, 0x5e, 0, 0, 0x12]);
        assert_eq!(mac("239.255.1.2"), [0x01, 0x00, 0x5e, 0x7f, 1, 2]);
        assert_eq!(mac("ff02::12"), [0x33, 0x33, 0, 0, 0, 0x12]);
    }
}

//! What the kernel knows about the interfaces: the dataplane needs their MAC, MTU, driver and queues, and the
//! supervisor must hear when one goes down, comes back, changes its MAC or disappears.
//!
//! *Invariants*
//! - an [`Event`] is sent after the view changed: whoever reads the view on an event sees at least that event;
//! - every difference between two views was an event, also across lost notifications.
//!
//! Follows rtnetlink(7) RTM_NEWLINK and `include/uapi/linux/if.h`; counts and driver come from ethtool
//! (`include/uapi/linux/ethtool.h`).

pub(crate) mod ethtool;
mod watch;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Error, Netlink};
pub use watch::LinkWatch;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name: `eth0`.
    pub name: String,
    /// Its index, which survives a rename.
    pub index: u32,
    /// Its MAC address; zero where the device has none.
    pub mac: [u8; 6],
    /// Largest layer-3 packet, bytes.
    pub mtu: u32,
    /// The administrator's switch (`ip link set up`).
    pub up: bool,
    /// The device has a peer and may carry frames (`IFF_LOWER_UP`); only meaningful while `up`.
    pub carrier: bool,
    /// What made it, as `ip -d link` shows it: "veth", "bond", "tun"; empty for hardware.
    pub kind: String,
    /// Its driver as `ethtool -i` shows it: "virtio_net", "ixgbe"; the kind where there is no driver.
    pub driver: String,
    /// Receive queues in use, >= 1, when the link was first seen (no notification tells of `ethtool -L`).
    pub rx_queues: u32,
    /// Transmit queues in use, >= 1, when the link was first seen.
    pub tx_queues: u32,
    /// Whether the device takes VLAN tags off frames (`ethtool -k`: rx-vlan-offload), when the link was first seen.
    pub strips_tags: bool,
}

/// What changed about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Appeared,
    /// It can carry frames again.
    Up,
    /// It cannot carry frames any more: switched off, or without carrier.
    Down,
    /// It has another MAC address.
    Mac {
        /// The address it had.
        before: [u8; 6],
    },
    /// It has another MTU.
    Mtu {
        /// The MTU it had.
        before: u32,
    },
    /// It has another name.
    Renamed {
        /// The name it had.
        before: String,
    },
    /// It was deleted, or moved to another network namespace.
    Gone,
}

/// A change of a link, and the link as it is now (as it was, if gone).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The link.
    pub link: Link,
    /// What happened to it.
    pub change: Change,
}

/// All links of the network namespace, by index.
pub async fn links(netlink: &Netlink) -> Result<Vec<Link>, Error> {
    let mut links: Vec<Link> =
        dump(netlink).await?.iter().filter_map(|message| parse(message, None)).collect();
    links.sort_by_key(|link| link.index);
    Ok(links)
}

impl Link {
    /// Whether frames can be sent and received.
    pub fn usable(&self) -> bool {
        self.up && self.carrier
    }

    /// Everything that differs from how the link was.
    fn changes_since(&self, before: &Link) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.name != before.name {
            changes.push(Change::Renamed { before: before.name.clone() });
        }
        if self.mac != before.mac {
            changes.push(Change::Mac { before: before.mac });
        }
        if self.mtu != before.mtu {
            changes.push(Change::Mtu { before: before.mtu });
        }
        match (before.usable(), self.usable()) {
            (false, true) => changes.push(Change::Up),
            (true, false) => changes.push(Change::Down),
            _ => {}
        }
        changes
    }
}

async fn dump(netlink: &Netlink) -> Result<Vec<LinkMessage>, Error> {
    let answers = netlink
        .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), || "RTM_GETLINK (ip link show)".into())
        .await?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        })
        .collect())
}

/// The link a message describes; `None` if the message is about something else. What ethtool knows is taken from
/// `before` if given: it does not change with a link message, and asking takes the kernel's RTNL lock.
pub(crate) fn parse(message: &LinkMessage, before: Option<&Link>) -> Option<Link> {
    // A bridge announces its ports in the same group with AF_BRIDGE: a port that leaves a bridge is not gone.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        mac: [0; 6],
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        kind: String::new(),
        driver: String::new(),
        rx_queues: 1,
        tx_queues: 1,
        strips_tags: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().unwrap_or_default(),
            // Queues the device could have: the answer of last resort.
            LinkAttribute::NumRxQueues(count) => link.rx_queues = *count,
            LinkAttribute::NumTxQueues(count) => link.tx_queues = *count,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    match before {
        Some(before) => {
            link.driver.clone_from(&before.driver);
            (link.rx_queues, link.tx_queues) = (before.rx_queues, before.tx_queues);
            link.strips_tags = before.strips_tags;
        }
        None => {
            link.driver = ethtool::driver(&link.name).unwrap_or_else(|_| link.kind.clone());
            if let Ok(channels) = ethtool::channels(&link.name) {
                (link.rx_queues, link.tx_queues) = channels;
            }
            link.strips_tags = ethtool::strips_tags(&link.name).unwrap_or(false);
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            name: "eth0".into(),
            index: 2,
            mac: [0x02, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            carrier: true,
            kind: String::new(),
            driver: "virtio_net".into(),
            rx_queues: 4,
            tx_queues: 4,
            strips_tags: false,
        }
    }

    #[test]
    fn a_link_without_carrier_is_down_once_however_it_is_switched() {
        let no_carrier = Link { carrier: false, ..link() };
        let off = Link { up: false, carrier: false, ..link() };
        assert_eq!(no_carrier.changes_since(&link()), [Change::Down]);
        assert_eq!(off.changes_since(&no_carrier), []);
        assert_eq!(link().changes_since(&off), [Change::Up]);
    }

    #[test]
    fn every_difference_is_its_own_change() {
        let after = Link { name: "wan".into(), mac: [2; 6], mtu: 9000, up: false, ..link() };
        assert_eq!(
            after.changes_since(&link()),
            [
                Change::Renamed { before: "eth0".into() },
                Change::Mac { before: link().mac },
                Change::Mtu { before: 1500 },
                Change::Down
            ]
        );
    }

    #[test]
    fn a_bridge_port_message_is_not_a_link_message() {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.header.index = 2;
        assert_eq!(parse(&message, None), None);
    }

    #[test]
    fn facts_of_ethtool_outlive_a_message_without_them() {
        let mut message = LinkMessage::default();
        message.header.index = 2;
        message.attributes = vec![LinkAttribute::IfName("eth0".into()), LinkAttribute::NumRxQueues(64)];
        let parsed = parse(&message, Some(&link())).unwrap();
        assert_eq!((parsed.driver.as_str(), parsed.rx_queues), ("virtio_net", 4));
    }
}

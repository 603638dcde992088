//! Ownership of the VIPs. The kernel must own a VIP so that it answers ARP and neighbour solicitations for it; a VIP that
//! shunt put there must go when shunt goes, also after a kill, and one that the operator put there must stay.
//! The kernel remembers for us who put an address there: [`MARK`].
//!
//! *Invariants*
//! - only addresses with our mark are ever removed (on kernels before 5.18, which keep no mark: only those that
//!   this process added);
//! - only the director's own interfaces are looked at, so that a second shunt on other interfaces is left alone;
//! - claiming is idempotent: the second claim of the same set changes nothing.
//!
//! Follows rtnetlink(7) RTM_NEWADDR, `IFA_PROTO` in `include/uapi/linux/if_addr.h`.

mod owner;

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Error, Netlink};
pub use owner::{Claim, Event, Ownership, VipOwner};

/// `IFA_PROTO` of the addresses that shunt adds, the letter `s`: `ip address show proto 0x73` lists them. Values from 4 up
/// are free for user space.
pub const MARK: u8 = 0x73;

/// A virtual address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip {
    /// Index of the interface.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
}

/// An address the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface it is on.
    pub index: u32,
    /// The machine's own address.
    pub address: IpAddr,
    /// An address of the connected subnet: the peer on a point-to-point link, else `address`.
    pub subnet: IpAddr,
    /// Prefix length of the connected subnet.
    pub prefix_len: u8,
    /// Whether it carries our mark.
    pub marked: bool,
    /// Whether somebody else has it, as far as the kernel has found out (IPv6 only).
    pub duplicates: Duplicates,
}

/// How far the kernel is with looking for somebody else who has an address (RFC 4862 section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// Nobody has it, or nobody looks: it can be used.
    #[default]
    None,
    /// It still looks; until then nothing can be sent from the address.
    Sought,
    /// Somebody has it: it is never used.
    Found,
}

/// All addresses of the network namespace.
pub async fn addresses(netlink: &Netlink) -> Result<Vec<Address>, Error> {
    let answers = netlink
        .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), || {
            "RTM_GETADDR (ip address show)".into()
        })
        .await?;
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Address::parse(message),
            _ => None,
        })
        .collect())
}

/// Adds a VIP as a host address with our mark. `EEXIST` if the same host address is there already.
pub async fn add(netlink: &Netlink, vip: Vip) -> Result<(), Error> {
    let mut message = vip.message();
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    if vip.address.is_ipv6() {
        // Not tentative while duplicates are looked for: a VIP is used the moment it is there. Preferred for no
        // time, so that the kernel never picks it as the source of the director's own connections.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
        let mut lifetime = CacheInfo::default();
        (lifetime.ifa_preferred, lifetime.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    netlink
        .change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, || {
            vip.call("RTM_NEWADDR", "add")
        })
        .await
}

/// Removes a VIP that was added as a host address. That it is gone already is fine.
pub async fn remove(netlink: &Netlink, vip: Vip) -> Result<(), Error> {
    let call = || vip.call("RTM_DELADDR", "del");
    match netlink.change(RouteNetlinkMessage::DelAddress(vip.message()), 0, call).await {
        Err(error) if matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// Removes an address as it was found, whoever added it and however. That it is gone already is fine.
pub async fn remove_found(netlink: &Netlink, found: &Address) -> Result<(), Error> {
    let vip = Vip { index: found.index, address: found.address };
    let mut message = vip.message();
    message.header.prefix_len = found.prefix_len;
    message.attributes =
        vec![AddressAttribute::Local(found.address), AddressAttribute::Address(found.subnet)];
    let call = || vip.call("RTM_DELADDR", "del");
    match netlink.change(RouteNetlinkMessage::DelAddress(message), 0, call).await {
        Err(error) if matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// The interface a VIP belongs on: where the operator put it already, else the one whose connected subnet holds
/// it (the longest prefix wins), else the first. `interfaces` are the director's, in the order of its
/// configuration; `None` if it is empty.
pub fn interface_for(vip: IpAddr, interfaces: &[u32], addresses: &[Address]) -> Option<u32> {
    let place = |address: &Address| interfaces.iter().position(|index| *index == address.index);
    addresses
        .iter()
        .filter(|address| !address.marked)
        .filter_map(|address| Some((address, place(address)?)))
        .filter(|(address, _)| address.address == vip || address.holds(vip))
        .min_by_key(|(address, place)| (address.address != vip, u8::MAX - address.prefix_len, *place))
        .map(|(address, _)| address.index)
        .or(interfaces.first().copied())
}

impl Vip {
    /// Prefix length of a host address of its family.
    fn prefix_len(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn message(self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = match self.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.index = self.index;
        message.header.prefix_len = self.prefix_len();
        message.header.scope = AddressScope::Universe;
        message.header.flags = AddressHeaderFlags::empty();
        message.attributes =
            vec![AddressAttribute::Local(self.address), AddressAttribute::Address(self.address)];
        message
    }

    fn call(self, message: &str, verb: &str) -> String {
        let Vip { address, index } = self;
        format!("{message} (ip address {verb} {address}/{} on interface {index})", self.prefix_len())
    }
}

impl Address {
    /// Whether the connected subnet of this address holds `other`.
    fn holds(&self, other: IpAddr) -> bool {
        fn same_prefix(a: u128, b: u128, width: u32, prefix_len: u32) -> bool {
            // A host address has no subnet.
            prefix_len < width && (prefix_len == 0 || (a ^ b) >> (width - prefix_len) == 0)
        }
        let prefix_len = self.prefix_len.into();
        match (self.subnet, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same_prefix(u32::from(a).into(), u32::from(b).into(), 32, prefix_len)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same_prefix(a.into(), b.into(), 128, prefix_len),
            _ => false,
        }
    }

    pub(crate) fn parse(message: &AddressMessage) -> Option<Address> {
        let mut local = None;
        let mut subnet = None;
        let mut marked = false;
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => subnet = Some(*address),
                AddressAttribute::Protocol(protocol) => marked = u8::from(*protocol) == MARK,
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        // IPv6 sends no IFA_LOCAL unless there is a peer.
        let address = local.or(subnet)?;
        Some(Address {
            index: message.header.index,
            address,
            subnet: subnet.unwrap_or(address),
            prefix_len: message.header.prefix_len,
            marked,
            duplicates: Duplicates::of(flags),
        })
    }
}

impl Duplicates {
    fn of(flags: AddressFlags) -> Duplicates {
        if flags.contains(AddressFlags::Dadfailed) {
            Duplicates::Found
        } else if flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic) {
            Duplicates::Sought
        } else {
            Duplicates::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, text: &str, prefix_len: u8) -> Address {
        let address = text.parse().unwrap();
        Address { index, address, subnet: address, prefix_len, marked: false, duplicates: Duplicates::None }
    }

    fn chosen(vip: &str, interfaces: &[u32], addresses: &[Address]) -> Option<u32> {
        interface_for(vip.parse().unwrap(), interfaces, addresses)
    }

    #[test]
    fn a_vip_goes_to_the_interface_whose_subnet_holds_it() {
        let addresses = [address(2, "198.51.100.1", 24), address(3, "192.0.2.1", 24)];
        assert_eq!(chosen("192.0.2.10", &[2, 3], &addresses), Some(3));
    }

    #[test]
    fn a_vip_of_no_subnet_goes_to_the_first_interface() {
        let addresses = [address(2, "198.51.100.1", 24), address(3, "192.0.2.1", 24)];
        assert_eq!(chosen("203.0.113.10", &[3, 2], &addresses), Some(3));
        assert_eq!(chosen("203.0.113.10", &[], &addresses), None);
    }

    #[test]
    fn the_longest_prefix_wins_and_then_the_order_of_the_configuration() {
        let addresses =
            [address(2, "192.0.0.1", 16), address(3, "192.0.2.1", 24), address(4, "192.0.2.2", 24)];
        assert_eq!(chosen("192.0.2.10", &[2, 4, 3], &addresses), Some(4));
    }

    #[test]
    fn an_interface_that_is_not_the_directors_is_never_chosen() {
        let addresses = [address(9, "192.0.2.1", 24)];
        assert_eq!(chosen("192.0.2.10", &[2], &addresses), Some(2));
    }

    #[test]
    fn a_vip_stays_where_the_operator_put_it() {
        let addresses = [address(2, "192.0.2.1", 24), address(3, "192.0.2.10", 32)];
        assert_eq!(chosen("192.0.2.10", &[2, 3], &addresses), Some(3));
    }

    #[test]
    fn a_vip_that_an_earlier_shunt_left_does_not_bind_the_choice() {
        let left = Address { marked: true, ..address(3, "192.0.2.10", 32) };
        assert_eq!(chosen("192.0.2.10", &[2, 3], &[address(2, "192.0.2.1", 24), left]), Some(2));
    }

    #[test]
    fn subnets_of_ipv6_hold_addresses_of_ipv6_only() {
        let addresses = [address(2, "192.0.2.1", 24), address(3, "2001:db8::1", 64)];
        assert_eq!(chosen("2001:db8::10", &[2, 3], &addresses), Some(3));
        assert!(!address(3, "2001:db8::1", 64).holds("2001:db8:0:1::10".parse().unwrap()));
    }

    #[test]
    fn an_address_that_the_kernel_still_looks_for_is_told_from_one_that_somebody_has() {
        let flags = |flags| {
            let mut message = Vip { index: 2, address: "fe80::1".parse().unwrap() }.message();
            message.attributes.push(AddressAttribute::Flags(flags));
            Address::parse(&message).unwrap().duplicates
        };
        assert_eq!(flags(AddressFlags::Permanent), Duplicates::None);
        assert_eq!(flags(AddressFlags::Permanent | AddressFlags::Tentative), Duplicates::Sought);
        assert_eq!(flags(AddressFlags::Optimistic | AddressFlags::Tentative), Duplicates::None);
        assert_eq!(flags(AddressFlags::Dadfailed | AddressFlags::Tentative), Duplicates::Found);
    }

    #[test]
    fn the_edges_of_a_prefix_are_inside_and_a_host_address_holds_nothing() {
        let holds =
            |text, prefix_len, other: &str| address(2, text, prefix_len).holds(other.parse().unwrap());
        assert!(holds("192.0.2.129", 25, "192.0.2.128") && holds("192.0.2.129", 25, "192.0.2.255"));
        assert!(!holds("192.0.2.129", 25, "192.0.2.127"));
        assert!(holds("192.0.2.1", 0, "203.0.113.1"));
        assert!(!holds("192.0.2.1", 32, "192.0.2.1"));
    }
}

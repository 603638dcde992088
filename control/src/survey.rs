//! Where a configuration meets the machine: which of its interfaces exist, and which way each real server is
//! reached. What does not fit is a fault at the line that asked for it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::address::{self, Address};
use crate::config::{Faults, Loaded, Place, Severity};
use crate::link::Link;
use crate::model::ServiceKey;
use crate::netlink::{Error, Netlink};
use crate::route::{self, Reach};

/// What the machine offers a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The director's interfaces, in the order of the configuration: place n is the dataplane's port n.
    pub interfaces: Vec<Link>,
    /// The place in `interfaces` by which each real server is reached.
    pub ports: HashMap<IpAddr, usize>,
}

/// A frame of the UMEM is a page at most, less the kernel's headroom, the Ethernet header and two VLAN tags.
const LARGEST_MTU: u32 = 4096 - 256 - 14 - 8;

/// Why a survey failed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The configuration asks for what the machine does not have.
    #[error("{0}")]
    Faults(Faults),
    /// The kernel did not answer.
    #[error("the kernel could not be asked: {0}")]
    Kernel(#[from] Error),
}

/// Surveys the machine for a configuration. What is probably not meant is a warning.
///
/// # Errors
/// Every interface that is missing or down, every VIP that belongs to somebody else and every real server that is not a
/// neighbour, all at once.
pub async fn survey(
    netlink: &Netlink,
    links: &BTreeMap<u32, Link>,
    loaded: &Loaded,
) -> Result<(Survey, Faults), SurveyError> {
    let mut faults = Vec::new();
    let mut interfaces = Vec::new();
    for name in &loaded.model.director.interfaces {
        match find_interface(links, name) {
            Ok(link) => interfaces.push(link.clone()),
            Err((message, help)) => {
                faults.push(loaded.locations.error(&Place::Interface(name.clone()), message, help));
            }
        }
    }
    let cores = shunt_dataplane::plane::cores();
    for core in loaded.model.director.cores.iter().filter(|core| !cores.contains(core)) {
        let message = format!("core {core} is not one that shunt may use");
        let help = format!("this process may use the cores {cores:?}");
        faults.push(loaded.locations.error(&Place::Cores, message, help));
    }
    // Without its interface every real server would be a fault that explains nothing.
    if !faults.is_empty() {
        return Err(SurveyError::Faults(faults.into_iter().collect()));
    }
    let mut ports = HashMap::new();
    for service in &loaded.model.services {
        for real in &service.reals {
            let reach = route::reach(netlink, real.address).await?;
            match port(reach, &interfaces, links) {
                Ok(port) => drop(ports.insert(real.address, port)),
                Err((message, help)) => {
                    let place = Place::Real(service.key, real.address);
                    faults.push(loaded.locations.error(&place, format!("{} {message}", real.address), help));
                }
            }
        }
    }
    let addresses = address::addresses(netlink).await?;
    let gateways = route::gateways(netlink).await?;
    for service in &loaded.model.services {
        let place = Place::Service(service.key);
        let vip = service.key.vip;
        let fault = |(message, help): Complaint, severity| match severity {
            Severity::Error => loaded.locations.error(&place, format!("{vip} {message}"), help),
            Severity::Warning => loaded.locations.warning(&place, format!("{vip} {message}"), help),
        };
        if let Err(complaint) = vip_is_free(vip, &addresses, &gateways) {
            faults.push(fault(complaint, Severity::Error));
        } else if let Some(complaint) = vip_is_ours(service.key, &interfaces, links, &addresses) {
            faults.push(fault(complaint, Severity::Warning));
        }
    }
    let faults = Faults::from(faults);
    match faults.has_errors() {
        true => Err(SurveyError::Faults(faults)),
        false => Ok((Survey { interfaces, ports }, faults)),
    }
}

type Complaint = (String, String);

fn find_interface<'a>(links: &'a BTreeMap<u32, Link>, name: &str) -> Result<&'a Link, Complaint> {
    let Some(link) = links.values().find(|link| link.name == name) else {
        let known: Vec<&str> =
            links.values().map(|link| link.name.as_str()).filter(|name| *name != "lo").collect();
        let known = if known.is_empty() { "none but lo".into() } else { known.join(", ") };
        return Err((format!("no such interface: {name}"), format!("this machine has: {known}")));
    };
    if !link.up {
        return Err((format!("{name} is down"), format!("bring it up first: ip link set {name} up")));
    }
    if link.mac == [0; 6] {
        return Err((
            format!("{name} has no MAC address"),
            "shunt rewrites Ethernet addresses: name an Ethernet interface".into(),
        ));
    }
    if link.mtu > LARGEST_MTU {
        return Err((
            format!("{name} has MTU {}; a frame of an AF_XDP socket has room for {LARGEST_MTU}", link.mtu),
            format!("lower it: ip link set {name} mtu 1500"),
        ));
    }
    Ok(link)
}

fn port(reach: Reach, interfaces: &[Link], links: &BTreeMap<u32, Link>) -> Result<usize, Complaint> {
    let name = |index| links.get(&index).map_or_else(|| format!("interface {index}"), |l| l.name.clone());
    match reach {
        Reach::OnLink { index } => interfaces.iter().position(|link| link.index == index).ok_or_else(|| {
            let name = name(index);
            (
                format!("is reached through {name}, which is not one of director.interfaces"),
                format!("add \"{name}\" to director.interfaces"),
            )
        }),
        Reach::ViaGateway { gateway, .. } => Err((
            format!("is off-link: the way to it leads through the router {gateway}"),
            "direct server return rewrites MAC addresses only, so a real server must be on a network that the \
             director is on: give the director an address there, or correct this one"
                .into(),
        )),
        Reach::Local => Err((
            "is an address of this machine".into(),
            "a real server must be another machine: the director would send to itself".into(),
        )),
        Reach::Unreachable => Err((
            "cannot be reached: there is no route to it".into(),
            "give the director an address on the real server's network (ip route get shows the way)".into(),
        )),
    }
}

/// A VIP must not be an address that somebody else has by its nature.
fn vip_is_free(vip: IpAddr, addresses: &[Address], gateways: &[IpAddr]) -> Result<(), Complaint> {
    if gateways.contains(&vip) {
        return Err((
            "is a router that this machine's routes lead to".into(),
            "clients could not be answered any more: choose an address that nobody has (ip route shows the routers)".into(),
        ));
    }
    for subnet in addresses.iter().filter(|address| !address.marked) {
        let (IpAddr::V4(vip), IpAddr::V4(inside)) = (vip, subnet.subnet) else { continue };
        // RFC 3021: a /31 has neither.
        let Some(host_bits @ 2..) = 32u8.checked_sub(subnet.prefix_len) else { continue };
        let host = u32::MAX.checked_shr(32 - u32::from(host_bits)).unwrap_or(u32::MAX);
        let what = match vip.to_bits() ^ inside.to_bits() {
            differing if differing & !host != 0 => continue,
            _ if vip.to_bits() & host == host => "broadcast",
            _ if vip.to_bits() & host == 0 => "network",
            _ => continue,
        };
        return Err((
            format!("is the {what} address of {inside}/{}", subnet.prefix_len),
            "choose an address that a host can have".into(),
        ));
    }
    Ok(())
}

/// A VIP that this machine has for itself is probably not meant.
fn vip_is_ours(
    key: ServiceKey,
    interfaces: &[Link],
    links: &BTreeMap<u32, Link>,
    addresses: &[Address],
) -> Option<Complaint> {
    let ServiceKey { port, protocol, vip } = key;
    let found = addresses.iter().find(|address| address.address == vip && !address.marked)?;
    let name = links.get(&found.index).map_or("another interface", |link| link.name.as_str());
    if !interfaces.iter().any(|link| link.index == found.index) {
        return Some((
            format!("is on {name} already, which is not one of director.interfaces"),
            format!(
                "shunt adds it to one of its own too; if that is not meant: ip address del {vip} dev {name}"
            ),
        ));
    }
    let is_host_address = found.prefix_len == if vip.is_ipv4() { 32 } else { 128 };
    (!is_host_address).then(|| {
        (
            format!("is this machine's own address on {name}: {protocol} port {port} of it goes to the real servers now"),
            "whatever listens there on this machine is not reached any more; a VIP of its own is safer".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            name: name.into(),
            index,
            mac: [2, 0, 0, 0, 0, index as u8],
            mtu: 1500,
            up: true,
            carrier: true,
            kind: "veth".into(),
            driver: "veth".into(),
            rx_queues: 1,
            tx_queues: 1,
        }
    }

    #[test]
    fn a_real_server_is_reached_by_the_place_of_its_interface() {
        let interfaces = [link(7, "eth1"), link(3, "eth0")];
        let links = interfaces.iter().map(|link| (link.index, link.clone())).collect();
        assert_eq!(port(Reach::OnLink { index: 3 }, &interfaces, &links), Ok(1));
        let (message, _) = port(Reach::OnLink { index: 9 }, &interfaces, &links).unwrap_err();
        assert_eq!(message, "is reached through interface 9, which is not one of director.interfaces");
    }

    fn address(index: u32, text: &str, prefix_len: u8) -> Address {
        let address = text.parse().unwrap();
        Address { index, address, subnet: address, prefix_len, marked: false }
    }

    #[test]
    fn a_router_a_broadcast_and_a_network_address_are_no_vips() {
        let addresses =
            [address(3, "192.0.2.2", 24), address(3, "198.51.100.0", 31), address(3, "192.0.2.9", 32)];
        let gateways = ["192.0.2.1".parse().unwrap()];
        let free =
            |vip: &str| vip_is_free(vip.parse().unwrap(), &addresses, &gateways).map_err(|(why, _)| why);
        assert_eq!(free("192.0.2.1").unwrap_err(), "is a router that this machine's routes lead to");
        assert_eq!(free("192.0.2.255").unwrap_err(), "is the broadcast address of 192.0.2.2/24");
        assert_eq!(free("192.0.2.0").unwrap_err(), "is the network address of 192.0.2.2/24");
        for vip in ["192.0.2.10", "198.51.100.1", "203.0.113.255", "192.0.2.9"] {
            assert_eq!(free(vip), Ok(()), "{vip}");
        }
    }

    #[test]
    fn a_vip_that_is_the_machines_own_address_is_pointed_out() {
        let (eth0, lo) = (link(3, "eth0"), link(1, "lo"));
        let links = [eth0.clone(), lo].into_iter().map(|link| (link.index, link)).collect();
        let addresses =
            [address(3, "192.0.2.2", 24), address(3, "192.0.2.10", 32), address(1, "192.0.2.11", 32)];
        let ours = |vip: &str| {
            let key =
                ServiceKey { vip: vip.parse().unwrap(), port: 22, protocol: crate::model::Protocol::Tcp };
            vip_is_ours(key, std::slice::from_ref(&eth0), &links, &addresses).map(|(what, _)| what)
        };
        assert!(ours("192.0.2.2").unwrap().contains("own address on eth0: tcp port 22"));
        assert!(ours("192.0.2.11").unwrap().contains("is on lo already"));
        assert_eq!(ours("192.0.2.10"), None, "the operator has put a VIP there");
        assert_eq!(ours("192.0.2.12"), None);
    }

    #[test]
    fn an_interface_that_is_missing_or_down_is_a_complaint() {
        let down = Link { up: false, ..link(4, "eth4") };
        let links = [link(1, "lo"), link(3, "eth0"), down].into_iter().map(|l| (l.index, l)).collect();
        assert!(find_interface(&links, "eth0").is_ok());
        assert_eq!(find_interface(&links, "eth9").unwrap_err().1, "this machine has: eth0, eth4");
        assert_eq!(find_interface(&links, "eth4").unwrap_err().0, "eth4 is down");
    }
}

//! Where a configuration meets the machine: which of its interfaces exist, and which way each real server is
//! reached. What does not fit is a fault at the line that asked for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hashbrown::{Equivalent, HashMap};

use crate::address::{self, Address};
use crate::config::{Faults, Loaded, Place, Severity};
use crate::link::Link;
use crate::model::{RealServer, ServiceKey, VirtualService, Vlan, ports as spelled};
use crate::netlink::{Error, Netlink};
use crate::route::{self, Reach};

/// What the machine offers a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The director's interfaces, in the order of the configuration: place n is the dataplane's port n.
    pub interfaces: Vec<Link>,
    /// How each real server is reached. The same address may be on two networks, told apart by the interface that
    /// the configuration names.
    pub ways: HashMap<(IpAddr, Option<String>), Way>,
}

/// How a real server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The place of its interface in [`Survey::interfaces`].
    pub port: usize,
    /// Longest IP packet of the way, bytes, if the kernel's route has an MTU of its own.
    pub mtu: Option<u32>,
}

impl Survey {
    /// How a real server is reached, if that is known, and by which interface (as it was at the survey).
    pub fn way(&self, real: &RealServer) -> Option<(Way, &Link)> {
        let way = *self.ways.get(&Asked(real.address, real.interface.as_deref()))?;
        Some((way, self.interfaces.get(way.port)?))
    }
}

/// A key of [`Survey::ways`], borrowed: of a hundred thousand real servers each is asked for at every change.
#[derive(Hash)]
struct Asked<'a>(IpAddr, Option<&'a str>);

impl Equivalent<(IpAddr, Option<String>)> for Asked<'_> {
    fn equivalent(&self, (address, interface): &(IpAddr, Option<String>)) -> bool {
        self.0 == *address && self.1 == interface.as_deref()
    }
}

/// A frame of the UMEM is a page at most, less the kernel's headroom, the Ethernet header and two VLAN tags.
pub(crate) const LARGEST_MTU: u32 = 4096 - 256 - 14 - 8;

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

/// A NIC that takes tags off hands over frames that look untagged. (A veth only carries what its peer did not put into
/// the frame, whatever it says of itself.)
fn tags_are_seen(real: &RealServer, link: &Link) -> Option<Complaint> {
    (real.vlan != Vlan::Keep && link.strips_tags && link.kind != "veth").then(|| {
        let message = format!(
            "has a VLAN, but {} takes tags off incoming frames: shunt sees all as untagged",
            link.name
        );
        (message, format!("switch that off: `ethtool -K {} rxvlan off`", link.name))
    })
}

/// Surveys the machine for a configuration. What is probably not meant is a warning. `running`: the interfaces that the
/// dataplane has, none before it is made; they stay where interfaces follow from the routes.
///
/// # Errors
/// Every interface that is missing or down, every VIP that belongs to somebody else and every real server that is not a
/// neighbour, all at once.
pub async fn survey(
    netlink: &Netlink,
    links: &BTreeMap<u32, Link>,
    loaded: &Loaded,
    running: &[Link],
) -> Result<(Survey, Faults), SurveyError> {
    let mut faults = Vec::new();
    let mut missing = Vec::new();
    let mut interfaces = Vec::new();
    for name in &loaded.model.director.interfaces {
        match find_interface(links, name) {
            Ok(link) => interfaces.push(link.clone()),
            Err((message, help)) => {
                missing.push((Place::Interface(name.clone()), message, help, loaded.model.vrrp.on(name)));
            }
        }
    }
    // A virtual router waits for its interface, in Fault; but a director with no interface at all is none.
    let waits =
        |of_router: bool| of_router && loaded.model.director.auto_interfaces && !interfaces.is_empty();
    let mut waiting = Vec::new();
    for (place, message, help, of_router) in missing {
        if waits(of_router) {
            let message =
                format!("{message}: its virtual routers wait for it, and no frame is taken from it");
            let help = format!("{help}; then start shunt again");
            waiting.push(loaded.locations.warning(&place, message, help));
        } else {
            faults.push(loaded.locations.error(&place, message, help));
        }
    }
    if loaded.model.director.auto_interfaces {
        for index in running.iter().map(|link| link.index).chain(routed(netlink, loaded).await?) {
            let Some(link) =
                links.get(&index).filter(|_| !interfaces.iter().any(|l: &Link| l.index == index))
            else {
                continue;
            };
            match find_interface(links, &link.name) {
                Ok(link) => interfaces.push(link.clone()),
                Err((message, help)) => {
                    faults.push(loaded.locations.error(&Place::Director, message, help));
                }
            }
        }
        if interfaces.is_empty() && faults.is_empty() {
            let message = "no interface: none is named, and no route to a real server leads to one";
            let help = "name one: a vrrp_instance's `interface`, or director.interfaces";
            faults.push(loaded.locations.error(&Place::Director, message, help));
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
    faults.extend(waiting);
    let (mut ways, mut reaches) = (HashMap::new(), Reaches { netlink, known: HashMap::new() });
    for service in &loaded.model.services {
        for real in service.servers() {
            let at = |place: Place, (message, help): Complaint, severity| match severity {
                Severity::Error => {
                    loaded.locations.error(&place, format!("{} {message}", real.address), help)
                }
                Severity::Warning => {
                    loaded.locations.warning(&place, format!("{} {message}", real.address), help)
                }
            };
            let place = Place::Real(service.key, real.address);
            let named =
                real.interface.as_ref().and_then(|name| interfaces.iter().position(|l| l.name == *name));
            let by = named.map(|port| interfaces[port].index);
            let reach = reaches.of(real.address, by).await?;
            let way = match (real.mac, named) {
                (Some(_), Some(port)) => way_to_fixed(reach, port, &interfaces),
                _ => way(reach, &interfaces, links),
            };
            let way = match way {
                Ok(way) => way,
                Err(complaint) => {
                    faults.push(at(place, complaint, Severity::Error));
                    continue;
                }
            };
            ways.insert((real.address, real.interface.clone()), way);
            // The check is the kernel's connection, and knows nothing of an interface or a MAC address named here.
            let is_fixed = real.mac.is_some() || real.interface.is_some();
            if !real.checks.is_empty()
                && is_fixed
                && reaches.of(real.address, None).await? == Reach::Unreachable
            {
                let complaint = (
                    "has no route, so its check cannot succeed".into(),
                    "give the director an address on its network, or take [service.check] out".into(),
                );
                faults.push(at(place, complaint, Severity::Warning));
            }
            if let Some(complaint) = tags_are_seen(real, &interfaces[way.port]) {
                faults.push(at(Place::Real(service.key, real.address), complaint, Severity::Warning));
            }
            if let Some(complaint) = mtu_fits(real, &interfaces[way.port]) {
                faults.push(at(Place::Mtu(service.key, real.address), complaint, Severity::Error));
            }
        }
    }
    let addresses = address::addresses(netlink).await?;
    let gateways = route::gateways(netlink).await?;
    let indices: Vec<u32> = interfaces.iter().map(|link| link.index).collect();
    // It is here because this director is active, or was when it was killed.
    let of_routers = loaded.model.vrrp.addresses();
    for service in &loaded.model.services {
        let place = Place::Service(service.key);
        let vip = service.key.vip;
        let fault = |(message, help): Complaint, severity| match severity {
            Severity::Error => loaded.locations.error(&place, format!("{vip} {message}"), help),
            Severity::Warning => loaded.locations.warning(&place, format!("{vip} {message}"), help),
        };
        if !of_routers.is_empty() && !of_routers.contains(&vip) {
            let complaint = (
                "is of no virtual router: this director holds it always, and so does any other with this service".into(),
                "add it to the addresses of a router (virtual_ipaddress)".into(),
            );
            faults.push(fault(complaint, Severity::Warning));
        }
        let index = address::interface_for(vip, &indices, &addresses);
        let link = interfaces.iter().find(|link| Some(link.index) == index);
        if let Some(complaint) = link.filter(|_| vip.is_ipv6()).and_then(|link| ipv6_is_off(&link.name)) {
            faults.push(fault(complaint, Severity::Error));
        } else if let Err(complaint) = vip_is_free(vip, &addresses, &gateways) {
            faults.push(fault(complaint, Severity::Error));
        } else if !of_routers.contains(&vip)
            && let Some(complaint) = vip_is_ours(service.key, &interfaces, links, &addresses)
        {
            faults.push(fault(complaint, Severity::Warning));
        }
    }
    let faults = Faults::from(faults);
    match faults.has_errors() {
        true => Err(SurveyError::Faults(faults)),
        false => Ok((Survey { interfaces, ways }, faults)),
    }
}

type Complaint = (String, String);

/// The kernel's answers of one survey: a real server of many services is asked about once.
struct Reaches<'a> {
    netlink: &'a Netlink,
    known: HashMap<(IpAddr, Option<u32>), Reach>,
}

impl Reaches<'_> {
    async fn of(&mut self, address: IpAddr, by: Option<u32>) -> Result<Reach, Error> {
        if let Some(reach) = self.known.get(&(address, by)) {
            return Ok(*reach);
        }
        let reach = route::reach(self.netlink, address, by).await?;
        self.known.insert((address, by), reach);
        Ok(reach)
    }
}

/// The interfaces that the routes to the real servers lead to, in the order of the file.
async fn routed(netlink: &Netlink, loaded: &Loaded) -> Result<Vec<u32>, Error> {
    let (mut indices, mut reaches) = (Vec::new(), Reaches { netlink, known: HashMap::new() });
    for real in loaded.model.services.iter().flat_map(VirtualService::servers) {
        if let Reach::OnLink { index, .. } = reaches.of(real.address, None).await?
            && !indices.contains(&index)
        {
            indices.push(index);
        }
    }
    Ok(indices)
}

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

fn way(reach: Reach, interfaces: &[Link], links: &BTreeMap<u32, Link>) -> Result<Way, Complaint> {
    let name = |index| links.get(&index).map_or_else(|| format!("interface {index}"), |l| l.name.clone());
    match reach {
        Reach::OnLink { index, mtu } => {
            let port = interfaces.iter().position(|link| link.index == index).ok_or_else(|| {
                let name = name(index);
                (
                    format!("is reached through {name}, which is not one of director.interfaces"),
                    format!("add \"{name}\" to director.interfaces"),
                )
            })?;
            Ok(Way { port, mtu })
        }
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

/// The way to a real server with a fixed MAC address: the interface it is behind is all there is to know, whatever
/// the kernel's routes say, but that it is not this machine.
fn way_to_fixed(reach: Reach, port: usize, interfaces: &[Link]) -> Result<Way, Complaint> {
    match reach {
        Reach::Local => way(reach, interfaces, &BTreeMap::new()),
        Reach::OnLink { index, mtu } if index == interfaces[port].index => Ok(Way { port, mtu }),
        _ => Ok(Way { port, mtu: None }),
    }
}

/// A real server's own MTU cannot be more than its interface's.
fn mtu_fits(real: &RealServer, link: &Link) -> Option<Complaint> {
    let mtu = real.mtu.filter(|mtu| u32::from(*mtu) > link.mtu)?;
    Some((
        format!("has MTU {mtu}, and the interface to it ({}) has {}", link.name, link.mtu),
        format!("give {} at most, or raise the interface's: ip link set {} mtu {mtu}", link.mtu, link.name),
    ))
}

/// Why an interface can have no IPv6 VIP.
fn ipv6_is_off(name: &str) -> Option<Complaint> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    let (message, help) = match std::fs::read_to_string(path) {
        Ok(text) if text.trim() == "0" => return None,
        Ok(_) => (
            format!("is IPv6, which is switched off on {name}"),
            format!("switch it on: sysctl -w net.ipv6.conf.{name}.disable_ipv6=0"),
        ),
        Err(_) => (
            "is IPv6, which this kernel does not speak".to_owned(),
            "boot without ipv6.disable=1, or load the module: modprobe ipv6".to_owned(),
        ),
    };
    Some((message, help))
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
        let Some(what) = reserved(vip, subnet.subnet, subnet.prefix_len) else { continue };
        return Err((
            format!("is the {what} address of {}/{}", subnet.subnet, subnet.prefix_len),
            "choose an address that a host can have".into(),
        ));
    }
    Ok(())
}

/// What an address is in the subnet of another, if it is more than one host's.
fn reserved(vip: IpAddr, inside: IpAddr, prefix_len: u8) -> Option<&'static str> {
    let host_part = |width: u8, vip: u128, inside: u128| {
        // RFC 3021 and RFC 6164: a /31, or a /127, has neither of the two.
        let host_bits @ 2.. = width.checked_sub(prefix_len)? else { return None };
        let host = u128::MAX.checked_shr(128 - u32::from(host_bits)).unwrap_or(u128::MAX);
        ((vip ^ inside) & !host == 0).then_some((vip & host, host))
    };
    match (vip, inside) {
        (IpAddr::V4(vip), IpAddr::V4(inside)) => {
            match host_part(32, vip.to_bits().into(), inside.to_bits().into())? {
                (0, _) => Some("network"),
                (part, host) if part == host => Some("broadcast"),
                _ => None,
            }
        }
        // RFC 4291 section 2.6.1: every router of the subnet has it.
        (IpAddr::V6(vip), IpAddr::V6(inside)) => match host_part(128, vip.to_bits(), inside.to_bits())? {
            (0, _) => Some("subnet-router anycast"),
            _ => None,
        },
        _ => None,
    }
}

/// A VIP that this machine has for itself is probably not meant.
fn vip_is_ours(
    key: ServiceKey,
    interfaces: &[Link],
    links: &BTreeMap<u32, Link>,
    addresses: &[Address],
) -> Option<Complaint> {
    let ServiceKey { ports, protocol, vip } = key;
    let ports = match ports.single() {
        Some(port) => format!("port {port}"),
        None => format!("ports {}", spelled(ports)),
    };
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
            format!("is this machine's own address on {name}: {protocol} {ports} of it goes to the real servers now"),
            "whatever listens there on this machine is not reached any more; a VIP of its own is safer".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ports, Protocol};

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
            strips_tags: false,
        }
    }

    #[test]
    fn a_real_server_is_reached_by_the_place_of_its_interface() {
        let interfaces = [link(7, "eth1"), link(3, "eth0")];
        let links = interfaces.iter().map(|link| (link.index, link.clone())).collect();
        let on_link = |index| Reach::OnLink { index, mtu: Some(1400) };
        assert_eq!(way(on_link(3), &interfaces, &links), Ok(Way { port: 1, mtu: Some(1400) }));
        let (message, _) = way(on_link(9), &interfaces, &links).unwrap_err();
        assert_eq!(message, "is reached through interface 9, which is not one of director.interfaces");
    }

    #[test]
    fn a_nic_that_hides_tags_is_said_where_tags_matter() {
        let text = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n\
                    [[service.real]]\naddress = \"192.0.2.21\"\nvlan = 100\n";
        let mut model = crate::config::parse("vlan.toml", text).unwrap().model;
        let mut real = model.services.remove(0).reals.remove(0);
        let nic = Link { kind: String::new(), driver: "ixgbe".into(), strips_tags: true, ..link(3, "eth0") };
        let (_, help) = tags_are_seen(&real, &nic).unwrap();
        assert_eq!(help, "switch that off: `ethtool -K eth0 rxvlan off`");
        assert_eq!(tags_are_seen(&real, &Link { strips_tags: false, ..nic.clone() }), None);
        assert_eq!(tags_are_seen(&real, &Link { kind: "veth".into(), ..nic.clone() }), None);
        real.vlan = Vlan::Keep;
        assert_eq!(tags_are_seen(&real, &nic), None);
    }

    #[test]
    fn a_fixed_mac_address_needs_no_route_but_must_not_be_this_machines() {
        let interfaces = [link(7, "eth1"), link(3, "eth0")];
        let fixed = |reach| way_to_fixed(reach, 1, &interfaces);
        assert_eq!(fixed(Reach::Unreachable), Ok(Way { port: 1, mtu: None }));
        assert_eq!(fixed(Reach::OnLink { index: 7, mtu: Some(1400) }), Ok(Way { port: 1, mtu: None }));
        assert_eq!(fixed(Reach::OnLink { index: 3, mtu: Some(1400) }), Ok(Way { port: 1, mtu: Some(1400) }));
        assert_eq!(fixed(Reach::Local).unwrap_err().0, "is an address of this machine");
    }

    #[test]
    fn a_real_server_takes_no_longer_packets_than_its_interface() {
        let text = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\n\
                    protocol = \"tcp\"\n[[service.real]]\naddress = \"192.0.2.21\"\nmtu = 1500\n";
        let real = crate::config::parse("a", text).unwrap().model.services[0].reals[0].clone();
        assert_eq!(mtu_fits(&real, &link(3, "eth0")), None);
        let (message, _) = mtu_fits(&real, &Link { mtu: 1400, ..link(3, "eth0") }).unwrap();
        assert_eq!(message, "has MTU 1500, and the interface to it (eth0) has 1400");
    }

    #[test]
    fn in_ipv6_the_address_of_the_routers_is_no_vip() {
        let addresses = [address(3, "2001:db8::2", 64), address(3, "2001:db8:1::", 127)];
        let free = |vip: &str| vip_is_free(vip.parse().unwrap(), &addresses, &[]).map_err(|(why, _)| why);
        assert_eq!(free("2001:db8::").unwrap_err(), "is the subnet-router anycast address of 2001:db8::2/64");
        for vip in ["2001:db8::ffff:ffff:ffff:ffff", "2001:db8:1::", "2001:db8::10", "192.0.2.0"] {
            assert_eq!(free(vip), Ok(()), "{vip}");
        }
    }

    fn address(index: u32, text: &str, prefix_len: u8) -> Address {
        let address = text.parse().unwrap();
        Address {
            index,
            address,
            subnet: address,
            prefix_len,
            marked: false,
            duplicates: address::Duplicates::None,
        }
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
                ServiceKey { vip: vip.parse().unwrap(), ports: Ports::exact(22), protocol: Protocol::Tcp };
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

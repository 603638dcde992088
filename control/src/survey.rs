//! Where a configuration meets the machine: which of its interfaces exist, and which way each real server is
//! reached. What does not fit is a fault at the line that asked for it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::config::{Fault, Faults, Loaded, Place};
use crate::link::Link;
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

/// Surveys the machine for a configuration.
///
/// # Errors
/// Every interface that is missing or down and every real server that is not a neighbour, all at once.
pub async fn survey(
    netlink: &Netlink,
    links: &BTreeMap<u32, Link>,
    loaded: &Loaded,
) -> Result<Survey, SurveyError> {
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
    match faults.is_empty() {
        true => Ok(Survey { interfaces, ports }),
        false => Err(SurveyError::Faults(faults.into_iter().collect::<Vec<Fault>>().into())),
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

    #[test]
    fn an_interface_that_is_missing_or_down_is_a_complaint() {
        let down = Link { up: false, ..link(4, "eth4") };
        let links = [link(1, "lo"), link(3, "eth0"), down].into_iter().map(|l| (l.index, l)).collect();
        assert!(find_interface(&links, "eth0").is_ok());
        assert_eq!(find_interface(&links, "eth9").unwrap_err().1, "this machine has: eth0, eth4");
        assert_eq!(find_interface(&links, "eth4").unwrap_err().0, "eth4 is down");
    }
}

//! From numbers to names: what a worker says of a frame in ids and slots, by the forwarding state that is in force when it is
//! read. Ids stay from state to state; where one was given to somebody else meanwhile, nothing is said rather than
//! something wrong.

use std::net::IpAddr;
use std::sync::Arc;

use shunt_dataplane::forwarding::{ForwardingState, Service};
use shunt_dataplane::packet::{Address, MacAddress};
use shunt_dataplane::recorder::{Facts, Outcome};

use super::packet::Decoded;
use crate::explain::trial;

/// Knows the names.
pub(super) struct Names {
    pub state: Arc<ForwardingState>,
    /// By port.
    pub interfaces: Vec<String>,
}

impl Names {
    /// The service, as it is shown.
    pub fn service(&self, facts: &Facts, packet: Option<&Decoded>) -> Option<String> {
        self.service_of(facts, packet).map(|service| trial::name(service.key()))
    }

    /// The real server that a frame went to, or that its flow had.
    pub fn real(&self, facts: &Facts, packet: Option<&Decoded>) -> Option<IpAddr> {
        let service = self.service_of(facts, packet);
        let remembered =
            service.zip(facts.real).and_then(|(service, (slot, epoch))| service.tenant(slot, epoch));
        if let Some(real) = remembered {
            return Some(real.address().into());
        }
        if facts.outcome != Outcome::Forward {
            return None;
        }
        // No flow is remembered (one-packet services, later fragments, a full table): by where it was sent.
        match service {
            Some(service) => only(at(service, facts.to)),
            None => {
                let vip = Address::from(packet?.dst);
                let services = self.state.services().filter(|(_, service)| service.key().address == vip);
                only(services.flat_map(|(_, service)| at(service, facts.to)))
            }
        }
    }

    /// The name of an interface.
    pub fn interface(&self, port: u8) -> String {
        self.interfaces.get(usize::from(port)).cloned().unwrap_or_else(|| format!("interface {port}"))
    }

    fn service_of(&self, facts: &Facts, packet: Option<&Decoded>) -> Option<&Service> {
        let service = self.state.service(facts.service?)?;
        let key = service.key();
        // An ICMP error and a fragment have no ports of the flow's.
        let is_for = |packet: &Decoded| {
            Address::from(packet.dst) == key.address
                && (packet.protocol != key.protocol as u8
                    || packet.ports.is_none_or(|(_, port)| key.ports.contains(port)))
        };
        packet.is_none_or(is_for).then_some(service)
    }
}

/// The real servers of a service that have this MAC address.
fn at(service: &Service, mac: MacAddress) -> impl Iterator<Item = IpAddr> {
    service
        .reals()
        .filter(move |(_, real)| real.path().is_some_and(|path| path.header.destination() == mac))
        .map(|(_, real)| real.address().into())
}

/// The address that all of them are; none if there are several.
fn only(mut addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let first = addresses.next()?;
    addresses.all(|other| other == first).then_some(first)
}

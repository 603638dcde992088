//! model + machine + health + neighbours -> forwarding state. Pure: the only bridge to the dataplane, and the only
//! place that decides whether a real server is up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shunt_dataplane::forwarding::{
    BuildError, Builder, ForwardingState, Options, Path, Ports, RealSpec, ServiceKey as CompiledKey,
    ServiceSpec, Thresholds,
};
use shunt_dataplane::packet::{MacAddress, Protocol as CompiledProtocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::{MacHeader, Vlan};

use crate::health::{CheckKey, HealthView, Status};
use crate::link::Link;
use crate::model::{Model, Protocol, RealServer, ServiceKey, VirtualService};
use crate::neighbor::{Neighbor, NeighborKey, NeighborView};
use crate::survey::Survey;

/// Everything a forwarding state is a function of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The configuration.
    pub model: &'a Model,
    /// Where it stands on this machine.
    pub survey: &'a Survey,
    /// The links as they are now.
    pub links: &'a BTreeMap<u32, Link>,
    /// The checks' results.
    pub health: &'a HealthView,
    /// The real servers' MAC addresses.
    pub neighbors: &'a NeighborView,
}

/// How a real server stands: the way to it, or why it is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Takes what its weight says.
    Up(Path),
    /// Takes nothing, and why.
    Down(String),
    /// Takes nothing yet: its first check, or its MAC address, is still awaited.
    Waiting(&'static str),
}

impl Standing {
    /// Whether it takes what its weight says.
    pub fn is_up(&self) -> bool {
        matches!(self, Standing::Up(_))
    }
}

/// Compiles the state that follows `previous`.
///
/// # Errors
/// An invariant of the model is broken: a bug, since `config::resolve` checks them all.
pub fn compile(
    inputs: Inputs<'_>,
    previous: &ForwardingState,
    workers: usize,
) -> Result<ForwardingState, BuildError> {
    let specs: Vec<ServiceSpec> =
        inputs.model.services.iter().map(|service| inputs.service(service)).collect();
    Builder::after(previous, workers, inputs.survey.interfaces.len()).build(&specs)
}

/// The key of a service in the dataplane.
pub fn compiled_key(key: &ServiceKey) -> CompiledKey {
    let protocol = match key.protocol {
        Protocol::Tcp => CompiledProtocol::Tcp,
        Protocol::Udp => CompiledProtocol::Udp,
    };
    CompiledKey { address: key.vip.into(), ports: Ports::exact(key.port), protocol }
}

impl Inputs<'_> {
    fn service(&self, service: &VirtualService) -> ServiceSpec {
        let reals = service
            .reals
            .iter()
            .map(|real| {
                let path = match self.standing(service, real) {
                    Standing::Up(path) => Some(path),
                    Standing::Down(_) | Standing::Waiting(_) => None,
                };
                RealSpec {
                    address: real.address.into(),
                    weight: real.weight,
                    share: real.weight,
                    thresholds: Thresholds::default(),
                    healthy: path.is_some(),
                    path,
                }
            })
            .collect();
        ServiceSpec { key: compiled_key(&service.key), options: Options::default(), reals }
    }

    /// How a real server stands. The causes are asked in the order in which one explains the next.
    pub fn standing(&self, service: &VirtualService, real: &RealServer) -> Standing {
        let Some(&port) = self.survey.ports.get(&real.address) else {
            return Standing::Down("the way to it is not known".into());
        };
        let surveyed = &self.survey.interfaces[port];
        let link = match self.links.get(&surveyed.index) {
            Some(link) if link.usable() => link,
            Some(link) if link.up => return Standing::Down(format!("{} has no carrier", link.name)),
            _ => return Standing::Down(format!("{} is down", surveyed.name)),
        };
        let key = NeighborKey { index: link.index, address: real.address };
        let mac = match self.neighbors.neighbor(key) {
            Neighbor::Resolved(mac) => mac,
            Neighbor::Resolving => return Standing::Waiting("its MAC address is asked for"),
            Neighbor::Failed { .. } => {
                return Standing::Down(format!("does not answer ARP on {}", link.name));
            }
        };
        if let Some(check) = &service.check {
            let key = CheckKey { address: real.address, check: check.clone() };
            match self.health.status(&key) {
                Status::Up => {}
                Status::Unknown => return Standing::Waiting("its first check is under way"),
                Status::Down => {
                    let error = self.health.health(&key).and_then(|health| health.last_error());
                    return Standing::Down(format!("check failed: {}", error.unwrap_or("no answer")));
                }
            }
        }
        let header = MacHeader::new(MacAddress(mac), MacAddress(link.mac));
        Standing::Up(Path { header, port: PortId(port as u8), mtu: surveyed.mtu as u16, vlan: Vlan::Keep })
    }
}

/// The checks a model asks for.
pub fn checks(model: &Model) -> impl Iterator<Item = CheckKey> + '_ {
    model.services.iter().flat_map(|service| {
        service.check.iter().flat_map(|check| {
            service.reals.iter().map(|real| CheckKey { address: real.address, check: check.clone() })
        })
    })
}

/// The neighbours a model asks for.
pub fn neighbors<'a>(model: &'a Model, survey: &'a Survey) -> impl Iterator<Item = NeighborKey> + 'a {
    let addresses = model.services.iter().flat_map(|service| service.reals.iter().map(|real| real.address));
    addresses.filter_map(|address: IpAddr| {
        let port = *survey.ports.get(&address)?;
        Some(NeighborKey { index: survey.interfaces[port].index, address })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use crate::model::{HealthCheck, Probe};
    use shunt_dataplane::forwarding::RealState;
    use shunt_dataplane::hash::HashKey;
    use std::time::{Duration, Instant};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];

    /// One service with one real server, on one interface.
    struct World {
        model: Model,
        survey: Survey,
        links: BTreeMap<u32, Link>,
        health: HealthView,
        neighbors: NeighborView,
    }

    impl World {
        fn new() -> Self {
            let text = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\n\
                        protocol = \"tcp\"\n[service.check]\ntype = \"tcp\"\n[[service.real]]\naddress = \"192.0.2.21\"\n";
            let model = crate::config::parse("world.toml", text).unwrap().model;
            let link = Link {
                name: "eth0".into(),
                index: 2,
                mac: [2, 0, 0, 0, 0, 1],
                mtu: 1500,
                up: true,
                carrier: true,
                kind: "veth".into(),
                driver: "veth".into(),
                rx_queues: 1,
                tx_queues: 1,
            };
            let address = model.services[0].reals[0].address;
            let mut world = World {
                survey: Survey { interfaces: vec![link.clone()], ports: [(address, 0)].into() },
                links: [(2, link)].into(),
                health: HealthView::default(),
                neighbors: [(NeighborKey { index: 2, address }, Neighbor::Resolved(MAC))]
                    .into_iter()
                    .collect(),
                model,
            };
            world.checked(Ok(()));
            world
        }

        fn checked(&mut self, result: Result<(), String>) {
            let mut health = Health::new(1, 1);
            health.record(Instant::now(), result);
            self.health = checks(&self.model).map(|key| (key, health.clone())).collect();
        }

        fn inputs(&self) -> Inputs<'_> {
            Inputs {
                model: &self.model,
                survey: &self.survey,
                links: &self.links,
                health: &self.health,
                neighbors: &self.neighbors,
            }
        }

        fn standing(&self) -> Standing {
            self.inputs().standing(&self.model.services[0], &self.model.services[0].reals[0])
        }

        fn state(&self) -> RealState {
            let empty = ForwardingState::empty(HashKey([0, 0]));
            let state = compile(self.inputs(), &empty, 1).unwrap();
            let (_, service) = state.services().next().unwrap();
            service.reals().next().unwrap().1.state()
        }
    }

    #[test]
    fn a_healthy_resolved_real_server_is_up_by_the_current_mac_addresses() {
        let world = World::new();
        let header = MacHeader::new(MacAddress(MAC), MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(
            world.standing(),
            Standing::Up(Path { header, port: PortId(0), mtu: 1500, vlan: Vlan::Keep })
        );
        assert_eq!(world.state(), RealState::Up);
    }

    #[test]
    fn weight_zero_drains() {
        let mut world = World::new();
        world.model.services[0].reals[0].weight = 0;
        assert_eq!(world.state(), RealState::Draining);
    }

    #[test]
    fn a_failed_check_is_down_and_says_why() {
        let mut world = World::new();
        world.checked(Err("connection refused".into()));
        assert_eq!(world.standing(), Standing::Down("check failed: connection refused".into()));
        assert_eq!(world.state(), RealState::Down);
    }

    #[test]
    fn before_the_first_check_it_is_waited_for() {
        let mut world = World::new();
        world.health = HealthView::default();
        assert!(matches!(world.standing(), Standing::Waiting(_)));
        assert_eq!(world.state(), RealState::Down);
    }

    #[test]
    fn a_real_server_without_mac_address_is_not_up_though_its_check_passes() {
        let mut world = World::new();
        world.neighbors = NeighborView::default();
        assert!(matches!(world.standing(), Standing::Waiting(_)));
        let key = NeighborKey { index: 2, address: "192.0.2.21".parse().unwrap() };
        world.neighbors = [(key, Neighbor::Failed { since: Instant::now() })].into_iter().collect();
        assert_eq!(world.standing(), Standing::Down("does not answer ARP on eth0".into()));
    }

    #[test]
    fn nothing_is_up_behind_an_interface_that_is_down() {
        let mut world = World::new();
        world.links.get_mut(&2).unwrap().carrier = false;
        assert_eq!(world.standing(), Standing::Down("eth0 has no carrier".into()));
        world.links.clear();
        assert_eq!(world.standing(), Standing::Down("eth0 is down".into()));
    }

    #[test]
    fn a_check_that_two_services_share_is_asked_for_as_one() {
        let mut world = World::new();
        let mut second = world.model.services[0].clone();
        second.key.vip = "192.0.2.11".parse().unwrap();
        second.check = Some(HealthCheck { probe: Probe::Tcp { port: 80 }, ..second.check.unwrap() });
        world.model.services.push(second);
        let keys: std::collections::HashSet<_> = checks(&world.model).collect();
        assert_eq!(keys.len(), 1);
        world.model.services[1].check.as_mut().unwrap().timeout = Duration::from_millis(7);
        let keys: std::collections::HashSet<_> = checks(&world.model).collect();
        assert_eq!(keys.len(), 2);
    }
}

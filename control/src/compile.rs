//! model + machine + health + neighbours -> forwarding state. Pure: the only bridge to the dataplane, and the only
//! place that decides whether a real server is up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shunt_dataplane::clock::TICKS_PER_SECOND;
use shunt_dataplane::flow::{FlowState, Timeouts as CompiledTimeouts};
use shunt_dataplane::forwarding::{
    BuildError, Builder, ForwardingState, Options, Path, Persistence as CompiledPersistence, Real, RealSpec,
    ServiceKey as CompiledKey, ServiceSpec,
};
use shunt_dataplane::packet::{MacAddress, Protocol as CompiledProtocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::MacHeader;

use crate::config::defaults;
use crate::health::vip::{self, VipView};
use crate::health::{CheckKey, Handshakes, HealthView, PassiveHealth, RealKey, Status, Weight};
use crate::link::Link;
use crate::model::{
    Http, Model, Persistence, Probe, Protocol, RealServer, ServiceKey, Timeouts, VipCheck, VirtualService,
};
use crate::neighbor::{Neighbor, NeighborKey, NeighborView};
use crate::quorum::{Alive, Quorums};
use crate::slow_start::{SlowStart, shares};
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
    /// What checks through the VIP found.
    pub vips: &'a VipView,
    /// Who fails for its clients.
    pub passive: &'a PassiveHealth,
    /// Which services have too few real servers.
    pub quorums: &'a Quorums,
    /// Who has not its whole weight yet.
    pub slow_start: &'a SlowStart,
    /// The real servers' MAC addresses.
    pub neighbors: &'a NeighborView,
}

/// How a real server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Takes what its weight says.
    Up,
    /// Takes nothing, and why.
    Down(String),
    /// Takes nothing yet: its first check, or its MAC address, is still awaited.
    Waiting(&'static str),
}

impl Standing {
    /// Whether it takes what its weight says.
    pub fn is_up(&self) -> bool {
        matches!(self, Standing::Up)
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
        Protocol::Sctp => CompiledProtocol::Sctp,
    };
    CompiledKey { address: key.vip.into(), ports: key.ports, protocol }
}

/// How a service treats its flows.
pub fn options(service: &VirtualService) -> Options {
    Options {
        policy: service.scheduler,
        persistence: service.persistence.map(|persistence| self::persistence(persistence, service.is_ipv6())),
        one_packet: service.one_packet,
        on_failure: service.on_failure,
        no_real: service.no_real,
        timeouts: timeouts(&service.timeouts),
        strict: service.strict,
        keep_ttl: service.keep_ttl,
        table_share: service.table_share,
    }
}

/// Timeouts by state of a flow.
fn timeouts(timeouts: &Timeouts) -> CompiledTimeouts {
    let Timeouts { syn, established, fin, closed, udp, sctp } = *timeouts;
    // What may be a flood's is remembered no longer than a handshake.
    let [syn, established, fin, closed, udp, sctp] = [syn, established, fin, closed, udp, sctp].map(ticks);
    [
        (FlowState::SynReceived, syn),
        (FlowState::Midway, syn.min(established)),
        (FlowState::Established, established),
        (FlowState::FinWait, fin),
        (FlowState::TimeWait, fin),
        (FlowState::Closed, closed),
        (FlowState::UdpNew, udp),
        (FlowState::Udp, udp),
        (FlowState::SctpNew, syn.min(sctp)),
        (FlowState::Sctp, sctp),
    ]
    .into_iter()
    .fold(CompiledTimeouts::default(), |all, (state, ticks)| all.with(state, ticks))
}

/// How the handshakes of a real server went so far.
pub fn handshakes(real: &Real) -> Handshakes {
    let counters = real.counters();
    Handshakes {
        completed: counters.total(|c| &c.handshakes_completed),
        retransmitted: counters.total(|c| &c.handshakes_retransmitted),
        reset: counters.total(|c| &c.handshakes_reset),
    }
}

fn persistence(persistence: Persistence, is_ipv6: bool) -> CompiledPersistence {
    // An IPv4 address is the end of its mapped form: all clients have the 96 bits before it.
    let bits = u32::from(persistence.prefix) + if is_ipv6 { 0 } else { 96 };
    let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    CompiledPersistence { timeout: ticks(persistence.timeout), mask }
}

/// A time in ticks, rounded up.
fn ticks(duration: Duration) -> u32 {
    let ticks = (duration.as_millis() * u128::from(TICKS_PER_SECOND)).div_ceil(1000);
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

impl Inputs<'_> {
    fn service(&self, service: &VirtualService) -> ServiceSpec {
        let steps: Vec<(u16, Option<u32>)> = service
            .reals
            .iter()
            .map(|real| (self.weight(real), self.slow_start.step(&(service.key, real.address))))
            .collect();
        let is_sorry = self.is_sorry(service);
        let reals = service.reals.iter().zip(&steps).zip(shares(service.scheduler, &steps));
        let mut specs: Vec<RealSpec> = reals
            .map(|((real, (weight, _)), share)| {
                let is_up = self.standing(service, real).is_up();
                RealSpec {
                    address: real.address.into(),
                    weight: *weight,
                    share,
                    thresholds: real.thresholds,
                    healthy: is_up && !is_sorry,
                    // Who lives while the sorry server answers is spared new flows, not its old ones.
                    keeps_flows: real.inhibit || is_up,
                    path: self.path(real),
                }
            })
            .collect();
        specs.extend(self.sorry(service, is_sorry));
        ServiceSpec { key: compiled_key(&service.key), options: options(service), reals: specs }
    }

    /// The sorry server while it answers, and after that as long as it keeps its flows.
    fn sorry(&self, service: &VirtualService, answers: bool) -> Option<RealSpec> {
        let sorry = service.quorum.sorry.as_ref().filter(|sorry| answers || sorry.inhibit)?;
        let weight = if answers { sorry.server.weight } else { 0 };
        Some(RealSpec {
            address: sorry.server.address.into(),
            weight,
            share: weight,
            thresholds: sorry.server.thresholds,
            healthy: self.standing(service, &sorry.server).is_up(),
            keeps_flows: false,
            path: self.path(&sorry.server),
        })
    }

    /// Whether the sorry server answers for a service.
    pub fn is_sorry(&self, service: &VirtualService) -> bool {
        service.quorum.sorry.is_some() && self.quorums.is_lost(&service.key)
    }

    /// The weight of a real server: as configured, or as its checks say.
    pub fn weight(&self, real: &RealServer) -> u16 {
        let weights = real.checks.iter().filter_map(|check| {
            self.health.weight(&CheckKey { address: real.address, check: check.clone() })
        });
        let weight = weights.fold(i64::from(real.weight), |weight, said| match said {
            // As a difference to the configured one, so that the order of the checks does not matter.
            Weight::Set(said) => weight + i64::from(said) - i64::from(real.weight),
            Weight::Add(more) => weight + i64::from(more),
        });
        u16::try_from(weight.max(0)).unwrap_or(u16::MAX)
    }

    /// The live real servers of a service.
    pub fn alive(&self, service: &VirtualService, standing: impl Fn(&RealServer) -> Standing) -> Alive {
        let mut alive = Alive::default();
        for real in &service.reals {
            match standing(real) {
                Standing::Up => alive.weight += u64::from(self.weight(real)),
                Standing::Waiting(_) => alive.is_waiting = true,
                Standing::Down(_) => {}
            }
        }
        alive
    }

    /// How frames reach a real server, as far as that is known; also one that is down.
    pub fn path(&self, real: &RealServer) -> Option<Path> {
        let (way, surveyed) = self.survey.way(real)?;
        let link = self.links.get(&surveyed.index).filter(|link| link.usable())?;
        let mac = match real.mac {
            Some(mac) => mac,
            None => self.neighbors.mac(NeighborKey { index: link.index, address: real.address })?,
        };
        let mtu = real.mtu.map(u32::from).or(way.mtu).unwrap_or(link.mtu).min(link.mtu);
        Some(Path {
            header: MacHeader::new(MacAddress(mac), MacAddress(link.mac)),
            port: PortId(way.port as u8),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            vlan: real.vlan,
        })
    }

    /// How probes through the VIP reach a real server: as its clients' frames do.
    fn vip_path(&self, real: &RealServer) -> Option<vip::Path> {
        let (_, surveyed) = self.survey.way(real)?;
        let (path, link) = (self.path(real)?, self.links.get(&surveyed.index)?);
        Some(vip::Path {
            index: link.index,
            interface: link.name.clone(),
            own_mac: link.mac,
            mac: path.header.destination().0,
            is_fixed: real.mac.is_some(),
            mtu: path.mtu,
            vlan: real.vlan,
        })
    }

    /// A real server as workers have it in `state`.
    pub fn compiled<'s>(
        &self,
        state: &'s ForwardingState,
        service: &VirtualService,
        real: &RealServer,
    ) -> Option<&'s Real> {
        let service = state.service(state.find(&compiled_key(&service.key))?)?;
        service.reals().map(|(_, real)| real).find(|compiled| compiled.address() == real.address.into())
    }

    /// How a real server stands.
    pub fn standing(&self, service: &VirtualService, real: &RealServer) -> Standing {
        match (self.standing_but_for_clients(service, real), self.passive.out(&(service.key, real.address))) {
            (Standing::Up, Some(out)) => Standing::Down(out.reason.clone()),
            (standing, _) => standing,
        }
    }

    /// How a real server stands, whatever its clients see. The causes are asked in the order in which one explains
    /// the next.
    pub fn standing_but_for_clients(&self, service: &VirtualService, real: &RealServer) -> Standing {
        let Some((_, surveyed)) = self.survey.way(real) else {
            return Standing::Down("the way to it is not known".into());
        };
        let link = match self.links.get(&surveyed.index) {
            Some(link) if link.usable() => link,
            Some(link) if link.up => return Standing::Down(format!("{} has no carrier", link.name)),
            _ => return Standing::Down(format!("{} is down", surveyed.name)),
        };
        let key = NeighborKey { index: link.index, address: real.address };
        match self.neighbors.neighbor(key) {
            _ if real.mac.is_some() => {}
            Neighbor::Resolved(_) => {}
            Neighbor::Resolving => return Standing::Waiting("its MAC address is asked for"),
            Neighbor::Failed { .. } => {
                let asked = if real.address.is_ipv4() { "ARP" } else { "neighbour solicitations" };
                return Standing::Down(format!("does not answer {asked} on {}", link.name));
            }
        }
        match self.checked(real) {
            Standing::Up if service.vip_check == VipCheck::Decides => self.checked_through_vip(service, real),
            standing => standing,
        }
    }

    /// What its check through the VIP says; what its own checks see too is left to them.
    fn checked_through_vip(&self, service: &VirtualService, real: &RealServer) -> Standing {
        let Some(health) = self.vips.health(&(service.key, real.address)) else { return Standing::Up };
        match health.down(!real.checks.is_empty()) {
            Some(words) => Standing::Down(format!("VIP check failed: {words}")),
            None if health.is_awaited() => Standing::Waiting("its first check through the VIP is under way"),
            None => Standing::Up,
        }
    }

    /// What its checks say. One that fails is enough; which one is told.
    fn checked(&self, real: &RealServer) -> Standing {
        let mut standing = Standing::Up;
        for check in &real.checks {
            let key = CheckKey { address: real.address, check: check.clone() };
            match self.health.status(&key) {
                Status::Up => {}
                Status::Unknown => standing = Standing::Waiting("its first check is under way"),
                Status::Down => {
                    let error = self.health.health(&key).and_then(|health| health.last_error());
                    return Standing::Down(format!("check failed: {}", error.unwrap_or("no answer")));
                }
            }
        }
        standing
    }
}

/// The checks through VIPs that are asked for, and the ways they take; `was_up` says who serves by what was known so
/// far.
pub fn vip_checks<'a>(
    inputs: Inputs<'a>,
    was_up: impl Fn(&RealKey) -> bool + 'a,
) -> impl Iterator<Item = vip::Wanted> + 'a {
    let services = inputs.model.services.iter().filter(|service| service.vip_check != VipCheck::Off);
    let reals = services.flat_map(|service| service.reals.iter().map(move |real| (service, real)));
    reals.map(move |(service, real)| {
        let key = (service.key, real.address);
        let interval = real.checks.first().map_or(defaults::INTERVAL, |check| check.timing.interval);
        let subject = vip::Subject { vip: service.key.vip, real: real.address, kind: kind(service, real) };
        vip::Wanted { key, subject, interval, path: inputs.vip_path(real), was_up: was_up(&key) }
    })
}

/// How a service is asked through its VIP: as its first check asks the real server, where that is plain.
fn kind(service: &VirtualService, real: &RealServer) -> vip::Kind {
    let (Protocol::Tcp, Some(port)) = (service.key.protocol, service.key.ports.single()) else {
        return vip::Kind::Echo;
    };
    let Some(check) = real.checks.first().filter(|check| {
        check.target.port == port && check.target.address.is_none_or(|address| address == real.address)
    }) else {
        return vip::Kind::Tcp(port);
    };
    match &check.probe {
        Probe::Http(http @ Http { tls: None, requests, .. }) if !requests.is_empty() => {
            vip::Kind::Http(port, vip::Request::of(http, service.key.vip, check.timing.timeout))
        }
        _ => vip::Kind::Tcp(port),
    }
}

/// The checks a model asks for.
pub fn checks(model: &Model) -> impl Iterator<Item = CheckKey> + '_ {
    let reals = model.services.iter().flat_map(|service| &service.reals);
    reals.flat_map(|real| {
        real.checks.iter().map(|check| CheckKey { address: real.address, check: check.clone() })
    })
}

/// The neighbours a model asks for: who has a fixed MAC address is not asked.
pub fn neighbors<'a>(model: &'a Model, survey: &'a Survey) -> impl Iterator<Item = NeighborKey> + 'a {
    let reals = model.services.iter().flat_map(VirtualService::servers).filter(|real| real.mac.is_none());
    reals.filter_map(|real| {
        let (_, link) = survey.way(real)?;
        Some(NeighborKey { index: link.index, address: real.address })
    })
}

/// The ways to an address, whichever service asks for it.
pub fn neighbors_at<'a>(
    model: &'a Model,
    survey: &'a Survey,
    address: IpAddr,
) -> impl Iterator<Item = NeighborKey> + 'a {
    neighbors(model, survey).filter(move |key| key.address == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Facts, Health};
    use crate::model::{HashFlags, NoReal, OnFailure, Ports, Sorry, Thresholds, Vlan};
    use crate::survey::Way;
    use shunt_dataplane::forwarding::RealState;
    use shunt_dataplane::hash::HashKey;
    use shunt_dataplane::schedule::Policy;
    use std::time::Instant;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];

    /// One service with one real server, on one interface.
    struct World {
        model: Model,
        survey: Survey,
        links: BTreeMap<u32, Link>,
        health: HealthView,
        neighbors: NeighborView,
        passive: PassiveHealth,
        quorums: Quorums,
        slow_start: SlowStart,
        vips: VipView,
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
                strips_tags: false,
            };
            let address = model.services[0].reals[0].address;
            let mut world = World {
                survey: Survey {
                    interfaces: vec![link.clone()],
                    ways: [((address, None), Way { port: 0, mtu: None })].into(),
                },
                passive: PassiveHealth::default(),
                quorums: Quorums::default(),
                vips: VipView::default(),
                slow_start: SlowStart::default(),
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
                passive: &self.passive,
                quorums: &self.quorums,
                vips: &self.vips,
                slow_start: &self.slow_start,
            }
        }

        /// The first service as workers have it.
        fn compiled<T>(&self, of: impl FnOnce(&shunt_dataplane::forwarding::Service) -> T) -> T {
            let state = compile(self.inputs(), &ForwardingState::empty(HashKey([0, 0])), 1).unwrap();
            of(state.services().next().unwrap().1)
        }

        fn path(&self) -> Option<Path> {
            self.compiled(|service| service.reals().next().unwrap().1.path().copied())
        }

        fn real(&mut self) -> &mut RealServer {
            &mut self.model.services[0].reals[0]
        }

        fn standing(&self) -> Standing {
            self.inputs().standing(&self.model.services[0], &self.model.services[0].reals[0])
        }

        fn state(&self) -> RealState {
            self.compiled(|service| service.reals().next().unwrap().1.state())
        }
    }

    #[test]
    fn a_healthy_resolved_real_server_is_up_by_the_current_mac_addresses() {
        let world = World::new();
        let header = MacHeader::new(MacAddress(MAC), MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(world.standing(), Standing::Up);
        assert_eq!(world.path(), Some(Path { header, port: PortId(0), mtu: 1500, vlan: Vlan::Keep }));
        assert_eq!(world.state(), RealState::Up);
    }

    #[test]
    fn who_is_down_keeps_its_path_while_its_mac_address_is_known() {
        let mut world = World::new();
        let path = world.path();
        world.checked(Err("connection refused".into()));
        assert_eq!((world.state(), world.path()), (RealState::Down, path));
        world.neighbors = NeighborView::default();
        assert_eq!(world.path(), None);
    }

    #[test]
    fn the_smallest_of_the_mtus_on_the_way_counts_and_the_configured_one_beats_the_route() {
        let mut world = World::new();
        let mtu = |world: &World| world.path().unwrap().mtu;
        world.survey.ways.values_mut().for_each(|way| way.mtu = Some(1400));
        assert_eq!(mtu(&world), 1400);
        world.real().mtu = Some(1450);
        assert_eq!(mtu(&world), 1450);
        world.links.get_mut(&2).unwrap().mtu = 1300;
        assert_eq!(mtu(&world), 1300);
    }

    #[test]
    fn a_fixed_mac_address_is_used_and_nobody_is_asked() {
        let mut world = World::new();
        world.neighbors = NeighborView::default();
        world.real().mac = Some([2, 0, 0, 0, 0, 0x99]);
        world.real().vlan = Vlan::Tagged(100);
        let path = world.path().unwrap();
        assert_eq!(path.header.destination(), MacAddress([2, 0, 0, 0, 0, 0x99]));
        assert_eq!(path.vlan, Vlan::Tagged(100));
        assert_eq!(world.standing(), Standing::Up);
        assert_eq!(neighbors(&world.model, &world.survey).count(), 0);
    }

    #[test]
    fn who_fails_for_its_clients_is_down_though_its_check_passes() {
        let mut world = World::new();
        let second = RealServer { address: "192.0.2.22".parse().unwrap(), ..world.real().clone() };
        world.model.services[0].reals.push(second);
        world.model.services[0].passive = Some(crate::config::defaults::PASSIVE);
        let model = world.model.clone();
        let start = Instant::now();
        for (second, retransmitted) in [(1, 0), (2, 60)] {
            let handshakes = Handshakes { retransmitted, ..Handshakes::default() };
            world.passive.observe(start + Duration::from_secs(second), &model, |_, real| {
                let is_first = real.address == model.services[0].reals[0].address;
                let handshakes = if is_first { handshakes } else { Handshakes::default() };
                Some(Facts { handshakes, is_up: true })
            });
        }
        assert_eq!(world.standing(), Standing::Down("fails for its clients: 60 of 60 handshakes".into()));
        assert_eq!(world.state(), RealState::Down);
        let inputs = world.inputs();
        let (service, real) = (&world.model.services[0], &world.model.services[0].reals[0]);
        assert_eq!(inputs.standing_but_for_clients(service, real), Standing::Up);
    }

    #[test]
    fn the_sorry_server_answers_while_the_quorum_is_lost() {
        let mut world = World::new();
        let sorry =
            RealServer { checks: vec![], address: "192.0.2.99".parse().unwrap(), ..world.real().clone() };
        let way = *world.survey.ways.values().next().unwrap();
        world.survey.ways.insert((sorry.address, None), way);
        let key = NeighborKey { index: 2, address: sorry.address };
        let mut known: Vec<_> = neighbors(&world.model, &world.survey).collect();
        known.push(key);
        world.neighbors = known.into_iter().map(|key| (key, Neighbor::Resolved(MAC))).collect();
        let quorum = &mut world.model.services[0].quorum;
        (quorum.needed, quorum.sorry) = (2, Some(Sorry { server: sorry, inhibit: false }));
        let states = |world: &World| -> Vec<(String, RealState, bool)> {
            world.compiled(|service| {
                let reals = service.reals().map(|(_, real)| real);
                reals.map(|real| (real.address().to_string(), real.state(), real.keeps_flows())).collect()
            })
        };
        assert_eq!(states(&world), [("192.0.2.21".to_owned(), RealState::Up, true)]);
        let model = world.model.clone();
        let mut quorums = Quorums::default();
        let alive = world.inputs().alive(&model.services[0], |_| Standing::Up);
        assert_eq!(alive, Alive { weight: 1, is_waiting: false });
        quorums.follow(&model, |_| alive);
        world.quorums = quorums;
        let (first, second) = ("192.0.2.21".to_owned(), "192.0.2.99".to_owned());
        // Who lives keeps the flows it has.
        let expected = [(first.clone(), RealState::Down, true), (second.clone(), RealState::Up, false)];
        assert_eq!(states(&world), expected);
        world.quorums = Quorums::default();
        assert_eq!(states(&world), [(first.clone(), RealState::Up, true)]);
        world.model.services[0].quorum.sorry.as_mut().unwrap().inhibit = true;
        assert_eq!(states(&world), [(first, RealState::Up, true), (second, RealState::Draining, false)]);
    }

    #[test]
    fn a_failed_real_server_keeps_its_flows_if_it_is_to() {
        let mut world = World::new();
        let keeps = |world: &World| world.compiled(|service| service.reals().next().unwrap().1.keeps_flows());
        world.checked(Err("connection refused".into()));
        assert!(!keeps(&world));
        world.real().inhibit = true;
        assert!(keeps(&world));
    }

    #[test]
    fn who_comes_back_has_a_smaller_share() {
        let mut world = World::new();
        world.model.services[0].slow_start = Some(Duration::from_secs(60));
        let start = Instant::now();
        world.slow_start.follow(start, &world.model, |_| false, |_| true);
        world.slow_start.advance(start + Duration::from_secs(30));
        let real = |world: &World| {
            world.compiled(|service| {
                let (_, real) = service.reals().next().unwrap();
                (real.weight(), real.share())
            })
        };
        assert_eq!(real(&world), (1, 5));
        world.slow_start.advance(start + Duration::from_secs(60));
        assert_eq!(real(&world), (1, 1));
    }

    #[test]
    fn a_service_is_compiled_with_all_its_options() {
        let text = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = \"8000-8100\"\n\
                    protocol = \"tcp\"\nscheduler = \"mh\"\nscheduler_flags = [\"mh-port\"]\npersistence = \"300s\"\n\
                    persistence_prefix = 24\non_failure = \"keep\"\nno_real = \"drop\"\nstrict = true\nttl = \"keep\"\n\
                    table_share = \"12.5%\"\n[[service.real]]\naddress = \"192.0.2.21\"\nupper = 10\nlower = 5\n";
        let mut world = World::new();
        world.model = crate::config::parse("world.toml", text).unwrap().model;
        let mask = u128::MAX << 8;
        let expected = Options {
            policy: Policy::Mh(HashFlags { port: true, fallback: false }),
            persistence: Some(CompiledPersistence { timeout: 1200, mask }),
            one_packet: false,
            on_failure: OnFailure::Keep,
            no_real: NoReal::Silent,
            timeouts: CompiledTimeouts::default(),
            strict: true,
            keep_ttl: true,
            table_share: 125,
        };
        world.compiled(|service| {
            assert_eq!(*service.options(), expected);
            assert_eq!(service.key().ports, Ports { first: 8000, last: 8100 });
            let (_, real) = service.reals().next().unwrap();
            assert_eq!(real.thresholds(), Thresholds { upper: 10, lower: 5 });
        });
    }

    #[test]
    fn the_default_timeouts_are_the_dataplanes() {
        assert_eq!(timeouts(&crate::config::defaults::TIMEOUTS), CompiledTimeouts::default());
    }

    #[test]
    fn a_prefix_counts_from_the_front_of_its_family() {
        let mask = |prefix, is_ipv6| {
            persistence(Persistence { timeout: Duration::from_millis(1100), prefix }, is_ipv6).mask
        };
        assert_eq!(mask(32, false), u128::MAX);
        assert_eq!(mask(24, false), u128::MAX << 8);
        assert_eq!(mask(1, false), u128::MAX << 31);
        assert_eq!(mask(128, true), u128::MAX);
        assert_eq!(mask(64, true), u128::MAX << 64);
        assert_eq!(mask(1, true), 1 << 127);
        assert_eq!(ticks(Duration::from_millis(1100)), 5, "rounded up");
        assert_eq!(ticks(Duration::from_secs(31 * 86_400)), 10_713_600);
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
        world.model.services.push(second);
        let keys: std::collections::HashSet<_> = checks(&world.model).collect();
        assert_eq!(keys.len(), 1);
        world.model.services[1].reals[0].checks[0].timing.timeout = Duration::from_millis(7);
        let keys: std::collections::HashSet<_> = checks(&world.model).collect();
        assert_eq!(keys.len(), 2);
    }
}

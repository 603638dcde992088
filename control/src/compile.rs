//! model + machine + health + neighbours -> forwarding state. Pure: the only bridge to the dataplane, and the only
//! place that decides whether a real server is up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashSet;
use shunt_dataplane::clock::TICKS_PER_SECOND;
use shunt_dataplane::flow::{FlowState, Timeouts as CompiledTimeouts};
use shunt_dataplane::forwarding::{
    BuildError, Builder, ForwardingState, NoReal, Options, Path, Persistence as CompiledPersistence, Real,
    RealSpec, ServiceKey as CompiledKey, ServiceSpec,
};
use shunt_dataplane::packet::{MacAddress, Protocol as CompiledProtocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::MacHeader;

use crate::config::defaults;
use crate::health::vip::{self, VipView};
use crate::health::{CheckKey, Handshakes, Health, HealthView, PassiveHealth, RealKey, Status, Weight};
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
    /// The start is over: what is not known by now is not waited for.
    pub is_ready: bool,
    /// A link of the director's own was down just now: who seems to have failed may be found again at once.
    pub is_seeking: bool,
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
    Builder::after(previous, workers, inputs.survey.interfaces.len()).build(&inputs.specs())
}

/// As [`compile`], to be looked at and never published: nothing that workers read changes by it.
///
/// # Errors
/// As [`compile`].
pub fn compile_on_trial(
    inputs: Inputs<'_>,
    previous: &ForwardingState,
    workers: usize,
) -> Result<ForwardingState, BuildError> {
    let builder = Builder::after(previous, workers, inputs.survey.interfaces.len());
    builder.on_trial().build(&inputs.specs())
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
    /// What the services are compiled from, in the order of the model.
    pub fn specs(&self) -> Vec<ServiceSpec> {
        self.model.services.iter().map(|service| self.spec(service)).collect()
    }

    /// What a service is compiled from: a function of what is known of its own real servers, and of what concerns all.
    pub fn spec(&self, service: &VirtualService) -> ServiceSpec {
        let steps: Vec<(u16, Option<u32>)> = service
            .reals
            .iter()
            .map(|real| (self.weight(real), self.slow_start.step(&(service.key, real.address))))
            .collect();
        let is_sorry = self.is_sorry(service);
        let reals = service.reals.iter().zip(&steps).zip(shares(service.scheduler, &steps));
        // What is wrong on this side of the link says nothing about who is on the other one.
        let is_unsure = |real: &RealServer| self.is_seeking || self.is_cut_off(real);
        let mut specs: Vec<RealSpec> = reals
            .map(|((real, (weight, _)), share)| {
                let is_up = self.standing(service, real).is_up();
                RealSpec {
                    address: real.address.into(),
                    weight: *weight,
                    share,
                    thresholds: real.thresholds,
                    healthy: is_up && !is_sorry && self.is_ready,
                    // Who lives while the sorry server answers is spared new flows, not its old ones.
                    keeps_flows: real.inhibit || is_up || is_unsure(real),
                    path: self.path(real),
                }
            })
            .collect();
        specs.extend(self.sorry(service, is_sorry));
        let mut options = options(service);
        if !self.is_ready || service.reals.iter().any(is_unsure) {
            // By those real servers alone that are known so far the hash would send old connections elsewhere, and new ones
            // would be told that nobody is there. Clients send again what nobody answers.
            options.no_real = NoReal::Silent;
        }
        ServiceSpec { key: compiled_key(&service.key), options, reals: specs }
    }

    /// Whether the interface to it, the director's own, cannot be used.
    fn is_cut_off(&self, real: &RealServer) -> bool {
        let link = self.survey.way(real).map(|(_, surveyed)| self.links.get(&surveyed.index));
        link.is_some_and(|link| !link.is_some_and(Link::usable))
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
        let of = |check| self.health.of(real.address, check).and_then(Health::weight);
        let weights = real.checks.iter().filter_map(of);
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
            let health = self.health.of(real.address, check);
            match health.map_or(Status::Unknown, Health::status) {
                Status::Up => {}
                Status::Unknown => standing = Standing::Waiting("its first check is under way"),
                Status::Down => {
                    let error = health.and_then(Health::last_error);
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
    model.services.iter().flat_map(checks_of)
}

/// The checks a service asks for.
pub fn checks_of(service: &VirtualService) -> impl Iterator<Item = CheckKey> + '_ {
    service.reals.iter().flat_map(|real| {
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

/// The ways to these addresses, whichever services ask for them; each once.
pub fn neighbors_at(model: &Model, survey: &Survey, addresses: &HashSet<IpAddr>) -> BTreeSet<NeighborKey> {
    neighbors(model, survey).filter(|key| addresses.contains(&key.address)).collect()
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;

//! Services of every kind, whose options an input chooses, and what becomes of their real servers meanwhile.

use shunt_dataplane::flow::{FlowState, Timeouts};
use shunt_dataplane::forwarding::{
    NoReal, OnFailure, Options, Path, Persistence, Ports, RealSpec, ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::packet::{Address, Protocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::Vlan;
use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::input::Input;
use crate::rig::{VIP, VIP6, real};
use crate::wire::Reading;

/// Real servers of each service.
pub const REALS: u8 = 4;
/// What the way to one of them takes at most.
const SMALL_MTU: u16 = 600;
const VLAN: u16 = 100;

/// What a real server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Up,
    Draining,
    Unhealthy,
    /// Its MAC address is not known.
    Unreachable,
    Removed,
}

/// A service and what becomes of it.
struct Kind {
    key: ServiceKey,
    options: Options,
    has_thresholds: bool,
    is_live: bool,
    reals: [Status; REALS as usize],
    /// Whether the way to a real server was known when it was configured last.
    reachable: [bool; REALS as usize],
}

/// All services.
pub struct Services(Vec<Kind>);

const ANY: Ports = Ports::ANY;

impl Services {
    /// One of every kind, with the options that the input says.
    pub fn new(input: &mut Input<'_>) -> Self {
        let (v4, v6) = (Address::from(VIP), Address::from(std::net::IpAddr::V6(VIP6)));
        let range = |first, last| Ports { first, last };
        let keys = [
            (v4, Ports::exact(80), Protocol::Tcp),
            (v4, Ports::exact(53), Protocol::Udp),
            (v4, ANY, Protocol::Sctp),
            (v4, range(8000, 8999), Protocol::Tcp),
            (v4, ANY, Protocol::Udp),
            (v6, Ports::exact(80), Protocol::Tcp),
            (v6, range(50, 60), Protocol::Udp),
            (v6, Ports::exact(5060), Protocol::Sctp),
            (v6, ANY, Protocol::Tcp),
        ];
        let kind = |(address, ports, protocol)| {
            let key = ServiceKey { address, ports, protocol };
            let (treatment, flags) = (input.byte(), input.byte());
            Kind {
                key,
                options: options(&key, treatment, flags),
                has_thresholds: flags & 0x40 != 0,
                is_live: true,
                reals: [Status::Up; REALS as usize],
                reachable: [true; REALS as usize],
            }
        };
        Services(keys.into_iter().map(kind).collect())
    }

    /// Something happens to a service, or to one of its real servers.
    pub fn change(&mut self, input: &mut Input<'_>) {
        let (which, what) = (usize::from(input.byte()), input.byte());
        let count = self.0.len();
        let kind = &mut self.0[which % count];
        let n = usize::from(what / 8 % REALS);
        let status = match what % 8 {
            0 | 1 => Status::Up,
            2 => Status::Draining,
            3 => Status::Unhealthy,
            4 => Status::Unreachable,
            5 => Status::Removed,
            6 => return kind.reals.fill(Status::Unhealthy),
            _ => return kind.is_live = !kind.is_live,
        };
        kind.reals[n] = status;
    }

    /// What control would tell the dataplane.
    pub fn specs(&mut self) -> Vec<ServiceSpec> {
        for kind in self.0.iter_mut().filter(|kind| kind.is_live) {
            for (reachable, status) in kind.reachable.iter_mut().zip(kind.reals) {
                *reachable =
                    if status == Status::Removed { *reachable } else { status != Status::Unreachable };
            }
        }
        let live = self.0.iter().enumerate().filter(|(_, kind)| kind.is_live);
        live.map(|(service, kind)| ServiceSpec {
            key: kind.key,
            options: kind.options,
            reals: (0..REALS).filter_map(|n| kind.real(service as u8, n)).collect(),
        })
        .collect()
    }

    /// Panics unless real server `n` of `service` may get this packet.
    pub fn check_recipient(&self, service: u8, n: u8, reading: &Reading, frame: &[u8]) {
        let kind = &self.0[usize::from(service)];
        assert!(kind.is_live, "{:?} is gone", kind.key);
        assert!(kind.takes(reading, frame, self), "{:?} is not what {reading:?} is for", kind.key);
        let status = kind.reals[usize::from(n)];
        let may = match status {
            Status::Up | Status::Draining => true,
            Status::Unhealthy | Status::Removed => {
                kind.options.on_failure == OnFailure::Keep && kind.reachable[usize::from(n)]
            }
            Status::Unreachable => false,
        };
        assert!(may, "real server {n} of {:?} is {status:?}", kind.key);
    }

    /// How the frame for it is changed.
    pub fn treatment(&self, service: u8, n: u8) -> (Path, bool) {
        let kind = &self.0[usize::from(service)];
        (path(&kind.key, service, n), kind.options.keep_ttl)
    }

    /// The live service that a packet for these ports is for: the narrowest of those that take it.
    fn lookup(&self, vip: Address, protocol: u8, port: u16) -> Option<&Kind> {
        let takes = |kind: &&Kind| {
            let ServiceKey { address, ports, protocol: own } = kind.key;
            kind.is_live
                && address == vip
                && own as u8 == protocol
                && (ports.first..=ports.last).contains(&port)
        };
        self.0.iter().filter(takes).min_by_key(|kind| kind.key.ports.last - kind.key.ports.first)
    }
}

impl Kind {
    fn real(&self, service: u8, n: u8) -> Option<RealSpec> {
        let status = self.reals[usize::from(n)];
        let weight = if status == Status::Draining { 0 } else { u16::from(n) + 1 };
        let thresholds = match (self.has_thresholds, n) {
            (true, 0) => Thresholds { upper: 2, lower: 1 },
            (true, 1) => Thresholds { upper: 3, lower: 0 },
            _ => Thresholds::default(),
        };
        let path = (status != Status::Unreachable).then(|| path(&self.key, service, n));
        let healthy = status != Status::Unhealthy;
        let spec =
            RealSpec { weight, share: weight, thresholds, healthy, path, ..real(&self.key, service, n) };
        Some(spec).filter(|_| status != Status::Removed)
    }

    /// Whether a packet is for this service, as far as can be told.
    fn takes(&self, reading: &Reading, frame: &[u8], all: &Services) -> bool {
        if self.key.address != reading.vip() {
            return false;
        }
        match reading.protocol {
            // About a flow of whichever service of that VIP.
            1 | 58 => true,
            protocol if reading.is_later => self.key.protocol as u8 == protocol,
            protocol => {
                let port = reading.ports(frame).map_or(0, |(_, port)| port);
                all.lookup(reading.vip(), protocol, port).is_some_and(|kind| kind.key == self.key)
            }
        }
    }
}

/// Every second one is behind port 1; one has a small MTU, one lives in a VLAN of its own, one in none.
fn path(key: &ServiceKey, service: u8, n: u8) -> Path {
    let path = real(key, service, n).path.expect("every real server is reachable there");
    let vlan = [Vlan::Keep, Vlan::Untagged, Vlan::Keep, Vlan::Tagged(VLAN)][usize::from(n)];
    let mtu = if n == 2 { SMALL_MTU } else { 1500 };
    Path { port: PortId(n % 2), mtu, vlan, ..path }
}

fn options(key: &ServiceKey, treatment: u8, flags: u8) -> Options {
    let hash = |port, fallback| HashFlags { port, fallback };
    let policies = [
        Policy::Rr,
        Policy::Wrr,
        Policy::Lc,
        Policy::Wlc,
        Policy::Sed,
        Policy::Nq,
        Policy::Sh(hash(true, flags & 0x10 != 0)),
        Policy::Dh,
        Policy::Mh(hash(flags & 0x20 != 0, flags & 0x10 != 0)),
        Policy::Fo,
        Policy::Ovf,
        Policy::Lblc,
        Policy::Lblcr,
        Policy::Twos,
        Policy::Sh(hash(false, flags & 0x10 != 0)),
        Policy::Maglev,
    ];
    let on_failures = [OnFailure::Reset, OnFailure::Rehash, OnFailure::Keep, OnFailure::Reset];
    let no_reals = [NoReal::Unreachable, NoReal::Reset, NoReal::Silent, NoReal::Unreachable];
    // A few clients, in either family.
    let mask = if treatment & 0x10 != 0 { u128::MAX } else { u128::MAX << 8 };
    let persistence = (flags & 1 != 0).then_some(Persistence { timeout: 100, mask });
    let short = |all: Timeouts, state| all.with(state, 8);
    let timeouts = match flags & 0x80 {
        0 => Timeouts::default(),
        _ => FlowState::ALL.into_iter().fold(Timeouts::default(), short),
    };
    let policy = match policies[usize::from(treatment & 15)] {
        // A table takes as long to build as all else in a short input: one service may have one, rarely.
        Policy::Maglev if key.ports.single() != Some(53) || treatment & 0x30 != 0 => Policy::Twos,
        policy => policy,
    };
    Options {
        policy,
        persistence,
        one_packet: flags & 2 != 0 && key.protocol == Protocol::Udp && persistence.is_none(),
        on_failure: on_failures[usize::from(treatment >> 4 & 3)],
        no_real: no_reals[usize::from(treatment >> 6)],
        timeouts,
        strict: flags & 4 != 0,
        keep_ttl: flags & 8 != 0,
        table_share: [1000, 500, 100, 1][usize::from(flags >> 4 & 3)],
    }
}

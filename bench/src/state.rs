//! The forwarding state of the benchmarks.

use shunt_dataplane::forwarding::{
    Builder, ForwardingState, Options, Path, Ports, RealSpec, ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::{MacHeader, Vlan};

use crate::traffic::{Family, PORT, vip};

/// Key of the scheduling hash.
pub const KEY: HashKey = HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
const REALS: u16 = 10;
/// Services beside the one that is measured.
const OTHER_SERVICES: u16 = 100;

/// The MAC addresses of frames to real server number `n`.
pub fn header(n: u16) -> MacHeader {
    let [e, f] = n.to_be_bytes();
    MacHeader::new(MacAddress([2, 0, 0, 0, e, f]), MacAddress([0x00, 0x00, 0x5e, 0x00, 0x53, 0x0d]))
}

/// So many services with ten real servers each, all of one VIP and of ports from `PORT` on.
pub fn services(family: Family, count: u16, options: Options) -> Vec<ServiceSpec> {
    let key = |port| ServiceKey { address: vip(family), ports: Ports::exact(port), protocol: Protocol::Tcp };
    let reals: Vec<RealSpec> = (0..REALS).map(real).collect();
    (0..count).map(|n| ServiceSpec { key: key(PORT + n), options, reals: reals.clone() }).collect()
}

/// The state of these services.
pub fn of(specs: &[ServiceSpec]) -> ForwardingState {
    Builder::after(&ForwardingState::empty(KEY), 1, 1).build(specs).expect("a good specification")
}

/// One service with ten real servers among a hundred others.
pub fn state() -> ForwardingState {
    let mut specs = services(Family::Ipv4, 1 + OTHER_SERVICES, Options::default());
    specs[1..].iter_mut().for_each(|spec| spec.reals.clear());
    of(&specs)
}

fn real(n: u16) -> RealSpec {
    RealSpec {
        address: Address::from_v4(0xc613_0000 + u32::from(n)),
        weight: 1,
        share: 1,
        thresholds: Thresholds::default(),
        healthy: true,
        keeps_flows: false,
        path: Some(Path { header: header(n), port: PortId(0), mtu: 1500, vlan: Vlan::Keep }),
    }
}

//! The forwarding state of the benchmarks.

use shunt_dataplane::forwarding::{
    Builder, ForwardingState, Options, Path, Ports, RealSpec, ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::{MacHeader, Vlan};

use crate::traffic::{PORT, vip};

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

/// One service with ten real servers among a hundred others.
pub fn state() -> ForwardingState {
    let options = Options::default();
    let key = |port| ServiceKey { address: vip(), ports: Ports::exact(port), protocol: Protocol::Tcp };
    let real = |n: u16| RealSpec {
        address: Address::from_v4(0xc613_0000 + u32::from(n)),
        weight: 1,
        share: 1,
        thresholds: Thresholds::default(),
        healthy: true,
        keeps_flows: false,
        path: Some(Path { header: header(n), port: PortId(0), mtu: 1500, vlan: Vlan::Keep }),
    };
    let mut specs: Vec<ServiceSpec> =
        (0..OTHER_SERVICES).map(|n| ServiceSpec { key: key(1000 + n), options, reals: vec![] }).collect();
    specs.push(ServiceSpec { key: key(PORT), options, reals: (0..REALS).map(real).collect() });
    let empty = ForwardingState::empty(KEY);
    Builder::after(&empty, 1, 1).build(&specs).expect("a good specification")
}

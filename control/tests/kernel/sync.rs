//! Directors that tell each other of flows over a wire.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as File, PathBuf};
use std::time::{Duration, Instant};

use shunt::link::{Link, links};
use shunt::model::FlowSync;
use shunt::netlink::Netlink;
use shunt::sync::{Event, FlowSyncer};
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowState, FlowTable};
use shunt_dataplane::forwarding::{
    Builder, ForwardingState, Options, Path, Ports, RealSpec, ServiceKey, ServiceSpec, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::plane::Flows;
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::{MacHeader, Vlan};
use shunt_dataplane::schedule::Policy;

use crate::namespace::{DEADLINE, Namespace};

/// One director: what its worker remembers, and what it was told.
struct Director {
    syncer: FlowSyncer,
    state: ForwardingState,
    own: FlowTable,
    synced: FlowTable,
    events: Vec<Event>,
}

fn web() -> ServiceKey {
    let address = Ipv4Addr::new(192, 0, 2, 10).into();
    ServiceKey { address, ports: Ports::exact(80), protocol: Protocol::Tcp }
}

fn state() -> ForwardingState {
    let header = MacHeader::new(MacAddress([2; 6]), MacAddress([4; 6]));
    let path = Path { header, port: PortId(0), mtu: 1500, vlan: Vlan::Keep };
    let reals = (1..=3).map(|n| RealSpec {
        address: Ipv4Addr::new(192, 0, 2, 100 + n).into(),
        weight: 1,
        share: 1,
        thresholds: Thresholds::default(),
        healthy: true,
        keeps_flows: false,
        path: Some(path),
    });
    let options = Options { policy: Policy::Rr, ..Options::default() };
    let spec = ServiceSpec { key: web(), options, reals: reals.collect() };
    Builder::after(&ForwardingState::empty(HashKey([1, 2])), 1, 1).build(&[spec]).expect("it is right")
}

fn key_file(folder: &File, name: &str, digit: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, digit.repeat(64)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn settings(interface: &str, peer: IpAddr, key_file: &File) -> FlowSync {
    FlowSync {
        interface: interface.into(),
        peers: vec![peer],
        port: 7112,
        key_file: key_file.into(),
        rate: 20_000,
        wait: Duration::from_secs(30),
    }
}

fn links_of(namespace: &Namespace) -> BTreeMap<u32, Link> {
    let links = namespace.block_on(async || links(&Netlink::open().unwrap()).await.unwrap());
    links.into_iter().map(|link| (link.index, link)).collect()
}

impl Director {
    fn start(namespace: &Namespace, sync: &FlowSync) -> Director {
        let links = links_of(namespace);
        let syncer = namespace.run(|| FlowSyncer::start(sync, &links, Instant::now()).unwrap());
        let (own, synced) =
            (FlowTable::new(Capacity::each(4096), 1), FlowTable::new(Capacity::each(4096), 2));
        Director { syncer, state: state(), own, synced, events: Vec::new() }
    }

    fn tick(&mut self) {
        let reader = self.own.reader();
        let flows =
            Flows { state: &self.state, workers: vec![&reader], synced: &mut self.synced, now: Tick::new(0) };
        self.events.extend(self.syncer.tick(Instant::now(), flows));
    }

    /// Connection `n` is established with this real server.
    fn connect(&mut self, n: u16) {
        let (id, client) = (self.state.find(&web()).unwrap(), Address::from(Ipv4Addr::new(198, 51, 100, 7)));
        let key = FlowKey::new(client, n, 80, id);
        let (slot, real) = self.state.service(id).unwrap().reals().nth(usize::from(n % 3)).unwrap();
        let (state, expires) = (FlowState::Established, Tick::new(3600));
        let flow = Flow { real: slot, epoch: real.epoch(), state, expires };
        let place = self.own.slot(self.state.destination(&key).unwrap(), &key);
        self.own.insert(place, &key, flow, Tick::new(0), 1000, |_, _| false);
    }

    fn flows(table: &FlowTable) -> BTreeMap<u16, u16> {
        table.reader().iter().map(|(key, flow)| (key.client_port, flow.real.0)).collect()
    }
}

/// Ticks of both until `fact`.
fn until(what: &str, one: &mut Director, other: &mut Director, fact: impl Fn(&Director, &Director) -> bool) {
    let give_up = Instant::now() + DEADLINE;
    while !fact(one, other) {
        assert!(Instant::now() < give_up, "never happened: {what}\n{:#?}", other.syncer.view(Instant::now()));
        one.tick();
        other.tick();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn flows_cross(near_peer: &str, far_peer: &str) {
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "key", "a");
    let (near, far) = Namespace::pair_with_ipv6();
    let mut one = Director::start(&near, &settings("d0", near_peer.parse().unwrap(), &key));
    for n in 0..500 {
        one.connect(n);
    }
    let mut other = Director::start(&far, &settings("r0", far_peer.parse().unwrap(), &key));
    until("the joining one has all", &mut one, &mut other, |_, other| other.events == [Event::Synced]);
    assert_eq!(Director::flows(&other.synced), Director::flows(&one.own));
    one.connect(777);
    until("a new flow is told", &mut one, &mut other, |_, other| other.synced.len() == 501);
    let view = other.syncer.view(Instant::now());
    assert_eq!((view.snapshot, view.flows_held, view.peers.len()), ("told", 501, 1));
    assert_eq!(view.rejected["key"] + view.rejected["source"] + view.rejected["own"], 0);
}

#[test]
fn flows_cross_by_ipv4_unicast() {
    flows_cross("192.0.2.21", "192.0.2.1");
}

#[test]
fn flows_cross_by_ipv6_unicast() {
    flows_cross("2001:db8::21", "2001:db8::1");
}

#[test]
fn flows_cross_by_ipv4_multicast() {
    flows_cross("224.0.0.81", "224.0.0.81");
}

#[test]
fn flows_cross_by_ipv6_multicast() {
    flows_cross("ff02::5:7112", "ff02::5:7112");
}

#[test]
fn another_key_is_seen_and_a_reload_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (key_file(folder.path(), "right", "a"), key_file(folder.path(), "wrong", "b"));
    let (near, far) = Namespace::pair();
    let mut one = Director::start(&near, &settings("d0", "192.0.2.21".parse().unwrap(), &right));
    let mut other = Director::start(&far, &settings("r0", "192.0.2.1".parse().unwrap(), &wrong));
    one.connect(1);
    let rejected = |director: &Director| director.syncer.view(Instant::now()).rejected["key"];
    until("both see it", &mut one, &mut other, |one, other| rejected(one) > 0 && rejected(other) > 0);
    assert!(other.synced.is_empty() && other.events.is_empty());
    let (mended, links) = (settings("r0", "192.0.2.1".parse().unwrap(), &right), links_of(&far));
    far.run(|| other.syncer.set(&mended, &links)).unwrap();
    until("it is mended", &mut one, &mut other, |_, other| other.events == [Event::Synced]);
    assert_eq!(other.synced.len(), 1);
}

#[test]
fn a_reload_takes_another_port_and_peer_and_back_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "key", "a");
    let (near, far) = Namespace::pair();
    let (to_far, to_near) = ("192.0.2.21".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let mut one = Director::start(&near, &settings("d0", to_far, &key));
    let mut other = Director::start(&far, &settings("r0", to_near, &key));
    let links = [links_of(&near), links_of(&far)];
    for (n, (peer, port)) in [(None, 7113), (Some("224.0.0.81"), 7113), (None, 7112)].into_iter().enumerate()
    {
        let group = peer.map(|peer| peer.parse().unwrap());
        for (director, namespace, name, peer, links) in
            [(&mut one, &near, "d0", to_far, &links[0]), (&mut other, &far, "r0", to_near, &links[1])]
        {
            let settings = FlowSync { port, ..settings(name, group.unwrap_or(peer), &key) };
            namespace.run(|| director.syncer.set(&settings, links)).unwrap();
        }
        one.connect(n as u16);
        until("it goes on", &mut one, &mut other, |_, other| other.synced.len() == n + 1);
    }
}

#[test]
fn what_cannot_be_is_told_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "key", "a");
    let (near, _far) = Namespace::pair();
    let links = links_of(&near);
    let refusal = |sync: &FlowSync| {
        near.run(|| FlowSyncer::start(sync, &links, Instant::now()).err().expect("refused").to_string())
    };
    let good = settings("d0", "192.0.2.21".parse().unwrap(), &key);
    assert!(
        refusal(&FlowSync { interface: "d9".into(), ..good.clone() }).contains("d9, which does not exist")
    );
    let mixed = vec!["192.0.2.21".parse().unwrap(), "2001:db8::21".parse().unwrap()];
    for peers in [vec![], mixed, vec!["224.0.0.81".parse().unwrap(), "192.0.2.21".parse().unwrap()]] {
        assert!(refusal(&FlowSync { peers, ..good.clone() }).contains("addresses of one family"));
    }
    let missing = FlowSync { key_file: folder.path().join("none"), ..good.clone() };
    assert!(refusal(&missing).contains("cannot be read"));
    let _taken = near.run(|| FlowSyncer::start(&good, &links, Instant::now()).unwrap());
    assert!(refusal(&good).contains("ss -ulnp"));
}

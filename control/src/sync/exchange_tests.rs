//! Directors in one process: whatever the network does to their datagrams, flows reach the other side and nothing false
//! does.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowState, FlowTable, Timeouts};
use shunt_dataplane::forwarding::{
    Builder, ForwardingState, Options, Path, Persistence, Ports, RealSpec, ServiceKey, ServiceSpec,
    Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::packet::{Address, MacAddress, Protocol};
use shunt_dataplane::port::PortId;
use shunt_dataplane::rewrite::{MacHeader, Vlan};
use shunt_dataplane::schedule::{Policy, Question};

use super::*;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const TICK: Duration = Duration::from_millis(50);
const SECOND: u32 = 4;

fn web() -> ServiceKey {
    ServiceKey { address: VIP.into(), ports: Ports::exact(80), protocol: Protocol::Tcp }
}

fn real(n: u8) -> Address {
    Ipv4Addr::new(198, 19, 0, n).into()
}

fn spec(key: ServiceKey, policy: Policy, reals: &[u8]) -> ServiceSpec {
    let header = MacHeader::new(MacAddress([2; 6]), MacAddress([4; 6]));
    let path = Path { header, port: PortId(0), mtu: 1500, vlan: Vlan::Keep };
    let reals = reals.iter().map(|&n| RealSpec {
        address: real(n),
        weight: 1,
        share: 1,
        thresholds: Thresholds::default(),
        healthy: true,
        keeps_flows: false,
        path: Some(path),
    });
    ServiceSpec { key, options: Options { policy, ..Options::default() }, reals: reals.collect() }
}

/// One director.
struct Node {
    exchange: Exchange,
    state: ForwardingState,
    /// What its worker remembers.
    own: FlowTable,
    synced: FlowTable,
}

/// Directors that hear each other, as far as the network lets them.
struct Net {
    nodes: Vec<Node>,
    now: Instant,
    start: Instant,
    /// All that was sent: by whom, what.
    seen: Vec<(usize, Vec<u8>)>,
}

fn terms(rate: u32) -> Terms {
    Terms { sources: None, room: 1452, rate, wait: Duration::from_secs(5) }
}

fn address(n: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n as u8 + 1).into()
}

impl Node {
    fn new(n: usize, run: u64, rate: u32, now: Instant) -> Node {
        let key = Key::new(&[7; LENGTH]);
        let (boot, secret) = (run * 100 + n as u64 + 1, Key::new(&[n as u8 + 10 + run as u8 * 16; LENGTH]));
        Node {
            exchange: Exchange::new(terms(rate), key, boot, secret, now),
            state: ForwardingState::empty(HashKey([7, 11])),
            own: FlowTable::new(Capacity { ipv4: 16_384, ipv6: 64 }, 1),
            synced: FlowTable::new(Capacity { ipv4: 16_384, ipv6: 64 }, 2),
        }
    }

    fn publish(&mut self, specs: &[ServiceSpec]) {
        self.state = Builder::after(&self.state, 1, 1).build(specs).expect("the specification is right");
    }

    /// What the client with this number has here.
    fn key(&self, service: &ServiceKey, n: u32) -> FlowKey {
        let id = self.state.find(service).expect("configured");
        FlowKey::new(Address::from_v4(0xc612_0000 + (n >> 8)), 1024 + (n & 255) as u16, 80, id)
    }

    /// What the hash says.
    fn recall(&self, service: &ServiceKey, n: u32) -> Option<Address> {
        let key = self.key(service, n);
        let service = self.state.service(key.service).expect("configured");
        let protocol = service.key().protocol as u8;
        let hash =
            self.state.hash_key().flow(key.client, VIP.into(), key.client_port, key.dst_port, protocol);
        let question =
            Question { hash, src: key.client, src_port: key.client_port, dst: VIP.into(), now: Tick::new(0) };
        let slot = service.scheduler().recall(&question)?;
        service.real(shunt_dataplane::forwarding::RealSlot(slot)).map(|real| real.address())
    }
}

fn put(
    table: &mut FlowTable,
    state: &ForwardingState,
    key: FlowKey,
    real: Address,
    as_state: FlowState,
    expires: Tick,
) {
    let service = state.service(key.service).expect("configured");
    let (slot, found) = service.reals().find(|(_, r)| r.address() == real).expect("configured");
    let flow = Flow { real: slot, epoch: found.epoch(), state: as_state, expires };
    let to = state.destination(&key).expect("configured");
    let place = table.slot(to, &key);
    match table.find(place, &key) {
        Some((position, _)) => table.update(position, key.service, flow),
        None => drop(table.insert(place, &key, flow, Tick::new(0), 1000, |_, _| false)),
    }
}

impl Net {
    fn new(count: usize, rate: u32) -> Net {
        let now = Instant::now();
        let nodes = (0..count).map(|n| Node::new(n, 0, rate, now)).collect();
        Net { nodes, now, start: now, seen: Vec::new() }
    }

    fn publish(&mut self, specs: &[ServiceSpec]) {
        self.nodes.iter_mut().for_each(|node| node.publish(specs));
    }

    fn tick_now(&self) -> Tick {
        Tick::from_millis((self.now - self.start).as_millis() as u64)
    }

    /// Client `n` of a service has this real server, says the worker of a director.
    fn flow(
        &mut self,
        node: usize,
        service: &ServiceKey,
        n: u32,
        real: Address,
        state: FlowState,
        seconds: u32,
    ) {
        let expires = self.tick_now().after(seconds * SECOND);
        let node = &mut self.nodes[node];
        let key = node.key(service, n);
        put(&mut node.own, &node.state, key, real, state, expires);
    }

    /// What a director was told of client `n`: real server, state, seconds left.
    fn told(&self, node: usize, service: &ServiceKey, n: u32) -> Option<(Address, FlowState, u32)> {
        let node = &self.nodes[node];
        let key = node.key(service, n);
        let to = node.state.destination(&key)?;
        let flow = node.synced.reader().find(to, &key).filter(|flow| !flow.is_expired(self.tick_now()))?;
        let real = node.state.service(key.service)?.tenant(flow.real, flow.epoch)?;
        Some((real.address(), flow.state, flow.remaining(self.tick_now()) / SECOND))
    }

    fn step(&mut self, passes: &mut impl FnMut(usize, usize, &[u8]) -> usize) {
        self.now += TICK;
        let tick = self.tick_now();
        for n in 0..self.nodes.len() {
            let Node { exchange, state, own, synced } = &mut self.nodes[n];
            let reader = own.reader();
            let mut flows = Flows { state, workers: vec![&reader], synced, now: tick };
            let out = exchange.tick(self.now, &mut flows);
            for datagram in out {
                assert!(datagram.len() <= 1452);
                for to in (0..self.nodes.len()).filter(|to| *to != n) {
                    for _ in 0..passes(n, to, &datagram) {
                        self.deliver(n, to, &datagram);
                    }
                }
                self.seen.push((n, datagram));
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, datagram: &[u8]) {
        let tick = self.tick_now();
        let Node { exchange, state, own, synced } = &mut self.nodes[to];
        let reader = own.reader();
        let mut flows = Flows { state, workers: vec![&reader], synced, now: tick };
        exchange.hear(self.now, address(from), datagram, &mut flows);
    }

    /// Lets time go by in a good network.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 50 {
            self.step(&mut |_, _, _| 1);
        }
    }

    /// A director is started anew, with the services that it had.
    fn restart(&mut self, n: usize, run: u64, specs: &[ServiceSpec]) {
        let rate = self.nodes[n].exchange.terms.rate;
        self.nodes[n] = Node::new(n, run, rate, self.now);
        self.nodes[n].publish(specs);
    }
}

#[test]
fn flows_of_a_scheduler_by_turn_are_all_told_within_a_second() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1, 2, 3])]);
    net.run(500);
    for n in 0..1000 {
        net.flow(0, &web(), n, real(1 + (n % 3) as u8), FlowState::Established, 900);
    }
    net.run(500);
    for n in 0..1000 {
        let told = net.told(1, &web(), n).expect("told");
        assert_eq!((told.0, told.1), (real(1 + (n % 3) as u8), FlowState::Established));
        assert!((898..=904).contains(&told.2), "{told:?}");
    }
    assert_eq!(net.nodes[1].exchange.learned().believed, 1000);
    net.run(2000);
    assert_eq!(net.nodes[0].exchange.counts().flows_told, 1000, "nothing is told twice");
}

#[test]
fn of_a_scheduler_that_hashes_only_the_exceptions_are_told() {
    for policy in [Policy::Maglev, Policy::Sh(Default::default()), Policy::Mh(Default::default())] {
        let mut net = Net::new(2, 20_000);
        net.publish(&[spec(web(), policy, &[1, 2, 3])]);
        net.run(500);
        let owners: Vec<_> =
            (0..1000).map(|n| net.nodes[0].recall(&web(), n * 300).expect("somebody")).collect();
        for (n, owner) in owners.iter().enumerate() {
            net.flow(0, &web(), n as u32 * 300, *owner, FlowState::Established, 900);
        }
        net.run(1000);
        assert_eq!(net.nodes[0].exchange.counts().flows_told, 0, "{policy}");
        // The set changes: those that the hash has moved are told of within a second, and no other.
        net.publish(&[spec(web(), policy, &[1, 2, 3, 4])]);
        net.run(1000);
        let mut moved = 0;
        for (n, owner) in owners.iter().enumerate() {
            let n = n as u32 * 300;
            let is_moved = net.nodes[1].recall(&web(), n) != Some(*owner);
            moved += u64::from(is_moved);
            assert_eq!(net.told(1, &web(), n).map(|told| told.0), is_moved.then_some(*owner));
        }
        assert!(moved > 100, "{policy}: {moved}");
        assert_eq!(net.nodes[0].exchange.counts().flows_told, moved);
    }
}

#[test]
fn of_a_persistent_service_all_flows_and_templates_are_told() {
    let mut spec = spec(web(), Policy::Maglev, &[1, 2, 3]);
    spec.options.persistence = Some(Persistence { timeout: 100 * SECOND, mask: u128::MAX << 8 });
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec]);
    net.run(500);
    let id = net.nodes[0].state.find(&web()).expect("configured");
    let template = FlowKey::template(Address::from_v4(0xc612_0100), id);
    let Node { own, state, .. } = &mut net.nodes[0];
    put(own, state, template, real(2), FlowState::Template, Tick::new(400));
    net.flow(0, &web(), 7, real(3), FlowState::Established, 900);
    net.run(1000);
    assert_eq!(net.told(1, &web(), 7).map(|told| told.0), Some(real(3)));
    let synced = net.nodes[1].synced.reader();
    let to = net.nodes[1].state.destination(&template).expect("configured");
    let found = synced.find(to, &template).expect("told");
    assert_eq!(found.state, FlowState::Template);
}

#[test]
fn first_packets_tell_nobody_anything() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    for (n, state) in FlowState::ALL.into_iter().filter(|state| state.is_on_probation()).enumerate() {
        net.flow(0, &web(), n as u32, real(1), state, 60);
    }
    net.run(1000);
    assert_eq!(net.nodes[0].exchange.counts().flows_told, 0);
}

#[test]
fn a_flow_that_goes_on_is_told_again_before_the_others_forget_it() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    for _ in 0..60 {
        net.flow(0, &web(), 1, real(1), FlowState::Established, 20);
        net.run(1000);
        let (_, _, left) = net.told(1, &web(), 1).expect("remembered");
        assert!(left >= 9, "{left}");
    }
    let told = net.nodes[0].exchange.counts().flows_told;
    assert!((5..=8).contains(&told), "every ten seconds: {told}");
    // And when it is silent it is forgotten, soon after its own director does.
    net.run(25_000);
    assert_eq!(net.told(1, &web(), 1), None);
    net.run(20_000);
    assert_eq!(net.nodes[1].synced.len(), 0, "aged out");
}

#[test]
fn a_flow_that_closes_or_moves_is_told_again_and_one_that_was_over_when_it_was_seen_is_not() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Maglev, &[1, 2])]);
    net.run(500);
    let by_hash = net.nodes[0].recall(&web(), 1).expect("somebody");
    let other = [real(1), real(2)].into_iter().find(|real| *real != by_hash).expect("two");
    net.flow(0, &web(), 1, other, FlowState::Established, 900);
    net.flow(0, &web(), 2, real(1), FlowState::FinWait, 120);
    net.flow(0, &web(), 3, real(1), FlowState::Closed, 10);
    net.run(1000);
    assert_eq!(net.told(1, &web(), 1).map(|told| told.0), Some(other));
    net.flow(0, &web(), 1, other, FlowState::FinWait, 120);
    net.run(1000);
    let (_, state, left) = net.told(1, &web(), 1).expect("still there");
    assert!(state == FlowState::FinWait && left <= 120);
    // The client connects anew from the same port: by the hash, which is no exception; but what was told was another.
    net.flow(0, &web(), 1, by_hash, FlowState::Established, 900);
    net.run(1000);
    assert_eq!(net.told(1, &web(), 1).map(|told| told.0), Some(by_hash));
    assert_eq!((net.told(1, &web(), 2), net.told(1, &web(), 3)), (None, None));
}

#[test]
fn what_another_director_told_otherwise_of_is_told_though_the_hash_says_it() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Maglev, &[1, 2])]);
    net.run(500);
    let by_hash = net.nodes[1].recall(&web(), 1).expect("somebody");
    let other = [real(1), real(2)].into_iter().find(|real| *real != by_hash).expect("two");
    net.flow(0, &web(), 1, other, FlowState::Established, 900);
    net.run(1000);
    // The other one is active now, and the client has connected anew from the same port.
    net.flow(1, &web(), 1, by_hash, FlowState::Established, 900);
    net.flow(1, &web(), 2, net.nodes[1].recall(&web(), 2).expect("somebody"), FlowState::Established, 900);
    net.run(1000);
    assert_eq!(net.told(0, &web(), 1).map(|told| told.0), Some(by_hash));
    assert_eq!(net.told(0, &web(), 2), None);
}

#[test]
fn a_client_that_has_closed_its_direction_and_goes_on_to_receive_is_told_of() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    for _ in 0..3 {
        net.flow(0, &web(), 1, real(1), FlowState::FinWait, 120);
        net.run(1000);
    }
    assert_eq!(net.told(1, &web(), 1).map(|told| told.1), Some(FlowState::FinWait));
}

#[test]
fn a_director_that_joins_gets_all_and_says_so() {
    let specs = [spec(web(), Policy::Rr, &[1, 2])];
    let mut net = Net::new(3, 20_000);
    net.publish(&specs);
    for n in 0..2000 {
        net.flow(0, &web(), n, real(1), FlowState::Established, 900);
    }
    net.run(1000);
    assert!((0..3).all(|n| net.nodes[n].exchange.joining() == Joining::Told));
    assert!((1..3).all(|to| (0..2000).all(|n| net.told(to, &web(), n).is_some())));
    // One returns: what a second one knows of the first's flows is enough, when that has gone silent.
    net.restart(1, 1, &specs);
    assert_eq!(net.nodes[1].exchange.joining(), Joining::Waiting);
    for _ in 0..40 {
        net.step(&mut |from, to, _| usize::from(from != 0 && to != 0));
    }
    assert_eq!(net.nodes[1].exchange.joining(), Joining::Told);
    assert!((0..2000).all(|n| net.told(1, &web(), n).is_some()));
    assert_eq!(net.nodes[1].exchange.counts().lost, 0);
}

#[test]
fn what_was_granted_on_the_way_is_not_handed_on() {
    let specs = [spec(web(), Policy::Rr, &[1])];
    let mut net = Net::new(2, 20_000);
    net.publish(&specs);
    net.run(500);
    net.flow(0, &web(), 1, real(1), FlowState::Established, 100);
    net.run(1000);
    for run in 1..5 {
        net.restart(0, run, &specs);
        net.run(1000);
        let (_, _, left) = net.told(0, &web(), 1).expect("told back");
        net.restart(1, run, &specs);
        net.run(1000);
        let (_, _, again) = net.told(1, &web(), 1).expect("told back");
        assert!(left <= 104 && again <= left, "{left} {again}");
    }
}

#[test]
fn a_director_alone_waits_no_longer_than_it_is_told_to() {
    let mut net = Net::new(1, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(4900);
    assert_eq!(net.nodes[0].exchange.joining(), Joining::Waiting);
    net.run(150);
    assert_eq!(net.nodes[0].exchange.joining(), Joining::Alone);
    net.flow(0, &web(), 1, real(1), FlowState::Established, 900);
    net.run(1000);
    assert_eq!(net.nodes[0].exchange.counts().flows_told, 0, "nobody is there to be told");
    assert!(net.nodes[0].exchange.counts().sent <= 7, "one word a second");
}

#[test]
fn more_flows_than_the_rate_allows_wait_and_are_told() {
    let mut net = Net::new(2, 1000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    for n in 0..5000 {
        net.flow(0, &web(), n, real(1), FlowState::Established, 900);
    }
    net.run(1000);
    let told = net.nodes[0].exchange.counts().flows_told;
    assert!((1000..=1300).contains(&told), "{told}");
    assert!(net.nodes[0].exchange.counts().held_up > 10);
    net.run(4500);
    assert!((0..5000).all(|n| net.told(1, &web(), n).is_some()));
}

#[test]
fn all_is_told_in_time_however_low_the_rate() {
    let specs = [spec(web(), Policy::Rr, &[1])];
    let mut net = Net::new(2, 10);
    net.publish(&specs);
    net.run(500);
    for n in 0..200 {
        net.flow(0, &web(), n, real(1), FlowState::Established, 900);
    }
    net.run(20_000);
    // Its own flows, and then those that it was told of.
    for n in [1, 0] {
        net.restart(n, 1, &specs);
        net.run(40_000);
        assert!((0..200).all(|client| net.told(n, &web(), client).is_some()), "{n}");
        assert!(!net.nodes[1 - n].exchange.is_telling_all());
    }
}

#[test]
fn what_a_director_says_itself_counts_for_more_than_what_another_heard_of_it() {
    let specs = [spec(web(), Policy::Rr, &[1, 2])];
    let mut net = Net::new(4, 20_000);
    net.publish(&specs);
    net.run(1000);
    net.flow(0, &web(), 1, real(1), FlowState::Established, 900);
    net.run(1000);
    // The second director does not hear of what has changed, and tells what it knows when it is asked.
    let mut but_the_second = |from, to, _: &[u8]| usize::from((from, to) != (0, 1));
    net.flow(0, &web(), 1, real(2), FlowState::Established, 900);
    (0..20).for_each(|_| net.step(&mut but_the_second));
    let before = net.nodes[1].exchange.counts().snapshots;
    net.restart(3, 1, &specs);
    (0..40).for_each(|_| net.step(&mut but_the_second));
    assert_eq!(net.nodes[1].exchange.counts().snapshots, before + 1);
    let told = [1, 2, 3].map(|node| net.told(node, &web(), 1).map(|told| told.0));
    assert_eq!(told, [Some(real(1)), Some(real(2)), Some(real(2))]);
    assert!(net.nodes[2].exchange.learned().known > 0);
}

#[test]
fn what_this_director_has_not_is_counted_and_ignored() {
    let mut net = Net::new(2, 20_000);
    let dns = ServiceKey { ports: Ports::exact(53), protocol: Protocol::Udp, ..web() };
    net.nodes[0].publish(&[spec(web(), Policy::Rr, &[1, 2]), spec(dns, Policy::Rr, &[1])]);
    net.nodes[1].publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    net.flow(0, &web(), 1, real(2), FlowState::Established, 900);
    net.flow(0, &web(), 2, real(1), FlowState::Established, 900);
    let Node { own, state, .. } = &mut net.nodes[0];
    let id = state.find(&dns).expect("configured");
    put(own, state, FlowKey::new(Address::from_v4(1), 9, 53, id), real(1), FlowState::Udp, Tick::new(900));
    put(
        own,
        state,
        FlowKey { dst_port: 81, ..web_key(state) },
        real(1),
        FlowState::Established,
        Tick::new(900),
    );
    net.run(1000);
    let expected =
        Learned { believed: 1, unknown_service: 1, unknown_real: 1, unfit: 1, ..Learned::default() };
    assert_eq!(net.nodes[1].exchange.learned(), expected);
    assert_eq!(net.nodes[1].synced.len(), 1);
}

/// A flow of the web service.
fn web_key(state: &ForwardingState) -> FlowKey {
    FlowKey::new(Address::from_v4(2), 9, 80, state.find(&web()).expect("configured"))
}

#[test]
fn a_recording_is_not_believed_neither_of_this_run_nor_of_an_earlier_one() {
    let specs = [spec(web(), Policy::Rr, &[1, 2])];
    let mut net = Net::new(2, 20_000);
    net.publish(&specs);
    net.run(500);
    net.flow(0, &web(), 1, real(1), FlowState::Established, 900);
    net.run(1000);
    let recorded: Vec<Vec<u8>> =
        net.seen.iter().filter(|(from, _)| *from == 0).map(|(_, d)| d.clone()).collect();
    let believed = net.nodes[1].exchange.learned().believed;
    assert_eq!(believed, 1);
    let replays = |net: &Net| net.nodes[1].exchange.rejections().count(Rejection::Replay);
    for datagram in &recorded {
        net.deliver(0, 1, datagram);
    }
    assert_eq!(replays(&net), recorded.len() as u64);
    // The second one starts anew, and does not know the first: the recording introduces itself as it did then.
    net.restart(1, 1, &specs);
    for _ in 0..3 {
        for datagram in &recorded {
            net.deliver(0, 1, datagram);
        }
        net.step(&mut |_, _, _| 0);
    }
    assert_eq!(net.nodes[1].exchange.learned().believed, 0);
    assert_eq!(net.nodes[1].exchange.peers().iter().count(), 0);
    assert!(net.nodes[1].exchange.counts().sent <= 3 * (GREETINGS as u64 + 1), "strangers are not flattered");
}

#[test]
fn other_keys_sources_versions_and_echoes_are_counted_by_reason() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    let (_, good) = net.seen.iter().rfind(|(from, _)| *from == 0).cloned().expect("it has spoken");
    let count = |net: &Net, why| net.nodes[1].exchange.rejections().count(why);
    let mut changed = good.clone();
    changed[30] ^= 1;
    net.deliver(0, 1, &changed);
    net.deliver(0, 1, &good[..40]);
    assert_eq!(count(&net, Rejection::Key), 2);
    let mut version = good.clone();
    version[4] = 2;
    net.deliver(0, 1, &version);
    net.deliver(0, 1, b"");
    assert_eq!(count(&net, Rejection::Version), 2);
    let (_, own) = net.seen.iter().rfind(|(from, _)| *from == 1).cloned().expect("it has spoken");
    net.deliver(0, 1, &own);
    assert_eq!(count(&net, Rejection::Own), 1);
    let mut broken = encode(Header { boot: 1, sequence: 999_999 }, &Body::Request { to: 2 });
    broken.push(0);
    Key::new(&[7; LENGTH]).seal(&mut broken);
    net.deliver(0, 1, &broken);
    assert_eq!(count(&net, Rejection::Malformed), 1);
    let strict = Terms { sources: Some(vec![address(5)]), ..terms(1000) };
    net.nodes[1].exchange.set(strict, Key::new(&[7; LENGTH]));
    net.run(1100);
    assert!(count(&net, Rejection::Source) > 0);
    net.nodes[1].exchange.set(terms(1000), Key::new(&[8; LENGTH]));
    let before = count(&net, Rejection::Key);
    net.run(1100);
    assert!(count(&net, Rejection::Key) > before);
}

#[test]
fn after_a_long_silence_between_them_all_is_asked_for_again() {
    let mut net = Net::new(2, 200_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    // More is said than can be said again.
    let mut rounds = 0;
    while net.nodes[0].exchange.counts().sent < 1150 {
        net.flow(0, &web(), rounds, real(1), FlowState::Established, 900);
        net.step(&mut |_, _, _| 0);
        // On a busy machine a tick finds less than there is: more of them, in the time after which a peer is forgotten.
        net.now -= TICK / 2;
        rounds += 1;
    }
    assert_eq!(net.told(1, &web(), 3), None);
    assert_eq!(net.nodes[1].exchange.peers().iter().count(), 1, "not forgotten yet");
    net.run(5000);
    assert!(net.nodes[1].exchange.counts().lost > 100);
    assert!((0..rounds).all(|n| net.told(1, &web(), n).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Whatever is lost, doubled or held back for a while: in the end the other knows every flow as it is, and nothing that
    /// never was.
    #[test]
    fn a_bad_network_delays_and_falsifies_nothing(
        seed in any::<u64>(),
        loss in 0u64..50,
        double in 0u64..30,
        changes in prop::collection::vec((0u32..60, 1u8..4), 1..200),
    ) {
        let mut net = Net::new(3, 20_000);
        net.publish(&[spec(web(), Policy::Rr, &[1, 2, 3])]);
        let mut random = seed | 1;
        let mut chance = move |percent: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % 100 < percent
        };
        let mut now = std::collections::BTreeMap::new();
        let mut held: Vec<(usize, usize, Vec<u8>)> = Vec::new();
        for chunk in changes.chunks(5) {
            for (n, to) in chunk {
                net.flow(0, &web(), *n, real(*to), FlowState::Established, 900);
                now.insert(*n, real(*to));
            }
            for (from, to, datagram) in std::mem::take(&mut held) {
                net.deliver(from, to, &datagram);
            }
            net.step(&mut |from, to, datagram| {
                if chance(5) {
                    held.push((from, to, datagram.to_vec()));
                    return 0;
                }
                if chance(loss) { 0 } else { 1 + usize::from(chance(double)) }
            });
        }
        net.run(12_000);
        for node in 1..3 {
            for (n, real) in &now {
                prop_assert_eq!(net.told(node, &web(), *n).map(|told| told.0), Some(*real));
            }
            prop_assert_eq!(net.nodes[node].synced.len(), now.len());
        }
    }
}

#[test]
fn the_longest_timeout_stays_within_what_a_table_can_hold() {
    let mut net = Net::new(2, 20_000);
    net.publish(&[spec(web(), Policy::Rr, &[1])]);
    net.run(500);
    net.flow(0, &web(), 1, real(1), FlowState::Established, Timeouts::MAX / SECOND);
    net.run(1000);
    assert!(net.told(1, &web(), 1).is_some());
}

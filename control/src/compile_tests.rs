//! What a model, a machine and what is known of both compile to.

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
            neighbors: [(NeighborKey { index: 2, address }, Neighbor::Resolved(MAC))].into_iter().collect(),
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
            is_ready: true,
            is_seeking: false,
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
fn before_the_start_is_over_nobody_takes_a_flow_and_clients_are_told_nothing() {
    let world = World::new();
    let empty = ForwardingState::empty(HashKey([0, 0]));
    let state = compile(Inputs { is_ready: false, ..world.inputs() }, &empty, 1).unwrap();
    let (_, service) = state.services().next().unwrap();
    let (_, real) = service.reals().next().unwrap();
    assert_eq!(
        (real.state(), real.keeps_flows()),
        (RealState::Down, true),
        "flows that others tell of are its own"
    );
    assert_eq!(service.options().no_real, NoReal::Silent);
    assert_eq!(world.compiled(|service| service.options().no_real), world.model.services[0].no_real);
}

#[test]
fn a_link_of_the_directors_own_that_fails_says_nothing_about_real_servers() {
    let mut world = World::new();
    world.checked(Err("network is unreachable".into()));
    let policy = world.model.services[0].no_real;
    let kept = |inputs: Inputs<'_>| {
        let state = compile(inputs, &ForwardingState::empty(HashKey([0, 0])), 1).unwrap();
        let (_, service) = state.services().next().unwrap();
        let (_, real) = service.reals().next().unwrap();
        assert_eq!(real.state(), RealState::Down);
        (real.keeps_flows(), service.options().no_real)
    };
    assert_eq!(kept(world.inputs()), (false, policy));
    assert_eq!(kept(Inputs { is_seeking: true, ..world.inputs() }), (true, NoReal::Silent));
    world.links.get_mut(&2).unwrap().carrier = false;
    assert_eq!(kept(world.inputs()), (true, NoReal::Silent));
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
    let sorry = RealServer { checks: vec![], address: "192.0.2.99".parse().unwrap(), ..world.real().clone() };
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

//! Flows that another director told of: whoever takes over goes on with them, and believes nothing that is no longer so.

use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowState, FlowTable, Timeouts};
use shunt_dataplane::forwarding::{Builder, OnFailure, Persistence, ServiceKey, ServiceSpec, Synced};
use shunt_dataplane::packet::Protocol;
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::verdict::DropReason;

use crate::allocation::calls;
use crate::craft::{ACK, Craft, FIN, RST, SYN, icmp_error};
use crate::rig::{PORTS, Rig, address, dns, down, draining, http, port, service, six, up, with};

const SECOND: u32 = 4;

/// A rig whose workers may read what it is told.
struct Told {
    rig: Rig,
    table: FlowTable,
    took_over: Tick,
}

impl Told {
    fn new(workers: usize) -> Told {
        Told {
            rig: Rig::new(workers, 4096),
            table: FlowTable::new(Capacity::each(4096), 77),
            took_over: Tick::default(),
        }
    }

    fn publish(&mut self, specs: &[ServiceSpec]) {
        let next = Builder::after(self.rig.state(), self.rig.seats.len(), usize::from(PORTS))
            .build(specs)
            .expect("the specification is right");
        let synced = Synced::new(self.table.reader(), self.took_over);
        self.rig.publisher.publish(next.with_synced(Some(synced)));
    }

    /// Client `n` of a service has real server number `real`, says a peer.
    fn tell(&mut self, craft: &Craft, service: ServiceKey, real: u16, state: FlowState, seconds: u32) {
        let id = self.rig.state().find(&service).expect("configured");
        let client = match craft.v6 {
            None => craft.src.into(),
            Some((src, _)) => std::net::IpAddr::from(src).into(),
        };
        self.tell_key(FlowKey::new(client, craft.src_port, craft.dst_port, id), real, state, seconds);
    }

    fn tell_key(&mut self, key: FlowKey, real: u16, state: FlowState, seconds: u32) {
        let forwarding = self.rig.state();
        let service = forwarding.service(key.service).expect("configured");
        let (slot, real) = service.reals().find(|(_, r)| r.address() == address(real)).expect("configured");
        let now = Tick::from_millis(self.rig.now);
        let flow = Flow { real: slot, epoch: real.epoch(), state, expires: now.after(seconds * SECOND) };
        let to = forwarding.destination(&key).expect("the service is there");
        let place = self.table.slot(to, &key);
        match self.table.find(place, &key) {
            Some((position, _)) => self.table.update(position, key.service, flow),
            None => drop(self.table.insert(place, &key, flow, now, 1000, |_, _| false)),
        }
    }

    fn adopted(&self) -> u64 {
        self.rig.total(|stats| stats.flows_synced.value())
    }
}

fn robin(key: ServiceKey, reals: u16) -> ServiceSpec {
    with(key, (0..reals).map(up), |options| options.policy = Policy::Rr)
}

#[test]
fn flows_that_a_peer_told_of_go_on_to_their_real_servers() {
    let mut told = Told::new(2);
    let keys = [http(), dns(), six(http()), six(dns())];
    told.publish(&keys.map(|key| robin(key, 7)));
    for n in 0..200 {
        let crafts = [Craft::tcp(n, ACK), Craft::udp(n), Craft::tcp(n, ACK).v6(), Craft::udp(n).v6()];
        for (craft, key) in crafts.iter().zip(keys) {
            let state = match key.protocol {
                Protocol::Tcp => FlowState::Established,
                _ => FlowState::Udp,
            };
            told.tell(craft, key, (n % 7) as u16, state, 100);
            let real = told.rig.real(0, &craft.bytes());
            assert_eq!(real, Some((n % 7) as u16), "{craft:?}");
            // By now it is this director's own, whatever the peer says later and whichever worker sees it.
            told.tell(craft, key, ((n + 1) % 7) as u16, state, 100);
            assert_eq!(told.rig.real(0, &craft.bytes()), real);
            assert_eq!(told.rig.real(1, &craft.bytes()), real);
        }
    }
    assert_eq!(told.adopted(), 800);
    assert_eq!(told.rig.total(|stats| stats.flows_adopted.value()), 800);
    told.rig.check_gauges();
    let counted = told.rig.state().services().map(|(_, s)| s.counters().total(|c| &c.flows)).sum::<u64>();
    assert_eq!(counted, 0, "none of them is a new flow");
}

#[test]
fn who_was_away_believes_the_peer_about_flows_that_went_on_there() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut told = Told::new(1);
        let (key, craft, state) = match protocol {
            Protocol::Udp => (dns(), Craft::udp as fn(u32) -> Craft, FlowState::Udp),
            _ => (http(), (|n| Craft::tcp(n, ACK)) as fn(u32) -> Craft, FlowState::Established),
        };
        let timeout = Timeouts::default().of(state) / SECOND;
        told.publish(&[service(key, (0..7).map(up))]);
        let real = |told: &mut Told, n: u32| told.rig.real(0, &craft(n).bytes()).expect("forwarded");
        // Twice: what has had one packet only is forgotten soon.
        let own: Vec<_> = (0..4).map(|n| [real(&mut told, n), real(&mut told, n)][1]).collect();
        let other = |n: u32| (own[n as usize] + 1) % 7;
        // The peer saw more of flow 1, before that of flow 2, and of flow 3 what is over by now.
        let grace = 4;
        told.rig.now += 100_000;
        told.tell(&craft(1), key, other(1), state, timeout + grace - 50);
        told.tell(&craft(2), key, other(2), state, timeout + grace - 150);
        told.tell(&craft(3), key, other(3), state, 0);
        told.took_over = Tick::from_millis(told.rig.now - 20_000);
        told.publish(&[service(key, (0..7).map(up))]);
        assert_eq!(real(&mut told, 1), other(1), "{protocol:?}");
        for n in [0, 2, 3] {
            assert_eq!(real(&mut told, n), own[n as usize], "{protocol:?} {n}");
        }
        // Since then it has had a packet here, so what the peer says now is no newer.
        told.tell(&craft(1), key, own[1], state, timeout + grace - 10);
        assert_eq!(real(&mut told, 1), other(1), "{protocol:?}");
        assert_eq!(told.adopted(), 1);
        told.rig.check_gauges();
    }
}

#[test]
fn who_was_away_takes_a_connection_that_was_over_for_a_new_one() {
    let mut told = Told::new(1);
    told.publish(&[service(http(), (0..3).map(up))]);
    let shown =
        |told: &mut Told, n, flags| told.rig.real(0, &Craft::tcp(n, flags).bytes()).expect("forwarded");
    for n in 0..40 {
        shown(&mut told, n, SYN);
        shown(&mut told, n, if n < 20 { FIN | ACK } else { ACK });
        shown(&mut told, n, if n < 20 { FIN | ACK } else { ACK });
    }
    let own: Vec<_> = (0..40).map(|n| shown(&mut told, n, if n < 20 { FIN | ACK } else { ACK })).collect();
    // Three more: the hash says otherwise of some. What goes by turn knows no better than what is remembered.
    told.rig.now += 20_000;
    told.took_over = Tick::from_millis(told.rig.now);
    told.rig.now += 20_000;
    told.publish(&[robin(http(), 6)]);
    for n in 0..10 {
        assert_eq!(shown(&mut told, n, FIN | ACK), own[n as usize]);
    }
    told.publish(&[service(http(), (0..6).map(up))]);
    let mut alone = Rig::new(1, 4096);
    alone.publish(&[service(http(), (0..6).map(up))]);
    let mut moved = 0;
    for n in 0..40 {
        let by_hash = alone.real(0, &Craft::tcp(n, ACK).bytes()).expect("forwarded");
        let is_over = (10..20).contains(&n);
        let expected = if is_over { by_hash } else { own[n as usize] };
        assert_eq!(shown(&mut told, n, ACK), expected, "{n}");
        moved += usize::from(is_over && by_hash != own[n as usize]);
    }
    assert!(moved > 0 && told.adopted() == moved as u64, "{moved}, {}", told.adopted());
    told.rig.check_gauges();
}

#[test]
fn a_connection_met_midway_is_established_and_lasts_as_long_as_the_service_says() {
    let mut told = Told::new(1);
    let timeouts = Timeouts::default().with(FlowState::Established, 500 * SECOND);
    told.publish(&[with(http(), (0..3).map(up), |options| options.timeouts = timeouts)]);
    let cases = [(ACK, FlowState::Established), (FIN | ACK, FlowState::FinWait), (RST, FlowState::Closed)];
    for (n, (flags, state)) in cases.into_iter().enumerate() {
        let craft = Craft::tcp(n as u32, flags);
        // What is left of its time at the peer is no matter.
        told.tell(&craft, http(), 1, FlowState::Established, 3);
        assert_eq!(told.rig.real(0, &craft.bytes()), Some(1));
        let flows = told.rig.flows(0);
        let (_, flow) = flows.iter().find(|(key, _)| key.client_port == craft.src_port).expect("remembered");
        assert_eq!(flow.state, state);
        assert_eq!(flow.remaining(Tick::new(0)), timeouts.of(state));
    }
    told.rig.check_gauges();
}

#[test]
fn a_new_connection_is_scheduled_whatever_a_peer_knows_of_its_ports() {
    let mut told = Told::new(1);
    told.publish(&[robin(http(), 2)]);
    for n in 0..10 {
        told.tell(&Craft::tcp(n, SYN), http(), 0, FlowState::Established, 100);
    }
    let reals: Vec<_> = (0..10).filter_map(|n| told.rig.real(0, &Craft::tcp(n, SYN).bytes())).collect();
    assert_eq!(reals.iter().filter(|real| **real == 1).count(), 5, "{reals:?}");
    assert_eq!(told.adopted(), 0);
}

#[test]
fn a_strict_service_takes_what_a_peer_told_of_and_nothing_else() {
    let mut told = Told::new(1);
    told.publish(&[with(http(), [up(0), up(1)], |options| options.strict = true)]);
    told.tell(&Craft::tcp(1, ACK), http(), 1, FlowState::Established, 100);
    assert_eq!(told.rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
    told.rig.exchange(0, 0, &Craft::tcp(2, ACK).bytes());
    assert_eq!(told.rig.dropped(DropReason::FlowUnknown), 1);
}

#[test]
fn what_is_too_old_is_not_believed() {
    let mut told = Told::new(1);
    told.publish(&[service(http(), (0..50).map(up))]);
    let craft = Craft::tcp(1, ACK);
    let by_hash = {
        let mut alone = Rig::new(1, 64);
        alone.publish(&[service(http(), (0..50).map(up))]);
        alone.real(0, &craft.bytes()).expect("forwarded")
    };
    let other = (by_hash + 1) % 50;
    told.tell(&craft, http(), other, FlowState::Established, 10);
    told.rig.now += 10_000;
    assert_eq!(told.rig.real(0, &craft.bytes()), Some(by_hash));
    assert_eq!(told.adopted(), 0);
}

#[test]
fn a_draining_real_server_keeps_what_a_peer_told_of() {
    let mut told = Told::new(1);
    told.publish(&[service(http(), [up(0), draining(1)])]);
    told.tell(&Craft::tcp(1, ACK), http(), 1, FlowState::Established, 100);
    assert_eq!(told.rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(1));
}

#[test]
fn flows_of_a_real_server_that_is_gone_meet_the_policy_of_the_service() {
    for on_failure in [OnFailure::Reset, OnFailure::Rehash] {
        let mut told = Told::new(1);
        let specs = |second| [with(http(), [up(0), second], |options| options.on_failure = on_failure)];
        told.publish(&specs(up(1)));
        told.tell(&Craft::tcp(1, ACK), http(), 1, FlowState::Established, 100);
        told.publish(&specs(down(1)));
        let out = told.rig.exchange(0, 0, &Craft::tcp(1, ACK).bytes());
        assert_eq!(out.len(), 1);
        let is_reset = on_failure == OnFailure::Reset;
        assert_eq!(told.rig.dropped(DropReason::RealGone), u64::from(is_reset));
        assert_eq!(told.rig.total(|stats| stats.answers_reset.value()), u64::from(is_reset));
        assert_eq!(told.adopted(), 0);
    }
}

#[test]
fn the_next_tenant_of_a_real_servers_place_gets_none_of_its_flows() {
    let mut told = Told::new(1);
    told.publish(&[service(http(), [up(0), up(1)])]);
    told.tell(&Craft::tcp(1, ACK), http(), 1, FlowState::Established, 1000);
    let old = told.rig.state().find(&http()).expect("configured");
    // Newcomers until one of them has the place.
    let tenant = (2..200).find(|&n| {
        told.publish(&[service(http(), [up(0), up(n)])]);
        let service = told.rig.state().service(old).expect("configured");
        service.reals().any(|(slot, real)| slot.0 == 1 && real.address() == address(n))
    });
    assert!(tenant.is_some());
    let real = told.rig.real(0, &Craft::tcp(1, ACK).bytes());
    assert!(real.is_some());
    assert_eq!(told.adopted(), 0);
}

#[test]
fn clients_stay_with_the_real_server_that_a_peer_gave_them() {
    let mut told = Told::new(2);
    let mask = u128::MAX << 8;
    let persistence = Persistence { timeout: 100 * SECOND, mask };
    told.publish(&[with(http(), (0..5).map(up), |options| {
        options.policy = Policy::Rr;
        options.persistence = Some(persistence);
    })]);
    let id = told.rig.state().find(&http()).expect("configured");
    for net in 0..20u8 {
        let from = |host: u8, flags| Craft {
            src: [198, 18, net, host].into(),
            src_port: 1000 + u16::from(host),
            ..Craft::tcp(0, flags)
        };
        let client = shunt_dataplane::packet::Address::from(from(0, SYN).src);
        let real = u16::from(net % 5);
        told.tell_key(FlowKey::template(client, id), real, FlowState::Template, 100);
        for host in 1..10 {
            assert_eq!(told.rig.real(usize::from(host % 2), &from(host, SYN).bytes()), Some(real));
        }
    }
    told.rig.check_gauges();
}

#[test]
fn an_icmp_error_goes_to_the_real_server_that_a_peer_named() {
    let mut told = Told::new(1);
    told.publish(&[robin(http(), 7)]);
    for n in 0..20 {
        let craft = Craft::tcp(n, ACK);
        told.tell(&craft, http(), (n % 7) as u16, FlowState::Established, 100);
        let error = icmp_error(3, 4, 1400, &craft.reverse().ip());
        assert_eq!(told.rig.real(0, &error), Some((n % 7) as u16));
    }
}

#[test]
fn without_a_peer_nothing_is_asked() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(0)])]);
    assert!(rig.state().synced().is_none());
    assert_eq!(rig.real(0, &Craft::tcp(1, ACK).bytes()), Some(0));
}

#[test]
fn taking_over_costs_no_allocation() {
    let mut told = Told::new(1);
    told.publish(&[robin(http(), 7)]);
    let mut frames = Vec::new();
    for n in 0..3000 {
        told.tell(&Craft::tcp(n, ACK), http(), (n % 7) as u16, FlowState::Established, 100);
        frames.push(Craft::tcp(n, ACK).bytes());
    }
    let mut spent = 0;
    for (n, frame) in frames.iter().enumerate() {
        let seat = &mut told.rig.seats[0];
        assert!(port(seat, 0).arrive(frame));
        let cost = calls(|| assert_eq!(seat.worker.turn(0), 1));
        for id in 0..PORTS {
            port(seat, id).sent(|_| ());
        }
        // The memory port's own queues grow in the first turns.
        spent += if n > 300 { cost } else { 0 };
    }
    assert_eq!(spent, 0);
    assert!(told.adopted() > 2900, "{}", told.adopted());
}

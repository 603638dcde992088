//! The gauges of real servers: at every moment the flows that tables hold for them, and nothing once all have
//! expired, however flows came, moved and went.

use proptest::prelude::*;
use shunt_dataplane::forwarding::{Persistence, Ports, RealSpec, ServiceKey, ServiceSpec};
use shunt_dataplane::schedule::Policy;

use crate::craft::{ACK, Craft, FIN, RST, SYN};
use crate::rig::{Rig, dns, down, draining, http, service, up, weighted};

/// What can happen between two looks at the gauges.
#[derive(Debug, Clone)]
enum Event {
    /// So many frames of random clients with these flags; UDP if none.
    Frames {
        worker: usize,
        first: u32,
        count: u32,
        flags: Option<u8>,
    },
    /// New sets of real servers; a service without any is removed.
    Publish {
        http: Vec<(u16, u8)>,
        dns: Vec<(u16, u8)>,
        persistent: bool,
    },
    Wait(u64),
}

const WORKERS: usize = 2;
const REALS: u16 = 6;

fn event() -> impl Strategy<Value = Event> {
    let flags = prop_oneof![
        2 => Just(None),
        3 => Just(Some(SYN)),
        3 => Just(Some(ACK)),
        1 => Just(Some(FIN | ACK)),
        1 => Just(Some(RST)),
    ];
    let set = || proptest::collection::vec((0..REALS, 0u8..4), 0..6);
    prop_oneof![
        6 => (0..WORKERS, 0u32..400, 1u32..60, flags)
            .prop_map(|(worker, first, count, flags)| Event::Frames { worker, first, count, flags }),
        2 => (set(), set(), any::<bool>())
            .prop_map(|(http, dns, persistent)| Event::Publish { http, dns, persistent }),
        1 => (0u64..200).prop_map(Event::Wait),
    ]
}

fn spec(key: ServiceKey, set: &[(u16, u8)], persistent: bool) -> Option<ServiceSpec> {
    let mut reals: Vec<RealSpec> = Vec::new();
    for &(n, kind) in set {
        let real = [up(n), weighted(n, 5), draining(n), down(n)][usize::from(kind)];
        if reals.iter().all(|known| known.address != real.address) {
            reals.push(real);
        }
    }
    let mut spec = service(key, reals);
    if persistent {
        spec.options.persistence = Some(Persistence { timeout: 40, mask: !0xff });
    }
    (!spec.reals.is_empty()).then_some(spec)
}

fn everybody() -> Vec<ServiceSpec> {
    [http(), dns()].map(|key| service(key, (0..REALS).map(up))).into()
}

fn happen(rig: &mut Rig, event: &Event) {
    match event {
        Event::Frames { worker, first, count, flags } => {
            for n in *first..first + count {
                let craft = flags.map_or_else(|| Craft::udp(n), |flags| Craft::tcp(n, flags));
                rig.send(*worker, 0, &craft.bytes());
            }
        }
        Event::Publish { http: web, dns: names, persistent } => {
            let specs = [spec(http(), web, *persistent), spec(dns(), names, *persistent)];
            let specs: Vec<_> = specs.into_iter().flatten().collect();
            rig.publish(&specs);
        }
        Event::Wait(seconds) => rig.wait(*seconds),
    }
}

/// All that have been configured once are configured again, so that the gauges of all can be seen.
fn come_to_rest(rig: &mut Rig) {
    rig.publish(&everybody());
    rig.check_gauges();
    rig.expire_all();
    for (_, service) in rig.state().services() {
        for (_, real) in service.reals() {
            let counters = real.counters();
            assert_eq!(counters.total(|c| &c.active), 0, "{:?} {}", service.key(), real.address());
            assert_eq!(counters.total(|c| &c.inactive), 0, "{:?} {}", service.key(), real.address());
            assert_eq!(counters.total(|c| &c.templates), 0, "{:?} {}", service.key(), real.address());
        }
    }
    assert_eq!(rig.total(|stats| stats.flows.value()), 0);
}

#[test]
fn gauges_return_to_zero_after_moves_evictions_adoptions_and_reopened_connections() {
    let mut rig = Rig::new(WORKERS, 64);
    rig.publish(&everybody());
    for flags in [SYN, ACK] {
        happen(&mut rig, &Event::Frames { worker: 0, first: 0, count: 40, flags: Some(flags) });
    }
    happen(
        &mut rig,
        &Event::Publish { http: vec![(0, 0), (1, 3), (2, 2)], dns: vec![(1, 0)], persistent: false },
    );
    happen(&mut rig, &Event::Frames { worker: 1, first: 0, count: 40, flags: Some(ACK) });
    happen(&mut rig, &Event::Frames { worker: 0, first: 0, count: 40, flags: Some(FIN | ACK) });
    happen(&mut rig, &Event::Frames { worker: 0, first: 0, count: 40, flags: Some(SYN) });
    // Far more newcomers than the table has room for.
    happen(&mut rig, &Event::Frames { worker: 0, first: 1000, count: 500, flags: Some(SYN) });
    happen(&mut rig, &Event::Frames { worker: 1, first: 1000, count: 500, flags: None });
    // Two segments each: what is settled makes no room.
    for n in 2000..2500 {
        for _ in 0..2 {
            happen(&mut rig, &Event::Frames { worker: 1, first: n, count: 1, flags: Some(ACK) });
        }
    }
    happen(&mut rig, &Event::Frames { worker: 1, first: 3000, count: 500, flags: Some(SYN) });
    // By now, with a policy that would not say the same again, nobody is dispensable.
    let mut round_robin = everybody();
    round_robin[0].options.policy = Policy::Rr;
    rig.publish(&round_robin);
    happen(&mut rig, &Event::Frames { worker: 1, first: 4000, count: 500, flags: Some(SYN) });
    for n in 5000..5500 {
        for _ in 0..2 {
            happen(&mut rig, &Event::Frames { worker: 1, first: n, count: 1, flags: Some(ACK) });
        }
    }
    rig.check_gauges();
    let counts = [
        ("moved", rig.total(|s| s.flows_moved.value())),
        ("adopted", rig.total(|s| s.flows_adopted.value())),
        ("evicted", rig.total(|s| s.flows_evicted.value())),
        ("dispensed with", rig.total(|s| s.flows_dispensed.value())),
        ("refused", rig.total(|s| s.flows_refused.value())),
    ];
    for (name, count) in counts {
        assert!(count > 0, "no flow was {name}: {counts:?}");
    }
    come_to_rest(&mut rig);
}

/// A worker that panicked has perhaps counted a flow that it has not, or not one that it has.
#[test]
fn who_takes_the_place_of_a_worker_counts_anew_what_that_one_remembered() {
    let mut rig = Rig::new(WORKERS, 256);
    rig.publish(&everybody());
    for worker in 0..WORKERS {
        happen(&mut rig, &Event::Frames { worker, first: 100 * worker as u32, count: 40, flags: Some(ACK) });
        happen(&mut rig, &Event::Frames { worker, first: 100 * worker as u32, count: 40, flags: None });
    }
    let state = rig.state().clone();
    let (_, service) = state.services().next().expect("two of them");
    let (_, real) = service.reals().next().expect("six of them");
    real.counters()[0].active.add(1);
    real.counters()[0].inactive.sub(1);
    rig.replace(0);
    rig.check_gauges();
    let flows = rig.seats[0].stats.flows.value();
    assert_eq!(flows, 80);
    // None of them is a new one to it.
    let new = |rig: &Rig| rig.state().services().map(|(_, s)| s.counters().total(|c| &c.flows)).sum::<u64>();
    let before = new(&rig);
    happen(&mut rig, &Event::Frames { worker: 0, first: 0, count: 40, flags: Some(ACK) });
    assert_eq!((new(&rig), rig.seats[0].stats.flows.value()), (before, flows));
    come_to_rest(&mut rig);
}

/// Ids of services are scarce in the end, too: the real servers of a service that takes another's id start
/// from nothing, those that it only adds later as well.
#[test]
fn a_service_with_the_id_of_another_inherits_no_counts() {
    let mut rig = Rig::new(1, 64);
    rig.publish(&[service(http(), [up(1), up(2), up(3)])]);
    for n in 0..30 {
        rig.send(0, 0, &Craft::tcp(n, SYN).bytes());
    }
    let id = rig.state().find(&http()).expect("configured");
    // Services come and go until the id is given away.
    let other = |n: u16| ServiceKey { ports: Ports::exact(1000 + n), ..http() };
    let heir = (0..2000).map(other).find(|key| {
        rig.publish(&[service(*key, [up(4)])]);
        rig.state().find(key) == Some(id)
    });
    let heir = heir.expect("tombstones are used again in the end");
    rig.publish(&[service(heir, [up(4), up(1), up(2), up(3)])]);
    rig.check_gauges();
    let (_, service) = rig.state().services().next().expect("one service");
    assert_eq!(service.reals().count(), 4);
    for (_, real) in service.reals() {
        let counters = real.counters();
        assert_eq!(counters.total(|c| &c.frames), 0, "{}", real.address());
        assert_eq!(counters.total(|c| &c.active), 0, "{}", real.address());
    }
    rig.expire_all();
    rig.check_gauges();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn gauges_are_the_flows_in_the_tables_whatever_happens(
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut rig = Rig::new(WORKERS, 64);
        rig.publish(&everybody());
        for event in &events {
            happen(&mut rig, event);
            rig.check_gauges();
        }
        come_to_rest(&mut rig);
    }
}

//! What a shadow says of a frame is what the director then does with it; and being asked leaves no trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::shadow::{Explanation, Shadow, Way, Whose};
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::flow::{Capacity, Flow, FlowKey, FlowReader, FlowState, FlowTable, FragmentReader};
use shunt_dataplane::forwarding::{
    Builder, ForwardingState, NoReal, OnFailure, Persistence, RealSlot, RealSpec, ServiceId, ServiceSpec,
    Synced, Thresholds,
};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::rewrite::Vlan;
use shunt_dataplane::schedule::{HashFlags, Policy};
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::{DropReason, Verdict};

use crate::craft::{ACK, Craft, FIN, RST, SYN, fragments, icmp_error};
use crate::malformed::mutated;
use crate::rig::{
    counters, dns, down, draining, http, path, service, six, state_counters, up, weighted, with,
};

const WORKERS: usize = 2;

/// Directors without ports, and what they know.
struct Live {
    state: ForwardingState,
    synced: FlowTable,
    seats: Vec<Seat>,
    now: Tick,
}

struct Seat {
    director: Director,
    stats: Arc<WorkerStats>,
    flows: FlowReader,
    fragments: FragmentReader,
}

/// What there is to see of a dataplane.
type Traces = (BTreeMap<String, u64>, Vec<BTreeMap<String, u64>>, Vec<Vec<(FlowKey, Flow)>>);

impl Live {
    fn new() -> Live {
        let all = Rates { icmp: u32::MAX, reset: u32::MAX };
        let seats = Memory::for_workers(WORKERS, Capacity::each(64), 5).into_iter().enumerate();
        let seats = seats.map(|(n, memory)| {
            let stats = Arc::new(WorkerStats::default());
            let (flows, fragments) = (memory.flows.reader(), memory.fragments.reader());
            Seat { director: Director::new(n, memory, all, stats.clone()), stats, flows, fragments }
        });
        Live {
            state: ForwardingState::empty(HashKey([7, 11])),
            synced: FlowTable::new(Capacity::each(64), 9),
            seats: seats.collect(),
            now: Tick::new(40),
        }
    }

    fn publish(&mut self, specs: &[ServiceSpec]) {
        let next = Builder::after(&self.state, WORKERS, 2).build(specs).expect("the specification is right");
        self.state = next.with_synced(Some(Synced::new(self.synced.reader(), Tick::new(50))));
    }

    fn shadow(&self) -> Shadow {
        Shadow::of(&self.state, self.seats.iter().map(|seat| (&seat.flows, &seat.fragments)))
    }

    fn traces(&self) -> Traces {
        let stats = self.seats.iter().map(|seat| counters(&seat.stats)).collect();
        (
            state_counters(&self.state),
            stats,
            self.seats.iter().map(|seat| seat.flows.iter().collect()).collect(),
        )
    }

    /// Frames counted for each real server, by its service.
    fn frames(&self) -> Vec<(ServiceId, RealSlot, u64)> {
        let services = self.state.services();
        let reals =
            services.flat_map(|(id, service)| service.slots().map(move |(slot, real)| (id, slot, real)));
        reals.map(|(id, slot, real)| (id, slot, real.counters().total(|c| &c.frames))).collect()
    }

    fn direct(&mut self, worker: usize, frame: &[u8], complete: bool) -> (Verdict, Vec<u8>) {
        let (mut burst, mut verdicts) = ([frame.to_vec()], Verdicts::new());
        self.seats[worker].director.direct(&self.state, &mut burst, complete, self.now, &mut verdicts);
        let [frame] = burst;
        (verdicts[0], frame)
    }

    /// The frame is explained, and then it comes.
    fn try_out(&mut self, worker: usize, frame: &[u8], complete: bool) -> Explanation {
        let before = self.traces();
        let said = self.shadow().explain(Some(worker), frame, complete, self.now);
        assert_eq!(self.traces(), before, "being asked left a trace");
        let frames = self.frames();
        let done = self.direct(worker, frame, complete);
        assert_eq!((said.verdict, said.frame.clone()), done, "{said:#?}");
        let real = self.frames().into_iter().zip(frames).find(|(after, before)| after.2 != before.2);
        let real = real.map(|((service, slot, _), _)| (service, slot));
        assert_eq!(said.service.zip(said.real), real, "{said:#?}");
        if let (Some(id), Some(after)) = (said.service, said.after) {
            let packet = said.packet.expect("it has a flow");
            let key = FlowKey::new(packet.src, packet.src_port, packet.dst_port, id);
            let to = self.state.destination(&key).expect("configured");
            assert_eq!(self.seats[worker].flows.find(to, &key), Some(after));
        }
        said
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    let flags = (any::<bool>(), any::<bool>()).prop_map(|(port, fallback)| HashFlags { port, fallback });
    prop_oneof![
        Just(Policy::Maglev),
        Just(Policy::Rr),
        Just(Policy::Wrr),
        Just(Policy::Lc),
        Just(Policy::Wlc),
        Just(Policy::Sed),
        Just(Policy::Nq),
        flags.clone().prop_map(Policy::Sh),
        Just(Policy::Dh),
        flags.prop_map(Policy::Mh),
        Just(Policy::Fo),
        Just(Policy::Ovf),
        Just(Policy::Lblc),
        Just(Policy::Lblcr),
        Just(Policy::Twos),
    ]
}

fn real(n: u16) -> impl Strategy<Value = Option<RealSpec>> {
    let upper = prop_oneof![4 => Just(0), 1 => 1u32..4];
    (0u16..4, 0u8..8, upper, any::<bool>()).prop_map(move |(weight, how, upper, keeps_flows)| {
        let spec = weighted(n, weight);
        let thresholds = Thresholds { upper, lower: 0 };
        let narrow = |mtu| path(n, 0).mtu.min(mtu);
        let path = path(n, (how % 2).min(1));
        let path = match how {
            0 => return None,
            1 => None,
            2 => Some(shunt_dataplane::forwarding::Path { mtu: narrow(45), ..path }),
            3 => Some(shunt_dataplane::forwarding::Path { vlan: Vlan::Tagged(7), ..path }),
            _ => Some(path),
        };
        Some(RealSpec { thresholds, keeps_flows, healthy: how != 4, path, ..spec })
    })
}

fn specs() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let reals = (real(0), real(1), real(2), real(3));
    let options = (policy(), 0u8..3, any::<bool>(), 0u8..3, 0u8..3, any::<bool>(), 0u8..3);
    let spec = (reals, options).prop_map(|((a, b, c, d), options)| {
        let (policy, persistence, one_packet, failure, no_real, strict, share) = options;
        let reals: Vec<RealSpec> = [a, b, c, d].into_iter().flatten().collect();
        with(http(), reals, |options| {
            options.policy = policy;
            options.persistence =
                (persistence == 0).then_some(Persistence { timeout: 60, mask: u128::MAX << 4 });
            options.one_packet = one_packet;
            options.on_failure = [OnFailure::Reset, OnFailure::Rehash, OnFailure::Keep][usize::from(failure)];
            options.no_real = [NoReal::Unreachable, NoReal::Reset, NoReal::Silent][usize::from(no_real)];
            options.strict = strict;
            options.table_share = if share == 0 { 50 } else { 1000 };
        })
    });
    vec(spec, 4).prop_map(|specs| {
        let keys = [http(), dns(), six(http()), six(dns())];
        keys.into_iter().zip(specs).map(|(key, spec)| ServiceSpec { key, ..spec }).collect()
    })
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![
        3 => Just(SYN), 4 => Just(ACK), 1 => Just(FIN | ACK), 1 => Just(RST), 1 => Just(0u8)
    ];
    let tuple = (0u32..40, flags, any::<bool>(), any::<bool>(), 0u8..16);
    let good = tuple.prop_map(|(n, flags, tcp, v6, how)| {
        let craft = if tcp { Craft::tcp(n, flags) } else { Craft::udp(n) };
        let craft = if v6 { craft.v6() } else { craft };
        match how {
            0 => Craft { ttl: 1, ..craft }.bytes(),
            1 => Craft { dst_port: 7, ..craft }.bytes(),
            2 => icmp_error(3 - u8::from(v6), 0, 1400, &craft.reverse().ip()),
            3 | 4 => {
                let long = Craft { payload: std::vec![7; 64], ..craft };
                fragments(&long.bytes(), 32, n, 0).swap_remove(usize::from(how - 3))
            }
            5 => craft.tagged(&[(0x8100, 3)]).bytes(),
            _ => craft.bytes(),
        }
    });
    prop_oneof![12 => good, 1 => mutated()]
}

#[derive(Debug, Clone)]
enum Event {
    Frame(usize, Vec<u8>, bool),
    Publish(Vec<ServiceSpec>),
    /// A peer tells of the flow of a frame.
    Tell(Vec<u8>, u16, FlowState),
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let states = prop_oneof![Just(FlowState::Established), Just(FlowState::FinWait)];
    prop_oneof![
        40 => (0..WORKERS, frame(), any::<bool>()).prop_map(|(n, frame, virt)| Event::Frame(n, frame, virt)),
        2 => specs().prop_map(Event::Publish),
        4 => (frame(), 0u16..4, states).prop_map(|(frame, real, state)| Event::Tell(frame, real, state)),
        2 => (1u32..400).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_explained_is_what_then_happens(first in specs(), events in vec(event(), 1..120)) {
        let mut live = Live::new();
        live.publish(&first);
        for event in events {
            match event {
                Event::Frame(worker, frame, complete) => drop(live.try_out(worker, &frame, complete)),
                Event::Publish(specs) => live.publish(&specs),
                Event::Wait(ticks) => {
                    live.now = live.now.after(ticks);
                    let Live { seats, state, now, .. } = &mut live;
                    seats.iter_mut().for_each(|seat| seat.director.age(state, 16, *now));
                }
                Event::Tell(frame, real, state) => {
                    let Ok(packet) = shunt_dataplane::parse::parse(&frame) else { continue };
                    let Some(id) = live.state.lookup(&packet) else { continue };
                    let key = FlowKey::new(packet.src, packet.src_port, packet.dst_port, id);
                    let to = live.state.destination(&key).expect("configured");
                    let (now, slot) = (live.now, live.synced.slot(to, &key));
                    let flow = Flow { real: RealSlot(real), epoch: 0, state, expires: now.after(900) };
                    match live.synced.find(slot, &key) {
                        Some((position, _)) => live.synced.update(position, key.service, flow),
                        None => drop(live.synced.insert(slot, &key, flow, now, 1000, |_, _| true)),
                    }
                }
            }
        }
    }
}

#[test]
fn the_chain_names_who_knew_the_flow_and_how_its_real_server_was_found() {
    let mut live = Live::new();
    let robin = |reals: &[RealSpec]| {
        with(http(), reals.to_vec(), |options| {
            options.policy = Policy::Rr;
            options.on_failure = OnFailure::Rehash;
        })
    };
    live.publish(&[robin(&[up(0), up(1), up(2)])]);
    let (syn, ack) = (Craft::tcp(1, SYN).bytes(), Craft::tcp(1, ACK).bytes());
    let new = live.try_out(1, &syn, false);
    assert_eq!((new.way, new.flows.len(), new.hashed), (Some(Way::Scheduled), 0, None));
    let real = new.real;

    // Nobody says which worker: the one that knows it is asked.
    let known = live.shadow().explain(None, &ack, false, live.now);
    assert_eq!((known.worker, known.way, known.real), (1, Some(Way::Remembered), real));
    assert!(matches!(known.flows[..], [(Whose::Worker(1), flow)] if flow.state == FlowState::SynReceived));
    assert_eq!(known.after.map(|flow| flow.state), Some(FlowState::Established));

    let adopted = live.try_out(0, &ack, false);
    assert_eq!((adopted.way, adopted.real), (Some(Way::Adopted), real));
    let gone: Vec<RealSpec> =
        (0..3).map(|n| if real == Some(RealSlot(n)) { down(n) } else { up(n) }).collect();
    live.publish(&[robin(&gone)]);
    let moved = live.try_out(0, &ack, false);
    assert_eq!(moved.way, Some(Way::Moved));
    assert_ne!(moved.real, real);
    live.publish(&[robin(&[draining(0)])]);
    let none = live.try_out(0, &Craft::tcp(2, SYN).bytes(), false);
    assert_eq!((none.way, none.real, none.verdict), (None, None, Verdict::Drop(DropReason::NoReal)));
}

#[test]
fn frames_shown_one_after_the_other_are_a_sequence_and_the_next_shadow_knows_nothing_of_it() {
    let mut live = Live::new();
    live.publish(&[service(http(), [up(0), up(1)])]);
    let mut shadow = live.shadow();
    let ways = [SYN, ACK].map(|flags| {
        let said = shadow.explain(None, &Craft::tcp(1, flags).bytes(), false, live.now);
        (said.way, said.after.map(|flow| flow.state))
    });
    let expected = [
        (Some(Way::Scheduled), Some(FlowState::SynReceived)),
        (Some(Way::Remembered), Some(FlowState::Established)),
    ];
    assert_eq!(ways, expected);
    let said = live.shadow().explain(None, &Craft::tcp(1, ACK).bytes(), false, live.now);
    assert_eq!(said.way, Some(Way::Scheduled));
}

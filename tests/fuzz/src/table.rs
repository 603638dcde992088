//! Operations on a flow table beside a hash map and a clock that does not wrap.
//!
//! The promises: what is remembered is what was put in, until it is taken out, expires, or makes room for a newcomer
//! that was entitled to it; nobody is counted twice or not at all.
//!
//! The input: where the clock begins, then one operation after the other, each of a byte that says what (bits 0-2) and
//! how, and its operands.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use shunt_dataplane::clock::Tick;
use shunt_dataplane::flow::table::{Aged, Inserted, Victim};
use shunt_dataplane::flow::{Capacity, Destination, Flow, FlowKey, FlowState, FlowTable};
use shunt_dataplane::forwarding::{RealSlot, ServiceId};
use shunt_dataplane::packet::{Address, Protocol};

use crate::input::Input;

/// Entries of each family.
const ENTRIES: usize = 64;
/// What services 0 to 3 may hold of them, in 1/1000.
const SHARES: [u16; 4] = [1000, 500, 100, 1];
/// Ticks that may go by at once.
const PAUSES: [u64; 4] = [1, 9, 200, 20_000];
/// How long flows are remembered, in ticks.
const TIMEOUTS: [u32; 4] = [1, 40, 3_600, 10_713_600];

/// A flow, and when it expires on a clock that does not wrap.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    flow: Flow,
    expires: u64,
}

struct Run {
    table: FlowTable,
    model: HashMap<FlowKey, Known>,
    now: u64,
}

/// The target.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    // The wrap is never far.
    let now = (1 << 24) - u64::from(input.byte()) * 16;
    let table = FlowTable::new(Capacity::each(ENTRIES), 99);
    assert_eq!(table.capacity(), Capacity::each(ENTRIES));
    let mut run = Run { table, model: HashMap::new(), now };
    while !input.is_empty() {
        run.operation(&mut input);
        assert_eq!(run.table.len(), run.model.len());
    }
    run.check();
    run.age(usize::MAX);
    run.check();
}

impl Run {
    fn tick(&self, moment: u64) -> Tick {
        Tick::new((moment % (1 << 24)) as u32)
    }

    fn operation(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let how = usize::from(what >> 3);
        match what & 7 {
            0..=3 => self.packet(key(input.word()), how, input.byte()),
            4 => {
                // Many newcomers.
                let (first, state) = (input.word(), input.byte());
                for n in 0..u16::from(input.byte() & 63) {
                    self.packet(key(first.wrapping_add(n)), how, state);
                }
            }
            5 => {
                let key = key(input.word());
                let slot = self.table.slot(to(&key), &key);
                let found = self.table.find(slot, &key);
                assert_eq!(found.map(|(_, flow)| flow), self.model.remove(&key).map(|known| known.flow));
                if let Some((position, _)) = found {
                    self.table.remove(position);
                }
            }
            6 => self.age(usize::from(input.byte())),
            _ => {
                self.now += PAUSES[how & 3];
                // A worker looks at all of its table every few seconds.
                if how & 3 == 3 {
                    self.age(usize::MAX);
                }
            }
        }
    }

    /// A packet of this flow, which is remembered from here on if there is room.
    fn packet(&mut self, key: FlowKey, how: usize, state: u8) {
        let state = FlowState::ALL[usize::from(state) % FlowState::ALL.len()];
        let timeout = TIMEOUTS[how & 3];
        let expires = self.now + u64::from(timeout);
        let (real, epoch) = (RealSlot((how as u16 >> 2 & 3) * 0x4001), (how & 15) as u8);
        let flow = Flow { real, epoch, state, expires: self.tick(expires) };
        let known = Known { flow, expires };
        let slot = self.table.slot(to(&key), &key);
        let found = self.table.find(slot, &key);
        assert_eq!(found.map(|(_, flow)| flow), self.model.get(&key).map(|known| known.flow), "{key:?}");
        if let Some((position, old)) = found {
            assert_eq!(old.is_expired(self.tick(self.now)), self.model[&key].expires <= self.now);
            self.table.update(position, key.service, flow);
            self.model.insert(key, known);
            return;
        }
        let share = SHARES[usize::from(key.service.0)];
        let held = self.model.keys().filter(|other| other.service == key.service).count();
        assert_eq!(self.table.held(key.service), held);
        let sated = share < 1000 && held >= (ENTRIES * usize::from(share) / 1000).max(1);
        let now = self.tick(self.now);
        match self.table.insert(slot, &key, flow, now, share, |_, flow| is_dispensable(flow)) {
            Inserted::Free => {
                assert!(!sated, "{key:?} took more than its service's share");
            }
            Inserted::Replaced(old, victim, why) => {
                let known = self.model.remove(&old).unwrap_or_else(|| panic!("{old:?} was not there"));
                assert_eq!(victim, known.flow);
                assert_eq!(old.client.v4().is_some(), key.client.v4().is_some(), "of the other family");
                assert_eq!(Some(why), known.weakness(self.now));
                assert!(
                    !sated || old.service == key.service,
                    "{key:?} pushed {old:?} aside beyond its share"
                );
            }
            Inserted::Refused => {
                let is_rival = |other: &&FlowKey| {
                    let same_family = other.client.v4().is_some() == key.client.v4().is_some();
                    same_family && (!sated || other.service == key.service)
                };
                assert!(
                    sated || self.model.keys().filter(is_rival).count() >= 8,
                    "both its buckets are full"
                );
                return;
            }
        }
        self.model.insert(key, known);
    }

    fn age(&mut self, buckets: usize) {
        let (model, moment) = (&mut self.model, self.now);
        let now = Tick::new((moment % (1 << 24)) as u32);
        self.table.age(buckets, now, |key, flow, aged| {
            if aged == Aged::Alive {
                return;
            }
            let known = model.remove(&key).unwrap_or_else(|| panic!("{key:?} was not there"));
            assert_eq!(known.flow, flow);
            assert!(known.expires <= moment, "{key:?} was forgotten too soon");
        });
        if buckets >= self.table.buckets() {
            assert!(self.model.values().all(|known| known.expires > moment), "one was not forgotten");
        }
    }

    fn check(&self) {
        let mut contents = HashMap::new();
        for (key, flow) in self.table.reader().iter() {
            assert!(contents.insert(key, flow).is_none(), "{key:?} occurs twice");
        }
        let expected: HashMap<_, _> = self.model.iter().map(|(key, known)| (*key, known.flow)).collect();
        assert_eq!(contents, expected);
        for (key, flow) in expected {
            assert_eq!(self.table.reader().find(to(&key), &key), Some(flow));
        }
    }
}

impl Known {
    /// Why it may make room, if it may.
    fn weakness(&self, now: u64) -> Option<Victim> {
        use FlowState::{Closed, FinWait, Midway, SctpNew, SynReceived, TemplateNew, TimeWait, UdpNew};
        match self.flow.state {
            _ if self.expires <= now => Some(Victim::Expired),
            FinWait | TimeWait | Closed => Some(Victim::Closing),
            SynReceived | Midway | UdpNew | SctpNew | TemplateNew => Some(Victim::Probation),
            _ if is_dispensable(&self.flow) => Some(Victim::Dispensable),
            _ => None,
        }
    }
}

/// What the table would hear of the scheduler.
fn is_dispensable(flow: &Flow) -> bool {
    flow.real.0 == 0x4001
}

/// Keys of either family and four services, templates among them, that differ in client or port.
fn key(n: u16) -> FlowKey {
    let (family, service, low) = (n & 1, ServiceId(n >> 1 & 3), u32::from(n >> 3));
    let client = |n: u32| match family {
        0 => Address::from_v4(0xc612_0000 | n),
        _ => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << (n % 64))).into(),
    };
    match low % 3 {
        0 => FlowKey::new(client(low), 40_000, 443, service),
        1 => FlowKey::new(client(1), 1 + low as u16, 443, service),
        _ => FlowKey::template(client(low), service),
    }
}

/// Services 0 and 1 have one destination: then their flows stand in the same buckets.
fn to(key: &FlowKey) -> Destination {
    Destination::new(Address::from_v4(u32::from(key.service.0.max(1))), Protocol::Tcp)
}

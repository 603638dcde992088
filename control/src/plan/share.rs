//! The share of a service's hash that moves: how many of so many questions two schedulers answer otherwise.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shunt_dataplane::clock::Tick;
use shunt_dataplane::forwarding::{ForwardingState, Service};
use shunt_dataplane::hash::HashKey;
use shunt_dataplane::id::RealSlot;
use shunt_dataplane::packet::Address;
use shunt_dataplane::schedule::{Candidate, Policy, Question, Scheduler};

/// Questions asked: as many as a maglev table has slots, but for one.
const QUESTIONS: u64 = 1 << 16;

/// How much of a hash moves, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// At the moment of the change: real servers that are awaited take nothing.
    pub at_once_percent: f64,
    /// Once nobody is waited for any more.
    pub settled_percent: f64,
}

impl Share {
    /// Whether anything moves.
    pub fn is_some(self) -> bool {
        self.at_once_percent > 0.0 || self.settled_percent > 0.0
    }
}

/// Whether the scheduler says the same of a flow whatever the load and the history.
pub(super) fn is_hash(policy: Policy) -> bool {
    matches!(policy, Policy::Maglev | Policy::Sh(_) | Policy::Dh | Policy::Mh(_))
}

/// The share that moves from `old` to `new`, and then to those that are `willing`; none where either has no hash.
pub(super) fn moved(
    state: &ForwardingState,
    old: &Service,
    new: &Service,
    willing: &[(IpAddr, u16)],
    now: Tick,
) -> Option<Share> {
    if !is_hash(old.options().policy) || !is_hash(new.options().policy) {
        return None;
    }
    let candidates: Vec<Candidate> = willing
        .iter()
        .zip(0..)
        .map(|((address, weight), slot)| Candidate {
            slot,
            address: (*address).into(),
            port: new.key().ports.single().unwrap_or(0),
            weight: *weight,
        })
        .collect();
    let of = |service: &Service, slot| service.real(RealSlot(slot)).map(|real| real.address());
    let before = |question: &Question| old.scheduler().recall(question).and_then(|slot| of(old, slot));
    let after = |question: &Question| new.scheduler().recall(question).and_then(|slot| of(new, slot));
    let at_once = match std::ptr::eq(old.scheduler(), new.scheduler()) {
        true => 0.0,
        false => differing(new, now, before, after),
    };
    let has_all = candidates.len() == new.scheduler().candidates().len();
    let settled = if has_all {
        at_once
    } else {
        let scheduler = Scheduler::build(new.options().policy, state.hash_key(), &candidates, None);
        let then = |question: &Question| {
            let slot = scheduler.recall(question)?;
            candidates.get(usize::from(slot)).map(|candidate| candidate.address)
        };
        differing(new, now, before, then)
    };
    Some(Share { at_once_percent: at_once, settled_percent: settled })
}

/// How many of all questions are answered otherwise, in percent.
fn differing(
    service: &Service,
    now: Tick,
    one: impl Fn(&Question) -> Option<Address>,
    other: impl Fn(&Question) -> Option<Address>,
) -> f64 {
    let questions = (0..QUESTIONS).map(|n| question(service, n, now));
    let differing = questions.filter(|question| one(question) != other(question)).count();
    differing as f64 * 100.0 / QUESTIONS as f64
}

/// Question `n`: hashes in equal steps, so that each slot of a table is asked about, from clients all over the address space.
fn question(service: &Service, n: u64, now: Tick) -> Question {
    let bits = HashKey([n, 0]).words(n, !n);
    let src: IpAddr = match IpAddr::from(service.key().address) {
        IpAddr::V4(_) => std::net::Ipv4Addr::from(bits as u32).into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::from(u128::from(bits) << 64 | u128::from(n)).into(),
    };
    let hash = n * (u64::MAX / QUESTIONS);
    Question { hash, src: src.into(), src_port: (bits >> 48) as u16 | 1, dst: service.key().address, now }
}

#[cfg(test)]
mod tests {
    use shunt_dataplane::forwarding::{Builder, Options, Path, Ports, RealSpec, ServiceKey, ServiceSpec};
    use shunt_dataplane::packet::{MacAddress, Protocol};
    use shunt_dataplane::port::PortId;
    use shunt_dataplane::rewrite::{MacHeader, Vlan};
    use shunt_dataplane::schedule::HashFlags;

    use super::*;

    const KEY: HashKey = HashKey([1, 2]);

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn after(previous: &ForwardingState, policy: Policy, reals: &[u8]) -> ForwardingState {
        let header = MacHeader::new(MacAddress([2; 6]), MacAddress([4; 6]));
        let path = Some(Path { header, port: PortId(0), mtu: 1500, vlan: Vlan::Keep });
        let real = |n: &u8| RealSpec {
            address: address(*n).into(),
            weight: 1,
            share: 1,
            thresholds: Default::default(),
            healthy: true,
            keeps_flows: true,
            path,
        };
        let key =
            ServiceKey { address: address(10).into(), ports: Ports::exact(80), protocol: Protocol::Tcp };
        let options = Options { policy, ..Options::default() };
        let spec = ServiceSpec { key, options, reals: reals.iter().map(real).collect() };
        Builder::after(previous, 1, 1).build(&[spec]).unwrap()
    }

    fn share(policies: [Policy; 2], before: &[u8], now: &[u8], then: &[u8]) -> Option<Share> {
        let old = after(&ForwardingState::empty(KEY), policies[0], before);
        let new = after(&old, policies[1], now);
        let willing: Vec<_> = then.iter().map(|n| (address(*n), 1)).collect();
        let of = |state: &'static ForwardingState| state.services().next().unwrap().1;
        let (old, new): (&_, &_) = (Box::leak(Box::new(old)), Box::leak(Box::new(new)));
        moved(new, of(old), of(new), &willing, Tick::default())
    }

    #[test]
    fn one_of_four_that_goes_takes_a_quarter_with_it_and_one_that_comes_gets_a_fifth() {
        for policy in [Policy::Maglev, Policy::Mh(HashFlags::default())] {
            let gone = share([policy; 2], &[21, 22, 23, 24], &[21, 22, 23], &[21, 22, 23]).unwrap();
            assert!((25.0..27.0).contains(&gone.at_once_percent), "{policy}: {gone:?}");
            assert_eq!(gone.at_once_percent, gone.settled_percent);
            let awaited =
                share([policy; 2], &[21, 22, 23, 24], &[21, 22, 23, 24], &[21, 22, 23, 24, 25]).unwrap();
            assert_eq!(awaited.at_once_percent, 0.0);
            assert!((20.0..23.0).contains(&awaited.settled_percent), "{policy}: {awaited:?}");
        }
    }

    #[test]
    fn what_goes_by_turn_has_no_hash() {
        assert_eq!(share([Policy::Wrr; 2], &[21, 22], &[21], &[21]), None);
        assert_eq!(share([Policy::Maglev, Policy::Rr], &[21, 22], &[21], &[21]), None);
    }
}

//! One remembered flow: sixteen bytes for IPv4, thirty-two for IPv6.
//!
//! ```text
//! IPv4  word 0   client address 63..32 | client port 31..16 | destination port 15..0
//!       word 1   service id 63..48 | real slot 47..32 | state 31..28 | epoch 27..24 | expires 23..0
//!
//! IPv6  word 0   client address, upper half
//!       word 1   client address, lower half
//!       word 2   0 63..32 | client port 31..16 | destination port 15..0
//!       word 3   as word 1 of IPv4
//! ```
//! The key is exact: client address, client port, destination port, service id. The service id stands for VIP
//! and protocol; the destination port is there for services that have more than one. `epoch` tells one tenant of a
//! real slot from the next (`forwarding::Real::epoch`). The last word is never 0: no state has the number 0.
//!
//! `expires` is the tick at which the flow is forgotten, not the one at which its last packet came: timeouts are a
//! service's own, and whoever looks for expired flows need not know the service. Ticks are modulo 2^24 (48 days)
//! and no timeout is longer than `Timeouts::MAX` (31 days), so a tick up to that far ahead of now is the future, and
//! any other the past: right for 17 days after the flow has expired, and a worker looks at each every few seconds.
//!
//! Templates (persistence) have both ports 0. No flow has: a service's ports begin at 1.

use std::net::{IpAddr, Ipv6Addr};

use crate::clock::Tick;
use crate::flow::state::FlowState;
use crate::flow::timeouts::Timeouts;
use crate::hash::{HashKey, fold};
use crate::id::{RealSlot, ServiceId};
use crate::packet::{Address, Protocol};

/// What identifies a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The client's address.
    pub client: Address,
    /// The client's port.
    pub client_port: u16,
    /// The port that the client connects to.
    pub dst_port: u16,
    /// The service: the VIP and the protocol.
    pub service: ServiceId,
}

impl FlowKey {
    /// The key of a flow from a client to a port of a service.
    #[inline(always)]
    pub const fn new(client: Address, client_port: u16, dst_port: u16, service: ServiceId) -> Self {
        FlowKey { client, client_port, dst_port, service }
    }

    /// The key of the template of a client, or of all clients of a network: `client` is masked already.
    #[inline(always)]
    pub const fn template(client: Address, service: ServiceId) -> Self {
        FlowKey { client, client_port: 0, dst_port: 0, service }
    }

    #[inline(always)]
    const fn ports(&self) -> u64 {
        (self.client_port as u64) << 16 | self.dst_port as u64
    }
}

/// What a flow's service stands for: VIP and protocol, in one word. With the key it decides on the buckets of a flow, so
/// that a packet needs no look-up of its service to find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination(u64);

impl Destination {
    /// The destination of flows to this VIP.
    #[inline(always)]
    pub const fn new(vip: Address, protocol: Protocol) -> Self {
        // VIPs are the operator's: that two of them might agree here is nothing that a client can bring about.
        let [high, low] = vip.words();
        Destination(high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low ^ (protocol as u64) << 48)
    }
}

/// What is remembered of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The real server, by its slot in the service.
    pub real: RealSlot,
    /// Which tenant of that slot, 0-15.
    pub epoch: u8,
    /// State of the flow.
    pub state: FlowState,
    /// When it is forgotten, unless another packet comes before. At most `Timeouts::MAX` ahead.
    pub expires: Tick,
}

impl Flow {
    /// Whether its time is over.
    #[inline(always)]
    pub const fn is_expired(&self, now: Tick) -> bool {
        self.remaining(now) == 0
    }

    /// Ticks until it is forgotten; 0 if its time is over.
    #[inline(always)]
    pub const fn remaining(&self, now: Tick) -> u32 {
        remaining(self.expires, now)
    }

    /// The last word of an entry.
    #[inline(always)]
    pub(super) const fn pack(self, service: ServiceId) -> u64 {
        service_bits(service)
            | (self.real.0 as u64) << 32
            | (self.state as u64) << 28
            | ((self.epoch & 0xf) as u64) << 24
            | self.expires.number() as u64
    }

    /// The service and the flow of a last word; none if the entry is free.
    #[inline(always)]
    pub(super) const fn unpack(word: u64) -> Option<(ServiceId, Flow)> {
        let Some(state) = FlowState::from_bits((word >> 28) as u8 & 0xf) else { return None };
        let flow = Flow {
            real: RealSlot((word >> 32) as u16),
            epoch: (word >> 24) as u8 & 0xf,
            state,
            expires: Tick::new(word as u32 & 0x00ff_ffff),
        };
        Some((ServiceId((word >> 48) as u16), flow))
    }
}

/// The bits of a last word that belong to the key.
pub(super) const SERVICE_BITS: u64 = 0xffff << 48;

/// A service in those bits.
#[inline(always)]
pub(super) const fn service_bits(service: ServiceId) -> u64 {
    (service.0 as u64) << 48
}

/// Ticks from `now` to `expires`; 0 if that is now or in the past.
#[inline(always)]
pub(super) const fn remaining(expires: Tick, now: Tick) -> u32 {
    match expires.since(now) {
        ahead if ahead > Timeouts::MAX => 0,
        ahead => ahead,
    }
}

/// The words of an entry before its last: a key but for its service.
pub(super) trait Layout: Copy {
    /// The words for this key, which is of the right family.
    fn of(key: &FlowKey) -> Self;

    /// The key with these words and this service.
    fn key(self, service: ServiceId) -> FlowKey;

    /// What decides on the buckets of a flow with these words. Nobody who does not know `secret` can make two flows
    /// agree in it.
    fn mix(self, secret: HashKey, to: Destination) -> u64;
}

impl Layout for [u64; 1] {
    #[inline(always)]
    fn of(key: &FlowKey) -> Self {
        [key.client.words()[1] << 32 | key.ports()]
    }

    #[inline(always)]
    fn key(self, service: ServiceId) -> FlowKey {
        let [word] = self;
        FlowKey::new(Address::from_v4((word >> 32) as u32), (word >> 16) as u16, word as u16, service)
    }

    #[inline(always)]
    fn mix(self, secret: HashKey, to: Destination) -> u64 {
        secret.words(self[0], to.0)
    }
}

impl Layout for [u64; 3] {
    #[inline(always)]
    fn of(key: &FlowKey) -> Self {
        let [upper, lower] = key.client.words();
        [upper, lower, key.ports()]
    }

    #[inline(always)]
    fn key(self, service: ServiceId) -> FlowKey {
        let [upper, lower, ports] = self;
        let client = Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower));
        FlowKey::new(IpAddr::V6(client).into(), (ports >> 16) as u16, ports as u16, service)
    }

    #[inline(always)]
    fn mix(self, secret: HashKey, to: Destination) -> u64 {
        let [upper, lower, ports] = self;
        let client = fold(upper ^ secret.0[0], lower ^ secret.0[1]);
        secret.words(client ^ ports, to.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SECRET: HashKey = HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

    fn v4(bits: u32) -> Address {
        Address::from_v4(bits)
    }

    fn v6(bits: u128) -> Address {
        IpAddr::V6(Ipv6Addr::from_bits(bits)).into()
    }

    #[test]
    fn a_flow_survives_packing() {
        for state in FlowState::ALL {
            let flow = Flow { real: RealSlot(513), epoch: 15, state, expires: Tick::new(0x00ab_cdef) };
            assert_eq!(Flow::unpack(flow.pack(ServiceId(65_535))), Some((ServiceId(65_535), flow)));
            assert_eq!(flow.pack(ServiceId(0x1234)) & SERVICE_BITS, service_bits(ServiceId(0x1234)));
        }
        assert_eq!(Flow::unpack(0), None);
    }

    #[test]
    fn the_emptiest_flow_is_not_taken_for_a_free_entry() {
        let flow = Flow { real: RealSlot(0), epoch: 0, state: FlowState::SynReceived, expires: Tick::new(0) };
        assert_ne!(flow.pack(ServiceId(0)), 0);
    }

    #[test]
    fn a_key_survives_its_words_in_either_family() {
        let keys = [(1, 2, 3), (0xffff, 0, 0xffff), (0, 0xffff, 0)];
        for (client_port, dst_port, service) in keys {
            let service = ServiceId(service);
            for client in [0, 0xc633_6407, u32::MAX] {
                let key = FlowKey::new(v4(client), client_port, dst_port, service);
                assert_eq!(<[u64; 1]>::of(&key).key(service), key);
            }
            for client in [0, 0x2001_0db8_0000_0000_0000_0000_0000_0007, u128::MAX] {
                let key = FlowKey::new(v6(client), client_port, dst_port, service);
                assert_eq!(<[u64; 3]>::of(&key).key(service), key);
            }
        }
    }

    #[test]
    fn a_flow_has_expired_when_its_tick_has_come_and_long_after_it() {
        let flow = |expires| Flow { real: RealSlot(0), epoch: 0, state: FlowState::Udp, expires };
        for now in [0, 1000, (1 << 24) - 1] {
            let at = |ticks: u32| Tick::new(now + ticks);
            let now = Tick::new(now);
            for ahead in [1, 100, Timeouts::MAX] {
                assert!(!flow(at(ahead)).is_expired(now));
                assert_eq!(flow(at(ahead)).remaining(now), ahead);
            }
            // 17 days are 5,875,200 ticks.
            for ago in [0, 1, 100, 5_875_200] {
                assert!(flow(at((1 << 24) - ago)).is_expired(now), "{ago} ticks ago");
                assert_eq!(flow(at((1 << 24) - ago)).remaining(now), 0);
            }
        }
    }

    /// Keys that differ in one field only, each field in turn, bit by bit.
    fn neighbours(client: Address, flip: impl Fn(u32) -> Address, bits: u32) -> Vec<FlowKey> {
        let origin = FlowKey::new(client, 40_000, 443, ServiceId(5));
        let mut keys = vec![origin];
        keys.extend((0..bits).map(|bit| FlowKey { client: flip(bit), ..origin }));
        for bit in 0..16 {
            keys.push(FlowKey { client_port: origin.client_port ^ 1 << bit, ..origin });
            keys.push(FlowKey { dst_port: origin.dst_port ^ 1 << bit, ..origin });
        }
        keys
    }

    #[test]
    fn keys_are_told_apart_by_every_bit_of_theirs_and_of_the_secret() {
        let to = Destination::new(v4(0xc000_020a), Protocol::Tcp);
        let four = neighbours(v4(0xc633_6407), |bit| v4(0xc633_6407 ^ 1 << bit), 32);
        let six = neighbours(v6(7), |bit| v6(7 ^ 1 << bit), 128);
        let mix = |key: &FlowKey, secret| match key.client.v4() {
            Some(_) => <[u64; 1]>::of(key).mix(secret, to),
            None => <[u64; 3]>::of(key).mix(secret, to),
        };
        for keys in [four, six] {
            // Either half must differ: each chooses a bucket.
            let halves: HashSet<u32> = keys
                .iter()
                .flat_map(|key| [mix(key, SECRET) as u32, (mix(key, SECRET) >> 32) as u32])
                .collect();
            assert_eq!(halves.len(), 2 * keys.len());
            for bit in 0..64 {
                for secret in [
                    HashKey([SECRET.0[0] ^ 1 << bit, SECRET.0[1]]),
                    HashKey([SECRET.0[0], SECRET.0[1] ^ 1 << bit]),
                ] {
                    assert_ne!(mix(&keys[0], secret), mix(&keys[0], SECRET));
                }
            }
        }
    }
}

//! Which service has exactly this address, port and protocol? Asked once a frame, so: open addressing in one array, at
//! most half full, keys beside the ids; most look-ups read one cache line and miss no branch.
//!
//! *Invariants*: immutable once built; at least one place is free, so every search ends; a key occurs once.

use std::sync::Arc;

use crate::id::ServiceId;
use crate::packet::{Address, Protocol};

/// An index of services. A clone shares the places.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// A power of two of them.
    places: Arc<[Place]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    address: Address,
    /// Port and protocol; 0: free, for no protocol has the number 0.
    rest: u32,
    id: u16,
}

impl Index {
    /// An index of these. They are distinct.
    pub fn build(services: &[(Address, u16, Protocol, ServiceId)]) -> Index {
        let size = (2 * services.len() + 1).next_power_of_two();
        let mut places = vec![Place::default(); size];
        for (address, port, protocol, id) in services {
            let rest = rest(*port, *protocol);
            let mut at = start(*address, rest, size);
            while places[at].rest != 0 {
                at = (at + 1) & (size - 1);
            }
            places[at] = Place { address: *address, rest, id: id.0 };
        }
        Index { places: places.into() }
    }

    /// Whether both are one in memory, not only alike.
    pub fn is_shared_with(&self, other: &Index) -> bool {
        Arc::ptr_eq(&self.places, &other.places)
    }

    /// The service with this key.
    #[inline(always)]
    pub fn find(&self, address: Address, port: u16, protocol: Protocol) -> Option<ServiceId> {
        let rest = rest(port, protocol);
        let size = self.places.len();
        let mut at = start(address, rest, size);
        loop {
            let place = self.places.get(at)?;
            if place.rest == rest && place.address == address {
                return Some(ServiceId(place.id));
            }
            if place.rest == 0 {
                return None;
            }
            at = (at + 1) & (size - 1);
        }
    }
}

#[inline(always)]
const fn rest(port: u16, protocol: Protocol) -> u32 {
    (port as u32) << 8 | protocol as u32
}

/// Where the search for a key begins, of `size` places. Unkeyed: the keys are the operator's, not a client's.
#[inline(always)]
const fn start(address: Address, rest: u32, size: usize) -> usize {
    // Odd constants without a pattern; the upper half of a product depends on all bits below it.
    const ODD: [u64; 3] = [0x9fb2_1c65_1e98_df25, 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let [high, low] = address.words();
    let mixed = high.wrapping_mul(ODD[0]) ^ low ^ (rest as u64).wrapping_mul(ODD[1]);
    let mixed = mixed.wrapping_mul(ODD[2]);
    let hash = (mixed ^ mixed >> 32).wrapping_mul(ODD[2]);
    (hash >> 40) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_found_by_its_key_and_by_no_other() {
        for count in [0, 1, 2, 1_000, 20_000] {
            let key = |n: u32| {
                let protocol = if n.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp };
                (Address::from_v4(0xc000_0200 + n / 64), (1 + n / 2 % 32) as u16, protocol)
            };
            let services: Vec<_> = (0..count)
                .map(|n| {
                    let (address, port, protocol) = key(n);
                    (address, port, protocol, ServiceId((n % 65_536) as u16))
                })
                .collect();
            let index = Index::build(&services);
            for (address, port, protocol, id) in services {
                assert_eq!(index.find(address, port, protocol), Some(id));
                assert_eq!(index.find(address, port, Protocol::Sctp), None);
                assert_eq!(index.find(address, port + 32, protocol), None);
            }
            let (address, port, protocol) = key(count);
            assert_eq!(index.find(address, port, protocol), None);
        }
    }

    #[test]
    fn searches_are_short_however_services_are_numbered() {
        let by_port = (0..10_000).map(|n| (0xc000_0200, 1_000 + n as u16));
        let by_address = (0..10_000).map(|n| (0xc000_0200 + n, 80));
        let by_net = (0..10_000).map(|n| (0x0a00_0001 + (n << 8), 443));
        let by_both = (0..10_000).map(|n| (0xc000_0200 + (n / 100) * 256, 80 + (n % 100) as u16));
        for keys in [by_port.collect::<Vec<_>>(), by_address.collect(), by_net.collect(), by_both.collect()] {
            let services: Vec<_> = keys
                .iter()
                .map(|(address, port)| (Address::from_v4(*address), *port, Protocol::Tcp, ServiceId(0)))
                .collect();
            let index = Index::build(&services);
            let size = index.places.len();
            let steps = |(address, port, protocol, _): &(Address, u16, Protocol, ServiceId)| {
                let begin = start(*address, rest(*port, *protocol), size);
                (0..).find(|step| {
                    let place = index.places[(begin + step) & (size - 1)];
                    place.address == *address && place.rest == rest(*port, *protocol)
                })
            };
            let all: usize = services.iter().filter_map(steps).sum();
            // Linear probing at a load of 0.3: 0.2 steps beyond the first on average.
            assert!(all < 4_000, "{all} steps for 10,000 services");
        }
    }
}

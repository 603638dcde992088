//! Asks a link who has some addresses, and hears everybody who says that he does: a real server that should, one that should
//! not, and a stranger with the same address.
//!
//! *Invariants*
//! - nobody's cache learns anything of an address that is asked about: IPv4 questions are probes (RFC 5227), IPv6 ones come
//!   from an address of this director's own;
//! - it ends within [`ROUNDS`] pauses, however many answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::filter::NUMBERS;
use super::packet::{self, BROADCAST, Ethertype};
use super::seen::Seen;
use super::sources::source_towards;
use super::wire::{KEPT, Wire};
use crate::link::Link;
use crate::model::Vlan;

/// How often who does not answer is asked.
const ROUNDS: usize = 3;
/// Longest wait for answers; a switch and a host that was asleep need some.
const PAUSE: Duration = Duration::from_millis(400);

/// The MAC addresses that claim each address that somebody claims. `vips` are no addresses to ask from.
///
/// # Errors
/// The interface cannot be asked: rights, or it is down.
pub(crate) async fn who_has(
    link: &Link,
    about: &BTreeMap<IpAddr, Vlan>,
    vips: &HashSet<IpAddr>,
) -> io::Result<BTreeMap<IpAddr, BTreeSet<[u8; 6]>>> {
    let wire = Wire::open(link.index)?;
    let mut inbox = wire.listen(*NUMBERS.end());
    let mut claims: BTreeMap<IpAddr, BTreeSet<[u8; 6]>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let silent: Vec<(IpAddr, Vlan)> = about
            .iter()
            .map(|(address, vlan)| (*address, *vlan))
            .filter(|(a, _)| !claims.contains_key(a))
            .collect();
        if silent.is_empty() {
            break;
        }
        // So many answers fit the inbox.
        for some in silent.chunks(KEPT / 2) {
            for (address, vlan) in some {
                if let Some(frame) = question(link, *address, *vlan, vips) {
                    wire.send(&frame)?;
                }
            }
            let pause = if silent.len() > some.len() { PAUSE / 20 } else { PAUSE };
            let until = Instant::now() + pause;
            while let Ok(seen) = timeout_at(until, inbox.next()).await {
                if let Seen::Neighbor { address, mac } = seen
                    && about.contains_key(&address)
                {
                    claims.entry(address).or_default().insert(mac);
                }
            }
        }
    }
    Ok(claims)
}

/// None: this director has no address to ask from.
fn question(link: &Link, about: IpAddr, vlan: Vlan, vips: &HashSet<IpAddr>) -> Option<Vec<u8>> {
    Some(match about {
        IpAddr::V4(about) => {
            packet::frame(BROADCAST, link.mac, vlan, Ethertype::Arp, &packet::arp_probe(link.mac, about))
        }
        IpAddr::V6(six) => {
            let IpAddr::V6(from) = source_towards(about, &link.name, vips).ok()?.ip() else { return None };
            let (group, mac) = packet::solicited_node(six);
            let packet = packet::solicitation(link.mac, from, group, six);
            packet::frame(mac, link.mac, vlan, Ethertype::Ipv6, &packet)
        }
    })
}

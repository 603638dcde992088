//! A SYN flood: real frames from a million sources, sent as fast as one core can, and no more of them than was asked.
//!
//! The addresses that are set aside for tests hold 131,072 IPv4 hosts (198.18.0.0/15, RFC 2544): a source is an address
//! and a port, and the ports are used one after the other when the addresses are through. In IPv6 every source is an
//! address of its own, in 2001:db8:f100::/40. Nobody answers to any of them: what the real servers send there ends at
//! the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::craft;
use crate::host::Host;
use crate::inject::Injector;

/// Sources with the same port.
const ADDRESSES: u32 = 1 << 17;
/// The port of the first sources.
const FIRST_PORT: u16 = 1024;
/// Frames that are made before some are sent; they are changed in place and sent again.
const WAVE: u32 = 1024;

/// What came of a flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flood {
    /// Frames that are on the director's cable.
    pub sent: usize,
    /// How long that took.
    pub took: Duration,
}

impl Flood {
    /// Sends one SYN each from `sources` different sources to `to`; source number 0 comes first, `first` are left out.
    /// Returns when the last has been sent.
    #[track_caller]
    pub fn send(injector: &Injector, to: SocketAddr, first: u32, sources: u32) -> Flood {
        let start = Instant::now();
        let mut sent = 0;
        let mut frames = vec![syn(injector, to); WAVE.min(sources) as usize];
        let mut next = first;
        let end = first + sources;
        while next < end {
            let count = WAVE.min(end - next) as usize;
            frames.truncate(count);
            for frame in &mut frames {
                disguise(frame, source(to, next));
                next += 1;
            }
            sent += injector.send_fast(&frames, count);
        }
        Flood { sent, took: start.elapsed() }
    }

    /// Frames a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64()
    }

    /// The words of nft that match the flood's IPv4 frames, for a [`crate::Sink`] in front of a real server.
    pub const MATCH: &str = "ip saddr 198.18.0.0/15";

    /// Has `router` drop what is sent to the flood's sources without a word: a router that answers "no route to host" a
    /// million times is a flood of its own.
    #[track_caller]
    pub fn swallow_answers(router: &Host) {
        router.ip("route add blackhole 198.18.0.0/15\n");
        if router.has_ipv6() {
            router.ip("route add blackhole 2001:db8:f100::/40\n");
        }
    }
}

/// Source number `n` of a flood on `to`.
pub fn source(to: SocketAddr, n: u32) -> SocketAddr {
    let port = FIRST_PORT + (n / ADDRESSES) as u16;
    match to {
        SocketAddr::V4(_) => {
            let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
            (Ipv4Addr::from(first + n % ADDRESSES), port).into()
        }
        SocketAddr::V6(_) => {
            let [high, low] = [(n >> 16) as u16, n as u16];
            (Ipv6Addr::new(0x2001, 0xdb8, 0xf100, 0, 0, 0, high, low), FIRST_PORT).into()
        }
    }
}

fn syn(injector: &Injector, to: SocketAddr) -> Vec<u8> {
    craft::tcp(&craft::Segment { source: source(to, 0), ..injector.segment(FIRST_PORT, to) }, b"")
}

/// Changes the source of a frame made by [`syn`], and its checksums with it (RFC 1624): a tenth of the time that making
/// another frame takes.
fn disguise(frame: &mut [u8], source: SocketAddr) {
    const IP: usize = 14;
    let (address, tcp, header_sum) = match source.ip() {
        IpAddr::V4(_) => (IP + 12..IP + 16, IP + 20, Some(IP + 10)),
        IpAddr::V6(_) => (IP + 8..IP + 24, IP + 40, None),
    };
    let octets = match source.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let port = tcp..tcp + 2;
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
    };
    let old_address = words(&frame[address.clone()]);
    let old_port = words(&frame[port.clone()]);
    frame[address.clone()].copy_from_slice(&octets);
    frame[port.clone()].copy_from_slice(&source.port().to_be_bytes());
    let (new_address, new_port) = (words(&frame[address]), words(&frame[port]));
    let mut patch = |field: usize, old: u32, new: u32| {
        let sum = u16::from_be_bytes([frame[field], frame[field + 1]]);
        // ~(~sum + ~old + new), with the carries added in again; ~old of up to ten words at once.
        let mut patched = u32::from(!sum) + (0xffff_u32 * 16 - old) + new;
        while patched > 0xffff {
            patched = (patched & 0xffff) + (patched >> 16);
        }
        frame[field..field + 2].copy_from_slice(&(!(patched as u16)).to_be_bytes());
    };
    if let Some(field) = header_sum {
        patch(field, old_address, new_address);
    }
    patch(tcp + 16, old_address + old_port, new_address + new_port);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::address::{VIP, VIP6};
    use crate::checksum::{Transport, header_is_right, transport};

    #[test]
    fn a_disguised_frame_is_a_right_one() {
        for vip in [VIP, VIP6] {
            let to: SocketAddr = (vip, 80).into();
            let segment = craft::Segment { source: source(to, 0), destination: to, ..Default::default() };
            let mut frame = craft::tcp(&segment, b"");
            for n in [0, 1, 255, 256, 65_535, 131_071, 131_072, 1_000_000, 3, u32::from(u16::MAX) * 16] {
                disguise(&mut frame, source(to, n));
                let view = craft::view(&frame);
                assert!(header_is_right(&view) && transport(&view) == Transport::Complete, "{n}: {view:?}");
                let ip = view.ip.expect("a packet");
                assert_eq!(ip.source, source(to, n).ip());
                assert_eq!(ip.ports, Some((source(to, n).port(), 80)));
            }
        }
    }

    #[test]
    fn a_million_sources_are_a_million() {
        for vip in [VIP, VIP6] {
            let sources: HashSet<SocketAddr> = (0..1_000_000).map(|n| source((vip, 80).into(), n)).collect();
            assert_eq!(sources.len(), 1_000_000);
        }
    }
}

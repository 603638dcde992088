//! The XDP program `steer` (bpf/steer.bpf.c), loaded, and the maps it is fed by (bpf/maps.h): which frames are a
//! worker's.
//!
//! *Invariants*: the kernel's maps hold exactly the rows that a `Steering` remembers, also after a call that
//! failed halfway. What several services have in common (a VIP, a piece of overlapping ranges) is one row, and
//! stays while one of them wants it: a set of services is compared with the rows there are, row by row.
//!
//! A range of ports becomes prefixes, as a range of addresses does: the kernel's longest-prefix match
//! (kernel/bpf/lpm_trie.c) finds one without going through all.

use std::collections::HashSet;
use std::os::fd::{AsFd, RawFd};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, Pod, include_bytes_aligned};

use crate::forwarding::{Ports, ServiceKey};
use crate::packet::MacAddress;
use crate::xsk::beat::Beats;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// Queues of one interface that can have a socket: the size of the program's XSKMAP.
pub const MAX_QUEUES: u32 = 256;

/// What the program counted, on all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SteerCounts {
    /// Frames left to the kernel.
    pub passed: u64,
    /// Frames given to a worker.
    pub redirected: u64,
    /// Frames of a service dropped because their queue has no worker.
    pub no_socket: u64,
    /// Frames of a service dropped because the worker of their queue shows no sign of life.
    pub worker_stalled: u64,
}

/// The program in the kernel, with its maps. Dropping it detaches it from where it was attached.
pub struct Steering {
    ebpf: Ebpf,
    rows: HashSet<Row>,
}

impl Steering {
    /// Loads the program, attached to nothing and steering nothing. `mac`: the address that frames for this
    /// director have.
    pub fn load(mac: MacAddress) -> Result<Self, String> {
        let mut ebpf = Ebpf::load(OBJECT).map_err(|e| chain(&e))?;
        xdp(&mut ebpf).load().map_err(|e| chain(&e))?;
        let mut steering = Steering { ebpf, rows: HashSet::new() };
        steering.set_mac(mac)?;
        Ok(steering)
    }

    /// The loaded program.
    pub(super) fn xdp(&mut self) -> &mut Xdp {
        xdp(&mut self.ebpf)
    }

    /// From here on frames of `queue` go to this socket. Fill its fill ring first.
    pub fn set_socket(&mut self, queue: u32, socket: RawFd) -> Result<(), String> {
        let mut sockets: XskMap<&mut MapData> = self.map("sockets")?;
        sockets.set(queue, socket, 0).map_err(|e| chain(&e))
    }

    /// Adds an address that frames for this director have.
    pub fn set_mac(&mut self, mac: MacAddress) -> Result<(), String> {
        let mut macs: HashMap<&mut MapData, MacKey, u8> = self.map("macs")?;
        macs.insert(MacKey { mac: mac.0, zero: [0; 2] }, 1, 0).map_err(|e| chain(&e))
    }

    /// Takes an address back.
    pub fn unset_mac(&mut self, mac: MacAddress) -> Result<(), String> {
        let mut macs: HashMap<&mut MapData, MacKey, u8> = self.map("macs")?;
        macs.remove(&MacKey { mac: mac.0, zero: [0; 2] }).map_err(|e| chain(&e))
    }

    /// The addresses that frames for this director have now.
    pub fn macs(&self) -> Result<Vec<MacAddress>, String> {
        let map = self.ebpf.map("macs").ok_or("no map called macs")?;
        let macs: HashMap<&MapData, MacKey, u8> = map.try_into().map_err(|e| chain(&e))?;
        macs.keys().map(|key| key.map(|key| MacAddress(key.mac)).map_err(|e| chain(&e))).collect()
    }

    /// Frames of services that are not in `wanted` go to the kernel again.
    ///
    /// Errors: the first; all that could be taken back is.
    pub fn unsteer_others(&mut self, wanted: &Steered) -> Result<(), String> {
        let gone: Vec<Row> = self.rows.difference(&wanted.0).copied().collect();
        let mut result = Ok(());
        for row in gone {
            let removed = self.remove(row);
            if removed.is_ok() {
                self.rows.remove(&row);
            }
            result = result.and(removed);
        }
        result
    }

    /// Frames of the services in `wanted` come to the workers.
    ///
    /// Errors: the first, such as a map that is full; what could be steered is.
    pub fn steer(&mut self, wanted: &Steered) -> Result<(), String> {
        let new: Vec<Row> = wanted.0.difference(&self.rows).copied().collect();
        let mut result = Ok(());
        for row in new {
            let inserted = self.insert(row);
            if inserted.is_ok() {
                self.rows.insert(row);
            }
            result = result.and(inserted);
        }
        result
    }

    /// What the program counted.
    pub fn counts(&self) -> Result<SteerCounts, String> {
        let map = self.ebpf.map("counts").ok_or("no map called counts")?;
        let counts: PerCpuArray<&MapData, u64> = map.try_into().map_err(|e| chain(&e))?;
        let row =
            |row| -> Result<u64, String> { Ok(counts.get(&row, 0).map_err(|e| chain(&e))?.iter().sum()) };
        Ok(SteerCounts { passed: row(0)?, redirected: row(1)?, no_socket: row(2)?, worker_stalled: row(3)? })
    }

    /// Where workers say that they live.
    pub fn beats(&self) -> Result<Beats, String> {
        let Some(Map::Array(map)) = self.ebpf.map("beats") else { return Err("no map called beats".into()) };
        Beats::of(map.fd().as_fd()).map_err(|error| format!("the map beats cannot be mapped: {error}"))
    }

    /// What the program says to a frame, at least 14 bytes, that came in on queue 0: an `xdp_action` of
    /// linux/bpf.h. Nothing is sent, but the frame is counted, and a first fragment remembered.
    /// (Documentation/bpf/bpf_prog_run.rst)
    pub fn judge(&mut self, frame: &[u8]) -> Result<u32, String> {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        Ok(self.xdp().test_run(options).map_err(|e: ProgramError| chain(&e))?.return_value)
    }

    fn insert(&mut self, row: Row) -> Result<(), String> {
        let result = match row {
            Row::Port(key) => self.map::<HashMap<&mut MapData, PortKey, u8>>("services")?.insert(key, 1, 0),
            Row::Prefix(bits, key) => {
                self.map::<LpmTrie<&mut MapData, PrefixKey, u8>>("ranges")?.insert(&Key::new(bits, key), 1, 0)
            }
            Row::Vip(key) => self.map::<HashMap<&mut MapData, VipKey, u8>>("vips")?.insert(key, 1, 0),
        };
        result.map_err(|e| chain(&e))
    }

    fn remove(&mut self, row: Row) -> Result<(), String> {
        let result = match row {
            Row::Port(key) => self.map::<HashMap<&mut MapData, PortKey, u8>>("services")?.remove(&key),
            Row::Prefix(bits, key) => {
                self.map::<LpmTrie<&mut MapData, PrefixKey, u8>>("ranges")?.remove(&Key::new(bits, key))
            }
            Row::Vip(key) => self.map::<HashMap<&mut MapData, VipKey, u8>>("vips")?.remove(&key),
        };
        result.map_err(|e| chain(&e))
    }

    fn map<'a, M>(&'a mut self, name: &str) -> Result<M, String>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.ebpf.map_mut(name).ok_or_else(|| format!("no map called {name}"))?;
        map.try_into().map_err(|e: MapError| chain(&e))
    }
}

/// What the kernel's maps are to hold for a set of services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steered(HashSet<Row>);

impl<'a> FromIterator<&'a ServiceKey> for Steered {
    fn from_iter<I: IntoIterator<Item = &'a ServiceKey>>(services: I) -> Self {
        Steered(services.into_iter().flat_map(rows).collect())
    }
}

/// A row of one of the maps that say whose a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    /// Of `services`.
    Port(PortKey),
    /// Of `ranges`: how many bits of the key count, from its first byte on.
    Prefix(u32, PrefixKey),
    /// Of `vips`.
    Vip(VipKey),
}

/// `struct port_key` of the program.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PortKey {
    address: [u8; 16],
    port: [u8; 2],
    protocol: u8,
    zero: u8,
}

/// `struct prefix_key` of the program, behind its `bits`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PrefixKey {
    address: [u8; 16],
    protocol: u8,
    port: [u8; 2],
    zero: u8,
}

/// Bits of a [`PrefixKey`] before its port.
const BITS_BEFORE_PORT: u32 = 8 * (16 + 1);

/// `struct vip_key` of the program.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct VipKey {
    address: [u8; 16],
    protocol: u8,
    zero: [u8; 3],
}

/// `struct mac_key` of the program.
#[repr(C)]
#[derive(Clone, Copy)]
struct MacKey {
    mac: [u8; 6],
    zero: [u8; 2],
}

// SAFETY: plain bytes without padding.
unsafe impl Pod for PortKey {}
// SAFETY: plain bytes without padding.
unsafe impl Pod for PrefixKey {}
// SAFETY: plain bytes without padding.
unsafe impl Pod for VipKey {}
// SAFETY: plain bytes without padding.
unsafe impl Pod for MacKey {}

fn rows(service: &ServiceKey) -> Vec<Row> {
    let (address, protocol) = (service.address.octets(), service.protocol as u8);
    let mut rows = vec![Row::Vip(VipKey { address, protocol, zero: [0; 3] })];
    match service.ports.single() {
        Some(port) => {
            rows.push(Row::Port(PortKey { address, port: port.to_be_bytes(), protocol, zero: 0 }));
        }
        None => rows.extend(prefixes(service.ports).map(|(port, bits)| {
            let key = PrefixKey { address, protocol, port: port.to_be_bytes(), zero: 0 };
            Row::Prefix(BITS_BEFORE_PORT + bits, key)
        })),
    }
    rows
}

/// The fewest prefixes that make up a range: first port, and how many of its 16 bits all ports of the piece have
/// in common. At most 30.
fn prefixes(ports: Ports) -> impl Iterator<Item = (u16, u32)> {
    let (mut first, end) = (u32::from(ports.first), u32::from(ports.last) + 1);
    std::iter::from_fn(move || {
        let left = end.checked_sub(first).filter(|left| *left > 0)?;
        // The largest power of two that begins here and does not reach beyond the end.
        let free = first.trailing_zeros().min(left.ilog2());
        let piece = (first as u16, 16 - free.min(16));
        first += 1 << free;
        Some(piece)
    })
}

fn xdp(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut("steer")
        .and_then(|program| program.try_into().ok())
        .unwrap_or_else(|| unreachable!("build.rs compiled an XDP program called steer"))
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{Address, Protocol};

    /// Which ports a list of prefixes matches, and how often.
    fn matched(prefixes: impl Iterator<Item = (u16, u32)>) -> Vec<u8> {
        let mut times = vec![0; 1 << 16];
        for (first, bits) in prefixes {
            let mask = (0xffff_u32 << (16 - bits)) as u16;
            assert_eq!(first & !mask, 0, "{first}/{bits} has bits behind its prefix");
            for port in 0..=u16::MAX {
                times[usize::from(port)] += u8::from(port & mask == first);
            }
        }
        times
    }

    #[test]
    fn any_port_is_every_port_but_0_in_16_prefixes() {
        assert_eq!(prefixes(Ports::ANY).count(), 16);
        let times = matched(prefixes(Ports::ANY));
        assert_eq!(times[0], 0);
        assert!(times[1..].iter().all(|times| *times == 1));
    }

    #[test]
    fn the_worst_range_takes_30_prefixes() {
        assert_eq!(prefixes(Ports { first: 1, last: 65534 }).count(), 30);
        assert_eq!(prefixes(Ports { first: 1024, last: 2047 }).collect::<Vec<_>>(), [(1024, 6)]);
        assert_eq!(prefixes(Ports { first: 65535, last: 65535 }).collect::<Vec<_>>(), [(65535, 16)]);
        assert_eq!(prefixes(Ports { first: 0, last: 65535 }).collect::<Vec<_>>(), [(0, 0)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_prefixes_of_a_range_match_each_of_its_ports_once_and_no_other(a: u16, b: u16) {
            let ports = Ports { first: a.min(b), last: a.max(b) };
            prop_assert!(prefixes(ports).count() <= 30);
            for (port, times) in matched(prefixes(ports)).into_iter().enumerate() {
                prop_assert_eq!(times, u8::from(ports.contains(port as u16)), "port {} of {:?}", port, ports);
            }
        }
    }

    #[test]
    fn services_that_overlap_share_rows() {
        let service = |first, last| ServiceKey {
            address: Address::from_v4(0xc000_020a),
            ports: Ports { first, last },
            protocol: Protocol::Udp,
        };
        let (narrow, wide) = (service(8, 15), service(8, 31));
        let steered = |services: &[ServiceKey]| services.iter().collect::<Steered>();
        assert_eq!(steered(&[narrow]).0.len(), 2);
        // 8-15 and 16-31, and the VIP.
        assert_eq!(steered(&[wide]).0.len(), 3);
        assert_eq!(steered(&[narrow, wide]), steered(&[wide]));
    }
}

//! The XDP program `steer` (bpf/steer.bpf.c): loaded, attached and fed with aya.
//!
//! *Invariants*: the program is attached through a BPF link that this process holds, so the kernel detaches it
//! whatever way the process ends; nothing is pinned. The map of services names only what workers can already
//! forward (`plane::Dataplane::publish` keeps the order).
//!
//! Note on generic mode: the kernel copies every frame into an skb before the program runs, which costs most
//! of the gain of AF_XDP; it is used only where the driver has no native XDP, and said.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::RawFd;

use aya::maps::{HashMap, MapData, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, Pod, include_bytes_aligned};
use thiserror::Error;

use crate::forwarding::ServiceKey;
use crate::packet::MacAddress;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// Queues of one interface that can have a socket: the size of the program's XSKMAP.
pub const MAX_QUEUES: u32 = 256;

/// How the XDP program runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before an skb is made.
    Native,
    /// On skbs: works with every driver, slower.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        })
    }
}

/// Why an interface could not be opened. Each message says what to do.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum OpenError {
    #[error(
        "{interface}: another XDP program is attached. Another shunt, or a tool such as xdp-loader, uses this \
             interface: stop it first (`ip link show {interface}` shows the program's id, `bpftool link` its owner)"
    )]
    ProgramTaken { interface: String },
    #[error(
        "{interface}: queue {queue} is taken by another AF_XDP program. Stop it first (`ss --xdp -p` shows it)"
    )]
    QueueTaken { interface: String, queue: u32 },
    #[error("{interface}: queue {queue}: the AF_XDP socket could not be opened: {reason}")]
    Bind { interface: String, queue: u32, reason: String },
    #[error(
        "the kernel refuses: {what}: not permitted. Run shunt as root, or with CAP_NET_ADMIN, CAP_NET_RAW and \
             CAP_BPF (and CAP_IPC_LOCK, or an unlimited memlock limit)"
    )]
    NotPermitted { what: String },
    #[error(
        "{interface}: its MTU, or that of its peer, is too large for native XDP, which wants a frame in one page: \
             lower both, `ip link set {interface} mtu 1500`"
    )]
    MtuTooLarge { interface: String },
    #[error("{interface}: the XDP program could not be attached: {reason}")]
    Attach { interface: String, reason: String },
    #[error("the XDP program could not be loaded: {reason}")]
    Load { reason: String },
    #[error(
        "{frames} frames of UMEM could not be had: {reason}. Lower director.frames_per_queue, or raise the memlock \
             limit"
    )]
    Umem { frames: u32, reason: String },
    #[error("{interface} has no queue to receive from")]
    NoQueue { interface: String },
    #[error("a worker thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl OpenError {
    pub(super) fn bind(interface: &str, queue: u32, errno: Option<i32>, reason: String) -> Self {
        let interface = interface.to_string();
        match errno {
            Some(libc::EBUSY) => OpenError::QueueTaken { interface, queue },
            Some(libc::EPERM | libc::EACCES) => {
                OpenError::NotPermitted { what: format!("an AF_XDP socket on {interface}") }
            }
            _ => OpenError::Bind { interface, queue, reason },
        }
    }
}

/// `struct steer_key` of the program.
#[repr(C)]
#[derive(Clone, Copy)]
struct SteerKey {
    address: [u8; 16],
    port: [u8; 2],
    protocol: u8,
    zero: u8,
}

/// `struct mac_key` of the program.
#[repr(C)]
#[derive(Clone, Copy)]
struct MacKey {
    mac: [u8; 6],
    zero: [u8; 2],
}

// SAFETY: plain bytes without padding.
unsafe impl Pod for SteerKey {}
// SAFETY: plain bytes without padding.
unsafe impl Pod for MacKey {}

impl From<&ServiceKey> for SteerKey {
    fn from(key: &ServiceKey) -> Self {
        SteerKey {
            address: key.address.octets(),
            port: key.ports.first.to_be_bytes(),
            protocol: key.protocol as u8,
            zero: 0,
        }
    }
}

/// What the program counted, on all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SteerCounts {
    /// Frames left to the kernel.
    pub passed: u64,
    /// Frames given to a worker.
    pub redirected: u64,
    /// Frames of a service dropped because their queue has no worker.
    pub no_socket: u64,
}

/// The program, attached to one interface.
pub struct Program {
    // Dropping detaches: the link closes with the program.
    ebpf: Ebpf,
    mode: XdpMode,
    steered: HashSet<ServiceKey>,
}

impl Program {
    /// Loads the program and attaches it: native if the driver can, else generic. `mac`: the address that
    /// frames for this director have.
    pub fn attach(interface: &str, index: u32, mac: MacAddress) -> Result<Self, OpenError> {
        let load_failed = |reason: String| {
            if reason.contains("not permitted") || reason.contains("os error 1)") {
                OpenError::NotPermitted { what: "loading the XDP program".into() }
            } else {
                OpenError::Load { reason }
            }
        };
        let mut ebpf = Ebpf::load(OBJECT).map_err(|e| load_failed(chain(&e)))?;
        let program: &mut Xdp = ebpf
            .program_mut("steer")
            .and_then(|program| program.try_into().ok())
            .unwrap_or_else(|| unreachable!("build.rs compiled an XDP program called steer"));
        program.load().map_err(|e| load_failed(chain(&e)))?;
        let mode = Self::attach_link(program, interface, index)?;
        let mut program = Program { ebpf, mode, steered: HashSet::new() };
        program.set_mac(mac).map_err(|reason| OpenError::Load { reason })?;
        Ok(program)
    }

    fn attach_link(program: &mut Xdp, interface: &str, index: u32) -> Result<XdpMode, OpenError> {
        let mut refusal = match program.attach_to_if_index(index, AyaMode::Driver) {
            Ok(_) => return Ok(XdpMode::Native),
            Err(error) => error,
        };
        if errno(&refusal) == Some(libc::EOPNOTSUPP) {
            match program.attach_to_if_index(index, AyaMode::Skb) {
                Ok(_) => return Ok(XdpMode::Generic),
                Err(error) => refusal = error,
            }
        }
        let interface = interface.to_string();
        Err(match errno(&refusal) {
            Some(libc::EBUSY | libc::EEXIST) => OpenError::ProgramTaken { interface },
            Some(libc::EPERM | libc::EACCES) => {
                OpenError::NotPermitted { what: format!("attaching the XDP program to {interface}") }
            }
            // veth: the frame and the skb's tail must fit a page, on both ends (veth_xdp_set in drivers/net/veth.c).
            Some(libc::ERANGE) => OpenError::MtuTooLarge { interface },
            _ => OpenError::Attach { interface, reason: chain(&refusal) },
        })
    }

    /// How it runs.
    pub fn mode(&self) -> XdpMode {
        self.mode
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

    /// Frames of services that are not in `wanted` go to the kernel again.
    pub fn unsteer_others(&mut self, wanted: &HashSet<ServiceKey>) -> Result<(), String> {
        let gone: Vec<ServiceKey> = self.steered.difference(wanted).copied().collect();
        for key in gone {
            let mut services: HashMap<&mut MapData, SteerKey, u8> = self.map("services")?;
            services.remove(&SteerKey::from(&key)).map_err(|e| chain(&e))?;
            self.steered.remove(&key);
        }
        Ok(())
    }

    /// Frames of the services in `wanted` come to the workers.
    pub fn steer(&mut self, wanted: &HashSet<ServiceKey>) -> Result<(), String> {
        let new: Vec<ServiceKey> = wanted.difference(&self.steered).copied().collect();
        for key in new {
            let mut services: HashMap<&mut MapData, SteerKey, u8> = self.map("services")?;
            services.insert(SteerKey::from(&key), 1, 0).map_err(|e| chain(&e))?;
            self.steered.insert(key);
        }
        Ok(())
    }

    /// What the program counted.
    pub fn counts(&self) -> Result<SteerCounts, String> {
        let map = self.ebpf.map("counts").ok_or("no map called counts")?;
        let counts: PerCpuArray<&MapData, u64> = map.try_into().map_err(|e| chain(&e))?;
        let row =
            |row| -> Result<u64, String> { Ok(counts.get(&row, 0).map_err(|e| chain(&e))?.iter().sum()) };
        Ok(SteerCounts { passed: row(0)?, redirected: row(1)?, no_socket: row(2)? })
    }

    fn map<'a, M>(&'a mut self, name: &str) -> Result<M, String>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self.ebpf.map_mut(name).ok_or_else(|| format!("no map called {name}"))?;
        map.try_into().map_err(|e: aya::maps::MapError| chain(&e))
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        _ => None,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

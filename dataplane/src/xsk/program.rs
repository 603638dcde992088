//! The XDP program attached to an interface: native where the driver can, else generic.
//!
//! *Invariants*: the program is attached through a BPF link that this process holds, so the kernel detaches it
//! whatever way the process ends; nothing is pinned. The program's maps name only what workers can already
//! forward (`plane::Dataplane::publish` keeps the order).
//!
//! Note on generic mode: the kernel copies every frame into an skb before the program runs, which costs most
//! of the gain of AF_XDP; it is used only where the driver has no native XDP, and said.

use std::fmt;
use std::os::fd::RawFd;

use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode};
use thiserror::Error;

use crate::packet::MacAddress;
use crate::xsk::beat::Beats;
use crate::xsk::steering::{SteerCounts, Steered, Steering, chain};

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
    #[error(
        "a worker's rights cannot be given up: {0}. Boot a kernel with CONFIG_SECCOMP_FILTER=y; in a container, allow seccomp(2)"
    )]
    Confine(std::io::Error),
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

/// The program, attached to one interface.
pub struct Program {
    // Dropping detaches: the link closes with the program.
    steering: Steering,
    mode: XdpMode,
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
        let mut steering = Steering::load(mac).map_err(load_failed)?;
        let mode = Self::attach_link(steering.xdp(), interface, index)?;
        Ok(Program { steering, mode })
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

    /// See [`Steering::set_socket`].
    pub fn set_socket(&mut self, queue: u32, socket: RawFd) -> Result<(), String> {
        self.steering.set_socket(queue, socket)
    }

    /// See [`Steering::beats`].
    pub fn beats(&self) -> Result<Beats, String> {
        self.steering.beats()
    }

    /// See [`Steering::set_mac`].
    pub fn set_mac(&mut self, mac: MacAddress) -> Result<(), String> {
        self.steering.set_mac(mac)
    }

    /// See [`Steering::unset_mac`].
    pub fn unset_mac(&mut self, mac: MacAddress) -> Result<(), String> {
        self.steering.unset_mac(mac)
    }

    /// See [`Steering::unsteer_others`].
    pub fn unsteer_others(&mut self, wanted: &Steered) -> Result<(), String> {
        self.steering.unsteer_others(wanted)
    }

    /// See [`Steering::steer`].
    pub fn steer(&mut self, wanted: &Steered) -> Result<(), String> {
        self.steering.steer(wanted)
    }

    /// See [`Steering::macs`].
    pub fn macs(&self) -> Result<Vec<MacAddress>, String> {
        self.steering.macs()
    }

    /// What it counted.
    pub fn counts(&self) -> Result<SteerCounts, String> {
        self.steering.counts()
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        _ => None,
    }
}

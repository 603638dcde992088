//! What rtnetlink does not say of a device: its driver, how many of its queues are in use, how flows are spread over them,
//! and what it does to frames by itself.
//! Binding an AF_XDP socket to a queue beyond those in use transmits nothing, silently.
//!
//! Follows `include/uapi/linux/ethtool.h`. The socket decides the network namespace, so that this is right in a
//! container and in a test, where sysfs may show another namespace.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

// Commands of ethtool.h.
const GET_DRIVER_INFO: u32 = 0x03;
const GET_CHANNELS: u32 = 0x3c;
const GET_FLAGS: u32 = 0x25;
const GET_INDIRECTION: u32 = 0x38;
/// `ETH_FLAG_RXVLAN`.
const RX_VLAN: u32 = 1 << 8;
/// `ETH_FLAG_LRO`.
const LRO: u32 = 1 << 15;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Entries of the largest table of a device.
const LARGEST_TABLE: u32 = 1 << 16;

const _: () = assert!(size_of::<DriverInfo>() == 196 && size_of::<Channels>() == 36);

/// The driver's name.
pub(super) fn driver(name: &str) -> io::Result<String> {
    let mut info = DriverInfo { command: GET_DRIVER_INFO, driver: [0; 32], rest: [0; 160] };
    ask(name, &mut info)?;
    let length = info.driver.iter().position(|byte| *byte == 0).unwrap_or(info.driver.len());
    Ok(String::from_utf8_lossy(&info.driver[..length]).into_owned())
}

/// Queues in use: (receive, transmit). An error where the driver does not say.
pub(super) fn channels(name: &str) -> io::Result<(u32, u32)> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    ask(name, &mut channels)?;
    Ok(((channels.rx + channels.combined).max(1), (channels.tx + channels.combined).max(1)))
}

/// Queues that a device could use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MostQueues {
    /// Queues that receive only.
    pub(crate) rx: u32,
    /// Queues that transmit only.
    pub(crate) tx: u32,
    /// Queues that do both.
    pub(crate) combined: u32,
}

/// How many queues the device could use. An error where the driver does not say.
pub(crate) fn most_queues(name: &str) -> io::Result<MostQueues> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    ask(name, &mut channels)?;
    Ok(MostQueues { rx: channels.max_rx, tx: channels.max_tx, combined: channels.max_combined })
}

/// Whether the device takes VLAN tags off frames and hands them over beside.
pub(super) fn strips_tags(name: &str) -> io::Result<bool> {
    Ok(flags(name)? & RX_VLAN != 0)
}

/// Whether the device joins the segments of a connection to long frames.
pub(crate) fn joins_frames(name: &str) -> io::Result<bool> {
    Ok(flags(name)? & LRO != 0)
}

fn flags(name: &str) -> io::Result<u32> {
    let mut flags = Value { command: GET_FLAGS, data: 0 };
    ask(name, &mut flags)?;
    Ok(flags.data)
}

/// The queues that the device's hash leads to (receive side scaling), one for each of its values. An error where the device
/// has no such table.
pub(crate) fn indirection(name: &str) -> io::Result<Vec<u32>> {
    // `struct ethtool_rxfh_indir`: the command, the number of entries, the entries. Asked for none, it says how many.
    let mut size = [GET_INDIRECTION, 0];
    ask(name, &mut size)?;
    let entries = size[1].min(LARGEST_TABLE);
    let mut table = vec![0; 2 + entries as usize];
    (table[0], table[1]) = (GET_INDIRECTION, entries);
    ask(name, table.as_mut_slice())?;
    Ok(table.split_off(2))
}

/// Hands an ethtool command to the driver, which answers in place.
fn ask<C: ?Sized>(name: &str, command: &mut C) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
    // SAFETY: the name is terminated (it is shorter than the zeroed field); ifru_data points to a structure that lives
    // through the call, and whose first word is a command for which the kernel writes no more than that structure.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

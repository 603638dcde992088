//! What the driver of an interface says that it can do with XDP. Nothing else tells it without attaching a program.
//!
//! *Invariants*: no answer within a second is an error; what does not look like an answer is none.
//!
//! The generic netlink family `netdev`: `Documentation/netlink/specs/netdev.yaml`, since Linux 6.3.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(1);

/// Header of a netlink message, and of a generic one behind it.
const HEADERS: usize = 16 + 4;
/// The family of families: `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const NETDEV_GET: u8 = 1;
const NETDEV_INDEX: u16 = 1;
const NETDEV_FEATURES: u16 = 3;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;

const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const ZERO_COPY: u64 = 8;

/// What a driver can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    /// It runs programs before it makes an skb, and they can redirect.
    pub(super) native: bool,
    /// It shares a socket's memory.
    pub(super) zero_copy: bool,
}

/// Asks about the interface of this index, in the network namespace of this thread.
pub(super) fn of(index: u32) -> io::Result<Features> {
    let name = attribute(FAMILY_NAME, b"netdev\0");
    let answer = exchange(&message(CONTROL, GET_FAMILY, &name))?;
    let family = find(&answer, FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)));
    let family = family.ok_or(io::ErrorKind::InvalidData)?;
    let answer = exchange(&message(family, NETDEV_GET, &attribute(NETDEV_INDEX, &index.to_ne_bytes())))?;
    let bits =
        find(&answer, NETDEV_FEATURES).and_then(|bits| Some(u64::from_ne_bytes(bits.try_into().ok()?)));
    let bits = bits.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Features { native: bits & (BASIC | REDIRECT) == BASIC | REDIRECT, zero_copy: bits & ZERO_COPY != 0 })
}

/// Sends a request; the attributes of its answer.
fn exchange(request: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_GENERIC)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(request)?;
    let mut answer = vec![0; 8192];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    let kind = answer.get(4..6).ok_or(io::ErrorKind::InvalidData)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) == ERROR {
        let code = answer.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(answer.get(HEADERS..).ok_or(io::ErrorKind::InvalidData)?.to_vec())
}

fn message(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    const REQUEST: u16 = 1;
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend(((HEADERS + attributes.len()) as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence number and port: one request a socket needs neither.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    attribute.extend(((4 + value.len()) as u16).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The value of the first attribute of this kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d, ..] = *attributes else { return None };
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let value = attributes.get(4..length)?;
        // The upper bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_others_and_nothing_in_rubbish() {
        let both = [attribute(1, b"abc"), attribute(7, &9u64.to_ne_bytes())].concat();
        assert_eq!(find(&both, 7), Some(&9u64.to_ne_bytes()[..]));
        assert_eq!(find(&both, 1), Some(&b"abc"[..]));
        assert_eq!(find(&both, 2), None);
        for length in 0..both.len() {
            let _ = find(&both[..length], 7);
        }
        assert_eq!(find(&[0; 64], 7), None);
        assert_eq!(find(&[3, 0, 7, 0, 1], 7), None);
    }

    #[test]
    fn the_kernel_knows_its_loopback_which_has_no_xdp_of_a_driver() {
        assert_eq!(of(1).unwrap(), Features { native: false, zero_copy: false });
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_of_the_kernels() {
        assert_eq!(of(i32::MAX as u32).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}

//! The VRRP message as it is on the wire, behind the IP header.
//!
//! ```text
//! version 2: | 2, type | VRID | priority | count | auth type | interval, s |       checksum | addresses | 8 bytes of password |
//! version 3: | 3, type | VRID | priority | count | 0, 12 bits of interval, hundredths of s | checksum | addresses |
//! ```
//!
//! *Invariants*
//! - only this module knows the units of the wire;
//! - nothing behind the header is read before [`Message::length`] is what was received;
//! - `decode(encode(x)) = x`, and no bytes make `decode` or a method of [`Message`] panic.
//!
//! RFC 3768 section 5, RFC 9568 section 5, RFC 2338 section 5.3.6 (the password).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::model::{Checksum, Version, VirtualRouter};

/// Of an advert, in the low half of the first byte. There is no other type.
pub const ADVERTISEMENT: u8 = 1;

/// No password (RFC 3768).
pub const AUTH_NONE: u8 = 0;

/// A password in clear (RFC 2338).
pub const AUTH_PASSWORD: u8 = 1;

/// AH (RFC 2338), which shunt does not speak.
pub const AUTH_AH: u8 = 2;

/// Bytes before the addresses.
const HEADER: usize = 8;

/// Bytes behind the addresses in version 2, whatever the kind of authentication.
const PASSWORD: usize = 8;

/// IP protocol number.
const PROTOCOL: u8 = 112;

/// The VRRP message (no IP header): fields of `router`, with the checksum for `source` and `destination`. Priority 0: it
/// stops. What of `interval` the wire cannot say (parts of a second or a hundredth, more than fits) is cut off.
pub fn encode(
    router: &VirtualRouter,
    priority: u8,
    interval: Duration,
    source: IpAddr,
    destination: IpAddr,
) -> Vec<u8> {
    let mut bytes = vec![router.version.number() << 4 | ADVERTISEMENT, router.vrid, priority];
    // More than 255 addresses are not valid by construction of the model.
    bytes.push(router.addresses.len().min(255) as u8);
    match router.version {
        Version::V2 => {
            bytes.push(if router.password.is_some() { AUTH_PASSWORD } else { AUTH_NONE });
            bytes.push(interval.as_secs().min(255) as u8);
        }
        Version::V3 => {
            let hundredths = (interval.as_millis() / 10).min(0x0fff) as u16;
            bytes.extend(hundredths.to_be_bytes());
        }
    }
    bytes.extend([0, 0]);
    for address in router.addresses.iter().take(255) {
        match address.address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    if router.version == Version::V2 {
        bytes.extend(router.password.unwrap_or_default());
    }
    let covers = match (router.version, source, router.checksum) {
        (Version::V2, ..) | (Version::V3, IpAddr::V4(_), Checksum::MessageOnly) => Covers::Message,
        (Version::V3, ..) => Covers::PseudoHeader,
    };
    let checksum = checksum(&bytes, covers, source, destination);
    bytes[6..HEADER].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Reads the header of a message. That the rest is as long as it says is for [`Message::length`] to tell: that depends on
/// the family, which the message does not know.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(Malformed { length: bytes.len(), vrid: bytes.get(1).copied() });
    };
    Ok(Message { header: *header, bytes })
}

/// Fewer bytes than a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// How many came.
    pub length: usize,
    /// The VRID, if they are enough for that.
    pub vrid: Option<u8>,
}

/// A message with a whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    header: [u8; HEADER],
    bytes: &'a [u8],
}

/// What a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// The message alone: version 2; version 3 over IPv4 in RFC 9568.
    Message,
    /// A pseudo header with source and destination too: version 3 over IPv6; over IPv4 in RFC 5798, as keepalived reads it.
    PseudoHeader,
}

impl<'a> Message<'a> {
    /// 2 and 3 are known.
    pub fn version(&self) -> u8 {
        self.header[0] >> 4
    }

    /// See [`ADVERTISEMENT`].
    pub fn kind(&self) -> u8 {
        self.header[0] & 0x0f
    }

    /// Which virtual router it is about.
    pub fn vrid(&self) -> u8 {
        self.header[1]
    }

    /// 0: who sent it stops. 255: it owns the addresses.
    pub fn priority(&self) -> u8 {
        self.header[2]
    }

    /// How many addresses it says that it has.
    pub fn count(&self) -> u8 {
        self.header[3]
    }

    /// Kind of authentication; version 2 only.
    pub fn auth_type(&self) -> u8 {
        self.header[4]
    }

    /// Between two adverts.
    pub fn interval(&self) -> Duration {
        match self.version() {
            2 => Duration::from_secs(u64::from(self.header[5])),
            // The upper four bits are reserved, and ignored (RFC 9568 section 5.2.6).
            _ => Duration::from_millis(
                10 * u64::from(u16::from_be_bytes([self.header[4], self.header[5]]) & 0x0fff),
            ),
        }
    }

    /// How long the message must be, by its version and count. (As keepalived, which believes the version that it is about
    /// to refuse.)
    pub fn length(&self, ipv6: bool) -> usize {
        let password = if self.version() == 2 && !ipv6 { PASSWORD } else { 0 };
        HEADER + usize::from(self.count()) * if ipv6 { 16 } else { 4 } + password
    }

    /// The addresses; fewer than [`Message::count`] if the message is too short.
    pub fn addresses(&self, ipv6: bool) -> impl Iterator<Item = IpAddr> + use<'a> {
        let size = if ipv6 { 16 } else { 4 };
        let addresses = self.bytes[HEADER..].chunks_exact(size).take(usize::from(self.count()));
        addresses.map(move |bytes| match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
            Err(_) => {
                let bytes: [u8; 16] = bytes.try_into().unwrap_or_else(|_| unreachable!("pieces of 4 or 16"));
                IpAddr::V6(Ipv6Addr::from(bytes))
            }
        })
    }

    /// The password, padded with zeros: the last bytes of a message of version 2.
    pub fn password(&self) -> Option<[u8; PASSWORD]> {
        if self.version() != 2 {
            return None;
        }
        self.bytes[HEADER..].last_chunk().copied()
    }

    /// What the checksum covers if it is right, for an advert between these two; none: it is wrong.
    pub fn covers(&self, source: IpAddr, destination: IpAddr) -> Option<Covers> {
        let allowed: &[Covers] = match (self.version(), source) {
            (2, _) => &[Covers::Message],
            (_, IpAddr::V6(_)) => &[Covers::PseudoHeader],
            (_, IpAddr::V4(_)) => &[Covers::PseudoHeader, Covers::Message],
        };
        // Over a message with its checksum the sum is 0.
        allowed.iter().copied().find(|covers| checksum(self.bytes, *covers, source, destination) == 0)
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(message: &[u8], covers: Covers, source: IpAddr, destination: IpAddr) -> u16 {
    let mut sum = words(message);
    if covers == Covers::PseudoHeader {
        for address in [source, destination] {
            sum += match address {
                IpAddr::V4(address) => words(&address.octets()),
                IpAddr::V6(address) => words(&address.octets()),
            };
        }
        sum += u64::from(PROTOCOL) + message.len() as u64;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let whole: u64 = pairs.by_ref().map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    whole + pairs.remainder().first().map_or(0, |last| u64::from(*last) << 8)
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vrrp::samples::{hex, ip, router, unicast};

    const SECOND: Duration = Duration::from_secs(1);

    /// As keepalived 2.2.7 sends it, with the priority and with priority 0 (whose checksum is the last argument).
    fn golden(router: &VirtualRouter, from: &str, to: &str, frame: &str, stop: &str) {
        let (from, to, frame) = (ip(from), ip(to), hex(frame));
        assert_eq!(encode(router, router.priority, SECOND, from, to), frame);
        let mut stopped = frame.clone();
        stopped[2] = 0;
        stopped[6..8].copy_from_slice(&hex(stop));
        assert_eq!(encode(router, 0, SECOND, from, to), stopped);
        for frame in [frame, stopped] {
            let message = decode(&frame).unwrap();
            assert_eq!(message.length(router.ipv6), frame.len());
            let covers = if message.version() == 2 { Covers::Message } else { Covers::PseudoHeader };
            assert_eq!(message.covers(from, to), Some(covers));
            assert_eq!(message.interval(), SECOND);
            let addresses: Vec<IpAddr> = router.addresses.iter().map(|held| held.address).collect();
            assert_eq!(message.addresses(router.ipv6).collect::<Vec<_>>(), addresses);
        }
    }

    fn with(vrid: u8, priority: u8, password: Option<&[u8; 8]>, router: VirtualRouter) -> VirtualRouter {
        VirtualRouter { vrid, priority, password: password.copied(), ..router }
    }

    #[test]
    fn version_2_with_a_password_is_keepalived_s() {
        let one = with(1, 101, Some(b"foo\0\0\0\0\0"), router("VI_1", Version::V2, &["10.0.0.5"]));
        golden(&one, "10.0.0.1", "224.0.0.18", "2101650101019987 0a000005 666f6f0000000000", "fe87");
        let other = with(51, 120, Some(b"1111\0\0\0\0"), router("VI_1", Version::V2, &["192.168.10.110"]));
        let from = "192.168.10.101";
        golden(&other, from, "224.0.0.18", "2133780101013851 c0a80a6e 3131313100000000", "b051");
    }

    #[test]
    fn version_2_without_a_password_has_its_bytes_all_the_same() {
        let one = with(51, 120, None, router("VI_1", Version::V2, &["192.168.10.110"]));
        let frame = hex("2133780100019bb3 c0a80a6e 0000000000000000");
        assert_eq!(encode(&one, 120, SECOND, ip("192.168.10.101"), ip("224.0.0.18")), frame);
    }

    #[test]
    fn version_2_without_addresses_is_keepalived_s() {
        let one = unicast(router("VI_1", Version::V2, &[]), &["10.0.0.2"]);
        let one = with(33, 200, Some(b"isi_pass"), one);
        golden(&one, "10.0.0.1", "10.0.0.2", "2121c80001015f35 6973695f70617373", "2736");
    }

    #[test]
    fn version_3_over_ipv4_has_the_pseudo_header_of_each_destination() {
        let one = with(1, 101, None, router("VI_1", Version::V3, &["10.0.0.5", "10.0.0.6"]));
        golden(&one, "10.0.0.1", "224.0.0.18", "3101650200646af9 0a000005 0a000006", "cff9");
        let one = unicast(router("VI_1", Version::V3, &["192.168.10.110"]), &["192.168.10.102"]);
        let one = with(33, 200, None, one);
        golden(&one, "192.168.10.101", "192.168.10.102", "3121c8010064a4c9 c0a80a6e", "6cca");
    }

    #[test]
    fn version_3_over_ipv6_is_keepalived_s() {
        let one = with(1, 101, None, router("VI_1", Version::V3, &["fe80::5", "2001:db8::5"]));
        let frame = "3101650200644025 fe800000000000000000000000000005 20010db8000000000000000000000005";
        golden(&one, "fe80::ff:fe00:1", "ff02::12", frame, "a525");
    }

    #[test]
    fn rfc_9568_leaves_the_pseudo_header_out_over_ipv4() {
        let one = router("VI_1", Version::V3, &["10.0.0.5"]);
        let one = VirtualRouter { checksum: Checksum::MessageOnly, ..one };
        let frame = encode(&one, 100, SECOND, ip("10.0.0.1"), ip("224.0.0.18"));
        let message = decode(&frame).unwrap();
        assert_eq!(message.covers(ip("10.0.0.1"), ip("224.0.0.18")), Some(Covers::Message));
        // Which addresses does not matter then.
        assert_eq!(message.covers(ip("10.9.9.9"), ip("10.0.0.2")), Some(Covers::Message));
    }

    #[test]
    fn what_does_not_fit_the_interval_is_cut_off() {
        let two = router("VI_1", Version::V2, &["10.0.0.5"]);
        let three = router("VI_1", Version::V3, &["10.0.0.5"]);
        for (router, interval, on_the_wire) in [
            (&two, 1_999, 1_000),
            (&two, 300_000, 255_000),
            (&three, 1_019, 1_010),
            (&three, 40_950, 40_950),
            (&three, 60_000, 40_950),
        ] {
            let millis = Duration::from_millis(interval);
            let frame = encode(router, 1, millis, ip("10.0.0.1"), ip("224.0.0.18"));
            assert_eq!(decode(&frame).unwrap().interval(), Duration::from_millis(on_the_wire));
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            (v6, v3) in prop_oneof![Just((true, true)), Just((false, true)), Just((false, false))],
            (vrid, priority, count) in (1u8.., any::<u8>(), 0usize..=255),
            (wait, host) in (1u16..0x1000, 1u32..),
            password in any::<Option<[u8; 8]>>(),
            message_only: bool,
        ) {
            let version = if v3 { Version::V3 } else { Version::V2 };
            let address = |n: usize| match v6 {
                true => format!("2001:db8::{:x}", n + 1),
                false => format!("10.1.{}.{}", n / 200, n % 200),
            };
            let texts: Vec<String> = (0..count).map(address).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let checksum = if message_only { Checksum::MessageOnly } else { Checksum::PseudoHeader };
            let one = VirtualRouter { ipv6: v6, vrid, password, checksum, ..router("VI_1", version, &texts) };
            let (from, to, interval) = match (v6, v3) {
                (true, _) => (IpAddr::from(u128::from(host).to_be_bytes()), ip("ff02::12"), wait * 10),
                (false, true) => (IpAddr::from(host.to_be_bytes()), ip("224.0.0.18"), wait * 10),
                (false, false) => (IpAddr::from(host.to_be_bytes()), ip("224.0.0.18"), wait % 60 * 1000),
            };
            let interval = Duration::from_millis(u64::from(interval));
            let frame = encode(&one, priority, interval, from, to);
            let message = decode(&frame).unwrap();
            prop_assert_eq!(message.length(v6), frame.len());
            prop_assert_eq!(message.version(), version.number());
            prop_assert_eq!(message.kind(), ADVERTISEMENT);
            prop_assert_eq!((message.vrid(), message.priority()), (vrid, priority));
            prop_assert_eq!(usize::from(message.count()), count);
            prop_assert_eq!(message.interval(), interval);
            prop_assert!(message.addresses(v6).eq(one.addresses.iter().map(|held| held.address)));
            prop_assert_eq!(message.password(), (!v3).then(|| password.unwrap_or_default()));
            let covers = message.covers(from, to);
            prop_assert!(covers.is_some());
            // One bit that is not as it was is noticed, but that it may make the other checksum of version 3 right.
            let bit = usize::from(wait) % (frame.len() * 8);
            let mut other = frame.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let message = decode(&other).unwrap();
            prop_assert!(message.version() != version.number() || message.covers(from, to) != covers);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), v6: bool) {
            let Ok(message) = decode(&bytes) else { return Ok(()) };
            let address = if v6 { ip("fe80::1") } else { ip("10.0.0.1") };
            prop_assert!(message.addresses(v6).count() <= usize::from(message.count()));
            let _ = (message.password(), message.interval(), message.length(v6), message.covers(address, address));
        }
    }
}

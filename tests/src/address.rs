//! The addresses of a lab: fixed per role, so that a capture reads without a legend.
//!
//! | who | outside | LAN | servers' LAN (two-legged) | MAC |
//! |---|---|---|---|---|
//! | router | 198.51.100.1 | 192.0.2.1 | 203.0.113.1 | 02:00:00:00:a0:01, a1, a2 |
//! | clients | 198.51.100.7, .8, ... | | | 02:00:00:00:c0:07, ... |
//! | directors | | 192.0.2.2, .3 | 203.0.113.2, .3 | 02:00:00:00:d0:02, d1 on the second leg |
//! | real servers | | 192.0.2.21, .22, ... | or 203.0.113.21, ... | 02:00:00:00:e0:21, ... |
//! | VIPs | | 192.0.2.10 to .19 | | that of the owner |
//!
//! In a lab with IPv6 everybody has an address of that family too, which ends in the same digits: beside
//! 198.51.100.7, 192.0.2.21 and 203.0.113.21 these are 2001:db8:51::7, 2001:db8:2::21 and 2001:db8:113::21.
//!
//! Invariant: the last byte of a MAC *looks like* the last byte of the address: .21 is `:21`, not `:15`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The first VIP, the one that tests with one service use.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

/// The VIP number `index` (0 to 9), from [`VIP`] on.
pub fn vip(index: usize) -> IpAddr {
    assert!(index < 10, "the lab has the VIPs 192.0.2.10 to .19; number {index} was asked for");
    Segment::Lan.address(10 + index)
}

/// The first VIP of a lab with IPv6.
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10));

/// The IPv6 VIP number `index` (0 to 9), from [`VIP6`] on.
pub fn vip6(index: usize) -> IpAddr {
    assert!(index < 10, "the lab has the VIPs 2001:db8:2::10 to ::19; number {index} was asked for");
    Segment::Lan.address6(10 + index)
}

/// One of the networks of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Segment {
    /// Where the clients are, behind the router: 198.51.100.0/24.
    Outside,
    /// Where router, directors and VIPs are, and the real servers unless the lab is two-legged: 192.0.2.0/24.
    Lan,
    /// Where the real servers of a two-legged lab are: 203.0.113.0/24.
    Servers,
}

impl Segment {
    /// The length of every segment's prefix.
    pub const PREFIX: u8 = 24;

    /// The address `last` of this segment.
    pub fn address(self, last: usize) -> IpAddr {
        let last = u8::try_from(last).expect("the last byte of an address");
        IpAddr::V4(match self {
            Segment::Outside => Ipv4Addr::new(198, 51, 100, last),
            Segment::Lan => Ipv4Addr::new(192, 0, 2, last),
            Segment::Servers => Ipv4Addr::new(203, 0, 113, last),
        })
    }

    /// The router's address here: everybody's way out.
    pub fn router(self) -> IpAddr {
        self.address(1)
    }

    /// The length of every segment's IPv6 prefix.
    pub const PREFIX6: u8 = 64;

    /// The IPv6 address of this segment that ends in the decimal digits of `last`.
    pub fn address6(self, last: usize) -> IpAddr {
        let network = match self {
            Segment::Outside => 0x51,
            Segment::Lan => 2,
            Segment::Servers => 0x113,
        };
        Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, u16::from(digits(last))).into()
    }

    /// The router's IPv6 address here.
    pub fn router6(self) -> IpAddr {
        self.address6(1)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// Nobody; the target of an ARP request.
    pub const ZERO: Mac = Mac([0; 6]);

    /// `02:00:00:00:ROLE:LAST`, where LAST shows the decimal `last`, so at most 99.
    pub fn of_role(role: u8, last: usize) -> Mac {
        Mac([0x02, 0, 0, 0, role, digits(last)])
    }

    /// The link-local address that a kernel makes from it (RFC 4291 appendix A).
    pub fn link_local(self) -> IpAddr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f).into()
    }
}

/// The byte whose hexadecimal digits are the decimal ones of `last`, so at most 99.
fn digits(last: usize) -> u8 {
    assert!(last < 100, "the lab's MACs and IPv6 addresses show two decimal digits, not {last}");
    (last / 10 * 16 + last % 10) as u8
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16))
            .collect::<Result<_, _>>()
            .map_err(|fault| format!("{text:?} is no MAC address: {fault}"))?;
        bytes.try_into().map(Mac).map_err(|_| format!("{text:?} is no MAC address: it has not six bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_shows_the_last_byte_of_the_address() {
        assert_eq!(Mac::of_role(0xe0, 21).to_string(), "02:00:00:00:e0:21");
    }

    #[test]
    fn an_ipv6_address_ends_in_the_digits_of_the_ipv4_address() {
        assert_eq!(Segment::Lan.address6(21).to_string(), "2001:db8:2::21");
        assert_eq!((vip6(0), vip6(9).to_string()), (VIP6, "2001:db8:2::19".to_owned()));
        assert_eq!(Mac::of_role(0xe0, 21).link_local().to_string(), "fe80::ff:fe00:e021");
    }

    #[test]
    fn a_mac_reads_what_it_writes() {
        let mac = Mac([0x02, 0xab, 0, 1, 2, 0xff]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!("02:00".parse::<Mac>().is_err());
        assert!("02:00:00:00:00:xx".parse::<Mac>().is_err());
    }
}

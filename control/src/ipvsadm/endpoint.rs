//! `host[:port]` as ipvsadm reads it: an IPv4 address or a name, an IPv6 address in brackets or alone, a port by number or name.

use std::net::{IpAddr, Ipv6Addr};

use super::names::Names;
use super::option::Protocol;

/// An address and, if it was said, a port; 0 is a port, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

/// Reads `text`; the names of ports are those of `protocol`, without one there are none.
pub fn read(text: &str, protocol: Option<Protocol>, names: &Names) -> Option<Endpoint> {
    // "-t 80" is a slip, and no host.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, Some(port.strip_prefix(':')?))
        }
        None => match text.parse::<Ipv6Addr>() {
            Ok(_) => (text, None),
            Err(_) => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        },
    };
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => names.address(host)?.into(),
    };
    let port = match port {
        Some(port) => Some(port_of(port, protocol, names)?),
        None => None,
    };
    Some(Endpoint { address, port })
}

fn port_of(text: &str, protocol: Option<Protocol>, names: &Names) -> Option<u16> {
    match number(text, 0, 65535) {
        Some(port) => u16::try_from(port).ok(),
        None => names.number(text, protocol?),
    }
}

/// A decimal number from `least` to `most`, as strtol(3) reads it: blanks and a plus sign may stand before it.
pub fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    text.trim_ascii_start().parse().ok().filter(|number| (least..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_by_number_or_name_or_none() {
        let names = Names::of("ssh 22/tcp\n", &[]);
        let read =
            |text: &str| read(text, Some(Protocol::Tcp), &names).map(|at| (at.address.to_string(), at.port));
        let at = |address: &str, port| Some((address.to_owned(), port));
        assert_eq!(read("192.0.2.10:80"), at("192.0.2.10", Some(80)));
        assert_eq!(read("192.0.2.10:ssh"), at("192.0.2.10", Some(22)));
        assert_eq!(read("192.0.2.10"), at("192.0.2.10", None));
        assert_eq!(read("[2001:db8::10]:0"), at("2001:db8::10", Some(0)));
        assert_eq!(read("2001:db8::10"), at("2001:db8::10", None));
        assert_eq!(read("localhost:+80"), at("127.0.0.1", Some(80)));
    }

    #[test]
    fn what_is_no_address_is_none() {
        let names = Names::of("ssh 22/tcp\n", &[]);
        for text in
            ["", "80", "192.0.2.10:70000", "192.0.2.10:", "192.0.2.10:-1", "[2001:db8::10]", "[2001:db8::10"]
        {
            assert_eq!(read(text, Some(Protocol::Tcp), &names), None, "{text}");
        }
        assert_eq!(read("192.0.2.10:ssh", Some(Protocol::Udp), &names), None);
        assert_eq!(read("192.0.2.10:ssh", None, &names), None);
    }
}

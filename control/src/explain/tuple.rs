//! A packet as an operator writes it: `198.51.100.7:40000 192.0.2.10:80/tcp`.

use std::net::{IpAddr, SocketAddr};

use super::question::Tuple;

const EXAMPLE: &str = "shunt explain 198.51.100.7:40000 192.0.2.10:80/tcp, \
                       or shunt explain '[2001:db8::7]:40000' '[2001:db8::10]:80/udp'";

/// Protocols that have services, by the number that IP gives them.
const PROTOCOLS: [(&str, u8); 3] = [("tcp", 6), ("udp", 17), ("sctp", 132)];
/// RFC 9293, section 3.1.
const FLAGS: [(&str, u8); 8] = [
    ("FIN", 0x01),
    ("SYN", 0x02),
    ("RST", 0x04),
    ("PSH", 0x08),
    ("ACK", 0x10),
    ("URG", 0x20),
    ("ECE", 0x40),
    ("CWR", 0x80),
];

/// A packet from `client` to `service`, with these TCP flags.
///
/// # Errors
/// What is expected instead, and an example.
pub(super) fn parse(client: &str, service: &str, flags: Option<&str>) -> Result<Tuple, String> {
    let (address, name) = service.rsplit_once('/').ok_or_else(|| {
        format!("{service}: no protocol: ADDRESS:PORT/tcp, udp or sctp is expected, such as {EXAMPLE}")
    })?;
    let protocol = PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, protocol) = protocol
        .ok_or_else(|| format!("{name}: no service has that protocol: tcp, udp or sctp is expected"))?;
    let (from, to) = (endpoint(client)?, endpoint(address)?);
    if from.is_ipv4() != to.is_ipv4() {
        let family = |is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" };
        return Err(format!(
            "{client} is {} and {address} is {}: a packet has two addresses of one family",
            family(from.is_ipv4()),
            family(to.is_ipv4())
        ));
    }
    if to.port() == 0 {
        return Err(format!("{address}: no service has port 0: 1 to 65535 is expected"));
    }
    let flags = flags.map(self::flags).transpose()?;
    if flags.is_some() && *protocol != PROTOCOLS[0].1 {
        return Err(format!("--flags: only TCP has flags, not {name}"));
    }
    Ok(Tuple {
        client: from.ip(),
        client_port: from.port(),
        vip: to.ip(),
        port: to.port(),
        protocol: *protocol,
        flags,
    })
}

fn endpoint(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        if let Ok(address) = text.parse::<IpAddr>() {
            let shown = SocketAddr::new(address, 40_000);
            return format!("{text}: no port: ADDRESS:PORT is expected, such as {shown}");
        }
        format!("{text}: not ADDRESS:PORT: expected is, for example, {EXAMPLE}")
    })
}

/// `SYN`, `SYN|ACK`, `syn,ack`, `none`.
fn flags(text: &str) -> Result<u8, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(0);
    }
    text.split(['|', ',', '+']).try_fold(0, |all, name| {
        let known = FLAGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim()));
        known.map(|(_, bit)| all | bit).ok_or_else(|| {
            let names = FLAGS.map(|(name, _)| name).join(", ");
            format!(
                "--flags {name}: no such flag: one or more of {names}, with | or a comma between, or none"
            )
        })
    })
}

/// The flags of a byte, in the order of the header.
pub(crate) fn names(flags: u8) -> Vec<&'static str> {
    FLAGS.iter().filter(|(_, bit)| flags & bit != 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_in_both_families() {
        let four = parse("198.51.100.7:40000", "192.0.2.10:80/tcp", Some("syn|ACK")).unwrap();
        assert_eq!((four.client_port, four.port, four.protocol, four.flags), (40_000, 80, 6, Some(0x12)));
        let six = parse("[2001:db8::7]:1", "[2001:db8::10]:53/UDP", None).unwrap();
        assert_eq!((six.vip.to_string().as_str(), six.protocol, six.flags), ("2001:db8::10", 17, None));
        assert_eq!(names(0x12), ["SYN", "ACK"]);
        assert_eq!(parse("192.0.2.1:1", "192.0.2.10:80/tcp", Some("none")).unwrap().flags, Some(0));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_expected() {
        for (client, service, flags, told) in [
            ("198.51.100.7:40000", "192.0.2.10:80", None, "no protocol"),
            (
                "198.51.100.7",
                "192.0.2.10:80/tcp",
                None,
                "no port: ADDRESS:PORT is expected, such as 198.51.100.7:40000",
            ),
            ("2001:db8::7", "[2001:db8::10]:80/tcp", None, "such as [2001:db8::7]:40000"),
            (
                "somebody",
                "192.0.2.10:80/tcp",
                None,
                "expected is, for example, shunt explain 198.51.100.7:40000",
            ),
            ("198.51.100.7:1", "[2001:db8::10]:80/tcp", None, "is IPv4 and [2001:db8::10]:80 is IPv6"),
            ("198.51.100.7:1", "192.0.2.10:80/gre", None, "no service has that protocol: tcp, udp or sctp"),
            ("198.51.100.7:1", "192.0.2.10:99999/tcp", None, "not ADDRESS:PORT"),
            ("198.51.100.7:1", "192.0.2.10:0/tcp", None, "no service has port 0"),
            ("198.51.100.7:1", "192.0.2.10:80/tcp", Some("SIN"), "no such flag"),
            ("198.51.100.7:1", "192.0.2.10:53/udp", Some("SYN"), "only TCP has flags"),
        ] {
            let error = parse(client, service, flags).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}

//! The name of a service, as `shunt show` prints it, back to what it names.

use std::net::IpAddr;

use super::EditError;
use crate::config::resolve::unusable;
use crate::model::{Ports, Protocol, ServiceKey};

const HELP: &str =
    "write it as it is shown: 192.0.2.10:80/tcp, 192.0.2.10:8000-8009/udp, [2001:db8::10]:any/sctp";

/// What `192.0.2.10:80/tcp` names; `*` is `any`.
///
/// # Errors
/// It is no name of a service, or its address is one that no service can have.
pub fn service_key(name: &str) -> Result<ServiceKey, EditError> {
    let wrong = |what: &str| EditError::invalid(format!("{name:?} {what}"), HELP);
    let (endpoint, protocol) = name.rsplit_once('/').ok_or_else(|| wrong("has no protocol"))?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(wrong("has another protocol than tcp, udp or sctp")),
    };
    let (address, port) = endpoint.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let vip: Option<IpAddr> = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => address.parse().ok().map(IpAddr::V4),
    };
    let vip = vip.ok_or_else(|| wrong("does not begin with an address"))?;
    if let Some((what, help)) = unusable(vip) {
        return Err(EditError::invalid(format!("{vip} is {what}"), help));
    }
    let ports = ports(port).ok_or_else(|| wrong("has no port from 1 to 65535, range of them, or any"))?;
    Ok(ServiceKey { vip, protocol, ports })
}

fn ports(text: &str) -> Option<Ports> {
    // u16's own parser takes a sign.
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| is_number && *port > 0)
    };
    if matches!(text, "any" | "*") {
        return Some(Ports::ANY);
    }
    match text.split_once('-') {
        Some((first, last)) => {
            let ports = Ports { first: number(first)?, last: number(last)? };
            (ports.first <= ports.last).then_some(ports)
        }
        None => number(text).map(Ports::exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_shown_is_read_again() {
        for vip in ["192.0.2.10", "2001:db8::10"] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                for ports in [Ports::exact(80), Ports { first: 8000, last: 8009 }, Ports::ANY] {
                    let key = ServiceKey { vip: vip.parse().unwrap(), protocol, ports };
                    assert_eq!(service_key(&key.to_string()), Ok(key));
                }
            }
        }
        assert_eq!(service_key("192.0.2.10:*/tcp"), service_key("192.0.2.10:any/tcp"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_what_is_wrong() {
        for (name, what) in [
            ("192.0.2.10:80", "protocol"),
            ("192.0.2.10:80/icmp", "protocol"),
            ("192.0.2.10/tcp", "no port"),
            ("192.0.2.10:0/tcp", "1 to 65535"),
            ("192.0.2.10:+80/tcp", "1 to 65535"),
            ("192.0.2.10:65536/tcp", "1 to 65535"),
            ("192.0.2.10:90-80/tcp", "1 to 65535"),
            ("www.example.com:80/tcp", "address"),
            ("2001:db8::10:80/tcp", "address"),
            ("[192.0.2.10]:80/tcp", "address"),
            ("127.0.0.1:80/tcp", "loopback"),
            ("[::ffff:192.0.2.1]:80/tcp", "IPv4-mapped"),
        ] {
            let error = service_key(name).unwrap_err();
            assert!(error.message.contains(what), "{name}: {error}");
            assert!(!error.help.is_empty());
        }
    }
}

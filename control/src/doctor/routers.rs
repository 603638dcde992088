//! Which virtual routers are heard on the link: whether another director is active, or more than one.
//!
//! *Invariants*: nothing is sent but that the groups are joined; it ends when the time is over, whatever is heard.
//!
//! RFC 3768, RFC 9568.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::report::Finding;
use crate::link::Link;
use crate::model::{Peers, VirtualRouter};
use crate::vrrp::packet;

/// VRRP's number.
const VRRP: i32 = 112;
/// Longest advert that anybody sends.
const LONGEST: usize = 4200;
/// Longest and shortest time that is listened.
const MOST: Duration = Duration::from_secs(4);
const LEAST: Duration = Duration::from_millis(1200);

/// What a router of the configuration is heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Who sends adverts for its VRID: the address, and the priority that it said last.
    pub(super) sources: BTreeMap<IpAddr, u8>,
}

/// How long it takes to hear each of them, if somebody is active.
pub(super) fn patience(routers: &[VirtualRouter]) -> Duration {
    routers.iter().map(|router| router.interval * 3).max().unwrap_or_default().clamp(LEAST, MOST)
}

/// Listens for the adverts of a router. It blocks: a thread of its own is for it.
///
/// # Errors
/// No raw socket can be had.
pub(super) fn listen(router: &VirtualRouter, link: &Link, patience: Duration) -> io::Result<Heard> {
    let domain = if router.ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(VRRP)))?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    match router.peers {
        Peers::Multicast { group: IpAddr::V4(group) } => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link.index))?;
        }
        Peers::Multicast { group: IpAddr::V6(group) } => socket.join_multicast_v6(&group, link.index)?,
        Peers::Unicast { .. } => {}
    }
    // `recv_from` is the same for every kind of datagrams.
    let socket = UdpSocket::from(socket);
    let (until, mut heard) = (Instant::now() + patience, Heard::default());
    let mut bytes = [0; LONGEST];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(heard);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut bytes) {
            Ok((length, from)) => heard.take(router, &bytes[..length], from.ip()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Heard {
    fn take(&mut self, router: &VirtualRouter, bytes: &[u8], source: IpAddr) {
        let message = match router.ipv6 {
            true => Some(bytes),
            // A raw socket of IPv4 hands over the header too.
            false => bytes.first().and_then(|first| bytes.get(usize::from(first & 15) * 4..)),
        };
        let Some(message) = message.and_then(|bytes| packet::decode(bytes).ok()) else { return };
        if message.vrid() == router.vrid && message.priority() > 0 {
            self.sources.insert(source, message.priority());
        }
    }

    /// What that says about the router.
    pub(super) fn finding(&self, router: &VirtualRouter, own: &BTreeSet<IpAddr>) -> Finding {
        let check = format!("{} vrrp", router.name);
        let others: Vec<(&IpAddr, &u8)> =
            self.sources.iter().filter(|(source, _)| !own.contains(source)).collect();
        match *others.as_slice() {
            [] => Finding::ok(check, format!("no other director is heard for VRID {}", router.vrid)),
            [(source, priority)] if *priority == router.priority => Finding::warn(
                check,
                format!("{source} is active with the priority of this one, {priority}: who wins is chance"),
            )
            .advise("give each director a priority of its own"),
            [(source, priority)] => {
                Finding::ok(check, format!("{source} is active, with priority {priority}"))
            }
            ref several => {
                let all: Vec<String> =
                    several.iter().map(|(source, priority)| format!("{source} ({priority})")).collect();
                let what =
                    format!("{} send adverts for VRID {}: both are active", all.join(" and "), router.vrid);
                Finding::fail(check, what).advise(
                    "see that they hear each other: the same version, authentication and interval, multicast between \
                     them; or another VRID for those that are another router",
                )
            }
        }
    }
}

/// The same, of a running shunt: what it answers to `show vrrp`; and who it hears.
pub(super) fn as_it_runs(view: &Value) -> (Vec<Finding>, Vec<IpAddr>) {
    let (mut findings, mut active) = (Vec::new(), Vec::new());
    for router in view["routers"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let check = format!("{} vrrp", text(&router["name"]));
        active
            .extend(router["active"]["address"].as_str().and_then(|address| address.parse::<IpAddr>().ok()));
        let state = text(&router["state"]);
        let finding = if !router["rival"].is_null() {
            let what =
                format!("{state}, and {} is active at the same time", text(&router["rival"]["source"]));
            Finding::fail(check, what).run("shunt show vrrp")
        } else if !router["fault"].is_null() {
            Finding::fail(check, format!("{state}: {}", text(&router["fault"]))).run("shunt show vrrp")
        } else if !router["active"].is_null() && state == "BACKUP" {
            Finding::ok(check, format!("{state}; {} is active", text(&router["active"]["address"])))
        } else {
            Finding::ok(check, state)
        };
        findings.push(finding);
    }
    (findings, active)
}

/// The address that a virtual router has when it uses a MAC address of its own.
pub(super) fn is_virtual(mac: [u8; 6]) -> bool {
    mac[..4] == [0, 0, 0x5e, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Level;

    fn router() -> VirtualRouter {
        let text = "[director]\ninterfaces = [\"eth0\"]\n[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\n\
                    priority = 100\naddresses = [\"192.0.2.10\"]\n";
        crate::config::parse("a.toml", text).unwrap().model.vrrp.routers.remove(0)
    }

    fn heard(sources: &[(&str, u8)]) -> Heard {
        Heard { sources: sources.iter().map(|(a, p)| (a.parse().unwrap(), *p)).collect() }
    }

    #[test]
    fn one_active_director_is_well_and_two_are_a_failure() {
        let own = BTreeSet::from([IpAddr::from([192, 0, 2, 2])]);
        for (sources, level) in [
            (&[][..], Level::Ok),
            (&[("192.0.2.2", 100)], Level::Ok),
            (&[("192.0.2.3", 150)], Level::Ok),
            (&[("192.0.2.3", 100)], Level::Warn),
            (&[("192.0.2.3", 150), ("192.0.2.4", 90)], Level::Fail),
        ] {
            assert_eq!(heard(sources).finding(&router(), &own).level, level, "{sources:?}");
        }
    }

    #[test]
    fn adverts_are_taken_by_their_vrid_and_rubbish_is_not() {
        let router = router();
        let from = IpAddr::from([192, 0, 2, 3]);
        let advert = |vrid: u8, priority: u8| {
            let mut packet = vec![0x45; 20];
            packet.extend([0x21, vrid, priority, 1, 0, 1, 0, 0, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
            packet
        };
        let mut heard = Heard::default();
        for packet in [advert(52, 100), advert(51, 0), vec![], vec![0x45], vec![0x4f; 30]] {
            heard.take(&router, &packet, from);
        }
        assert_eq!(heard, Heard::default());
        heard.take(&router, &advert(51, 120), from);
        assert_eq!(heard.sources, BTreeMap::from([([192, 0, 2, 3].into(), 120)]));
    }

    #[test]
    fn a_running_shunt_that_is_active_beside_another_fails() {
        let view = serde_json::json!({"routers": [
            {"name": "a", "state": "MASTER", "active": null, "fault": null, "rival": {"source": "192.0.2.3"}},
            {"name": "b", "state": "BACKUP", "active": {"address": "192.0.2.3"}, "fault": null, "rival": null},
            {"name": "c", "state": "FAULT", "active": null, "fault": "eth0 is down", "rival": null},
        ]});
        let (findings, active) = as_it_runs(&view);
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Fail, Level::Ok, Level::Fail]);
        assert_eq!(active, [IpAddr::from([192, 0, 2, 3])]);
    }
}

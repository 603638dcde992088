//! The table of services as IPVS would have it, from what the director shows of itself.
//!
//! *Invariants*
//! - A real server that health checks took out is not in the table, as keepalived takes it out; one that keeps its flows has
//!   weight 0. A sorry server is in it while it answers, and then the real servers are not.
//! - A real server that nothing checks is in it whether its MAC address is known or not: IPVS does not ask.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::option::Protocol;

/// All services, in the order of the director.
#[derive(Debug, Default)]
pub struct Table {
    /// The services.
    pub services: Vec<Service>,
    /// How long silent flows are remembered: TCP, after a FIN, UDP, seconds.
    pub timeouts: [u64; 3],
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Protocol.
    pub protocol: Protocol,
    /// VIP.
    pub vip: IpAddr,
    /// Its ports.
    pub ports: Ports,
    /// Name of the scheduler.
    pub scheduler: String,
    /// Its flags.
    pub flags: Vec<String>,
    /// Persistence, seconds.
    pub persistence: Option<u64>,
    /// Leading bits of a client's address.
    pub prefix: Option<u8>,
    /// Each datagram is a flow of its own.
    pub one_packet: bool,
    /// It was added while the director ran, and is not the configuration's.
    pub is_added: bool,
    /// Its traffic.
    pub traffic: Traffic,
    /// Its real servers, in the order in which they came.
    pub reals: Vec<Real>,
}

/// What a real server is to a service.
#[derive(Debug, Clone)]
pub struct Real {
    /// Its address.
    pub address: IpAddr,
    /// Its weight.
    pub weight: u64,
    /// Its upper threshold.
    pub upper: u64,
    /// Its lower threshold.
    pub lower: u64,
    /// Active flows.
    pub active: u64,
    /// Other flows.
    pub inactive: u64,
    /// Clients that stay with it.
    pub persistent: u64,
    /// Its traffic.
    pub traffic: Traffic,
}

/// Ports of a service: what no IPVS has is a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// One; 0 is all.
    One(u16),
    /// From the first to the last.
    Range(u16, u16),
}

/// Flows, packets and bytes: since they were set to 0, and in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// New flows.
    pub flows: u64,
    /// Packets in; none are seen on their way out.
    pub packets: u64,
    /// Bytes in, Ethernet headers not counted.
    pub bytes: u64,
    /// New flows in a second.
    pub flow_rate: u64,
    /// Packets in a second.
    pub packet_rate: u64,
    /// Bytes in a second.
    pub byte_rate: u64,
}

impl Service {
    /// As shunt names it.
    pub fn name(&self) -> String {
        name(self.protocol, self.vip, &self.ports.to_string())
    }
}

/// The name of a service: `192.0.2.10:80/tcp`.
pub fn name(protocol: Protocol, vip: IpAddr, ports: &str) -> String {
    match vip {
        IpAddr::V4(vip) => format!("{vip}:{ports}/{protocol}"),
        IpAddr::V6(vip) => format!("[{vip}]:{ports}/{protocol}"),
    }
}

/// How shunt spells a port of ipvsadm's.
pub fn spelled(port: u16) -> String {
    match port {
        0 => "any".to_owned(),
        port => port.to_string(),
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ports::One(port) => f.write_str(&spelled(*port)),
            Ports::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl Table {
    /// From what `show services` and `show reals` answer.
    ///
    /// # Errors
    /// The director speaks of something else.
    pub fn of(services: &Value, reals: &Value) -> Result<Table, String> {
        let reals: Vec<RealRow> = rows(reals, "reals")?;
        let timeouts = &services["timeouts"];
        let mut table = Table {
            services: Vec::new(),
            timeouts: ["established", "fin", "udp"].map(|of| timeouts[of].as_u64().unwrap_or_default()),
        };
        for row in rows::<ServiceRow>(services, "services")? {
            let mut service = row.service()?;
            let is_sorry = row.quorum.lost && row.sorry.is_some();
            let name = service.name();
            let its = reals.iter().filter(|real| real.service == name);
            service.reals = its.filter_map(|real| real.real(is_sorry)).collect();
            table.services.push(service);
        }
        Ok(table)
    }

    /// The service at this address and port.
    pub fn service(&self, protocol: Protocol, vip: IpAddr, port: u16) -> Option<&Service> {
        let port = Ports::One(port);
        self.services.iter().find(|s| (s.protocol, s.vip, s.ports) == (protocol, vip, port))
    }
}

fn rows<T: serde::de::DeserializeOwned>(view: &Value, of: &str) -> Result<Vec<T>, String> {
    serde_json::from_value(view[of].clone()).map_err(|error| format!("the director's {of}: {error}"))
}

#[derive(Deserialize)]
struct ServiceRow {
    vip: IpAddr,
    port: Value,
    protocol: String,
    scheduler: String,
    persistence_seconds: Option<u64>,
    persistence_prefix: Option<u8>,
    one_packet: bool,
    quorum: QuorumRow,
    sorry: Option<IpAddr>,
    /// What is not as the configuration says, in words.
    changed: Option<String>,
    #[serde(default)]
    traffic: Traffic,
}

#[derive(Deserialize)]
struct QuorumRow {
    lost: bool,
}

impl ServiceRow {
    fn service(&self) -> Result<Service, String> {
        let strange = || format!("the director has a service that ipvsadm has no word for: {}", self.port);
        let protocol = match self.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(strange()),
        };
        let ports = match (&self.port, self.port.as_str()) {
            (_, Some("any")) => Ports::One(0),
            (_, Some(text)) => text
                .split_once('-')
                .and_then(|(first, last)| Some(Ports::Range(first.parse().ok()?, last.parse().ok()?)))
                .ok_or_else(strange)?,
            (port, None) => {
                let port = port.as_u64().and_then(|port| port.try_into().ok());
                Ports::One(port.ok_or_else(strange)?)
            }
        };
        let (scheduler, flags) = match self.scheduler.split_once(" (") {
            Some((name, flags)) => {
                (name, flags.trim_end_matches(')').split(',').map(str::to_owned).collect())
            }
            None => (self.scheduler.as_str(), Vec::new()),
        };
        Ok(Service {
            protocol,
            vip: self.vip,
            ports,
            scheduler: scheduler.to_owned(),
            flags,
            persistence: self.persistence_seconds,
            prefix: self.persistence_prefix,
            one_packet: self.one_packet,
            is_added: self
                .changed
                .as_ref()
                .is_some_and(|words| words.split("; ").any(|word| word == "added")),
            traffic: self.traffic,
            reals: Vec::new(),
        })
    }
}

#[derive(Deserialize)]
struct RealRow {
    service: String,
    address: IpAddr,
    weight: u64,
    state: String,
    sorry: bool,
    keeps_flows: bool,
    #[serde(default)]
    checks: u64,
    upper: u64,
    lower: u64,
    #[serde(default)]
    active: u64,
    #[serde(default)]
    inactive: u64,
    #[serde(default)]
    templates: u64,
    #[serde(default)]
    traffic: Traffic,
}

impl RealRow {
    /// `is_sorry`: the sorry server of its service answers.
    fn real(&self, is_sorry: bool) -> Option<Real> {
        let is_down = self.state == "down" && (self.checks > 0 || self.sorry);
        let is_out = is_down || self.sorry != is_sorry;
        if is_out && !self.keeps_flows {
            return None;
        }
        Some(Real {
            address: self.address,
            weight: if is_out { 0 } else { self.weight },
            upper: self.upper,
            lower: self.lower,
            active: self.active,
            inactive: self.inactive,
            persistent: self.templates,
            traffic: self.traffic,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn real(address: &str, state: &str, more: Value) -> Value {
        let mut row = json!({ "service": "192.0.2.10:80/tcp", "address": address, "weight": 3, "state": state,
            "sorry": false, "keeps_flows": false, "checks": 1, "upper": 0, "lower": 0 });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    }

    fn weights(lost: bool) -> Vec<(String, u64)> {
        let services = json!({ "timeouts": { "established": 900, "fin": 120, "udp": 300 }, "services": [{
            "vip": "192.0.2.10", "port": 80, "protocol": "tcp", "scheduler": "sh (sh-port,sh-fallback)",
            "persistence_seconds": null, "persistence_prefix": null, "one_packet": false,
            "quorum": { "lost": lost }, "sorry": "192.0.2.25", "changed": "timeouts tcp 5 s; added" }] });
        let reals = json!({ "reals": [
            real("192.0.2.21", "up", json!({})),
            real("192.0.2.22", "down", json!({})),
            real("192.0.2.23", "down", json!({ "keeps_flows": true })),
            real("192.0.2.24", "down", json!({ "checks": 0 })),
            real("192.0.2.25", if lost { "up" } else { "down" }, json!({ "sorry": true, "checks": 0 })),
        ] });
        let table = Table::of(&services, &reals).unwrap();
        assert_eq!(table.timeouts, [900, 120, 300]);
        assert!(table.services[0].is_added);
        assert_eq!(table.services[0].flags, ["sh-port", "sh-fallback"]);
        assert!(table.service(Protocol::Tcp, "192.0.2.10".parse().unwrap(), 80).is_some());
        assert!(table.service(Protocol::Udp, "192.0.2.10".parse().unwrap(), 80).is_none());
        table.services[0].reals.iter().map(|real| (real.address.to_string(), real.weight)).collect()
    }

    #[test]
    fn what_checks_took_out_is_not_in_the_table() {
        let at = |address: &str, weight| (address.to_owned(), weight);
        assert_eq!(weights(false), [at("192.0.2.21", 3), at("192.0.2.23", 0), at("192.0.2.24", 3)]);
        assert_eq!(weights(true), [at("192.0.2.23", 0), at("192.0.2.25", 3)]);
    }

    #[test]
    fn ports_are_spelled_as_shunt_spells_them() {
        let vip = "2001:db8::10".parse().unwrap();
        assert_eq!(name(Protocol::Sctp, vip, &spelled(0)), "[2001:db8::10]:any/sctp");
        assert_eq!(Ports::Range(8000, 8100).to_string(), "8000-8100");
    }
}

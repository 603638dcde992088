//! `ipvsadm -L -c`: flows, in IPVS's words.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::names::Names;
use super::option::Protocol;

/// A flow, or where the flows of a client go.
#[derive(Deserialize)]
pub struct Connection {
    protocol: String,
    client: IpAddr,
    client_port: u16,
    vip: IpAddr,
    port: u16,
    /// None: it is gone, and the flow waits for its end.
    real: Option<IpAddr>,
    state: String,
    expires_seconds: u64,
}

/// From what `show flows` answers.
///
/// # Errors
/// The director speaks of something else.
pub fn of(flows: &Value) -> Result<Vec<Connection>, String> {
    serde_json::from_value(flows["flows"].clone()).map_err(|error| format!("the director's flows: {error}"))
}

impl Connection {
    /// Whose names are to be shown.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [Some(self.client), Some(self.vip), self.real].into_iter().flatten()
    }

    /// As IPVS calls it (`ip_vs_tcp.c`: `tcp_state_name_table`, and so on). It knows a client's way to a real server as NONE
    /// until a connection has been made by it, then as ASSURED.
    fn state(&self) -> &'static str {
        match self.state.as_str() {
            "syn-received" => "SYN_RECV",
            "established" | "midway" | "sctp" => "ESTABLISHED",
            "fin-wait" => "FIN_WAIT",
            "time-wait" => "TIME_WAIT",
            "closed" => "CLOSE",
            "udp-new" | "udp" => "UDP",
            "sctp-new" => "INIT1",
            "template" => "ASSURED",
            _ => "NONE",
        }
    }
}

/// All of them; `with_engine`: with columns for persistence engines, which there are none of.
pub fn listing(connections: &[Connection], names: Option<&Names>, with_engine: bool) -> String {
    let mut out = "IPVS connection entries\n".to_owned();
    let (state, source) = ("state", "source");
    let title = format!("pro expire {state:<11} {source:<18} {:<18}", "virtual");
    out += &match with_engine {
        true => format!("{title} {:<18} {:<16} pe_data\n", "destination", "pe name"),
        false => format!("{title} destination\n"),
    };
    for connection in connections {
        let Connection { client, client_port, vip, port, expires_seconds: expires, .. } = connection;
        // What is over stays in the flow table until its turn comes to be swept.
        let Some(real) = connection.real.filter(|_| *expires > 0) else { continue };
        let protocol = match connection.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => Protocol::Sctp,
        };
        let at = |address: IpAddr, port: u16| {
            let (host, port) = match names {
                Some(names) => (names.host(address), names.port(port, protocol)),
                None => (address.to_string(), port.to_string()),
            };
            if address.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let [source, service, destination] = [at(*client, *client_port), at(*vip, *port), at(real, *port)];
        let protocol = protocol.to_string().to_uppercase();
        let expires = format!("{:02}:{:02}", expires / 60, expires % 60);
        let state = connection.state();
        out += &format!("{protocol:<3} {expires:<6} {state:<11} {source:<18} {service:<18} {destination}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow(state: &str, protocol: &str, client: &str, client_port: u16, seconds: u64) -> Value {
        json!({ "worker": 0, "protocol": protocol, "client": client, "client_port": client_port,
            "vip": "198.18.0.100", "port": 80, "real": "198.18.0.11", "state": state, "expires_seconds": seconds })
    }

    #[test]
    fn connections_are_listed_as_ipvsadm_lists_them() {
        let flows = json!({ "flows": [
            flow("fin-wait", "tcp", "192.0.2.10", 37574, 119),
            flow("established", "tcp", "192.0.2.10", 40001, 900),
            flow("template", "tcp", "192.0.2.10", 0, 45),
            flow("udp", "udp", "192.0.2.10", 5353, 259_200),
            flow("established", "tcp", "192.0.2.10", 40002, 0),
        ] });
        assert_eq!(
            listing(&of(&flows).unwrap(), None, false),
            "IPVS connection entries\n\
             pro expire state       source             virtual            destination\n\
             TCP 01:59  FIN_WAIT    192.0.2.10:37574   198.18.0.100:80    198.18.0.11:80\n\
             TCP 15:00  ESTABLISHED 192.0.2.10:40001   198.18.0.100:80    198.18.0.11:80\n\
             TCP 00:45  ASSURED     192.0.2.10:0       198.18.0.100:80    198.18.0.11:80\n\
             UDP 4320:00 UDP         192.0.2.10:5353    198.18.0.100:80    198.18.0.11:80\n"
        );
    }

    #[test]
    fn titles_are_those_of_the_real_ipvsadm() {
        assert_eq!(listing(&[], None, false), include_str!("golden/empty-Lnc.txt"));
        assert_eq!(listing(&[], None, true), include_str!("golden/empty-Lnc--persistent-conn.txt"));
    }

    #[test]
    fn every_state_of_a_flow_has_a_word() {
        let words = |state: &str| {
            of(&json!({ "flows": [flow(state, "tcp", "192.0.2.1", 1, 1)] })).unwrap()[0].state()
        };
        for state in
            ["syn-received", "established", "fin-wait", "time-wait", "closed", "midway", "udp-new", "udp"]
        {
            assert_ne!(words(state), "NONE", "{state}");
        }
        assert_eq!(
            (words("template-new"), words("sctp-new"), words("sctp")),
            ("NONE", "INIT1", "ESTABLISHED")
        );
    }
}

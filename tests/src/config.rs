//! The configurations of the tests: what a service is made of, as text.

use std::fmt::Write;
use std::net::IpAddr;

use crate::address::VIP;
use crate::host::Host;
use crate::lab::Lab;

/// A `[[service]]` table; on [`VIP`], unless told otherwise.
#[derive(Clone, Debug)]
pub struct Service {
    vip: IpAddr,
    /// As TOML has it: a number, or a string in quotes.
    port: String,
    protocol: &'static str,
    check: Option<&'static str>,
    /// More lines of its table, and of its real servers' tables.
    lines: Vec<String>,
    tables: Vec<String>,
    reals: Vec<(IpAddr, u32, String)>,
}

/// A check that notices within half a second, also on a busy machine: three failures, 100 ms apart.
pub const QUICK_CHECK: &str =
    r#"{ type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 3 }"#;

impl Service {
    /// A TCP service without real servers.
    pub fn tcp(port: u16) -> Service {
        Service {
            vip: VIP,
            port: port.to_string(),
            protocol: "tcp",
            check: None,
            lines: Vec::new(),
            tables: Vec::new(),
            reals: Vec::new(),
        }
    }

    /// A UDP service without real servers.
    pub fn udp(port: u16) -> Service {
        Service { protocol: "udp", ..Service::tcp(port) }
    }

    /// An SCTP service without real servers.
    pub fn sctp(port: u16) -> Service {
        Service { protocol: "sctp", ..Service::tcp(port) }
    }

    /// On a range of ports, `8000-8100`, or on `any`.
    pub fn ports(mut self, ports: &str) -> Service {
        self.port = format!("\"{ports}\"");
        self
    }

    /// With one more line in its table, whatever it says: `scheduler = "rr"`.
    pub fn with(mut self, line: &str) -> Service {
        self.lines.push(line.to_owned());
        self
    }

    /// With a table of its own, lines and all: `[service.passive]` for example.
    pub fn table(mut self, text: &str) -> Service {
        self.tables.push(text.to_owned());
        self
    }

    /// On another VIP.
    pub fn on(mut self, vip: IpAddr) -> Service {
        self.vip = vip;
        self
    }

    /// With a check, an inline table of TOML such as [`QUICK_CHECK`].
    pub fn checked(mut self, check: &'static str) -> Service {
        self.check = Some(check);
        self
    }

    /// A real server at `address`.
    pub fn real(self, address: IpAddr, weight: u32) -> Service {
        self.real_with(address, weight, "")
    }

    /// A real server at `address`, with more lines in its table: `mtu = 1400`.
    pub fn real_with(mut self, address: IpAddr, weight: u32, lines: &str) -> Service {
        self.reals.push((address, weight, lines.to_owned()));
        self
    }

    /// The address of `server` in the family of the VIP.
    fn address_of(&self, server: &Host) -> IpAddr {
        if self.vip.is_ipv4() { server.address() } else { server.address6() }
    }

    /// The lab's real servers, at their addresses of the VIP's family: the first gets the first of `weights`, and so on; who has `None` is left out.
    pub fn weighted(self, lab: &Lab, weights: &[Option<u32>]) -> Service {
        weights.iter().zip(lab.real_servers()).fold(self, |service, (weight, server)| match weight {
            Some(weight) => {
                let address = service.address_of(server);
                service.real(address, *weight)
            }
            None => service,
        })
    }

    /// All real servers of the lab, at their addresses of the VIP's family, each with weight 1.
    pub fn all(self, lab: &Lab) -> Service {
        let weights = vec![Some(1); lab.real_servers().count()];
        self.weighted(lab, &weights)
    }

    fn write(&self, text: &mut String) {
        let Service { vip, port, protocol, .. } = self;
        writeln!(text, "\n[[service]]\nvip = \"{vip}\"\nport = {port}\nprotocol = \"{protocol}\"")
            .expect("writing to a string");
        if let Some(check) = self.check {
            writeln!(text, "check = {check}").expect("writing to a string");
        }
        // Keys before tables: TOML gives a key to the table above it.
        for part in self.lines.iter().chain(&self.tables) {
            writeln!(text, "{part}").expect("writing to a string");
        }
        for (address, weight, lines) in &self.reals {
            writeln!(text, "[[service.real]]\naddress = \"{address}\"\nweight = {weight}\n{lines}")
                .expect("writing to a string");
        }
    }
}

/// A configuration for a director of `lab`, on all its legs.
pub fn file(lab: &Lab, services: &[Service]) -> String {
    with(lab, "", services)
}

/// As [`file()`], with more lines in the table `[director]`.
pub fn with(lab: &Lab, director: &str, services: &[Service]) -> String {
    let legs = if lab.is_two_legged() { r#""eth0", "eth1""# } else { r#""eth0""# };
    let mut text = format!("[director]\ninterfaces = [{legs}]\n{director}\n");
    services.iter().for_each(|service| service.write(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_before_tables_and_tables_before_real_servers() {
        let service = Service::tcp(80)
            .ports("8000-8100")
            .table("[service.passive]\nminimum = 20")
            .with("scheduler = \"rr\"")
            .real_with(VIP, 2, "mtu = 1400");
        let mut text = String::new();
        service.write(&mut text);
        let expected = "\n[[service]]\nvip = \"192.0.2.10\"\nport = \"8000-8100\"\nprotocol = \"tcp\"\n\
             scheduler = \"rr\"\n[service.passive]\nminimum = 20\n\
             [[service.real]]\naddress = \"192.0.2.10\"\nweight = 2\nmtu = 1400\n";
        assert_eq!(text, expected);
    }
}

//! The configurations of the tests: what a service is made of, as text.

use std::fmt::Write;
use std::net::IpAddr;

use crate::address::VIP;
use crate::lab::Lab;

/// A `[[service]]` table; on [`VIP`], unless told otherwise.
#[derive(Clone, Debug)]
pub struct Service {
    vip: IpAddr,
    port: u16,
    protocol: &'static str,
    check: Option<&'static str>,
    reals: Vec<(IpAddr, u32)>,
}

/// A check that notices within half a second, also on a busy machine: three failures, 100 ms apart.
pub const QUICK_CHECK: &str =
    r#"{ type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 3 }"#;

impl Service {
    /// A TCP service without real servers.
    pub fn tcp(port: u16) -> Service {
        Service { vip: VIP, port, protocol: "tcp", check: None, reals: Vec::new() }
    }

    /// A UDP service without real servers.
    pub fn udp(port: u16) -> Service {
        Service { protocol: "udp", ..Service::tcp(port) }
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
    pub fn real(mut self, address: IpAddr, weight: u32) -> Service {
        self.reals.push((address, weight));
        self
    }

    /// The lab's real servers: the first gets the first of `weights`, and so on; who has `None` is left out.
    pub fn weighted(self, lab: &Lab, weights: &[Option<u32>]) -> Service {
        weights.iter().zip(lab.real_servers()).fold(self, |service, (weight, server)| match weight {
            Some(weight) => service.real(server.address(), *weight),
            None => service,
        })
    }

    /// All real servers of the lab, each with weight 1.
    pub fn all(self, lab: &Lab) -> Service {
        lab.real_servers().fold(self, |service, server| service.real(server.address(), 1))
    }

    fn write(&self, text: &mut String) {
        let Service { vip, port, protocol, .. } = self;
        writeln!(text, "\n[[service]]\nvip = \"{vip}\"\nport = {port}\nprotocol = \"{protocol}\"")
            .expect("writing to a string");
        if let Some(check) = self.check {
            writeln!(text, "check = {check}").expect("writing to a string");
        }
        for (address, weight) in &self.reals {
            writeln!(text, "[[service.real]]\naddress = \"{address}\"\nweight = {weight}")
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

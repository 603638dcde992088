//! A `vrrp_instance` in keepalived's words, which both sides of a pair read.

use std::fmt;

/// What a `vrrp_instance` says.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// 2 or 3.
    pub version: u8,
    /// `state`.
    pub state: &'static str,
    /// Its interface.
    pub interface: String,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `priority`.
    pub priority: u8,
    /// `advert_int`, seconds.
    pub interval: f64,
    /// The lines of `virtual_ipaddress`; no block if there are none.
    pub addresses: Vec<String>,
    /// Further lines.
    pub more: String,
}

impl Instance {
    /// `VI_1` on eth0 with VRID 51 and the VIP 192.0.2.10, of version 2 with an advert each second.
    pub fn slow(priority: u8) -> Instance {
        Instance {
            name: "VI_1".to_owned(),
            version: 2,
            state: "BACKUP",
            interface: "eth0".to_owned(),
            vrid: 51,
            priority,
            interval: 1.0,
            addresses: vec![crate::address::VIP.to_string()],
            more: String::new(),
        }
    }

    /// The same of version 3 with five adverts a second: for tests that are about anything but version 2.
    pub fn fast(priority: u8) -> Instance {
        Instance { version: 3, interval: 0.2, ..Instance::slow(priority) }
    }

    /// With one more line, or several.
    pub fn with(mut self, line: &str) -> Instance {
        self.more += line;
        self.more += "\n";
        self
    }

    /// With this password.
    pub fn password(self, password: &str) -> Instance {
        self.with(&format!("authentication {{\nauth_type PASS\nauth_pass {password}\n}}"))
    }

    /// By unicast from `from` to `to`.
    pub fn unicast(self, from: impl fmt::Display, to: impl fmt::Display) -> Instance {
        self.with(&format!("unicast_src_ip {from}\nunicast_peer {{\n{to}\n}}"))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Instance { name, version, state, interface, vrid, priority, interval, addresses, more } = self;
        writeln!(f, "vrrp_instance {name} {{\nversion {version}\nstate {state}\ninterface {interface}")?;
        writeln!(f, "virtual_router_id {vrid}\npriority {priority}\nadvert_int {interval}")?;
        if !addresses.is_empty() {
            writeln!(f, "virtual_ipaddress {{\n{}\n}}", addresses.join("\n"))?;
        }
        writeln!(f, "{more}}}")
    }
}

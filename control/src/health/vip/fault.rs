//! What can be wrong between a VIP and a real server, in an operator's words, and what to run there.
//!
//! *Invariants*
//! - a name never changes: programs read it in `shunt show health --json`;
//! - a fault that the real server's own checks see too is left to them, and to the patience that the operator gave them
//!   (`fall`): it is told of, since it says why they fail, but it takes nobody out.

use std::fmt::Write;
use std::net::IpAddr;

use shunt_dataplane::packet::MacAddress;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The host answers nothing at all.
    HostDead,
    /// The host takes no packet for the VIP: it is neither an address of it, nor redirected.
    VipMissing,
    /// The port is open at the real server's own address only.
    PortClosedOnVip,
    /// The port is closed at both addresses.
    PortClosed,
    /// The host has the VIP, and something on it drops or rejects the packets.
    Filtered {
        /// At its own address too.
        also_at_real: bool,
    },
    /// The host tells its network that the VIP is there.
    AnswersArp,
    /// A packet that should fit does not arrive.
    MtuTooSmall {
        /// Its length, bytes.
        size: u16,
    },
    /// The real server's address is at another MAC address than frames are sent to.
    MacChanged {
        /// Where frames are sent to.
        expected: [u8; 6],
        /// Who says that the address is there.
        found: [u8; 6],
    },
    /// It answers, but not what it should.
    WrongAnswer {
        /// What came.
        what: String,
        /// At its own address too.
        also_at_real: bool,
    },
}

/// Where a fault is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) vip: IpAddr,
    pub(super) real: IpAddr,
    /// The port of the service; none: it has many, or is not TCP.
    pub(super) port: Option<u16>,
    /// The director's interface.
    pub(super) interface: &'a str,
}

impl Fault {
    /// Its name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::HostDead => "host_dead",
            Fault::VipMissing => "vip_missing",
            Fault::PortClosedOnVip => "port_closed_on_vip",
            Fault::PortClosed => "port_closed",
            Fault::Filtered { .. } => "filtered",
            Fault::AnswersArp => "answers_arp",
            Fault::MtuTooSmall { .. } => "mtu_too_small",
            Fault::MacChanged { .. } => "mac_changed",
            Fault::WrongAnswer { .. } => "wrong_answer",
        }
    }

    /// Whether only a check through the VIP can see that it keeps the server from serving.
    pub(super) fn is_of_the_vip(&self) -> bool {
        match self {
            Fault::VipMissing
            | Fault::PortClosedOnVip
            | Fault::MtuTooSmall { .. }
            | Fault::MacChanged { .. } => true,
            Fault::Filtered { also_at_real } | Fault::WrongAnswer { also_at_real, .. } => !also_at_real,
            Fault::HostDead | Fault::PortClosed | Fault::AnswersArp => false,
        }
    }

    /// What is wrong, in a sentence.
    pub(super) fn words(&self, at: Place<'_>) -> String {
        let Place { vip, real, interface, .. } = at;
        let port = at.port.map_or_else(|| "the service".to_owned(), |port| format!("port {port}"));
        match self {
            Fault::HostDead => format!("{real} answers nothing on {interface}, not even {}", asked(real)),
            Fault::VipMissing => format!("{real} does not have {vip}"),
            Fault::PortClosedOnVip => {
                format!("{real} accepts {port} at its own address and refuses it at {vip}")
            }
            Fault::PortClosed => format!("{real} refuses {port}, at {vip} and at its own address"),
            Fault::Filtered { also_at_real: false } if at.port.is_none() => {
                format!("{real} has {vip} and drops the packets to it")
            }
            Fault::Filtered { also_at_real: false } => {
                format!("{real} has {vip} and drops {port} there: a firewall, or rp_filter")
            }
            Fault::Filtered { also_at_real: true } => {
                format!(
                    "{real} is there and drops {port}, also at its own address: a firewall, or it is overloaded"
                )
            }
            Fault::AnswersArp => {
                format!("{real} answers {} for {vip}: clients may come to it past the director", asked(vip))
            }
            Fault::MtuTooSmall { size } => {
                format!("packets of {size} bytes do not reach {vip} on {real}, short ones do")
            }
            Fault::MacChanged { expected, found } => format!(
                "{real} is at {} now, and frames for it go to {}",
                MacAddress(*found),
                MacAddress(*expected)
            ),
            Fault::WrongAnswer { what, also_at_real: false } => format!("through {vip}, {real} {what}"),
            Fault::WrongAnswer { what, also_at_real: true } => {
                format!("{real} {what}, through {vip} and at its own address")
            }
        }
    }

    /// What to run on the real server, or where else it says.
    pub(super) fn remedy(&self, at: Place<'_>) -> String {
        let Place { vip, real, .. } = at;
        let ip = if vip.is_ipv4() { "ip" } else { "ip -6" };
        let listening = at.port.map_or_else(String::new, |port| format!(" 'sport = :{port}'"));
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        let mut text = match self {
            Fault::HostDead => {
                "look at its power, cable and switch port; at its console: ip addr show".to_owned()
            }
            Fault::VipMissing => format!("run there: ip addr add {vip}/{prefix} dev lo"),
            Fault::PortClosedOnVip => format!(
                "the server listens on {real} only: let it listen on {} or on the VIP; run there: ss -ltn{listening}",
                if vip.is_ipv4() { "0.0.0.0" } else { "[::]" }
            ),
            Fault::PortClosed => format!("the server does not run; run there: ss -ltn{listening}"),
            Fault::Filtered { .. } => "run there: nft list ruleset".to_owned(),
            Fault::AnswersArp if vip.is_ipv4() => {
                "run there: sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
                    .to_owned()
            }
            Fault::AnswersArp => {
                format!(
                    "the VIP belongs on lo; run there: {ip} addr show to {vip}, ip addr del it where it is, ip addr add {vip}/{prefix} dev lo"
                )
            }
            Fault::MtuTooSmall { .. } => format!(
                "run there: ip link show (mtu); and if that is meant, say `mtu` for {real} in shunt's configuration; a firewall that drops long pings looks the same: then say `vip_check = \"report\"`"
            ),
            Fault::MacChanged { .. } => {
                format!(
                    "if `mac` is configured for {real}, correct it; else two hosts have this address: arping -D {real}"
                )
            }
            Fault::WrongAnswer { .. } => {
                format!("the server treats {vip} as another site; look at its virtual hosts and its log")
            }
        };
        if let (Fault::Filtered { also_at_real: false }, true) = (self, vip.is_ipv4()) {
            let _ = write!(text, "; sysctl net.ipv4.conf.all.rp_filter");
        }
        if let Fault::Filtered { also_at_real: true } = self {
            let _ = write!(text, "; ss -ltn{listening} (Recv-Q); nstat -az TcpExtListenDrops");
        }
        text
    }
}

fn asked(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ARP" } else { "neighbour solicitations" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(vip: &str, real: &str) -> Place<'static> {
        Place { vip: vip.parse().unwrap(), real: real.parse().unwrap(), port: Some(80), interface: "eth0" }
    }

    #[test]
    fn a_fault_says_what_it_is_and_what_to_run() {
        let at = place("192.0.2.10", "192.0.2.21");
        assert_eq!(Fault::VipMissing.words(at), "192.0.2.21 does not have 192.0.2.10");
        assert_eq!(Fault::VipMissing.remedy(at), "run there: ip addr add 192.0.2.10/32 dev lo");
        assert!(Fault::MtuTooSmall { size: 1500 }.remedy(at).ends_with("`vip_check = \"report\"`"));
        assert!(Fault::PortClosedOnVip.remedy(at).ends_with("ss -ltn 'sport = :80'"));
        let at = place("2001:db8::10", "2001:db8::21");
        assert_eq!(Fault::VipMissing.remedy(at), "run there: ip addr add 2001:db8::10/128 dev lo");
        assert!(Fault::HostDead.words(at).ends_with("not even neighbour solicitations"));
    }

    #[test]
    fn what_the_own_checks_see_is_left_to_them() {
        for (fault, is) in [
            (Fault::VipMissing, true),
            (Fault::Filtered { also_at_real: false }, true),
            (Fault::Filtered { also_at_real: true }, false),
            (Fault::HostDead, false),
            (Fault::AnswersArp, false),
        ] {
            assert_eq!(fault.is_of_the_vip(), is, "{fault:?}");
        }
    }
}

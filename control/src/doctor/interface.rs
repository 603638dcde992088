//! What of an interface decides whether workers get frames from it, and how fast.
//!
//! `Documentation/networking/af_xdp.rst`, `scaling.rst` and `ip-sysctl.rst`; ethtool(8).

use std::collections::BTreeSet;

use super::features::{self, Features};
use super::irq::{self, Irq};
use super::programs::Attached;
use super::report::Finding;
use crate::config::counted;
use crate::link::Link;
use crate::link::ethtool::{self, MostQueues};
use crate::survey::LARGEST_MTU;

/// What to do where there is no native XDP.
const GENERIC: &str = "name the device below if this is one of software; a veth or virtio_net has it with as many queues \
                       as its peer sends on";

/// What was asked of an interface.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) link: Link,
    /// None: the kernel does not tell.
    pub(super) features: Option<Features>,
    pub(super) most_queues: Option<MostQueues>,
    /// It joins the segments of a connection (LRO).
    pub(super) joins_frames: bool,
    /// The queue for each value of its hash.
    pub(super) indirection: Option<Vec<u32>>,
    pub(super) irqs: Vec<Irq>,
    pub(super) attached: Option<Attached>,
    /// The larger of the interface's and of all.
    pub(super) rp_filter: i64,
    /// The larger of the interface's and of all.
    pub(super) arp_ignore: i64,
    /// How the running shunt gets frames from each of its queues: `native, copy mode`.
    pub(super) modes: Vec<String>,
}

/// What is known of the director that runs, or would.
#[derive(Debug, Clone, Default)]
pub(super) struct Director {
    /// Process of the shunt that answers on the socket.
    pub(super) pid: Option<i32>,
    /// Cores that workers may have.
    pub(super) cores: Vec<usize>,
    /// The core of each worker.
    pub(super) workers: Vec<usize>,
    /// This process sees whose a BPF program is.
    pub(super) sees_programs: bool,
}

impl Facts {
    pub(super) fn gather(link: &Link, attached: Option<&Attached>, modes: Vec<String>) -> Facts {
        let name = &link.name;
        let strictest = |what: &str| setting(name, what).unwrap_or(0).max(setting("all", what).unwrap_or(0));
        Facts {
            features: features::of(link.index).ok(),
            most_queues: ethtool::most_queues(name).ok(),
            joins_frames: ethtool::joins_frames(name).unwrap_or(false),
            indirection: ethtool::indirection(name).ok().filter(|table| !table.is_empty()),
            irqs: irq::gather(name),
            attached: attached.cloned(),
            rp_filter: strictest("rp_filter"),
            arp_ignore: strictest("arp_ignore"),
            modes,
            link: link.clone(),
        }
    }

    pub(super) fn findings(&self, director: &Director) -> Vec<Finding> {
        let mut findings = vec![self.state(), self.program(director), self.xdp(), self.queues(director)];
        findings.extend(self.spreading());
        findings.extend(irq::finding(&self.link.name, &self.irqs, &director.workers, &director.cores));
        findings.push(self.mtu());
        findings.push(self.offloads());
        findings.push(self.reverse_path());
        findings.push(self.arp());
        findings
    }

    fn check(&self, what: &str) -> String {
        format!("{} {what}", self.link.name)
    }

    fn state(&self) -> Finding {
        let Link { name, up, carrier, driver, .. } = &self.link;
        let check = self.check("link");
        match (up, carrier) {
            (true, true) => Finding::ok(check, format!("up, driver {driver}")),
            (true, false) => {
                Finding::fail(check, "no carrier").advise("look at the cable and at the switch's port")
            }
            (false, _) => Finding::fail(check, "down").run(format!("ip link set {name} up")),
        }
    }

    fn program(&self, director: &Director) -> Finding {
        let check = self.check("program");
        let name = &self.link.name;
        let Some(Attached { program, generic, link, holders }) = &self.attached else {
            return Finding::ok(check, "no other XDP program is in the way");
        };
        if director.pid.is_some_and(|pid| holders.iter().any(|(holder, _)| *holder == pid)) {
            return Finding::ok(check, format!("program {program} is that of the shunt that runs"));
        }
        if !director.sees_programs {
            return Finding::unseen(check, &format!("whose XDP program {program} is"));
        }
        let of = match holders.first() {
            Some((pid, name)) => format!(" of {name} (process {pid})"),
            None => String::new(),
        };
        let what = format!("XDP program {program}{of} is attached; only one can be");
        let command = match (link, generic) {
            (Some(link), _) => format!("bpftool link detach id {link}"),
            (None, true) => format!("ip link set dev {name} xdpgeneric off"),
            (None, false) => format!("ip link set dev {name} xdp off"),
        };
        Finding::fail(check, what).run(command)
    }

    fn xdp(&self) -> Finding {
        let check = self.check("xdp");
        if self.modes.iter().any(|mode| mode.starts_with("generic")) {
            return Finding::warn(check, "as it runs: generic: an skb is made of each frame first")
                .advise(GENERIC);
        }
        if !self.modes.is_empty() {
            return Finding::ok(check, format!("as it runs: {}", self.modes.join("; ")));
        }
        match self.features {
            Some(Features { native: true, zero_copy: true }) => {
                Finding::ok(check, "the driver has native XDP and zero-copy")
            }
            Some(Features { native: true, zero_copy: false }) => {
                Finding::ok(check, "the driver has native XDP, and copies frames to the sockets")
            }
            Some(Features { native: false, .. }) => Finding::warn(
                check,
                "the driver has no native XDP now: the kernel makes an skb of each frame first, which costs most of \
                 the speed",
            )
            .advise(GENERIC),
            None => Finding::warn(check, "the kernel does not tell what the driver can do (Linux 6.3 does)")
                .advise("start shunt: it says which mode it got"),
        }
    }

    fn queues(&self, director: &Director) -> Finding {
        let Link { name, rx_queues, tx_queues, .. } = &self.link;
        let check = self.check("queues");
        let queues = *rx_queues.min(tx_queues);
        let cores = director.cores.len().max(1) as u32;
        let in_use = counted(queues as usize, "queue");
        let on = counted(cores as usize, "core");
        let most = self.most_queues.map_or(queues, |most| most.combined.max(most.rx.min(most.tx)));
        let best = most.min(cores);
        if queues == best || (queues > cores && most <= queues && self.most_queues.is_none()) {
            return Finding::ok(check, format!("{in_use} on {on}, as many as are of use"));
        }
        let command = match self.most_queues {
            Some(MostQueues { combined: 1.., .. }) => format!("ethtool -L {name} combined {best}"),
            _ => format!("ethtool -L {name} rx {best} tx {best}"),
        };
        let again =
            if director.pid.is_some() { "; stop shunt first: its sockets are bound to them" } else { "" };
        let what = if queues < best {
            format!("{in_use} of {most} in use, so {} on {on}{again}", counted(queues as usize, "worker"))
        } else {
            format!("{in_use}: more workers than there are cores ({cores}){again}")
        };
        Finding::warn(check, what).run(command)
    }

    fn spreading(&self) -> Option<Finding> {
        let Link { name, rx_queues, .. } = &self.link;
        let table = self.indirection.as_ref().filter(|_| *rx_queues > 1)?;
        let check = self.check("rss");
        let reached = table.iter().collect::<BTreeSet<_>>().len();
        if reached >= *rx_queues as usize {
            return Some(Finding::ok(check, format!("flows are spread over {reached} queues")));
        }
        let what = format!("flows come to {reached} of {rx_queues} queues: workers have nothing to do");
        Some(Finding::warn(check, what).run(format!("ethtool -X {name} equal {rx_queues}")))
    }

    fn mtu(&self) -> Finding {
        let Link { name, mtu, .. } = &self.link;
        let check = self.check("mtu");
        if *mtu > LARGEST_MTU {
            let what = format!("{mtu}; a frame of an AF_XDP socket has room for {LARGEST_MTU}");
            return Finding::fail(check, what).run(format!("ip link set {name} mtu 1500"));
        }
        Finding::ok(check, format!("{mtu}, and a frame has room for {LARGEST_MTU}"))
    }

    fn offloads(&self) -> Finding {
        let Link { name, strips_tags, kind, .. } = &self.link;
        let check = self.check("offloads");
        if self.joins_frames {
            let what = "LRO joins frames to longer ones than fit, and most drivers refuse XDP with it";
            return Finding::fail(check, what).run(format!("ethtool -K {name} lro off"));
        }
        let vlan = match *strips_tags && kind != "veth" {
            true => {
                format!("; takes VLAN tags off: real servers with `vlan` need `ethtool -K {name} rxvlan off`")
            }
            false => String::new(),
        };
        Finding::ok(check, format!("no LRO{vlan}"))
    }

    fn reverse_path(&self) -> Finding {
        let check = self.check("rp_filter");
        if self.rp_filter != 1 {
            return Finding::ok(check, format!("{}: not strict", self.rp_filter));
        }
        let what = "1 (strict): the kernel drops what comes in by another interface than the answer would leave by: \
                    pings of a VIP, answers to checks";
        Finding::warn(check, what).run(format!("sysctl -w {}=2", key(&self.link.name, "rp_filter")))
    }

    fn arp(&self) -> Finding {
        let check = self.check("arp_ignore");
        if !matches!(self.arp_ignore, 2 | 8) {
            return Finding::ok(
                check,
                format!("{}: the kernel answers for a VIP that is held", self.arp_ignore),
            );
        }
        let what =
            format!("{}: the kernel does not answer for a VIP that this director holds", self.arp_ignore);
        let own = key(&self.link.name, "arp_ignore");
        Finding::fail(check, what).run(format!("sysctl -w net.ipv4.conf.all.arp_ignore=0 {own}=0"))
    }
}

/// A setting of an interface, or of `all`.
fn setting(interface: &str, what: &str) -> Option<i64> {
    // Not by the dots of `sysctl`: a name may have one in it.
    let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/{what}")).ok()?;
    text.trim().parse().ok()
}

/// The same setting as sysctl(8) names it.
fn key(interface: &str, what: &str) -> String {
    match interface.contains('.') {
        true => format!("net/ipv4/conf/{interface}/{what}"),
        false => format!("net.ipv4.conf.{interface}.{what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::{Fix, Level};

    fn healthy() -> Facts {
        let link = Link {
            name: "eth0".into(),
            index: 2,
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            carrier: true,
            kind: String::new(),
            driver: "ixgbe".into(),
            rx_queues: 4,
            tx_queues: 4,
            strips_tags: false,
        };
        Facts {
            link,
            features: Some(Features { native: true, zero_copy: true }),
            most_queues: Some(MostQueues { rx: 0, tx: 0, combined: 8 }),
            joins_frames: false,
            indirection: Some(vec![0, 1, 2, 3, 0, 1, 2, 3]),
            irqs: Vec::new(),
            attached: None,
            rp_filter: 0,
            arp_ignore: 0,
            modes: Vec::new(),
        }
    }

    fn director() -> Director {
        Director { pid: None, cores: vec![0, 1, 2, 3], workers: vec![3, 2, 1, 0], sees_programs: true }
    }

    /// The one finding that is not ok, and its command.
    #[track_caller]
    fn complaint(facts: &Facts, director: &Director) -> (Level, String) {
        let mut bad = facts.findings(director).into_iter().filter(|finding| finding.level != Level::Ok);
        let finding = bad.next().expect("a complaint");
        assert_eq!(bad.next(), None);
        match finding.fix {
            Some(Fix::Run(command)) => (finding.level, command),
            other => (finding.level, format!("{other:?}")),
        }
    }

    #[test]
    fn an_interface_as_it_should_be_is_nothing_to_complain_of() {
        let findings = healthy().findings(&director());
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    }

    #[test]
    fn each_fault_has_the_command_that_mends_it() {
        type Change = fn(&mut Facts);
        let with = |change: Change| {
            let mut facts = healthy();
            change(&mut facts);
            complaint(&facts, &director())
        };
        let cases: [(Change, Level, &str); 9] = [
            (|f| f.link.up = false, Level::Fail, "ip link set eth0 up"),
            (|f| f.link.mtu = 9000, Level::Fail, "ip link set eth0 mtu 1500"),
            (|f| f.joins_frames = true, Level::Fail, "ethtool -K eth0 lro off"),
            (|f| f.rp_filter = 1, Level::Warn, "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
            (
                |f| f.arp_ignore = 8,
                Level::Fail,
                "sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_ignore=0",
            ),
            (|f| (f.link.rx_queues, f.link.tx_queues) = (1, 1), Level::Warn, "ethtool -L eth0 combined 4"),
            (|f| f.indirection = Some(vec![0, 1, 0, 1]), Level::Warn, "ethtool -X eth0 equal 4"),
            (
                |f| {
                    f.most_queues = Some(MostQueues { rx: 2, tx: 2, combined: 0 });
                    (f.link.rx_queues, f.link.tx_queues, f.indirection) = (1, 1, None);
                },
                Level::Warn,
                "ethtool -L eth0 rx 2 tx 2",
            ),
            (
                |f| {
                    f.link.name = "eth0.100".into();
                    f.rp_filter = 1;
                },
                Level::Warn,
                "sysctl -w net/ipv4/conf/eth0.100/rp_filter=2",
            ),
        ];
        for (change, level, command) in cases {
            assert_eq!(with(change), (level, command.to_owned()));
        }
    }

    #[test]
    fn a_program_of_somebody_else_is_taken_off_the_way_it_was_put_on() {
        let attached = |link, generic| {
            Some(Attached { program: 7, generic, link, holders: vec![(99, "xdp-filter".into())] })
        };
        for (program, command) in [
            (attached(Some(12), false), "bpftool link detach id 12"),
            (attached(None, true), "ip link set dev eth0 xdpgeneric off"),
            (attached(None, false), "ip link set dev eth0 xdp off"),
        ] {
            let facts = Facts { attached: program, ..healthy() };
            assert_eq!(complaint(&facts, &director()), (Level::Fail, command.to_owned()));
            let blind = Director { sees_programs: false, ..director() };
            assert_eq!(complaint(&facts, &blind), (Level::Warn, "sudo shunt doctor".to_owned()));
            let ours = Director { pid: Some(99), ..director() };
            assert!(facts.findings(&ours).iter().all(|finding| finding.level == Level::Ok));
        }
    }

    #[test]
    fn the_mode_that_a_running_shunt_got_is_believed_and_not_what_the_driver_says() {
        let facts = |mode: &str| Facts {
            features: Some(Features { native: false, zero_copy: false }),
            modes: vec![mode.to_owned()],
            ..healthy()
        };
        assert_eq!(facts("native XDP, copy mode").xdp().level, Level::Ok);
        assert_eq!(facts("generic XDP, copy mode").xdp().level, Level::Warn);
        assert_eq!(facts("").xdp().level, Level::Ok);
        assert_eq!(Facts { modes: vec![], ..facts("") }.xdp().level, Level::Warn);
    }

    #[test]
    fn more_queues_than_cores_are_too_many() {
        let few = Director { cores: vec![0, 1], workers: vec![1, 0, 1, 0], ..director() };
        assert_eq!(complaint(&healthy(), &few), (Level::Warn, "ethtool -L eth0 combined 2".to_owned()));
        let facts = Facts { most_queues: None, ..healthy() };
        assert_eq!(facts.queues(&few).level, Level::Ok, "the driver cannot be told");
    }
}

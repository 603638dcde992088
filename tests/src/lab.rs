//! The lab: clients behind a router, a switch, directors and real servers, each in a network namespace of its own.
//!
//! Invariants: any number of labs stand side by side, in one process or in many; a lab is gone when its value is
//! dropped, also by a panic; nothing of the machine outside the lab's namespaces is touched.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::address::Segment;
use crate::capture::Capture;
use crate::client::Client;
use crate::host::Host;
use crate::namespace::Namespace;
use crate::topology::{self, CLIENT, DIRECTOR, Plan, REAL_SERVER, ROUTER, SWITCH};
use crate::{link, privilege, sweep, wait};

/// How long the links of a new lab may take to come up. The kernel can delay the news of a link by a second.
const LINKS_UP: Duration = Duration::from_secs(10);
/// Set, it keeps the lab's folder (captures, configurations, logs of nginx) and prints where it is.
const KEEP: &str = "SHUNT_LAB_KEEP";

/// How a real server accepts packets for the VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VipHolding {
    /// The VIP is an address of `lo`, with `arp_ignore=1` and `arp_announce=2`. The usual way.
    OnLoopback,
    /// The VIP is nowhere; iptables `REDIRECT` turns it into the server's own address, and the answer back.
    NatRedirect,
    /// Not at all: the test arranges it.
    NotAtAll,
}

/// What a lab shall consist of. Without a word: one client, one director, two real servers, one VIP, one queue.
#[derive(Clone, Debug)]
pub struct LabBuilder {
    pub(crate) clients: usize,
    pub(crate) directors: usize,
    pub(crate) real_servers: usize,
    pub(crate) vips: usize,
    /// Of a director's first leg, and of its second.
    pub(crate) queues: [usize; 2],
    pub(crate) two_legged: bool,
    pub(crate) vip_holding: VipHolding,
    pub(crate) ipv6: bool,
}

impl LabBuilder {
    /// How many clients, 1 to 90.
    pub fn clients(mut self, count: usize) -> LabBuilder {
        self.clients = count;
        self
    }

    /// How many hosts that a director can run on, 0 to 2.
    pub fn directors(mut self, count: usize) -> LabBuilder {
        self.directors = count;
        self
    }

    /// How many real servers, 0 to 70.
    pub fn real_servers(mut self, count: usize) -> LabBuilder {
        self.real_servers = count;
        self
    }

    /// How many VIPs the real servers take, 0 to 10: 192.0.2.10 and those that follow. As many again of IPv6.
    pub fn vips(mut self, count: usize) -> LabBuilder {
        self.vips = count;
        self
    }

    /// How many queues a director's interfaces have, 1 to 16. The switch spreads the flows over them by their hash.
    pub fn queues(mut self, count: usize) -> LabBuilder {
        self.queues = [count; 2];
        self
    }

    /// How many the second leg has, if not as many as the first.
    pub fn queues_of_second_leg(mut self, count: usize) -> LabBuilder {
        self.queues[1] = count;
        self
    }

    /// Puts the real servers on a second LAN (203.0.113.0/24), which the directors reach by `eth1`.
    pub fn two_legged(mut self) -> LabBuilder {
        self.two_legged = true;
        self
    }

    /// How the real servers take the VIPs.
    pub fn vip_holding(mut self, holding: VipHolding) -> LabBuilder {
        self.vip_holding = holding;
        self
    }

    /// Gives everybody IPv6 addresses beside those of IPv4, and the real servers as many IPv6 VIPs as they have others.
    pub fn ipv6(mut self) -> LabBuilder {
        self.ipv6 = true;
        self
    }

    /// Sets the lab up; on return every link is up. Panics if that fails, and leaves nothing behind.
    #[track_caller]
    pub fn build(self) -> Lab {
        privilege::require_root();
        assert!((1..=90).contains(&self.clients), "1 to 90 clients, not {}", self.clients);
        assert!(self.directors <= 2, "0 to 2 directors, not {}", self.directors);
        assert!(self.real_servers <= 70, "0 to 70 real servers, not {}", self.real_servers);
        assert!(self.vips <= 10, "0 to 10 VIPs, not {}", self.vips);
        assert!(self.queues.iter().all(|n| (1..=16).contains(n)), "1 to 16 queues, not {:?}", self.queues);
        sweep::leftovers();
        let number = sweep::number();
        let plan = topology::plan(&self);
        // Made before the first namespace: if anything below panics, dropping it takes away what is there by then.
        let mut lab = Lab {
            names: plan.iter().map(|host| sweep::name(number, &host.role)).collect(),
            hosts: Vec::new(),
            clients: Vec::new(),
            folder: Some(
                tempfile::Builder::new()
                    .prefix(&sweep::folder_prefix())
                    .tempdir()
                    .expect("a folder for the lab"),
            ),
            files: AtomicUsize::new(0),
            spec: self,
        };
        lab.set_up(plan, |role| sweep::name(number, role));
        lab
    }
}

/// A lab that stands. Dropping it takes it away.
pub struct Lab {
    /// Of all namespaces, made or not.
    names: Vec<String>,
    /// Switch, router, clients, directors, real servers, in the order of the plan.
    hosts: Vec<Host>,
    clients: Vec<Client>,
    folder: Option<TempDir>,
    files: AtomicUsize,
    spec: LabBuilder,
}

impl Lab {
    /// The smallest lab that shows the main job; change what the test is about.
    pub fn builder() -> LabBuilder {
        LabBuilder {
            clients: 1,
            directors: 1,
            real_servers: 2,
            vips: 1,
            queues: [1; 2],
            two_legged: false,
            vip_holding: VipHolding::OnLoopback,
            ipv6: false,
        }
    }

    fn set_up(&mut self, plan: Vec<Plan>, name: impl Fn(&str) -> String) {
        let root = |script: &str| {
            let mut ip = std::process::Command::new("ip");
            ip.args(["-batch", "-"]).env("PATH", privilege::SYSTEM_PATH);
            crate::namespace::feed(ip, script)
                .unwrap_or_else(|complaint| panic!("setting up the lab: {complaint}"));
        };
        root(&self.names.iter().map(|name| format!("netns add {name}\n")).collect::<String>());
        let namespaces: Vec<Namespace> = self
            .names
            .iter()
            .map(|name| Namespace::open(name).unwrap_or_else(|fault| panic!("namespace {name}: {fault}")))
            .collect();
        for (host, namespace) in plan.iter().zip(&namespaces) {
            namespace.sysctl(&topology::settings(&self.spec, host));
            namespace.sysctl_if_there(topology::BRIDGES_LEAVE_PACKETS_ALONE);
        }
        root(&topology::cables(&plan, self.spec.queues, name));
        for (host, namespace) in plan.iter().zip(&namespaces) {
            namespace.ip(&topology::script(&self.spec, &plan, host));
        }
        for (host, namespace) in plan.into_iter().zip(namespaces) {
            self.hosts.push(Host { role: host.role, namespace, legs: host.legs });
        }
        if self.spec.vip_holding == VipHolding::NatRedirect {
            let (vips, vips6): (Vec<_>, Vec<_>) = self.vips().into_iter().partition(|vip| vip.is_ipv4());
            for server in self.real_servers() {
                server.feed("iptables-restore", &[], &topology::redirect_rules(vips.iter().copied()));
                if self.spec.ipv6 {
                    server.feed("ip6tables-restore", &[], &topology::redirect_rules(vips6.iter().copied()));
                }
            }
        }
        self.hosts.iter().for_each(wait_for_links);
        self.clients = self.role(CLIENT).cloned().map(Client).collect();
    }

    /// Client number `n`, from 0 on.
    #[track_caller]
    pub fn client(&self, n: usize) -> &Client {
        &self.clients[n]
    }

    /// All clients.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The host between the clients and the LAN. Its first leg is the one on the LAN.
    pub fn router(&self) -> &Host {
        self.role(ROUTER).next().expect("every lab has a router")
    }

    /// The host that holds the bridges `br-lan` and `br-srv`; the ports are named after who is plugged in.
    pub fn switch(&self) -> &Host {
        self.role(SWITCH).next().expect("every lab has a switch")
    }

    /// The host of director number `n`, from 0 on.
    #[track_caller]
    pub fn director(&self, n: usize) -> &Host {
        self.role(DIRECTOR).nth(n).unwrap_or_else(|| panic!("the lab has no director number {n}"))
    }

    /// The hosts of all directors.
    pub fn directors(&self) -> impl Iterator<Item = &Host> {
        self.role(DIRECTOR)
    }

    /// Real server number `n`, from 0 on: `rs1` is number 0.
    #[track_caller]
    pub fn real_server(&self, n: usize) -> &Host {
        self.role(REAL_SERVER).nth(n).unwrap_or_else(|| panic!("the lab has no real server number {n}"))
    }

    /// All real servers.
    pub fn real_servers(&self) -> impl Iterator<Item = &Host> {
        self.role(REAL_SERVER)
    }

    /// The segment the real servers are on.
    pub fn server_segment(&self) -> Segment {
        if self.spec.two_legged { Segment::Servers } else { Segment::Lan }
    }

    /// The VIPs that the real servers take.
    pub fn vips(&self) -> Vec<std::net::IpAddr> {
        topology::vips(&self.spec).collect()
    }

    /// Whether the directors have a second leg.
    pub fn is_two_legged(&self) -> bool {
        self.spec.two_legged
    }

    /// Pulls the cable of `host` on `segment` out of the switch.
    #[track_caller]
    pub fn unplug(&self, host: &Host, segment: Segment) {
        self.bridge_of(segment).ip(&format!("link set {} down\n", host.leg(segment).port));
    }

    /// Plugs it in again. On return both ends carry. The kernel of the host has not lost its routes in between.
    #[track_caller]
    pub fn plug(&self, host: &Host, segment: Segment) {
        let bridge = self.bridge_of(segment);
        bridge.ip(&format!("link set {} up\n", host.leg(segment).port));
        wait_for_links(bridge);
        wait_for_links(host);
    }

    /// Gives the cable of `host` on `segment` another MTU, bytes of an IP packet, at both ends. The bridge of the segment
    /// follows its narrowest port; where the router stands on it (outside), that becomes the router's MTU too.
    #[track_caller]
    pub fn set_mtu(&self, host: &Host, segment: Segment, mtu: u16) {
        let leg = host.leg(segment);
        host.ip(&format!("link set {} mtu {mtu}\n", leg.interface));
        self.bridge_of(segment).ip(&format!("link set {} mtu {mtu}\n", leg.port));
    }

    /// As [`Lab::set_mtu`], and the host does not let on: in its TCP handshakes it still asks for segments that fill
    /// 1500 bytes, as one would with the narrow place further on. So its peers send what does not fit, and depend on
    /// somebody to tell them (RFC 1191, RFC 8201).
    #[track_caller]
    pub fn narrow(&self, host: &Host, segment: Segment, mtu: u16) {
        self.set_mtu(host, segment, mtu);
        // 1500 without the headers of IP and TCP.
        host.ip(&format!("route change default via {} advmss 1460\n", segment.router()));
        if host.has_ipv6() {
            host.ip(&format!("route change default via {} advmss 1440\n", segment.router6()));
        }
    }

    /// The host that holds the bridge of `segment`.
    fn bridge_of(&self, segment: Segment) -> &Host {
        if segment == Segment::Outside { self.router() } else { self.switch() }
    }

    /// Captures on a port or bridge of the switch: what tcpdump's `filter` accepts, all if it is empty.
    #[track_caller]
    pub fn capture(&self, port: &str, filter: &str) -> Capture {
        Capture::start(self.switch(), port, filter, &self.file(&format!("{port}.pcap")))
    }

    /// The lab's folder. It goes with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("the folder lives until the lab is dropped").path()
    }

    /// A path in the lab's folder that nobody else gets, ending in `name`.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        // Relaxed: only different numbers are wanted.
        self.folder().join(format!("{:02}-{name}", self.files.fetch_add(1, Ordering::Relaxed)))
    }

    /// The names of the lab's namespaces.
    pub fn namespaces(&self) -> &[String] {
        &self.names
    }

    fn role<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Host> {
        self.hosts.iter().filter(move |host| host.role.starts_with(kind))
    }
}

#[track_caller]
fn wait_for_links(host: &Host) {
    wait::until(LINKS_UP, &format!("the links of {} to come up", host.role), || {
        link::all_up(host).then_some(())
    });
}

impl Drop for Lab {
    fn drop(&mut self) {
        sweep::remove(&self.names);
        if std::env::var_os(KEEP).is_some()
            && let Some(folder) = self.folder.take()
        {
            let folder = folder.keep();
            let _ = std::fs::write(folder.join(sweep::KEPT), "");
            eprintln!("{KEEP}: the lab's files are in {}", folder.display());
        }
    }
}

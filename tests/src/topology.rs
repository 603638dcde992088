//! What a lab consists of, as data and as scripts for `ip`: pure, so that it can be tested with no privilege.

use std::fmt::Write;
use std::net::IpAddr;

use crate::address::{Mac, Segment, vip, vip6};
use crate::host::Leg;
use crate::lab::{LabBuilder, VipHolding};

/// The role of the host that holds the bridges of the LANs.
pub(crate) const SWITCH: &str = "switch";
/// The role of the host between the clients and the LAN. It holds the bridge of the clients.
pub(crate) const ROUTER: &str = "router";
/// What the roles of clients, directors and real servers begin with.
pub(crate) const CLIENT: &str = "client";
pub(crate) const DIRECTOR: &str = "director";
pub(crate) const REAL_SERVER: &str = "rs";

/// A host to be made.
pub(crate) struct Plan {
    pub(crate) role: String,
    pub(crate) legs: Vec<Leg>,
}

/// The bridge that carries a segment, and the host that holds it.
pub(crate) fn bridge(segment: Segment) -> (&'static str, &'static str) {
    match segment {
        Segment::Outside => ("br-out", ROUTER),
        Segment::Lan => ("br-lan", SWITCH),
        Segment::Servers => ("br-srv", SWITCH),
    }
}

/// All hosts: switch, router, clients, directors, real servers, in this order.
pub(crate) fn plan(lab: &LabBuilder) -> Vec<Plan> {
    let servers = if lab.two_legged { Segment::Servers } else { Segment::Lan };
    let mut inside = vec![Segment::Lan];
    inside.extend(lab.two_legged.then_some(Segment::Servers));

    let host = |role: &str, segments: &[Segment], first_role_byte, last| {
        host(role, segments, first_role_byte, last, lab.ipv6)
    };
    let mut hosts = vec![Plan { role: SWITCH.to_owned(), legs: Vec::new() }, host(ROUTER, &inside, 0xa1, 1)];
    // The router is on the clients' segment with the bridge itself; it needs no cable there.
    for n in 0..lab.clients {
        hosts.push(host(&format!("{CLIENT}{}", n + 1), &[Segment::Outside], 0xc0, 7 + n));
    }
    for n in 0..lab.directors {
        hosts.push(host(&format!("{DIRECTOR}{}", n + 1), &inside, 0xd0, 2 + n));
    }
    for n in 0..lab.real_servers {
        hosts.push(host(&format!("{REAL_SERVER}{}", n + 1), &[servers], 0xe0, 21 + n));
    }
    hosts
}

/// A host with one leg on each of `segments`. The n-th leg's MAC says n: d0, d1.
fn host(role: &str, segments: &[Segment], first_role_byte: u8, last: usize, ipv6: bool) -> Plan {
    let leg = |(n, segment): (usize, &Segment)| Leg {
        interface: format!("eth{n}"),
        segment: *segment,
        address: segment.address(last),
        address6: ipv6.then(|| segment.address6(last)),
        mac: Mac::of_role(first_role_byte + n as u8, last),
        port: if n == 0 { role.to_owned() } else { format!("{role}-{}", n + 1) },
    };
    Plan { role: role.to_owned(), legs: segments.iter().enumerate().map(leg).collect() }
}

/// The cables: one veth pair a leg, one end in the host, the other in the host of the segment's bridge.
///
/// Only a director's cables have many queues. A frame's queue is chosen on the sender's side of a cable, from the hash
/// of the flow, *unless* the frame already carries the number of a queue: veth leaves the number of the last cable in
/// it, and the kernel takes that for "received on the queue below". With one queue on every cable before, the number
/// stays 0, which says nothing, and the switch spreads the flows evenly. With N queues on every cable, four of them,
/// and two hops, half the director's queues get nothing (drivers/net/veth.c, `skb_tx_hash` in net/core/dev.c).
///
/// The host's ends have indices of their own: where both ends of a pair have the same index, each in its namespace, the
/// kernel takes them for one interface and reports that the link is up up to a second late
/// (`linkwatch_urgent_event` in net/core/link_watch.c).
pub(crate) fn cables(hosts: &[Plan], queues: [usize; 2], namespace: impl Fn(&str) -> String) -> String {
    let mut script = String::new();
    let mut indices = 1000..;
    for host in hosts {
        let queues = if host.role.starts_with(DIRECTOR) { queues } else { [1; 2] };
        for (Leg { interface, segment, mac, port, .. }, queues) in host.legs.iter().zip(queues) {
            let (here, there) = (namespace(&host.role), namespace(bridge(*segment).1));
            let index = indices.next().expect("it has no end");
            let queues = format!("numtxqueues {queues} numrxqueues {queues}");
            writeln!(
                script,
                "link add {interface} index {index} netns {here} address {mac} {queues} \
                 type veth peer name {port} netns {there} {queues}"
            )
            .expect("writing to a string");
        }
    }
    script
}

/// What `ip` has to do inside `host`: bridges, addresses, routes, and all links up.
pub(crate) fn script(lab: &LabBuilder, hosts: &[Plan], host: &Plan) -> String {
    let mut script = String::from("link set lo up\n");
    let mut line = |text: String| writeln!(script, "{text}").expect("writing to a string");

    for segment in [Segment::Outside, Segment::Lan, Segment::Servers] {
        let (bridge, holder) = bridge(segment);
        let mut ports =
            hosts.iter().flat_map(|host| &host.legs).filter(|leg| leg.segment == segment).peekable();
        if holder != host.role || (ports.peek().is_none() && segment == Segment::Servers) {
            continue;
        }
        // No spanning tree and no snooping: what a test sends is all there is.
        let mac = if segment == Segment::Outside {
            Mac::of_role(0xa0, 1)
        } else {
            Mac::of_role(0xb0, segment as usize)
        };
        line(format!(
            "link add {bridge} address {mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        ));
        for leg in ports {
            line(format!("link set {} master {bridge} up", leg.port));
        }
        if segment == Segment::Outside {
            line(format!("addr add {}/{} dev {bridge}", segment.router(), Segment::PREFIX));
            if lab.ipv6 {
                line(format!("addr add {}/{} dev {bridge} nodad", segment.router6(), Segment::PREFIX6));
            }
        }
        line(format!("link set {bridge} up"));
    }
    for leg in &host.legs {
        line(format!("addr add {}/{} dev {}", leg.address, Segment::PREFIX, leg.interface));
        if let Some(address) = leg.address6 {
            line(format!("addr add {address}/{} dev {} nodad", Segment::PREFIX6, leg.interface));
        }
        line(format!("link set {} up", leg.interface));
    }
    if host.role != ROUTER
        && let Some(leg) = host.legs.first()
    {
        line(format!("route add default via {}", leg.segment.router()));
        if leg.address6.is_some() {
            line(format!("route add default via {}", leg.segment.router6()));
        }
    }
    if is_real_server(host) && lab.vip_holding == VipHolding::OnLoopback {
        for vip in vips(lab) {
            match vip {
                IpAddr::V4(_) => line(format!("addr add {vip}/32 dev lo")),
                IpAddr::V6(_) => line(format!("addr add {vip}/128 dev lo nodad")),
            }
        }
    }
    script
}

/// Kernel settings inside `host`, made before it has any interface, so that all of them take the defaults.
pub(crate) fn settings(lab: &LabBuilder, host: &Plan) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        // A client sees answers come from where it did not send to: that is what direct server return is.
        ("ipv4.conf.all.rp_filter", "0"),
        ("ipv4.conf.default.rp_filter", "0"),
    ];
    if !lab.ipv6 || host.role == SWITCH {
        // No router solicitation, duplicate address detection or multicast listener report in anybody's capture.
        settings.extend([("ipv6.conf.all.disable_ipv6", "1"), ("ipv6.conf.default.disable_ipv6", "1")]);
    } else {
        // Addresses that can be used at once, and none but those that the lab gives: no duplicate address detection
        // (also of the link-local address), no router solicitation and no heed of advertisements.
        settings.extend([
            ("ipv6.conf.default.accept_dad", "0"),
            ("ipv6.conf.default.dad_transmits", "0"),
            ("ipv6.conf.default.router_solicitations", "0"),
            ("ipv6.conf.default.accept_ra", "0"),
            ("ipv6.conf.default.accept_redirects", "0"),
            // The link-local address that follows from the MAC address, whatever the machine prefers.
            ("ipv6.conf.default.addr_gen_mode", "0"),
        ]);
    }
    if host.role == ROUTER && lab.ipv6 {
        settings.extend([("ipv6.conf.all.forwarding", "1"), ("ipv6.conf.default.forwarding", "1")]);
    }
    if host.role == ROUTER {
        settings.extend([
            ("ipv4.ip_forward", "1"),
            ("ipv4.conf.all.send_redirects", "0"),
            ("ipv4.conf.default.send_redirects", "0"),
        ]);
    }
    if is_real_server(host) && lab.vip_holding == VipHolding::OnLoopback {
        // The two settings that every DSR real server needs: do not answer ARP for an address of another interface,
        // and do not name the VIP as the sender of an ARP request.
        settings.extend([("ipv4.conf.all.arp_ignore", "1"), ("ipv4.conf.all.arp_announce", "2")]);
    }
    settings
}

/// A switch does not look into packets, but a Linux bridge with br_netfilter does: it cuts what is too large for a port
/// into fragments (net/bridge/br_netfilter_hooks.c). Only where that is part of the kernel.
pub(crate) const BRIDGES_LEAVE_PACKETS_ALONE: &[(&str, &str)] = &[
    ("bridge.bridge-nf-call-iptables", "0"),
    ("bridge.bridge-nf-call-ip6tables", "0"),
    ("bridge.bridge-nf-call-arptables", "0"),
];

/// The rules that make a real server take the VIPs of one family with no address of its own, for `iptables-restore`
/// or `ip6tables-restore`.
pub(crate) fn redirect_rules(vips: impl Iterator<Item = IpAddr>) -> String {
    let rules: String = vips.map(|vip| format!("-A PREROUTING -d {vip} -j REDIRECT\n")).collect();
    format!("*nat\n{rules}COMMIT\n")
}

/// The VIPs of this lab: those of IPv4 first, then, if it has IPv6, as many of that.
pub(crate) fn vips(lab: &LabBuilder) -> impl Iterator<Item = IpAddr> + use<> {
    let vips6 = if lab.ipv6 { lab.vips } else { 0 };
    (0..lab.vips).map(vip).chain((0..vips6).map(vip6))
}

fn is_real_server(host: &Plan) -> bool {
    host.role.starts_with(REAL_SERVER)
}

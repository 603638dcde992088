//! No two routers are the same.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::report::Report;
use super::router::Where;
use super::twice;
use crate::config::error::quote;
use crate::model::{Peers, VirtualRouter, Vmac};

/// Names, VRIDs on an interface, and virtual interfaces occur once.
pub(super) fn routers(report: &mut Report, routers: &[(VirtualRouter, Where)]) {
    let (mut names, mut identities, mut vmacs) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (router, at) in routers {
        if let Some(first) = names.insert(&router.name, at) {
            twice(report, at.name.clone(), "vrrp.router.name", &router.name, &first.name);
        }
        for peer in peers(router) {
            let VirtualRouter { interface, ipv6, vrid, .. } = router;
            let Some(first) = identities.insert((interface, ipv6, vrid, peer), at) else { continue };
            let family = if *ipv6 { "IPv6" } else { "IPv4" };
            let with = peer.map_or(String::new(), |peer| format!(" with peer {peer}"));
            let line = report.line(&first.vrid);
            let message = format!("{vrid} is taken on {interface} for {family}{with}, on line {line}");
            let help = "give each router on an interface its own, the same on all directors";
            report.error(at.vrid.clone(), "vrrp.router.vrid", message, help);
            break;
        }
        if let Some(vmac) = &router.vmac {
            let name = vmac_name(vmac, router);
            if let Some(first) = vmacs.insert(name.clone(), at) {
                let line = report.line(&first.vmac);
                let message = format!("the virtual interface {} is on line {line} too", quote(&name));
                let help = "give one of them another name: vmac = \"vrrp-web\"";
                report.error(at.vmac.clone(), "vrrp.router.vmac", message, help);
            }
        }
    }
}

/// Those that have peers are told apart by them.
fn peers(router: &VirtualRouter) -> Vec<Option<IpAddr>> {
    match &router.peers {
        Peers::Multicast { .. } => vec![None],
        Peers::Unicast { peers, .. } => peers.iter().map(|peer| Some(peer.address)).collect(),
    }
}

fn vmac_name(vmac: &Vmac, router: &VirtualRouter) -> String {
    let six = if router.ipv6 { "6" } else { "" };
    vmac.interface.clone().unwrap_or_else(|| format!("vrrp{six}.{}", router.vrid))
}

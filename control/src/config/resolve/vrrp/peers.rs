//! Who else has a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use toml::Spanned;

use super::super::report::Report;
use super::super::value;
use super::{flag, number};
use crate::config::error::quote;
use crate::config::file;
use crate::model::{Peer, Peers};

/// RFC 9568 section 5.1.
pub(in crate::config) fn standard_group(ipv6: bool) -> IpAddr {
    match ipv6 {
        false => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
        true => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
    }
}

/// The peers, or the group.
pub(super) fn resolve(report: &mut Report, typed: &file::Router, ipv6: bool) -> Peers {
    let group = typed.group.as_ref().and_then(|typed| group(report, typed, ipv6));
    let Some(list) = &typed.peers else {
        for (span, key) in [
            (typed.ttl.as_ref().map(Spanned::span), "ttl"),
            (typed.fault_without_peers.as_ref().map(Spanned::span), "fault_without_peers"),
        ] {
            if let Some(span) = span {
                alone(report, span, key);
            }
        }
        return Peers::Multicast { group: group.unwrap_or(standard_group(ipv6)) };
    };
    if let Some(group) = &typed.group {
        let message = "a group beside peers: adverts go to the peers";
        report.error(group.span(), "vrrp.router.group", message, "take one of the two out");
    }
    let peers: Vec<Peer> = list.get_ref().iter().filter_map(|table| peer(report, table, ipv6)).collect();
    let fault_without = flag(&typed.fault_without_peers, false);
    if list.get_ref().is_empty() && !fault_without {
        let help = "name the other directors, or take the key out: then adverts go to a multicast group";
        report.error(list.span(), "vrrp.router.peers", "no peer", help);
    }
    let ttl = number(report, &typed.ttl, "vrrp.router.ttl", 0..=u8::MAX, u8::MAX);
    Peers::Unicast { peers, ttl, fault_without }
}

fn alone(report: &mut Report, span: Range<usize>, key: &str) {
    let help = "name the other directors: peers = [\"192.0.2.3\"]";
    report.error(span, &format!("vrrp.router.{key}"), "does nothing without peers", help);
}

fn group(report: &mut Report, typed: &Spanned<String>, ipv6: bool) -> Option<IpAddr> {
    let group = typed.get_ref().parse().ok().filter(|group| match group {
        IpAddr::V4(group) => group.is_multicast() && !ipv6,
        // Link-local: nobody forwards it.
        IpAddr::V6(group) => group.segments()[0] & 0xff0f == 0xff02 && ipv6,
    });
    if group.is_none() {
        let what = if ipv6 { "link-local IPv6 multicast group" } else { "IPv4 multicast group" };
        let message = format!("{} is no {what}", quote(typed.get_ref()));
        report.error(
            typed.span(),
            "vrrp.router.group",
            message,
            format!("give one, as \"{}\"", standard_group(ipv6)),
        );
    }
    group
}

fn peer(report: &mut Report, table: &Spanned<file::Peer>, ipv6: bool) -> Option<Peer> {
    const PATH: &str = "vrrp.router.peers";
    let typed = table.get_ref();
    let Some(text) = &typed.address else {
        report.missing_at(table.span(), "peer.address", PATH);
        return None;
    };
    let address = value::host(report, text, PATH)?;
    of_family(report, text.span(), PATH, address, ipv6);
    // RFC 5082: a packet that was forwarded does not have 255.
    let min_ttl = number(report, &typed.min_ttl, "vrrp.router.peers.min_ttl", 0..=u8::MAX, u8::MAX);
    let max_ttl = number(report, &typed.max_ttl, "vrrp.router.peers.max_ttl", 0..=u8::MAX, u8::MAX);
    if min_ttl > max_ttl {
        let message = format!("min_ttl {min_ttl} is more than max_ttl {max_ttl}: no advert is accepted");
        report.error(table.span(), PATH, message, "give min_ttl too, and not more than max_ttl");
    }
    Some(Peer { address, min_ttl, max_ttl })
}

/// Adverts have the family of the addresses, and so has whoever they come from and go to.
pub(super) fn of_family(report: &mut Report, span: Range<usize>, path: &str, address: IpAddr, ipv6: bool) {
    if address.is_ipv6() != ipv6 {
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        let message = format!("{address} is of the wrong family: the router's addresses are {family}");
        report.error(span, path, message, format!("give the {family} address"));
    }
}

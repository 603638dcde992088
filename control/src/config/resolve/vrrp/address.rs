//! An address that a router holds.

use std::net::{IpAddr, Ipv4Addr};

use toml::Spanned;

use super::super::report::Report;
use super::super::value;
use super::{flag, interface_named};
use crate::config::error::quote;
use crate::config::file::{self, IntegerOrText, Typed};
use crate::config::resolve::LONGEST_NAME;
use crate::model::VirtualAddress;

/// Names of scopes: /etc/iproute2/rt_scopes as it is shipped.
pub(in crate::config) const SCOPES: &[(&str, u8)] =
    &[("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

/// The addresses of a list; one that is there twice is an error.
pub(super) fn list(
    report: &mut Report,
    typed: &Typed<Vec<Spanned<file::Address>>>,
    path: &str,
) -> Vec<VirtualAddress> {
    let mut read: Vec<VirtualAddress> = Vec::new();
    for table in typed.iter().flat_map(|list| list.get_ref()) {
        let Some(address) = resolve(report, table, path) else { continue };
        if read.iter().any(|other| other.address == address.address) {
            let message = format!("{} is here twice", address.address);
            report.error(table.span(), path, message, "give each address once");
        }
        read.push(address);
    }
    read
}

fn resolve(report: &mut Report, table: &Spanned<file::Address>, path: &str) -> Option<VirtualAddress> {
    let typed = table.get_ref();
    let Some(text) = &typed.address else {
        report.missing_at(table.span(), "address.address", path);
        return None;
    };
    let (address, own_prefix) = prefixed(report, text, path)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let interface = typed.interface.as_ref().and_then(|typed| interface_named(report, typed, path));
    let broadcast = typed.broadcast.as_ref().and_then(|typed| broadcast(report, typed, path, address));
    let label = typed.label.as_ref().and_then(|typed| label(report, typed, path));
    let scope = match typed.scope.as_ref().map(|scope| (scope.get_ref(), scope.span())) {
        None => Some(0),
        Some((IntegerOrText::Integer(number), span)) => {
            value::number(report, &Spanned::new(span, *number), path, 0..=u8::MAX)
        }
        Some((IntegerOrText::Text(text), span)) => {
            value::word(report, &Spanned::new(span, text.clone()), path, "scope", SCOPES)
        }
    };
    let peer = typed.peer.as_ref().and_then(|typed| Some((typed.span(), prefixed(report, typed, path)?)));
    let mut prefix = own_prefix;
    if let Some((span, (peer, peer_prefix))) = &peer {
        if peer.is_ipv4() != address.is_ipv4() {
            let message = format!("{peer} and {address} are of two families");
            report.error(span.clone(), path, message, "give both of one family");
        }
        if own_prefix.is_some_and(|prefix| prefix != width) {
            let message = format!("{address} has a prefix length, and that of its peer counts");
            report.error(text.span(), path, message, "put the prefix length behind the peer");
        }
        prefix = *peer_prefix;
    }
    Some(VirtualAddress {
        address,
        prefix_len: prefix.unwrap_or(width),
        interface,
        broadcast,
        scope: scope?,
        label,
        peer: peer.map(|(_, (peer, _))| peer),
        no_track: flag(&typed.no_track, false),
    })
}

/// `ADDRESS[/PREFIX]`
fn prefixed(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<(IpAddr, Option<u8>)> {
    let text = typed.get_ref();
    let (head, prefix) = match text.split_once('/') {
        Some((head, prefix)) => (head, Some(prefix)),
        None => (text.as_str(), None),
    };
    let address = value::host(report, &Spanned::new(typed.span(), head.to_owned()), path)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else { return Some((address, None)) };
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let length = prefix.parse().ok().filter(|length| digits && *length <= width);
    if length.is_none() {
        let message = format!("{} is no prefix length of {address}", quote(prefix));
        report.error(typed.span(), path, message, format!("give 0 to {width}: \"{address}/{width}\""));
    }
    Some((address, Some(length?)))
}

fn broadcast(report: &mut Report, typed: &Spanned<String>, path: &str, address: IpAddr) -> Option<Ipv4Addr> {
    let broadcast = typed.get_ref().parse().ok().filter(|_| address.is_ipv4());
    if broadcast.is_none() {
        let message = match address.is_ipv4() {
            true => format!("{} is not an IPv4 address", quote(typed.get_ref())),
            false => format!("{address} has no broadcast address: it is IPv6"),
        };
        report.error(typed.span(), path, message, "give the broadcast address of an IPv4 network, or none");
    }
    broadcast
}

fn label(report: &mut Report, typed: &Spanned<String>, path: &str) -> Option<String> {
    let label = value::token(report, typed, path, "label")?;
    if label.len() > LONGEST_NAME {
        let message = format!("{} has more than {LONGEST_NAME} bytes", quote(&label));
        report.error(typed.span(), path, message, "give a shorter label: \"eth0:1\"");
    }
    Some(label)
}

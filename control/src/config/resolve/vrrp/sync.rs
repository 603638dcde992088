//! `[sync]`: directors tell each other of flows.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::super::report::Report;
use super::super::value;
use super::{interface, number, time};
use crate::config::error::quote;
use crate::config::{Place, VrrpPart, defaults, file};
use crate::model::FlowSync;

/// What is told of flows, if anything.
pub(in super::super) fn resolve(
    report: &mut Report,
    typed: Option<&Spanned<file::Sync>>,
) -> Option<FlowSync> {
    let table = typed?;
    let typed = table.get_ref();
    report.locate(Place::Vrrp { kind: VrrpPart::Sync, name: String::new() }, table.span());
    let interface = interface(report, table.span(), &typed.interface, "sync.interface");
    let key_file = match &typed.key_file {
        Some(path) => value::path(report, path, "sync.key_file"),
        None => Some(PathBuf::from(defaults::SYNC_KEY_FILE)),
    };
    let peers = match &typed.peers {
        Some(list) => peers(report, list),
        None => vec![defaults::SYNC_GROUP],
    };
    let port = number(report, &typed.port, "sync.port", 1..=u16::MAX, defaults::SYNC_PORT);
    let rate = number(report, &typed.rate, "sync.rate", 1..=10_000_000, defaults::SYNC_RATE);
    let longest = Duration::from_secs(3600);
    let wait = time(report, &typed.wait, "sync.wait", Duration::ZERO..=longest, defaults::SYNC_WAIT);
    Some(FlowSync { interface: interface?, peers, port, key_file: key_file?, rate, wait })
}

/// Hosts, or one multicast group.
fn peers(report: &mut Report, list: &Spanned<Vec<Spanned<String>>>) -> Vec<IpAddr> {
    const PATH: &str = "sync.peers";
    const HELP: &str = "name the other directors, or one multicast group: peers = [\"224.0.0.81\"]";
    if list.get_ref().is_empty() {
        report.error(list.span(), PATH, "no peer", HELP);
    }
    let mut peers = Vec::new();
    for typed in list.get_ref() {
        let address = typed.get_ref().parse().ok().filter(|address: &IpAddr| !address.is_unspecified());
        let Some(address) = address else {
            let message = format!("{} is no address of a director", quote(typed.get_ref()));
            report.error(typed.span(), PATH, message, HELP);
            continue;
        };
        if peers.contains(&address) {
            report.error(typed.span(), PATH, format!("{address} is here twice"), "name each once");
        } else if address.is_multicast() && list.get_ref().len() > 1 {
            report.error(typed.span(), PATH, format!("{address} is a group, and not alone"), HELP);
        }
        peers.push(address);
    }
    peers
}

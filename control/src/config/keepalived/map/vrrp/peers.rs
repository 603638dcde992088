//! Who else has an instance: a multicast group, or peers by their addresses.

use std::net::IpAddr;

use super::super::super::report::Report;
use super::super::super::tree::{Statement, Word};
use super::super::section::{Line, Section};
use super::super::value;
use super::defaults::{self, Defaults};
use super::number;
use crate::model::{Peer, Peers};

/// keepalived: VRRP_IP_TTL.
const TTL: u8 = 255;
/// Keywords that ask for unicast.
const UNICAST: &[&str] = &["unicast_src_ip", "unicast_fault_no_peer", "check_unicast_src"];

/// What an instance says of its source and peers.
pub(super) struct Typed {
    pub source: Option<IpAddr>,
    pub peers: Vec<Peer>,
    /// A peer has its own limits of TTL, which are checked then.
    pub checks_ttl: bool,
}

/// Reads them, whatever the family.
pub(super) fn read(report: &mut Report, section: &Section<'_>) -> Typed {
    let source = source(section)
        .and_then(|line| Some((line.word(0)?, line)))
        .and_then(|(word, line)| value::host(report, word, line.path()));
    let mut typed = Typed { source, peers: Vec::new(), checks_ttl: false };
    for line in section.all("unicast_peer") {
        for entry in line.entries() {
            typed.checks_ttl |= !entry.arguments.is_empty();
            typed.peers.extend(peer(report, entry, line.path()));
        }
    }
    typed
}

/// Who has it, with every address of the family that the instance has.
pub(super) fn resolve(
    report: &mut Report,
    line: &Line<'_>,
    typed: &Typed,
    ipv6: bool,
    defaults: &Defaults,
) -> Peers {
    let section = &line.section;
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    if let Some((source, line)) = typed.source.zip(source(section))
        && source.is_ipv6() != ipv6
    {
        let message = format!("{source} is of the wrong family: the instance is {family}");
        report.error(line.at(), line.path(), message, format!("give an {family} address of this director"));
    }
    for line in section.all("unicast_peer") {
        for word in line.entries().iter().map(|entry| &entry.keyword) {
            if word.text.parse().is_ok_and(|address: IpAddr| address.is_ipv6() != ipv6) {
                let message = format!("{} is of the wrong family: the instance is {family}", word.text);
                let help = format!("give the {family} address of the other director");
                report.error(&word.at, line.path(), message, help);
            }
        }
    }
    let ttl = number::whole(report, section.last("unicast_ttl"), 0..=u8::MAX);
    let fault_without = section.has("unicast_fault_no_peer");
    let group = section.last("mcast_dst_ip");
    if !typed.peers.is_empty() || fault_without {
        if let Some(line) = group {
            let message = "mcast_dst_ip does nothing beside unicast_peer: adverts go to the peers";
            report.warning(line.at(), line.path(), message, "take one of the two out");
        }
        return Peers::Unicast { peers: typed.peers.clone(), ttl: ttl.unwrap_or(TTL), fault_without };
    }
    if section.all("unicast_peer").all(|line| line.entries().is_empty()) {
        multicast_after_all(report, section);
    }
    let default = defaults.groups[usize::from(ipv6)];
    Peers::Multicast { group: group.map_or(default, |line| defaults::multicast(report, line, default)) }
}

/// The last line that gives it: `unicast_src_ip` and `mcast_src_ip` are one.
fn source<'a, 'b>(section: &'b Section<'a>) -> Option<&'b Line<'a>> {
    let is_source = |line: &&Line<'_>| matches!(line.key.name, "unicast_src_ip" | "mcast_src_ip");
    section.lines.iter().rev().find(is_source)
}

/// Unicast was asked for, and there is no peer: keepalived goes on with multicast.
fn multicast_after_all(report: &mut Report, section: &Section<'_>) {
    if let Some(line) = section.last("unicast_ttl") {
        let message = "unicast_ttl does nothing without a unicast_peer";
        report.warning(line.at(), line.path(), message, "name the peers, or take it out");
    }
    let asks = section.last("unicast_peer").or_else(|| UNICAST.iter().find_map(|name| section.last(name)));
    if let Some(line) = asks {
        let message = format!("{} and no peer: adverts go to the multicast group", line.key.name);
        let help = "name the other director: unicast_peer { 192.0.2.2 }";
        report.warning(line.at(), line.path(), message, help);
    }
}

fn peer(report: &mut Report, entry: &Statement, path: &str) -> Option<Peer> {
    let address = value::host(report, &entry.keyword, path);
    let [mut min_ttl, mut max_ttl] = [0, u8::MAX];
    for pair in entry.arguments.chunks(2) {
        let known = [("min_ttl", true), ("max_ttl", false)];
        let Some(is_least) = value::word(report, &pair[0], path, "option", &known) else { continue };
        let Some(ttl) = ttl(report, pair, path) else { continue };
        *(if is_least { &mut min_ttl } else { &mut max_ttl }) = ttl;
    }
    if min_ttl > max_ttl {
        let message = format!("min_ttl {min_ttl} is more than max_ttl {max_ttl}: no advert is accepted");
        report.error(&entry.keyword.at, path, message, "give the smaller one first");
    }
    Some(Peer { address: address?, min_ttl, max_ttl })
}

fn ttl(report: &mut Report, pair: &[Word], path: &str) -> Option<u8> {
    let Some(word) = pair.get(1) else {
        report.error(&pair[0].at, path, "a number is missing after it", "give 0 to 255");
        return None;
    };
    value::number(report, word, path, 0..=u8::MAX)
}

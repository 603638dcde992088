//! `real_server` and `sorry_server`.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::report::{At, Report};
use super::super::tree::Word;
use super::check::{self, Checker, Inherited};
use super::command;
use super::file::Files;
use super::global::Globals;
use super::group::Entry;
use super::section::{Line, Section};
use super::value;
use super::virtual_server::{direct_routing, is_for};
use crate::config::defaults;
use crate::model::{Hooks, RealServer, Sorry, Thresholds, Vlan, ports as spelled};

/// A real server, its checks still without the port of the service.
pub(super) struct Real {
    pub server: RealServer,
    pub checkers: Vec<Checker>,
    /// Where its address stands, and the keywords that lead there.
    pub at: At,
    pub path: String,
}

/// What a real server stands in.
pub(super) struct Around<'a> {
    pub inherited: &'a Inherited,
    pub globals: &'a Globals,
    pub files: &'a Files,
    /// The VIPs and ports of the services.
    pub entries: &'a [Entry],
    pub virtual_server: &'a Section<'a>,
}

/// The real servers of a virtual server, in the order of the file. One with a fault in its address is left out.
pub(super) fn all(report: &mut Report, around: &Around<'_>) -> Vec<Real> {
    let mut first: HashMap<IpAddr, At> = HashMap::new();
    let mut reals = Vec::new();
    let weight = around
        .virtual_server
        .last("weight")
        .and_then(|line| value::number(report, line.word(0)?, line.path(), 1..=u16::MAX));
    let inhibit = switch(report, around.virtual_server, "inhibit_on_failure").unwrap_or(false);
    for line in around.virtual_server.all("real_server") {
        let Some(real) = read(report, line, around, weight.unwrap_or(defaults::WEIGHT), inhibit) else {
            continue;
        };
        if let Some(before) = first.get(&real.server.address) {
            let message = format!(
                "{} is in this virtual_server twice; first on line {}",
                real.server.address,
                before.line()
            );
            report.error(
                &real.at,
                line.path(),
                message,
                "name it once; its weight says how many new flows it takes",
            );
        } else {
            first.insert(real.server.address, real.at.clone());
        }
        reals.push(real);
    }
    reals
}

/// The sorry server, where its address stands, and the keywords that lead there.
pub(super) fn sorry(report: &mut Report, around: &Around<'_>) -> Option<(Sorry, At, String)> {
    let section = around.virtual_server;
    let Some(line) = section.last("sorry_server") else {
        if let Some(line) = section.last("sorry_server_inhibit").filter(|_| section.lacks("sorry_server")) {
            report.warning(line.at(), line.path(), "there is no sorry_server", "add one, or take this out");
        }
        return None;
    };
    let (address, _) = address(report, line, around);
    let server = plain(address?, defaults::WEIGHT);
    let sorry = Sorry { server, inhibit: section.has("sorry_server_inhibit") };
    Some((sorry, line.word(0)?.at.clone(), line.path().to_owned()))
}

fn read(
    report: &mut Report,
    line: &Line<'_>,
    around: &Around<'_>,
    weight: u16,
    inhibit: bool,
) -> Option<Real> {
    let section = &line.section;
    let (address, port) = address(report, line, around);
    direct_routing(report, line, "lvs_method");
    let weight_line = section
        .last("weight")
        .and_then(|line| value::number(report, line.word(0)?, line.path(), 0..=u16::MAX));
    let thresholds = thresholds(report, section);
    let inhibit = switch(report, section, "inhibit_on_failure").unwrap_or(inhibit);
    let mut hook = |name| section.last(name).and_then(|line| command::command(report, line));
    let (up, down) = (hook("notify_up"), hook("notify_down"));
    let alert = switch(report, section, "smtp_alert").unwrap_or(around.globals.real_alert);
    let mail = alert && around.globals.mails();
    let inherited = around.inherited.narrowed(report, section);
    let context = check::Context {
        inherited: &inherited,
        files: around.files,
        port: port.unwrap_or(0),
        is_ipv4: address.map(|address| address.is_ipv4()),
    };
    let checkers = check::all(report, section, &context);
    let server = RealServer {
        thresholds,
        inhibit,
        hooks: Hooks { up, down, mail },
        ..plain(address?, weight_line.unwrap_or(weight))
    };
    Some(Real { server, checkers, at: line.word(0)?.at.clone(), path: line.path().to_owned() })
}

/// A real server of which nothing more is said.
fn plain(address: IpAddr, weight: u16) -> RealServer {
    RealServer {
        address,
        weight,
        thresholds: Thresholds::default(),
        vlan: Vlan::Keep,
        mac: None,
        interface: None,
        mtu: None,
        checks: Vec::new(),
        inhibit: false,
        hooks: Hooks::default(),
    }
}

/// `ADDRESS [PORT]`, which fits all the services. The port is 0 where it is the services'.
fn address(report: &mut Report, line: &Line<'_>, around: &Around<'_>) -> (Option<IpAddr>, Option<u16>) {
    let address = line.word(0).and_then(|word| value::address(report, word, line.path()));
    let port = match line.word(1) {
        Some(word) => port(report, word, line.path(), around.entries),
        None => Some(0),
    };
    // A frame keeps its IP header on the way to the real server, so both ends speak the same version.
    if let (Some(address), Some(word)) = (address, line.word(0))
        && let Some(entry) = around.entries.iter().find(|entry| entry.vip.is_ipv4() != address.is_ipv4())
    {
        let (family, other) = if entry.vip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let message = format!("{address} is {other}, the VIP {} is {family}", entry.vip);
        report.error(&word.at, line.path(), message, format!("give the {family} address of this server"));
    }
    (address, port)
}

/// Direct routing changes no ports: the server is asked at the port that the client asked for.
fn port(report: &mut Report, word: &Word, path: &str, entries: &[Entry]) -> Option<u16> {
    let port = value::number(report, word, path, 0..=u16::MAX)?;
    if port == 0 {
        return Some(0);
    }
    let other = entries.iter().find(|entry| !is_for(entry.ports, port));
    if let Some(entry) = other {
        let message = format!(
            "port {port} is not that of the service ({}, line {}), and direct routing changes no ports",
            spelled(entry.ports),
            entry.at.line()
        );
        let help = match entry.ports.single() {
            Some(service) => format!("write {service}, and let the real server listen there"),
            None => "leave the port out".to_owned(),
        };
        report.error(&word.at, path, message, help);
        return None;
    }
    Some(port)
}

fn thresholds(report: &mut Report, section: &Section<'_>) -> Thresholds {
    let mut one = |name| {
        let line = section.last(name)?;
        value::number(report, line.word(0)?, line.path(), 0..=u32::MAX)
    };
    let (upper, lower) = (one("uthreshold"), one("lthreshold"));
    let thresholds = Thresholds { upper: upper.unwrap_or(0), lower: lower.unwrap_or(0) };
    if let Some(line) = section.last("lthreshold").filter(|_| thresholds.lower > thresholds.upper) {
        let (message, help) = match thresholds.upper {
            0 if section.has("uthreshold") || section.lacks("uthreshold") => (
                format!("lthreshold {} without uthreshold", thresholds.lower),
                "add uthreshold: from that many flows on it takes no new ones until it has fewer than lthreshold",
            ),
            0 => return Thresholds::default(),
            upper => (
                format!(
                    "the thresholds are upside down: lthreshold {} is more than uthreshold {upper}",
                    thresholds.lower
                ),
                "make lthreshold the smaller, or leave it out: then it is three quarters of uthreshold",
            ),
        };
        report.error(line.at(), line.path(), message, help);
    }
    thresholds
}

fn switch(report: &mut Report, section: &Section<'_>, name: &str) -> Option<bool> {
    section.last(name).and_then(|line| value::switch(report, line))
}

//! What `global_defs` and `garp_group` say of all instances.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::super::super::report::Report;
use super::super::global::{Defs, Globals};
use super::super::section::{Line, Section};
use super::super::value::{self, LONGEST, named};
use super::announce::MOST_REPEAT;
use super::number;
use crate::config::resolve::LONGEST_NAME;
use crate::model::{AdvertChecks, Announce, Version};

/// RFC 9568 section 5.1.
pub(super) const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
pub(super) const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

/// What an instance is that does not say otherwise.
pub(super) struct Defaults {
    pub version: Option<Version>,
    /// IPv4, IPv6.
    pub groups: [IpAddr; 2],
    pub announce: Announce,
    pub down_timer_adverts: u8,
    pub lower_prio_no_advert: bool,
    pub higher_prio_send_advert: bool,
    pub checks: AdvertChecks,
    pub priority_changes: bool,
    pub mail: bool,
    /// Whether there is a server for mail.
    pub mails: bool,
    pub vmac_prefix: Option<String>,
    pub startup_delay: Duration,
    pub log_unknown_vrids: bool,
    /// Between gratuitous ARPs and between neighbour advertisements, by interface.
    pub gaps: HashMap<String, [Option<Duration>; 2]>,
}

impl Defaults {
    pub(super) fn read(report: &mut Report, root: &Section<'_>, globals: &Globals) -> Defaults {
        let defs = Defs { root };
        let line = |name| defs.last(name);
        let group = |report: &mut Report, name, default| match line(name) {
            Some(line) => multicast(report, line, default),
            None => default,
        };
        Defaults {
            version: number::version(report, line("vrrp_version")),
            groups: [group(report, "vrrp_mcast_group4", GROUP4), group(report, "vrrp_mcast_group6", GROUP6)],
            announce: announce(report, &defs),
            down_timer_adverts: number::whole(report, line("vrrp_down_timer_adverts"), 1..=100).unwrap_or(3),
            lower_prio_no_advert: number::switch(report, line("vrrp_lower_prio_no_advert")).unwrap_or(false),
            higher_prio_send_advert: number::switch(report, line("vrrp_higher_prio_send_advert"))
                .unwrap_or(false),
            checks: AdvertChecks {
                skip_known_addresses: defs.has("vrrp_skip_check_adv_addr"),
                unicast_source: defs.has("vrrp_check_unicast_src"),
                strict: defs.has("vrrp_strict"),
            },
            priority_changes: number::switch(report, line("vrrp_notify_priority_changes")).unwrap_or(false),
            mail: globals.vrrp_alert,
            mails: globals.mails(),
            vmac_prefix: line("vmac_prefix").and_then(|line| prefix(report, line)),
            startup_delay: number::time(report, line("vrrp_startup_delay")).unwrap_or_default(),
            log_unknown_vrids: defs.has("log_unknown_vrids"),
            gaps: gaps(report, root),
        }
    }
}

/// A multicast group of the family of `default`, which is answered after an error.
pub(super) fn multicast(report: &mut Report, line: &Line<'_>, default: IpAddr) -> IpAddr {
    let Some(word) = line.word(0) else { return default };
    let Some(address) = value::any_address(report, word, line.path()) else { return default };
    // keepalived: an IPv6 group is link-local.
    let is_group = match address {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    if !is_group || address.is_ipv4() != default.is_ipv4() {
        let what = if default.is_ipv4() { "IPv4 multicast group" } else { "link-local IPv6 multicast group" };
        let message = format!("{address} is no {what}");
        report.error(&word.at, line.path(), message, format!("give one, as {default}"));
        return default;
    }
    address
}

/// What stands before `6.255` in the name of an interface.
fn prefix(report: &mut Report, line: &Line<'_>) -> Option<String> {
    const LONGEST: usize = LONGEST_NAME - "6.255".len();
    let word = line.word(0)?;
    let prefix = value::interface(report, word, line.path())?;
    if prefix.len() > LONGEST {
        let message =
            format!("{} has {} bytes, and leaves no room for the VRID", named(&prefix), prefix.len());
        report.error(&word.at, line.path(), message, format!("give at most {LONGEST}"));
        return None;
    }
    Some(prefix)
}

fn announce(report: &mut Report, defs: &Defs<'_, '_>) -> Announce {
    let line = |name| defs.last(name);
    let least = number::switch(report, line("vrrp_min_garp")).unwrap_or(false);
    let standard = match least {
        true => Announce { repeat: 1, delay: Duration::ZERO, ..Announce::default() },
        false => Announce::default(),
    };
    let repeat =
        number::repeat(report, line("vrrp_garp_master_repeat"), MOST_REPEAT).unwrap_or(standard.repeat);
    let delay = number::seconds(report, line("vrrp_garp_master_delay")).unwrap_or(standard.delay);
    Announce {
        repeat,
        delay,
        refresh: number::seconds(report, line("vrrp_garp_master_refresh")).unwrap_or_default(),
        refresh_repeat: number::repeat(report, line("vrrp_garp_master_refresh_repeat"), MOST_REPEAT)
            .unwrap_or(standard.refresh_repeat),
        lower_repeat: number::whole(report, line("vrrp_garp_lower_prio_repeat"), 0..=MOST_REPEAT)
            .unwrap_or(repeat),
        lower_delay: number::seconds(report, line("vrrp_garp_lower_prio_delay")).unwrap_or(delay),
        arp_gap: number::time(report, line("vrrp_garp_interval")).unwrap_or_default(),
        na_gap: number::time(report, line("vrrp_gna_interval")).unwrap_or_default(),
        ..standard
    }
}

/// `garp_group`: gaps by the interfaces that it names.
fn gaps(report: &mut Report, root: &Section<'_>) -> HashMap<String, [Option<Duration>; 2]> {
    let mut gaps = HashMap::new();
    for line in root.all("garp_group") {
        let section = &line.section;
        let gap = ["garp_interval", "gna_interval"].map(|name| {
            let line = section.last(name)?;
            value::duration(report, line.word(0)?, line.path(), Duration::ZERO..=LONGEST)
        });
        let alone = section.all("interface").filter_map(|line| Some((line.word(0)?, line.path())));
        let listed = section.all("interfaces").flat_map(|line| {
            let words = line
                .entries()
                .iter()
                .flat_map(|entry| std::iter::once(&entry.keyword).chain(&entry.arguments));
            words.map(move |word| (word, line.path()))
        });
        let mut names = 0;
        for (word, path) in alone.chain(listed) {
            names += 1;
            let Some(name) = value::interface(report, word, path) else { continue };
            if gaps.insert(name.clone(), gap).is_some() {
                let message = format!("{} is in another garp_group too: this one counts", named(&name));
                report.warning(&word.at, path, message, "name each interface once");
            }
        }
        if names == 0 {
            let message = "this garp_group names no interface, and does nothing";
            report.warning(line.at(), line.path(), message, "add a line such as: interfaces { eth0 }");
        }
    }
    gaps
}

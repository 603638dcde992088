//! `[[vrrp.router]]`

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::super::report::Report;
use super::super::timeouts::LONGEST;
use super::super::value;
use super::things::Things;
use super::{OWNER, address, flag, hooks, interface, name, number, peers, time, track};
use crate::config::VrrpPart;
use crate::config::error::quote;
use crate::config::file::{self, BooleanOrText, Typed};
use crate::model::{AdvertChecks, Announce, Checksum, GarpForm, Peers, Version, VirtualRouter, Vmac};

/// RFC 2338: the password has eight bytes.
const LONGEST_PASSWORD: usize = 8;
/// The count of an advert has eight bits.
const MOST_ADDRESSES: usize = 255;
/// RFC 3768: whole seconds in 8 bits. RFC 9568: 1/100 s in 12 bits.
const V2_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(255);
const V3_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(40_950);
const MOST_DELAY: Duration = Duration::from_secs(1000);
/// What an error of the whole router is about.
const PATH: &str = "vrrp.router";

/// A router, and where its VRID stands; none after some errors.
pub(super) fn resolve(
    report: &mut Report,
    table: &Spanned<file::Router>,
    things: &Things,
    mails: bool,
) -> Option<(VirtualRouter, Where)> {
    let (span, typed) = (table.span(), table.get_ref());
    let named = name(report, span.clone(), &typed.name, "vrrp.router.name", VrrpPart::Router);
    let interface = interface(report, span.clone(), &typed.interface, "vrrp.router.interface");
    let vrid = match &typed.vrid {
        Some(vrid) => value::number(report, vrid, "vrrp.router.vrid", 1..=u8::MAX),
        None => {
            report.missing(span.clone(), "vrrp.router.vrid");
            None
        }
    };
    let addresses = address::list(report, &typed.addresses, "vrrp.router.addresses");
    let advertised = advertised(typed);
    let ipv6 = advertised.first().is_some_and(|first| first.is_ipv6());
    let version = version(report, &typed.version, ipv6);
    has_good_addresses(report, &span, typed, version, &advertised);
    let priority = number(report, &typed.priority, "vrrp.router.priority", 1..=OWNER, 100);
    let state = [("backup", false), ("active", true)];
    let begins_active = typed
        .state
        .as_ref()
        .and_then(|typed| value::word(report, typed, "vrrp.router.state", "state", &state))
        .unwrap_or(priority == OWNER);
    let source = typed.source.as_ref().and_then(|typed| {
        let source = value::host(report, typed, "vrrp.router.source")?;
        peers::of_family(report, typed.span(), "vrrp.router.source", source, ipv6);
        Some(source)
    });
    if let Some(track) =
        typed.track_source.as_ref().filter(|track| *track.get_ref() && typed.source.is_none())
    {
        let help = "say which: source = \"192.0.2.2\"";
        report.error(track.span(), "vrrp.router.track_source", "there is no source to track", help);
    }
    let checksums = [("pseudo-header", Checksum::PseudoHeader), ("rfc9568", Checksum::MessageOnly)];
    let checksum = typed
        .checksum
        .as_ref()
        .and_then(|typed| value::word(report, typed, "vrrp.router.checksum", "checksum", &checksums));
    let peers = peers::resolve(report, typed, ipv6);
    let label = named.as_ref().map_or("", |(name, _)| name);
    let router = VirtualRouter {
        name: label.to_owned(),
        version,
        ipv6,
        interface: interface.clone().unwrap_or_default(),
        vrid: vrid.unwrap_or_default(),
        priority,
        begins_active,
        interval: interval(report, &typed.interval, version),
        down_timer_adverts: number(
            report,
            &typed.down_timer_adverts,
            "vrrp.router.down_timer_adverts",
            1..=100,
            3,
        ),
        password: typed.password.as_ref().and_then(|typed| password(report, typed, version)),
        addresses,
        excluded: address::list(report, &typed.excluded, "vrrp.router.excluded"),
        vmac: vmac(report, typed, &peers),
        peers,
        source,
        track_source: flag(&typed.track_source, false),
        preempt: flag(&typed.preempt, true),
        preempt_delay: time(
            report,
            &typed.preempt_delay,
            "vrrp.router.preempt_delay",
            Duration::ZERO..=MOST_DELAY,
            Duration::ZERO,
        ),
        lower_prio_no_advert: flag(&typed.lower_prio_no_advert, false),
        higher_prio_send_advert: flag(&typed.higher_prio_send_advert, false),
        checks: AdvertChecks {
            skip_known_addresses: flag(&typed.skip_known_addresses, false),
            unicast_source: flag(&typed.check_source, false),
            strict: flag(&typed.strict, false),
        },
        checksum: checksum.unwrap_or_default(),
        announce: typed.announce.as_ref().map_or_else(Announce::default, |typed| announce(report, typed)),
        track: track::resolve(report, &typed.track, "vrrp.router.track", things),
        hooks: hooks::resolve(report, &hooks::typing!(typed), PATH, label, VrrpPart::RouterHook, mails),
    };
    contradictions(report, typed, &router);
    let at = Where {
        name: named.as_ref()?.1.clone(),
        vrid: typed.vrid.as_ref()?.span(),
        vmac: typed.vmac.as_ref().map_or(span, Spanned::span),
    };
    (interface.is_some() && vrid.is_some()).then_some((router, at))
}

/// Where its name, its VRID and its virtual interface stand.
pub(super) struct Where {
    pub name: Range<usize>,
    pub vrid: Range<usize>,
    pub vmac: Range<usize>,
}

fn version(report: &mut Report, typed: &Typed<i64>, ipv6: bool) -> Version {
    let Some(typed) = typed else { return Version::V3 };
    match value::number(report, typed, "vrrp.router.version", 2..=3_u8) {
        Some(2) if ipv6 => {
            let message = "version 2 has no IPv6";
            report.error(
                typed.span(),
                "vrrp.router.version",
                message,
                "take it out: version 3 is spoken then",
            );
            Version::V2
        }
        Some(2) => Version::V2,
        _ => Version::V3,
    }
}

/// The addresses as they are typed, whatever else is wrong with them.
fn advertised(typed: &file::Router) -> Vec<IpAddr> {
    let entries = typed.addresses.iter().flat_map(|list| list.get_ref());
    entries
        .filter_map(|entry| entry.get_ref().address.as_ref()?.get_ref().split('/').next()?.parse().ok())
        .collect()
}

fn has_good_addresses(
    report: &mut Report,
    table: &Range<usize>,
    typed: &file::Router,
    version: Version,
    addresses: &[IpAddr],
) {
    const PATH: &str = "vrrp.router.addresses";
    const HELP: &str = "say what the active director holds: addresses = [\"192.0.2.10/24\"]";
    let span = typed.addresses.as_ref().map_or(table.clone(), Spanned::span);
    let entries = typed.addresses.as_ref().map_or(0, |list| list.get_ref().len());
    if entries == 0 && report.is_missing(table, PATH) {
        match version {
            Version::V3 => report.error(span.clone(), PATH, "no address, and version 3 needs one", HELP),
            Version::V2 => {
                let message = "no address: the router tells who is active, and no more";
                report.warning(span.clone(), PATH, message, HELP);
            }
        }
    }
    if entries > MOST_ADDRESSES {
        let message = format!("{entries} addresses, and an advert has room for {MOST_ADDRESSES}");
        report.error(span.clone(), PATH, message, "put the others into excluded");
    }
    if let Some(first) = addresses.first()
        && let Some(other) = addresses.iter().find(|other| other.is_ipv4() != first.is_ipv4())
    {
        let message = format!("{first} and {other} are of two families, and a router has one");
        report.error(span, PATH, message, "put those of the other family into excluded");
    }
}

fn interval(report: &mut Report, typed: &Typed<String>, version: Version) -> Duration {
    const PATH: &str = "vrrp.router.interval";
    let default = Duration::from_secs(1);
    let (range, unit) = match version {
        Version::V2 => (V2_INTERVALS, 1000),
        Version::V3 => (V3_INTERVALS, 10),
    };
    let interval = time(report, typed, PATH, range, default);
    if let Some(typed) = typed.as_ref().filter(|_| !interval.as_millis().is_multiple_of(unit)) {
        let (message, help) = match version {
            Version::V2 => ("version 2 has whole seconds", "give whole seconds, or take version = 2 out"),
            Version::V3 => ("version 3 has hundredths of a second", "give a multiple of 10ms"),
        };
        report.error(typed.span(), PATH, message, help);
    }
    interval
}

fn password(
    report: &mut Report,
    typed: &Spanned<String>,
    version: Version,
) -> Option<[u8; LONGEST_PASSWORD]> {
    const PATH: &str = "vrrp.router.password";
    if version == Version::V3 {
        let message = "version 3 has no password";
        report.error(typed.span(), PATH, message, "take it out; it protects nothing, as it is sent in clear");
    }
    let bytes = typed.get_ref().as_bytes();
    if bytes.is_empty() || bytes.len() > LONGEST_PASSWORD || bytes.contains(&0) {
        let message = match bytes.len() {
            0 => "is empty".to_owned(),
            length if length > LONGEST_PASSWORD => {
                format!("has {length} bytes, and an advert has room for {LONGEST_PASSWORD}")
            }
            _ => "has a NUL".to_owned(),
        };
        report.error(typed.span(), PATH, message, "give 1 to 8 bytes, the same on all directors");
        return None;
    }
    let mut password = [0; LONGEST_PASSWORD];
    password[..bytes.len()].copy_from_slice(bytes);
    Some(password)
}

fn vmac(report: &mut Report, typed: &file::Router, peers: &Peers) -> Option<Vmac> {
    const PATH: &str = "vrrp.router.vmac";
    let interface = match typed.vmac.as_ref().map(|vmac| (vmac.get_ref(), vmac.span())) {
        Some((BooleanOrText::Boolean(true), _)) => None,
        Some((BooleanOrText::Text(name), span)) => {
            super::interface_named(report, &Spanned::new(span, name.clone()), PATH)
        }
        None | Some((BooleanOrText::Boolean(false), _)) => {
            if let Some(base) = &typed.vmac_transmit_base {
                let help = "add vmac = true, or take it out";
                report.error(
                    base.span(),
                    "vrrp.router.vmac_transmit_base",
                    "does nothing without vmac",
                    help,
                );
            }
            return None;
        }
    };
    let unicast = matches!(peers, Peers::Unicast { .. });
    Some(Vmac { interface, transmit_base: flag(&typed.vmac_transmit_base, unicast) })
}

fn announce(report: &mut Report, table: &Spanned<file::Announce>) -> Announce {
    let typed = table.get_ref();
    let default = Announce::default();
    let forms = [("request", GarpForm::Request), ("reply", GarpForm::Reply), ("both", GarpForm::Both)];
    let path = |key: &str| format!("vrrp.router.announce.{key}");
    let mut repeat = |typed, key, least, default| number(report, typed, &path(key), least..=10_000, default);
    let counts = (
        repeat(&typed.repeat, "repeat", 1, default.repeat),
        repeat(&typed.refresh_repeat, "refresh_repeat", 1, default.refresh_repeat),
        repeat(&typed.lower_repeat, "lower_repeat", 0, default.lower_repeat),
    );
    let mut after = |typed, key, default| time(report, typed, &path(key), Duration::ZERO..=LONGEST, default);
    Announce {
        repeat: counts.0,
        delay: after(&typed.delay, "delay", default.delay),
        refresh: after(&typed.refresh, "refresh", default.refresh),
        refresh_repeat: counts.1,
        lower_repeat: counts.2,
        lower_delay: after(&typed.lower_delay, "lower_delay", default.lower_delay),
        arp_gap: after(&typed.arp_gap, "arp_gap", default.arp_gap),
        na_gap: after(&typed.na_gap, "na_gap", default.na_gap),
        form: typed
            .form
            .as_ref()
            .and_then(|typed| value::word(report, typed, &path("form"), "form", &forms))
            .unwrap_or_default(),
    }
}

/// What cannot be together.
fn contradictions(report: &mut Report, typed: &file::Router, router: &VirtualRouter) {
    let delay = typed.preempt_delay.as_ref().filter(|_| !router.preempt_delay.is_zero());
    if let Some(preempt) = typed.preempt.as_ref().filter(|preempt| !*preempt.get_ref()) {
        let why = match (router.begins_active, router.priority) {
            (_, OWNER) => Some("who owns the addresses (priority 255) always takes them"),
            (true, _) => Some("state is \"active\""),
            _ => None,
        };
        if let Some(why) = why {
            let message = format!("false, and {why}");
            let help = "give a priority below 255 and state = \"backup\" on all directors, or take it out";
            report.error(preempt.span(), "vrrp.router.preempt", message, help);
        }
    }
    if let Some(delay) = delay.filter(|_| router.begins_active || !router.preempt) {
        let message = match router.begins_active {
            true => "a delay, and the router begins as active",
            false => "a delay, and preempt is false",
        };
        report.error(delay.span(), "vrrp.router.preempt_delay", message, "take one of the two out");
    }
    if router.priority == OWNER
        && let Some((key, name)) = track::weighted(&router.track)
    {
        weighted(report, &typed.track, "vrrp.router.track", key, name, "priority 255 does not change");
    }
}

/// A weight where none can be.
pub(super) fn weighted(
    report: &mut Report,
    typed: &Typed<file::Track>,
    path: &str,
    key: &str,
    name: Option<&str>,
    why: &str,
) {
    let Some(table) = typed else { return };
    let what = name.map_or("a weight".to_owned(), |name| format!("{} has a weight", quote(name)));
    let message = format!("{what}, and {why}");
    let help = "make it a fault: weight = 0 in a list, \"fault\" elsewhere; or take it out";
    report.error(table.span(), &format!("{path}.{key}"), message, help);
}

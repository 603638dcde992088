//! How a service treats its flows: scheduler, persistence, what becomes of flows without a real server.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::timeouts::{LONGEST, SHORTEST};
use super::value;
use crate::config::error::quote;
use crate::config::file::{self, IntegerOrText};
use crate::config::shape::closest;
use crate::model::{HashFlags, NoReal, OnFailure, Persistence, Protocol, Scheduler};

/// The schedulers, by name and without flags.
pub(crate) const SCHEDULERS: &[(&str, Scheduler)] = &[
    ("maglev", Scheduler::Maglev),
    ("rr", Scheduler::Rr),
    ("wrr", Scheduler::Wrr),
    ("lc", Scheduler::Lc),
    ("wlc", Scheduler::Wlc),
    ("sed", Scheduler::Sed),
    ("nq", Scheduler::Nq),
    ("sh", Scheduler::Sh(HashFlags { port: false, fallback: false })),
    ("dh", Scheduler::Dh),
    ("mh", Scheduler::Mh(HashFlags { port: false, fallback: false })),
    ("fo", Scheduler::Fo),
    ("ovf", Scheduler::Ovf),
    ("lblc", Scheduler::Lblc),
    ("lblcr", Scheduler::Lblcr),
    ("twos", Scheduler::Twos),
];

/// The flags, each with the scheduler it is for.
const FLAGS: &[(&str, &str)] =
    &[("sh-port", "sh"), ("sh-fallback", "sh"), ("mh-port", "mh"), ("mh-fallback", "mh")];

const ON_FAILURE: &[(&str, OnFailure)] =
    &[("reset", OnFailure::Reset), ("rehash", OnFailure::Rehash), ("keep", OnFailure::Keep)];

const NO_REAL: &[(&str, NoReal)] =
    &[("icmp", NoReal::Unreachable), ("reset", NoReal::Reset), ("drop", NoReal::Silent)];

/// Whether a real server's share can grow with this scheduler.
pub(crate) fn starts_slowly(scheduler: Scheduler) -> bool {
    !matches!(
        scheduler,
        Scheduler::Rr | Scheduler::Lc | Scheduler::Dh | Scheduler::Sh(_) | Scheduler::Mh(_) | Scheduler::Fo
    )
}

/// Longest slow start.
const LONGEST_START: Duration = Duration::from_secs(3600);

/// The keys of this file.
pub(super) struct Options {
    pub(super) scheduler: Scheduler,
    pub(super) persistence: Option<Persistence>,
    pub(super) one_packet: bool,
    pub(super) on_failure: OnFailure,
    pub(super) no_real: NoReal,
    pub(super) strict: bool,
    pub(super) keep_ttl: bool,
    /// In 1/1000; none: by the number of services.
    pub(super) table_share: Option<u16>,
    pub(super) slow_start: Option<Duration>,
}

/// The options of a service; `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    typed: &file::Service,
    vip: Option<IpAddr>,
    protocol: Option<Protocol>,
) -> Option<Options> {
    let scheduler = scheduler(report, typed);
    let persistence = persistence(report, typed, vip);
    let one_packet = one_packet(report, typed, protocol);
    let on_failure = match &typed.on_failure {
        Some(word) => value::word(report, word, "service.on_failure", "answer to a failure", ON_FAILURE),
        None => Some(OnFailure::default()),
    };
    let no_real = no_real(report, typed, protocol);
    let strict = strict(report, typed, protocol);
    let keep_ttl = match &typed.ttl {
        Some(word) => value::word(
            report,
            word,
            "service.ttl",
            "way with the TTL",
            &[("decrement", false), ("keep", true)],
        ),
        None => Some(false),
    };
    let table_share = match &typed.table_share {
        Some(share) => value::percent(report, share, "service.table_share").map(Some),
        None => Some(None),
    };
    let slow_start = slow_start(report, typed, scheduler);
    Some(Options {
        scheduler: scheduler?,
        persistence: persistence?,
        one_packet: one_packet?,
        on_failure: on_failure?,
        no_real: no_real?,
        strict,
        keep_ttl: keep_ttl?,
        table_share: table_share?,
        slow_start: slow_start?,
    })
}

fn scheduler(report: &mut Report, typed: &file::Service) -> Option<Scheduler> {
    let scheduler = match &typed.scheduler {
        Some(name) => value::word(report, name, "service.scheduler", "scheduler", SCHEDULERS),
        None => Some(Scheduler::default()),
    };
    let mut flags = HashFlags::default();
    let mut good = true;
    for flag in typed.scheduler_flags.iter().flat_map(|flags| flags.get_ref()) {
        match self::flag(report, flag, scheduler) {
            Some("port") => flags.port = true,
            Some(_) => flags.fallback = true,
            None => good = false,
        }
    }
    let scheduler = match scheduler? {
        Scheduler::Sh(_) => Scheduler::Sh(flags),
        Scheduler::Mh(_) => Scheduler::Mh(flags),
        other => other,
    };
    good.then_some(scheduler)
}

/// What a flag switches on, if it is one of the scheduler's.
fn flag(report: &mut Report, typed: &Spanned<String>, scheduler: Option<Scheduler>) -> Option<&'static str> {
    const PATH: &str = "service.scheduler_flags";
    let text = typed.get_ref();
    let Some((name, of)) = FLAGS.iter().find(|(name, _)| name == text) else {
        let names = || FLAGS.iter().map(|(name, _)| *name);
        let help = match closest(text, names()) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None => format!("known: {}", names().collect::<Vec<_>>().join(", ")),
        };
        report.error(typed.span(), PATH, format!("unknown flag {}", quote(text)), help);
        return None;
    };
    // Without flags of its own, a scheduler is shown as its name.
    let has = scheduler.map(|scheduler| scheduler.to_string()).filter(|has| has != of);
    if let Some(scheduler) = has {
        let message = format!("{} is a flag of {of}, and the scheduler is {scheduler}", quote(text));
        let own: Vec<&str> = FLAGS.iter().filter(|(_, of)| *of == scheduler).map(|(name, _)| *name).collect();
        let help = match own.is_empty() {
            true => format!("take it out, or choose scheduler = \"{of}\""),
            false => format!("{scheduler} knows: {}", own.join(", ")),
        };
        report.error(typed.span(), PATH, message, help);
        return None;
    }
    name.split_once('-').map(|(_, what)| what)
}

/// None after an error; none inside where flows of one client need not stay together.
fn persistence(
    report: &mut Report,
    typed: &file::Service,
    vip: Option<IpAddr>,
) -> Option<Option<Persistence>> {
    const PREFIX: &str = "service.persistence_prefix";
    let prefix = match &typed.persistence_prefix {
        Some(prefix) => self::prefix(report, prefix, vip).map(Some),
        None => Some(None),
    };
    let Some(text) = &typed.persistence else {
        if let Some(prefix) = &typed.persistence_prefix {
            let help = "say how long a client is remembered: persistence = \"300s\"";
            report.error(prefix.span(), PREFIX, "there is no persistence in this service", help);
            return None;
        }
        return Some(None);
    };
    let timeout = value::duration(report, text, "service.persistence", SHORTEST..=LONGEST);
    let all = vip.map_or(0, bits);
    Some(Some(Persistence { timeout: timeout?, prefix: prefix?.unwrap_or(all) }))
}

/// Bits of an address of the same family.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The leading bits that tell one client from another.
fn prefix(report: &mut Report, typed: &Spanned<IntegerOrText>, vip: Option<IpAddr>) -> Option<u8> {
    const PATH: &str = "service.persistence_prefix";
    let all = vip.map_or(128, bits);
    let family = if all == 32 { "IPv4" } else { "IPv6" };
    let message = match typed.get_ref() {
        IntegerOrText::Integer(number) => match u8::try_from(*number) {
            Ok(0) => "mask 0 makes all clients one".to_owned(),
            Ok(prefix) if prefix <= all => return Some(prefix),
            _ => format!("mask {number} does not fit an {family} address"),
        },
        IntegerOrText::Text(text) => match netmask(text).filter(|_| all == 32) {
            Some(0) => "mask 0 makes all clients one".to_owned(),
            Some(prefix) => return Some(prefix),
            None => format!("{} is not a mask of {family} addresses", quote(text)),
        },
    };
    let help = match all {
        32 => "give a number from 1 to 32, or a netmask such as \"255.255.255.0\"".to_owned(),
        all => format!("give a number from 1 to {all}"),
    };
    report.error(typed.span(), PATH, message, help);
    None
}

/// The prefix length of a netmask, as ipvsadm takes it.
pub(in crate::config) fn netmask(text: &str) -> Option<u8> {
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (mask.leading_ones() + mask.trailing_zeros() == 32).then_some(mask.leading_ones() as u8)
}

fn one_packet(report: &mut Report, typed: &file::Service, protocol: Option<Protocol>) -> Option<bool> {
    const PATH: &str = "service.one_packet";
    let Some(asked) = typed.one_packet.as_ref().filter(|asked| *asked.get_ref()) else { return Some(false) };
    let mut good = true;
    if let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::Udp) {
        let message = format!("one-packet scheduling is for udp, and the service is {protocol}");
        let help = "take it out: a connection cannot be spread over several real servers";
        report.error(asked.span(), PATH, message, help);
        good = false;
    }
    if typed.persistence.is_some() {
        let message = "one-packet scheduling spreads what persistence keeps together";
        report.error(asked.span(), PATH, message, "take out one of the two: one_packet or persistence");
        good = false;
    }
    if let Some(upper) = typed.real.iter().find_map(|real| real.get_ref().upper.as_ref()) {
        let message = "nothing is remembered of one-packet flows, so this threshold is never reached";
        report.warning(upper.span(), "service.real.upper", message, "take it out, or one_packet");
    }
    let by_load = ["lc", "wlc", "sed", "nq", "ovf", "lblc", "lblcr", "twos"];
    if let Some(name) = typed.scheduler.as_ref().filter(|name| by_load.contains(&name.get_ref().as_str())) {
        let message = format!(
            "{} goes by the flows that real servers have, and one-packet flows are not remembered",
            quote(name.get_ref())
        );
        let help = "choose scheduler = \"rr\" or \"wrr\" (or maglev: by the flow)";
        report.warning(name.span(), "service.scheduler", message, help);
    }
    good.then_some(true)
}

fn no_real(report: &mut Report, typed: &file::Service, protocol: Option<Protocol>) -> Option<NoReal> {
    const PATH: &str = "service.no_real";
    let Some(word) = &typed.no_real else { return Some(NoReal::default()) };
    let answer = value::word(report, word, PATH, "answer", NO_REAL)?;
    if answer == NoReal::Reset
        && let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::Tcp)
    {
        let message = format!("{protocol} has no reset: icmp is used for what is not TCP");
        report.warning(word.span(), PATH, message, "write no_real = \"icmp\"");
    }
    Some(answer)
}

fn strict(report: &mut Report, typed: &file::Service, protocol: Option<Protocol>) -> bool {
    let Some(asked) = typed.strict.as_ref().filter(|asked| *asked.get_ref()) else { return false };
    if let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::Tcp) {
        let message = format!("strict is about TCP, and the service is {protocol}");
        report.warning(asked.span(), "service.strict", message, "take it out: it changes nothing");
    }
    true
}

fn slow_start(
    report: &mut Report,
    typed: &file::Service,
    scheduler: Option<Scheduler>,
) -> Option<Option<Duration>> {
    const PATH: &str = "service.slow_start";
    let Some(text) = &typed.slow_start else { return Some(None) };
    let duration = value::duration(report, text, PATH, SHORTEST..=LONGEST_START);
    if let Some(scheduler) = scheduler.filter(|scheduler| !starts_slowly(*scheduler)) {
        let message = match scheduler {
            Scheduler::Sh(_) | Scheduler::Mh(_) => {
                format!("with {scheduler} each step of a weight moves clients between all real servers")
            }
            Scheduler::Fo => "fo gives all to one real server, so none can start slowly".to_owned(),
            _ => format!("the scheduler {scheduler} knows no weights, so it cannot start slowly"),
        };
        let help = match scheduler {
            Scheduler::Rr => "choose scheduler = \"wrr\", or take slow_start out",
            Scheduler::Lc => "choose scheduler = \"wlc\", or take slow_start out",
            Scheduler::Sh(_) | Scheduler::Mh(_) => "choose scheduler = \"maglev\", or take slow_start out",
            _ => "choose another scheduler, or take slow_start out",
        };
        report.error(text.span(), PATH, message, help);
        return None;
    }
    duration.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_has_its_ones_in_front() {
        for (text, prefix) in
            [("255.255.255.0", 24), ("255.255.255.255", 32), ("128.0.0.0", 1), ("0.0.0.0", 0)]
        {
            assert_eq!(netmask(text), Some(prefix), "{text}");
        }
        for bad in ["255.0.255.0", "0.0.0.255", "/24", "24", ""] {
            assert_eq!(netmask(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_scheduler_is_called_what_it_is_shown_as() {
        for (name, scheduler) in SCHEDULERS {
            assert_eq!(*name, scheduler.to_string());
        }
        assert_eq!(SCHEDULERS.len(), 15);
    }
}

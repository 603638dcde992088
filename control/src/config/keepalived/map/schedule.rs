//! How a virtual server's flows are scheduled: `lb_algo` and its flags, persistence, `ops`.

use std::time::Duration;

use super::super::report::Report;
use super::super::tree::Word;
use super::group::Entry;
use super::section::Section;
use super::value::{self, LONGEST, named};
use crate::config::resolve;
use crate::model::{HashFlags, Persistence, Ports, Protocol, Scheduler};

const NO_FLAGS: HashFlags = HashFlags { port: false, fallback: false };

/// keepalived: lvs_schedulers, check_parser.c.
const SCHEDULERS: &[(&str, Scheduler)] = &[
    ("rr", Scheduler::Rr),
    ("wrr", Scheduler::Wrr),
    ("lc", Scheduler::Lc),
    ("wlc", Scheduler::Wlc),
    ("lblc", Scheduler::Lblc),
    ("sh", Scheduler::Sh(NO_FLAGS)),
    ("mh", Scheduler::Mh(NO_FLAGS)),
    ("dh", Scheduler::Dh),
    ("fo", Scheduler::Fo),
    ("ovf", Scheduler::Ovf),
    ("lblcr", Scheduler::Lblcr),
    ("sed", Scheduler::Sed),
    ("nq", Scheduler::Nq),
    ("twos", Scheduler::Twos),
];

/// keepalived: IPVS_SVC_PERSISTENT_TIMEOUT.
const PERSISTENCE: Duration = Duration::from_secs(360);

/// The scheduler with its flags; none after an error.
pub(super) fn scheduler(report: &mut Report, section: &Section<'_>) -> Option<Scheduler> {
    let scheduler = match section.last("lb_algo") {
        Some(line) => value::word(report, line.word(0)?, line.path(), "scheduler", SCHEDULERS)?,
        // keepalived: IPVS_DEF_SCHED.
        None => Scheduler::Wlc,
    };
    let mut flags = NO_FLAGS;
    let own = match scheduler {
        Scheduler::Sh(_) => "sh",
        Scheduler::Mh(_) => "mh",
        _ => "",
    };
    for (name, of) in [("sh-port", "sh"), ("sh-fallback", "sh"), ("mh-port", "mh"), ("mh-fallback", "mh")] {
        let Some(line) = section.last(name) else { continue };
        if of == own {
            flags.port |= name.ends_with("port");
            flags.fallback |= name.ends_with("fallback");
        } else {
            let message = format!("{name} is a flag of {of}, and the scheduler is {scheduler}");
            let help = format!("take it out, or choose lb_algo {of}");
            report.error(line.at(), line.path(), message, help);
        }
    }
    // IP_VS_SVC_F_SCHED_*_FALLBACK is the first flag of both, *_PORT the second (linux/ip_vs.h).
    for name in ["flag-1", "flag-2"] {
        let Some(line) = section.last(name) else { continue };
        if own.is_empty() {
            let message = format!("{name} has no meaning with the scheduler {scheduler}");
            report.warning(line.at(), line.path(), message, "take it out");
        } else {
            flags.fallback |= name == "flag-1";
            flags.port |= name == "flag-2";
        }
    }
    Some(match scheduler {
        Scheduler::Sh(_) => Scheduler::Sh(flags),
        Scheduler::Mh(_) => Scheduler::Mh(flags),
        other => other,
    })
}

/// None after an error; none inside where flows of one client need not stay together.
pub(super) fn persistence(
    report: &mut Report,
    section: &Section<'_>,
    entries: &[Entry],
) -> Option<Option<Persistence>> {
    let timeout = match section.last("persistence_timeout") {
        Some(line) => match line.word(0) {
            Some(word) => {
                let seconds = value::number(report, word, line.path(), 1..=LONGEST.as_secs())?;
                Some(Duration::from_secs(seconds))
            }
            None => Some(PERSISTENCE),
        },
        None => None,
    };
    let any = entries.iter().find(|entry| entry.ports == Ports::ANY);
    let granularity = section.last("persistence_granularity");
    let timeout = match (timeout, granularity, any) {
        (Some(timeout), ..) => timeout,
        // keepalived: pgr_handler().
        (None, Some(_), _) => PERSISTENCE,
        (None, None, Some(entry)) => {
            if section.lacks("persistence_timeout") {
                let message = "a service of any port keeps the connections of a client together: for 360 s, as in keepalived";
                report.warning(
                    &entry.at,
                    &section.path,
                    message,
                    "write `persistence_timeout 360`, or a port",
                );
            }
            PERSISTENCE
        }
        (None, None, None) => return Some(None),
    };
    let is_ipv4 = entries.first().is_none_or(|entry| entry.vip.is_ipv4());
    let prefix = match granularity {
        Some(line) => prefix(report, line.word(0)?, line.path(), is_ipv4)?,
        None if is_ipv4 => 32,
        None => 128,
    };
    Some(Some(Persistence { timeout, prefix }))
}

/// A netmask or a prefix length.
fn prefix(report: &mut Report, word: &Word, path: &str, is_ipv4: bool) -> Option<u8> {
    if !is_ipv4 {
        return value::number(report, word, path, 1..=128);
    }
    if !word.text.contains('.') {
        return value::number(report, word, path, 1..=32);
    }
    let prefix = resolve::netmask(&word.text).filter(|prefix| *prefix > 0);
    if prefix.is_none() {
        let message = format!("{} is not a mask of IPv4 addresses", named(&word.text));
        report.error(&word.at, path, message, "give a netmask such as 255.255.255.0, with its ones in front");
    }
    prefix
}

/// None after an error.
pub(super) fn one_packet(
    report: &mut Report,
    section: &Section<'_>,
    protocol: Option<Protocol>,
    persistence: Option<Persistence>,
) -> Option<bool> {
    let Some(line) = section.last("ops") else { return Some(false) };
    if let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::Udp) {
        let message = format!("one-packet scheduling is for udp, and the service is {protocol}");
        let help = "take it out: a connection cannot be spread over several real servers";
        report.error(line.at(), line.path(), message, help);
        return None;
    }
    if persistence.is_some() {
        let message = "one-packet scheduling spreads what persistence keeps together";
        report.error(line.at(), line.path(), message, "take out ops, or persistence and the port 0");
        return None;
    }
    Some(true)
}

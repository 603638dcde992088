//! `[director]`: the machine.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use super::report::Report;
use super::{timeouts, value};
use crate::config::defaults;
use crate::config::error::quote;
use crate::config::file;
use crate::config::location::Place;
use crate::model::{Director, Idle, WorkerFailure};

/// Longest name of an interface: the kernel's IFNAMSIZ less the NUL.
pub(in crate::config) const LONGEST_NAME: usize = 15;
/// Highest core number: the kernel's largest CONFIG_NR_CPUS, less one.
const LAST_CORE: usize = 8191;
const MOST_FLOWS: usize = 1 << 28;
/// Answers of its own that a director may send in a second: more is an attack on somebody.
const MOST_ANSWERS: u32 = 10_000_000;
/// The dataplane numbers its ports in eight bits, and nobody has this many in one machine.
/// Stands for the interfaces that the routes to the real servers lead to.
pub(in crate::config) const AUTO: &str = "auto";
pub(in crate::config) const MOST_INTERFACES: usize = 64;
const FRAMES: std::ops::RangeInclusive<u32> = 256..=65536;

/// The director's settings; `None` after an error.
pub(super) fn resolve(report: &mut Report, typed: Option<&Spanned<file::Director>>) -> Option<Director> {
    let Some(table) = typed else {
        // The fault stands at the top of the file, where the table belongs.
        report.missing(0..0, "director");
        return None;
    };
    let (span, typed) = (table.span(), table.get_ref());
    report.locate(Place::Director, span.clone());
    let interfaces = interfaces(report, &span, typed);
    let cores = cores(report, &span, typed);
    let flows_per_worker = match &typed.flows_per_worker {
        Some(flows) => value::number(report, flows, "director.flows_per_worker", 1..=MOST_FLOWS),
        None => Some(defaults::FLOWS_PER_WORKER),
    };
    let flows_per_worker_ipv6 = match &typed.flows_per_worker_ipv6 {
        Some(flows) => value::number(report, flows, "director.flows_per_worker_ipv6", 1..=MOST_FLOWS),
        None => flows_per_worker,
    };
    let frames_per_queue = match &typed.frames_per_queue {
        Some(frames) => frames_per_queue(report, frames),
        None => Some(defaults::FRAMES_PER_QUEUE),
    };
    let hash_key = match &typed.hash_key {
        Some(key) => hash_key(report, key),
        None => Some(defaults::HASH_KEY),
    };
    let idle = match &typed.idle {
        Some(idle) => {
            let known = [("adaptive", Idle::Adaptive), ("spin", Idle::Spin)];
            value::word(report, idle, "director.idle", "way to idle", &known)
        }
        None => Some(Idle::default()),
    };
    let worker_failure = match &typed.worker_failure {
        Some(failure) => {
            let known = [("exit", WorkerFailure::Exit), ("restart", WorkerFailure::Restart)];
            value::word(report, failure, "director.worker_failure", "way to go on after a worker", &known)
        }
        None => Some(WorkerFailure::default()),
    };
    let icmp_rate = rate(report, typed.icmp_rate.as_ref(), "director.icmp_rate", defaults::ICMP_RATE);
    let reset_rate = rate(report, typed.reset_rate.as_ref(), "director.reset_rate", defaults::RESET_RATE);
    let metrics = match &typed.metrics {
        Some(typed) => {
            report.locate(Place::Metrics, typed.span());
            value::listening(report, typed, "director.metrics").map(Some)
        }
        None => Some(None),
    };
    let socket_group = match &typed.socket_group {
        Some(typed) => {
            report.locate(Place::SocketGroup, typed.span());
            value::token(report, typed, "director.socket_group", "name of a group").map(Some)
        }
        None => Some(None),
    };
    let timeouts =
        timeouts::resolve(report, typed.timeouts.as_ref(), &timeouts::DIRECTOR, Some(defaults::TIMEOUTS));
    Some(Director {
        auto_interfaces: interfaces.as_ref().is_some_and(|names| names.iter().any(|name| name == AUTO)),
        interfaces: interfaces?.into_iter().filter(|name| name != AUTO).collect(),
        cores: cores?,
        flows_per_worker: flows_per_worker?,
        flows_per_worker_ipv6: flows_per_worker_ipv6?,
        frames_per_queue: frames_per_queue?,
        hash_key: hash_key?,
        idle: idle?,
        worker_failure: worker_failure?,
        icmp_rate: icmp_rate?,
        reset_rate: reset_rate?,
        timeouts: timeouts?,
        metrics: metrics?,
        socket_group: socket_group?,
    })
}

fn rate(report: &mut Report, typed: Option<&Spanned<i64>>, path: &str, default: u32) -> Option<u32> {
    match typed {
        Some(rate) => value::number(report, rate, path, 0..=MOST_ANSWERS),
        None => Some(default),
    }
}

fn interfaces(report: &mut Report, table: &Range<usize>, typed: &file::Director) -> Option<Vec<String>> {
    const PATH: &str = "director.interfaces";
    let Some(list) = &typed.interfaces else {
        report.missing(table.clone(), PATH);
        return None;
    };
    if list.get_ref().is_empty() {
        if report.is_missing(table, PATH) {
            let help = "name the interfaces that frames come in on: interfaces = [\"eth0\"], or [\"auto\"]";
            report.error(list.span(), PATH, "no interface", help);
        }
        return None;
    }
    if list.get_ref().len() > MOST_INTERFACES {
        let message = format!("{} interfaces; at most {MOST_INTERFACES}", list.get_ref().len());
        report.error(list.span(), PATH, message, "run a second shunt for the others, with its own socket");
        return None;
    }
    let mut first: HashMap<&str, Range<usize>> = HashMap::new();
    for name in list.get_ref() {
        if let Some(fault) = name_fault(name.get_ref()) {
            let help = "`ip link` lists the names of this machine's interfaces";
            report.error(name.span(), PATH, format!("{} {fault}", quote(name.get_ref())), help);
        } else if let Some(before) = first.get(name.get_ref().as_str()) {
            let message =
                format!("{} is here twice; first on line {}", quote(name.get_ref()), report.line(before));
            report.error(name.span(), PATH, message, "name each interface once");
        } else {
            first.insert(name.get_ref(), name.span());
            report.locate(Place::Interface(name.get_ref().clone()), name.span());
        }
    }
    Some(list.get_ref().iter().map(|name| name.get_ref().clone()).collect())
}

/// Why the kernel would not take this name (`dev_valid_name` in net/core/dev.c), or an interface cannot have it.
pub(in crate::config) fn name_fault(name: &str) -> Option<String> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    match name {
        "" => Some("is not the name of an interface".to_owned()),
        "." | ".." => Some("is not the name of an interface".to_owned()),
        _ if name.len() > LONGEST_NAME => {
            Some(format!("has {} bytes; the name of an interface has at most {LONGEST_NAME}", name.len()))
        }
        _ => {
            name.chars().find(|&c| bad(c)).map(|c| format!("has a {c:?}; the name of an interface has none"))
        }
    }
}

fn cores(report: &mut Report, table: &Range<usize>, typed: &file::Director) -> Option<Vec<usize>> {
    const PATH: &str = "director.cores";
    let Some(list) = &typed.cores else {
        report.locate(Place::Cores, table.clone());
        return Some(Vec::new());
    };
    report.locate(Place::Cores, list.span());
    let mut seen: Vec<usize> = Vec::new();
    let mut good = true;
    for typed in list.get_ref() {
        match value::number(report, typed, PATH, 0..=LAST_CORE) {
            Some(core) => {
                if seen.contains(&core) {
                    let help = "give each worker a core of its own";
                    report.warning(
                        typed.span(),
                        PATH,
                        format!("core {core} runs more than one worker"),
                        help,
                    );
                }
                seen.push(core);
            }
            None => good = false,
        }
    }
    good.then_some(seen)
}

fn frames_per_queue(report: &mut Report, typed: &Spanned<i64>) -> Option<u32> {
    const PATH: &str = "director.frames_per_queue";
    let frames = value::number(report, typed, PATH, FRAMES)?;
    if !frames.is_power_of_two() {
        let help = format!(
            "give a power of two: {} or {}",
            frames.next_power_of_two() / 2,
            frames.next_power_of_two()
        );
        report.error(typed.span(), PATH, format!("{frames} is not a power of two"), help);
        return None;
    }
    Some(frames)
}

fn hash_key(report: &mut Report, typed: &Spanned<String>) -> Option<[u64; 2]> {
    let text = typed.get_ref();
    let half = |digits: Option<&str>| u64::from_str_radix(digits?, 16).ok();
    // from_str_radix takes a sign, which is no digit.
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = hex.then(|| Some([half(text.get(..16))?, half(text.get(16..))?])).flatten();
    if key.is_none() {
        let help = "`openssl rand -hex 16` makes one; give all directors of a cluster the same";
        let message = format!("{} is not 32 hexadecimal digits", quote(text));
        report.error(typed.span(), "director.hash_key", message, help);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_kernel_takes() {
        for good in ["eth0", "enp0s31f6", "veth-a.100", "br_lan", "123456789012345", "wlan-ü"] {
            assert_eq!(name_fault(good), None, "{good:?}");
        }
        for bad in ["", ".", "..", "eth0:1", "a/b", "a b", "a\u{7f}", "1234567890123456", "üüüüüüüü"]
        {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }
}

//! `[service.passive]`: when a real server that fails for its clients is taken out.

use std::time::Duration;

use toml::Spanned;

use super::report::Report;
use super::value;
use crate::config::defaults::PASSIVE;
use crate::config::file;
use crate::model::{Passive, Protocol};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(600);
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
const MOST_HANDSHAKES: u32 = 1_000_000;

/// The rule of a service; `None` after an error.
pub(super) fn resolve(
    report: &mut Report,
    table: &Spanned<file::Passive>,
    protocol: Option<Protocol>,
) -> Option<Passive> {
    let typed = table.get_ref();
    let unlike_tcp = protocol.filter(|protocol| *protocol != Protocol::Tcp);
    if let Some(protocol) = unlike_tcp {
        let message = format!("the service is {protocol}, which has no handshakes to count");
        let help = "take the table out; [service.check] is for every protocol";
        report.error(table.span(), "service.passive", message, help);
    }
    let failures = match &typed.failures {
        Some(share) => value::percent(report, share, "service.passive.failures"),
        None => Some(PASSIVE.failures),
    };
    let window = match &typed.window {
        Some(text) => value::duration(report, text, "service.passive.window", SHORTEST..=LONGEST_WINDOW),
        None => Some(PASSIVE.window),
    };
    let minimum = match &typed.minimum {
        Some(count) => value::number(report, count, "service.passive.minimum", 1..=MOST_HANDSHAKES),
        None => Some(PASSIVE.minimum),
    };
    let hold = match &typed.hold {
        Some(text) => value::duration(report, text, "service.passive.hold", SHORTEST..=LONGEST_HOLD),
        None => Some(PASSIVE.hold),
    };
    let rule = Passive { failures: failures?, window: window?, minimum: minimum?, hold: hold? };
    unlike_tcp.is_none().then_some(rule)
}

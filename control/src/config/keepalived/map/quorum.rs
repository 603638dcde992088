//! When a service has enough real servers, and who is told.

use super::super::report::Report;
use super::command;
use super::global::Globals;
use super::section::Section;
use super::value;
use crate::model::{Hooks, Quorum, Sorry};

/// The quorum of a virtual server whose real servers weigh `weights` together.
pub(super) fn quorum(
    report: &mut Report,
    section: &Section<'_>,
    globals: &Globals,
    weights: u32,
    sorry: Option<Sorry>,
) -> Quorum {
    let (needed, hysteresis) = numbers(report, section, weights);
    let mut hook = |name| section.last(name).and_then(|line| command::command(report, line));
    let (up, down) = (hook("quorum_up"), hook("quorum_down"));
    let alert = section
        .last("smtp_alert")
        .and_then(|line| value::switch(report, line))
        .unwrap_or(globals.service_alert);
    let mail = alert && globals.mails();
    Quorum { needed, hysteresis, hooks: Hooks { up, down, mail }, sorry }
}

/// keepalived lowers what could never be reached: validate_check_config().
fn numbers(report: &mut Report, section: &Section<'_>, weights: u32) -> (u32, u32) {
    let quorum = section
        .last("quorum")
        .and_then(|line| Some((line, value::number(report, line.word(0)?, line.path(), 1..=u32::MAX)?)));
    let reachable = weights.max(1);
    let needed = match quorum {
        Some((line, quorum)) if quorum > reachable => {
            let message =
                format!("quorum {quorum} is more than all real servers weigh: it is lowered to {reachable}");
            report.warning(line.at(), line.path(), message, "lower it, or give the real servers more weight");
            reachable
        }
        Some((_, quorum)) => quorum,
        None => 1,
    };
    let hysteresis = section
        .last("hysteresis")
        .and_then(|line| Some((line, value::number(report, line.word(0)?, line.path(), 0..=u32::MAX)?)));
    match hysteresis {
        Some((line, hysteresis)) if hysteresis >= needed => {
            let lowered = needed - 1;
            let message = format!(
                "hysteresis {hysteresis} is not less than the quorum, {needed}: it is lowered to {lowered}"
            );
            report.warning(line.at(), line.path(), message, "lower it, or raise the quorum");
            (needed, lowered)
        }
        Some((_, hysteresis)) => (needed, hysteresis),
        None => (needed, 0),
    }
}

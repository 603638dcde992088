//! `notify*` and `smtp_alert` of instances and groups.

use super::super::super::report::Report;
use super::super::command;
use super::super::section::Section;
use super::defaults::Defaults;
use super::number;
use crate::config::VrrpHook;
use crate::config::{Place, VrrpPart};
use crate::model::{Command, VrrpHooks};

/// Who is told. `part`: what a hook of it is called.
pub(super) fn read(
    report: &mut Report,
    section: &Section<'_>,
    name: &str,
    part: fn(VrrpHook) -> VrrpPart,
    defaults: &Defaults,
) -> VrrpHooks {
    let mut hook = |keyword, which| -> Option<Command> {
        let line = section.last(keyword)?;
        report.locate(Place::Vrrp { kind: part(which), name: name.to_owned() }, line.at());
        command::command(report, line)
    };
    VrrpHooks {
        active: hook("notify_master", VrrpHook::Active),
        backup: hook("notify_backup", VrrpHook::Backup),
        fault: hook("notify_fault", VrrpHook::Fault),
        stop: hook("notify_stop", VrrpHook::Stop),
        any: hook("notify", VrrpHook::Any),
        lower_heard: hook("notify_master_rx_lower_pri", VrrpHook::LowerHeard),
        priority_changes: number::switch(report, section.last("notify_priority_changes"))
            .unwrap_or(defaults.priority_changes),
        mail: number::switch(report, section.last("smtp_alert")).unwrap_or(defaults.mail) && defaults.mails,
    }
}

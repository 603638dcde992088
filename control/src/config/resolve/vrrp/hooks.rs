//! Who is told of a router or a group.

use super::super::command;
use super::super::report::Report;
use super::flag;
use crate::config::file::{self, Typed};
use crate::config::keys::join;
use crate::config::{Place, VrrpHook, VrrpPart};
use crate::model::{Command, VrrpHooks};

/// What is typed of it: routers and groups have the same keys.
pub(super) struct Typing<'a> {
    pub programs: [(&'static str, VrrpHook, &'a Typed<file::Command>); 6],
    pub priority_changes: &'a Typed<bool>,
    pub mail: &'a Typed<bool>,
}

/// The keys of a router or a group.
macro_rules! typing {
    ($typed:expr) => {
        crate::config::resolve::vrrp::hooks::Typing {
            programs: [
                ("notify_active", crate::config::VrrpHook::Active, &$typed.notify_active),
                ("notify_backup", crate::config::VrrpHook::Backup, &$typed.notify_backup),
                ("notify_fault", crate::config::VrrpHook::Fault, &$typed.notify_fault),
                ("notify_stop", crate::config::VrrpHook::Stop, &$typed.notify_stop),
                ("notify", crate::config::VrrpHook::Any, &$typed.notify),
                ("notify_lower_heard", crate::config::VrrpHook::LowerHeard, &$typed.notify_lower_heard),
            ],
            priority_changes: &$typed.priority_changes,
            mail: &$typed.mail,
        }
    };
}
pub(super) use typing;

/// Who is told. `table`: the path of the router or group; `part`: what a hook of it is called.
pub(super) fn resolve(
    report: &mut Report,
    typed: &Typing<'_>,
    table: &str,
    name: &str,
    part: fn(VrrpHook) -> VrrpPart,
    mails: bool,
) -> VrrpHooks {
    let [active, backup, fault, stop, any, lower_heard] =
        typed.programs.each_ref().map(|(key, which, typed)| -> Option<Command> {
            let typed = typed.as_ref()?;
            report.locate(Place::Vrrp { kind: part(*which), name: name.to_owned() }, typed.span());
            command::resolve(report, Some(typed), &join(table, key)).flatten()
        });
    if let Some(typed) = typed.mail.as_ref().filter(|typed| *typed.get_ref() && !mails) {
        let help = "add a [notify.mail] with a server and recipients";
        report.error(typed.span(), &join(table, "mail"), "there is no mail server", help);
    }
    VrrpHooks {
        active,
        backup,
        fault,
        stop,
        any,
        lower_heard,
        priority_changes: flag(typed.priority_changes, false),
        mail: flag(typed.mail, false),
    }
}

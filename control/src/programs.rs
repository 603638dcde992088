//! Where the programs of a configuration meet the machine: at the start and at each reload all are looked at, so that one
//! that would be refused is known before it is needed.
//!
//! *Invariants*
//! - a health check whose program is refused is an error: its real servers would be down for a reason that has nothing to
//!   do with them. So is a script that virtual routers track: they would be in Fault, or without its weight, for good.
//!   Whoever is only told is no reason not to forward: a warning;
//! - a program is complained of once, where it is named first, however many real servers have it.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::{Fault, Faults, Loaded, Place, Severity, VrrpHook, VrrpPart};
use crate::model::{Command, Hooks, Model, Probe, Scripts, User, VrrpHooks};
use crate::script::{self, Refused};

/// How long that may take. It takes longer only if the user database hangs, or a file system.
const LIMIT: Duration = Duration::from_secs(2);

/// Looks at all programs. What the operator should know, though it is no reason not to start, are warnings.
///
/// # Errors
/// Every program of a health check that is refused, with all warnings.
pub async fn examine(loaded: &Loaded) -> Result<Faults, Faults> {
    let uses = uses(&loaded.model);
    if uses.is_empty() {
        return Ok(Faults::default());
    }
    let rules = loaded.model.scripts.clone();
    let faults: Faults = match script::apart(LIMIT, move || findings(uses, &rules)).await {
        Ok(Ok(findings)) => findings.into_iter().map(|finding| finding.fault(loaded)).collect(),
        _ => {
            let message = format!("the programs could not be looked at within {LIMIT:?}");
            let help = "the user database of this machine (/etc/nsswitch.conf), or a file system on the way to \
                        them, does not answer; they are looked at again when they are to be run";
            loaded.locations.warning(&Place::Director, message, help).into()
        }
    };
    if faults.has_errors() { Err(faults) } else { Ok(faults) }
}

/// As [`examine`], for a configuration that is only checked: it may be meant for another machine, so that nothing is an
/// error.
pub async fn foresee(loaded: &Loaded) -> Faults {
    let foreseen = examine(loaded).await.unwrap_or_else(|faults| faults).into_iter();
    let warning = |mut fault: Fault| {
        if fault.severity == Severity::Error {
            fault.severity = Severity::Warning;
            fault.message += " (shunt run refuses that here)";
        }
        fault
    };
    foreseen.map(warning).collect()
}

/// Where the first program stands that a configuration names, if it names one.
pub fn first(model: &Model) -> Option<Place> {
    uses(model).into_iter().next().map(|found| found.place)
}

/// A program, where it is named first, and what it is for.
struct Use {
    command: Command,
    place: Place,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    Check,
    /// Virtual routers track it.
    Track,
    /// It is told of something, once or by a pipe.
    News,
}

/// Something to say about a program.
struct Finding {
    place: Place,
    purpose: Purpose,
    what: Result<String, Refused>,
}

/// All programs of a model, each once for each purpose.
fn uses(model: &Model) -> Vec<Use> {
    let (mut seen, mut uses) = (HashSet::new(), Vec::new());
    let mut add = |command: &Command, place: Place, purpose: Purpose| {
        let program: (Option<String>, Option<User>) = (command.argv.first().cloned(), command.user.clone());
        if seen.insert((program, purpose)) {
            uses.push(Use { command: command.clone(), place, purpose });
        }
    };
    for script in &model.vrrp.scripts {
        // keepalived leaves out what nobody tracks, and so do we.
        if model.vrrp.tracks(&script.name, |track| &track.scripts) {
            let name = script.name.clone();
            add(&script.command, Place::Vrrp { kind: VrrpPart::Script, name }, Purpose::Track);
        }
    }
    for router in &model.vrrp.routers {
        for (command, hook) in hooks_of(&router.hooks) {
            let (kind, name) = (VrrpPart::RouterHook(hook), router.name.clone());
            add(command, Place::Vrrp { kind, name }, Purpose::News);
        }
    }
    for group in &model.vrrp.groups {
        for (command, hook) in hooks_of(&group.hooks) {
            let (kind, name) = (VrrpPart::GroupHook(hook), group.name.clone());
            add(command, Place::Vrrp { kind, name }, Purpose::News);
        }
    }
    let pipes = model.notify.pipes.iter().chain(&model.notify.service_pipes).chain(&model.vrrp.pipes);
    for command in pipes.filter_map(|pipe| pipe.reader.as_ref()) {
        add(command, Place::Director, Purpose::News);
    }
    for service in &model.services {
        let commands = |hooks: &Hooks| [hooks.up.clone(), hooks.down.clone()].into_iter().flatten();
        for command in commands(&service.quorum.hooks) {
            add(&command, Place::Service(service.key), Purpose::News);
        }
        for real in &service.reals {
            for check in &real.checks {
                if let Probe::Script(script) = &check.probe {
                    add(&script.command, Place::Check(service.key), Purpose::Check);
                }
            }
            for command in commands(&real.hooks) {
                add(&command, Place::Real(service.key, real.address), Purpose::News);
            }
        }
    }
    uses
}

fn hooks_of(hooks: &VrrpHooks) -> impl Iterator<Item = (&Command, VrrpHook)> {
    let all = [
        (&hooks.active, VrrpHook::Active),
        (&hooks.backup, VrrpHook::Backup),
        (&hooks.fault, VrrpHook::Fault),
        (&hooks.stop, VrrpHook::Stop),
        (&hooks.any, VrrpHook::Any),
        (&hooks.lower_heard, VrrpHook::LowerHeard),
    ];
    all.into_iter().filter_map(|(command, hook)| Some((command.as_ref()?, hook)))
}

fn findings(uses: Vec<Use>, rules: &Scripts) -> Vec<Finding> {
    let find = |Use { command, place, purpose }| {
        let what = match script::prepare(&command, rules) {
            Ok(program) => Ok(program.warning()?.to_owned()),
            Err(refused) => Err(refused),
        };
        Some(Finding { place, purpose, what })
    };
    uses.into_iter().filter_map(find).collect()
}

impl Finding {
    fn fault(self, loaded: &Loaded) -> crate::config::Fault {
        let Finding { place, purpose, what } = self;
        match (what, purpose) {
            (Err(refused), Purpose::Check) => {
                let help = "correct that, or take the check out: it would never succeed";
                loaded.locations.error(&place, refused.to_string(), help)
            }
            (Err(refused), Purpose::Track) => {
                let help = "correct that, or track it no more: it would never succeed";
                loaded.locations.error(&place, refused.to_string(), help)
            }
            (Err(refused), Purpose::News) => {
                let help = "it will not be run as long as that is so";
                loaded.locations.warning(&place, refused.to_string(), help)
            }
            (Ok(warning), _) => {
                let help = "make all of its path root's alone, or name another user: script_user";
                loaded.locations.warning(&place, warning, help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(check: &str, hook: &str) -> Loaded {
        let real = |n| {
            format!(
                "real_server 192.0.2.{n} 80 {{\nnotify_up \"{hook} {n}\"\nMISC_CHECK {{\nmisc_path \"{check} {n}\"\n}}\n}}\n"
            )
        };
        let text = format!(
            "global_defs {{\nscript_user root\nenable_script_security\n}}\nvirtual_server 192.0.2.10 80 {{\n\
             lb_algo rr\nlb_kind DR\nprotocol TCP\nquorum_up \"{hook} q\"\n{}{}}}\n",
            real(21),
            real(22)
        );
        crate::config::parse("k.conf", &text).unwrap()
    }

    #[tokio::test]
    async fn what_can_be_run_is_not_spoken_of() {
        assert_eq!(examine(&loaded("/bin/true", "/bin/true")).await, Ok(Faults::default()));
    }

    #[tokio::test]
    async fn a_check_that_is_refused_is_an_error_once() {
        let faults = examine(&loaded("/nowhere/check", "/bin/true")).await.unwrap_err();
        assert_eq!(faults.summary(), "1 error");
        let said = faults.to_string();
        assert!(said.contains("script /nowhere/check refused: /nowhere does not exist"), "{said}");
        assert!(said.starts_with("k.conf:"), "{said}");
    }

    #[tokio::test]
    async fn a_hook_that_is_refused_is_a_warning_once() {
        let faults = examine(&loaded("/bin/true", "/nowhere/hook")).await.unwrap();
        assert_eq!(faults.summary(), "1 warning");
        assert!(faults.to_string().contains("service.vip: script /nowhere/hook refused"), "{faults}");
        let faults = examine(&loaded("/nowhere/both", "/nowhere/both")).await.unwrap_err();
        assert_eq!(faults.summary(), "1 error, 1 warning");
    }

    #[tokio::test]
    async fn a_program_that_others_can_change_is_warned_of_where_nothing_forbids_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("check");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let mut loaded = loaded(path.to_str().unwrap(), "/bin/true");
        assert_eq!(examine(&loaded).await.unwrap_err().summary(), "1 error");
        loaded.model.scripts.security = false;
        let faults = examine(&loaded).await.unwrap();
        assert_eq!(faults.summary(), "1 warning");
        assert!(faults.to_string().contains("writable by everybody (mode 0777)"), "{faults}");
    }

    fn command(program: &str) -> Command {
        Command { argv: vec![program.to_owned()], user: None, timeout: None }
    }

    /// With a script that is tracked, one that is not, and a hook.
    fn with_vrrp(tracked: &str, hook: &str) -> Loaded {
        use crate::model::{Effect, SyncGroup, TrackScript, Tracked, Tracking};
        let mut loaded = loaded("/bin/true", "/bin/true");
        let script = |name: &str, program| TrackScript {
            name: name.to_owned(),
            command: command(program),
            interval: Duration::from_secs(1),
            effect: Effect::Fault,
            rise: 1,
            fall: 1,
            init_fail: false,
        };
        let chk = Tracked { name: "chk".to_owned(), effect: Effect::Fault };
        let group = SyncGroup {
            name: "VG".to_owned(),
            members: Vec::new(),
            track: Tracking { scripts: vec![chk], ..Tracking::default() },
            tracking_weight: false,
            hooks: VrrpHooks { stop: Some(command(hook)), ..VrrpHooks::default() },
        };
        loaded.model.vrrp.scripts = vec![script("chk", tracked), script("unused", "/nowhere/unused")];
        loaded.model.vrrp.groups = vec![group];
        loaded
    }

    #[tokio::test]
    async fn a_script_that_is_tracked_and_refused_is_an_error() {
        assert_eq!(examine(&with_vrrp("/bin/true", "/bin/true")).await, Ok(Faults::default()));
        let faults = examine(&with_vrrp("/usr/sbin/no-such-pidof", "/bin/true")).await.unwrap_err();
        assert_eq!(faults.summary(), "1 error");
        let said = faults.to_string();
        assert!(said.contains("script /usr/sbin/no-such-pidof refused: "), "{said}");
        assert!(said.contains("does not exist") && said.contains("vrrp.script"), "{said}");
    }

    #[tokio::test]
    async fn a_hook_of_virtual_routers_that_is_refused_is_a_warning() {
        let faults = examine(&with_vrrp("/bin/true", "/nowhere/hook")).await.unwrap();
        assert_eq!(faults.summary(), "1 warning");
        assert!(
            faults.to_string().contains("vrrp.group.notify_stop: script /nowhere/hook refused"),
            "{faults}"
        );
    }
}

//! What has happened between two looks, in words: nobody sees a word change in a table.

use super::sample::{Sample, Standing};

/// What changed from `before` to `now`.
pub fn events(before: &Sample, now: &Sample) -> Vec<String> {
    let mut events = Vec::new();
    if now.generation < before.generation {
        events.push("the director was started again: it counts from 0".into());
    }
    for real in &now.reals {
        let name = format!("{} of {}", real.real.as_deref().unwrap_or_default(), real.service);
        let old = before.reals.iter().find(|old| old.service == real.service && old.real == real.real);
        match old {
            Some(old) => events.extend(change(&name, &old.state, &real.state, &real.reason)),
            None => events.push(format!("{name} is new: {}", because(&real.state, &real.reason))),
        }
    }
    for old in &before.reals {
        if !now.reals.iter().any(|real| real.service == old.service && real.real == old.real) {
            events.push(format!("{} of {} is gone", old.real.as_deref().unwrap_or_default(), old.service));
        }
    }
    for router in &now.routers {
        let Some(old) = find(&before.routers, &router.name) else { continue };
        events.extend(change(&router.name, &old.state, &router.state, &router.reason));
        if old.rival.is_empty() && !router.rival.is_empty() {
            events.push(format!("{}: TWO ARE ACTIVE: {} too", router.name, router.rival));
        }
    }
    for check in &now.checks {
        let Some(old) = find(&before.checks, &check.name) else { continue };
        // Why a check failed before is no reason for its success.
        let reason = if check.state == "up" { "" } else { &check.reason };
        events.extend(change(&format!("check {}", check.name), &old.state, &check.state, reason));
    }
    events
}

fn find<'a>(all: &'a [Standing], name: &str) -> Option<&'a Standing> {
    all.iter().find(|one| one.name == name)
}

fn change(name: &str, old: &str, new: &str, reason: &str) -> Option<String> {
    (old != new).then(|| format!("{name}: {old} -> {}", because(new, reason)))
}

fn because(state: &str, reason: &str) -> String {
    if reason.is_empty() { state.to_owned() } else { format!("{state}: {reason}") }
}

//! A plan for people: the first line says what matters to somebody who was woken for it.

use super::settings::NOT_SHOWN;
use super::{Change, Fates, Plan, RealPlan, ServicePlan, Setting};
use crate::config::counted;

/// The plan as text.
pub fn render(plan: &Plan) -> String {
    let mut text = format!("{}\n", plan.verdict);
    text += &format!("{}, against generation {} in force\n", plan.file.display(), plan.generation);
    for why in &plan.restart {
        text += &format!("! {why}\n");
    }
    for change in &plan.overridden {
        text += &format!("! overridden: {change}\n");
    }
    for warning in &plan.warnings {
        text += &format!("{warning}\n");
    }
    text += &settings("", &plan.settings);
    for planned in &plan.services {
        text += &service(planned, plan.flows.is_some());
    }
    if !plan.vrrp.settings.is_empty() {
        text += &format!("\nVRRP: {}\n", plan.vrrp.effect);
        text += &plan.vrrp.routers.iter().map(|said| format!("    {said}\n")).collect::<String>();
        text += &settings("    ", &plan.vrrp.settings);
    }
    text
}

/// The first line.
pub(super) fn verdict(plan: &Plan) -> String {
    if !plan.restart.is_empty() {
        return "CANNOT BE APPLIED: it needs a restart of shunt".to_owned();
    }
    let Fates { kept, moved, reset, refused, .. } = plan.flows.unwrap_or_default().open;
    let affected = moved + reset + refused;
    let vrrp = format!("VRRP: {}", plan.vrrp.effect);
    if affected > 0 {
        let verb = if affected == moved { "MOVES" } else { "BREAKS" };
        let all = counted((kept + affected) as usize, "flow");
        let each = format!("{kept} kept, {moved} moved, {reset} reset, {refused} refused");
        return format!("{verb} {affected} of {all}: {each}. {vrrp}");
    }
    if plan.is_empty() {
        return format!("NO CHANGE: this is what is in force. {vrrp}");
    }
    let flows = match kept {
        0 => "there is no flow to lose".to_owned(),
        1 => "the only flow is kept".to_owned(),
        kept => format!("all {kept} flows are kept"),
    };
    format!("{}: {flows}. {vrrp}", if plan.vrrp.may_move { "MAY MOVE ADDRESSES" } else { "SAFE" })
}

fn service(planned: &ServicePlan, is_judged: bool) -> String {
    let mut text = format!("\n{} {}\n", mark(planned.change), planned.service);
    text += &settings("    ", &planned.settings);
    text += &planned.reals.iter().map(real).collect::<String>();
    if !is_judged {
        return text;
    }
    if let Some(share) = planned.hash {
        text += &match share.at_once_percent == share.settled_percent {
            true => format!("    hash: {:.1} % of it moves\n", share.at_once_percent),
            false => format!(
                "    hash: {:.1} % of it moves at once, {:.1} % once nobody is waited for\n",
                share.at_once_percent, share.settled_percent
            ),
        };
    } else if planned.by_turn && planned.change != Change::Removed {
        text += "    hash: none, the scheduler goes by turn or load: new flows only are concerned\n";
    }
    if planned.change != Change::Added {
        text += &format!("    flows: {}\n", fates(&planned.flows.open));
    }
    let closing = &planned.flows.closing;
    if closing.affected() > 0 {
        text += &format!("    of flows that are over but for a last word: {}\n", fates(closing));
    }
    text
}

fn fates(fates: &Fates) -> String {
    let Fates { kept, moved, reset, refused, lost_already } = fates;
    let already = match lost_already {
        0 => String::new(),
        lost => format!("; {lost} had lost their real server already"),
    };
    format!("{kept} kept, {moved} moved, {reset} reset, {refused} refused{already}")
}

fn real(real: &RealPlan) -> String {
    let said: Vec<String> = match real.change {
        Change::Added => real.settings.iter().map(set).collect(),
        _ => real.settings.iter().map(changed).collect(),
    };
    let mut text = format!("    {} {}", mark(real.change), real.address);
    if !said.is_empty() {
        text += &format!(" ({})", said.join(", "));
    }
    if let Some(why) = &real.waits_for {
        text += &format!(": takes no flows at first: {why}");
    }
    text + "\n"
}

fn settings(indent: &str, settings: &[Setting]) -> String {
    settings.iter().map(|setting| format!("{indent}{}\n", changed(setting))).collect()
}

fn changed(Setting { setting, from, to }: &Setting) -> String {
    if from.as_deref() == Some(NOT_SHOWN) && from == to {
        return format!("{setting}: changed, and not shown");
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    format!("{setting}: {} -> {}", value(from), value(to))
}

fn set(Setting { setting, to, .. }: &Setting) -> String {
    format!("{setting} {}", to.as_deref().unwrap_or("not set"))
}

fn mark(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
        Change::Unchanged => '=',
    }
}

//! What contradicts itself in an instance, and which of the two counts: as `vrrp_complete_instance()` decides it, with a
//! warning for each.

use super::super::super::report::Report;
use super::super::section::Section;
use crate::model::{Effect, Peers, Tracked, Tracking, VirtualRouter};

/// Priority of who owns the addresses.
pub(super) const OWNER: u8 = 255;

/// Settles them.
pub(super) fn settle(report: &mut Report, section: &Section<'_>, router: &mut VirtualRouter) {
    if router.checks.strict {
        strictly(report, section, router);
    }
    let mut cleared = |name: &str, why: &str, help: &str| {
        // `preempt` asks for what is so anyway.
        if let Some(line) = section.last(name).filter(|line| line.key.name == name) {
            report.warning(line.at(), line.path(), format!("{name} {why}"), help);
        }
    };
    if router.begins_active {
        let why = "does not work with state MASTER and is cleared: this node will preempt";
        let help = "write `state BACKUP` on all directors";
        cleared("nopreempt", why, help);
        cleared("preempt_delay", why, help);
        router.preempt = true;
        router.preempt_delay = std::time::Duration::ZERO;
    } else if router.priority == OWNER && !router.preempt {
        let why = "does not work with priority 255 and is cleared: who owns the addresses always takes them";
        cleared("nopreempt", why, "give a priority below 255");
        router.preempt = true;
    }
    if !router.preempt && !router.preempt_delay.is_zero() {
        let why = "does nothing beside nopreempt, and is cleared";
        cleared("preempt_delay", why, "take one of the two out");
        router.preempt_delay = std::time::Duration::ZERO;
    }
}

/// Weights have no meaning for whoever owns the addresses; in a group without `sync_group_tracking_weight` members have
/// one priority all the time. keepalived drops what has a weight then, but an interface in a group, whose loss is a fault.
pub(super) fn weightless(
    report: &mut Report,
    section: &Section<'_>,
    track: &mut Tracking,
    why: &str,
    in_group: bool,
) {
    let lists: [(&str, &mut Vec<Tracked>, bool); 4] = [
        ("track_interface", &mut track.interfaces, in_group),
        ("track_script", &mut track.scripts, false),
        ("track_process", &mut track.processes, false),
        ("track_file", &mut track.files, false),
    ];
    for (list, tracked, faults) in lists {
        let Some(line) = section.last(list) else { continue };
        for one in tracked.iter_mut().filter(|one| one.effect != Effect::Fault) {
            // keepalived: the weight of a file is 1 unless said, and then not meant.
            let becomes_fault = faults
                || (list == "track_file" && one.effect == Effect::Weight { weight: 1, reverse: false });
            let what = if becomes_fault { "its failure is a fault" } else { "it is not tracked" };
            let message = format!("'{}' has a weight, and {why}: {what}", one.name);
            report.warning(line.at(), line.path(), message, "give it `weight 0`, or take it out");
            if becomes_fault {
                one.effect = Effect::Fault;
            }
        }
        tracked.retain(|one| one.effect == Effect::Fault);
    }
}

/// `vrrp_strict`: what the RFCs do not know is refused or reset.
fn strictly(report: &mut Report, section: &Section<'_>, router: &mut VirtualRouter) {
    let mut reset = |name: &str, what: &str| {
        if let Some(line) = section.last(name) {
            let message = format!("{name} does not go with strict mode: {what}");
            report.warning(line.at(), line.path(), message, "take it out, or leave strict mode");
        }
    };
    if matches!(router.peers, Peers::Unicast { .. })
        && let Some(line) = section.last("unicast_peer").or(section.last("unicast_fault_no_peer"))
    {
        let message =
            format!("{} does not go with strict mode: the RFCs know multicast alone", line.key.name);
        report.error(line.at(), line.path(), message, "take it out, or leave strict mode");
        return;
    }
    if router.begins_active != (router.priority == OWNER) {
        reset("state", "it is MASTER for priority 255, and BACKUP for all others");
        router.begins_active = router.priority == OWNER;
    }
    if router.password.take().is_some() {
        reset("authentication", "none is sent, and none is expected");
    }
    if !router.preempt_delay.is_zero() {
        reset("preempt_delay", "it is 0");
        router.preempt_delay = std::time::Duration::ZERO;
    }
    if router.down_timer_adverts != 3 {
        reset("down_timer_adverts", "it is 3");
        router.down_timer_adverts = 3;
    }
    if router.announce.lower_repeat != 0 {
        reset("garp_lower_prio_repeat", "it is 0");
    }
    if !router.announce.lower_delay.is_zero() {
        reset("garp_lower_prio_delay", "it is 0");
    }
    router.announce.lower_repeat = 0;
    router.announce.lower_delay = std::time::Duration::ZERO;
    if !router.lower_prio_no_advert {
        reset("lower_prio_no_advert", "it is on");
    }
    router.lower_prio_no_advert = true;
    if router.higher_prio_send_advert {
        reset("higher_prio_send_advert", "it is off");
    }
    router.higher_prio_send_advert = false;
}

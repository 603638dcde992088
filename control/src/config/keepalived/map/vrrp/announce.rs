//! Gratuitous ARP and neighbour advertisements of an instance.

use super::super::super::report::Report;
use super::super::section::Section;
use super::defaults::Defaults;
use super::number;
use crate::model::Announce;

/// More announcements of an address in a row are a slip.
pub(super) const MOST_REPEAT: u32 = 10_000;

/// What the instance says, and where it does not, its interface and then all instances.
pub(super) fn read(
    report: &mut Report,
    section: &Section<'_>,
    interface: Option<&str>,
    defaults: &Defaults,
) -> Announce {
    let line = |name| section.last(name);
    let all = &defaults.announce;
    let [arp, na] = interface.and_then(|name| defaults.gaps.get(name)).copied().unwrap_or_default();
    Announce {
        repeat: number::repeat(report, line("garp_master_repeat"), MOST_REPEAT).unwrap_or(all.repeat),
        delay: number::seconds(report, line("garp_master_delay")).unwrap_or(all.delay),
        refresh: number::seconds(report, line("garp_master_refresh")).unwrap_or(all.refresh),
        refresh_repeat: number::repeat(report, line("garp_master_refresh_repeat"), MOST_REPEAT)
            .unwrap_or(all.refresh_repeat),
        lower_repeat: number::whole(report, line("garp_lower_prio_repeat"), 0..=MOST_REPEAT)
            .unwrap_or(all.lower_repeat),
        lower_delay: number::seconds(report, line("garp_lower_prio_delay")).unwrap_or(all.lower_delay),
        arp_gap: arp.unwrap_or(all.arp_gap),
        na_gap: na.unwrap_or(all.na_gap),
        form: all.form,
    }
}

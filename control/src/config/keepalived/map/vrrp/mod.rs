//! VRRP: instances, the groups that they fail in, and what they watch.
//!
//! keepalived says what it cannot use and goes on without it; here a slip that would leave two directors active at once, or
//! none, is an error, and what keepalived resets is reset with a warning that says what happens then.
//!
//! keepalived: `vrrp_parser.c`, `vrrp_data.c`, and `vrrp_complete_instance()` in `vrrp.c`.

mod address;
mod announce;
mod defaults;
mod group;
mod hooks;
mod instance;
mod number;
mod peers;
mod strict;
mod sync;
mod things;
mod track;

use super::super::report::{At, Report};
use super::super::tree::Word;
use super::file::Files;
use super::global::{Defs, Globals};
use super::section::Section;
use super::value::named;
use crate::config::{Place, VrrpPart};
use crate::model::Vrrp;
use defaults::Defaults;
pub(super) use instance::Instance;
use things::Things;
pub(super) use things::tracked_files;

/// What the file says of VRRP, and the interfaces that its instances are on.
pub(super) fn read(
    report: &mut Report,
    root: &Section<'_>,
    globals: &Globals,
    files: &Files,
) -> (Vrrp, Vec<Instance>) {
    let defs = Defs { root };
    let defaults = Defaults::read(report, root, globals);
    let things = Things::read(report, root, files);
    let blocks = ["vrrp_instance", "vrrp_sync_group", "vrrp_script", "vrrp_track_process", "track_file"];
    for line in blocks.iter().flat_map(|block| root.all(block)) {
        if let Some(word) = line.word(0) {
            is_name(report, word, line.path());
        }
    }
    let mut instances: Vec<Instance> = root
        .all("vrrp_instance")
        .map(|line| instance::read(report, line, globals.interface.as_deref(), &defaults, &things))
        .collect();
    instance::are_apart(report, &instances);
    instance::name_vmacs(report, &mut instances, defaults.vmac_prefix.as_deref());
    let groups = group::all(report, root, &mut instances, &defaults, &things);
    let sync = sync::read(report, root, &defs);
    let routers = instances.iter().filter_map(|instance| instance.router.clone()).collect();
    let Things { scripts, processes, files, .. } = things;
    let Defaults { startup_delay, log_unknown_vrids, .. } = defaults;
    let pipes = globals.vrrp_pipes.clone();
    let vrrp =
        Vrrp { routers, groups, scripts, files, processes, startup_delay, log_unknown_vrids, pipes, sync };
    (vrrp, instances)
}

/// A name that can be told in a log and in a command: not empty, and on one line.
fn is_name(report: &mut Report, word: &Word, path: &str) {
    if word.text.trim().is_empty() || word.text.contains(char::is_control) {
        report.error(&word.at, path, format!("{} is no name", named(&word.text)), "give it one, on one line");
    }
}

/// Remembers where a thing of VRRP was typed.
fn locate(report: &mut Report, kind: VrrpPart, name: &str, at: &At) {
    report.locate(Place::Vrrp { kind, name: name.to_owned() }, at);
}

//! `lvs_sync_daemon`: directors tell each other of flows.

use std::path::PathBuf;

use super::super::super::report::Report;
use super::super::global::Defs;
use super::super::section::{Line, Section};
use super::super::value::{self, named};
use crate::config::shape::closest;
use crate::config::{VrrpPart, defaults};
use crate::model::FlowSync;

/// `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDRESS]`, or the keyword of an
/// instance that came before it.
pub(super) fn read(report: &mut Report, root: &Section<'_>, defs: &Defs<'_, '_>) -> Option<FlowSync> {
    let of_instances =
        root.all("vrrp_instance").filter_map(|line| line.section.last("lvs_sync_daemon_interface"));
    let line = defs.last("lvs_sync_daemon").or(of_instances.last())?;
    let (interface, options) = line.words().split_first()?;
    super::locate(report, VrrpPart::Sync, "", line.at());
    let mut sync = FlowSync {
        interface: value::interface(report, interface, line.path())?,
        peers: vec![defaults::SYNC_GROUP],
        port: defaults::SYNC_PORT,
        key_file: PathBuf::from(defaults::SYNC_KEY_FILE),
        rate: defaults::SYNC_RATE,
        wait: defaults::SYNC_WAIT,
    };
    let mut place = 0;
    while let Some(option) = options.get(place) {
        let takes_value = ["inst", "id", "maxlen", "port", "ttl", "group"].contains(&option.text.as_str());
        let value = options.get(place + 1);
        if takes_value && value.is_none() {
            let message = format!("there is nothing after {}", named(&option.text));
            report.error(&option.at, line.path(), message, "give its value, or take it out");
        }
        match (option.text.as_str(), value) {
            ("inst", Some(name)) => is_there(report, root, line, name),
            ("id" | "maxlen" | "ttl", Some(number)) => {
                value::number(report, number, line.path(), 0..=u16::MAX);
            }
            ("port", Some(port)) => {
                sync.port = value::number(report, port, line.path(), 1..=u16::MAX).unwrap_or(sync.port);
            }
            ("group", Some(word)) => {
                let group = value::any_address(report, word, line.path()).unwrap_or(defaults::SYNC_GROUP);
                if !group.is_multicast() {
                    let message = format!("{group} is no multicast group");
                    report.error(
                        &word.at,
                        line.path(),
                        message,
                        format!("give one, as {}", defaults::SYNC_GROUP),
                    );
                }
                sync.peers = vec![group];
            }
            (_, None) if takes_value => {}
            // The form of old: the instance, then the number that `id` gives.
            _ if place == 0 => is_there(report, root, line, option),
            _ if place == 1 && option.text.parse::<u8>().is_ok() => {}
            (text, _) => {
                let message = format!("{} is no option of lvs_sync_daemon", named(text));
                report.error(
                    &option.at,
                    line.path(),
                    message,
                    "write it like this: lvs_sync_daemon eth0 VI_1",
                );
            }
        }
        place += 1 + usize::from(takes_value);
    }
    Some(sync)
}

fn is_there(
    report: &mut Report,
    root: &Section<'_>,
    line: &Line<'_>,
    word: &super::super::super::tree::Word,
) {
    let names = || root.all("vrrp_instance").filter_map(|line| Some(line.word(0)?.text.as_str()));
    if names().any(|name| name == word.text) {
        return;
    }
    let help = match closest(&word.text, names()) {
        Some(close) => format!("did you mean {}?", named(close)),
        None => "name one of the file, or none".to_owned(),
    };
    report.error(&word.at, line.path(), format!("there is no vrrp_instance {}", named(&word.text)), help);
}

//! Which settings differ, in the words of the native format: both sides are written as such a configuration, and what was
//! written is compared. So no setting can be forgotten here, and each has the name that the operator knows.
//!
//! *Invariants*: each service, and each real server, is written alone, so that what a default follows from (how many
//! services there are, which checks all real servers share) makes no difference; secrets are not shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::{self, defaults};
use crate::model::{Model, Notify, RealServer, Scripts, VirtualService, Vrrp};

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name: `weight`, `timeouts.established`.
    pub setting: String,
    /// What it is; none: it is not set, and means what leaving it out means.
    pub from: Option<String>,
    /// What it would be.
    pub to: Option<String>,
}

/// What a setting says that is left out, where that is worth a word.
const LEFT_OUT: &[(&str, &str)] = &[
    ("on_failure", "reset"),
    ("no_real", "unreachable"),
    ("strict", "false"),
    ("one_packet", "false"),
    ("table_share", "100%"),
    ("vip_check", "false"),
    ("quorum", "1"),
    ("hysteresis", "0"),
    ("inhibit_on_failure", "false"),
    ("upper", "0"),
    ("lower", "0"),
    ("timeouts.syn", "60s"),
    ("timeouts.established", "900s"),
    ("timeouts.fin", "120s"),
    ("timeouts.closed", "10s"),
    ("timeouts.udp", "300s"),
    ("timeouts.sctp", "900s"),
];

/// What is said instead of a secret. That it differs is told; what it is, and anything that it could be guessed by, is not.
pub(super) const NOT_SHOWN: &str = "(not shown)";

/// What a configuration says, by the name of the setting.
type Said = BTreeMap<String, Says>;

#[derive(Clone, PartialEq, Eq)]
enum Says {
    Openly(String),
    Secretly(String),
}

/// Settings of the director, its programs and whom it tells.
pub(super) fn of_director(before: &Model, after: &Model) -> Vec<Setting> {
    let said = |model: &Model| {
        let model = Model { services: Vec::new(), vrrp: Vrrp::default(), ..model.clone() };
        flat(&written(&model))
    };
    differences(&said(before), &said(after))
}

/// Settings of virtual routers, of what they track, and of directors telling each other of flows.
pub(super) fn of_vrrp(before: &Vrrp, after: &Vrrp, director: &Model) -> Vec<Setting> {
    let said = |vrrp: &Vrrp| {
        let mut table = written(&Model { vrrp: vrrp.clone(), ..bare(director) });
        table.remove("director");
        flat(&table)
    };
    differences(&said(before), &said(after))
}

/// Settings of a service, but for its real servers.
pub(super) fn of_service(before: &VirtualService, after: &VirtualService, director: &Model) -> Vec<Setting> {
    let said = |service: &VirtualService| {
        let mut table =
            first(&written(&Model { services: vec![shell(service)], ..bare(director) }), "service");
        table.retain(|key, _| !matches!(key, "vip" | "port" | "protocol"));
        flat(&table)
    };
    differences(&said(before), &said(after))
}

/// A service but for its real servers: there may be thousands, to be looked at one by one.
pub(super) fn shell(service: &VirtualService) -> VirtualService {
    VirtualService { reals: Vec::new(), ..service.clone() }
}

/// Settings of a real server, its checks included, in a service without any. `before`: none of one that is added.
pub(super) fn of_real(
    shell: &VirtualService,
    before: Option<&RealServer>,
    after: &RealServer,
    director: &Model,
) -> Vec<Setting> {
    let said = |real: &RealServer| {
        let alone = VirtualService { reals: vec![real.clone()], ..shell.clone() };
        let of_service = first(&written(&Model { services: vec![alone], ..bare(director) }), "service");
        let mut table = first(&of_service, "real");
        table.remove("address");
        // What all real servers of a service have is written once: here that is this one alone.
        for key in ["check", "inhibit_on_failure"] {
            table.extend(of_service.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        flat(&table)
    };
    differences(&before.map(said).unwrap_or_default(), &said(after))
}

/// A model without anything that a default would follow from.
fn bare(model: &Model) -> Model {
    let mut director = model.director.clone();
    director.timeouts = defaults::TIMEOUTS;
    Model {
        director,
        services: Vec::new(),
        scripts: Scripts::default(),
        notify: Notify::default(),
        vrrp: Vrrp::default(),
    }
}

fn written(model: &Model) -> Table {
    config::to_toml(model).parse().unwrap_or_else(|_| unreachable!("what is written can be read again"))
}

/// The first table of an array of tables.
fn first(table: &Table, key: &str) -> Table {
    let found = table.get(key).and_then(Value::as_array).and_then(|array| array.first());
    found.and_then(Value::as_table).cloned().unwrap_or_default()
}

/// A table without depth: `check.interval`, `router VI_1.priority`.
fn flat(table: &Table) -> Said {
    let mut said = Said::new();
    flatten("", table, &mut said);
    said
}

fn flatten(path: &str, table: &Table, said: &mut Said) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => flatten(&path, inner, said),
            Value::Array(array) if !array.is_empty() && array.iter().all(Value::is_table) => {
                for (n, inner) in array.iter().filter_map(Value::as_table).enumerate() {
                    let path = match (inner.get("name").and_then(Value::as_str), n) {
                        // The name of a DNS check is what it asks for.
                        (Some(name), _) if !matches!(key.as_str(), "check" | "request") => {
                            format!("{path} {name}")
                        }
                        (_, 0) => path.clone(),
                        (_, n) => format!("{path} {}", n + 1),
                    };
                    flatten(&path, inner, said);
                }
            }
            Value::String(text) if is_secret(key) => {
                said.insert(path, Says::Secretly(text.clone()));
            }
            Value::String(text) => {
                said.insert(path, Says::Openly(text.clone()));
            }
            other => {
                said.insert(path, Says::Openly(other.to_string()));
            }
        }
    }
}

fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "hash_key")
}

fn differences(before: &Said, after: &Said) -> Vec<Setting> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |said: &Said, name: &str| {
        let left_out = || LEFT_OUT.iter().find(|(key, _)| *key == name).map(|(_, says)| (*says).to_owned());
        match said.get(name) {
            Some(Says::Openly(says)) => Some(says.clone()),
            Some(Says::Secretly(_)) => Some(NOT_SHOWN.to_owned()),
            None => left_out(),
        }
    };
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let setting =
        |name: &String| Setting { setting: name.clone(), from: of(before, name), to: of(after, name) };
    differing.map(setting).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::tests::generate::model;
    use crate::plan::Plan;
    use crate::vrrp::view::View;

    fn is_empty(before: &Model, after: &Model) -> bool {
        Plan::compare(before, after, &View::default()).is_empty()
    }

    /// `model` with one thing after the other as it is in `other`.
    fn changed(model: &Model, other: &Model) -> Vec<Model> {
        let mut all = Vec::new();
        macro_rules! take {
            ($of:ident, $from:ident, $($field:ident).+) => {{
                let mut next = model.clone();
                if let (Some($of), Some($from)) = (next.services.first_mut(), other.services.first()) {
                    $of.$($field).+ = $from.$($field).+.clone();
                    all.push(next);
                }
            }};
        }
        take!(a, b, scheduler);
        take!(a, b, persistence);
        take!(a, b, one_packet);
        take!(a, b, on_failure);
        take!(a, b, no_real);
        take!(a, b, strict);
        take!(a, b, keep_ttl);
        take!(a, b, table_share);
        take!(a, b, slow_start);
        take!(a, b, timeouts.established);
        take!(a, b, vip_check);
        take!(a, b, quorum);
        take!(a, b, omega);
        take!(a, b, group);
        take!(a, b, passive);
        take!(a, b, reals);
        let mut of_reals = |take: &dyn Fn(&mut RealServer, &RealServer)| {
            let mut next = model.clone();
            let real = next.services.first_mut().and_then(|service| service.reals.first_mut());
            let from = other.services.first().and_then(|service| service.reals.first());
            if let (Some(real), Some(from)) = (real, from) {
                take(real, from);
                all.push(next);
            }
        };
        of_reals(&|a, b| a.weight = b.weight);
        of_reals(&|a, b| a.thresholds = b.thresholds);
        of_reals(&|a, b| a.checks.clone_from(&b.checks));
        of_reals(&|a, b| a.inhibit = b.inhibit);
        of_reals(&|a, b| a.vlan = b.vlan);
        of_reals(&|a, b| a.mac = b.mac);
        of_reals(&|a, b| a.mtu = b.mtu);
        of_reals(&|a, b| a.hooks.clone_from(&b.hooks));
        let with = |change: &dyn Fn(&mut Model)| {
            let mut next = model.clone();
            change(&mut next);
            next
        };
        all.push(with(&|next| next.director.clone_from(&other.director)));
        all.push(with(&|next| next.scripts.clone_from(&other.scripts)));
        all.push(with(&|next| next.notify.clone_from(&other.notify)));
        all.push(with(&|next| next.vrrp.sync.clone_from(&other.vrrp.sync)));
        all.push(with(&|next| next.vrrp.routers.clone_from(&other.vrrp.routers)));
        all.push(with(&|next| next.vrrp.scripts.clone_from(&other.vrrp.scripts)));
        all.push(with(&|next| next.vrrp.files.clone_from(&other.vrrp.files)));
        all.push(with(&|next| next.vrrp.processes.clone_from(&other.vrrp.processes)));
        all
    }

    #[test]
    fn settings_have_the_names_and_values_of_a_configuration() {
        let text = include_str!("../../../configs/reference.toml");
        let parse = |text: &str| config::parse("a.toml", text).unwrap().model;
        let (before, after) =
            (parse(text), parse(&text.replace("established = \"900s\"", "established = \"2h\"")));
        let all = of_service(&before.services[0], &after.services[0], &after);
        let setting = Setting {
            setting: "timeouts.established".into(),
            from: Some("900s".into()),
            to: Some("2h".into()),
        };
        assert_eq!(all, [setting]);
    }

    #[test]
    fn a_password_is_not_shown() {
        let text = "[[vrrp.router]]\nname = \"a\"\ninterface = \"eth0\"\nvrid = 1\nversion = 2\npassword = \"PASS\"\n\
                    addresses = [\"192.0.2.10\"]\n";
        let text = format!("{}\n{text}", include_str!("../../../configs/minimal.toml"));
        let parse = |text: &str| config::parse("a.toml", text).unwrap().model;
        let (before, after) = (parse(&text), parse(&text.replace("PASS", "WORD")));
        let all = of_vrrp(&before.vrrp, &after.vrrp, &after);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].setting, "vrrp.router a.password");
        let not_shown = Some(NOT_SHOWN.to_owned());
        assert_eq!((&all[0].from, &all[0].to), (&not_shown, &not_shown));
        let keyed =
            |key: &str| parse(&text.replace("[director]", &format!("[director]\nhash_key = \"{key}\"")));
        let [one, other] =
            ["00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeef0"].map(keyed);
        let all = of_director(&one, &other);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].setting.as_str(), &all[0].to), ("director.hash_key", &not_shown));
    }

    #[test]
    fn no_difference_is_overlooked_and_none_is_made_up() {
        let hold = |before: &Model, after: &Model| {
            prop_assert!(is_empty(before, &before.clone()));
            for next in changed(before, after) {
                prop_assert_eq!(is_empty(before, &next), next == *before, "{:#?}\n{:#?}", before, next);
            }
            Ok::<(), TestCaseError>(())
        };
        // Two models are made of more than the stack of a test has room for.
        let roomy = std::thread::Builder::new().stack_size(32 << 20);
        let thread = roomy.spawn(move || {
            proptest!(ProptestConfig::with_cases(24), |(before in model(), after in model())| {
                hold(&before, &after)?;
            });
        });
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

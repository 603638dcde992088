//! Properties of changes, over random models, and what a refusal says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::tests::generate;
use crate::config::{parse, to_toml};
use crate::model::{Model, ServiceKey};

const TWO: &str = r#"
[director]
interfaces = ["eth0"]
[[service]]
vip = "192.0.2.10"
port = 80
protocol = "tcp"
quorum = 4
[service.check]
type = "tcp"
[[service.real]]
address = "192.0.2.21"
weight = 3
[[service.real]]
address = "192.0.2.22"
weight = 1
[[service]]
vip = "192.0.2.10"
port = "8000-8009"
protocol = "udp"
[[service.real]]
address = "192.0.2.21"
weight = 5
"#;
const WEB: &str = "192.0.2.10:80/tcp";
const RANGE: &str = "192.0.2.10:8000-8009/udp";

fn two() -> Model {
    parse("a", TWO).unwrap().model
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn weight(real: &str, weight: u16) -> Edit {
    Edit::Weight { real: ip(real), service: None, weight }
}

fn weights(model: &Model, real: &str) -> Vec<u16> {
    let reals = model.services.iter().flat_map(|service| &service.reals);
    reals.filter(|found| found.address == ip(real)).map(|real| real.weight).collect()
}

fn refused(edit: Edit) -> EditError {
    apply(&two(), &edit).expect_err("it cannot be made")
}

#[test]
fn a_drained_real_server_gets_the_weights_back_that_it_had_or_got_meanwhile_in_the_file() {
    let drained = Changes::none(two()).with(&[Edit::Drain { real: ip("192.0.2.21") }]).unwrap();
    assert_eq!(weights(&drained.model(), "192.0.2.21"), [0, 0]);
    assert_eq!(drained.model().services[0].quorum.needed, 1, "more could not be had");
    assert_eq!(drained.words().len(), 2);
    let back = drained.with(&[Edit::Undrain { real: ip("192.0.2.21") }]).unwrap();
    assert_eq!(back.model(), two());
    assert_eq!(back.words(), [] as [&str; 0]);
    let filed = parse("a", &TWO.replace("weight = 5", "weight = 9")).unwrap().model;
    let (reloaded, overridden) = drained.over(filed);
    assert_eq!((weights(&reloaded.model(), "192.0.2.21"), overridden.len()), (vec![0, 0], 0));
    let back = reloaded.with(&[Edit::Undrain { real: ip("192.0.2.21") }]).unwrap();
    assert_eq!(weights(&back.model(), "192.0.2.21"), [3, 9]);
    assert_eq!(back.with(&[Edit::Undrain { real: ip("192.0.2.21") }]).unwrap_err().kind, Kind::NotDrained);
}

#[test]
fn a_weight_ends_the_drain_where_it_is_given() {
    let drained = Changes::none(two()).with(&[Edit::Drain { real: ip("192.0.2.21") }]).unwrap();
    let here = Edit::Weight { real: ip("192.0.2.21"), service: Some(WEB.to_owned()), weight: 7 };
    let changed = drained.with(&[here]).unwrap();
    assert_eq!(weights(&changed.model(), "192.0.2.21"), [7, 0]);
    let changed = changed.with(&[weight("192.0.2.21", 8)]).unwrap();
    assert_eq!(weights(&changed.model(), "192.0.2.21"), [8, 8]);
}

#[test]
fn a_change_that_is_undone_is_none_and_one_of_several_that_is_refused_undoes_all() {
    let none = Changes::none(two());
    let add =
        Edit::AddReal { service: WEB.to_owned(), real: ip("192.0.2.23"), change: RealChange::default() };
    let remove = Edit::RemoveReal { service: WEB.to_owned(), real: ip("192.0.2.23") };
    let changed = none.with(&[weight("192.0.2.22", 9), add.clone()]).unwrap();
    assert_eq!(changed.words().len(), 2, "{:?}", changed.words());
    let added = changed.model().services[0].reals[2].clone();
    assert_eq!((added.weight, added.checks.len()), (1, 1), "it is checked as its fellows are");
    let undone = changed.with(&[remove.clone(), weight("192.0.2.22", 1)]).unwrap();
    assert_eq!((undone.model(), undone.words().len()), (two(), 0));
    assert_eq!(none.with(&[add, remove.clone(), remove]).unwrap_err().kind, Kind::NoReal);
}

#[test]
fn a_reload_keeps_what_fits_and_says_what_does_not() {
    let service = "192.0.2.11:53/udp".to_owned();
    let changes = Changes::none(two()).with(&[
        weight("192.0.2.22", 9),
        Edit::AddService { service: service.clone(), change: ServiceChange::default() },
        Edit::AddReal { service: service.clone(), real: ip("192.0.2.22"), change: RealChange::default() },
        Edit::RemoveService { service: RANGE.to_owned() },
        Edit::Timeouts { tcp: 100, tcp_fin: 0, udp: 50 },
    ]);
    let changes = changes.unwrap();
    // What is in force, written to the file, is no change any more.
    let written = parse("a", &to_toml(&changes.model())).unwrap().model;
    let (over, overridden) = changes.over(written);
    assert_eq!((over.model(), over.words(), overridden), (changes.model(), vec![], vec![]));
    // Without 192.0.2.22, nothing can be changed about it.
    let text = TWO.replace("192.0.2.22", "192.0.2.24");
    let (over, overridden) = changes.over(parse("a", &text).unwrap().model);
    assert_eq!(overridden.len(), 1, "{overridden:?}");
    assert!(overridden[0].contains("change 192.0.2.22 of 192.0.2.10:80/tcp"), "{overridden:?}");
    let model = over.model();
    assert_eq!(model.services.len(), 2);
    assert_eq!(model.services[1].key.to_string(), service);
    assert_eq!(model.services[1].timeouts.udp.as_secs(), 50);
    assert_eq!(model.services[1].timeouts.established.as_secs(), 100);
    assert_eq!(model.services[1].timeouts.fin, two().services[0].timeouts.fin);
}

#[test]
fn a_refusal_says_what_there_is_and_what_was_meant() {
    let error = refused(Edit::RemoveService { service: "192.0.2.10:81/tcp".to_owned() });
    assert_eq!((error.kind, error.help.as_str()), (Kind::NoService, "did you mean 192.0.2.10:80/tcp?"));
    let error = refused(Edit::RemoveService { service: "198.51.100.1:4444/sctp".to_owned() });
    assert!(error.help.contains(WEB) && error.help.contains(RANGE), "{error}");
    let error = refused(weight("192.0.2.29", 1));
    assert_eq!((error.kind, error.help.as_str()), (Kind::NoReal, "did you mean 192.0.2.21?"));
    let service = |scheduler: &str, flags: &[&str]| Edit::ChangeService {
        service: WEB.to_owned(),
        change: ServiceChange {
            scheduler: Some(scheduler.to_owned()),
            flags: Some(flags.iter().map(|&flag| flag.to_owned()).collect()),
            ..ServiceChange::default()
        },
    };
    let error = refused(service("maglv", &[]));
    assert_eq!((error.kind, error.help.as_str()), (Kind::NoScheduler, "did you mean maglev?"));
    assert!(refused(service("sh", &["mh-port"])).message.contains("no flag of the scheduler sh"));
    let add =
        |service: &str| Edit::AddService { service: service.to_owned(), change: ServiceChange::default() };
    assert_eq!(refused(add(WEB)).kind, Kind::ServiceExists);
    assert!(refused(add("192.0.2.10:8009-8010/udp")).message.contains("overlaps"));
    assert!(refused(add("192.0.2.21:80/tcp")).message.contains("is a real server of"));
    let real = |real: &str, change| Edit::AddReal { service: WEB.to_owned(), real: ip(real), change };
    assert_eq!(refused(real("192.0.2.21", RealChange::default())).kind, Kind::RealExists);
    assert!(refused(real("192.0.2.10", RealChange::default())).message.contains("also a VIP"));
    assert!(refused(real("2001:db8::1", RealChange::default())).message.contains("families"));
    let upside_down = RealChange { upper: Some(1), lower: Some(2), ..RealChange::default() };
    assert!(refused(real("192.0.2.23", upside_down)).message.contains("lower threshold"));
}

/// A change of something that is there, as often as not.
fn edit() -> impl Strategy<Value = Choice> {
    let scheduler = prop::sample::select(vec!["rr", "wlc", "maglev", "sh", "mh", "none-such"]);
    let service = (
        prop::option::of(scheduler),
        prop::option::of(prop_oneof![Just(0u32), 1..=3_000_000u32]),
        prop::option::of(0..=130u8),
        prop::option::of(any::<bool>()),
        prop::option::of(vec(prop::sample::select(vec!["sh-port", "mh-fallback"]), 0..2)),
    );
    let service = service.prop_map(|(scheduler, persistence, prefix, one_packet, flags)| ServiceChange {
        scheduler: scheduler.map(str::to_owned),
        persistence,
        prefix,
        one_packet,
        flags: flags.map(|flags| flags.into_iter().map(str::to_owned).collect()),
    });
    let threshold = || prop::option::of(0..4u32);
    let real = (prop::option::of(0..5u16), threshold(), threshold())
        .prop_map(|(weight, upper, lower)| RealChange { weight, upper, lower });
    (0..12usize, 0..8usize, 0..8usize, service, real)
        .prop_map(|(what, service, real, change, of_real)| Choice { what, service, real, change, of_real })
}

/// A change that is made once it is known what there is.
#[derive(Debug, Clone)]
struct Choice {
    what: usize,
    service: usize,
    real: usize,
    change: ServiceChange,
    of_real: RealChange,
}

impl Choice {
    fn of(&self, model: &Model) -> Edit {
        let fresh = ["198.51.100.9:80/tcp", "198.51.100.9:70-90/udp", "[2001:db8:9::9]:any/udp"];
        let known = model.services.get(self.service);
        let name = || known.map_or(fresh[self.service % 3].to_owned(), |service| service.key.to_string());
        let reals = known.map(|service| &service.reals[..]).unwrap_or_default();
        let real = reals.get(self.real).map_or(IpAddr::from([198, 51, 100, self.real as u8]), |r| r.address);
        let weight = self.of_real.weight.unwrap_or(2);
        match self.what {
            0 => Edit::AddService { service: fresh[self.real % 3].to_owned(), change: self.change.clone() },
            1 => Edit::ChangeService { service: name(), change: self.change.clone() },
            2 => Edit::RemoveService { service: name() },
            3 | 4 => Edit::AddReal { service: name(), real, change: self.of_real.clone() },
            5 => Edit::ChangeReal { service: name(), real, change: self.of_real.clone() },
            6 => Edit::RemoveReal { service: name(), real },
            7 => Edit::Weight { real, service: None, weight },
            8 => Edit::Weight { real, service: Some(name()), weight },
            9 => Edit::Drain { real },
            10 => Edit::Undrain { real },
            _ if self.real == 0 => Edit::Clear,
            _ => Edit::Timeouts { tcp: weight.into(), tcp_fin: 0, udp: self.service as u32 },
        }
    }
}

/// What weights there are: all that this test knows of a director.
type Weights = BTreeMap<(ServiceKey, IpAddr), u16>;

fn all_weights(model: &Model) -> Weights {
    let of = |service: &crate::model::VirtualService| {
        let key = service.key;
        service.reals.iter().map(move |real| ((key, real.address), real.weight)).collect::<Vec<_>>()
    };
    model.services.iter().flat_map(of).collect()
}

/// What a change means, in the fewest words.
fn follow(edit: &Edit, weights: &mut Weights, drained: &mut Weights) {
    let is = |name: &str, key: ServiceKey| service_key(name) == Ok(key);
    match edit {
        Edit::RemoveService { service } => weights.retain(|(key, _), _| !is(service, *key)),
        Edit::RemoveReal { service, real } => weights.retain(|(key, r), _| !(is(service, *key) && r == real)),
        Edit::Clear => weights.clear(),
        Edit::AddReal { service, real, change } => {
            weights.insert((service_key(service).unwrap(), *real), change.weight.unwrap_or(1));
        }
        Edit::ChangeReal { service, real, change: RealChange { weight: Some(weight), .. } } => {
            drained.remove(&(service_key(service).unwrap(), *real));
            weights.insert((service_key(service).unwrap(), *real), *weight);
        }
        Edit::Weight { real, service, weight } => {
            for ((key, r), old) in weights.iter_mut() {
                if r == real && service.as_ref().is_none_or(|service| is(service, *key)) {
                    drained.remove(&(*key, *r));
                    *old = *weight;
                }
            }
        }
        Edit::Drain { real } => {
            for (place, weight) in weights.iter_mut().filter(|((_, r), _)| r == real) {
                drained.entry(*place).or_insert(*weight);
                *weight = 0;
            }
        }
        Edit::Undrain { real } => {
            for (place, weight) in weights.iter_mut().filter(|((_, r), _)| r == real) {
                *weight = drained.remove(place).unwrap_or(*weight);
            }
        }
        _ => {}
    }
    drained.retain(|place, _| weights.contains_key(place));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_changed_is_a_model_that_a_file_can_say(model in generate::model(), choices in vec(edit(), 1..20)) {
        let mut changes = Changes::none(model.clone());
        let (mut weights, mut drained) = (all_weights(&model), Weights::new());
        for choice in choices {
            let edit = choice.of(&changes.model());
            let Ok(changed) = changes.with(std::slice::from_ref(&edit)) else { continue };
            if !matches!(edit, Edit::Undrain { .. }) {
                apply(&changes.model(), &edit).unwrap();
            }
            changes = changed;
            let model = changes.model();
            follow(&edit, &mut weights, &mut drained);
            prop_assert_eq!(&all_weights(&model), &weights, "{}", edit);
            let text = to_toml(&model);
            let loaded = parse("a", &text).map_err(|faults| TestCaseError::fail(format!("{edit}\n{faults}\n{text}")))?;
            prop_assert_eq!(loaded.model, model);
        }
        // The same again after a reload of the same file ...
        let (over, overridden) = changes.over(model.clone());
        prop_assert_eq!(overridden, Vec::<String>::new());
        prop_assert_eq!(normal(over.model()), normal(changes.model()));
        // ... and nothing is left of it where the file says it.
        let (written, overridden) = changes.over(changes.model());
        prop_assert_eq!(overridden, Vec::<String>::new());
        prop_assert_eq!(normal(written.model()), normal(changes.model()));
    }
}

/// But for the order of things, and the shares that follow from their number.
fn normal(mut model: Model) -> Model {
    model.services.sort_by_key(|service| service.key);
    for service in &mut model.services {
        service.reals.sort_by_key(|real| real.address);
        service.table_share = 1;
    }
    model
}

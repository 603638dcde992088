//! Properties of the whole path, over random input. What each fault looks like is in `control/tests/config/`.

pub(crate) mod generate;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::MOST_FAULTS;
use super::*;
use crate::model::Timeouts;
use generate::model;

const DEMO: &str = include_str!("../../../configs/demo.toml");
const MINIMAL: &str = include_str!("../../../configs/minimal.toml");
const REFERENCE: &str = include_str!("../../../configs/reference.toml");

#[test]
fn the_reference_file_says_what_leaving_everything_out_means() {
    // Its last service shows what has no default.
    let (defaults, _) = REFERENCE.rsplit_once("\n[[service]]").unwrap();
    let mut reference = parse("reference.toml", defaults).unwrap();
    assert!(reference.model.director.metrics.take().is_some(), "shown, though left out it is nowhere");
    assert!(reference.model.director.socket_group.take().is_some(), "shown, though left out it is nobody's");
    assert_eq!(parse("reference.toml", REFERENCE).unwrap().model.services.len(), 2);
    // The tables of the checks are optional, so empty ones are what their defaults are compared to.
    let tables = "[service.check]\ntype = \"tcp\"\n[service.passive]\n[[service.real]]";
    let minimal = parse("minimal.toml", &MINIMAL.replace("[[service.real]]", tables)).unwrap();
    assert_eq!(reference.model, minimal.model);
    assert!(reference.warnings.is_empty());
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let check = "[service.check]\ntype = \"tcp\"\ninterval = \"500ms\"\n[[service.real]]";
    let loaded = parse("minimal.toml", &MINIMAL.replace("[[service.real]]", check)).unwrap();
    assert_eq!(loaded.model.services[0].reals[0].checks[0].timing.timeout, Duration::from_millis(500));
}

#[test]
fn a_file_cut_anywhere_is_a_configuration_or_faults_with_a_place() {
    for end in (0..DEMO.len()).filter(|&end| DEMO.is_char_boundary(end)) {
        let cut = &DEMO[..end];
        if let Err(faults) = parse("demo.toml", cut) {
            assert!(faults.has_errors(), "{cut}");
            assert!(faults.iter().all(|fault| fault.line <= cut.lines().count() + 1), "{faults}");
            assert!(faults.iter().all(|fault| fault.help.is_some()), "{faults}");
        }
    }
}

#[test]
fn the_keys_and_the_types_are_the_same() {
    fn fields<'de, T: Deserialize<'de>>() -> Vec<String> {
        let table = DeTable::parse("'' = 0").unwrap();
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let error =
            T::deserialize(ValueDeserializer::from(value)).err().expect("no struct has an empty field");
        // serde's words: unknown field ``, expected one of `a`, `b`
        let (_, expected) = error.message().split_once("expected").unwrap();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
    let names = |table: &str| keys::children(table).map(|key| key.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(""), fields::<file::File>());
    assert_eq!(names("director"), fields::<file::Director>());
    assert_eq!(names("service"), fields::<file::Service>());
    assert_eq!(names("service.check"), fields::<file::Check>());
    assert_eq!(names("director.timeouts"), fields::<file::Timeouts>());
    assert_eq!(names("service.timeouts"), fields::<file::Timeouts>());
    assert_eq!(names("service.passive"), fields::<file::Passive>());
    assert_eq!(names("service.check.request"), fields::<file::Request>());
    assert_eq!(names("service.sorry"), fields::<file::Sorry>());
    assert_eq!(names("service.real"), fields::<file::Real>());
    assert_eq!(names("scripts"), fields::<file::Scripts>());
    assert_eq!(names("notify"), fields::<file::Notify>());
    assert_eq!(names("notify.pipe"), fields::<file::Pipe>());
    assert_eq!(names("notify.mail"), fields::<file::Mail>());
    assert_eq!(names("command"), fields::<file::Command>());
    assert_eq!(names("vrrp"), fields::<file::Vrrp>());
    assert_eq!(names("notify.service_pipe"), fields::<file::Pipe>());
    assert_eq!(names("vrrp.pipe"), fields::<file::Pipe>());
    assert_eq!(names("vrrp.router"), fields::<file::Router>());
    assert_eq!(names("vrrp.router.announce"), fields::<file::Announce>());
    assert_eq!(names("vrrp.router.track"), fields::<file::Track>());
    assert_eq!(names("vrrp.group"), fields::<file::Group>());
    assert_eq!(names("vrrp.script"), fields::<file::Script>());
    assert_eq!(names("vrrp.file"), fields::<file::TrackFile>());
    assert_eq!(names("vrrp.process"), fields::<file::Process>());
    assert_eq!(names("address"), fields::<file::Address>());
    assert_eq!(names("peer"), fields::<file::Peer>());
    assert_eq!(names("tracked"), fields::<file::Tracked>());
    assert_eq!(names("sync"), fields::<file::Sync>());
}

#[test]
fn a_fault_found_later_points_at_what_was_typed() {
    let loaded = parse("demo.toml", DEMO).unwrap();
    let key = loaded.model.services[0].key;
    let real = Place::Real(key, loaded.model.services[0].reals[1].address);
    let line = |text: &str| DEMO.lines().position(|line| line.contains(text)).unwrap() + 1;
    for (place, text) in [
        (Place::Director, "[director]"),
        (Place::Interface("eth0".to_owned()), "eth0"),
        (Place::Cores, "[director]"),
        (Place::Service(key), "vip = "),
        (Place::Check(key), "[service.check]"),
        (real.clone(), "192.0.2.22"),
    ] {
        assert_eq!(loaded.locations.error(&place, "m", "h").line, line(text), "{place:?}");
    }
    let fault = loaded.locations.error(&real, "is off-link", "h");
    assert!(
        fault
            .to_string()
            .contains("error: service.real.address: is off-link\n  | address = \"192.0.2.22\"\n")
    );
    assert_eq!(loaded.locations.warning(&real, "m", "h").severity, Severity::Warning);
    assert_eq!(loaded.locations.describe(&real), Some(format!("demo.toml:{}", line("192.0.2.22"))));
    let elsewhere = loaded.locations.error(&Place::Interface("eth9".to_owned()), "no such interface", "h");
    assert_eq!(
        elsewhere.to_string(),
        "demo.toml:1:1: error: director.interfaces: no such interface\n  help: h"
    );
}

#[test]
fn endless_faults_are_cut_short_and_found_in_time() {
    let told = |text: &str| parse("a", text).unwrap_err();
    let unknown = "[[service]]\nvip = 1\nprot = 2\n".repeat(20_000);
    let syntax = "= 1\n".repeat(20_000);
    let values = "[[service]]\nvip = ''\nport = 0\nprotocol = ''\n".repeat(20_000);
    let one_line = format!("[director]\ninterfaces = ['eth0']\ncores = [{}]", "9999, ".repeat(200_000));
    for text in [unknown, syntax, values, one_line] {
        let faults = told(&text);
        assert!((MOST_FAULTS..=2 * MOST_FAULTS + 2).contains(&faults.len()), "{}", faults.len());
        assert!(faults.iter().next().unwrap().message.starts_with("has more than 1000 errors"));
    }
}

#[test]
fn warnings_do_not_hide_an_error() {
    let quiet =
        (1..=2000).map(|port| format!("[[service]]\nvip = '192.0.2.10'\nport = {port}\nprotocol = 'tcp'\n"));
    let text = format!("[director]\ninterfaces = ['eth0']\n{}", quiet.collect::<String>());
    assert_eq!(parse("a", &text).unwrap().warnings.len(), MOST_FAULTS);
    let faults = parse("a", &(text + "[[service]]\nvip = ''\nport = 80\nprotocol = 'tcp'\n")).unwrap_err();
    assert!(faults.has_errors());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..512)) {
        let _ = Source::from_bytes("a", bytes).and_then(|source| load_source(source, &Options::default()));
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"([\[\]{}="',.#a-c\n\r\t !\u{fc}]|\[\[service|service|director|real|check){0,60}"#) {
        if let Err(faults) = parse("a", &text) {
            prop_assert!(faults.has_errors());
        }
    }

    /// Splices of valid files get far into resolve.
    #[test]
    fn no_shuffled_lines_make_it_panic(lines in vec(0..REFERENCE.lines().count(), 0..60), broken in vec(any::<bool>(), 60)) {
        let all: Vec<&str> = REFERENCE.lines().collect();
        let text: String = lines
            .iter()
            .zip(broken)
            .map(|(&line, broken)| if broken { all[line].replace(['"', '1'], "") } else { all[line].to_owned() } + "\n")
            .collect();
        if let Err(faults) = parse("a", &text) {
            prop_assert!(faults.has_errors());
        }
    }

    #[test]
    fn what_shape_lets_through_serde_can_read(text in tree()) {
        let source = Source::from_bytes("a", text.clone().into_bytes());
        if let Ok(source) = source {
            let reading = file::read(&source);
            prop_assert!(reading.faults.iter().all(|fault| fault.key != "file"), "{}\n{:?}", text, reading.faults);
        }
    }

    #[test]
    fn a_model_written_and_read_again_is_the_same(model in model()) {
        let text = to_toml(&model);
        let loaded = parse("a", &text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?;
        prop_assert_eq!(loaded.model, model);
    }
}

/// TOML with known and unknown keys and values of every kind.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-1",
        "0x7fffffffffffffff",
        "0xffffffffffffffff",
        "9223372036854775808",
        "1.5",
        "inf",
        "true",
        "1979-05-27",
        "07:32:00",
        "\"\"",
        "\"tcp\"",
        "\"any\"",
        "\"192.0.2.1\"",
        "[]",
        "{}",
    ]);
    let name = prop::sample::select(vec![
        "director",
        "interfaces",
        "cores",
        "service",
        "vip",
        "port",
        "check",
        "type",
        "rise",
        "real",
        "address",
        "weight",
        "scheduler_flags",
        "one_packet",
        "persistence_prefix",
        "timeouts",
        "syn",
        "passive",
        "vlan",
        "request",
        "status",
        "command",
        "notify_up",
        "run",
        "sorry",
        "vip_check",
        "router",
        "addresses",
        "peers",
        "track",
        "scripts",
        "group",
        "x",
        "\"\"",
        "\"\\u0000\"",
    ]);
    let value = leaf.prop_map(str::to_owned).prop_recursive(5, 60, 6, move |inner| {
        let entry = (name.clone(), inner.clone());
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            vec(entry, 0..6).prop_map(|entries| {
                let mut seen = std::collections::HashSet::new();
                let entries: Vec<String> = entries
                    .into_iter()
                    .filter(|(name, _)| seen.insert(*name))
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    });
    (value.clone(), value.clone(), value).prop_map(|(director, service, vrrp)| {
        format!("director = {director}\nservice = [{service}]\nvrrp = {vrrp}\n")
    })
}

#[test]
fn a_service_has_the_timeouts_of_the_director_but_for_its_own() {
    let text = MINIMAL.replace("[[service]]", "[director.timeouts]\nsyn = \"5s\"\nudp = \"6s\"\n[[service]]");
    let text = text.replace("[[service.real]]", "[service.timeouts]\nudp = \"7s\"\n[[service.real]]");
    let model = parse("minimal.toml", &text).unwrap().model;
    let seconds = |seconds| Duration::from_secs(seconds);
    let timeouts = Timeouts { syn: seconds(5), udp: seconds(7), ..defaults::TIMEOUTS };
    assert_eq!(model.services[0].timeouts, timeouts);
    assert_eq!(model.director.timeouts, Timeouts { udp: seconds(6), ..timeouts });
}

#[test]
fn only_a_sole_service_may_fill_the_flow_table() {
    let share = |text: &str| parse("a", text).unwrap().model.services[0].table_share;
    assert_eq!(share(MINIMAL), 1000);
    let second = format!("{MINIMAL}\n[[service]]\nvip = \"192.0.2.11\"\nport = 80\nprotocol = \"tcp\"\n");
    assert_eq!(share(&second), 500);
}

#[test]
fn narrower_ports_of_a_vip_go_before_wider_ones_and_protocols_are_apart() {
    let service = |port: &str, protocol: &str| {
        format!("[[service]]\nvip = \"2001:db8::10\"\nport = {port}\nprotocol = \"{protocol}\"\n")
    };
    let text = |ports: &[(&str, &str)]| {
        let services: String = ports.iter().map(|(port, protocol)| service(port, protocol)).collect();
        format!("[director]\ninterfaces = [\"eth0\"]\n{services}")
    };
    let any = [
        ("80", "tcp"),
        ("\"80-90\"", "tcp"),
        ("\"any\"", "tcp"),
        ("\"91-99\"", "tcp"),
        ("\"85-95\"", "sctp"),
    ];
    assert!(parse("a", &text(&any)).is_ok());
    for (one, other) in [("80-90", "90-99"), ("90-99", "80-90"), ("80-90", "82-84"), ("82-84", "80-90")] {
        let (one, other) = (format!("\"{one}\""), format!("\"{other}\""));
        let faults =
            parse("a", &text(&[("\"1-2\"", "tcp"), (&one, "tcp"), ("\"500-501\"", "tcp"), (&other, "tcp")]));
        let faults = faults.unwrap_err();
        let errors: Vec<&Fault> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{faults}");
        assert!(errors[0].message.ends_with("of the same VIP on line 9"), "{faults}");
    }
}

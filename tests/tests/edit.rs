//! A running director is changed from the command line and over its socket, while clients are served.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shunt_tests::address::VIP;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::requests::Requests;
use shunt_tests::tally::list;
use shunt_tests::{Director, Lab, Service, Session, Tally, WebServer, director, expect, shown, wait};

const SOON: Duration = Duration::from_secs(30);
const WEB: &str = "192.0.2.10:80/tcp";

/// Asks for changes as a program does.
fn edit(director: &Director, edits: Value) -> Value {
    let mut stream = UnixStream::connect(director.socket()).expect("it listens");
    let request = json!({ "version": 1, "command": "edit", "edits": edits });
    stream.write_all(format!("{request}\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    serde_json::from_str(&answer).expect("an answer is JSON")
}

/// `shunt show config` without the comments on top.
fn in_force(director: &Director) -> String {
    let text = director.ask(&["show", "config"]).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// The servers that answer a hundred new connections.
fn answering(lab: &Lab) -> Vec<String> {
    expect::answered(&lab.client(0).get_many(VIP, 100)).unwrap().into_keys().collect()
}

#[test]
fn weights_and_drains_lose_no_connection_and_a_drain_ends_when_the_last_flow_does() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service = Service::tcp(80).checked(QUICK_CHECK).table("[service.timeouts]\nfin = \"1s\"").all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let (begin, client) = (Instant::now(), lab.client(0));
    let mut requests = Requests::start(client, (VIP, 80).into(), 200);
    let mut session = Session::open(client, (VIP, 80).into());
    let name = session.ask();
    let held = lab.real_servers().position(|server| server.role() == name).expect("one of them");
    let (real, other) = (lab.real_server(held).address(), lab.real_server(1 - held).role().to_owned());
    let address = real.to_string();
    let marked = || shown::real(&director, real)["changed"].clone();
    assert_eq!(marked(), Value::Null);

    for weight in ["0", "7", "65535", "1"] {
        let said = director.ask(&["weight", &address, weight]).unwrap();
        assert!(said.contains(&format!("weight {weight} for {address}: generation ")), "{said}");
        assert_eq!(shown::real(&director, real)["weight"].to_string(), weight);
        assert_eq!(session.ask(), name);
    }
    assert_eq!(marked(), Value::Null, "the weight is that of the file again");
    director.ask(&["weight", &address, "3", "--service", WEB]).unwrap();
    assert_eq!(marked(), "weight 3");

    let said = director.ask(&["drain", &address]).unwrap();
    assert!(said.contains("flows left") || said.contains("flow left"), "{said}");
    assert!(said.contains("are forgotten within "), "{said}");
    assert_eq!(marked(), "weight 3; drained, weight 3 before");
    shown::until_state(&director, real, "draining");
    assert_eq!(answering(&lab), [other], "no new flow for the one that drains");
    assert_eq!(session.ask(), name, "the old flow goes on");
    let late = director.ask(&["drain", &address, "--wait", "--timeout", "1s"]).expect_err("a flow is left");
    assert!(late.contains("exit status: 1") && late.contains("has not drained within 1 s"), "{late}");

    // The last one ends: FIN, and a second later it is forgotten.
    let mut command = director::command(director.host(), director.socket());
    command.args(["drain", &address, "--wait", "--timeout", "30s"]).stdout(Stdio::piped());
    let waiting = command.spawn().unwrap();
    assert_eq!(session.ask(), name);
    drop(session);
    let output = waiting.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.ends_with("no flows left\n"), "{text}");

    director.ask(&["undrain", &address]).unwrap();
    shown::until_state(&director, real, "up");
    assert_eq!(shown::real(&director, real)["weight"], 3);
    assert_eq!(answering(&lab).len(), 2, "it takes flows again");
    let twice = director.ask(&["undrain", &address]).expect_err("it does not drain");
    assert!(twice.contains("was not drained") && twice.contains("help: "), "{twice}");

    requests.stop();
    let seen = requests.seen(begin, Instant::now());
    assert!(seen.made > 100 && seen.failed.is_empty(), "{seen:?}");
    Tally::settled(&director).check();
}

#[test]
fn a_director_that_started_empty_is_filled_and_what_it_has_can_be_written_down() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let mut director = Director::start(&lab, 0, &config::file(&lab, &[]));
    let [first, second] = [0, 1].map(|n| lab.real_server(n).address());
    let answer = edit(
        &director,
        json!([
            { "edit": "add-service", "service": WEB, "change": { "scheduler": "wrr" } },
            { "edit": "add-real", "service": WEB, "real": first, "change": { "weight": 2 } },
            { "edit": "add-real", "service": WEB, "real": second, "change": {} },
        ]),
    );
    assert_eq!(answer["ok"], true, "{answer}");
    [first, second].iter().for_each(|real| shown::until_state(&director, *real, "up"));
    assert_eq!(answering(&lab).len(), 2);
    let view = director.show("services");
    assert_eq!(view["services"][0]["changed"], "added");
    assert_eq!(list(&view["changes"]).len(), 3, "{view:#}");

    // A reload of the file that says nothing of it leaves it all.
    let before = in_force(&director);
    let line = director.reload(&config::file(&lab, &[])).unwrap();
    assert!(line.contains("with 3 changes made while running"), "{line}");
    assert_eq!(in_force(&director), before);
    assert_eq!(answering(&lab).len(), 2);

    // What is written down is a configuration, and nothing is changed any more where it is the file.
    director.ask(&["drain", &second.to_string()]).unwrap();
    let text = director.ask(&["show", "config"]).unwrap();
    assert!(text.contains(&format!("#   drain {second} of {WEB} (its weight is 1)\n")), "{text}");
    let path = lab.file("written.toml");
    std::fs::write(&path, &text).unwrap();
    let checked = director.ask(&["check", &path.to_string_lossy()]).unwrap();
    assert!(checked.contains("valid: 1 service, 2 real servers"), "{checked}");
    let before = in_force(&director);
    director.ask(&["undrain", &second.to_string()]).unwrap();
    assert_ne!(in_force(&director), before);
    director.ask(&["weight", &second.to_string(), "0"]).unwrap();
    director.reload(&text).unwrap();
    assert_eq!(in_force(&director), before, "the file means what was in force");
    assert_eq!(list(&director.show("services")["changes"]), [] as [Value; 0]);
    assert_eq!(answering(&lab), [lab.real_server(0).role()]);

    let answer = edit(&director, json!([{ "edit": "clear" }]));
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(list(&director.show("services")["services"]), [] as [Value; 0]);
    Tally::settled(&director).check();
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let real = lab.real_server(0).address();
    shown::until_state(&director, real, "up");
    let before = (in_force(&director), director.show("services")["generation"].clone());
    let good = json!({ "edit": "weight", "real": real, "weight": 9 });
    let cases = [
        (
            json!({ "edit": "weight", "real": "192.0.2.210", "weight": 1 }),
            Some("no-real"),
            "there is no real server",
        ),
        (
            json!({ "edit": "remove-service", "service": "192.0.2.10:81/tcp" }),
            Some("no-service"),
            "did you mean 192.0.2.10:80/tcp?",
        ),
        (
            json!({ "edit": "add-service", "service": WEB, "change": {} }),
            Some("service-exists"),
            "there already",
        ),
        // Right in itself, wrong on this machine.
        (
            json!({ "edit": "add-real", "service": WEB, "real": "203.0.113.77", "change": {} }),
            None,
            "203.0.113.77 is off-link",
        ),
        (
            json!({ "edit": "add-real", "service": WEB, "real": "192.0.2.2", "change": {} }),
            None,
            "192.0.2.2 is an address of this machine",
        ),
        (json!({ "edit": "dance" }), None, "dance"),
    ];
    for (wrong, code, reason) in cases {
        let answer = edit(&director, json!([good, wrong]));
        assert_eq!(answer["ok"], false, "{wrong}: {answer}");
        assert_eq!(answer["code"].as_str(), code, "{answer}");
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(why.contains(reason) && !why.contains("shunt.toml:"), "{why}");
        assert_eq!((in_force(&director), director.show("services")["generation"].clone()), before, "{wrong}");
    }
    assert_eq!(answering(&lab).len(), 2);
}

#[test]
fn a_reload_says_what_it_overrides() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let service =
        |weights: [Option<u32>; 2]| config::file(&lab, &[Service::tcp(80).weighted(&lab, &weights)]);
    let mut director = Director::start(&lab, 0, &service([Some(1), Some(1)]));
    let [first, second] = [0, 1].map(|n| lab.real_server(n).address());
    director.ask(&["weight", &first.to_string(), "5"]).unwrap();
    director.ask(&["weight", &second.to_string(), "6"]).unwrap();
    director.reload(&service([Some(2), None])).unwrap();
    wait::until(SOON, "the word of what is overridden", || {
        director.log().text().contains("overridden by the configuration: change 192.0.2.22").then_some(())
    });
    assert_eq!(shown::real(&director, first)["weight"], 5, "what fits is kept");
    // Now nothing is left of the second.
    director.reload(&service([Some(2), Some(1)])).unwrap();
    assert_eq!(shown::real(&director, second)["weight"], 1);
    assert_eq!(list(&director.show("services")["changes"]).len(), 1);
    director.ask(&["drain", &second.to_string()]).unwrap();
    std::fs::write(director.config(), service([Some(2), None])).unwrap();
    let said = director.ask(&["reload"]).unwrap();
    assert!(said.contains("\noverridden: drain 192.0.2.22: no service has it any more"), "{said}");
}

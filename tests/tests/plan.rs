//! What is planned is what happens, to the flow; and what is applied on trial goes back by itself.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::address::VIP;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::requests::Requests;
use shunt_tests::tally::list;
use shunt_tests::{Director, Downloads, Lab, Service, Session, Tally, WebServer, expect, shown, wait};

const SOON: Duration = Duration::from_secs(30);
const DOWNLOADS: usize = 24;

/// A service of these weights, one a real server of the lab, that treats flows so whose real server is gone.
fn text(lab: &Lab, on_failure: &str, weights: [Option<u32>; 4]) -> String {
    let line = format!("on_failure = \"{on_failure}\"");
    config::file(lab, &[Service::tcp(80).checked(QUICK_CHECK).with(&line).weighted(lab, &weights)])
}

/// Another configuration than the daemon's own, in a file of its own.
fn write(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.file(name);
    std::fs::write(&path, text).expect("there is room for it");
    path
}

fn plan(director: &Director, file: &std::path::Path) -> Value {
    let text = director.ask(&["plan", file.to_str().expect("text"), "--json"]);
    serde_json::from_str(&text.unwrap_or_else(|why| panic!("{why}"))).expect("JSON")
}

/// `kept`, `moved`, `reset`, `refused`.
fn fates(plan: &Value) -> [u64; 4] {
    ["kept", "moved", "reset", "refused"].map(|fate| plan["flows"][fate].as_u64().expect("a number"))
}

/// Four real servers with long downloads, and the second one goes: what was planned, what was counted, what clients saw.
fn a_real_server_goes(on_failure: &str) -> ([u64; 4], Numbers) {
    let lab = Lab::builder().real_servers(4).build();
    let servers = WebServer::on_all(&lab);
    servers.iter().for_each(Downloads::prepare);
    let director = Director::start(&lab, 0, &text(&lab, on_failure, [Some(1); 4]));
    lab.real_servers().for_each(|server| shown::until_state(&director, server.address(), "up"));
    let downloads = Downloads::start(lab.client(0), (VIP, 80).into(), DOWNLOADS, &[]);
    wait::until(SOON, "all downloads to be established", || {
        let view = director.show("flows");
        let established = list(&view["flows"]).iter().filter(|flow| flow["state"] == "established").count();
        (established == DOWNLOADS).then_some(())
    });
    let there = downloads.servers().get("rs2").copied().expect("some are at the second") as u64;
    let file = write(&lab, "next.toml", &text(&lab, on_failure, [Some(1), None, Some(1), Some(1)]));

    let generation = director.show("services")["generation"].as_u64();
    let planned = plan(&director, &file);
    assert_eq!(planned["generation"].as_u64(), generation);
    assert_eq!(director.show("services")["generation"].as_u64(), generation, "a plan changes nothing");
    assert_eq!(planned["services"][0]["change"], "changed");
    assert_eq!(planned["services"][0]["reals"][0]["change"], "removed");
    let share = planned["services"][0]["hash"]["at_once_percent"].as_f64().expect("a share");
    assert!((25.0..28.0).contains(&share), "one of four goes: {share}");
    assert_eq!(planned["vrrp"]["effect"], "no effect");

    let said = director.ask(&["apply", file.to_str().expect("text")]).unwrap();
    assert!(said.contains("in force") && said.contains("not written to"), "{said}");
    downloads.go_on();
    let workers = director.show("workers");
    let sum = |of: &str, key: &str| shown::sum(&workers["workers"][0][of], &[key]);
    let numbers = Numbers {
        moved: sum("flows", "moved"),
        resets: sum("answers", "reset"),
        broken: downloads.broken().len() as u64,
        there,
    };
    (fates(&planned), numbers)
}

#[derive(Debug)]
struct Numbers {
    moved: u64,
    resets: u64,
    /// Downloads that broke.
    broken: u64,
    /// Downloads that the real server had that went.
    there: u64,
}

#[test]
fn flows_that_a_plan_resets_are_reset_and_no_others() {
    let ([kept, moved, reset, refused], numbers) = a_real_server_goes("reset");
    assert_eq!((reset, kept), (numbers.there, DOWNLOADS as u64 - numbers.there), "{numbers:?}");
    assert_eq!((moved, refused), (0, 0));
    assert_eq!((numbers.broken, numbers.moved), (reset, 0), "{numbers:?}");
    // A segment that was on its way meets the same end.
    assert!(numbers.resets >= reset, "{numbers:?}");
}

#[test]
fn flows_that_a_plan_moves_move_and_no_others() {
    let ([kept, moved, reset, refused], numbers) = a_real_server_goes("rehash");
    assert_eq!((moved, kept), (numbers.there, DOWNLOADS as u64 - numbers.there), "{numbers:?}");
    assert_eq!((reset, refused), (0, 0));
    // The real server that gets them does not know them.
    assert_eq!((numbers.moved, numbers.resets, numbers.broken), (moved, 0, moved), "{numbers:?}");
}

#[test]
fn flows_that_a_plan_keeps_stay() {
    let ([kept, moved, reset, refused], numbers) = a_real_server_goes("keep");
    assert_eq!([kept, moved, reset, refused], [DOWNLOADS as u64, 0, 0, 0]);
    assert_eq!((numbers.moved, numbers.resets, numbers.broken), (0, 0, 0), "{numbers:?}");
}

/// Connections that are held open, and who answers each.
struct Held(Vec<(Session, String)>);

impl Held {
    fn open(lab: &Lab, port: u16, count: usize) -> Held {
        let open = |_| {
            let mut session = Session::open(lab.client(0), (VIP, port).into());
            let server = session.ask();
            (session, server)
        };
        Held((0..count).map(open).collect())
    }

    /// Asks again: who answered those that are broken now. No other may answer those that are not.
    #[track_caller]
    fn broken(&mut self) -> Vec<String> {
        let mut broken = Vec::new();
        for (session, server) in &mut self.0 {
            match session.ask_or_break() {
                Some(answers) => assert_eq!(answers, *server),
                None => broken.push(server.clone()),
            }
        }
        broken
    }

    fn at(&self, name: &str) -> u64 {
        self.0.iter().filter(|(_, server)| server == name).count() as u64
    }
}

/// Which real server has each UDP flow, by the client's port.
fn datagrams(director: &Director) -> BTreeMap<u64, String> {
    let view = director.show("flows");
    let flows = list(&view["flows"]).iter().filter(|flow| flow["protocol"] == "udp");
    let of = |flow: &Value| Some((flow["client_port"].as_u64()?, flow["real"].as_str()?.to_owned()));
    flows.filter_map(of).collect()
}

#[test]
fn every_flow_of_every_scheduler_meets_what_was_planned_for_it() {
    const EACH: usize = 100;
    let lab = Lab::builder().real_servers(4).build();
    let _servers: Vec<_> =
        lab.real_servers().map(|host| WebServer::start_on(&lab, host, &[80, 81, 82, 83])).collect();
    let services = |weights: &[Option<u32>; 4]| {
        let service = |service: Service, lines: &[&str]| {
            let service = service.checked(QUICK_CHECK).weighted(&lab, weights);
            lines.iter().fold(service, |service, line| service.with(line))
        };
        [
            service(Service::tcp(80), &["on_failure = \"reset\""]),
            service(Service::tcp(81), &["scheduler = \"rr\"", "on_failure = \"rehash\""]),
            service(
                Service::tcp(82),
                &["scheduler = \"sh\"", "scheduler_flags = [\"sh-port\"]", "on_failure = \"keep\""],
            ),
            Service::udp(53)
                .with("scheduler = \"rr\"")
                .with("on_failure = \"rehash\"")
                .weighted(&lab, weights),
            service(Service::tcp(83), &["scheduler = \"wlc\""]),
        ]
    };
    let director = Director::start(&lab, 0, &config::file(&lab, &services(&[Some(1); 4])));
    lab.real_servers().for_each(|server| shown::until_state(&director, server.address(), "up"));
    let mut held: Vec<Held> = [80, 81, 82, 83].map(|port| Held::open(&lab, port, EACH)).into();
    let sockets: Vec<UdpSocket> = lab.client(0).enter(|| {
        let bind = |_| UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
        (0..EACH).map(bind).collect()
    });
    let say = || {
        for socket in &sockets {
            socket.send_to(b"a question", (VIP, 53)).expect("there is a way");
        }
    };
    say();
    wait::until(SOON, "all datagrams to be flows", || (datagrams(&director).len() == EACH).then_some(()));
    let before = datagrams(&director);

    // The second goes, the third weighs more, and so does not all of it stay.
    let next = &services(&[Some(1), None, Some(5), Some(1)])[..4];
    let file = write(&lab, "next.toml", &config::file(&lab, next));
    let planned = plan(&director, &file);
    let of = |service: &str| {
        let rows = list(&planned["services"]);
        let row = rows.iter().find(|row| row["service"] == service).unwrap_or_else(|| panic!("{planned:#}"));
        ["kept", "moved", "reset", "refused"].map(|fate| row["flows"][fate].as_u64().expect("a number"))
    };
    let said = director.ask(&["apply", file.to_str().expect("text")]).unwrap();
    assert!(said.contains("in force"), "{said}");

    let all = EACH as u64;
    let there: Vec<u64> = held.iter().map(|held| held.at("rs2")).collect();
    assert!(there.iter().all(|count| (1..all).contains(count)), "each has some at the second: {there:?}");
    assert_eq!(of("192.0.2.10:80/tcp"), [all - there[0], 0, there[0], 0]);
    assert_eq!(of("192.0.2.10:81/tcp"), [all - there[1], there[1], 0, 0]);
    assert_eq!(of("192.0.2.10:82/tcp"), [all, 0, 0, 0]);
    assert_eq!(of("192.0.2.10:83/tcp"), [0, 0, 0, all]);
    let broken: Vec<Vec<String>> = held.iter_mut().map(Held::broken).collect();
    let counts: Vec<u64> = broken.iter().map(|broken| broken.len() as u64).collect();
    assert_eq!(
        counts,
        [there[0], there[1], 0, all],
        "those that were reset, that moved, and that nobody takes"
    );
    assert!(broken[..2].iter().flatten().all(|server| server == "rs2"), "{broken:?}");

    say();
    let gone = lab.real_server(1).address().to_string();
    let after = wait::until(SOON, "no datagram to go to the second", || {
        let after = datagrams(&director);
        (after.len() == EACH && after.values().all(|real| *real != gone)).then_some(after)
    });
    let moved = before.iter().filter(|(port, real)| after[*port] != **real).count() as u64;
    assert_eq!(moved, before.values().filter(|real| **real == gone).count() as u64);
    assert_eq!(of("192.0.2.10:53/udp"), [all - moved, moved, 0, 0]);

    let workers = director.show("workers");
    let sum = |of: &str, key: &str| shown::sum(&workers["workers"][0][of], &[key]);
    assert_eq!(sum("flows", "moved"), there[1] + moved, "the director counted those that moved");
    assert!(sum("answers", "reset") >= there[0], "and those that it reset, some of them twice");
    Tally::settled(&director).check();
}

#[test]
fn a_trial_that_goes_back_loses_no_connection_and_brings_back_what_was_in_force() {
    const EACH: usize = 60;
    let lab = Lab::builder().real_servers(4).build();
    let _servers: Vec<_> =
        lab.real_servers().map(|host| WebServer::start_on(&lab, host, &[80, 81, 82])).collect();
    let service = |port, on_failure: &str, weights: &[Option<u32>; 4]| {
        let line = format!("on_failure = \"{on_failure}\"");
        let service = Service::tcp(port).checked(QUICK_CHECK).with("scheduler = \"wrr\"").with(&line);
        service.weighted(&lab, weights)
    };
    let weights = [Some(1), Some(2), Some(1), Some(1)];
    let services =
        [service(80, "keep", &weights), service(81, "reset", &weights), service(82, "reset", &weights)];
    let mut director = Director::start(&lab, 0, &config::file(&lab, &services));
    lab.real_servers().for_each(|server| shown::until_state(&director, server.address(), "up"));
    let (second, third) =
        (lab.real_server(1).address().to_string(), lab.real_server(2).address().to_string());
    director.ask(&["weight", &second, "3"]).unwrap();
    let config = director.ask(&["show", "config"]).unwrap();
    let mut held: Vec<Held> = [80, 81, 82].map(|port| Held::open(&lab, port, EACH)).into();
    assert!(held.iter().all(|held| held.at("rs2") > 0), "some are at the second");
    let begin = Instant::now();
    let mut requests = Requests::start(lab.client(0), (VIP, 80).into(), 100);

    // The second goes, whose weight was changed, and a service; the first weighs more.
    let less = [Some(9), None, Some(1), Some(1)];
    let next = config::file(&lab, &[service(80, "keep", &less), service(81, "reset", &less)]);
    let file = write(&lab, "next.toml", &next);
    let file = file.to_str().expect("text");
    let overridden = plan(&director, file.as_ref())["overridden"].to_string();
    assert!(overridden.contains(&second), "{overridden}");
    let mark = director.log().mark();
    let said = director.ask(&["apply", file, "--confirm", "4s"]).unwrap();
    assert!(said.contains("overridden: ") && said.contains(&second), "{said}");
    assert_eq!(shown::real(&director, lab.real_server(0).address())["weight"], 9);
    assert!(director.ask(&["show", "metrics"]).unwrap().contains("shunt_config_unconfirmed 1\n"));
    // What talks is kept; what is silent now notices nothing.
    assert_eq!(held[0].broken(), Vec::<String>::new());
    director.ask(&["drain", &third]).unwrap();
    director.process().wait_for_line_from(mark, "rolled back from ", SOON);

    for held in &mut held {
        assert_eq!(held.broken(), Vec::<String>::new());
    }
    requests.stop();
    let seen = requests.seen(begin, Instant::now());
    assert!(seen.failed.is_empty() && seen.made > 0, "{seen:?}");
    let metrics = director.ask(&["show", "metrics"]).unwrap();
    assert!(metrics.contains("shunt_config_unconfirmed 0\n"), "{metrics}");
    assert!(metrics.contains("shunt_config_applies_total{result=\"rolled_back\"} 1\n"), "{metrics}");
    // A change made meanwhile is none of the trial's.
    let drained = shown::real(&director, lab.real_server(2).address());
    assert!(drained["changed"].as_str().is_some_and(|said| said.contains("drained")), "{drained}");
    director.ask(&["undrain", &third]).unwrap();
    assert_eq!(director.ask(&["show", "config"]).unwrap(), config, "the weight that was changed, too");
    Tally::settled(&director).check();
}

#[test]
fn what_is_on_trial_goes_at_once_if_asked_and_a_change_that_fits_it_alone_is_undone() {
    let lab = Lab::builder().real_servers(3).build();
    let _servers = WebServer::on_all(&lab);
    let text = |weights: [Option<u32>; 3]| config::file(&lab, &[Service::tcp(80).weighted(&lab, &weights)]);
    let director = Director::start(&lab, 0, &text([Some(1), Some(1), None]));
    let nothing = director.ask(&["rollback"]).expect_err("nothing was applied");
    assert!(nothing.contains("nothing awaits a confirmation"), "{nothing}");
    // As large a file as a daemon reads as its own one.
    let next =
        text([Some(1), Some(1), Some(1)]) + &"# a remark that is of no interest to anybody\n".repeat(20_000);
    let file = write(&lab, "next.toml", &next);
    director.ask(&["apply", file.to_str().expect("text"), "--confirm", "1h"]).unwrap();
    let third = lab.real_server(2).address().to_string();
    director.ask(&["weight", &third, "5"]).unwrap();
    let said = director.ask(&["rollback"]).unwrap();
    assert!(
        said.contains("rolled back from") && said.contains(&format!("undone: weight 5 for {third}")),
        "{said}"
    );
    assert_eq!(list(&director.show("reals")["reals"]).len(), 2);
    assert!(director.show("services")["applied"].is_null());
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
    // What is in force already may be applied, and says so.
    let own = director.config().to_str().expect("text").to_owned();
    let said = director.ask(&["apply", &own]).unwrap();
    assert!(!said.contains("not written to"), "{said}");
}

#[test]
fn what_is_not_confirmed_goes_back_and_what_is_stays() {
    let lab = Lab::builder().real_servers(4).build();
    let _servers = WebServer::on_all(&lab);
    let mut director = Director::start(&lab, 0, &text(&lab, "reset", [Some(1); 4]));
    let ask = |director: &Director, words: &[&str]| director.ask(words);
    let next = write(&lab, "next.toml", &text(&lab, "reset", [Some(1), Some(1), Some(1), None]));
    let next = next.to_str().expect("text");
    let reals = |director: &Director| list(&director.show("reals")["reals"]).len();

    let nothing = ask(&director, &["confirm"]).expect_err("nothing was applied");
    assert!(nothing.contains("nothing awaits a confirmation"), "{nothing}");
    let mark = director.log().mark();
    let said = ask(&director, &["apply", next, "--confirm", "4s"]).unwrap();
    assert!(said.contains("comes back in 4 s unless you run: shunt confirm"), "{said}");
    assert_eq!(reals(&director), 3);
    let pending = director.show("services")["pending"].clone();
    assert_eq!(pending["file"], next);
    assert!(pending["rolls_back_in_seconds"].as_u64().is_some_and(|left| left <= 4), "{pending}");
    let shown = ask(&director, &["show", "workers"]).unwrap();
    assert!(shown.contains("UNCONFIRMED: "), "{shown}");
    let refused = ask(&director, &["apply", next]).expect_err("one is pending");
    assert!(refused.contains("awaits its confirmation"), "{refused}");
    director.process().wait_for_line_from(mark, "rolled back from ", SOON);
    assert_eq!(reals(&director), 4);
    assert!(director.show("services")["pending"].is_null());
    lab.real_servers().for_each(|server| shown::until_state(&director, server.address(), "up"));
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();

    let mark = director.log().mark();
    ask(&director, &["apply", next, "--confirm", "60s"]).unwrap();
    let said = ask(&director, &["confirm"]).unwrap();
    assert!(said.contains("stays in force"), "{said}");
    assert!(director.show("services")["pending"].is_null());
    assert_eq!(reals(&director), 3);
    // A reload goes back to the daemon's own file, and is no rollback.
    ask(&director, &["apply", next, "--confirm", "60s"]).unwrap();
    ask(&director, &["reload"]).unwrap();
    director.process().wait_for_line_from(mark, "nothing to confirm any more", SOON);
    assert_eq!(reals(&director), 4);
    assert!(ask(&director, &["confirm"]).is_err());
}

#[test]
fn a_bad_file_and_a_wrong_time_change_nothing() {
    let lab = Lab::builder().real_servers(4).build();
    let _servers = WebServer::on_all(&lab);
    let good = text(&lab, "reset", [Some(1); 4]);
    let director = Director::start(&lab, 0, &good);
    lab.real_servers().for_each(|server| shown::until_state(&director, server.address(), "up"));
    let generation = director.show("services")["generation"].as_u64();
    let bad = write(&lab, "bad.toml", &good.replace("port = 80", "port = 70000"));
    let missing = lab.file("missing.toml");
    for (file, reason) in [(&bad, "70000 is out of range"), (&missing, "missing.toml")] {
        for words in [&["plan"][..], &["apply"], &["apply", "--confirm", "5s"]] {
            let words: Vec<&str> = words.iter().copied().chain(file.to_str()).collect();
            let said = director.ask(&words).expect_err("it is bad");
            assert!(said.contains("exit status: 1") && said.contains(reason), "{said}");
        }
    }
    let file = write(&lab, "next.toml", &text(&lab, "reset", [Some(2); 4]));
    for time in ["60", "0s", "soon", "2d"] {
        let said = director.ask(&["apply", file.to_str().expect("text"), "--confirm", time]);
        assert!(said.expect_err("no such time").contains("exit status: 2"), "{time}");
    }
    // What needs a restart is planned so, and refused.
    let restart = config::with(&lab, "idle = \"spin\"", &[Service::tcp(80).all(&lab)]);
    let restart = write(&lab, "restart.toml", &restart);
    let planned = plan(&director, &restart);
    assert!(planned["restart"][0].as_str().is_some_and(|why| why.contains("director.idle")), "{planned:#}");
    assert!(planned["verdict"].as_str().is_some_and(|said| said.starts_with("CANNOT BE APPLIED")));
    assert!(director.ask(&["apply", restart.to_str().expect("text")]).is_err());
    assert_eq!(director.show("services")["generation"].as_u64(), generation, "nothing was published");
    let planned = plan(&director, director.config());
    assert!(planned["verdict"].as_str().is_some_and(|said| said.starts_with("NO CHANGE")), "{planned:#}");
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
}

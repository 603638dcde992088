//! What is planned is what happens, to the flow; and what is applied on trial goes back by itself.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::VIP;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::tally::list;
use shunt_tests::{Director, Downloads, Lab, Service, Tally, WebServer, expect, shown, wait};

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
    Tally::settled(&director).check();
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

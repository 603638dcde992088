//! Another configuration is put in force while clients are served, or refused while they are.

use std::collections::BTreeMap;
use std::time::Duration;

use shunt_tests::address::{VIP, vip};
use shunt_tests::client::PATIENCE;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::tally::list;
use shunt_tests::{
    Director, Injector, Lab, Service, Session, Tally, WebServer, craft, expect, payload, snapshot, wait,
};

const SOON: Duration = Duration::from_secs(20);

/// Which real server has the established flow of the only client, and from which port that is.
fn holder(lab: &Lab, director: &Director) -> (usize, u64) {
    wait::until(SOON, "the flow to be established", || {
        let view = director.show("flows");
        let flow = list(&view["flows"]).iter().find(|flow| flow["state"] == "established")?;
        let place = lab.real_servers().position(|server| flow["real"] == server.address().to_string())?;
        Some((place, flow["client_port"].as_u64()?))
    })
}

/// What `shunt show reals` says of a real server, `state` for example.
fn real<'v>(view: &'v serde_json::Value, lab: &Lab, n: usize) -> &'v serde_json::Value {
    let address = lab.real_server(n).address().to_string();
    let found = list(&view["reals"]).iter().find(|real| real["address"] == address.as_str());
    found.unwrap_or_else(|| panic!("no {address} in {view:#}"))
}

/// Waits until real server `n` is in this state.
fn until_real_is(lab: &Lab, director: &Director, n: usize, state: &str) {
    wait::until(SOON, &format!("real server {} to be {state}", n + 1), || {
        (real(&director.show("reals"), lab, n)["state"] == state).then_some(())
    });
}

#[test]
fn an_upload_keeps_its_real_server_while_others_come_and_go() {
    const BYTES: u64 = 200 << 20;
    const RELOADS: u64 = 10;
    let lab = Lab::builder().real_servers(4).build();
    let servers = WebServer::on_all(&lab);
    let file = lab.file("upload");
    payload::write(&file, BYTES, 7).expect("there is room for it");
    let with = |weight: &dyn Fn(usize) -> Option<u32>| {
        let weights: Vec<Option<u32>> = (0..4).map(weight).collect();
        config::file(&lab, &[Service::tcp(80).checked(QUICK_CHECK).weighted(&lab, &weights)])
    };
    let mut director = Director::start(&lab, 0, &with(&|_| Some(1)));

    let mut upload = lab.client(0).upload(VIP, &file, "big", Some("25M"));
    let (holder, port) = holder(&lab, &director);
    let address = lab.real_server(holder).address().to_string();
    for round in 1..=RELOADS {
        // When another part of it has passed: the reloads are spread over the upload, however fast that is.
        wait::until(SOON, "more of the upload", || {
            let view = director.show("reals");
            (real(&view, &lab, holder)["bytes"].as_u64()? >= BYTES * round / (RELOADS + 2)).then_some(())
        });
        // The others go and come, each every other time, with such weights that the hash alone would give them the flow.
        let text = with(&|n| match n == holder {
            true => Some(1),
            false => (round + n as u64).is_multiple_of(2).then_some(10_000),
        });
        director.reload(&text).unwrap();
        let generation = director.show("services")["generation"].as_u64();
        wait::until(SOON, "the worker to have the new state", || {
            // Or a later one: a check's first result is published too.
            (director.show("workers")["workers"][0]["generation"].as_u64() >= generation).then_some(())
        });
        let view = director.show("flows");
        let flow = list(&view["flows"]).iter().find(|flow| flow["client_port"] == port);
        let flow = flow.unwrap_or_else(|| panic!("the flow is forgotten: {view:#}"));
        assert_eq!(flow["real"], address.as_str(), "the flow has moved: {flow:#}");
    }
    assert!(upload.ended().is_none(), "all reloads were in the middle of it");

    assert!(upload.wait(Duration::from_secs(120)).success());
    let stored: Vec<_> = servers.iter().map(|server| server.uploaded("big")).collect();
    assert_eq!(stored.iter().flatten().count(), 1, "one server has it, and no other any of it: {stored:?}");
    let stored = stored[holder].as_deref().expect("the server that the flow was given");
    assert_eq!(payload::digest(stored), payload::digest(&file));
    assert_eq!(director.show("workers")["workers"][0]["flows"]["moved"], 0);
    Tally::settled(&director).check();
}

#[test]
fn a_bad_file_is_refused_with_its_reason_and_the_running_configuration_stays() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let good = config::file(&lab, &[Service::tcp(80).all(&lab)]);
    let mut director = Director::start(&lab, 0, &good);
    let before = director.show("services");
    let cases = [
        (good.replace("port = 80", "port = 70000"), "service.port: 70000 is out of range"),
        (good.replace("vip", "vipp"), "vipp"),
        (good[..good.len() / 2].to_owned(), "error"),
        (String::new(), "empty"),
        // Right as a file, wrong on this machine.
        (good.replace("192.0.2.22", "203.0.113.77"), "203.0.113.77 is off-link"),
        (good.replace("192.0.2.22", "192.0.2.2"), "192.0.2.2 is an address of this machine"),
    ];
    for (bad, reason) in cases {
        let mark = director.log().mark();
        director.reload(&bad).expect_err("it is bad");
        // The signal's answer is in the log, the command's on its standard error.
        director.process().wait_for_line_from(mark, reason, SOON);
        let said = director.ask(&["reload"]).expect_err("it is still bad");
        assert!(said.contains("exit status: 1") && said.contains(reason), "{said}");
        assert!(said.contains("shunt.toml:"), "it says where: {said}");
        expect::answered(&lab.client(0).get_many(VIP, 5)).unwrap();
    }
    let after = director.show("services");
    assert_eq!(before["generation"], after["generation"], "nothing was published");
    assert_eq!(after["services"][0]["up"], 2);
    // And the next good one is taken.
    director.reload(&good).unwrap();
    assert!(director.ask(&["reload"]).expect("it is good").contains("generation"));
}

#[test]
fn a_reload_changes_the_shares_of_new_flows() {
    const FLOWS: u16 = 6000;
    let lab = Lab::builder().build();
    let service =
        |weights: [u32; 2]| config::file(&lab, &[Service::udp(9).weighted(&lab, &weights.map(Some))]);
    let mut director = Director::start(&lab, 0, &service([1, 1]));
    let injector = Injector::open(&lab, 0);
    let flows = |ports: std::ops::Range<u16>| -> Vec<Vec<u8>> {
        ports.map(|port| craft::udp(&injector.segment(port, (VIP, 9).into()), b"")).collect()
    };
    let new_flows = |director: &Director| -> f64 {
        let view = director.show("reals");
        real(&view, &lab, 0)["flows"].as_f64().expect("a number of flows")
    };
    // The same flows in every run, so the same shares; three per cent of 6,000 are more than four sigma.
    injector.send(&director, &flows(10_000..10_000 + FLOWS));
    let half = new_flows(&director) / f64::from(FLOWS);
    assert!((half - 0.5).abs() < 0.03, "{half}");
    director.reload(&service([1, 3])).unwrap();
    let before = new_flows(&director);
    injector.send(&director, &flows(30_000..30_000 + FLOWS));
    let quarter = (new_flows(&director) - before) / f64::from(FLOWS);
    assert!((quarter - 0.25).abs() < 0.03, "{quarter}");
}

#[test]
fn a_drained_real_server_keeps_its_flow_and_takes_no_new_one() {
    let lab = Lab::builder().build();
    let servers = WebServer::on_all(&lab);
    let service = |weights: [u32; 2]| {
        config::file(&lab, &[Service::tcp(80).checked(QUICK_CHECK).weighted(&lab, &weights.map(Some))])
    };
    let mut director = Director::start(&lab, 0, &service([1, 1]));
    let mut session = Session::open(lab.client(0), (VIP, 80).into());
    let name = session.ask();
    let (drained, port) = holder(&lab, &director);
    assert_eq!((name.as_str(), u64::from(session.source_port())), (lab.real_server(drained).role(), port));
    let other = lab.real_server(1 - drained).role().to_owned();

    director.reload(&service(if drained == 0 { [0, 1] } else { [1, 0] })).unwrap();
    until_real_is(&lab, &director, drained, "draining");
    let shares = expect::answered(&lab.client(0).get_many(VIP, 100)).unwrap();
    assert_eq!(shares, BTreeMap::from([(other, 100)]), "no new flow for the one that is drained");
    for _ in 0..10 {
        assert_eq!(session.ask(), name, "the old flow goes on");
    }
    // One request before, ten after: it never got another.
    wait::until(SOON, "the requests in its log", || (servers[drained].requests().len() == 11).then_some(()));

    director.reload(&service([1, 1])).unwrap();
    until_real_is(&lab, &director, drained, "up");
    assert_eq!(expect::answered(&lab.client(0).get_many(VIP, 100)).unwrap().len(), 2, "it takes flows again");
    assert_eq!(session.ask(), name);
}

#[test]
fn services_come_and_go_and_their_vips_with_them() {
    let lab = Lab::builder().vips(2).build();
    let _servers: Vec<_> =
        lab.real_servers().map(|server| WebServer::start_on(&lab, server, &[80, 81])).collect();
    let first = Service::tcp(80).all(&lab);
    let second = Service::tcp(81).all(&lab);
    let elsewhere = Service::tcp(80).on(vip(1)).all(&lab);
    let mut director = Director::start(&lab, 0, &config::file(&lab, std::slice::from_ref(&first)));
    let host = lab.director(0);
    let works = |address, port| {
        expect::answered(&lab.client(0).ask(address, port, 20, PATIENCE)).unwrap();
    };
    // By the kernel, which owns the VIP: a port that no service has is not shunt's.
    let refused = |port| {
        let fault = lab.client(0).connect((VIP, port).into(), SOON).expect_err("there is no such service");
        assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionRefused);
    };
    works(VIP, 80);
    refused(81);
    assert!(!snapshot::has(host, "eth0", vip(1)));

    director.reload(&config::file(&lab, &[first.clone(), second, elsewhere])).unwrap();
    works(VIP, 80);
    works(VIP, 81);
    works(vip(1), 80);
    assert!(snapshot::has(host, "eth0", vip(1)));

    director.reload(&config::file(&lab, &[first])).unwrap();
    works(VIP, 80);
    refused(81);
    assert!(snapshot::has(host, "eth0", VIP) && !snapshot::has(host, "eth0", vip(1)));
    assert_eq!(list(&director.show("services")["services"]).len(), 1);

    director.reload(&config::file(&lab, &[])).unwrap();
    assert!(!snapshot::has(host, "eth0", VIP), "no service, no VIP");
    Tally::settled(&director).check();
}

#[test]
fn what_workers_cannot_change_is_refused_with_the_key_and_what_to_do() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let services = [Service::tcp(80).all(&lab)];
    let mut director = Director::start(&lab, 0, &config::file(&lab, &services));
    let changes = [
        ("frames_per_queue = 512", "director.frames_per_queue"),
        ("flows_per_worker = 4096", "director.flows_per_worker"),
        ("cores = [0]", "director.cores"),
        ("hash_key = \"000102030405060708090a0b0c0d0e0f\"", "director.hash_key"),
        ("idle = \"spin\"", "director.idle"),
    ];
    for (line, key) in changes {
        director.reload(&config::with(&lab, line, &services)).expect_err("it needs a restart");
        let said = director.ask(&["reload"]).expect_err("it needs a restart");
        assert!(said.contains(key) && said.contains("cannot be changed while shunt runs"), "{said}");
        assert!(said.contains("restart shunt"), "it says what to do: {said}");
    }
    expect::answered(&lab.client(0).get_many(VIP, 10)).unwrap();
}

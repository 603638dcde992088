//! `shunt explain` on the lab: what it says of a packet is what becomes of it, and asking changes nothing.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::{VIP, VIP6};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::tally::list;
use shunt_tests::{Director, Lab, Service, WebServer, shown};

const PATIENCE: Duration = Duration::from_secs(20);

/// The chain that is told of a SYN from this port of the first client.
#[track_caller]
fn explained(lab: &Lab, director: &Director, port: u16, vip: IpAddr) -> Value {
    let (client, service) = (SocketAddr::new(client(lab, vip), port), SocketAddr::new(vip, 80));
    explain(director, &[&client.to_string(), &format!("{service}/tcp")]).remove(0)
}

/// The chains that `shunt explain` tells.
#[track_caller]
fn explain(director: &Director, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["explain", "--json"].iter().chain(arguments).copied().collect();
    let text = director.ask(&arguments).unwrap_or_else(|complaint| panic!("{complaint}"));
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
    list(&answer["frames"]).to_vec()
}

fn client(lab: &Lab, vip: IpAddr) -> IpAddr {
    if vip.is_ipv4() { lab.client(0).address() } else { lab.client(0).address6() }
}

/// The real server that answers a request from this port.
#[track_caller]
fn asked(lab: &Lab, port: u16, vip: IpAddr) -> IpAddr {
    let mut stream = lab.client(0).connect_from(port, (vip, 80).into(), PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET / HTTP/1.1\r\nHost: www\r\nConnection: close\r\n\r\n").expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    let name = page.lines().last().unwrap_or_default();
    let server = lab.real_servers().find(|server| server.role() == name);
    let server = server.unwrap_or_else(|| panic!("{page}"));
    if vip.is_ipv4() { server.address() } else { server.address6() }
}

/// Whatever a question could change.
fn counted(director: &Director) -> Vec<Value> {
    let mut views: Vec<Value> = ["services", "drops"].map(|what| director.show(what)).into();
    views.push(director.show("reals"));
    let flows = |flow: &Value| [&flow["client_port"], &flow["real"], &flow["state"]].map(Value::to_string);
    let mut flows: Vec<_> = list(&director.show("flows")["flows"]).iter().map(flows).collect();
    flows.sort();
    views.push(serde_json::json!(flows));
    // Checks publish states too.
    views.iter_mut().filter_map(Value::as_object_mut).for_each(|view| drop(view.remove("generation")));
    views
}

#[track_caller]
fn foretold(lab: &Lab, director: &Director, ports: std::ops::Range<u16>, vip: IpAddr) -> Vec<IpAddr> {
    ports
        .map(|port| {
            let said = explained(lab, director, port, vip);
            assert_eq!((&said["steered"], &said["verdict"]), (&true.into(), &"forwarded".into()), "{said:#}");
            let server = asked(lab, port, vip);
            assert_eq!(said["real"], server.to_string(), "{said:#}");
            server
        })
        .collect()
}

#[test]
fn what_is_explained_is_what_then_happens_whatever_becomes_of_the_real_servers() {
    let lab = Lab::builder().ipv6().build();
    let mut servers = WebServer::on_all(&lab);
    let services = |weights: &[Option<u32>]| {
        let on = |service: Service| service.checked(QUICK_CHECK).weighted(&lab, weights);
        config::file(&lab, &[on(Service::tcp(80).with("scheduler = \"rr\"")), on(Service::tcp(80).on(VIP6))])
    };
    let mut director = Director::start(&lab, 0, &services(&[Some(1), Some(1)]));
    let (first, second) = (lab.real_server(0).address(), lab.real_server(1).address());

    // Asking takes nobody's turn: the same answer each time, and then that very one.
    let before = counted(&director);
    let turns: Vec<Value> = (0..5).map(|_| explained(&lab, &director, 45_000, VIP)["real"].clone()).collect();
    assert!(turns.iter().all(|real| *real == turns[0]), "{turns:?}");
    assert_eq!(counted(&director), before);
    let met = foretold(&lab, &director, 45_000..45_008, VIP);
    assert!(met.contains(&first) && met.contains(&second), "{met:?}");
    foretold(&lab, &director, 45_000..45_008, VIP6);

    // A flow that is known: a worker has it.
    let stream = lab.client(0).connect_from(45_100, (VIP, 80).into(), PATIENCE).expect("a connection");
    let holder = shown::real_of_flow(&director, 45_100);
    let said = explained(&lab, &director, 45_100, VIP);
    assert_eq!((&said["way"], &said["real"]), (&"remembered".into(), &holder), "{said:#}");
    assert_eq!(said["packet"]["flags"], serde_json::json!(["ACK"]), "of a flow that is known");
    drop(stream);

    // Down: the other one, and why.
    servers[0].kill9();
    shown::until_state(&director, first, "down");
    shown::until_state(&director, lab.real_server(0).address6(), "down");
    assert_eq!(foretold(&lab, &director, 45_200..45_204, VIP), [second; 4]);
    let said = explained(&lab, &director, 45_204, VIP);
    let other = &said["others"][0];
    assert_eq!((&other["address"], &other["state"]), (&first.to_string().into(), &"down".into()));
    assert!(other["why"].as_str().is_some_and(|why| why.starts_with("check failed: ")), "{said:#}");
    servers[0].start_again();
    shown::until_state(&director, first, "up");

    // Draining.
    director.reload(&services(&[Some(0), Some(1)])).expect("a right configuration");
    assert_eq!(foretold(&lab, &director, 45_300..45_304, VIP), [second; 4]);
    let text =
        director.ask(&["explain", &format!("{}:1", lab.client(0).address()), &format!("{VIP}:80/tcp")]);
    let text = text.expect("an answer");
    assert!(text.contains(&format!("{first}: weight 0: it takes no new flows (draining)")), "{text}");
    assert!(text.contains("steers it to a worker") && text.contains("forwarded out of eth0"), "{text}");

    // Nobody is left.
    director.reload(&services(&[Some(0), Some(0)])).expect("a right configuration");
    let said = explained(&lab, &director, 45_400, VIP);
    assert_eq!((&said["verdict"], &said["reason"]["name"]), (&"answered".into(), &"no_real".into()));
    assert_eq!(said["answer"], "ICMP port unreachable");
    assert!(lab.client(0).connect_from(45_400, (VIP, 80).into(), PATIENCE).is_err());
}

#[test]
fn what_no_service_is_for_is_told_with_what_is_near() {
    let lab = Lab::builder().build();
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let client = format!("{}:40000", lab.client(0).address());
    for (service, told) in [
        (
            format!("{VIP}:81/tcp"),
            "is a VIP and has services of tcp, but not on port 81; nearest: 192.0.2.10:80/tcp",
        ),
        (format!("{VIP}:80/udp"), "is a VIP, but has no service of udp; nearest: 192.0.2.10:80/tcp"),
        ("192.0.2.99:80/tcp".into(), "192.0.2.99 is no VIP of this director; nearest: 192.0.2.10:80/tcp"),
    ] {
        let text = director.ask(&["explain", &client, &service]).expect("an answer");
        assert!(text.contains(told), "{text}");
        assert!(text.contains("left to the kernel"), "{text}");
    }
    for (arguments, told) in [
        (&["explain", &client, "192.0.2.10:80/gre"][..], "no service has that protocol"),
        (&["explain", &client, "[2001:db8::10]:80/tcp"], "a packet has two addresses of one family"),
        (&["explain", "--hex", "0800450"], "7 hex digits"),
        (&["explain", "--pcap", "/etc/passwd"], "neither pcap nor pcapng"),
        (
            &["explain", "--interface", "eth9", &client, "192.0.2.10:80/tcp"],
            "eth9 is no interface of this director: eth0",
        ),
    ] {
        let complaint = director.ask(arguments).expect_err("refused");
        assert!(complaint.contains(told), "{complaint}");
    }
    // The front of a frame is not a frame.
    let front = "0200000000020800450000281234400040060000c6336407c000020a";
    let front = format!("{} {front}", lab.director(0).mac());
    let text = director.ask(&["explain", "--hex", &front]).expect("an answer");
    assert!(text.contains("tcpdump -s 0"), "{text}");
}

#[test]
fn a_capture_is_explained_frame_by_frame_and_a_pasted_frame_as_the_same() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    let capture = lab.capture(lab.director(0).port(), &format!("tcp dst port 80 and dst host {VIP}"));
    let file = capture.file().to_owned();
    let server = asked(&lab, 46_000, VIP);
    let frames = capture.stop();
    let path = file.to_str().expect("a path in UTF-8");

    let said = explain(&director, &["--pcap", path, "--limit", "256"]);
    assert_eq!(said.len(), frames.len());
    // The capture has both what came in and what went out: that is the real server's.
    let (came, went): (Vec<_>, Vec<_>) = said.iter().partition(|row| row["steered"] == true);
    assert!(came.len() >= 3 && came.len() == went.len(), "{said:#?}");
    assert!(came.iter().all(|row| row["real"] == server.to_string()), "{came:#?}");
    assert!(went.iter().all(|row| row["steered_why"].is_string()), "{went:#?}");
    assert_eq!(came[0]["packet"]["flags"], serde_json::json!(["SYN"]));
    // What is said to be sent is what was sent.
    for (came, went) in came.iter().zip(&went) {
        assert_eq!(came["sent"]["bytes"], went["bytes"]);
        assert_eq!(came["sent"]["ttl"], went["packet"]["ttl"]);
    }
    let mac =
        lab.real_servers().find(|host| host.address() == server).expect("one of them").mac().to_string();
    assert_eq!(came[0]["sent"]["destination_mac"], mac);

    // As a person pastes it, with the Ethernet header and without.
    for option in ["-XX", "-X"] {
        let printed = lab.switch().run("tcpdump", &["-n", option, "-c", "1", "-r", path]);
        let pasted = explain(&director, &["--hex", &printed]).remove(0);
        assert_eq!((&pasted["real"], &pasted["packet"]), (&came[0]["real"], &came[0]["packet"]), "{printed}");
    }
}

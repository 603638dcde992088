//! What a lab can do beyond plain IPv4: two families side by side, narrow cables, large datagrams, a flood. No shunt is
//! needed, as in `lab.rs`.

mod stand_in;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use shunt_tests::address::{Segment, VIP, VIP6};
use shunt_tests::frame::{Icmp, Neighbor};
use shunt_tests::{
    Flood, Frame, Injector, Lab, PacketSocket, Process, Sink, VipHolding, Watch, WebServer, craft, echo,
    expect, fragment, icmp, payload, wait,
};
use stand_in::{Fault, StandIn};

const SOON: Duration = Duration::from_secs(20);
const BIG: u64 = 5 << 20;

#[test]
fn a_client_reaches_a_real_server_by_both_families() {
    for lab in [Lab::builder(), Lab::builder().two_legged()] {
        let lab = lab.ipv6().build();
        let _servers = WebServer::on_all(&lab);
        let _echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, 7)).collect();
        let server = lab.real_server(1);
        for address in [server.address(), server.address6()] {
            let answer = lab.client(0).get(address);
            assert_eq!((answer.server.as_deref(), answer.status), (Some("rs2"), 200), "{answer:?}");
            // More than a frame holds: it comes and goes in fragments.
            for question in ["hello".to_owned(), "x".repeat(8000)] {
                let said = echo::ask(lab.client(0), (address, 7).into(), &question, SOON).unwrap();
                assert_eq!(said, format!("rs2 {question}"));
            }
        }
    }
}

#[test]
fn a_lab_that_did_not_ask_for_ipv6_has_none() {
    let lab = Lab::builder().build();
    for host in [lab.router(), lab.director(0), lab.real_server(0), lab.client(0)] {
        assert_eq!(host.run("ip", &["-6", "address", "show"]), "", "{}", host.role());
    }
    assert!(lab.vips().iter().all(IpAddr::is_ipv4) && !lab.real_server(0).has_ipv6());
}

#[test]
fn answers_of_both_families_reach_the_client_and_nothing_is_amiss_with_a_good_director() {
    for lab in
        [Lab::builder(), Lab::builder().vip_holding(VipHolding::NatRedirect), Lab::builder().two_legged()]
    {
        let lab = lab.ipv6().build();
        assert_eq!(lab.vips(), [VIP, VIP6]);
        let _servers = WebServer::on_all(&lab);
        let _echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, 7)).collect();
        let watch = Watch::start(&lab, 0);
        let stand_in = StandIn::start(&lab, VIP6, Fault::Nothing);
        let shares = expect::answered(&lab.client(0).get_many(VIP6, 10)).unwrap();
        assert_eq!(shares.len(), 2, "{shares:?}");
        let said = echo::ask(lab.client(0), (VIP6, 7).into(), "hello", SOON).unwrap();
        assert!(said.starts_with("rs") && said.ends_with(" hello"), "{said}");
        drop(stand_in);
        let seen = watch.stop();
        assert!(seen.check() > 40);
        assert!(expect::asked_for(&seen.arp, VIP6), "{:#?}", seen.arp);
        assert!(seen.owner_answers_arp(VIP6).unwrap() > 0, "{:#?}", seen.arp);
        // No delay and no noise: nobody asks whether an address is taken, and nobody looks for a router.
        let nowhere = "::".parse().unwrap();
        let solicits_router = |frame: &Frame| frame.is_icmp((133, 0));
        assert!(!seen.arp.iter().any(|f| (f.neighbor.is_some() && f.is_from(nowhere)) || solicits_router(f)));
    }
}

#[test]
fn a_director_that_keeps_the_hop_limit_is_found_out() {
    let lab = Lab::builder().ipv6().build();
    let _servers = WebServer::on_all(&lab);
    let _director = StandIn::start(&lab, VIP6, Fault::KeepsTtl);
    let watch = Watch::start(&lab, 0);
    expect::answered(&[lab.client(0).get(VIP6)]).unwrap();
    let said = watch.stop().verdict().expect_err("the hop limit is the received one").to_string();
    assert!(said.contains("the TTL has not gone down by one"), "{said}");
}

/// Asks for `target` on the LAN from the router; who answers within a moment, and where they say that it is.
fn answers_to_a_solicitation(lab: &Lab, target: IpAddr) -> Vec<Frame> {
    let capture = lab.capture("br-lan", "icmp6");
    let before = lab.router().try_run("ping", &["-6", "-c1", "-W1", &target.to_string()]).is_ok();
    let frames = capture.stop();
    let claims = |frame: &Frame| {
        let neighbor = frame.neighbor.filter(|neighbor| neighbor.kind == Neighbor::ADVERTISEMENT);
        neighbor.is_some_and(|neighbor| IpAddr::V6(neighbor.target) == target)
    };
    assert!(expect::asked_for(&frames, target), "{before}: {frames:#?}");
    frames.into_iter().filter(claims).collect()
}

#[test]
fn a_real_server_does_not_answer_for_a_vip_on_its_loopback() {
    let lab = Lab::builder().ipv6().build();
    let own = answers_to_a_solicitation(&lab, lab.real_server(0).address6());
    assert!(!own.is_empty() && own.iter().all(|frame| frame.source == lab.real_server(0).mac()), "{own:#?}");
    let vip = answers_to_a_solicitation(&lab, VIP6);
    assert!(vip.is_empty(), "the director does not have it yet, and nobody else may answer: {vip:#?}");
    // With the mistake: the VIP on the interface itself.
    lab.real_server(1).add_address(VIP6, "eth0");
    let wrong = answers_to_a_solicitation(&lab, VIP6);
    assert!(expect::owner_answers_arp(&wrong, VIP6, lab.director(0).mac()).is_err(), "{wrong:#?}");
}

/// How curl ends within `patience`.
fn end_of(curl: &mut Process, patience: Duration) -> Option<ExitStatus> {
    wait::try_until(patience, || curl.ended())
}

/// The errors among `frames` that tell `host` to send smaller packets.
fn told_to_shrink(frames: &[Frame], to: IpAddr) -> usize {
    let what = if to.is_ipv4() { Icmp::FRAGMENTATION_NEEDED } else { Icmp::PACKET_TOO_BIG };
    let told = frames.iter().filter(|frame| frame.is_to(to) && frame.is_icmp(what));
    told.inspect(|frame| {
        let word = frame.ip.as_ref().and_then(|ip| ip.icmp).map(|icmp| icmp.word);
        assert_eq!(word, Some(1400), "{frame:?}");
        assert!(icmp::quoted(frame).is_some_and(|quoted| quoted.len() >= icmp::SHORTEST_QUOTE), "{frame:?}");
    })
    .count()
}

#[test]
fn a_download_through_a_narrow_router_needs_its_word_about_it() {
    let lab = Lab::builder().real_servers(1).directors(0).ipv6().build();
    let server = WebServer::start(&lab, lab.real_server(0));
    let big = payload::digest(&server.file("big", BIG, 1));
    lab.narrow(lab.client(0), Segment::Outside, 1400);
    let host = lab.real_server(0);
    for address in [host.address(), host.address6()] {
        let file = lab.file("big");
        let capture = lab.capture("rs1", "icmp or icmp6");
        let mut download = lab.client(0).download(address, "/big", &file, None);
        assert!(download.wait(SOON).success(), "{}", download.log().text());
        assert_eq!(payload::digest(&file), big);
        let frames = capture.stop();
        assert!(told_to_shrink(&frames, address) > 0, "{address}: {frames:#?}");
    }
    // What it is for: without that word nothing of any size arrives.
    host.feed(
        "nft",
        &["-f", "-"],
        "add table inet deaf\n\
         add chain inet deaf input { type filter hook input priority 0; }\n\
         add rule inet deaf input icmp type destination-unreachable icmp code frag-needed drop\n",
    );
    host.run("ip", &["route", "flush", "cache"]);
    let mut download = lab.client(0).download(host.address(), "/big", &lab.file("never"), None);
    assert!(end_of(&mut download, Duration::from_secs(2)).is_none(), "it stands still");
}

#[test]
fn a_real_server_behind_a_narrow_cable_gets_no_large_frame() {
    let lab = Lab::builder().ipv6().build();
    let server = lab.real_server(0);
    lab.narrow(server, Segment::Lan, 1400);
    let director = lab.director(0).packet_socket();
    let arrived = server.packet_socket();
    for (from, to) in [(lab.client(0).address(), VIP), (lab.client(0).address6(), VIP6)] {
        let segment = craft::Segment {
            source_mac: director.mac(),
            destination_mac: server.mac(),
            source: (from, 4242).into(),
            destination: (to, 9).into(),
            ..Default::default()
        };
        let header = if to.is_ipv4() { 28 } else { 48 };
        let datagram = |length: usize| craft::udp(&segment, &vec![0; length - header]);
        // The large one first: had it arrived, it would be the first to be found.
        director.send(&datagram(1500));
        director.send(&datagram(1400));
        let frame = arrived.receive_where(SOON, |frame| craft::view(frame).is_to(to));
        assert_eq!(frame.map(|frame| frame.len()), Some(1400 + 14), "{to}");
    }
    // It hides what it is from TCP: this is what its peers go by.
    let _web = WebServer::start(&lab, server);
    let capture = lab.capture(server.port(), "tcp[tcpflags] & tcp-syn != 0");
    assert_eq!(lab.client(0).get(server.address()).status, 200);
    let synack = capture.stop().into_iter().find(|frame| frame.is_from(server.address())).expect("a SYN ACK");
    // RFC 9293 section 3.2: the option of kind 2 and length 4 comes first in Linux.
    let options = synack.transport().and_then(|segment| segment.get(20..24)).expect("options");
    assert_eq!(options, [2, 4, 0x05, 0xb4], "1460");
}

#[test]
fn fragments_made_by_hand_are_put_together_by_a_kernel() {
    let lab = Lab::builder().real_servers(1).directors(0).ipv6().build();
    let server = lab.real_server(0);
    let _echo = echo::Echo::start(server, 7);
    let socket = lab.router().packet_socket();
    for (client, to) in
        [(lab.client(0).address(), server.address()), (lab.client(0).address6(), server.address6())]
    {
        let segment = craft::Segment {
            source_mac: socket.mac(),
            destination_mac: server.mac(),
            source: (client, 4242).into(),
            destination: (to, 7).into(),
            ..Default::default()
        };
        let answers = PacketSocket::open(lab.switch(), server.port());
        let parts = fragment::cut(&craft::udp(&segment, &[b'x'; 3000]), 1400, 99);
        // The last one first.
        parts.iter().rev().for_each(|part| socket.send(part));
        let answer = answers.receive_where(SOON, |frame| {
            craft::view(frame).ip.is_some_and(|ip| ip.ports == Some((7, 4242)) && ip.source == to)
        });
        assert!(answer.is_some(), "{to} answers");
    }
}

#[test]
fn a_flood_of_a_million_sources_takes_seconds_and_arrives() {
    const SOURCES: u32 = 1_000_000;
    let lab = Lab::builder().ipv6().build();
    let director = lab.director(0);
    let sink = Sink::open(director, "tcp flags syn");
    let injector = Injector::open(&lab, 0);
    for (n, vip) in [VIP, VIP6].into_iter().enumerate() {
        let to: SocketAddr = (vip, 80).into();
        let flood = Flood::send(&injector, to, 0, SOURCES);
        eprintln!("{flood:?}, {:.0} frames a second", flood.rate());
        assert_eq!(flood.sent, SOURCES as usize);
        // A limit for machines that have other things to do: alone it takes one to four seconds.
        assert!(flood.took < Duration::from_secs(60), "{flood:?}");
        wait::until(SOON, "the flood at the director", || {
            (sink.frames() == (n as u64 + 1) * u64::from(SOURCES)).then_some(())
        });
    }
}

#[test]
fn iperf3_says_how_many_of_its_large_datagrams_arrived() {
    let lab = Lab::builder().real_servers(1).directors(0).build();
    let (client, server) = (lab.client(0), lab.real_server(0));
    let address = server.address().to_string();
    let mut command = server.command("iperf3");
    command.args(["--server", "--forceflush", "--bind", &address]);
    let iperf3 = server.spawn(command);
    iperf3.wait_for_line("Server listening", SOON);
    let mut command = client.command("iperf3");
    command.args(["--client", &address, "--udp", "--length", "8000", "--bitrate", "20M", "--bytes", "4M"]);
    let output = command.arg("--json").output().expect("iperf3 starts");
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).expect("iperf3 writes JSON");
    let number = |key: &str| view["end"]["sum"][key].as_u64();
    assert!(number("packets").is_some_and(|packets| packets >= 500), "{view:#}");
    assert!(number("lost_packets").is_some_and(|lost| lost < 25), "{view:#}");
}

//! What a service can be: ports in ranges or all of them, three protocols, and what a client is told when there is
//! nobody to serve it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pnet_packet::tcp::TcpFlags;
use shunt_tests::address::{VIP, VIP6, vip};
use shunt_tests::client::PATIENCE;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::expect::Shares;
use shunt_tests::frame::Icmp;
use shunt_tests::{
    Client, Director, Frame, Injector, Lab, Service, Tally, WebServer, craft, echo, expect, icmp, shown,
};

const SOON: Duration = Duration::from_secs(20);
const ECHO: u16 = 7;

/// Asks ten times on `port`; the only one who answers.
#[track_caller]
fn answers(client: &Client, address: IpAddr, port: u16) -> String {
    let shares: Shares = expect::answered(&client.ask(address, port, 10, PATIENCE)).unwrap();
    let mut names = shares.into_keys();
    let name = names.next().expect("ten answers");
    assert_eq!(names.next(), None, "two servers answer on port {port} of {address}");
    name
}

#[test]
fn the_narrower_of_two_services_takes_a_port_that_both_have() {
    let lab = Lab::builder().real_servers(3).vips(2).ipv6().build();
    let ports = [80, 7999, 8000, 8050, 8100, 8101];
    let _servers: Vec<_> =
        lab.real_servers().map(|server| WebServer::start_on(&lab, server, &ports)).collect();
    // Each service has one real server: who answers says which service it was.
    let only = |service: Service, n: usize| {
        let weights: Vec<Option<u32>> = (0..3).map(|m| (m == n).then_some(1)).collect();
        service.weighted(&lab, &weights)
    };
    let services = [
        only(Service::tcp(0).ports("8000-8100"), 0),
        only(Service::tcp(8050), 1),
        only(Service::tcp(0).on(vip(1)).ports("any"), 0),
        only(Service::tcp(0).on(vip(1)).ports("8000-8100"), 1),
        only(Service::tcp(8050).on(vip(1)), 2),
        only(Service::tcp(0).on(VIP6).ports("8000-8100"), 2),
        only(Service::tcp(8050).on(VIP6), 0),
    ];
    let _director = Director::start(&lab, 0, &config::file(&lab, &services));
    let client = lab.client(0);
    let expected = [
        (VIP, 8000, "rs1"),
        (VIP, 8050, "rs2"),
        (VIP, 8100, "rs1"),
        (vip(1), 80, "rs1"),
        (vip(1), 7999, "rs1"),
        (vip(1), 8000, "rs2"),
        (vip(1), 8050, "rs3"),
        (vip(1), 8101, "rs1"),
        (VIP6, 8100, "rs3"),
        (VIP6, 8050, "rs1"),
    ];
    for (address, port, name) in expected {
        assert_eq!(answers(client, address, port), name, "port {port} of {address}");
    }
    // Beside a range: nobody's but the kernel's, which says so.
    for (address, port) in [(VIP, 7999), (VIP, 8101), (VIP6, 80)] {
        let fault = client.connect((address, port).into(), SOON).expect_err("there is no such service");
        assert_eq!(fault.kind(), ErrorKind::ConnectionRefused, "port {port} of {address}");
    }
}

/// What a client is told by a service whose real servers are all down, and by whom; and how long that took.
struct Refusal {
    complaint: String,
    took: Duration,
    /// Of the frames that the director sent to the client: the RSTs, and the ICMP errors.
    resets: usize,
    errors: usize,
    dropped: u64,
}

fn refusal(no_real: &str, vip: IpAddr) -> Refusal {
    let lab = Lab::builder().ipv6().build();
    // No server is started: the checks fail.
    let service =
        Service::tcp(80).on(vip).checked(QUICK_CHECK).with(&format!("no_real = \"{no_real}\"")).all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    for server in lab.real_servers() {
        let address = if vip.is_ipv4() { server.address() } else { server.address6() };
        shown::until_state(&director, address, "down");
    }
    let capture = lab.capture(lab.director(0).port(), "");
    let start = Instant::now();
    let answer = lab.client(0).ask(vip, 80, 1, Duration::from_secs(2)).remove(0);
    let took = start.elapsed();
    let tally = Tally::settled(&director);
    let frames = capture.stop();
    let client = if vip.is_ipv4() { lab.client(0).address() } else { lab.client(0).address6() };
    let unreachable = if vip.is_ipv4() { Icmp::PORT_UNREACHABLE } else { Icmp::PORT_UNREACHABLE6 };
    let sent: Vec<&Frame> = frames
        .iter()
        .filter(|frame| frame.source == lab.director(0).mac() && frame.is_to(client))
        .inspect(|frame| assert_eq!(frame.destination, lab.router().mac(), "back where it came from"))
        .collect();
    Refusal {
        complaint: answer.complaint.expect("there is nobody to answer"),
        took,
        resets: sent.iter().filter(|frame| frame.tcp_flags() & TcpFlags::RST != 0).count(),
        errors: sent.iter().filter(|frame| frame.is_icmp(unreachable)).count(),
        dropped: tally.dropped("no_real"),
    }
}

/// Less than curl waits for a connection to a silent host.
const AT_ONCE: Duration = Duration::from_millis(1900);

#[test]
fn with_no_real_server_the_client_is_told_by_icmp_that_the_port_is_unreachable() {
    for vip in [VIP, VIP6] {
        let told = refusal("icmp", vip);
        assert!(told.complaint.starts_with("curl 7:") && told.took < AT_ONCE, "{}", told.complaint);
        assert!(told.errors > 0 && told.resets == 0 && told.dropped > 0, "{vip}");
    }
}

#[test]
fn with_no_real_server_the_client_is_reset_where_the_service_says_so() {
    for vip in [VIP, VIP6] {
        let told = refusal("reset", vip);
        assert!(told.complaint.starts_with("curl 7:") && told.took < AT_ONCE, "{}", told.complaint);
        assert!(told.resets > 0 && told.errors == 0 && told.dropped > 0, "{vip}");
    }
}

#[test]
fn with_no_real_server_nothing_is_said_where_the_service_says_so() {
    let told = refusal("drop", VIP);
    assert!(told.complaint.starts_with("curl 28:") && told.took >= AT_ONCE, "{}", told.complaint);
    assert!(told.resets == 0 && told.errors == 0 && told.dropped > 0);
}

#[test]
fn a_datagram_with_no_real_server_is_answered_by_port_unreachable() {
    let lab = Lab::builder().ipv6().build();
    let services = [VIP, VIP6].map(|vip| Service::udp(ECHO).on(vip).weighted(&lab, &[Some(0), Some(0)]));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    for vip in [VIP, VIP6] {
        let fault = echo::ask(lab.client(0), (vip, ECHO).into(), "hello", SOON).expect_err("nobody is there");
        assert_eq!(fault.kind(), ErrorKind::ConnectionRefused, "{vip}: {fault}");
    }
    assert_eq!(Tally::settled(&director).dropped("no_real"), 2);
}

#[test]
fn a_packet_at_the_end_of_its_time_is_answered_as_by_any_router() {
    let lab = Lab::builder().ipv6().build();
    let services = [VIP, VIP6].map(|vip| Service::udp(ECHO).on(vip).all(&lab));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);
    let own = &lab.director(0).legs()[0];
    for (vip, what) in [(VIP, Icmp::TIME_EXCEEDED), (VIP6, Icmp::TIME_EXCEEDED6)] {
        let segment = craft::Segment { ttl: 1, ..injector.segment(33_434, (vip, ECHO).into()) };
        let probe = craft::udp(&segment, b"how far is it?");
        injector.send(&director, std::slice::from_ref(&probe));
        let told = injector.receive_where(SOON, |frame| {
            let frame = craft::view(frame);
            frame.is_icmp(what) && frame.is_to(segment.source.ip())
        });
        let told = craft::view(&told.unwrap_or_else(|| panic!("{vip}: nobody says that its time is over")));
        assert_eq!(told.destination, lab.router().mac());
        assert!(
            told.is_from(vip)
                || told.is_from(own.address)
                || own.address6.is_some_and(|own| told.is_from(own)),
            "{told:?}"
        );
        // traceroute knows its probe again by this.
        let probe = craft::view(&probe);
        let (quoted, packet) = (icmp::quoted(&told).expect("a quote"), probe.packet().expect("a packet"));
        let ports = probe.ip.as_ref().map_or(0, |ip| ip.transport - ip.packet.start);
        assert_eq!(quoted.get(ports..ports + 4), packet.get(ports..ports + 4), "{told:?}");
    }
    let tally = Tally::settled(&director);
    assert_eq!((tally.dropped("ttl_expired"), tally.refused()), (2, 2), "{tally:#?}");
}

#[test]
fn packets_of_sctp_are_forwarded_flow_by_flow() {
    const FLOWS: u16 = 40;
    const PORT: u16 = 2905;
    let lab = Lab::builder().ipv6().build();
    let services = [VIP, VIP6].map(|vip| Service::sctp(PORT).on(vip).all(&lab));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);
    for vip in [VIP, VIP6] {
        let to: SocketAddr = (vip, PORT).into();
        let captures: Vec<_> =
            lab.real_servers().map(|server| lab.capture(server.port(), &format!("dst host {vip}"))).collect();
        let before = Tally::settled(&director);
        // A chunk of INIT (1), then one of DATA (0), of no more than their headers.
        let frames: Vec<Vec<u8>> = [1, 0]
            .into_iter()
            .flat_map(|chunk| {
                (0..FLOWS)
                    .map(move |n| (chunk, n))
                    .map(|(chunk, n)| craft::sctp(&injector.segment(30_000 + n, to), &[chunk, 0, 0, 4]))
            })
            .collect();
        injector.send(&director, &frames);
        let wanted = before.tx + frames.len() as u64;
        let tally = Tally::when(&director, "all packets to leave", |tally| tally.tx >= wanted);
        assert_eq!(tally.refused(), 0, "{tally:#?}");
        let arrived: Vec<Vec<Frame>> = captures.into_iter().map(|capture| capture.stop()).collect();
        for (n, frame) in (0..FLOWS).zip(&frames) {
            let original = craft::view(frame);
            let of_flow = |frames: &Vec<Frame>| {
                let ports = Some((30_000 + n, PORT));
                frames.iter().filter(|frame| frame.ip.as_ref().is_some_and(|ip| ip.ports == ports)).count()
            };
            let mut counts: Vec<usize> = arrived.iter().map(of_flow).collect();
            counts.sort_unstable();
            assert_eq!(counts, [0, 2], "both packets of flow {n} of {vip} go to one real server");
            let untouched = |frame: &Frame| frame.transport() == original.transport();
            assert!(arrived.iter().flatten().any(untouched), "flow {n} of {vip}, checksum and all");
        }
        assert!(arrived.iter().all(|frames| !frames.is_empty()), "both have a share of {vip}");
    }
}

#[test]
fn every_datagram_of_a_flow_is_scheduled_anew_where_the_service_says_so() {
    let lab = Lab::builder().build();
    let echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, ECHO)).collect();
    let service = Service::udp(ECHO).with("scheduler = \"rr\"").with("one_packet = true").all(&lab);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));
    let answers: Vec<String> = (0..20)
        .map(|_| echo::ask_from(lab.client(0), 5353, (VIP, ECHO).into(), "x", SOON).unwrap())
        .collect();
    assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "they take turns: {answers:?}");
    assert!(echoes.iter().all(|echo| echo.answered() == 10), "{answers:?}");
    let flows = shown::flows_of(&director, lab.client(0).address());
    assert!(flows.is_empty(), "nothing is remembered of such a flow: {flows:#?}");
}

//! The main job: real clients reach real servers through the real shunt, and the answers go straight back. Nothing in
//! the lab is told to compute checksums: every request leaves its client half done, as in every container network.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use nix::sys::signal::Signal;
use shunt_tests::address::{Segment, VIP};
use shunt_tests::checksum::{self, Transport};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::expect::{self, Shares};
use shunt_tests::tally::list;
use shunt_tests::{
    Capture, Director, Frame, Injector, Lab, LabBuilder, Service, Tally, VipHolding, Watch, WebServer, craft,
    echo, payload, wait,
};
use socket2::{Domain, Protocol, Socket, Type};

const SOON: Duration = Duration::from_secs(20);
const ECHO: u16 = 7;

/// How many of `count` a real server with the share `p` gets: within six standard deviations of the binomial
/// distribution. Source ports are the client's choice and so is the hash of each flow: a bound of three per cent would
/// fail one run in 17 for two servers and 1,000 requests. That bound is for flows that are the same in
/// every run, below.
fn about(count: usize, p: f64) -> std::ops::RangeInclusive<usize> {
    let (mean, six_sigma) = (count as f64 * p, 6.0 * (count as f64 * p * (1.0 - p)).sqrt());
    (mean - six_sigma).ceil() as usize..=(mean + six_sigma).floor() as usize
}

/// A thousand requests, each over a connection of its own, to real servers with these weights.
fn a_thousand_requests(weights: &[u32]) {
    const REQUESTS: usize = 1000;
    let lab = Lab::builder().real_servers(weights.len()).build();
    let servers = WebServer::on_all(&lab);
    let weighted: Vec<Option<u32>> = weights.iter().copied().map(Some).collect();
    let service = Service::tcp(80).checked(QUICK_CHECK).weighted(&lab, &weighted);
    let watch = Watch::start(&lab, 0);
    let director = Director::start(&lab, 0, &config::file(&lab, &[service]));

    let answers = lab.client(0).get_many(VIP, REQUESTS);
    let shares = expect::answered(&answers).unwrap();
    let total: u32 = weights.iter().sum();
    for (n, weight) in weights.iter().enumerate() {
        let share = shares.get(&format!("rs{}", n + 1)).copied().unwrap_or(0);
        assert!(about(REQUESTS, f64::from(*weight) / f64::from(total)).contains(&share), "{shares:?}");
    }

    wait::until(SOON, "every request in a log", || {
        (servers.iter().map(|server| server.requests().len()).sum::<usize>() == REQUESTS).then_some(())
    });
    let tally = Tally::settled(&director);
    tally.check();
    assert_eq!(tally.refused(), 0, "{tally:#?}");
    let seen = watch.stop();
    // SYN, ACK with the request, ACK of the answer, FIN, at least.
    let forwarded = seen.check();
    assert!(forwarded >= 4 * REQUESTS, "{forwarded}");
    assert_eq!(tally.tx, forwarded as u64, "what shunt says that it sent was on the cable");
}

#[test]
fn a_thousand_requests_are_answered_by_two_equal_real_servers() {
    a_thousand_requests(&[1, 1]);
}

#[test]
fn a_thousand_requests_are_answered_by_three_weighted_real_servers() {
    a_thousand_requests(&[1, 2, 3]);
}

/// Ten thousand flows, the same in every run, and so is the key of the hash: the shares never differ from run to run.
#[test]
fn shares_of_distinct_flows_are_within_three_per_cent_of_the_weights() {
    const FLOWS: usize = 10_000;
    let lab = Lab::builder().real_servers(3).build();
    let sets = [(8001, [Some(1), Some(1), None]), (8002, [Some(1), Some(2), Some(3)])];
    let services = sets.map(|(port, weights)| Service::tcp(port).weighted(&lab, &weights));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);
    for (port, weights) in sets {
        let flows: Vec<Vec<u8>> = (0..FLOWS)
            .map(|n| craft::tcp(&injector.segment(10_000 + n as u16, (VIP, port).into()), b""))
            .collect();
        injector.send(&director, &flows);
        let view = director.show("reals");
        let service = format!("{VIP}:{port}/tcp");
        let shares: Vec<f64> = list(&view["reals"])
            .iter()
            .filter(|real| real["service"] == service.as_str())
            .map(|real| real["flows"].as_f64().expect("a number of flows"))
            .collect();
        let (all, total) = (shares.iter().sum::<f64>(), f64::from(weights.iter().flatten().sum::<u32>()));
        assert_eq!(all as usize, FLOWS, "{view:#}");
        for (share, weight) in shares.iter().zip(weights.iter().flatten()) {
            let (is, should) = (share / all, f64::from(*weight) / total);
            assert!((is - should).abs() < 0.03, "{is:.4} of the flows of {service}, not {should:.4}");
        }
    }
}

/// Requests and datagrams through the VIP, and everything that must hold of them.
fn the_main_job(lab: LabBuilder) {
    const REQUESTS: usize = 50;
    let lab = lab.clients(2).real_servers(3).build();
    let _servers = WebServer::on_all(&lab);
    let echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, ECHO)).collect();
    let services = [Service::tcp(80).checked(QUICK_CHECK).all(&lab), Service::udp(ECHO).all(&lab)];
    let watch = Watch::start(&lab, 0);
    let director = Director::start(&lab, 0, &config::file(&lab, &services));

    let mut shares = Shares::new();
    for client in lab.clients() {
        for (server, count) in expect::answered(&client.get_many(VIP, REQUESTS)).unwrap() {
            *shares.entry(server).or_default() += count;
        }
    }
    assert_eq!(shares.values().sum::<usize>(), 2 * REQUESTS);
    assert_eq!(shares.len(), 3, "each real server has a share: {shares:?}");
    for n in 0..REQUESTS {
        let question = format!("datagram {n}");
        let answer = echo::ask(lab.client(n % 2), (VIP, ECHO).into(), &question, SOON).unwrap();
        assert!(answer.starts_with("rs") && answer.ends_with(&format!(" {question}")), "{answer}");
    }
    assert_eq!(echoes.iter().map(echo::Echo::answered).sum::<usize>(), REQUESTS);

    let tally = Tally::settled(&director);
    tally.check();
    let seen = watch.stop();
    assert_eq!(tally.tx, seen.check() as u64, "what shunt says that it sent was on the cable");
    assert!(expect::asked_for(&seen.arp, VIP) && seen.owner_answers_arp(VIP).unwrap() > 0);

    // The checksums: half done in each frame of a client, complete in each that was forwarded (`check` saw to that).
    let half = seen.incoming.iter().filter(|frame| {
        frame.destination == seen.cast.director_in
            && frame.is_to(VIP)
            && checksum::transport(frame) == Transport::Half
    });
    let half = half.count() as u64;
    assert!(half > 0, "clients in the lab leave checksums to hardware that is not there");
    assert_eq!(tally.completed, half);
}

#[test]
fn a_director_forwards_to_real_servers_with_the_vip_on_their_loopback() {
    the_main_job(Lab::builder());
}

#[test]
fn a_director_forwards_to_real_servers_that_redirect_by_nat() {
    the_main_job(Lab::builder().vip_holding(VipHolding::NatRedirect));
}

#[test]
fn a_director_with_two_legs_takes_frames_on_one_and_forwards_on_the_other() {
    the_main_job(Lab::builder().two_legged());
}

/// One ping; an answer is one from the address that was asked.
fn ping(lab: &Lab, to: IpAddr) -> std::io::Result<()> {
    let client = lab.client(0);
    // ICMP sockets that are not raw are for the groups in this range; the kernel fills in checksum and id.
    client.sysctl(&[("ipv4.ping_group_range", "0 0")]);
    client.enter(|| {
        let mut socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
        socket.connect(&SocketAddr::new(to, 0).into())?;
        socket.set_read_timeout(Some(SOON))?;
        // RFC 792: type 8 is an echo request, 0 the reply.
        socket.write_all(&[8, 0, 0, 0, 0, 0, 0, 1, b'h', b'i'])?;
        let mut reply = [0; 64];
        let length = socket.read(&mut reply)?;
        assert_eq!((reply[0], &reply[8..length]), (0, &b"hi"[..]));
        Ok(())
    })
}

/// Reads the greeting of a server at `to`.
fn greeting(lab: &Lab, to: SocketAddr) -> String {
    let mut stream = lab.client(0).connect(to, SOON).unwrap_or_else(|fault| panic!("{to}: {fault}"));
    stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap_or_else(|fault| panic!("{to}: {fault}"));
    text
}

#[test]
fn what_is_not_of_a_service_reaches_the_kernel_untouched() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let director_host = lab.director(0);
    let own = director_host.address();
    // What an ssh daemon does: it listens on all addresses, and greets.
    let daemon = director_host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 22))).unwrap();
    let greeter = std::thread::spawn(move || {
        (0..2).for_each(|_| {
            daemon.accept().expect("a client").0.write_all(b"SSH-2.0-test\r\n").expect("it reads")
        });
    });
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    // Inside tcpdump hears only what the XDP program has passed to the kernel.
    let inside = Capture::start(director_host, "eth0", "", &lab.file("inside.pcap"));
    let outside = lab.capture(director_host.port(), "");

    ping(&lab, VIP).expect("the VIP answers a ping");
    ping(&lab, own).expect("the director's own address answers a ping");
    assert_eq!(greeting(&lab, (VIP, 22).into()), "SSH-2.0-test\r\n", "another port of the VIP");
    assert_eq!(greeting(&lab, (own, 22).into()), "SSH-2.0-test\r\n", "the director's own address");
    // Nobody listens: it is the kernel that says so.
    let refused = lab.client(0).connect((VIP, 81).into(), SOON).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let refused = lab.client(0).connect((own, 80).into(), SOON).expect_err("the service is on the VIP only");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let refused =
        echo::ask(lab.client(0), (VIP, 80).into(), "the other protocol", SOON).expect_err("no such service");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // While all this goes on the service is served.
    expect::answered(&lab.client(0).get_many(VIP, 20)).unwrap();
    greeter.join().expect("both greetings were sent");
    // ARP: somebody new asks, and the kernel answers.
    lab.router().run("ip", &["neighbour", "flush", "dev", "eth0"]);
    ping(&lab, VIP).expect("the VIP answers ARP and a ping");

    let tally = Tally::settled(&director);
    tally.check();
    let outside = outside.stop();
    let inside = inside.stop();
    let is_service = |frame: &Frame| {
        frame.is_to(VIP)
            && frame.ip.as_ref().is_some_and(|ip| ip.protocol == 6 && ip.ports.is_some_and(|p| p.1 == 80))
    };
    let to_director = |frame: &&Frame| frame.source != director_host.mac();
    let (service, other): (Vec<&Frame>, Vec<&Frame>) =
        outside.iter().filter(to_director).partition(|frame| is_service(frame));
    assert_eq!(service.len() as u64, tally.rx(), "the service's frames went to the worker, and only they");
    assert!(!inside.iter().any(is_service), "no frame of the service met the kernel");
    let mut passed = inside.iter().filter(to_director);
    for frame in &other {
        // Both captures have the order of the link; the inner one began first, and may begin with more.
        assert!(
            passed.any(|inner| inner.bytes == frame.bytes),
            "this frame did not reach the kernel as it was: {frame:?}\n{inside:#?}"
        );
    }
    let kinds = |wanted: &dyn Fn(&Frame) -> bool| other.iter().filter(|frame| wanted(frame)).count();
    assert!(kinds(&|frame| frame.arp.is_some()) > 0, "there was ARP: {other:#?}");
    assert!(kinds(&|frame| frame.ip.as_ref().is_some_and(|ip| ip.protocol == 1)) >= 3, "there were pings");
}

#[test]
fn a_download_survives_the_death_of_another_real_server() {
    const BYTES: u64 = 24 << 20;
    let lab = Lab::builder().real_servers(3).build();
    let mut servers = WebServer::on_all(&lab);
    servers.iter().for_each(|server| drop(server.file("long", BYTES, 1)));
    let expected = payload::digest(&servers[0].folder().join("files/long"));
    let director =
        Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).checked(QUICK_CHECK).all(&lab)]));

    let file = lab.file("long");
    // 8 MiB a second: it takes three, if nobody stops it.
    let mut download = lab.client(0).download(VIP, "/long", &file, Some("8M"));
    let holder = wait::until(SOON, "the download among the flows", || {
        let view = director.show("flows");
        let flow = list(&view["flows"]).iter().find(|flow| flow["state"] == "established")?;
        lab.real_servers().position(|server| flow["real"] == server.address().to_string())
    });
    wait::until(SOON, "its beginning", || (std::fs::metadata(&file).ok()?.len() > 0).then_some(()));
    // curl stands still in the middle of it, and the connection with it, for as long as the rest takes.
    download.signal(Signal::SIGSTOP);
    let victim = (holder + 1) % 3;
    servers[victim].kill9();
    let gone = lab.real_server(victim).address().to_string();
    wait::until(SOON, "the dead server to be down", || {
        let view = director.show("reals");
        let real = list(&view["reals"]).iter().find(|real| real["address"] == gone.as_str())?;
        (real["state"] == "down").then_some(())
    });
    let shares = expect::answered(&lab.client(0).get_many(VIP, 100)).unwrap();
    assert!(shares.len() == 2 && !shares.contains_key(&format!("rs{}", victim + 1)), "{shares:?}");

    assert!(std::fs::metadata(&file).expect("it has begun").len() < BYTES, "it is not at its end");
    download.signal(Signal::SIGCONT);
    assert!(download.wait(Duration::from_secs(60)).success());
    assert_eq!(payload::digest(&file), expected);
    assert_eq!(director.show("workers")["workers"][0]["flows"]["moved"], 0, "no flow had to move");
    // The answers went past the director, and so did the whole download.
    let port = shunt_tests::link::counters(lab.switch(), lab.director(0).leg(Segment::Lan).port.as_str());
    assert!(port.tx_bytes < BYTES / 4, "{port:?}");
}

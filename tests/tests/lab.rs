//! The lab does what it says, and its assertions fail when they should. No shunt is needed: where a director is, a
//! stand-in does its work, well or badly.

mod stand_in;

use std::io::Read;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shunt_tests::address::{Segment, VIP};
use shunt_tests::craft::{self, Checksum};
use shunt_tests::expect::{self, Violation};
use shunt_tests::watch::Seen;
use shunt_tests::{
    Daemon, Frame, Lab, PacketSocket, VipHolding, Watch, WebServer, echo, link, payload, wait,
};
use stand_in::{Fault, StandIn};

const SOON: Duration = Duration::from_secs(10);
/// For what is not going to happen.
const BRIEFLY: Duration = Duration::from_millis(500);

#[test]
fn a_lab_is_set_up_quickly() {
    let start = Instant::now();
    let lab = Lab::builder().clients(2).directors(2).real_servers(3).queues(2).build();
    let took = start.elapsed();
    eprintln!("set up in {took:?}");
    // Half a second alone on the machine; the limit leaves room for the tests beside it.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(lab.namespaces().len(), 9);
}

#[test]
fn a_client_reaches_a_real_servers_own_address_through_the_router() {
    let lab = Lab::builder().directors(0).build();
    let _servers = WebServer::on_all(&lab);
    let capture = lab.capture("rs2", "tcp port 80");
    let answer = lab.client(0).get(lab.real_server(1).address());
    let frames = capture.stop();
    assert_eq!((answer.server.as_deref(), answer.status), (Some("rs2"), 200), "{answer:?}");
    let request = frames.iter().find(|frame| frame.is_to(lab.real_server(1).address())).expect("a request");
    assert!(request.is_from(lab.client(0).address()), "the router does not hide the client");
    assert_eq!(request.source, lab.router().mac());
    assert_eq!(request.ip.as_ref().map(|ip| ip.ttl), Some(63), "one router is on the way");
}

#[test]
fn answers_reach_the_client_and_nothing_is_amiss_with_a_good_director() {
    for lab in
        [Lab::builder(), Lab::builder().vip_holding(VipHolding::NatRedirect), Lab::builder().two_legged()]
    {
        let lab = lab.clients(2).build();
        let servers = WebServer::on_all(&lab);
        let echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, 7)).collect();
        let watch = Watch::start(&lab, 0);
        let _director = StandIn::start(&lab, VIP, Fault::Nothing);

        let answers: Vec<_> = lab.clients().iter().flat_map(|client| client.get_many(VIP, 10)).collect();
        let shares = expect::answered(&answers).unwrap();
        assert_eq!(shares.values().sum::<usize>(), 20);
        assert_eq!(shares.len(), 2, "ports differ, so both servers have a share: {shares:?}");
        wait::until(SOON, "20 requests in the logs", || {
            (servers.iter().map(|server| server.requests().len()).sum::<usize>() == 20).then_some(())
        });
        let echoed = echo::ask(lab.client(0), (VIP, 7).into(), "hello", SOON).unwrap();
        assert!(echoed.starts_with("rs") && echoed.ends_with(" hello"), "{echoed}");
        assert_eq!(echoes.iter().map(echo::Echo::answered).sum::<usize>(), 1);

        let seen = watch.stop();
        let forwarded = seen.check();
        // At least SYN, ACK, request and FIN of every connection, and one datagram.
        assert!(forwarded > 80, "{forwarded}");
        assert!(expect::asked_for(&seen.arp, VIP) && seen.owner_answers_arp(VIP).unwrap() > 0);
    }
}

/// One datagram from the client to the VIP, with half a checksum as a kernel would leave it, and what is seen of it
/// when the director has sent `copies` of it.
fn one_datagram(lab: &Lab, copies: usize) -> Seen {
    let watch = Watch::start(lab, 0);
    let from_director = PacketSocket::open(lab.switch(), lab.director(0).port());
    let client = lab.client(0).packet_socket();
    let segment = craft::Segment {
        source_mac: client.mac(),
        destination_mac: "02:00:00:00:a0:01".parse().unwrap(),
        source: (lab.client(0).address(), 4242).into(),
        destination: (VIP, 7).into(),
        checksum: Checksum::Half,
        ..Default::default()
    };
    client.send(&craft::udp(&segment, b"from the client"));
    let forwarded = |frame: &[u8]| craft::view(frame).is_from(lab.client(0).address());
    for _ in 0..copies {
        from_director.receive_where(SOON, forwarded).expect("the director forwards the datagram");
    }
    watch.stop()
}

#[test]
fn a_director_that_changes_what_it_must_not_is_found_out() {
    let cases = [
        (Fault::KeepsTtl, "the TTL has not gone down by one"),
        (Fault::LeavesHeaderChecksum, "header checksum of the forwarded frame is wrong"),
        (Fault::LeavesHalfChecksum, "half done"),
        (Fault::ChangesPayload, "never received like this"),
        (Fault::ChangesDestination, "never received like this"),
        (Fault::KeepsSourceMac, "do not carry the director's MAC"),
        (Fault::SendsTwice, "more often than received"),
        (Fault::SendsToRouter, "no real server"),
    ];
    for (fault, complaint) in cases {
        let lab = Lab::builder().build();
        let _director = StandIn::start(&lab, VIP, fault);
        let seen = one_datagram(&lab, if fault == Fault::SendsTwice { 2 } else { 1 });
        let said =
            seen.verdict().expect_err(&format!("{fault:?} goes unnoticed; seen: {:#?}", seen.incoming));
        assert!(said.to_string().contains(complaint), "{fault:?}: {said}");
    }
    let lab = Lab::builder().build();
    let _director = StandIn::start(&lab, VIP, Fault::Nothing);
    assert_eq!(one_datagram(&lab, 1).check(), 1);
}

#[test]
fn a_director_that_forwards_nothing_leaves_the_client_without_an_answer() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let _director = StandIn::start(&lab, VIP, Fault::ForgetsAll);
    let watch = Watch::start(&lab, 0);
    let answers = lab.client(0).ask(VIP, 80, 2, BRIEFLY);
    let said = expect::answered(&answers).expect_err("no answer came");
    assert!(said.to_string().contains("2 of 2 requests failed"), "{said}");
    assert!(expect::answered(&[]).is_err(), "no question is no proof");
    let seen = watch.stop();
    assert!(seen.incoming.iter().any(|frame| frame.is_to(VIP)), "the client's SYN was there to be forwarded");
    let panic = catch_unwind(AssertUnwindSafe(|| seen.check())).expect_err("nothing was forwarded");
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("forwarded nothing")));
}

#[test]
fn answers_that_cross_the_director_are_found_out() {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let _director = StandIn::start(&lab, VIP, Fault::Nothing);
    // The mistake: a real server whose way out is the director, which routes.
    lab.director(0).sysctl(&[("ipv4.ip_forward", "1"), ("ipv4.conf.all.accept_local", "1")]);
    for server in lab.real_servers() {
        server.ip(&format!("route replace default via {}\n", lab.director(0).address()));
    }
    let watch = Watch::start(&lab, 0);
    let answers = lab.client(0).ask(VIP, 80, 1, BRIEFLY);
    let seen = watch.stop();
    let said = seen.replies_bypass().expect_err(&format!("{answers:?}\n{:#?}", seen.incoming));
    assert!(said.to_string().contains("answers crossed the director's port"), "{said}");
}

#[test]
fn a_real_server_that_answers_arp_for_the_vip_is_found_out() {
    let lab = Lab::builder().build();
    let _director = StandIn::start(&lab, VIP, Fault::Nothing);
    lab.real_server(0).sysctl(&[("ipv4.conf.all.arp_ignore", "0")]);
    let watch = Watch::start(&lab, 0);
    let IpAddr::V4(vip) = VIP else { unreachable!("the first VIP is an IPv4 address") };
    let IpAddr::V4(asker) = lab.router().address() else { unreachable!("as above") };
    let router = lab.router().packet_socket();
    router.send(&craft::arp_request(router.mac(), asker, vip));
    let claims = |wanted: &shunt_tests::Mac| {
        let from_wanted = |frame: &[u8]| craft::view(frame).arp.is_some_and(|arp| arp.sender_mac == *wanted);
        router.receive_where(SOON, from_wanted).is_some()
    };
    assert!(claims(&lab.real_server(0).mac()), "the mistake is made");
    let seen = watch.stop();
    assert!(expect::asked_for(&seen.arp, VIP));
    let said = seen.owner_answers_arp(VIP).expect_err("two answer");
    assert!(said.to_string().contains(&lab.real_server(0).mac().to_string()), "{said}");
    // One who claims the VIP unasked is as bad.
    let announced = craft::view(&craft::arp_announcement(lab.real_server(1).mac(), vip));
    assert!(expect::owner_answers_arp(&[announced], VIP, lab.director(0).mac()).is_err());
}

#[test]
fn a_capture_misses_nothing() {
    let lab = Lab::builder().real_servers(1).build();
    let count = 20_000;
    let capture = lab.capture("director1", "udp");
    let sender = lab.router().packet_socket();
    let frames: Vec<Vec<u8>> = (0..100)
        .map(|n| {
            let segment = craft::Segment {
                source_mac: sender.mac(),
                destination_mac: lab.director(0).mac(),
                source: (lab.client(0).address(), 1000 + n).into(),
                destination: (VIP, 7).into(),
                id: n,
                ..Default::default()
            };
            craft::udp(&segment, &[0; 18])
        })
        .collect();
    // A tcpdump that is far behind when the capture ends.
    let signal = |signal| kill(Pid::from_raw(capture.pid()), signal).unwrap();
    signal(Signal::SIGSTOP);
    assert_eq!(sender.send_many(&frames, count).unwrap(), count);
    signal(Signal::SIGCONT);
    let seen = capture.stop();
    assert_eq!(seen.len(), count);
    let in_turn = |(n, frame): (usize, &Frame)| frame.ip.as_ref().is_some_and(|ip| ip.id as usize == n % 100);
    assert!(seen.iter().enumerate().all(in_turn), "every frame, in the order in which it was sent");
}

#[test]
fn an_upload_and_a_download_arrive_as_they_were() {
    let lab = Lab::builder().directors(0).real_servers(1).build();
    let server = WebServer::start(&lab, lab.real_server(0));
    let address = lab.real_server(0).address();
    let (up, down) = (lab.file("up"), lab.file("down"));
    payload::write(&up, 20 << 20, 1).unwrap();
    let big = server.file("big", 20 << 20, 2);
    let mut upload = lab.client(0).upload(address, &up, "kept", None);
    let mut download = lab.client(0).download(address, "/big", &down, None);
    for curl in [&mut upload, &mut download] {
        let status = curl.wait(Duration::from_secs(60));
        assert!(status.success(), "{}", curl.log().text());
    }
    let kept = wait::until(SOON, "the upload to be kept", || server.uploaded("kept"));
    assert_eq!(payload::digest(&kept), payload::digest(&up));
    assert_eq!(payload::digest(&down), payload::digest(&big));
}

#[test]
fn a_web_server_stops_and_starts_again() {
    let lab = Lab::builder().directors(0).real_servers(1).build();
    let mut server = WebServer::start_on(&lab, lab.real_server(0), &[80, 8080]);
    let address = lab.real_server(0).address();
    let client = lab.client(0);
    assert_eq!(client.ask(address, 8080, 1, SOON)[0].status, 200);
    assert!(server.stop().success());
    let refused = client.get(address);
    assert!(refused.complaint.as_ref().is_some_and(|text| text.contains("curl 7")), "{refused:?}");
    server.start_again();
    assert_eq!(client.get(address).status, 200);
    server.kill9();
    server.start_again();
    assert_eq!(client.get(address).status, 200);
}

#[test]
fn flows_spread_over_the_queues_of_the_directors_port() {
    const QUEUES: usize = 4;
    let lab = Lab::builder().queues(QUEUES).build();
    // A fan-out by queue: each socket of the group gets the frames of one queue.
    let sockets: Vec<_> = (0..QUEUES).map(|_| lab.director(0).packet_socket()).collect();
    for socket in &sockets {
        fan_out_by_queue(socket);
    }
    lab.director(0).add_address(VIP, "eth0");
    let client = lab.client(0);
    for port in 0..64 {
        // Nobody listens there: each SYN is a flow of its own, and is refused at once.
        let _ = client.connect((VIP, 9000 + port).into(), SOON);
    }
    let mut counts = [0; QUEUES];
    for (count, socket) in counts.iter_mut().zip(&sockets) {
        while socket.receive_where(Duration::from_millis(1), |frame| craft::view(frame).is_to(VIP)).is_some()
        {
            *count += 1;
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), 64, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "every queue has its share: {counts:?}");
}

fn fan_out_by_queue(socket: &PacketSocket) {
    use std::os::fd::AsRawFd;
    const PACKET_FANOUT_QM: libc::c_int = 5;
    let group: libc::c_int = 1 | PACKET_FANOUT_QM << 16;
    // SAFETY: the kernel reads one c_int from `group`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.socket().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw const group).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_link_counts_and_can_be_cut() {
    let lab = Lab::builder().real_servers(1).build();
    let (switch, server) = (lab.switch(), lab.real_server(0));
    let pings =
        |wait: &str| lab.router().try_run("ping", &["-c1", wait, &server.address().to_string()]).is_ok();
    let before = link::counters(switch, server.port());
    assert!(pings("-W10"));
    let after = link::counters(switch, server.port());
    assert!(after.rx_frames > before.rx_frames && after.tx_bytes > before.tx_bytes, "{before:?} {after:?}");
    lab.unplug(server, Segment::Lan);
    assert!(!pings("-W1"));
    lab.plug(server, Segment::Lan);
    assert!(pings("-W10"));
}

#[test]
fn a_two_legged_director_stands_between_two_lans() {
    let lab = Lab::builder().two_legged().build();
    let director = lab.director(0);
    assert_eq!(director.leg(Segment::Servers).interface, "eth1");
    for server in lab.real_servers() {
        director.run("ping", &["-c1", "-W5", "-I", "eth1", &server.address().to_string()]);
    }
    assert!(lab.real_servers().all(|server| server.leg(Segment::Servers).port == server.role()));
}

#[test]
fn a_process_does_not_end_with_the_thread_that_started_it() {
    let lab = Lab::builder().directors(0).real_servers(0).build();
    let client = lab.client(0);
    let mut sleep = std::thread::scope(|scope| {
        let start = || {
            let mut command = client.command("sleep");
            command.arg("1000");
            client.spawn(command)
        };
        scope.spawn(start).join().expect("it starts")
    });
    // The signal of the dead thread would arrive at once; the look into the namespace takes longer.
    assert_eq!(client.pids(), [sleep.pid()]);
    assert!(sleep.ended().is_none());
    assert!(!sleep.stop(SOON).success());
}

#[test]
fn labs_stand_side_by_side() {
    std::thread::scope(|scope| {
        let test = |count: usize| {
            move || {
                let lab = Lab::builder().directors(0).real_servers(count).build();
                let _servers = WebServer::on_all(&lab);
                let last = lab.real_server(count - 1);
                // The same addresses in both labs, another server behind them.
                (0..5).map(|_| lab.client(0).get(last.address()).server).collect::<Vec<_>>()
            }
        };
        let (one, two) = (scope.spawn(test(1)), scope.spawn(test(2)));
        let all = |name: &str| vec![Some(name.to_owned()); 5];
        assert_eq!(one.join().expect("the first lab"), all("rs1"));
        assert_eq!(two.join().expect("the second lab"), all("rs2"));
    });
}

#[test]
fn a_violation_prints_its_lines_as_lines() {
    let said = expect::answered(&[]).expect_err("nothing was asked");
    assert_eq!(format!("{said:?}"), said.to_string());
    let _: &dyn std::error::Error = &said as &Violation;
}

#[test]
fn other_servers_than_nginx_run_in_the_lab() {
    let lab = Lab::builder().real_servers(1).directors(0).build();
    let host = lab.real_server(0);
    let mut haproxy = Daemon::haproxy(&lab, host, 443, "www.example.com");
    let certificate = haproxy.certificate();
    let https = |path: &str| {
        let url = format!("https://www.example.com{path}");
        let resolve = format!("www.example.com:443:{}", host.address());
        let ca = certificate.to_string_lossy().into_owned();
        lab.router().try_run("curl", &["-sS", "--fail", "--cacert", &ca, "--resolve", &resolve, &url])
    };
    assert_eq!(https("/").unwrap(), "rs1\n");
    assert!(https("/down").is_err());
    haproxy.stop();
    assert!(https("/").is_err());
    haproxy.start_again();

    let exim = Daemon::exim(&lab, host);
    let letter = lab.file("letter");
    std::fs::write(&letter, "Subject: a test\r\n\r\nhello\r\n").unwrap();
    let mail = format!("smtp://{}", host.address());
    let letter = letter.to_string_lossy().into_owned();
    lab.router().run(
        "curl",
        &["-sS", &mail, "--mail-from", "a@example.com", "--mail-rcpt", "b@example.com", "-T", &letter],
    );
    wait::until(Duration::from_secs(20), "the mail", || exim.mail().contains("hello").then_some(()));

    let _dnsmasq = Daemon::dnsmasq(&lab, host);
    let _sshd = Daemon::sshd(&lab, host, 22);
    let mut banner = [0; 4];
    let mut session = lab.router().connect((host.address(), 22).into(), Duration::from_secs(5)).unwrap();
    session.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-");
}

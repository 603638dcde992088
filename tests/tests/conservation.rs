//! No frame is lost without being counted: a million of them over a real cable, good and bad ones, faster than the
//! workers can take them; and garbage while clients are served.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::signal::Signal;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::tcp::TcpFlags;
use shunt_tests::address::VIP;
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::{
    Director, Injector, Lab, Namespace, Service, Sink, Tally, WebServer, craft, expect, link, wait,
};

const SOON: Duration = Duration::from_secs(20);
const PORT: u16 = 9;
const IP: usize = 14;
const TRANSPORT: usize = 34;

/// A frame for a service, with one thing wrong, and the counter that names it.
struct Flaw {
    reason: &'static str,
    frame: Vec<u8>,
}

/// Every way to be wrong that the XDP program lets through to a worker: it only looks at what it steers by.
fn flaws(injector: &Injector) -> Vec<Flaw> {
    let to: SocketAddr = (VIP, PORT).into();
    let good = injector.segment(33_333, to);
    let udp = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = craft::udp(&good, b"payload");
        change(&mut frame);
        frame
    };
    // The header's checksum is made right again: only one thing is to be wrong.
    let header = |frame: &mut Vec<u8>, change: &dyn Fn(&mut MutableIpv4Packet)| {
        let mut packet = MutableIpv4Packet::new(&mut frame[IP..]).expect("an IPv4 packet");
        change(&mut packet);
        let sum = ipv4::checksum(&packet.to_immutable());
        packet.set_checksum(sum);
    };
    let from = |address: [u8; 4]| {
        craft::udp(&craft::Segment { source: (IpAddr::from(address), 33_333).into(), ..good }, b"payload")
    };
    let ttl = |ttl| craft::udp(&craft::Segment { ttl, ..good }, b"payload");
    let mut short_tcp = craft::tcp(&good, b"payload");
    short_tcp[TRANSPORT + 12] = 4 << 4;
    let flaw = |reason, frame| Flaw { reason, frame };
    vec![
        flaw("ip_checksum_bad", udp(&|frame| frame[IP + 10] ^= 0x55)),
        flaw("ttl_expired", ttl(1)),
        flaw("ttl_expired", ttl(0)),
        // 15 bytes, and more to come: a fragment that is not the last one has a multiple of 8.
        flaw("fragment_bad", udp(&|frame| header(frame, &|packet| packet.set_flags(1)))),
        flaw("ip_total_length_bad", udp(&|frame| header(frame, &|packet| packet.set_total_length(1000)))),
        flaw("ip_total_length_bad", udp(&|frame| header(frame, &|packet| packet.set_total_length(19)))),
        flaw("udp_length_bad", udp(&|frame| frame[TRANSPORT + 5] = 7)),
        flaw("udp_length_bad", udp(&|frame| frame[TRANSPORT + 4] = 0xff)),
        flaw("frame_truncated", udp(&|frame| header(frame, &|packet| packet.set_total_length(20 + 6)))),
        flaw("source_martian", from([127, 0, 0, 1])),
        flaw("source_martian", from([224, 0, 0, 1])),
        flaw("tcp_header_bad", short_tcp),
    ]
}

/// Frames that `interface` was to send and that its peer had no room for.
fn sent_in_vain(namespace: &Namespace, interface: &str) -> u64 {
    link::counters(namespace, interface).tx_dropped
}

#[test]
fn a_million_frames_over_a_cable_add_up_to_the_frame() {
    const FRAMES: u64 = 1_000_000;
    const WAVE: usize = 250_000;
    let lab = Lab::builder().queues(2).build();
    let sinks: Vec<_> =
        lab.real_servers().map(|server| Sink::open(server, &format!("ip daddr {VIP}"))).collect();
    let services = [Service::udp(PORT).all(&lab), Service::tcp(PORT).all(&lab)];
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);

    // One frame in four has a flaw; the others are of 1,000 flows.
    let flaws = flaws(&injector);
    let frames: Vec<Vec<u8>> = (0..1000)
        .map(|n| match n % 4 {
            0 => flaws[n / 4 % flaws.len()].frame.clone(),
            _ => craft::udp(&injector.segment(20_000 + n as u16, (VIP, PORT).into()), b"a datagram"),
        })
        .collect();
    let director_host = lab.director(0);
    let before = Tally::settled(&director);
    assert_eq!((before.redirected, before.rx()), (0, 0));
    // The kernel, too, counts what it could not deliver. Nothing else moves while no check runs but some ARP.
    let cables = || {
        let switch = lab.switch();
        let servers = lab.real_servers().map(|server| sent_in_vain(switch, server.port())).sum::<u64>();
        sent_in_vain(director_host, "eth0") + servers
    };
    let in_vain = cables();

    // Faster than two workers are on a machine that has other things to do: until a million have been through them,
    // some more are sent.
    let mut sent = 0;
    let tally = loop {
        sent += injector.send_fast(&frames, WAVE) as u64;
        let tally = Tally::when(&director, "the last frames", |tally| tally.redirected == sent);
        tally.check();
        if tally.rx() >= FRAMES {
            break tally;
        }
        assert!(sent < 20 * FRAMES, "workers receive next to nothing: {tally:#?}");
    };
    // All arrived at the XDP program, which gave each to a worker; what the workers had no frame for is counted.
    assert_eq!(tally.redirected, sent, "{tally:#?}");
    assert_eq!(tally.dropped("no_socket"), 0);
    assert!(tally.tx > 0 && tally.refused() > 0, "{tally:#?}");
    for flaw in &flaws {
        assert!(tally.dropped(flaw.reason) > 0, "nothing was dropped as {}: {tally:#?}", flaw.reason);
    }
    // All that left arrived, but for what the cables behind the director dropped and counted.
    let arrived = wait::until(SOON, "the forwarded frames at the real servers", || {
        let arrived = sinks.iter().map(Sink::frames).sum::<u64>();
        (arrived + cables() - in_vain == tally.tx).then_some(arrived)
    });
    let per_worker = &tally.rx;
    eprintln!("sent {sent}, received {per_worker:?}, forwarded {}, arrived {arrived}", tally.tx);
    eprintln!("dropped: {:?}", tally.drops);
}

#[test]
fn a_queue_that_overflows_is_counted() {
    const FRAMES: usize = 100_000;
    let lab = Lab::builder().build();
    let sinks: Vec<_> =
        lab.real_servers().map(|server| Sink::open(server, &format!("ip daddr {VIP}"))).collect();
    // So few frames that a burst empties the fill ring.
    let text = config::with(&lab, "frames_per_queue = 256", &[Service::udp(PORT).all(&lab)]);
    let mut director = Director::start(&lab, 0, &text);
    let injector = Injector::open(&lab, 0);
    let frames: Vec<Vec<u8>> = (0..100)
        .map(|n| craft::udp(&injector.segment(20_000 + n, (VIP, PORT).into()), b"a datagram"))
        .collect();
    // While it does not run, nobody takes the frames.
    director.process().signal(Signal::SIGSTOP);
    wait::until(SOON, "every thread of shunt to stand still", || is_stopped(director.pid()).then_some(()));
    let sent = injector.send_fast(&frames, FRAMES) as u64;
    director.process().signal(Signal::SIGCONT);
    let tally = Tally::when(&director, "the last frames", |tally| tally.redirected == sent);
    tally.check();
    assert_eq!((tally.rx(), tally.dropped("worker_slow")), (256, sent - 256), "{tally:#?}");
    wait::until(SOON, "the forwarded frames", || {
        (sinks.iter().map(Sink::frames).sum::<u64>() == tally.tx).then_some(())
    });
    // And the queue works again.
    injector.send(&director, &frames);
    assert_eq!(Tally::settled(&director).rx(), 356);
}

#[test]
fn garbage_disturbs_no_client_and_is_counted_by_its_reason() {
    const ROUNDS: usize = 20;
    const RANDOM: usize = 500;
    const REQUESTS: usize = 15;
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let services = [
        Service::tcp(80).checked(QUICK_CHECK).all(&lab),
        Service::udp(PORT).all(&lab),
        Service::tcp(PORT).all(&lab),
    ];
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let injector = Injector::open(&lab, 0);
    let flaws = flaws(&injector);
    let crafted: Vec<Vec<u8>> = flaws.iter().map(|flaw| flaw.frame.clone()).collect();
    let mut random = Random(1);
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| lab.client(0).get_many(VIP, REQUESTS));
            let garbage: Vec<Vec<u8>> = (0..RANDOM).map(|_| random.frame(&injector)).collect();
            injector.send(&director, &garbage);
            injector.send(&director, &crafted);
            let answers = client.join().expect("the client does not panic");
            expect::answered(&answers).unwrap_or_else(|failed| panic!("round {round}: {failed}"));
        });
    }
    let tally = Tally::settled(&director);
    tally.check();
    // Random frames have reasons of their own; of the crafted ones each is counted where it belongs.
    for flaw in &flaws {
        let alike = flaws.iter().filter(|other| other.reason == flaw.reason).count();
        assert!(tally.dropped(flaw.reason) >= (ROUNDS * alike) as u64, "{}: {tally:#?}", flaw.reason);
    }
    assert!(tally.lost() == 0 && tally.passed > 0, "{tally:#?}");
    let reasons: Vec<&String> = tally.drops.keys().collect();
    eprintln!("{} frames refused, for {reasons:?}; {} left to the kernel", tally.refused(), tally.passed);
}

/// Whether every thread of a process is stopped: a signal stops each when the kernel gets round to it.
fn is_stopped(pid: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks.flatten().all(|task| {
        // proc(5): the state comes behind the name, which is in brackets.
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

/// Frames that look like something for the VIP, as far as it goes. The same ones in every run: a failure can be had
/// again.
struct Random(u64);

impl Random {
    /// SplitMix64, as in `payload`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A packet for one of the services or its neighbours, then some bytes replaced and the end cut off or extended.
    /// Never a whole SYN for port 80: an answer to a client that has not asked is no garbage.
    fn frame(&mut self, injector: &Injector) -> Vec<u8> {
        let port = [PORT, PORT, 80, 81, 22][self.below(5)];
        let source_port = 40_000 + self.below(20_000) as u16;
        let segment =
            craft::Segment { flags: TcpFlags::ACK, ..injector.segment(source_port, (VIP, port).into()) };
        let mut payload = vec![0; self.below(200)];
        payload.fill_with(|| self.next() as u8);
        let mut frame = match self.below(2) {
            0 => craft::udp(&segment, &payload),
            _ => craft::tcp(&segment, &payload),
        };
        for _ in 0..self.below(12) {
            // Of the headers mostly: that is where it hurts. Not the destination MAC: the frame is for this director.
            let place = 6 + self.below(60.min(frame.len() - 6));
            frame[place] = self.next() as u8;
        }
        if self.below(3) == 0 {
            // Shorter than an Ethernet header no packet socket sends.
            frame.truncate(IP + self.below(frame.len() - IP));
        }
        frame
    }
}

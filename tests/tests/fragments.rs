//! Fragments: every part of a datagram reaches the real server of its flow, in whatever order the parts come.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::{VIP, VIP6};
use shunt_tests::config;
use shunt_tests::{Director, Frame, Injector, Lab, Service, Tally, craft, echo, fragment, wait};

const SOON: Duration = Duration::from_secs(30);
const ECHO: u16 = 7;
/// Where nobody listens: what is delivered there is seen by captures.
const SILENT: u16 = 9;
const VIPS: [IpAddr; 2] = [VIP, VIP6];

fn start(lab: &Lab, port: u16) -> Director {
    Director::start(lab, 0, &config::file(lab, &VIPS.map(|vip| Service::udp(port).on(vip).all(lab))))
}

#[test]
fn datagrams_of_8_kilobytes_are_all_answered() {
    const DATAGRAMS: usize = 100;
    let lab = Lab::builder().real_servers(3).queues(2).ipv6().build();
    let echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, ECHO)).collect();
    let director = start(&lab, ECHO);
    for vip in VIPS {
        for n in 0..DATAGRAMS {
            let question = format!("{n:-<8000}");
            let answer = echo::ask(lab.client(0), (vip, ECHO).into(), &question, SOON).unwrap();
            // "rsN QUESTION", and nothing of another datagram in it.
            assert!(answer.starts_with("rs") && answer[4..] == question, "{n} of {vip}: {answer}");
        }
    }
    assert_eq!(echoes.iter().map(echo::Echo::answered).sum::<usize>(), 2 * DATAGRAMS);
    assert!(echoes.iter().all(|echo| echo.answered() > 0), "each real server had a share");
    let tally = Tally::settled(&director);
    assert_eq!(tally.refused(), 0, "{tally:#?}");
    // Six fragments each: 8,008 bytes in parts of 1,480 or less.
    assert!(tally.rx() >= 2 * 6 * DATAGRAMS as u64, "{tally:#?}");
}

#[test]
fn iperf3_sends_datagrams_of_8000_bytes_through_a_vip() {
    const PORT: u16 = 5201;
    let lab = Lab::builder().build();
    let mut servers = Vec::new();
    for server in lab.real_servers() {
        let mut iperf3 = server.command("iperf3");
        // Bound to the VIP: its datagrams must come from there.
        iperf3.args(["--server", "--forceflush", "--bind", &VIP.to_string()]);
        let iperf3 = server.spawn(iperf3);
        iperf3.wait_for_line("Server listening", SOON);
        servers.push(iperf3);
    }
    // iperf3 has a TCP connection beside its datagrams, and both must meet the same server: `sh` goes by the client.
    let services = [Service::tcp(PORT), Service::udp(PORT)]
        .map(|service| service.with("scheduler = \"sh\"").with("persistence = \"60s\"").all(&lab));
    let director = Director::start(&lab, 0, &config::file(&lab, &services));
    let mut iperf3 = lab.client(0).command("iperf3");
    iperf3.args([
        "--client",
        &VIP.to_string(),
        "--udp",
        "--length",
        "8000",
        "--bitrate",
        "20M",
        "--bytes",
        "4M",
    ]);
    let output = iperf3.arg("--json").output().expect("iperf3 starts");
    let view: Value = serde_json::from_slice(&output.stdout).expect("iperf3 writes JSON");
    let number = |key: &str| view["end"]["sum"][key].as_u64();
    let (Some(packets), Some(lost)) = (number("packets"), number("lost_packets")) else {
        panic!("no result: {view:#}");
    };
    // 4 MiB. A socket's buffer may overflow on a machine that has other things to do, but not often.
    assert!(packets >= 500 && lost * 20 <= packets, "{lost} of {packets} lost: {:#}", view["end"]);
    let tally = Tally::settled(&director);
    assert_eq!(tally.dropped("fragment_orphan") + tally.dropped("fragment_bad"), 0, "{tally:#?}");
    assert!(tally.tx >= 6 * packets, "in fragments: {tally:#?}");
}

/// The parts of datagram number `n` to `vip`, a flow of its own, three parts each.
fn parts(injector: &Injector, vip: IpAddr, n: u16) -> Vec<Vec<u8>> {
    let to: SocketAddr = (vip, SILENT).into();
    let segment = craft::Segment { id: 1000 + n, ..injector.segment(20_000 + n, to) };
    let parts = fragment::cut(&craft::udp(&segment, &[n as u8; 3000]), 1400, 1000 + u32::from(n));
    assert_eq!(parts.len(), 3);
    parts
}

/// What identifies the datagram that a fragment is of, and the place of the fragment in it.
fn place(frame: &Frame) -> Option<(u32, usize)> {
    frame.ip.as_ref().filter(|ip| ip.fragment).map(|ip| (ip.id, ip.fragment_offset))
}

#[test]
fn later_fragments_that_overtake_the_first_reach_the_real_server_of_the_flow() {
    const DATAGRAMS: u16 = 12;
    let lab = Lab::builder().ipv6().build();
    let director = start(&lab, SILENT);
    let injector = Injector::open(&lab, 0);
    for vip in VIPS {
        for (round, order) in (0..).zip([[1, 2, 0], [2, 1, 0], [1, 0, 2], [0, 1, 2]]) {
            // Flows and datagrams that no round before has had.
            let datagrams = round * DATAGRAMS..(round + 1) * DATAGRAMS;
            let filter = format!("dst host {vip}");
            let captures: Vec<_> =
                lab.real_servers().map(|server| lab.capture(server.port(), &filter)).collect();
            let before = Tally::settled(&director);
            for n in datagrams.clone() {
                let parts = parts(&injector, vip, n);
                let frames = order.map(|part| parts[part].clone());
                injector.send(&director, &frames);
            }
            // Held ones go out a moment after the first: wait for the last.
            let wanted = before.tx + 3 * u64::from(DATAGRAMS);
            let tally = Tally::when(&director, "all fragments to leave", |tally| tally.tx >= wanted);
            assert_eq!(tally.refused(), 0, "{tally:#?}");
            let arrived: Vec<Vec<Frame>> = captures.into_iter().map(|capture| capture.stop()).collect();
            for n in datagrams.map(u32::from) {
                let here = |frames: &Vec<Frame>| {
                    let mut places: Vec<usize> = frames
                        .iter()
                        .filter_map(place)
                        .filter(|(id, _)| *id == 1000 + n)
                        .map(|(_, place)| place)
                        .collect();
                    places.sort_unstable();
                    places
                };
                let mut per_server: Vec<Vec<usize>> = arrived.iter().map(here).collect();
                per_server.sort();
                assert_eq!(per_server, [vec![], vec![0, 1400, 2800]], "{vip}, {order:?}, datagram {n}");
            }
        }
    }
}

#[test]
fn fragments_whose_first_never_comes_are_counted_as_orphans_and_disturb_nobody() {
    const ORPHANS: u16 = 10;
    let lab = Lab::builder().ipv6().build();
    let _echoes: Vec<_> = lab.real_servers().map(|server| echo::Echo::start(server, SILENT)).collect();
    let director = start(&lab, SILENT);
    let injector = Injector::open(&lab, 0);
    for (round, vip) in (1..).zip(VIPS) {
        let arrived: Vec<_> =
            lab.real_servers().map(|server| lab.capture(server.port(), &format!("dst host {vip}"))).collect();
        for n in 0..ORPHANS {
            injector.send(&director, &parts(&injector, vip, n)[1..]);
        }
        wait::until(SOON, "the orphans to be given up", || {
            let orphans = Tally::of(&director).dropped("fragment_orphan");
            (orphans == round * 2 * u64::from(ORPHANS)).then_some(())
        });
        for capture in arrived {
            assert!(capture.stop().is_empty(), "nothing of them was forwarded");
        }
        let question = "y".repeat(8000);
        let answer = echo::ask(lab.client(0), (vip, SILENT).into(), &question, SOON).unwrap();
        assert!(answer.ends_with(&question));
    }
}

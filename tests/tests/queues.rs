//! Several queues on an interface, a worker for each: all of them forward, and a flow does not care which of them sees
//! it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pnet_packet::tcp::TcpFlags;
use shunt_tests::address::VIP;
use shunt_tests::config;
use shunt_tests::{
    Capture, Director, Injector, Lab, QueueSocket, Service, Sink, Tally, Watch, WebServer, craft, expect,
    wait,
};

const SOON: Duration = Duration::from_secs(20);
const PORT: u16 = 9;
const FLOWS: u16 = 120;

#[test]
fn two_queues_have_two_workers_and_both_forward() {
    const REQUESTS: usize = 200;
    let lab = Lab::builder().queues(2).clients(2).build();
    let _servers = WebServer::on_all(&lab);
    let watch = Watch::start(&lab, 0);
    let director = Director::start(&lab, 0, &config::file(&lab, &[Service::tcp(80).all(&lab)]));
    for client in lab.clients() {
        assert_eq!(expect::answered(&client.get_many(VIP, REQUESTS)).unwrap().len(), 2);
    }
    let tally = Tally::settled(&director);
    tally.check();
    // The switch spreads flows by their hash; of 400 each worker has a good share.
    assert!(tally.rx.len() == 2 && tally.rx.iter().all(|frames| *frames > tally.rx() / 5), "{tally:#?}");
    assert_eq!(watch.stop().check() as u64, tally.tx);
}

/// A lab in which frames are put on a queue of choice, and the real servers swallow them.
struct Bench {
    lab: Lab,
    sinks: Vec<Sink>,
    queues: Vec<QueueSocket>,
    captures: Vec<Capture>,
    seen: u64,
}

impl Bench {
    fn new(lab: Lab, queues: u32) -> Bench {
        let sinks = lab
            .real_servers()
            .map(|server| Sink::open(server, &format!("ip daddr {VIP} tcp dport {PORT}")))
            .collect();
        let queues =
            (0..queues).map(|n| QueueSocket::open(lab.switch(), lab.director(0).port(), n)).collect();
        Bench { lab, sinks, queues, captures: Vec::new(), seen: 0 }
    }

    /// Sends a segment of each flow on the queue that `queue` says, and tells who got it.
    fn send(&mut self, flags: u8, queue: impl Fn(u16) -> usize) -> BTreeMap<u16, usize> {
        let injector = Injector::open(&self.lab, 0);
        let filter = format!("dst host {VIP} and tcp dst port {PORT}");
        self.captures =
            self.lab.real_servers().map(|server| self.lab.capture(server.port(), &filter)).collect();
        for flow in 0..FLOWS {
            let segment =
                craft::Segment { flags, ..injector.segment(20_000 + flow, SocketAddr::from((VIP, PORT))) };
            self.queues[queue(flow)].send(&craft::tcp(&segment, b""));
        }
        self.seen += u64::from(FLOWS);
        wait::until(SOON, "every segment at a real server", || {
            (self.sinks.iter().map(Sink::frames).sum::<u64>() == self.seen).then_some(())
        });
        let mut holders = BTreeMap::new();
        for (n, capture) in self.captures.drain(..).enumerate() {
            for frame in capture.stop() {
                let (port, _) = frame.ip.and_then(|ip| ip.ports).expect("the filter lets TCP through");
                assert_eq!(holders.insert(port - 20_000, n), None, "flow {port} reached two real servers");
            }
        }
        assert_eq!(holders.len(), usize::from(FLOWS));
        holders
    }

    fn weighted(&self, weights: &[Option<u32>]) -> String {
        config::file(&self.lab, &[Service::tcp(PORT).weighted(&self.lab, weights)])
    }
}

#[test]
fn a_flow_keeps_its_real_server_whichever_worker_sees_it_and_whatever_the_set_is() {
    let mut bench = Bench::new(Lab::builder().queues(2).real_servers(4).build(), 2);
    let mut director = Director::start(&bench.lab, 0, &bench.weighted(&[Some(1), Some(1), None, None]));
    let adopted = |director: &Director| -> u64 {
        let view = director.show("workers");
        shunt_tests::tally::list(&view["workers"]).iter().filter_map(|w| w["flows"]["adopted"].as_u64()).sum()
    };
    // Half of the flows begin on either queue.
    let begun = bench.send(TcpFlags::SYN, |flow| usize::from(flow % 2));
    let share = begun.values().filter(|server| **server == 0).count();
    assert!((30..=90).contains(&share), "both servers have flows: {share} of {FLOWS}");
    let tally = Tally::settled(&director);
    assert_eq!(tally.rx, [u64::from(FLOWS) / 2; 2], "each queue has its own worker");

    // The first is drained, two are new: the hash would now send every flow of the first elsewhere, and half of the
    // others. They come in on the other queue, whose worker has never seen them.
    director.reload(&bench.weighted(&[Some(0), Some(1), Some(1), Some(1)])).unwrap();
    assert_eq!(bench.send(TcpFlags::ACK, |flow| usize::from((flow + 1) % 2)), begun);
    assert_eq!(
        adopted(&director),
        u64::from(FLOWS),
        "each worker took the flows over from the other's table"
    );

    // And on both queues alternately, once more with another set.
    director.reload(&bench.weighted(&[Some(0), Some(1), None, Some(5)])).unwrap();
    for round in 0..2 {
        assert_eq!(bench.send(TcpFlags::ACK, |flow| usize::from((flow / 2 + round) % 2)), begun);
    }
    assert_eq!(adopted(&director), u64::from(FLOWS), "nothing is taken over twice");
    let tally = Tally::settled(&director);
    tally.check();
    assert_eq!((tally.rx(), tally.refused()), (4 * u64::from(FLOWS), 0));

    // A new connection from the same port is a new flow: the drained server does not get it.
    let fresh = bench.send(TcpFlags::RST, |flow| usize::from(flow % 2));
    assert_eq!(fresh, begun, "a RST belongs to the old flow");
    let fresh = bench.send(TcpFlags::SYN, |flow| usize::from(flow % 2));
    assert!(fresh.values().all(|server| [1, 3].contains(server)), "{fresh:?}");
}

/// Each queue of the first leg is served, however many the second has.
fn legs_with_queues(first: u32, second: usize, workers: usize) {
    let lab = Lab::builder().two_legged().queues(first as usize).queues_of_second_leg(second).build();
    let mut bench = Bench::new(lab, first);
    let director = Director::start(&bench.lab, 0, &bench.weighted(&[Some(1), Some(1)]));
    let view = director.show("workers");
    let queues: Vec<usize> = shunt_tests::tally::list(&view["workers"])
        .iter()
        .map(|worker| shunt_tests::tally::list(&worker["queues"]).len())
        .collect();
    assert_eq!((queues.len(), queues.iter().sum::<usize>()), (workers, first as usize + second), "{view:#}");
    let begun = bench.send(TcpFlags::SYN, |flow| usize::from(flow) % first as usize);
    let other = bench.send(TcpFlags::ACK, |flow| usize::from(flow + 1) % first as usize);
    assert_eq!(other, begun);
    let tally = Tally::settled(&director);
    tally.check();
    assert_eq!(tally.tx, 2 * u64::from(FLOWS));
}

#[test]
fn more_queues_where_frames_come_in_than_where_they_leave() {
    legs_with_queues(3, 2, 2);
    legs_with_queues(2, 1, 1);
}

#[test]
fn more_queues_where_frames_leave_than_where_they_come_in() {
    legs_with_queues(1, 3, 1);
}

//! A SYN flood of a million sources beside a hundred downloads: none of them notices.

use std::time::Duration;

use shunt_tests::address::{VIP, vip};
use shunt_tests::config::{self, QUICK_CHECK};
use shunt_tests::{
    Director, Flood, Injector, Lab, Process, Service, Sink, Tally, WebServer, payload, shown, wait,
};

const SOON: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(180);
const DOWNLOADS: usize = 100;
const SOURCES: u64 = 1_000_000;
/// Frames between two looks: a few times what the queue of the director's cable holds.
const WAVE: u32 = 10_000;
/// 2 MiB at the 64 KiB a second that the web server allows below /slow: half a minute.
const BYTES: u64 = 2 << 20;

#[test]
fn a_hundred_downloads_survive_a_syn_flood_of_a_million_sources() {
    let lab = Lab::builder().vips(2).build();
    let servers = WebServer::on_all(&lab);
    let digests: Vec<_> =
        servers.iter().map(|server| payload::digest(&server.file("slow", BYTES, 5))).collect();
    // What the flood would do to the real servers' kernels is not the question.
    let sinks: Vec<Sink> = lab.real_servers().map(|server| Sink::open(server, Flood::MATCH)).collect();
    let services = [VIP, vip(1)].map(|vip| Service::tcp(80).on(vip).checked(QUICK_CHECK).all(&lab));
    let text = config::with(&lab, "flows_per_worker = 65536", &services);
    let director = Director::start(&lab, 0, &text);

    let files: Vec<_> = (0..DOWNLOADS).map(|n| lab.file(&format!("slow{n}"))).collect();
    // Half of them on the VIP that is flooded, half on the other.
    let mut downloads: Vec<Process> = files
        .iter()
        .enumerate()
        .map(|(n, file)| lab.client(0).download(vip(n % 2), "/slow", file, None))
        .collect();
    wait::until(SOON, "a hundred established flows", || {
        let flows = shown::flows_of(&director, lab.client(0).address());
        (flows.iter().filter(|flow| flow["state"] == "established").count() == DOWNLOADS).then_some(())
    });

    let injector = Injector::open(&lab, 0);
    let before = Tally::settled(&director);
    let mut next = 0;
    // What the queue had no room for never met the table: until a million have, some more are sent.
    loop {
        let flood = Flood::send(&injector, (VIP, 80).into(), next, WAVE);
        assert_eq!(flood.sent, WAVE as usize);
        next += WAVE;
        let steered = before.redirected + u64::from(next);
        let tally = Tally::when(&director, "the wave to arrive", |tally| tally.redirected >= steered);
        if tally.rx() - before.rx() >= SOURCES {
            break;
        }
        assert!(u64::from(next) < 8 * SOURCES, "workers receive next to nothing: {tally:#?}");
    }
    for (n, download) in downloads.iter_mut().enumerate() {
        let ended = download.ended();
        assert!(ended.is_none(), "number {n} ended during the flood: {ended:?}: {}", download.log().text());
    }

    for (n, download) in downloads.iter_mut().enumerate() {
        assert!(download.wait(END).success(), "number {n}: {}", download.log().text());
    }
    for (n, file) in files.iter().enumerate() {
        assert_eq!(payload::digest(file), digests[0], "number {n}");
    }
    let workers = director.show("workers");
    let count = |key: &str| shown::sum(&workers, &[key]);
    assert_eq!(count("moved"), 0, "{workers:#}");
    // All but what the table has room for gave their place to others, or got none.
    let displaced = ["evicted", "dispensed", "refused", "expired"].map(count).iter().sum::<u64>();
    assert!(count("evicted") > 0 && displaced >= SOURCES / 2, "{workers:#}");
    assert!(count("remembered") <= count("capacity"), "{workers:#}");
    assert!(sinks.iter().all(|sink| sink.frames() > 0), "the flood went on to the real servers");
}

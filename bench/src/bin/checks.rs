//! What do a thousand checks a second cost the control thread? A thousand real servers of 127/8, each with one check a
//! second, for 20 s: the time that the thread was on the processor, and how late a probe has started at most.
//!
//! The servers are threads of this process; the loopback's own work for a probe (the handshake's other half) is done
//! on the control thread too, since a packet to oneself is received by whoever sends it. On a wire that part is the
//! softirq's.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use shunt::config::defaults;
use shunt::descriptors::raise_limit;
use shunt::health::{CheckKey, Event, Runner, Status};
use shunt::model::{HealthCheck, Http, HttpVersion, Probe, Request, Timing};
use tokio::sync::mpsc::unbounded_channel;

const CHECKS: u32 = 1000;
const SECONDS: u64 = 20;

fn main() {
    raise_limit().expect("the kernel allows it");
    println!("| 1000 checks a second | CPU of the thread | latest start | up |\n|---|--:|--:|--:|");
    let get = Request { path: "/".into(), host: None, status: vec![(200, 299)], digest: None, pattern: None };
    let http = Probe::Http(Http {
        tls: None,
        version: HttpVersion::default(),
        host: None,
        requests: vec![get],
        fast_recovery: false,
    });
    measure("TCP", Probe::Tcp, |_| {});
    measure("HTTP", http, |mut stream| {
        // The connection may be gone: then there is nobody to answer.
        let _ = stream.read(&mut [0; 1024]);
        let _ =
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>it works</html>\n");
    });
}

fn measure(name: &str, probe: Probe, serve: fn(std::net::TcpStream)) {
    let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there is a free port");
    let port = server.local_addr().expect("it is bound").port();
    std::thread::spawn(move || server.incoming().flatten().for_each(serve));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (events, _inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        let timing = Timing { interval: Duration::from_secs(1), ..defaults::TIMING };
        runner.set((0..CHECKS).map(|n| CheckKey {
            address: IpAddr::from([127, 1, (n / 250) as u8, (1 + n % 250) as u8]),
            check: HealthCheck { timing: timing.clone(), ..HealthCheck::new(probe.clone(), port) },
        }));
        // The first probes, all within 100 ms, are not what is asked.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = on_processor();
        tokio::time::sleep(Duration::from_secs(SECONDS)).await;
        let share = (on_processor() - before).as_secs_f64() / SECONDS as f64 * 100.0;
        let up = runner.view().iter().filter(|(_, health)| health.status() == Status::Up).count();
        let late = runner.worst_lateness().as_secs_f64() * 1000.0;
        println!("| {name} | {share:.1} % of a core | {late:.1} ms | {up} |");
    });
}

/// The time that this thread has been on the processor.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock is there");
    Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32)
}

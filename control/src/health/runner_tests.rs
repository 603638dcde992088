//! The runner with probes that only pretend, and real time.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::sync::LazyLock;

use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::model::{HealthCheck, Timing};

const INTERVAL: Duration = Duration::from_millis(40);
const DEADLINE: Duration = Duration::from_secs(20);

fn key(address: &str, port: u16) -> CheckKey {
    let timing = Timing {
        interval: INTERVAL,
        timeout: Duration::from_secs(1),
        fall: 2,
        ..crate::config::defaults::TIMING
    };
    let check = HealthCheck { timing, ..HealthCheck::new(Probe::Tcp, port) };
    CheckKey { address: address.parse().unwrap(), check }
}

fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") })
}

/// Starts of probes, by address: each test has addresses of its own.
static STARTS: LazyLock<Mutex<HashMap<IpAddr, Vec<Instant>>>> = LazyLock::new(Mutex::default);

fn starts(address: IpAddr) -> Vec<Instant> {
    STARTS.lock().unwrap().get(&address).cloned().unwrap_or_default()
}

/// Takes the port for milliseconds, and then succeeds if the address is odd.
fn pretend(key: CheckKey) -> ProbeResult {
    Box::pin(async move {
        STARTS.lock().unwrap().entry(key.address).or_default().push(Instant::now());
        tokio::time::sleep(Duration::from_millis(key.check.target.port.into())).await;
        match key.address {
            IpAddr::V4(address) if address.octets()[3] % 2 == 1 => Ok(Success::default()),
            _ => Err(Failure::Refused),
        }
    })
}

fn pretending() -> (Runner<Event>, UnboundedReceiver<Event>) {
    let (events, inbox) = unbounded_channel();
    (Runner::with_prober(events, pretend), inbox)
}

async fn count(address: IpAddr, at_least: usize) {
    while starts(address).len() < at_least {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn probes_start_on_the_grid_of_the_first_whatever_each_takes() {
    on_runtime(async {
        let (mut runner, _inbox) = pretending();
        let check = key("192.0.2.1", 15);
        runner.set([check.clone()]);
        count(check.address, 12).await;
        let starts = starts(check.address);
        // 11 intervals, and not 11 x (interval + 15 ms); a late start makes the next gap shorter, not later.
        let span = starts[11] - starts[0];
        let intervals = span.as_secs_f64() / INTERVAL.as_secs_f64();
        assert!((intervals - intervals.round()).abs() < 0.4, "{intervals} intervals");
        assert!(span < INTERVAL * 14, "{span:?}");
    });
}

#[test]
fn a_probe_longer_than_the_interval_leaves_starts_out_and_never_overlaps() {
    on_runtime(async {
        let (mut runner, _inbox) = pretending();
        let check = key("192.0.2.3", 60);
        runner.set([check.clone()]);
        count(check.address, 6).await;
        let starts = starts(check.address);
        for gap in starts.windows(2) {
            assert!(gap[1] - gap[0] >= Duration::from_millis(60), "{:?}", gap[1] - gap[0]);
        }
        // On the grid of 40 ms: 80 ms apart, and not the 60 that a probe takes.
        assert!(starts[5] - starts[0] >= Duration::from_millis(350), "{:?}", starts[5] - starts[0]);
    });
}

#[test]
fn an_unchanged_check_keeps_running_and_a_removed_one_stops() {
    on_runtime(async {
        let (mut runner, mut inbox) = pretending();
        let (kept, removed) = (key("192.0.2.5", 0), key("192.0.2.7", 0));
        runner.set([kept.clone(), removed.clone()]);
        for _ in 0..2 {
            inbox.recv().await.unwrap();
        }
        let since = runner.view().health(&kept).unwrap().since();
        runner.set([kept.clone(), kept.clone()]);
        let stopped = starts(removed.address).len();
        count(kept.address, starts(kept.address).len() + 3).await;
        assert_eq!(starts(removed.address).len(), stopped);
        assert_eq!(runner.view().health(&kept).unwrap().since(), since);
        assert_eq!(runner.view().status(&removed), Status::Unknown);
        assert!(inbox.try_recv().is_err(), "no change, no event");
    });
}

#[test]
fn a_check_with_other_times_starts_with_the_status_it_had() {
    on_runtime(async {
        let (mut runner, mut inbox) = pretending();
        let before = key("192.0.2.9", 0);
        runner.set([before.clone()]);
        inbox.recv().await.unwrap();
        let mut after = before.clone();
        after.check.timing.interval *= 2;
        runner.set([after.clone()]);
        assert_eq!(runner.view().status(&after), Status::Up);
    });
}

#[test]
fn the_first_failure_decides_and_is_told_with_its_reason() {
    on_runtime(async {
        let (mut runner, mut inbox) = pretending();
        let check = key("192.0.2.2", 0);
        runner.set([check.clone()]);
        let event = inbox.recv().await.unwrap();
        assert_eq!(
            event,
            Event::Changed {
                key: check.clone(),
                before: Status::Unknown,
                after: Status::Down,
                reason: Some("connection refused".into())
            }
        );
        assert_eq!(runner.view().status(&check), Status::Down);
    });
}

#[test]
fn a_server_that_closes_is_failing_first_then_down_and_up_again_when_it_is_back() {
    on_runtime(async {
        let (events, mut inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        let check = key("127.0.0.1", at.port());
        runner.set([check.clone()]);
        let expect = async |inbox: &mut UnboundedReceiver<Event>| match inbox.recv().await.unwrap() {
            Event::Changed { after, .. } => Some(after),
            Event::Failing { .. } => None,
        };
        assert_eq!(expect(&mut inbox).await, Some(Status::Up));
        drop(server);
        assert_eq!(expect(&mut inbox).await, None, "failing");
        assert_eq!(expect(&mut inbox).await, Some(Status::Down));
        let _back = TcpListener::bind(at).unwrap();
        assert_eq!(expect(&mut inbox).await, Some(Status::Up));
    });
}

#[test]
fn a_result_that_says_nothing_about_the_server_changes_nothing() {
    let check = key("192.0.2.11", 0);
    let health = Mutex::new(Health::new(1, 1));
    record(&check, &health, Ok(Success::default()));
    let short = Failure::Inconclusive(std::io::Error::from_raw_os_error(libc::EMFILE));
    assert_eq!(record(&check, &health, Err(short)), None);
    let health = health.into_inner().unwrap();
    assert_eq!((health.status(), health.streak()), (Status::Up, 1));
    assert!(health.last_error().unwrap().starts_with("the director could not probe"));
}

#[test]
fn starts_are_spread_over_a_tenth_of_the_interval_and_100_ms_at_most() {
    let mut check = key("192.0.2.13", 80);
    let offsets: BTreeSet<Duration> = (1..=200).map(|port| offset(&key("192.0.2.13", port))).collect();
    assert!(offsets.len() > 150 && *offsets.last().unwrap() <= INTERVAL / 10);
    check.check.timing.interval = Duration::from_secs(60);
    assert!(offset(&check) <= SPREAD);
    assert_eq!(offset(&check), offset(&check));
}

#[test]
fn a_thousand_checks_a_second_start_in_time() {
    on_runtime(async {
        let server = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        server.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).unwrap();
        server.listen(4096).unwrap();
        let server = TcpListener::from(server);
        let port = server.local_addr().unwrap().port();
        // Accepts and forgets, off this thread.
        std::thread::spawn(move || server.incoming().for_each(drop));
        let (events, mut inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        runner.set((0..1000u32).map(|n| {
            let mut check = key(&format!("127.1.{}.{}", n / 250, 1 + n % 250), port);
            check.check.timing.interval = Duration::from_secs(1);
            check
        }));
        for _ in 0..1000 {
            match inbox.recv().await.unwrap() {
                Event::Changed { after, .. } => assert_eq!(after, Status::Up),
                failing => panic!("{failing:?}"),
            }
        }
        let rounds = Instant::now() + Duration::from_secs(2);
        tokio::time::sleep_until(rounds).await;
        assert!(runner.worst_lateness() < Duration::from_millis(100), "{:?}", runner.worst_lateness());
    });
}

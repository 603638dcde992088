//! The runner with probes that only pretend, and real time.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::LazyLock;

use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::model::{HealthCheck, Http, HttpVersion, Request, Start, Timing, Udp};

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

/// Takes the port for milliseconds, and then succeeds if the address is odd; with the turn as the weight.
fn pretend(key: Arc<CheckKey>, _rules: Rules) -> MakeProbe {
    Box::new(move |turn| {
        let key = key.clone();
        Box::pin(async move {
            STARTS.lock().unwrap().entry(key.address).or_default().push(Instant::now());
            tokio::time::sleep(Duration::from_millis(key.check.target.port.into())).await;
            match key.address {
                IpAddr::V4(address) if address.octets()[3] % 2 == 1 => Ok(says(turn as u16)),
                _ => Err(Failure::Refused),
            }
        })
    })
}

fn says(weight: u16) -> Success {
    Success { weight: Some(Weight::Set(weight)) }
}

fn pretending() -> (Runner<Event>, UnboundedReceiver<Event>) {
    let (events, inbox) = unbounded_channel();
    (Runner::with(events, pretend), inbox)
}

async fn count(address: IpAddr, at_least: usize) {
    while starts(address).len() < at_least {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn probes_start_on_a_grid_whatever_each_takes() {
    on_runtime(async {
        let (mut runner, _inbox) = pretending();
        let check = key("192.0.2.1", 15);
        runner.set([check.clone()]);
        count(check.address, 13).await;
        // The first one waits for no grid.
        let starts = &starts(check.address)[1..];
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
        count(check.address, 7).await;
        let starts = &starts(check.address)[1..];
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
                key: check.clone().into(),
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
            weight => panic!("{weight:?}"),
        };
        assert_eq!(expect(&mut inbox).await, Some(Status::Up));
        drop(server);
        assert_eq!(expect(&mut inbox).await, None, "failing");
        assert_eq!(expect(&mut inbox).await, Some(Status::Down));
        let _back = TcpListener::bind(at).unwrap();
        assert_eq!(expect(&mut inbox).await, Some(Status::Up));
    });
}

/// A history that results are put into one by one.
struct History {
    key: Arc<CheckKey>,
    health: Mutex<Health>,
    round: Round,
}

impl History {
    fn of(key: CheckKey) -> History {
        let (health, round) = (Mutex::new(Health::starting(&key.check)), Round::of(&key.check.probe));
        History { key: Arc::new(key), health, round }
    }

    fn take(&mut self, result: Result<Success, Failure>) -> (Option<Event>, Next) {
        record(&self.key, &self.health, &mut self.round, result, Duration::from_millis(3))
    }

    fn status(&self) -> Status {
        self.health.lock().unwrap().status()
    }
}

#[test]
fn a_result_that_says_nothing_about_the_server_changes_nothing() {
    let mut history = History::of(key("192.0.2.11", 0));
    history.take(Ok(Success::default()));
    let short = Failure::Inconclusive(std::io::Error::from_raw_os_error(libc::EMFILE));
    assert_eq!(history.take(Err(short)), (None, Next::Interval));
    let health = history.health.into_inner().unwrap();
    assert_eq!((health.status(), health.streak(), health.probes()), (Status::Up, 1, 1));
    assert!(health.last_error().unwrap().starts_with("the director could not probe"));
}

#[test]
fn a_failed_probe_of_a_server_that_is_up_is_soon_followed_by_another() {
    let mut history = History::of(key("192.0.2.12", 0));
    assert_eq!(history.take(Ok(Success::default())).1, Next::Interval);
    assert_eq!(history.take(Err(Failure::Refused)).1, Next::Retry);
    assert_eq!(history.take(Err(Failure::Refused)).1, Next::Interval, "it is down");
    assert_eq!(history.take(Err(Failure::Refused)).1, Next::Interval);
    let health = history.health.into_inner().unwrap();
    assert_eq!((health.probes(), health.failures(), health.took()), (4, 3, Some(Duration::from_millis(3))));
}

#[test]
fn another_weight_is_told_unless_it_comes_with_another_status() {
    let mut history = History::of(key("192.0.2.13", 0));
    assert!(matches!(history.take(Ok(says(7))).0, Some(Event::Changed { after: Status::Up, .. })));
    assert_eq!(history.take(Ok(says(7))).0, None);
    let told = Event::Weight { key: history.key.clone(), weight: Some(Weight::Set(8)) };
    assert_eq!(history.take(Ok(says(8))).0, Some(told));
    assert!(matches!(history.take(Err(Failure::Refused)).0, Some(Event::Failing { .. })));
    assert_eq!(history.health.into_inner().unwrap().weight(), Some(Weight::Set(8)), "the last success's");
}

#[test]
fn a_server_that_is_assumed_well_is_up_before_its_first_result_which_decides() {
    on_runtime(async {
        let (mut runner, mut inbox) = pretending();
        let mut checks = [key("192.0.2.14", 5), key("192.0.2.15", 5)];
        checks.iter_mut().for_each(|key| key.check.start = Start::Up);
        runner.set(checks.clone());
        checks.iter().for_each(|key| assert_eq!(runner.view().status(key), Status::Up));
        let [bad, good] = checks;
        let mut told = [inbox.recv().await.unwrap(), inbox.recv().await.unwrap()];
        told.sort_by_key(|event| matches!(event, Event::Weight { .. }));
        assert_eq!(
            told,
            [
                Event::Changed {
                    key: bad.into(),
                    before: Status::Up,
                    after: Status::Down,
                    reason: Some("connection refused".into())
                },
                Event::Weight { key: good.clone().into(), weight: Some(Weight::Set(0)) }
            ]
        );
        assert_eq!(runner.view().health(&good).and_then(Health::weight), Some(Weight::Set(0)));
    });
}

fn several(requests: usize, fast_recovery: bool) -> CheckKey {
    let request =
        Request { path: "/".into(), host: None, status: vec![(200, 200)], digest: None, pattern: None };
    let requests = vec![request; requests];
    let probe =
        Probe::Http(Http { tls: None, version: HttpVersion::default(), host: None, requests, fast_recovery });
    let mut key = key("192.0.2.17", 80);
    key.check.probe = probe;
    key
}

#[test]
fn of_several_requests_each_has_its_turn_and_all_must_succeed_to_bring_a_server_up() {
    let mut history = History::of(several(3, false));
    let good = || Ok(Success::default());
    for (turn, status) in [(1, Status::Unknown), (2, Status::Unknown), (0, Status::Up)] {
        assert_eq!(history.take(good()).1, Next::Interval);
        assert_eq!((history.round.turn, history.status()), (turn, status));
    }
    // The one that fails is made again, and may succeed in time.
    history.take(good());
    for _ in 0..2 {
        assert_eq!(history.take(Err(Failure::Refused)).1, Next::Retry);
        assert_eq!(history.round.turn, 1);
        history.take(good());
        assert_eq!((history.round.turn, history.status()), (2, Status::Up));
        history.round.turn = 1;
    }
    for _ in 0..2 {
        history.take(Err(Failure::Refused));
    }
    assert_eq!((history.round.turn, history.status()), (1, Status::Down));
    // First the one that failed, then all.
    for turn in [0, 1, 2] {
        assert_eq!(history.take(good()).1, Next::Interval);
        assert_eq!((history.round.turn, history.status()), (turn, Status::Down));
    }
    history.take(good());
    assert_eq!((history.round.turn, history.status()), (0, Status::Up));
}

#[test]
fn with_fast_recovery_the_requests_that_bring_a_server_up_do_not_wait() {
    let mut history = History::of(several(2, true));
    let good = || Ok(Success::default());
    assert_eq!(history.take(good()).1, Next::Now);
    assert_eq!(
        history.take(good()),
        (Some(changed(&history.key, Status::Unknown, Status::Up, None)), Next::Interval)
    );
    assert_eq!(history.take(good()).1, Next::Interval, "it is up");
    for next in [Next::Retry, Next::Interval, Next::Interval] {
        assert_eq!(history.take(Err(Failure::Refused)).1, next);
    }
    assert_eq!([(); 3].map(|()| history.take(good()).1), [Next::Now, Next::Now, Next::Interval]);
    assert_eq!(history.status(), Status::Up);
}

#[test]
fn different_checks_have_different_times_and_the_same_one_the_same() {
    let mut draws: Vec<f64> = (1..=200).map(|port| draw(&key("192.0.2.13", port))).collect();
    assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
    assert_eq!(draw(&key("192.0.2.13", 1)), draws[0]);
    draws.sort_by(f64::total_cmp);
    assert!(draws.windows(2).all(|pair| pair[1] - pair[0] < 0.05), "spread over the whole");
}

#[test]
fn a_thousand_checks_a_second_are_all_made() {
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
        // How late they are is a matter of the machine: bench/src/bin/checks.rs.
        let has_had_three =
            |runner: &Runner<Event>| runner.view().iter().all(|(_, health)| health.probes() >= 3);
        while !has_had_three(&runner) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(runner.view().iter().all(|(_, health)| health.failures() == 0));
        assert!(runner.worst_lateness() > Duration::ZERO);
    });
}

#[test]
fn five_thousand_checks_that_wait_at_once_break_nothing() {
    on_runtime(async {
        // It never reads, so that each probe keeps its socket until its timeout.
        let silent = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        crate::descriptors::raise_limit().unwrap();
        let (events, mut inbox) = unbounded_channel::<Event>();
        let mut runner = Runner::new(events);
        runner.set((0..5000u32).map(|n| {
            let mut check = key(&format!("127.2.{}.{}", n / 250, 1 + n % 250), port);
            check.check.probe = Probe::Udp(Udp { payload: b"x".into(), reply: None });
            check.check.timing.interval = Duration::from_secs(1);
            check.check.timing.timeout = Duration::from_millis(700);
            check
        }));
        for _ in 0..5000 {
            match inbox.recv().await.unwrap() {
                Event::Changed { after, .. } => assert_eq!(after, Status::Up),
                failing => panic!("{failing:?}"),
            }
        }
    });
}

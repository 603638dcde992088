//! What a virtual router does in each state with each input: a test for each branch of RFC 9568 section 6.4, and for what
//! keepalived does beyond it.

use std::time::{Duration, Instant};

use super::samples::{ip, router};
use super::{Action, Burst, Heard, Input, RouterId, Routers, Standing, State};
use crate::model::{SyncGroup, Tracking, Version, VirtualRouter, Vrrp, VrrpHooks};

const ONE: RouterId = RouterId(0);
const TWO: RouterId = RouterId(1);
const SECOND: Duration = Duration::from_secs(1);
/// Our own address.
const OURS: &str = "10.0.0.5";

/// A director in simulated time.
struct Bench {
    routers: Routers,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new(vrrp: &Vrrp) -> Bench {
        let now = Instant::now();
        Bench { routers: Routers::new(vrrp, now), start: now, now }
    }

    /// One router, which has begun.
    fn of(router: VirtualRouter) -> Bench {
        let priority = router.priority;
        let mut bench = Bench::new(&Vrrp { routers: vec![router], ..Vrrp::default() });
        bench.stand(ONE, priority);
        bench
    }

    /// One router with a priority of 100 that became Active.
    fn active(router: VirtualRouter) -> Bench {
        let mut bench = Bench::of(router);
        bench.sleep();
        assert_eq!(bench.state(ONE), State::Active);
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.routers.step(self.now, input)
    }

    fn stand(&mut self, router: RouterId, priority: u8) -> Vec<Action> {
        self.step(Input::Standing { router, standing: standing(priority, None) })
    }

    fn fail(&mut self, router: RouterId) -> Vec<Action> {
        self.step(Input::Standing { router, standing: standing(100, Some("eth0 is down")) })
    }

    fn hear(&mut self, priority: u8, source: &str) -> Vec<Action> {
        self.hear_for(ONE, priority, source, SECOND)
    }

    fn hear_for(&mut self, router: RouterId, priority: u8, source: &str, interval: Duration) -> Vec<Action> {
        let advert = Heard { source: ip(source), priority, interval };
        self.step(Input::Advert { router, advert })
    }

    /// Until the next timer goes off.
    fn sleep(&mut self) -> Vec<Action> {
        self.now = self.routers.deadline().expect("a timer is set");
        self.step(Input::Tick)
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
    }

    fn state(&self, router: RouterId) -> State {
        self.routers.status(router).state
    }

    /// Seconds from now until the next timer.
    fn left(&self) -> f64 {
        self.routers.deadline().expect("a timer is set").duration_since(self.now).as_secs_f64()
    }
}

fn standing(priority: u8, fault: Option<&str>) -> Standing {
    Standing { priority, fault: fault.map(str::to_owned), source: Some(ip(OURS)) }
}

fn v2() -> VirtualRouter {
    router("VI_1", Version::V2, &["10.0.0.100"])
}

fn v3() -> VirtualRouter {
    router("VI_1", Version::V3, &["10.0.0.100"])
}

/// What is done, without what is said.
fn done(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| if let Action::Say { .. } = action { None } else { Some(words(action)) })
        .collect()
}

/// What is said.
fn said(actions: &[Action]) -> Vec<String> {
    let say = |action: &Action| if let Action::Say { text, .. } = action { Some(text.clone()) } else { None };
    actions.iter().filter_map(say).collect()
}

fn words(action: &Action) -> String {
    let of = |router: &RouterId| if router.0 == 0 { String::new() } else { format!(" of {}", router.0) };
    match action {
        Action::Send { router, priority, .. } => format!("send {priority}{}", of(router)),
        Action::Hold { router } => format!("hold{}", of(router)),
        Action::Release { router } => format!("release{}", of(router)),
        Action::Announce { router, burst: Burst::Full } => format!("announce{}", of(router)),
        Action::Announce { router, burst: Burst::Lower } => format!("announce lower{}", of(router)),
        Action::Hush { router } => format!("hush{}", of(router)),
        Action::Changed { router, from, to, cause } => {
            format!("{} -> {}{}: {cause}", from.word(), to.word(), of(router))
        }
        Action::GroupChanged { to, .. } => format!("group {}", to.word()),
        Action::PriorityChanged { from, to, .. } => format!("priority {from} -> {to}"),
        Action::LowerHeard { priority, .. } => format!("lower {priority} heard"),
        Action::Say { text, .. } => text.clone(),
    }
}

// RFC 9568 section 6.4.1, Initialize

#[test]
fn initialize_other_than_the_owner_listens_and_holds_nothing_of_an_earlier_life() {
    let mut bench = Bench::new(&Vrrp { routers: vec![v2()], ..Vrrp::default() });
    assert_eq!(bench.routers.deadline(), None);
    assert_eq!(bench.hear(200, "10.0.0.6"), []);
    let actions = bench.stand(ONE, 100);
    assert_eq!(done(&actions), ["release", "INIT -> BACKUP: start"]);
    assert_eq!(said(&actions), ["(VI_1) removing VIPs.", "(VI_1) Entering BACKUP STATE (init)"]);
    assert_eq!(bench.left(), 3.609375);
}

#[test]
fn initialize_the_owner_is_active_at_once() {
    let mut bench = Bench::new(&Vrrp { routers: vec![v2()], ..Vrrp::default() });
    let actions = bench.stand(ONE, 255);
    let why = "it owns its addresses (priority 255)";
    assert_eq!(done(&actions), ["send 255", "hold", "announce", &format!("INIT -> MASTER: {why}")]);
    assert_eq!(bench.left(), 1.0);
}

#[test]
fn keepalived_state_master_below_255_listens_first_as_everybody() {
    let mut bench =
        Bench::new(&Vrrp { routers: vec![VirtualRouter { begins_active: true, ..v2() }], ..Vrrp::default() });
    let actions = bench.stand(ONE, 100);
    assert_eq!(bench.state(ONE), State::Backup);
    assert_eq!(
        said(&actions).last().unwrap(),
        "(VI_1) state MASTER: active in 3.609s unless a higher priority is heard"
    );
    assert_eq!(bench.left(), 3.609375);
}

#[test]
fn keepalived_one_that_begins_with_a_fault_waits_in_fault() {
    let mut bench = Bench::new(&Vrrp { routers: vec![v2()], ..Vrrp::default() });
    let actions = bench.fail(ONE);
    assert_eq!(done(&actions), ["release", "INIT -> FAULT: eth0 is down"]);
    assert_eq!(said(&actions)[1], "(VI_1) Entering FAULT STATE (init): eth0 is down");
    assert_eq!(bench.routers.deadline(), None);
    assert_eq!(bench.routers.status(ONE).fault.as_deref(), Some("eth0 is down"));
}

#[test]
fn keepalived_nobody_takes_over_before_the_startup_delay_is_over() {
    for (priority, wait) in [(100, 13.609375), (255, 10.0)] {
        let vrrp = Vrrp { routers: vec![v2()], startup_delay: 10 * SECOND, ..Vrrp::default() };
        let mut bench = Bench::new(&vrrp);
        bench.stand(ONE, priority);
        assert_eq!((bench.state(ONE), bench.left()), (State::Backup, wait));
        bench.wait(SECOND);
        bench.hear(0, "10.0.0.6");
        assert!(bench.left() >= 9.0);
        bench.sleep();
        assert_eq!(bench.state(ONE), State::Active);
        assert!(bench.now.duration_since(bench.start) >= 10 * SECOND);
    }
}

// RFC 9568 section 6.4.2, Backup

#[test]
fn backup_405_when_nobody_is_heard_the_advert_goes_first_then_the_addresses_then_the_announcements() {
    let mut bench = Bench::of(v2());
    let actions = bench.sleep();
    assert_eq!(done(&actions), ["send 100", "hold", "announce", "BACKUP -> MASTER: no advert came in time"]);
    let sentences =
        ["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE", "(VI_1) setting VIPs."];
    assert_eq!(said(&actions), sentences);
    assert_eq!(bench.left(), 1.0);
    assert_eq!(done(&bench.sleep()), ["send 100"]);
}

#[test]
fn backup_410_the_end_is_told_to_nobody() {
    let mut bench = Bench::of(v2());
    assert_eq!(done(&bench.step(Input::Stop)), ["BACKUP -> INIT: stop"]);
    assert_eq!(bench.routers.deadline(), None);
    assert_eq!(bench.stand(ONE, 100), []);
}

#[test]
fn backup_435_priority_0_leaves_the_skew_and_is_not_put_off_by_more_of_it() {
    let mut bench = Bench::of(v2());
    assert_eq!(said(&bench.hear(0, "10.0.0.6")), ["(VI_1) Backup received priority 0 advertisement"]);
    assert_eq!(bench.left(), 0.609375);
    bench.wait(SECOND / 2);
    bench.hear(0, "10.0.0.6");
    assert_eq!(bench.left(), 0.109375);
    assert_eq!(bench.routers.status(ONE).priority_zero_received, 2);
}

#[test]
fn backup_445_an_equal_or_higher_priority_is_waited_for_anew() {
    for priority in [100, 101, 255] {
        let mut bench = Bench::of(v2());
        bench.wait(3 * SECOND);
        assert_eq!(bench.hear(priority, "10.0.0.1"), []);
        assert_eq!(bench.left(), 3.609375);
        assert_eq!(bench.routers.status(ONE).active, Some((ip("10.0.0.1"), priority, bench.now)));
    }
}

#[test]
fn backup_445_without_preemption_any_priority_is_obeyed_but_not_by_the_owner() {
    let mut bench = Bench::of(VirtualRouter { preempt: false, ..v2() });
    bench.wait(3 * SECOND);
    assert_eq!(bench.hear(1, "10.0.0.6"), []);
    assert_eq!(bench.left(), 3.609375);
    // Section 6.1, Preempt_Mode: the owner of the addresses always preempts.
    bench.stand(ONE, 255);
    let left = bench.left();
    bench.hear(254, "10.0.0.6");
    assert_eq!(bench.left(), left);
}

#[test]
fn backup_450_version_3_learns_the_interval_and_sends_its_own() {
    let mut bench = Bench::of(v3());
    let quick = Duration::from_millis(200);
    let actions = bench.hear_for(ONE, 120, "10.0.0.6", quick);
    assert_eq!(said(&actions), ["(VI_1) advertisement interval updated from 1000ms to 200ms by master"]);
    assert_eq!(bench.left(), 0.721875);
    assert_eq!(bench.routers.status(ONE).interval, quick);
    let actions = bench.sleep();
    assert!(actions.contains(&Action::Send { router: ONE, priority: 100, interval: SECOND }));
    assert_eq!(said(&actions)[1], "(VI_1) changing advert interval from 200ms to locally configured 1000ms");
    assert_eq!(bench.left(), 1.0);
}

#[test]
fn backup_470_a_lower_priority_is_discarded_and_the_timer_goes_on() {
    let mut bench = Bench::of(v2());
    bench.wait(3 * SECOND);
    let actions = bench.hear(99, "10.0.0.6");
    assert_eq!(said(&actions), ["(VI_1) received lower priority (99) advert from 10.0.0.6 - discarding"]);
    assert_eq!((done(&actions), bench.left()), (vec![], 0.609375));
    // Said once.
    assert_eq!(bench.hear(99, "10.0.0.6"), []);
}

#[test]
fn keepalived_preempt_delay_runs_from_the_first_lower_priority_until_a_higher_one() {
    let mut bench = Bench::of(VirtualRouter { preempt_delay: 5 * SECOND, ..v2() });
    assert_eq!(said(&bench.hear(50, "10.0.0.6")), ["(VI_1) start preempt delay (5.000000)"]);
    bench.wait(2 * SECOND);
    assert_eq!(said(&bench.hear(200, "10.0.0.7")), ["(VI_1) stop preempt delay"]);
    bench.wait(SECOND);
    bench.hear(50, "10.0.0.6");
    for _ in 0..5 {
        assert_eq!(bench.state(ONE), State::Backup);
        bench.wait(SECOND);
        bench.hear(50, "10.0.0.6");
    }
    // The last one came too late to be obeyed.
    assert_eq!(bench.left(), 2.609375);
    bench.sleep();
    assert_eq!(bench.state(ONE), State::Active);
}

#[test]
fn until_preemption_is_allowed_a_lower_priority_is_obeyed_and_silence_is_not() {
    let mut bench = Bench::of(v2());
    bench.step(Input::Preempt { allowed: false });
    bench.wait(SECOND);
    bench.hear(50, "10.0.0.6");
    assert_eq!(bench.left(), 3.609375);
    bench.step(Input::Preempt { allowed: true });
    bench.wait(SECOND);
    bench.hear(50, "10.0.0.6");
    assert_eq!(bench.left(), 2.609375);

    let mut bench = Bench::of(v2());
    bench.step(Input::Preempt { allowed: false });
    bench.sleep();
    assert_eq!(bench.state(ONE), State::Active);
}

#[test]
fn an_owner_that_may_not_preempt_yet_listens_and_takes_over_when_it_may() {
    let mut bench = Bench::new(&Vrrp { routers: vec![v2()], ..Vrrp::default() });
    bench.step(Input::Preempt { allowed: false });
    bench.stand(ONE, 255);
    assert_eq!(bench.state(ONE), State::Backup);
    bench.wait(3 * SECOND);
    bench.hear(100, "10.0.0.6");
    assert_eq!(bench.left(), 3.00390625);
    assert_eq!(done(&bench.step(Input::Preempt { allowed: true }))[..2], ["send 255", "hold"]);
}

#[test]
fn an_advert_that_waited_in_the_socket_is_heard_before_the_timer_is_believed() {
    let mut bench = Bench::of(v2());
    bench.wait(10 * SECOND);
    assert_eq!(bench.hear(200, "10.0.0.6"), []);
    assert_eq!(bench.step(Input::Tick), []);
    assert_eq!(bench.left(), 3.609375);
}

#[test]
fn keepalived_another_priority_moves_the_timer_by_the_skew() {
    let mut bench = Bench::of(v2());
    bench.wait(SECOND);
    let actions = bench.stand(ONE, 150);
    assert_eq!(done(&actions), ["priority 100 -> 150"]);
    assert_eq!(said(&actions), ["(VI_1) Changing effective priority from 100 to 150"]);
    assert_eq!(bench.left(), 2.4140625);
}

// RFC 9568 section 6.4.3, Active

#[test]
fn active_610_the_end_is_told_to_all() {
    let mut bench = Bench::active(v2());
    let actions = bench.step(Input::Stop);
    assert_eq!(done(&actions), ["send 0", "hush", "release", "MASTER -> INIT: stop"]);
    assert_eq!(said(&actions), ["(VI_1) sent 0 priority", "(VI_1) removing VIPs."]);
}

#[test]
fn active_640_adverts_keep_to_the_clock_however_late_they_are() {
    let mut bench = Bench::active(v2());
    let first = bench.now;
    for n in 1..100u32 {
        bench.now = first + n * SECOND + Duration::from_millis(u64::from(n % 7));
        assert_eq!(done(&bench.step(Input::Tick)), ["send 100"]);
    }
    assert_eq!(bench.routers.deadline(), Some(first + 100 * SECOND));
    // What was slept through is not made up for.
    bench.wait(10 * SECOND);
    assert_eq!(done(&bench.step(Input::Tick)), ["send 100"]);
    assert_eq!(bench.left(), 1.0);
}

#[test]
fn active_another_priority_is_in_the_next_advert() {
    let mut bench = Bench::active(v2());
    assert_eq!(done(&bench.stand(ONE, 80)), ["priority 100 -> 80"]);
    assert_eq!(done(&bench.sleep()), ["send 80"]);
}

#[test]
fn active_705_priority_0_is_answered_at_once() {
    let mut bench = Bench::active(v2());
    bench.wait(SECOND / 2);
    let actions = bench.hear(0, "10.0.0.6");
    assert_eq!((done(&actions), bench.left()), (vec!["send 100".to_owned()], 1.0));
    assert_eq!(said(&actions), ["(VI_1) Master received priority 0 message"]);
}

#[test]
fn active_725_it_yields_to_a_higher_priority_and_to_an_equal_one_from_a_higher_address() {
    for (priority, source, sentence) in [
        (101, "10.0.0.1", "Master received advert from 10.0.0.1 with higher priority 101, ours 100"),
        (
            100,
            "10.0.0.6",
            "Master received advert from 10.0.0.6 with same priority 100 but higher IP address than ours",
        ),
    ] {
        let mut bench = Bench::active(v2());
        let actions = bench.hear(priority, source);
        let changed = format!("MASTER -> BACKUP: {source} has priority {priority}");
        assert_eq!(done(&actions), ["hush", "release", &changed]);
        let sentences = [
            format!("(VI_1) {sentence}"),
            "(VI_1) Entering BACKUP STATE".to_owned(),
            "(VI_1) removing VIPs.".to_owned(),
        ];
        assert_eq!(said(&actions), sentences);
        assert_eq!(bench.left(), 3.609375);
    }
}

#[test]
fn active_740_version_3_learns_the_interval_of_whom_it_yields_to() {
    let mut bench = Bench::active(v3());
    bench.hear_for(ONE, 200, "10.0.0.6", 2 * SECOND);
    assert_eq!(bench.left(), 7.21875);
}

#[test]
fn keepalived_higher_prio_send_advert_has_the_last_word() {
    let mut bench = Bench::active(VirtualRouter { higher_prio_send_advert: true, ..v2() });
    assert_eq!(done(&bench.hear(200, "10.0.0.6"))[..2], ["send 100", "hush"]);
}

#[test]
fn active_750_a_lower_priority_is_answered_at_once_and_our_addresses_announced() {
    for (priority, source) in [(99, "10.0.0.6"), (100, "10.0.0.4")] {
        let mut bench = Bench::active(v2());
        bench.wait(SECOND / 2);
        let actions = bench.hear(priority, source);
        let heard = format!("lower {priority} heard");
        assert_eq!(done(&actions), ["send 100", "announce lower", &heard]);
        assert_eq!(bench.left(), 1.0);
        let sentence = format!(
            "(VI_1) Received advert from {source} with lower priority {priority}, ours 100, forcing new election"
        );
        assert_eq!(said(&actions), [sentence]);
    }
}

#[test]
fn keepalived_lower_prio_no_advert_leaves_the_answer_out() {
    let mut bench = Bench::active(VirtualRouter { lower_prio_no_advert: true, ..v2() });
    bench.wait(SECOND / 2);
    assert_eq!(done(&bench.hear(99, "10.0.0.6")), ["announce lower", "lower 99 heard"]);
    assert_eq!(bench.left(), 0.5);
}

#[test]
fn many_adverts_of_a_lower_priority_get_few_answers() {
    let mut bench = Bench::active(v2());
    let mut answers = 0;
    for n in 0..10_000u32 {
        bench.wait(Duration::from_micros(100));
        let heard = bench.hear(1 + (n % 90) as u8, &format!("10.0.{}.1", n % 200));
        answers += done(&heard).iter().filter(|action| *action == "send 100").count();
        assert!(heard.len() <= 4);
    }
    assert!(answers <= 100, "{answers}");
}

#[test]
fn a_rival_is_timed_and_told_of_when_it_is_gone() {
    let mut bench = Bench::active(v2());
    let began = bench.now;
    for _ in 0..5 {
        bench.wait(SECOND);
        bench.step(Input::Tick);
        bench.hear(50, "10.0.0.6");
    }
    let status = bench.routers.status(ONE);
    let rival = status.rival.clone().unwrap();
    assert_eq!((rival.adverts, rival.since, rival.last), (5, began + SECOND, began + 5 * SECOND));
    assert_eq!((rival.source, rival.priority, status.rivals), (ip("10.0.0.6"), 50, 1));
    let mut last = Vec::new();
    for _ in 0..4 {
        assert!(bench.routers.status(ONE).rival.is_some());
        last = bench.sleep();
    }
    assert_eq!(said(&last), ["(VI_1) 10.0.0.6 is active no more: two were active for 4.0 s"]);
    assert_eq!(bench.routers.status(ONE).rival, None);
    bench.hear(50, "10.0.0.6");
    assert_eq!(bench.routers.status(ONE).rivals, 2);
    // Who yields has none.
    bench.hear(200, "10.0.0.7");
    assert_eq!(bench.routers.status(ONE).rival, None);
}

#[test]
fn of_two_owners_the_lower_address_gives_in() {
    let mut bench = Bench::of(VirtualRouter { priority: 255, ..v2() });
    let actions = bench.hear(255, "10.0.0.6");
    let changed = "MASTER -> BACKUP: 10.0.0.6 has priority 255";
    assert_eq!(done(&actions), ["priority 255 -> 254", "hush", "release", changed]);
    assert!(said(&actions)[0].contains("CONFIGURATION ERROR"), "{:?}", said(&actions));
    // It stays less, whatever else changes.
    assert_eq!(bench.stand(ONE, 255), []);
    assert_eq!(bench.routers.status(ONE).priority, 254);

    let mut bench = Bench::of(VirtualRouter { priority: 255, ..v2() });
    let actions = bench.hear(255, "10.0.0.4");
    assert_eq!(done(&actions), ["send 255", "announce lower", "lower 255 heard"]);
    assert!(said(&actions)[0].contains("CONFIGURATION ERROR"), "{:?}", said(&actions));
}

// keepalived's Fault

#[test]
fn fault_while_active_is_told_to_all_and_holds_nothing() {
    let mut bench = Bench::active(v2());
    let actions = bench.fail(ONE);
    assert_eq!(done(&actions), ["send 0", "hush", "release", "MASTER -> FAULT: eth0 is down"]);
    assert_eq!(said(&actions)[0], "(VI_1) Entering FAULT STATE: eth0 is down");
    assert_eq!(bench.routers.deadline(), None);
    // Nothing that is heard changes that, and the same again is no news.
    assert_eq!(bench.hear(0, "10.0.0.6"), []);
    assert_eq!(bench.fail(ONE), []);
    let actions = bench.stand(ONE, 100);
    assert_eq!(done(&actions), ["FAULT -> BACKUP: what failed is well again"]);
    assert_eq!(bench.left(), 3.609375);
}

#[test]
fn fault_while_backup_is_told_to_nobody_and_an_owner_returns_at_once() {
    let mut bench = Bench::of(v2());
    assert_eq!(done(&bench.fail(ONE)), ["BACKUP -> FAULT: eth0 is down"]);
    bench.stand(ONE, 255);
    assert_eq!(bench.state(ONE), State::Active);
}

// Addresses

#[test]
fn keepalived_an_address_that_is_taken_away_costs_a_skew_and_again_soon_a_whole_wait() {
    let mut bench = Bench::active(v2());
    let lost = Input::AddressLost { router: ONE, address: ip("10.0.0.100") };
    let actions = bench.step(lost.clone());
    let changed = "MASTER -> BACKUP: 10.0.0.100 was removed by somebody";
    assert_eq!(done(&actions), ["send 0", "hush", "release", changed]);
    assert_eq!(bench.left(), 0.609375);
    // Late news changes nothing.
    assert_eq!(bench.step(lost.clone()), []);
    bench.sleep();
    assert_eq!(bench.state(ONE), State::Active);
    bench.step(lost);
    assert_eq!(bench.left(), 3.609375);
}

#[test]
fn an_address_that_is_not_tracked_is_put_back() {
    let mut one = v2();
    one.addresses[0].no_track = true;
    let mut bench = Bench::active(one);
    let address = ip("10.0.0.100");
    assert_eq!(done(&bench.step(Input::AddressLost { router: ONE, address })), ["hold", "announce"]);
    assert_eq!(bench.step(Input::AddressLost { router: ONE, address: ip("10.0.0.9") }), []);
}

#[test]
fn who_is_active_announces_on_request() {
    let mut bench = Bench::of(v2());
    assert_eq!(bench.step(Input::Announce { router: None }), []);
    bench.sleep();
    assert_eq!(done(&bench.step(Input::Announce { router: None })), ["announce"]);
    assert_eq!(done(&bench.step(Input::Announce { router: Some(ONE) })), ["announce"]);
}

// Another configuration

#[test]
fn a_reload_keeps_states_and_timers_and_ends_what_went() {
    let other = VirtualRouter { vrid: 52, ..router("VI_2", Version::V2, &["10.0.0.101"]) };
    let vrrp = Vrrp { routers: vec![v2(), other.clone()], ..Vrrp::default() };
    let mut bench = Bench::new(&vrrp);
    bench.stand(ONE, 100);
    bench.stand(TWO, 100);
    bench.sleep();
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Active, State::Active));
    bench.wait(SECOND / 2);
    let deadline = bench.routers.deadline();
    // The first goes; the second is now the first, with a higher priority.
    let vrrp = Vrrp { routers: vec![VirtualRouter { priority: 150, ..other.clone() }], ..Vrrp::default() };
    let changed = bench.routers.set(bench.now, &vrrp);
    assert_eq!(done(&changed.gone), ["send 0", "hush", "release", "MASTER -> INIT: stop"]);
    assert_eq!(changed.actions, []);
    assert_eq!((bench.state(ONE), bench.routers.deadline()), (State::Active, deadline));
    assert_eq!(done(&bench.stand(ONE, 150)), ["priority 100 -> 150"]);
    assert_eq!(done(&bench.sleep()), ["send 150"]);
    // Other addresses, and another interval.
    let mut more = VirtualRouter { interval: 3 * SECOND, ..other };
    more.addresses.extend(v2().addresses);
    let changed = bench.routers.set(bench.now, &Vrrp { routers: vec![more], ..Vrrp::default() });
    assert_eq!(done(&changed.actions), ["hold", "announce"]);
    assert_eq!(done(&changed.gone), [""; 0]);
    bench.sleep();
    assert_eq!(bench.left(), 3.0);
}

// Sync groups

fn pair(groups: bool) -> Vrrp {
    let other = VirtualRouter { vrid: 52, ..router("VI_2", Version::V2, &["10.0.0.101"]) };
    let group = SyncGroup {
        name: "G".to_owned(),
        members: vec!["VI_1".to_owned(), "VI_2".to_owned()],
        track: Tracking::default(),
        tracking_weight: false,
        hooks: VrrpHooks::default(),
    };
    Vrrp { routers: vec![v2(), other], groups: if groups { vec![group] } else { vec![] }, ..Vrrp::default() }
}

fn group_of_two() -> Bench {
    let mut bench = Bench::new(&pair(true));
    assert_eq!(bench.stand(ONE, 100), []);
    let actions = bench.stand(TWO, 100);
    assert_eq!(done(&actions).last().unwrap(), "group BACKUP");
    bench
}

#[test]
fn group_all_wait_until_all_would_take_over_and_then_all_do() {
    let mut bench = group_of_two();
    bench.wait(3 * SECOND);
    bench.hear_for(TWO, 200, "10.0.0.6", SECOND);
    // The first has heard nobody, the second has.
    assert_eq!(said(&bench.sleep()), ["(VI_1) Receive advertisement timeout"]);
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Backup, State::Backup));
    let actions = bench.sleep();
    let expected = [
        "send 100 of 1",
        "hold of 1",
        "announce of 1",
        "BACKUP -> MASTER of 1: no advert came in time",
        "send 100",
        "hold",
        "announce",
        "BACKUP -> MASTER: VI_2 of its group",
        "group MASTER",
    ];
    assert_eq!(done(&actions), expected);
    assert!(said(&actions).contains(&"VRRP_Group(G) Syncing instances to MASTER state".to_owned()));
}

#[test]
fn group_who_wants_to_and_hears_somebody_wants_no_more() {
    let mut bench = group_of_two();
    bench.wait(3 * SECOND);
    bench.hear_for(TWO, 200, "10.0.0.6", SECOND);
    bench.sleep();
    bench.hear_for(ONE, 200, "10.0.0.6", SECOND);
    bench.sleep();
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Backup, State::Backup));
}

#[test]
fn group_if_one_yields_all_do() {
    let mut bench = group_of_two();
    bench.sleep();
    let actions = bench.hear_for(TWO, 200, "10.0.0.6", SECOND);
    let expected = [
        "hush of 1",
        "release of 1",
        "MASTER -> BACKUP of 1: 10.0.0.6 has priority 200",
        "hush",
        "release",
        "MASTER -> BACKUP: VI_2 of its group",
        "group BACKUP",
    ];
    assert_eq!(done(&actions), expected);
}

#[test]
fn group_of_owners_that_meets_another_owner_gives_in_as_a_whole() {
    let mut bench = Bench::new(&pair(true));
    bench.stand(ONE, 255);
    bench.stand(TWO, 255);
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Active, State::Active));
    bench.hear_for(TWO, 255, "10.0.0.6", SECOND);
    let priorities = [ONE, TWO].map(|router| bench.routers.status(router).priority);
    assert_eq!((priorities, bench.state(ONE)), ([254, 254], State::Backup));
}

#[test]
fn group_if_one_must_be_in_fault_all_are_until_none_must() {
    let mut bench = group_of_two();
    bench.sleep();
    let actions = bench.fail(TWO);
    let expected = [
        "send 0 of 1",
        "hush of 1",
        "release of 1",
        "MASTER -> FAULT of 1: eth0 is down",
        "send 0",
        "hush",
        "release",
        "MASTER -> FAULT: VI_2 of its group",
        "group FAULT",
    ];
    assert_eq!(done(&actions), expected);
    assert_eq!(bench.fail(ONE), []);
    assert_eq!(bench.stand(TWO, 100), []);
    let actions = bench.stand(ONE, 100);
    let expected = [
        "FAULT -> BACKUP: what failed is well again",
        "FAULT -> BACKUP of 1: VI_1 of its group",
        "group BACKUP",
    ];
    assert_eq!(done(&actions), expected);
}

#[test]
fn group_if_one_loses_an_address_all_tell_that_they_stop() {
    let mut bench = group_of_two();
    bench.sleep();
    let actions = bench.step(Input::AddressLost { router: ONE, address: ip("10.0.0.100") });
    assert_eq!(done(&actions).iter().filter(|action| action.starts_with("send 0")).count(), 2);
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Backup, State::Backup));
    bench.sleep();
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Active, State::Active));
}

#[test]
fn group_a_lower_priority_heard_by_one_makes_all_announce() {
    let mut bench = group_of_two();
    bench.sleep();
    bench.wait(SECOND / 2);
    let actions = bench.hear_for(TWO, 50, "10.0.0.6", SECOND);
    let expected = ["send 100 of 1", "announce lower of 1", "lower 50 heard", "announce lower"];
    assert_eq!(done(&actions), expected);
}

#[test]
fn group_routers_that_a_reload_brings_together_are_brought_together() {
    let mut bench = Bench::new(&pair(false));
    bench.stand(ONE, 100);
    bench.stand(TWO, 100);
    bench.wait(3 * SECOND);
    bench.hear_for(TWO, 200, "10.0.0.6", SECOND);
    bench.sleep();
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Active, State::Backup));
    let changed = bench.routers.set(bench.now, &pair(true));
    assert_eq!(done(&changed.actions)[..3], ["send 0", "hush", "release"]);
    assert_eq!((bench.state(ONE), bench.state(TWO)), (State::Backup, State::Backup));
}

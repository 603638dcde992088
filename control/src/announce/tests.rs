//! The schedule, in simulated time.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn target(interface: u32, address: &str) -> Target {
    let interface_name = format!("eth{interface}");
    Target { interface, mac: [2, 0, 0, 0, 0, 1], address: address.parse().unwrap(), interface_name }
}

fn targets(count: u32) -> Vec<Target> {
    (0..count).map(|n| target(1, &format!("10.0.{}.{}", n / 256, n % 256))).collect()
}

fn full() -> Plan {
    Plan::of(&Announce::default(), Burst::Full)
}

/// What is sent until `end`, and when, by a caller who comes at each deadline.
fn run(announcer: &mut Announcer, begin: Instant, end: Duration) -> Vec<(Duration, Frame)> {
    let mut sent = Vec::new();
    while let Some(deadline) = announcer.deadline() {
        let now = deadline.max(begin);
        if now > begin + end {
            break;
        }
        let due = announcer.due(now);
        assert!(due.len() <= AT_ONCE);
        sent.extend(due.into_iter().map(|frame| (now - begin, frame)));
    }
    sent
}

fn times(sent: &[(Duration, Frame)]) -> Vec<u128> {
    sent.iter().map(|(at, _)| at.as_millis()).collect()
}

fn addresses(sent: &[(Duration, Frame)]) -> Vec<String> {
    sent.iter().map(|(_, frame)| frame.about.address.to_string()).collect()
}

#[test]
fn an_address_is_announced_five_times_at_once_and_five_times_after_five_seconds_and_no_more() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, vec![target(7, "10.0.0.5")], &full());
    let sent = run(&mut announcer, now, Duration::from_secs(3600));
    assert_eq!(times(&sent), [0, 0, 0, 0, 0, 5000, 5000, 5000, 5000, 5000]);
    assert!(sent.iter().all(|(_, frame)| frame.interface == 7 && frame.key == 1));
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn addresses_take_turns() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(2), &Plan { first: 2, again: None, ..full() });
    let sent = run(&mut announcer, now, Duration::ZERO);
    assert_eq!(addresses(&sent), ["10.0.0.0", "10.0.0.1", "10.0.0.0", "10.0.0.1"]);
}

#[test]
fn the_first_announcement_of_each_address_is_said_and_the_others_are_for_who_debugs() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    let vips = vec![target(0, "10.0.0.5"), target(0, "fe80::5")];
    announcer.announce(now, 1, vips, &Plan { form: GarpForm::Both, ..full() });
    let sent = run(&mut announcer, now, Duration::from_secs(10));
    let said: Vec<&str> = sent.iter().filter_map(|(_, frame)| frame.say.as_deref()).collect();
    let (arp, na) = (
        "Sending gratuitous ARP on eth0 for 10.0.0.5",
        "Sending unsolicited Neighbour Advert on eth0 for fe80::5",
    );
    assert_eq!(said, [arp, na]);
    assert_eq!(sent.iter().filter(|(_, frame)| frame.to_string() == arp).count(), 20);
    assert_eq!(sent.iter().filter(|(_, frame)| frame.to_string() == na).count(), 10);
    let burst = |target| burst_sentence("VI_1", &target);
    assert_eq!(burst(target(0, "10.0.0.5")), "(VI_1) Sending/queueing gratuitous ARPs on eth0 for 10.0.0.5");
}

#[test]
fn both_forms_are_a_request_and_then_a_reply() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(1), &Plan { first: 2, again: None, form: GarpForm::Both, ..full() });
    let sent = run(&mut announcer, now, Duration::ZERO);
    let operations: Vec<u8> = sent.iter().map(|(_, frame)| frame.bytes[21]).collect();
    assert_eq!(operations, [1, 2, 1, 2]);
}

#[test]
fn refreshes_go_on_by_their_own_clock_and_a_late_caller_is_not_paid_back() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    let plan = Plan { first: 1, again: None, refresh: Some((60_000 * MS, 2)), ..full() };
    announcer.announce(now, 1, targets(1), &plan);
    let sent = run(&mut announcer, now, 180_000 * MS);
    assert_eq!(times(&sent), [0, 60_000, 60_000, 120_000, 120_000, 180_000, 180_000]);
    let late = now + 1_000_000 * MS;
    assert_eq!(announcer.due(late).len(), 2);
    assert_eq!(announcer.deadline(), Some(late + 60_000 * MS));
}

#[test]
fn a_lower_burst_takes_no_refresh_and_no_second_wave_away() {
    let announce = Announce {
        refresh: 60_000 * MS,
        lower_repeat: 2,
        lower_delay: Duration::ZERO,
        ..Announce::default()
    };
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(1), &Plan::of(&announce, Burst::Full));
    let mut sent = run(&mut announcer, now, 999 * MS);
    announcer.announce(now + 1000 * MS, 1, targets(1), &Plan::of(&announce, Burst::Lower));
    sent.extend(run(&mut announcer, now, 61_000 * MS));
    assert_eq!(times(&sent), [vec![0; 5], vec![1000; 2], vec![5000; 5], vec![61_000]].concat());
}

#[test]
fn bursts_that_come_anew_all_the_time_leave_no_address_out() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    let plan = Plan { arp_gap: 100 * MS, ..full() };
    let mut heard = std::collections::HashSet::new();
    for second in 0..30 {
        let begin = now + second * 1000 * MS;
        announcer.announce(begin, 1, targets(255), &plan);
        for at in 0..10 {
            let sent = announcer.due(begin + at * 100 * MS);
            assert_eq!(sent.len(), 1);
            heard.insert(sent[0].about.address);
        }
    }
    assert_eq!(heard.len(), 255);
}

#[test]
fn a_gap_on_one_interface_holds_up_no_other_and_no_other_kind() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    let vips = vec![target(1, "10.0.0.5"), target(2, "10.0.0.6"), target(1, "fe80::5")];
    let plan = Plan { first: 2, again: None, arp_gap: 10 * MS, na_gap: 30 * MS, ..full() };
    announcer.announce(now, 1, vips, &plan);
    let sent = run(&mut announcer, now, 1000 * MS);
    assert_eq!(times(&sent), [0, 0, 0, 10, 10, 30]);
}

#[test]
fn routers_of_one_interface_take_turns_round_by_round() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    let plan = Plan { first: 2, again: None, arp_gap: 10 * MS, ..full() };
    for key in 0..3 {
        announcer.announce(now, key, targets(2), &plan);
    }
    let keys: Vec<u64> = run(&mut announcer, now, 1000 * MS).iter().map(|(_, frame)| frame.key).collect();
    assert_eq!(keys, [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn a_hundred_routers_with_255_addresses_are_announced_in_pieces() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    for key in 0..100 {
        announcer.announce(now, key, targets(255), &Plan { again: None, ..full() });
    }
    assert!(announcer.deadline().unwrap() <= now, "more is due now");
    let sent = run(&mut announcer, now, Duration::ZERO);
    assert_eq!(sent.len(), 100 * 255 * 5);
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn a_frame_that_was_refused_is_first_a_little_later_and_not_for_ever() {
    let (mut announcer, mut now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(2), &Plan { first: 1, again: None, ..full() });
    let mut due = announcer.due(now);
    assert_eq!(due.len(), 2);
    let mut attempts = 0;
    while !due.is_empty() {
        attempts += 1;
        assert_eq!(
            addresses(&due.iter().map(|f| (MS, f.clone())).collect::<Vec<_>>()),
            ["10.0.0.0", "10.0.0.1"]
        );
        for frame in due {
            announcer.refused(now, frame);
        }
        assert!(announcer.deadline().is_none_or(|deadline| deadline > now));
        now = announcer.deadline().unwrap_or(now);
        due = announcer.due(now);
    }
    assert_eq!(attempts, 101);
    assert_eq!(announcer.deadline(), None);
}

#[test]
fn what_was_refused_of_a_hushed_router_is_lost() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(1), &full());
    let mut due = announcer.due(now);
    assert!(announcer.refused(now, due.pop().unwrap()));
    announcer.hush(1);
    assert!(!announcer.refused(now, due.pop().unwrap()));
    assert_eq!(announcer.deadline(), None);
    assert_eq!(announcer.due(now + 10_000 * MS), []);
}

#[test]
fn addresses_that_went_with_a_reload_are_announced_no_more() {
    let (mut announcer, now) = (Announcer::new(), Instant::now());
    announcer.announce(now, 1, targets(200), &Plan { arp_gap: MS, ..full() });
    announcer.due(now);
    let vips = vec![target(3, "10.9.9.9")];
    announcer.announce(now + MS, 1, vips, &Plan { again: None, ..full() });
    let sent = run(&mut announcer, now, 100_000 * MS);
    assert!(addresses(&sent).iter().all(|address| address == "10.9.9.9"), "{sent:?}");
    // 5 now, and the second wave of before, which nobody asked to drop.
    assert_eq!(sent.len(), 10);
}

/// What an operator does.
#[derive(Debug, Clone)]
enum Deed {
    Announce { key: u64, addresses: u32, rounds: u32 },
    Hush { key: u64 },
    Wait { ms: u32 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0..3u64, 1..5u32, 0..6u32).prop_map(|(key, addresses, rounds)| Deed::Announce {
            key,
            addresses,
            rounds
        }),
        (0..3u64).prop_map(|key| Deed::Hush { key }),
        (1..8000u32).prop_map(|ms| Deed::Wait { ms }),
    ]
}

proptest! {
    /// The model: without gaps and at the end of every wait each announcement of a burst has been sent, five seconds after
    /// the last burst its second wave, and nothing else.
    #[test]
    fn without_gaps_every_wave_is_whole_and_nothing_else_is_sent(deeds in prop::collection::vec(deed(), 0..30)) {
        let mut announcer = Announcer::new();
        let mut now = Instant::now();
        // Of each key: its addresses, rounds to come at once, the second wave.
        let mut model: BTreeMap<u64, (u32, u32, Option<(Instant, u32)>)> = BTreeMap::new();
        for deed in deeds.into_iter().chain([Deed::Wait { ms: 20_000 }]) {
            match deed {
                Deed::Announce { key, addresses, rounds } => {
                    let (before, waiting, again) = model.remove(&key).unwrap_or_default();
                    let waiting = if before == addresses || rounds == 0 { waiting } else { waiting.min(rounds) };
                    let waiting = if before == 0 { 0 } else { waiting };
                    let most = rounds.max(again.map_or(0, |(_, rounds)| rounds));
                    let again = if rounds > 0 { Some((now + 5000 * MS, most)) } else { again };
                    model.insert(key, (addresses, rounds.max(waiting), again));
                    announcer.announce(now, key, targets(addresses), &Plan { first: rounds, ..full() });
                }
                Deed::Hush { key } => {
                    model.remove(&key);
                    announcer.hush(key);
                }
                Deed::Wait { ms } => {
                    let end = now + ms * MS;
                    let mut expected: BTreeMap<u64, u32> = BTreeMap::new();
                    for (key, (addresses, waiting, again)) in &mut model {
                        let second = again.take_if(|(at, _)| *at <= end).map_or(0, |(_, rounds)| rounds);
                        *expected.entry(*key).or_default() += *addresses * (std::mem::take(waiting) + second);
                    }
                    let mut sent: BTreeMap<u64, u32> = expected.keys().map(|key| (*key, 0)).collect();
                    for (_, frame) in run(&mut announcer, now, ms * MS) {
                        *sent.entry(frame.key).or_default() += 1;
                    }
                    prop_assert_eq!(sent, expected);
                    now = end;
                }
            }
        }
        // A plan of no rounds is remembered for its refresh; it is never due.
        prop_assert_eq!(announcer.deadline(), None);
    }

    #[test]
    fn a_gap_is_kept_whenever_the_caller_comes(
        routers in prop::collection::vec((1..4u32, 1..4u32, 1..5u32), 1..4),
        gap in 1..50u32,
        visits in prop::collection::vec(0..200u32, 1..100),
    ) {
        let begin = Instant::now();
        let mut announcer = Announcer::new();
        let plan = Plan { again: None, arp_gap: gap * MS, ..full() };
        let mut expected = 0;
        for (key, (interface, addresses, rounds)) in routers.into_iter().enumerate() {
            let vips = targets(addresses).into_iter().map(|target| Target { interface, ..target }).collect();
            announcer.announce(begin, key as u64, vips, &Plan { first: rounds, ..plan });
            expected += addresses * rounds;
        }
        let mut last: BTreeMap<u32, Instant> = BTreeMap::new();
        let mut now = begin;
        for visit in visits.into_iter().chain([60; 60]) {
            now += visit * MS;
            for frame in announcer.due(now) {
                expected -= 1;
                if let Some(last) = last.insert(frame.interface, now) {
                    prop_assert!(now - last >= gap * MS);
                }
            }
        }
        prop_assert_eq!(expected, 0);
        prop_assert_eq!(announcer.deadline(), None);
    }
}

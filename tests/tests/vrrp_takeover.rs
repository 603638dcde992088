//! Who holds the VIP when a director comes, goes, falls silent or is cut off: shunt with keepalived, both ways round, and
//! with itself. Director number 0 has the higher priority.

use std::time::Duration;

use shunt_tests::address::{Segment, VIP};
use shunt_tests::peer::{KK, KX, Pair, Peer, XK, XX, each_of, each_way, until_only};
use shunt_tests::vrrp::{Advert, GROUP};
use shunt_tests::wire::{self, Listener, Wire};
use shunt_tests::{Instance, Lab, wait};

const HIGH: u8 = 150;
const LOW: u8 = 100;
/// What a machine with busy cores may add to a time of the protocol.
const SLACK: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(10);

fn lab() -> Lab {
    Lab::builder().directors(2).real_servers(0).build()
}

/// Both run, the first one holds the VIP, and the second has heard it.
fn settled(pair: Pair, lab: &Lab, configs: [&str; 2]) -> [Peer; 2] {
    let peers = Peer::both(pair, lab, configs);
    until_only(&peers, 0);
    Listener::open(lab).wait_for(lab.director(0), 2);
    peers
}

#[track_caller]
fn assert_took(took: Duration, expected: Duration) {
    assert!(took + Duration::from_millis(50) >= expected, "{took:?} instead of {expected:?}: too early");
    assert!(took <= expected + SLACK, "{took:?} instead of {expected:?}");
}

/// Three adverts and the skew, as version 2 has it.
fn master_down(priority: u8) -> Duration {
    Duration::from_secs(3) + skew(priority)
}

fn skew(priority: u8) -> Duration {
    Duration::from_secs(1) * (256 - u32::from(priority)) / 256
}

#[test]
fn version_2_hands_over_in_order_and_after_a_crash_and_back_again() {
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::slow(priority).password("1111").to_string());
        let wire = Wire::tap(&lab);
        let mut peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        lab.client(0).run("ping", &["-c", "1", "-W", "5", &VIP.to_string()]);
        let mark = peers[1].log().mark();
        // A minute of it.
        Listener::open(&lab).wait_for(lab.director(0), 60);
        let said = peers[1].log().text().lines().skip(mark).map(str::to_owned).collect::<Vec<_>>();
        let of_vrrp = said.iter().filter(|line| line.contains("VI_1")).collect::<Vec<_>>();
        assert!(of_vrrp.is_empty(), "a backup has nothing to say: {of_vrrp:?}");
        for n in [0, 1] {
            assert!(peers[n].says("(VI_1) Entering BACKUP STATE") >= 1, "{}", peers[n].log().text());
            assert_eq!(peers[n].says("(VI_1) Entering MASTER STATE"), 1 - n, "{}", peers[n].log().text());
        }

        // Each advert to the byte.
        let first = wire.stop();
        let expected = Advert::new(2, lab.director(0).mac(), lab.director(0).address(), 51, HIGH)
            .password("1111")
            .of(&[VIP]);
        for heard in first.of(lab.director(0)) {
            let advert = Advert { destination_mac: None, ..heard.advert.clone() };
            assert_eq!(advert, expected);
        }
        assert_eq!(first.of(lab.director(1)).count(), 0, "{}", first.story());

        // In order.
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 1);
        let listener = Listener::open(&lab);
        peers[0].stop();
        listener.wait_for_stop(lab.director(0));
        listener.wait_for(lab.director(1), 2);
        until_only(&peers, 1);
        wait::until(SOON, "the router to hear where the VIP is", || {
            (wire::neighbor(lab.router(), VIP) == Some(lab.director(1).mac())).then_some(())
        });
        let in_order = wire.stop();
        assert_took(in_order.handover(51, lab.director(0), lab.director(1)), skew(LOW));
        let stop = in_order.of(lab.director(0)).next_back().unwrap();
        assert_eq!(stop.advert.priority, 0, "{}", in_order.story());
        let first = in_order.of(lab.director(1)).next().unwrap();
        let announced = in_order.announced(VIP);
        assert_eq!(announced.len(), 5, "the first five, the next five are later: {announced:?}");
        for (time, mac) in announced {
            assert_eq!(mac, lab.director(1).mac());
            assert!(time >= first.time, "the advert comes before the announcements");
        }
        assert_eq!(peers[1].says("(VI_1) Backup received priority 0 advertisement"), 1);

        // Back, and it takes over.
        let wire = Wire::tap(&lab);
        let mark = peers[1].log().mark();
        peers[0].start_again(&configs[0]);
        until_only(&peers, 0);
        peers[1].wait_for(
            mark,
            &format!(
                "Master received advert from {} with higher priority {HIGH}, ours {LOW}",
                lab.director(0).address()
            ),
        );
        peers[1].wait_for(mark, "(VI_1) Entering BACKUP STATE");
        let back = wire.stop();
        assert!(back.announced(VIP).iter().any(|(_, mac)| *mac == lab.director(0).mac()));

        // A crash.
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 1);
        peers[0].kill9();
        peers[1].until_active();
        Listener::open(&lab).wait_for(lab.director(1), 1);
        let crash = wire.stop();
        assert_took(crash.handover(51, lab.director(0), lab.director(1)), master_down(LOW));
        assert!(crash.of(lab.director(0)).all(|heard| heard.advert.priority == HIGH), "{}", crash.story());
        peers[1].stop();
        assert!(!peers[1].holds(VIP), "who ends in order leaves no address");
    });
}

#[test]
fn version_3_hands_over_in_order_and_after_a_crash_in_fractions_of_a_second() {
    // keepalived with itself too: what is asserted is what it does.
    each_of(&[XK, KX, XX, KK], |pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        let mut peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 1);
        let listener = Listener::open(&lab);
        peers[0].stop();
        listener.wait_for_stop(lab.director(0));
        until_only(&peers, 1);
        listener.wait_for(lab.director(1), 3);
        let in_order = wire.stop();
        let expected = Advert {
            interval: 20,
            ..Advert::new(3, lab.director(1).mac(), lab.director(1).address(), 51, LOW)
        };
        for heard in in_order.of(lab.director(1)) {
            let advert = Advert { destination_mac: None, ..heard.advert.clone() };
            assert_eq!(advert, expected.clone().of(&[VIP]));
            assert_eq!(advert.destination, GROUP);
        }
        assert_took(in_order.handover(51, lab.director(0), lab.director(1)), skew(LOW) / 5);

        peers[0].start_again(&configs[0]);
        until_only(&peers, 0);
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 2);
        peers[0].kill9();
        peers[1].until_active();
        Listener::open(&lab).wait_for(lab.director(1), 1);
        let crash = wire.stop();
        assert_took(crash.handover(51, lab.director(0), lab.director(1)), master_down(LOW) / 5);
    });
}

#[test]
fn a_pulled_cable_is_a_takeover_and_a_plugged_one_brings_it_back_with_announcements() {
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        let peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        let marks = [peers[0].log().mark(), peers[1].log().mark()];
        lab.unplug(lab.director(0), Segment::Lan);
        peers[0].wait_for(marks[0], "(VI_1) Entering FAULT STATE");
        until_only(&peers, 1);

        let wire = Wire::tap(&lab);
        lab.plug(lab.director(0), Segment::Lan);
        until_only(&peers, 0);
        Listener::open(&lab).wait_for(lab.director(0), 2);
        let healed = wire.stop();
        let of_winner = healed.announced(VIP).iter().filter(|(_, mac)| *mac == lab.director(0).mac()).count();
        assert!(of_winner >= 5, "{:?}", healed.announced(VIP));

        // The backup's cable: nothing changes hands.
        let mark = peers[0].log().mark();
        lab.unplug(lab.director(1), Segment::Lan);
        peers[1].wait_for(marks[1], "(VI_1) Entering FAULT STATE");
        let marked = peers[1].log().mark();
        lab.plug(lab.director(1), Segment::Lan);
        peers[1].wait_for(marked, "(VI_1) Entering BACKUP STATE");
        Listener::open(&lab).wait_for(lab.director(0), 5);
        until_only(&peers, 0);
        let text = peers[0].log().text();
        assert!(!text.lines().skip(mark).any(|line| line.contains("STATE")), "{text}");
    });
}

#[test]
fn an_interface_set_down_is_a_fault_until_it_is_up_again() {
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        let peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        lab.director(0).ip("link set eth0 down\n");
        until_only(&peers, 1);
        assert_eq!(peers[0].says("(VI_1) Entering FAULT STATE"), 1, "{}", peers[0].log().text());
        lab.director(0).ip("link set eth0 up\n");
        until_only(&peers, 0);
    });
}

#[test]
fn a_director_that_is_not_heard_is_replaced_and_wins_again_when_it_is() {
    each_way(|pair| {
        let lab = lab();
        let configs =
            [HIGH, LOW].map(|priority| Instance::fast(priority).with("garp_lower_prio_delay 1").to_string());
        let peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        wire::mute(&lab, lab.director(0));
        // Two are active: neither can know better. It is the higher one that hears the other, and answers in vain.
        peers[1].until_active();
        assert!(peers[0].holds(VIP));
        let listener = Listener::open(&lab);
        listener.wait_for(lab.director(1), 3);

        let wire = Wire::tap(&lab);
        let mark = peers[1].log().mark();
        wire::unmute(&lab, lab.director(0));
        peers[1].wait_for(mark, "(VI_1) Entering BACKUP STATE");
        until_only(&peers, 0);
        // Those that follow the lower priority that it heard, once more after a second.
        Listener::open(&lab).wait_for(lab.director(0), 8);
        let healed = wire.stop();
        let last = healed.announced(VIP).last().copied();
        assert_eq!(last.map(|(_, mac)| mac), Some(lab.director(0).mac()), "the winner has the last word");
        // The loser was answered at once: it said no more than one more thing.
        let first = healed.of(lab.director(0)).next().unwrap().time;
        let more = healed.of(lab.director(1)).filter(|heard| heard.time > first).count();
        assert!(more <= 1, "{}", healed.story());
    });
}

#[test]
fn of_equals_the_higher_address_wins_and_nobody_takes_back_what_the_other_has() {
    each_way(|pair| {
        let lab = lab();
        let config = Instance::fast(120).to_string();
        let mut peers = Peer::both(pair, &lab, [&config, &config]);
        // Whoever timed out first; if both at once, the higher address stays. One of them, in any case.
        let owner =
            wait::until(SOON, "one to hold the VIP alone", || match [0, 1].map(|n| peers[n].holds(VIP)) {
                [true, false] => Some(0),
                [false, true] => Some(1),
                _ => None,
            });
        Listener::open(&lab).wait_for(lab.director(owner), 10);
        until_only(&peers, owner);
        peers[owner].stop();
        until_only(&peers, 1 - owner);
        peers[owner].start_again(&config);
        Listener::open(&lab).wait_for(lab.director(1 - owner), 10);
        until_only(&peers, 1 - owner);
        assert_eq!(
            peers[owner].says("Entering MASTER STATE"),
            0,
            "it stays backup: {}",
            peers[owner].log().text()
        );

        // Both are active, as after a cut: the higher address, which is that of the second, stays.
        wire::mute(&lab, lab.director(1 - owner));
        peers[owner].until_active();
        wire::unmute(&lab, lab.director(1 - owner));
        until_only(&peers, 1);
        Listener::open(&lab).wait_for(lab.director(1), 10);
        until_only(&peers, 1);
    });
}

#[test]
fn the_owner_is_active_at_once_and_whenever_it_is_there() {
    each_way(|pair| {
        let lab = lab();
        let configs = [255, LOW].map(|priority| Instance::fast(priority).to_string());
        let wire = Wire::tap(&lab);
        let owner = Peer::start(pair[0], &lab, 0, &configs[0]);
        owner.until_active();
        let backup = Peer::start(pair[1], &lab, 1, &configs[1]);
        Listener::open(&lab).wait_for(lab.director(0), 10);
        let mut peers = [owner, backup];
        until_only(&peers, 0);
        peers[0].stop();
        until_only(&peers, 1);
        peers[0].start_again(&configs[0]);
        until_only(&peers, 0);
        let seen = wire.stop();
        assert!(seen.of(lab.director(0)).any(|heard| heard.advert.priority == 255), "{}", seen.story());
    });
}

#[test]
fn a_reload_of_either_side_changes_nothing_that_it_does_not_say() {
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        let mut peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        let wire = Wire::tap(&lab);
        for n in [1, 0] {
            peers[n].reload(&configs[n]);
            Listener::open(&lab).wait_for(lab.director(0), 6);
            until_only(&peers, 0);
        }
        let seen = wire.stop();
        assert_eq!(seen.of(lab.director(1)).count(), 0, "nobody else was active: {}", seen.story());
        assert!(seen.of(lab.director(0)).all(|heard| heard.advert.priority == HIGH), "{}", seen.story());

        // A priority that changes is in the next adverts, and decides.
        let lower = Instance::fast(LOW - 50).to_string();
        peers[0].reload(&lower);
        until_only(&peers, 1);
    });
}

#[test]
fn an_address_removed_by_hand_is_held_again_at_once_by_one_of_them_and_announced() {
    // keepalived says that it stops and goes on by its old timer, shunt after its skew: either may be the sooner.
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        let peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        let wire = Wire::tap(&lab);
        let listener = Listener::open(&lab);
        lab.director(0).remove_address(VIP, "eth0");
        listener.wait_for_stop(lab.director(0));
        let owner = wait::until(SOON, "one to hold the VIP", || (0..2).find(|n| peers[*n].holds(VIP)));
        Listener::open(&lab).wait_for(lab.director(owner), 5);
        until_only(&peers, owner);
        let seen = wire.stop();
        let stop = seen.of(lab.director(0)).find(|heard| heard.advert.priority == 0).unwrap().time;
        let of_owner = seen.of(lab.director(owner)).find(|heard| heard.time > stop).unwrap().time;
        assert!(of_owner - stop < master_down(LOW) / 5, "{}", seen.story());
        let announced = seen.announced(VIP);
        let mac = lab.director(owner).mac();
        assert!(
            announced.iter().filter(|(time, at)| *time > stop && *at == mac).count() >= 5,
            "{announced:?}"
        );
    });
}

#[test]
fn an_address_that_is_there_at_the_start_of_a_backup_is_removed() {
    each_way(|pair| {
        let lab = lab();
        let configs = [HIGH, LOW].map(|priority| Instance::fast(priority).to_string());
        lab.director(1).add_address(VIP, "eth0");
        let peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        // And of one that becomes active it is its own from then on.
        drop(peers);
        let lab = self::lab();
        lab.director(0).add_address(VIP, "eth0");
        let mut peers = settled(pair, &lab, [&configs[0], &configs[1]]);
        peers[0].stop();
        until_only(&peers, 1);
    });
}

#[test]
fn a_group_fails_over_as_one() {
    each_way(|pair| {
        let lab = Lab::builder().directors(2).real_servers(1).two_legged().build();
        let second: std::net::IpAddr = "203.0.113.10".parse().unwrap();
        let config = |priority| {
            let outer = Instance::fast(priority);
            let inner = Instance {
                name: "VI_2".to_owned(),
                interface: "eth1".to_owned(),
                vrid: 52,
                addresses: vec![second.to_string()],
                ..Instance::fast(priority)
            };
            format!("vrrp_sync_group G1 {{\ngroup {{\nVI_1\nVI_2\n}}\n}}\n{outer}{inner}")
        };
        let configs = [config(HIGH), config(LOW)];
        let peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        let all_at = |n: usize| {
            wait::until(SOON * 2, &format!("director{} to hold both", n + 1), || {
                let [this, that] = [&peers[n], &peers[1 - n]];
                [VIP, second].iter().all(|vip| this.holds(*vip) && !that.holds(*vip)).then_some(())
            });
        };
        all_at(0);
        lab.unplug(lab.director(0), Segment::Servers);
        all_at(1);
        assert!(peers[0].says("(VI_1) Entering FAULT STATE") >= 1, "{}", peers[0].log().text());
        lab.plug(lab.director(0), Segment::Servers);
        all_at(0);
    });
}

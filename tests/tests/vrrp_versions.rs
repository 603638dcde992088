//! What of two configurations must agree, and what is taken from the active router: intervals, versions, checksums.

use std::time::Duration;

use shunt_tests::peer::{KX, Kind, Peer, XK, XX, each_of, each_way, until_only};
use shunt_tests::vrrp::Sum;
use shunt_tests::wire::{Listener, Wire};
use shunt_tests::{Instance, Lab};

const SLACK: Duration = Duration::from_millis(700);

fn lab() -> Lab {
    Lab::builder().directors(2).real_servers(0).build()
}

#[test]
fn version_2_with_another_interval_is_a_split_and_both_say_why() {
    each_way(|pair| {
        let lab = lab();
        let first = Instance::slow(150).to_string();
        let second = Instance { interval: 2.0, ..Instance::slow(100) }.to_string();
        let peers = Peer::both(pair, &lab, [&first, &second]);
        for peer in &peers {
            peer.until_active();
        }
        peers[0].wait_for(0, "advertisement interval mismatch mine=1 sec rcv'd=2 sec");
        peers[1].wait_for(0, "advertisement interval mismatch mine=2 sec rcv'd=1 sec");
        assert!(peers.iter().all(|peer| peer.holds(shunt_tests::address::VIP)));
    });
}

#[test]
fn version_2_with_two_seconds_on_both_sides_is_two_seconds() {
    each_way(|pair| {
        let lab = lab();
        let configs =
            [150, 100].map(|priority| Instance { interval: 2.0, ..Instance::slow(priority) }.to_string());
        let peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        until_only(&peers, 0);
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 3);
        let seen = wire.stop();
        let times: Vec<_> = seen.of(lab.director(0)).map(|heard| heard.time).collect();
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap > Duration::from_millis(1900) && gap < Duration::from_secs(2) + SLACK, "{gap:?}");
        }
        assert!(seen.of(lab.director(0)).all(|heard| heard.advert.interval == 2));
        until_only(&peers, 0);
    });
}

#[test]
fn version_3_takes_the_interval_of_the_active_router() {
    each_way(|pair| {
        let lab = lab();
        let first = Instance { interval: 0.25, ..Instance::fast(150) }.to_string();
        let second = Instance { interval: 1.0, ..Instance::fast(100) }.to_string();
        let mut peers = Peer::both(pair, &lab, [&first, &second]);
        until_only(&peers, 0);
        peers[1].wait_for(0, "advertisement interval updated from 1000ms to 250ms");
        let wire = Wire::tap(&lab);
        Listener::open(&lab).wait_for(lab.director(0), 2);
        peers[0].kill9();
        peers[1].until_active();
        Listener::open(&lab).wait_for(lab.director(1), 1);
        let seen = wire.stop();
        let took = seen.handover(51, lab.director(0), lab.director(1));
        let expected = Duration::from_millis(750) + Duration::from_millis(250) * 156 / 256;
        assert!(
            took + Duration::from_millis(50) > expected && took < expected + SLACK,
            "{took:?}, not {expected:?}"
        );
    });
}

#[test]
fn two_versions_do_not_talk_and_both_say_so() {
    each_way(|pair| {
        let lab = lab();
        let first = Instance::fast(150).to_string();
        let second = Instance::slow(100).to_string();
        let peers = Peer::both(pair, &lab, [&first, &second]);
        for peer in &peers {
            peer.until_active();
        }
        peers[0].wait_for(0, "wrong version. Received 2 and expect 3");
        peers[1].wait_for(0, "wrong version. Received 3 and expect 2");
    });
}

#[test]
fn the_checksum_of_rfc_9568_is_understood_by_shunt_and_not_by_keepalived() {
    each_of(&[XX, XK, KX], |pair| {
        let lab = lab();
        // Of two, shunt sends as RFC 9568 has it: the first, or the second if keepalived is the first.
        let modern = usize::from(pair[0] == Kind::Keepalived);
        let mut configs = [150, 100].map(Instance::fast);
        configs[modern] = configs[modern].clone().with("v3_checksum_as_v2");
        let configs = configs.map(|config| config.to_string());
        let wire = Wire::tap(&lab);
        let peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        if pair == XX {
            until_only(&peers, 0);
            Listener::open(&lab).wait_for(lab.director(0), 5);
            until_only(&peers, 0);
        } else if modern == 0 {
            peers[1].wait_for(0, "Invalid VRRPv3 checksum");
            peers[1].until_active();
        } else {
            // Of the higher priority, keepalived is heard; what it hears does not matter to it.
            until_only(&peers, 0);
            Listener::open(&lab).wait_for(lab.director(0), 5);
            until_only(&peers, 0);
        }
        let seen = wire.stop();
        for (n, sum) in [(modern, Sum::MessageOnly), (1 - modern, Sum::Right)] {
            assert!(seen.of(lab.director(n)).all(|heard| heard.advert.sum == sum), "{n}");
        }
        assert!(seen.of(lab.director(0)).count() > 1);
    });
}

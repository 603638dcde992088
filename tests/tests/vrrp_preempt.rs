//! Who takes back what it had: `nopreempt`, `preempt_delay`.

use std::time::{Duration, SystemTime};

use shunt_tests::peer::{Peer, each_way, until_only};
use shunt_tests::wire::{Listener, Wire};
use shunt_tests::{Instance, Lab};

fn lab() -> Lab {
    Lab::builder().directors(2).real_servers(0).build()
}

#[test]
fn who_does_not_preempt_waits_until_the_other_is_gone() {
    each_way(|pair| {
        let lab = lab();
        let configs = [150, 100].map(|priority| Instance::fast(priority).with("nopreempt").to_string());
        let mut peers = Peer::both(pair, &lab, [&configs[0], &configs[1]]);
        until_only(&peers, 0);
        peers[0].stop();
        until_only(&peers, 1);
        peers[0].start_again(&configs[0]);
        Listener::open(&lab).wait_for(lab.director(1), 10);
        until_only(&peers, 1);
        assert_eq!(peers[0].says("Entering MASTER STATE"), 0, "{}", peers[0].log().text());
        peers[1].kill9();
        peers[0].until_active();
    });
}

#[test]
fn with_a_delay_the_higher_priority_takes_over_when_it_is_over() {
    const DELAY: Duration = Duration::from_secs(2);
    each_way(|pair| {
        let lab = lab();
        let first = Instance::fast(150).with("preempt_delay 2").to_string();
        let second = Instance::fast(100).to_string();
        let second = Peer::start(pair[1], &lab, 1, &second);
        second.until_active();
        let wire = Wire::tap(&lab);
        let begin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let peers = [Peer::start(pair[0], &lab, 0, &first), second];
        until_only(&peers, 0);
        Listener::open(&lab).wait_for(lab.director(0), 1);
        let seen = wire.stop();
        let took = seen.of(lab.director(0)).next().expect("its adverts").time - begin;
        assert!(took >= DELAY, "{took:?}: {}", seen.story());
        assert!(took < DELAY + Duration::from_secs(4), "{took:?}: {}", seen.story());

        // It is only about the start: what it lost to a crash of the other it takes at once.
        let [mut first, mut second] = peers;
        first.stop();
        second.until_active();
        second.kill9();
        drop(first);
    });
}

#[test]
fn a_state_of_master_clears_nopreempt_and_says_so() {
    each_way(|pair| {
        let lab = lab();
        let first = Instance { state: "MASTER", ..Instance::fast(150) }.with("nopreempt").to_string();
        let second = Instance::fast(100).to_string();
        let mut peers = Peer::both(pair, &lab, [&first, &second]);
        until_only(&peers, 0);
        assert!(peers[0].says("nopreempt") >= 1, "{}", peers[0].log().text());
        peers[0].stop();
        until_only(&peers, 1);
        peers[0].start_again(&first);
        until_only(&peers, 0);
    });
}

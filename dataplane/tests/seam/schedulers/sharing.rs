//! One scheduler, several workers at once.

use std::sync::Barrier;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::schedule::{Candidate, Policy, Scheduler};

use super::{Loads, build, question, three, v4};

const WORKERS: u16 = 4;
/// Of each.
const FLOWS: u16 = 30_000;
/// Workers meet at the shared word only now and then.
const ROUNDS: usize = 100;
const ALL_FLOWS: usize = WORKERS as usize * FLOWS as usize;

/// How many flows each real server got from all workers together.
fn shares(scheduler: &Scheduler, loads: &Loads) -> Vec<usize> {
    let start = Barrier::new(WORKERS.into());
    let picks = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let of = |n: u16| {
                        // Two days in all, so that what is remembered expires.
                        let now = Tick::new(u32::from(n) * (2 * 345_600 / u32::from(FLOWS)));
                        scheduler.pick(&question(v4(192, 0, 2, worker as u8), n, now), loads)
                    };
                    (0..FLOWS).map(of).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect::<Vec<_>>()
    });
    let mut shares = vec![0; loads.0.len()];
    picks.into_iter().for_each(|slot| shares[slot.expect("somebody takes it") as usize] += 1);
    shares
}

#[test]
fn rr_and_wrr_give_exact_shares_to_workers_at_once() {
    let flows = ALL_FLOWS;
    let loads = Loads::idle(3);
    for _ in 0..ROUNDS {
        assert_eq!(shares(&build(Policy::Rr, &three(), None), &loads), [flows / 3; 3]);
        assert_eq!(shares(&build(Policy::Wrr, &three(), None), &loads), [flows / 6, flows / 3, flows / 2]);
    }
}

#[test]
fn rr_and_wrr_share_exactly_what_an_overloaded_real_server_would_have_got() {
    let flows = ALL_FLOWS;
    let mut loads = Loads::idle(3);
    loads.0[2].1 = true;
    assert_eq!(shares(&build(Policy::Rr, &three(), None), &loads), [flows / 2, flows / 2, 0]);
    assert_eq!(shares(&build(Policy::Wrr, &three(), None), &loads), [flows / 3, flows / 3 * 2, 0]);
}

#[test]
fn no_policy_that_shares_a_word_loses_a_flow_of_workers_at_once() {
    let shared = [Policy::Rr, Policy::Wrr, Policy::Lblc, Policy::Lblcr, Policy::Twos];
    for policy in shared.into_iter().cycle().take(5 * ROUNDS) {
        let shares = shares(&build(policy, &three(), None), &Loads::idle(3));
        assert_eq!(shares.iter().sum::<usize>(), ALL_FLOWS, "{policy}");
    }
}

#[test]
fn a_weight_of_65535_beside_overloaded_ones_is_found_without_65535_passes() {
    let mut candidates: Vec<Candidate> = (0..1_000)
        .map(|n| Candidate { slot: n, address: v4(198, 18, (n >> 8) as u8, n as u8), port: 80, weight: 1 })
        .collect();
    candidates[999].weight = u16::MAX;
    let mut loads = Loads::idle(1_000);
    loads.0[999].1 = true;
    // A pass for each weight would be 65,535,000 looks a flow.
    let start = std::time::Instant::now();
    let shares = shares(&build(Policy::Wrr, &candidates, None), &loads);
    assert_eq!(shares[..999].iter().sum::<usize>(), ALL_FLOWS);
    assert!(shares[..999].iter().max() <= shares[..999].iter().min().map(|least| least + 1).as_ref());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

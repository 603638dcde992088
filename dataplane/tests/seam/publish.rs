//! New states while a worker forwards on another thread: every frame meets one whole state.

use std::sync::atomic::{AtomicBool, Ordering};

use shunt_dataplane::forwarding::Builder;

use crate::craft::{Craft, SYN};
use crate::rig::{PORTS, Rig, http, port, real_of, service, up};

/// The generation published last.
const LAST: u64 = 301;

#[test]
fn a_worker_forwards_by_a_published_state_while_others_are_published() {
    let mut rig = Rig::new(1, 1024);
    rig.publish(&[service(http(), [up(1)])]);
    let mut seat = rig.seats.pop().expect("one worker");
    let stats = seat.stats.clone();
    let (done, mut states) = (AtomicBool::new(false), Vec::new());
    let done = &done;
    let (forwarded, generation) = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let (mut forwarded, mut n) = (0u64, 0);
            while !done.load(Ordering::Relaxed) {
                n += 1;
                assert!(port(&mut seat, 0).arrive(&Craft::tcp(n, SYN).bytes()));
                // Half a second a turn: the table ages, and tells which generation it met.
                seat.worker.turn(u64::from(n) * 500);
                for id in 0..PORTS {
                    forwarded +=
                        port(&mut seat, id).sent(|bytes| assert!((1..=3).contains(&real_of(bytes)))) as u64;
                }
            }
            (forwarded, seat.stats.generation.value())
        });
        for n in 0..LAST as u16 - 1 {
            let next = Builder::after(rig.publisher.current(), 1, usize::from(PORTS))
                .build(&[service(http(), [up(1 + n % 3)])])
                .expect("the specification is right");
            rig.publisher.publish(next);
            states.push(std::sync::Arc::downgrade(rig.publisher.current()));
        }
        // Let the last one be seen; a worker that never does would hang, not pass.
        while stats.generation.value() < LAST {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        worker.join().expect("the worker did not panic")
    });
    assert!(forwarded > 0);
    assert_eq!(generation, LAST);
    rig.publisher.collect();
    // All but the current one are freed: the worker is gone, and nobody else held one.
    let alive = states.iter().filter(|state| state.strong_count() > 0).count();
    assert_eq!(alive, 1);
}

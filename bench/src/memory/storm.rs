//! What disturbs the packet path: states that follow each other, floods of new flows.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use shunt_dataplane::clock::Tick;
use shunt_dataplane::director::{Director, Memory, Rates, Verdicts};
use shunt_dataplane::forwarding::{Builder, Options};
use shunt_dataplane::publish::Publisher;
use shunt_dataplane::stats::WorkerStats;

use crate::memory::pass::Scene;
use crate::memory::stage::{BOOT_KEY, room};
use crate::memory::{Row, on_processor};
use crate::state::{of, services};
use crate::traffic::{FRAME, Family, Frames, Shape, Traffic};

/// Services of the states: what is copied from state to state, and where each worker looks anew.
const SERVICES: u16 = 100;

/// Each turn is so many times longer, for several states to come in it.
const LONGER: usize = 20;

/// The pass, state by state: `rate` new ones a second, built and published by another thread, as control
/// does it; each has another real server that drains.
pub fn published(rate: u32, at: usize) -> Row {
    Row::timed("publish", rate, at, move || {
        let mut specs = services(Family::Ipv4, SERVICES, Options::default());
        let mut publisher = Publisher::new(of(&specs));
        let mut subscriber = publisher.subscribe();
        let memory = Memory::for_workers(1, room(1_000), BOOT_KEY).pop().expect("one worker");
        let mut director = Director::new(0, memory, Rates::default(), Arc::new(WorkerStats::default()));
        let mut traffic = Traffic::new(1_000);
        let mut frames: Frames = traffic.frames();
        let mut verdicts = Verdicts::new();
        let goes_on = Arc::new(AtomicBool::new(false));
        let control = goes_on.clone();
        // It ends with the process.
        thread::spawn(move || {
            let mut n = 0;
            loop {
                thread::sleep(Duration::from_micros(1_000_000u64.checked_div(rate.into()).unwrap_or(1_000)));
                if rate == 0 || !control.load(Ordering::Relaxed) {
                    continue;
                }
                n += 1;
                let real = &mut specs[n % usize::from(SERVICES)].reals[0];
                (real.weight, real.share) = if real.weight == 0 { (1, 1) } else { (0, 0) };
                let next = Builder::after(publisher.current(), 1, 1).build(&specs).expect("good");
                publisher.publish(next);
            }
        });
        move |bursts| {
            goes_on.store(true, Ordering::Relaxed);
            let before = on_processor();
            for _ in 0..bursts * LONGER {
                traffic.write(&mut frames);
                let state = subscriber.current();
                director.direct(state, black_box(&mut frames), false, Tick::new(0), &mut verdicts);
            }
            let took = on_processor().saturating_sub(before);
            goes_on.store(false, Ordering::Relaxed);
            took / LONGER as u32
        }
    })
}

/// Flows that live, of which nothing else counts; in a flood as many SYNs of new flows come between, a burst for a
/// burst, and are not counted: what they leave in the caches and in the table is.
pub fn flooded(flows: usize, is_flooded: bool, at: usize) -> Row {
    let name = if is_flooded { "flood/in a flood" } else { "flood/in peace" };
    Row::timed(name, flows, at, move || {
        let mut scene = Scene::<FRAME>::new(Shape::of(flows), Options::default());
        let mut flood = Traffic::shaped(Shape { fresh: 100, ..Shape::of(1) });
        move |bursts| {
            let mut took = Duration::ZERO;
            // A clock is read twice a turn of eight bursts.
            for _ in 0..bursts.div_ceil(8) {
                if is_flooded {
                    for _ in 0..8 {
                        flood.write(&mut scene.frames);
                        scene.direct();
                    }
                }
                let before = on_processor();
                for _ in 0..8 {
                    scene.turn();
                }
                took += on_processor().saturating_sub(before);
            }
            took.mul_f64(bursts as f64 / (8 * bursts.div_ceil(8)) as f64)
        }
    })
}

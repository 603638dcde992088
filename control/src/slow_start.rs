//! Slow start: a real server that comes back gets its weight in ten steps, so that a cold cache is not met by a full
//! share of clients.
//!
//! *Invariants*
//! - who is up when shunt starts has its whole weight: then all are equally cold;
//! - who goes down loses its start; the next one begins anew;
//! - pure: standings and time come in, shares go out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::health::RealKey;
use crate::model::{Model, Scheduler};

/// Steps to the whole weight.
pub const STEPS: u32 = 10;

/// The real servers that have not got their whole weight yet.
#[derive(Debug, Clone, Default)]
pub struct SlowStart {
    ramps: HashMap<RealKey, Ramp>,
}

#[derive(Debug, Clone, Copy)]
struct Ramp {
    since: Instant,
    duration: Duration,
    step: u32,
}

impl SlowStart {
    /// Begins a start for every real server that is up and was not, as `is_up` and `was_up` say, if its service
    /// asks for one; ends those of others.
    pub fn follow(
        &mut self,
        now: Instant,
        model: &Model,
        was_up: impl Fn(&RealKey) -> bool,
        is_up: impl Fn(&RealKey) -> bool,
    ) {
        let before = std::mem::take(&mut self.ramps);
        for service in &model.services {
            let Some(duration) = service.slow_start else { continue };
            for key in service.reals.iter().map(|real| (service.key, real.address)).filter(|key| is_up(key)) {
                let ramp = match before.get(&key) {
                    Some(ramp) => Ramp { duration, ..*ramp },
                    None if was_up(&key) => continue,
                    None => Ramp { since: now, duration, step: 0 },
                };
                self.ramps.insert(key, ramp);
            }
        }
    }

    /// Goes on to the step that is due now; whether it is another for anybody. Whoever has its whole weight leaves.
    pub fn advance(&mut self, now: Instant) -> bool {
        let mut moved = false;
        self.ramps.retain(|_, ramp| {
            let due = ramp.due(now);
            moved |= due != ramp.step;
            ramp.step = due;
            due < STEPS
        });
        moved
    }

    /// How many of [`STEPS`] a real server has come, if it has not come all of them.
    pub fn step(&self, key: &RealKey) -> Option<u32> {
        self.ramps.get(key).map(|ramp| ramp.step)
    }
}

impl Ramp {
    fn due(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_millis() * u128::from(STEPS);
        (passed / self.duration.as_millis().max(1)).min(STEPS.into()) as u32
    }
}

/// The weights in force of the real servers of one service, from their weights and how far their start has come.
/// Only the proportion counts, so while one starts all are multiplied, and a weight of 1 can start slowly too.
pub fn shares(scheduler: Scheduler, reals: &[(u16, Option<u32>)]) -> Vec<u16> {
    if reals.iter().all(|(weight, step)| *weight == 0 || step.is_none()) {
        return reals.iter().map(|(weight, _)| *weight).collect();
    }
    let largest = reals.iter().map(|(weight, _)| u32::from(*weight)).max().unwrap_or(1).max(1);
    let factor = match scheduler {
        // To these a weight is a number of flows: what is multiplied means something else.
        Scheduler::Ovf | Scheduler::Lblc | Scheduler::Lblcr => 1,
        _ => (u32::from(u16::MAX) / largest).clamp(1, STEPS),
    };
    let share = |(weight, step): &(u16, Option<u32>)| {
        let whole = u32::from(*weight) * factor;
        let part = step.map_or(whole, |step| (whole * step.min(STEPS) / STEPS).max(1).min(whole));
        u16::try_from(part).unwrap_or(u16::MAX)
    };
    reals.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(slow_start: &str) -> (Model, RealKey) {
        let text = format!(
            "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n\
             {slow_start}\n[[service.real]]\naddress = \"192.0.2.21\"\n"
        );
        let model = crate::config::parse("a", &text).unwrap().model;
        let key = (model.services[0].key, model.services[0].reals[0].address);
        (model, key)
    }

    #[test]
    fn who_comes_back_gets_its_weight_in_ten_steps() {
        let (model, key) = model("slow_start = \"60s\"");
        let start = Instant::now();
        let mut slow = SlowStart::default();
        slow.follow(start, &model, |_| false, |_| true);
        assert_eq!(slow.step(&key), Some(0));
        let mut steps = Vec::new();
        for second in 1..=60 {
            slow.follow(start + Duration::from_secs(second), &model, |_| true, |_| true);
            if slow.advance(start + Duration::from_secs(second)) {
                steps.push((second, slow.step(&key)));
            }
        }
        let expected: Vec<_> =
            (1..=10).map(|step| (6 * u64::from(step), (step < STEPS).then_some(step))).collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn who_was_up_all_along_and_who_is_down_have_no_start() {
        let (model, key) = model("slow_start = \"60s\"");
        let now = Instant::now();
        let mut slow = SlowStart::default();
        slow.follow(now, &model, |_| true, |_| true);
        assert_eq!(slow.step(&key), None);
        slow.follow(now, &model, |_| false, |_| true);
        slow.advance(now + Duration::from_secs(30));
        assert_eq!(slow.step(&key), Some(5));
        slow.follow(now, &model, |_| true, |_| false);
        assert_eq!(slow.step(&key), None);
        slow.follow(now + Duration::from_secs(30), &model, |_| false, |_| true);
        assert_eq!(slow.step(&key), Some(0), "it begins anew");
    }

    #[test]
    fn a_service_without_slow_start_ends_those_under_way() {
        let (with, key) = model("slow_start = \"60s\"");
        let mut slow = SlowStart::default();
        slow.follow(Instant::now(), &with, |_| false, |_| true);
        assert!(slow.step(&key).is_some());
        slow.follow(Instant::now(), &model("").0, |_| true, |_| true);
        assert_eq!(slow.step(&key), None);
    }

    #[test]
    fn shares_are_the_weights_but_for_who_starts() {
        let shares = |reals: &[(u16, Option<u32>)]| super::shares(Scheduler::Maglev, reals);
        assert_eq!(shares(&[(1, None), (2, None)]), [1, 2]);
        assert_eq!(shares(&[(1, Some(0)), (2, None)]), [1, 20]);
        assert_eq!(shares(&[(1, Some(3)), (2, None)]), [3, 20]);
        assert_eq!(shares(&[(1, None), (0, Some(3))]), [1, 0], "who drains does not start");
        assert_eq!(shares(&[(40_000, Some(5)), (40_000, None)]), [20_000, 40_000]);
        assert_eq!(shares(&[(10_000, Some(5)), (10_000, None)]), [30_000, 60_000]);
        assert_eq!(super::shares(Scheduler::Ovf, &[(100, Some(5)), (100, None)]), [50, 100]);
    }
}

//! A tracked script: run ever again, its exit status counted (keepalived's `vrrp_script`).
//!
//! *Invariants*
//! - runs of one script never overlap: what takes longer than its interval misses turns;
//! - a run that exceeds its time is ended with its process group, and has failed;
//! - the first result decides alone; after that it takes `rise` successes, or `fall` failures, in a row.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Health;
use super::board::Board;
use crate::model::{Scripts, TrackScript};
use crate::script::{self, Outcome};

/// Runs it until the end. `health` is what is thought of it before its first run.
pub(super) async fn watch(script: TrackScript, rules: Scripts, health: Health, board: Arc<Board>) {
    let mut score = Score::new(script.rise, script.fall, health);
    // keepalived takes 0 to be what a script returned before its first run.
    let mut status = 0;
    let limit = script.command.timeout.unwrap_or(script.interval);
    let mut turns = tokio::time::interval(script.interval.max(Duration::from_millis(1)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let result = match script::run(&script.command, &rules, &[], limit).await {
            Ok(ended) => {
                if let Outcome::Exited(now) = ended.outcome
                    && std::mem::replace(&mut status, now) != now
                {
                    tracing::info!("Script `{}` now returning {now}", script.name);
                }
                match ended.outcome {
                    Outcome::Exited(0) => Ok(()),
                    outcome => Err(outcome.to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        if let Some(health) = score.count(result) {
            say(&script.name, &health);
            board.script(&script.name, health);
        }
    }
}

/// keepalived's sentences, with more of why.
fn say(name: &str, health: &Health) {
    match health {
        Health::Failed(why) if *why == Outcome::TimedOut.to_string() => {
            tracing::warn!("VRRP_Script({name}) timed_out");
        }
        Health::Failed(why) => tracing::warn!("VRRP_Script({name}) failed ({why})"),
        _ => tracing::info!("VRRP_Script({name}) succeeded"),
    }
}

/// Results in a row.
struct Score {
    rise: u32,
    fall: u32,
    health: Health,
    /// Results in a row that speak against it.
    against: u32,
}

impl Score {
    fn new(rise: u32, fall: u32, health: Health) -> Score {
        Score { rise, fall, health, against: 0 }
    }

    /// Counts a result; the health if it changed.
    fn count(&mut self, result: Result<(), String>) -> Option<Health> {
        let needed = match (&self.health, &result) {
            (Health::Waiting, _) => 1,
            (Health::Failed(_), Ok(())) => self.rise,
            (Health::Well, Err(_)) => self.fall,
            _ => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.health = match result {
            Ok(()) => Health::Well,
            Err(why) => Health::Failed(why),
        };
        Some(self.health.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` for a success, `-` for a failure; `W`, `F` where the health changes.
    fn told(rise: u32, fall: u32, health: Health, results: &str) -> String {
        let mut score = Score::new(rise, fall, health);
        let tell = |result| match score.count(if result == '+' { Ok(()) } else { Err("no".to_owned()) }) {
            None => '.',
            Some(Health::Well) => 'W',
            Some(Health::Failed(_)) => 'F',
            Some(Health::Waiting) => unreachable!("a result ends the waiting"),
        };
        results.chars().map(tell).collect()
    }

    #[test]
    fn the_first_result_decides_alone() {
        assert_eq!(told(3, 3, Health::Waiting, "+"), "W");
        assert_eq!(told(3, 3, Health::Waiting, "-"), "F");
    }

    #[test]
    fn later_it_takes_results_in_a_row() {
        assert_eq!(told(2, 3, Health::Well, "--+---+-++"), ".....F...W");
        assert_eq!(told(1, 1, Health::Well, "-+-+"), "FWFW");
    }

    #[test]
    fn what_has_failed_from_the_start_must_rise() {
        assert_eq!(told(2, 1, Health::Failed(String::new()), "-++"), "..W");
    }
}

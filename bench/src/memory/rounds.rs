//! Rows in turns.
//!
//! A turn lasts [`TURN`], whatever a row costs: what a row finds in the caches that its predecessor has taken (the second cache
//! and the TLB are full again after some 100 us) is then a few per cent of its turn at most. The last cache is another matter:
//! a table as large as that is not back in 5 ms. So those who need it do not share a sitting (`sets.rs`), and `swept` rows
//! say what it is worth.

use std::time::{Duration, Instant};

use crate::memory::Row;
use crate::wire::statistics::{Spread, spread};
use shunt_dataplane::port::BURST;

/// How long a row goes on before it is the next one's turn.
pub const TURN: Duration = Duration::from_millis(5);
/// Rounds: as many as there is time for, but no median is of fewer, and none needs more.
const FEWEST: usize = 15;
const MOST: usize = 301;
/// Bursts that tell how long a row takes.
const FIRST: usize = 100;

/// What a row costs.
pub struct Cost {
    /// What it is.
    pub name: String,
    /// Of what.
    pub parameter: String,
    /// Nanoseconds a frame, the writing of the frames not counted.
    pub nanoseconds: Spread,
    /// The same as a multiple of the second row of the sitting (the floor), round by round.
    pub floors: Spread,
    /// The same as a multiple of the row that it is to be compared with, and that row's parameter, or name if it has the same one.
    pub against: Option<(String, Spread)>,
}

/// Runs the rows in turns for about `budget`. The first row writes frames, the second one is the floor.
pub fn alternate(mut rows: Vec<Row>, budget: Duration) -> Vec<Cost> {
    // What they need is made before the first round; the second time shows what a turn takes.
    let bursts: Vec<usize> = rows
        .iter_mut()
        .map(|row| {
            row.run(FIRST);
            let took = row.run(FIRST).max(Duration::from_micros(1));
            ((FIRST as f64 * TURN.as_secs_f64() / took.as_secs_f64()) as usize).max(1)
        })
        .collect();
    let mut times = vec![Vec::new(); rows.len()];
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < FEWEST || (rounds < MOST && began.elapsed() < budget) {
        for ((row, times), bursts) in rows.iter_mut().zip(&mut times).zip(&bursts) {
            times.push(row.run(*bursts).as_secs_f64() * 1e9 / (bursts * BURST) as f64);
        }
        rounds += 1;
    }
    costs(&rows, &times)
}

/// What the rows cost that took these times, nanoseconds a frame, round by round.
fn costs(rows: &[Row], times: &[Vec<f64>]) -> Vec<Cost> {
    let rounds = times[0].len();
    let net = |row: usize, round: usize| times[row][round] - times[rows[row].floor][round];
    let over = |row: usize, other: usize| {
        spread(&(0..rounds).map(|round| net(row, round) / net(other, round)).collect::<Vec<_>>())
    };
    let cost = |row: usize| {
        let Row { name, parameter, against, .. } = &rows[row];
        let other = against.map(|other| {
            let label = if rows[other].name == *name { &rows[other].parameter } else { &rows[other].name };
            (label.clone(), over(row, other))
        });
        Cost {
            name: name.clone(),
            parameter: parameter.clone(),
            nanoseconds: spread(&(0..rounds).map(|round| net(row, round)).collect::<Vec<_>>()),
            floors: over(row, 1),
            against: other,
        }
    };
    (0..rows.len()).filter(|row| rows[*row].floor != *row).map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_costs_what_it_takes_beyond_writing_and_is_compared_round_by_round() {
        let row = |name: &str, parameter: u32| Row::new(name, parameter, 0, || || ());
        let rows = [row("write", 1), row("floor", 1), row("pass", 1), row("pass", 2).against(2)];
        // The second round was of a machine that is ten times slower.
        let times = [vec![5.0, 50.0], vec![7.0, 70.0], vec![13.0, 130.0], vec![21.0, 210.0]];
        let costs = costs(&rows, &times);
        assert_eq!(costs.len(), 3, "what is written is no row of its own");
        assert_eq!((costs[1].floors.low, costs[1].floors.high), (4.0, 4.0));
        assert_eq!(costs[1].nanoseconds.median, 44.0);
        let (label, ratio) = costs[2].against.as_ref().unwrap();
        assert_eq!((label.as_str(), ratio.low, ratio.high), ("1", 2.0, 2.0));
    }
}

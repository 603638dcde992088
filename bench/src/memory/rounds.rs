//! Rows in turns.

use crate::memory::Row;
use shunt_dataplane::port::BURST;

/// What a row costs.
pub struct Cost {
    /// What it is.
    pub name: String,
    /// Of what.
    pub parameter: String,
    /// Nanoseconds a frame, the writing of the frames not counted: the median over the rounds, and the quartiles.
    pub nanoseconds: [f64; 3],
    /// The same as a multiple of the second row of the set (the floor), round by round.
    pub ratio: [f64; 3],
}

/// Runs the rows in `rounds` rounds of `bursts` bursts each. The first row writes frames, the second one is the floor.
pub fn alternate(rows: &mut [Row], rounds: usize, bursts: usize) -> Vec<Cost> {
    let mut times = vec![Vec::with_capacity(rounds); rows.len()];
    // What they need is made before the first round.
    rows.iter_mut().for_each(|row| {
        row.run(bursts);
    });
    for _ in 0..rounds {
        for (row, times) in rows.iter_mut().zip(&mut times) {
            times.push(row.run(bursts).as_secs_f64() * 1e9 / (bursts * BURST) as f64);
        }
    }
    let net = |row: usize, round: usize| times[row][round] - times[rows[row].floor][round];
    let cost = |row: usize| {
        let nanoseconds = (0..rounds).map(|round| net(row, round));
        let ratio = (0..rounds).map(|round| net(row, round) / net(1, round));
        Cost {
            name: rows[row].name.clone(),
            parameter: rows[row].parameter.clone(),
            nanoseconds: quartiles(nanoseconds.collect()),
            ratio: quartiles(ratio.collect()),
        }
    };
    (0..rows.len()).filter(|row| rows[*row].floor != *row).map(cost).collect()
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

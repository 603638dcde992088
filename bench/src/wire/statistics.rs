//! Many short rounds in one number and its spread.

/// Median and quartiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// A quarter of the values is below.
    pub low: f64,
    /// A quarter of the values is above.
    pub high: f64,
}

/// The spread of some values, at least one.
pub fn spread(values: &[f64]) -> Spread {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Spread { median: quantile(&sorted, 0.5), low: quantile(&sorted, 0.25), high: quantile(&sorted, 0.75) }
}

/// The spread of the ratios of values that were measured side by side.
pub fn paired(mine: &[f64], theirs: &[f64]) -> Spread {
    let ratios: Vec<f64> = mine.iter().zip(theirs).map(|(mine, theirs)| mine / theirs.max(1.0)).collect();
    spread(&ratios)
}

/// Of values in order; between two of them, in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_below_the_median_and_a_quarter_beyond_each_quartile() {
        let Spread { median, low, high } = spread(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((low, median, high), (2.0, 3.0, 4.0));
        assert_eq!(spread(&[1.0, 2.0]).median, 1.5);
        assert_eq!(spread(&[7.0]), Spread { median: 7.0, low: 7.0, high: 7.0 });
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine was twice as fast in the second round: that says nothing about either.
        assert_eq!(paired(&[90.0, 180.0], &[100.0, 200.0]).median, 0.9);
    }
}

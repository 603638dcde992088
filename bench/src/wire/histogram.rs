//! How long frames were under way, in buckets of 6 %: as the sink counts them in the kernel.

/// Buckets of each power of two of nanoseconds. Mirrors `STEPS` of `bpf/sink.bpf.c`.
const STEPS: usize = 16;
/// Mirrors `BUCKETS`.
pub const BUCKETS: usize = 40 * STEPS;

/// Times by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// Of the counts of all buckets.
    pub fn new(counts: Vec<u64>) -> Histogram {
        Histogram(counts)
    }

    /// The times taken since `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        Histogram(self.0.iter().zip(&earlier.0).map(|(now, then)| now - then).collect())
    }

    /// Adds the times of another one.
    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// How many.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time in nanoseconds that a share of them, 0 to 1, does not exceed: the end of its bucket. 0 of none.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (row, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return end(row);
            }
        }
        0
    }
}

/// The first time that is too long for a bucket.
fn end(row: usize) -> u64 {
    let row = row + 1;
    if row < STEPS {
        return row as u64;
    }
    let power = row / STEPS - 1;
    ((STEPS + row % STEPS) as u64) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `bucket` of `bpf/sink.bpf.c`.
    fn bucket(time: u64) -> usize {
        if time < STEPS as u64 {
            return time as usize;
        }
        let power = time.ilog2() as usize;
        (power - 3) * STEPS + ((time >> (power - 4)) as usize & (STEPS - 1))
    }

    #[test]
    fn a_bucket_ends_less_than_a_sixteenth_behind_every_time_in_it() {
        for time in (0..100_000u64).chain([1 << 20, (1 << 30) + 12345, (1 << 38) - 1]) {
            let end = end(bucket(time));
            assert!(
                end > time && end as f64 <= (time as f64 * 17.0 / 16.0).max(time as f64 + 1.0),
                "{time}: {end}"
            );
        }
    }

    #[test]
    fn a_quantile_is_the_end_of_the_bucket_that_reaches_it() {
        let mut counts = vec![0; BUCKETS];
        counts[3] = 50;
        counts[bucket(1000)] = 49;
        counts[bucket(1 << 20)] = 1;
        let times = Histogram::new(counts);
        assert_eq!(times.quantile(0.5), 4);
        assert_eq!(times.quantile(0.99), end(bucket(1000)));
        assert_eq!(times.quantile(0.999), end(bucket(1 << 20)));
        assert_eq!(Histogram::new(vec![0; BUCKETS]).quantile(0.5), 0);
    }
}

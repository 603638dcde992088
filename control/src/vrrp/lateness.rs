//! How late adverts are. A director whose clock is late is a director that others take for dead; so it is measured where it
//! counts, from the deadline to the moment that the kernel has the advert, and shown.
//!
//! *Invariant*: a value is kept to 1/16 of itself (a histogram of linear buckets in each power of two, as in HdrHistogram).

use std::time::Duration;

use serde::Serialize;

/// Linear buckets in each power of two.
const STEPS: usize = 16;
const BUCKETS: usize = (64 - 3) * STEPS;
/// Limits under which adverts are counted, microseconds: from what a timer costs to what another director notices.
const LIMITS: [u64; 12] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Latenesses since the start.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    worst: u64,
    total: u64,
    at_most: [u64; LIMITS.len()],
}

/// Lateness of adverts since the start: from the deadline to the moment that the kernel had the advert. Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lateness {
    /// Adverts that a deadline asked for.
    pub count: u64,
    /// Half of them were not later.
    pub p50_us: u64,
    /// 99 of 100 were not.
    pub p99_us: u64,
    /// 999 of 1000 were not.
    pub p999_us: u64,
    /// The latest.
    pub worst_us: u64,
    /// Sum of all.
    pub total_us: u64,
    /// Limits, and how many were not later than that.
    pub at_most: [(u64, u64); LIMITS.len()],
}

impl Histogram {
    pub(super) fn new() -> Histogram {
        Histogram { counts: Box::new([0; BUCKETS]), count: 0, worst: 0, total: 0, at_most: [0; LIMITS.len()] }
    }

    pub(super) fn record(&mut self, lateness: Duration) {
        let value = u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.worst = self.worst.max(value);
        self.total = self.total.saturating_add(value);
        for (count, limit) in self.at_most.iter_mut().zip(LIMITS) {
            *count += u64::from(value <= limit);
        }
    }

    pub(super) fn summary(&self) -> Lateness {
        Lateness {
            count: self.count,
            p50_us: self.quantile(500),
            p99_us: self.quantile(990),
            p999_us: self.quantile(999),
            worst_us: self.worst,
            total_us: self.total,
            at_most: std::array::from_fn(|n| (LIMITS[n], self.at_most[n])),
        }
    }

    /// The upper end of the bucket that `permille` of all are in or below.
    fn quantile(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper(bucket).min(self.worst);
            }
        }
        0
    }
}

/// Values below [`STEPS`] have a bucket each; from there on four bits below the highest one tell.
fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = value.ilog2() as usize;
    let step = (value >> (power - 4)) as usize & (STEPS - 1);
    (power - 3) * STEPS + step
}

/// The greatest value of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (power, step) = (bucket / STEPS + 3, (bucket % STEPS) as u64);
    let width = 1u64 << (power - 4);
    ((STEPS as u64 + step) * width).saturating_add(width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_ends_at_or_just_above_it() {
        let values =
            (0..100_000).chain((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit])).chain([u64::MAX]);
        for value in values {
            let upper = upper(bucket(value));
            assert!(upper >= value && upper - value <= value / 16, "{value} {upper}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        let at_most = LIMITS.map(|limit| (limit, 0));
        assert_eq!(histogram.summary(), Lateness { at_most, ..Lateness::default() });
        for value in 1..=1000 {
            histogram.record(Duration::from_micros(value));
        }
        let Lateness { count, p50_us, p99_us, p999_us, worst_us, total_us, at_most } = histogram.summary();
        assert_eq!((count, worst_us, total_us), (1000, 1000, 500_500));
        assert_eq!(at_most[..5], [(100, 100), (250, 250), (500, 500), (1000, 1000), (2500, 1000)]);
        assert!((500..=531).contains(&p50_us), "{p50_us}");
        assert!((990..=1000).contains(&p99_us), "{p99_us}");
        assert!((999..=1000).contains(&p999_us), "{p999_us}");
    }
}

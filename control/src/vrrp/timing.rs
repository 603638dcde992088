//! How long a Backup waits for the active router.
//!
//! *Invariant*: of two routers with different priorities that hear nobody, the higher one is ready first, by at least
//! 1/256 s (version 2) or 1/256 of the interval (version 3): its first advert stops the other if it arrives in that time.

use std::time::Duration;

use crate::model::Version;

/// Skew_Time: RFC 3768 section 6.1, RFC 9568 section 6.1. `priority` is 1..=255, `interval` that of the active router.
pub fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let of = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    of * (256 - u32::from(priority)) / 256
}

/// Active_Down_Interval (Master_Down_Interval in RFC 3768): so long without an advert, and the active router counts as
/// gone. `adverts` is 3 in the RFCs.
pub fn active_down(version: Version, priority: u8, interval: Duration, adverts: u8) -> Duration {
    interval * u32::from(adverts) + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn exact(priority: u8) -> (u128, u128) {
        let down = active_down(Version::V2, priority, SECOND, 3);
        assert_eq!(down, active_down(Version::V3, priority, SECOND, 3));
        (down.as_micros(), skew(Version::V2, priority, SECOND).as_micros())
    }

    #[test]
    fn at_one_second_both_versions_wait_as_keepalived_was_measured_to() {
        assert_eq!(exact(100), (3_609_375, 609_375));
        assert_eq!(exact(101), (3_605_468, 605_468));
        assert_eq!(exact(120), (3_531_250, 531_250));
        assert_eq!(exact(200), (3_218_750, 218_750));
        assert_eq!(exact(254), (3_007_812, 7_812));
        assert_eq!(exact(255), (3_003_906, 3_906));
    }

    #[test]
    fn the_skew_of_version_3_shrinks_with_the_interval_and_that_of_version_2_does_not() {
        let ten = Duration::from_millis(10);
        assert_eq!(skew(Version::V3, 100, ten), Duration::from_nanos(6_093_750));
        assert_eq!(active_down(Version::V3, 100, ten, 3), Duration::from_nanos(36_093_750));
        assert_eq!(skew(Version::V2, 100, 2 * SECOND), Duration::from_nanos(609_375_000));
        assert_eq!(active_down(Version::V3, 1, Duration::from_millis(40_950), 255).as_secs(), 10_483);
    }
}

//! When checks are made: what a checker says, else its real server, else its virtual server, else the default.

use std::time::Duration;

use super::super::super::report::Report;
use super::super::section::Section;
use super::super::value::{self, LONGEST};
use crate::config::resolve::MOST_RESULTS;
use crate::model::Timing;

/// keepalived: KEEPALIVED_DEFAULT_DELAY, check_data.h.
const DELAY_LOOP: Duration = Duration::from_secs(60);
/// keepalived: KEEPALIVED_DEFAULT_CONNECTION_TIMEOUT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// keepalived: queue_checker(), http_get_handler(), dns_check_handler().
const RETRIES: u32 = 1;
const DNS_RETRIES: u32 = 3;
const BEFORE_RETRY: Duration = Duration::from_secs(1);
const HTTP_BEFORE_RETRY: Duration = Duration::from_secs(3);
/// A shorter interval would be a loop without a pause.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// keepalived is told when a file changes; a look at it each second comes close.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// The rhythm of `FILE_CHECK`.
pub(super) const OF_FILES: Timing =
    Timing { interval: FILE_INTERVAL, timeout: FILE_INTERVAL, retry: None, rise: 1, fall: 1, warmup: None };

/// Kinds of checkers, by their defaults.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Usual,
    Http,
    Dns,
    /// With `misc_timeout`.
    Script(Option<Duration>),
}

/// What is handed down from a virtual server to its real servers, and from those to their checkers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Inherited {
    pub delay_loop: Option<Duration>,
    pub retry: Option<u32>,
    pub before_retry: Option<Duration>,
    pub warmup: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub alpha: bool,
    /// `virtualhost`
    pub host: Option<String>,
    pub log_all_failures: bool,
}

impl Inherited {
    /// With what `section` says in place of what was handed down to it.
    pub(in super::super) fn narrowed(&self, report: &mut Report, section: &Section<'_>) -> Inherited {
        let mut timer = |name, least| {
            let line = section.last(name)?;
            value::duration(report, line.word(0)?, line.path(), least..=LONGEST)
        };
        let delay_loop = timer("delay_loop", SHORTEST_INTERVAL).or(self.delay_loop);
        let before_retry = timer("delay_before_retry", Duration::ZERO).or(self.before_retry);
        let warmup = timer("warmup", Duration::ZERO).or(self.warmup);
        let connect_timeout = timer("connect_timeout", SHORTEST_TIMEOUT).or(self.connect_timeout);
        let retry = section.last("retry").and_then(|line| {
            // Of results in a row there is one more.
            value::number(report, line.word(0)?, line.path(), 0..=MOST_RESULTS - 1)
        });
        let host =
            section.last("virtualhost").and_then(|line| value::token(report, line.word(0)?, line.path()));
        let mut switch = |name| section.last(name).and_then(|line| value::switch(report, line));
        Inherited {
            delay_loop,
            retry: retry.or(self.retry),
            before_retry,
            warmup,
            connect_timeout,
            alpha: switch("alpha").unwrap_or(self.alpha),
            host: host.or_else(|| self.host.clone()),
            log_all_failures: switch("log_all_failures").unwrap_or(self.log_all_failures),
        }
    }

    /// With the `connect_timeout` of `section`.
    pub(super) fn with_timeout(&self, report: &mut Report, section: &Section<'_>) -> Inherited {
        let own = section
            .last("connect_timeout")
            .and_then(|line| value::duration(report, line.word(0)?, line.path(), SHORTEST_TIMEOUT..=LONGEST));
        Inherited { connect_timeout: own.or(self.connect_timeout), ..self.clone() }
    }

    /// The rhythm of a checker that this was narrowed to.
    pub(super) fn timing(&self, kind: Kind) -> Timing {
        let interval = self.delay_loop.unwrap_or(DELAY_LOOP);
        let (retries, before_retry) = match kind {
            Kind::Usual => (RETRIES, BEFORE_RETRY),
            Kind::Http => (RETRIES, HTTP_BEFORE_RETRY),
            Kind::Dns => (DNS_RETRIES, interval),
            Kind::Script(_) => (0, BEFORE_RETRY),
        };
        let timeout = match kind {
            Kind::Script(timeout) => timeout.unwrap_or(interval),
            _ => self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        };
        Timing {
            interval,
            timeout,
            retry: Some(self.before_retry.unwrap_or(before_retry)),
            rise: 1,
            fall: self.retry.unwrap_or(retries) + 1,
            warmup: Some(self.warmup.unwrap_or(interval)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_keepalived() {
        let none = Inherited::default();
        let seconds = |kind| {
            let Timing { interval, timeout, retry, rise, fall, warmup } = none.timing(kind);
            assert_eq!(rise, 1);
            [interval, timeout, retry.unwrap(), warmup.unwrap()]
                .map(|time| time.as_secs() as u32)
                .map(u64::from)
                .into_iter()
                .chain([fall.into()])
                .collect::<Vec<u64>>()
        };
        assert_eq!(seconds(Kind::Usual), [60, 5, 1, 60, 2]);
        assert_eq!(seconds(Kind::Http), [60, 5, 3, 60, 2]);
        assert_eq!(seconds(Kind::Dns), [60, 5, 60, 60, 4]);
        assert_eq!(seconds(Kind::Script(None)), [60, 60, 1, 60, 1]);
        assert_eq!(seconds(Kind::Script(Some(Duration::from_secs(3)))), [60, 3, 1, 60, 1]);
    }
}

//! Traffic as ipvsadm tells of it: since somebody set it to 0 (`-Z`), and in a second (`--rate`), which the kernel estimates
//! and does not measure. The director's own counters never go back, so this stands beside them.
//!
//! *Invariants*
//! - A counter that has become less begins anew: the service was taken out and put in again.
//! - What is not observed any more is forgotten.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_est.c`: each 2 s a rate goes a quarter of the way to what was seen in them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt_dataplane::forwarding::{Real, Service};

use crate::model::ServiceKey;

/// Time between two estimates.
const PERIOD: Duration = Duration::from_secs(2);
/// Of an Ethernet header, which IPVS does not count, bytes.
const HEADER: u64 = 14;
/// Rates of flows and packets are kept in 1/1024, those of bytes in 1/32.
const FINE: u32 = 10;
const COARSE: u32 = 5;

/// Whose traffic: a service's, or a real server's of it.
pub type Whose = (ServiceKey, Option<IpAddr>);

/// Traffic since a director began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    flows: u64,
    packets: u64,
    bytes: u64,
}

/// All that was observed.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<Whose, Account>,
    last: Option<Instant>,
}

#[derive(Debug, Default)]
struct Account {
    /// What there was when it was set to 0.
    zero: Count,
    /// What there was at the last estimate.
    last: Count,
    rates: Rates,
}

/// Scaled, as in the kernel.
#[derive(Debug, Default)]
struct Rates {
    flows: i64,
    packets: i64,
    bytes: i64,
}

impl Count {
    /// From the director's counters: `bytes` with Ethernet headers.
    pub fn new(flows: u64, frames: u64, bytes: u64) -> Count {
        Count { flows, packets: frames, bytes: bytes.saturating_sub(HEADER * frames) }
    }

    /// What has been added since; all of it, if it began anew.
    fn since(self, before: Count) -> Count {
        match self.flows < before.flows || self.packets < before.packets {
            true => self,
            false => Count {
                flows: self.flows - before.flows,
                packets: self.packets - before.packets,
                bytes: self.bytes.saturating_sub(before.bytes),
            },
        }
    }
}

/// What a service counts now.
pub fn count_of_service(service: &Service) -> Count {
    let counters = service.counters();
    Count::new(counters.total(|c| &c.flows), counters.total(|c| &c.frames), counters.total(|c| &c.bytes))
}

/// What a real server counts now.
pub fn count_of_real(real: &Real) -> Count {
    let counters = real.counters();
    Count::new(counters.total(|c| &c.flows), counters.total(|c| &c.frames), counters.total(|c| &c.bytes))
}

impl Ledger {
    /// Whether it is time for [`Ledger::observe`].
    pub fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= PERIOD)
    }

    /// Makes the estimates of another 2 s.
    pub fn observe(&mut self, now: Instant, counts: impl Iterator<Item = (Whose, Count)>) {
        let is_first = self.last.is_none();
        // A turn that came late is followed by one in time.
        self.last = Some(match self.last {
            Some(last) if now.saturating_duration_since(last) < 2 * PERIOD => last + PERIOD,
            _ => now,
        });
        let mut before = std::mem::take(&mut self.accounts);
        for (whose, count) in counts {
            let mut account = before.remove(&whose).unwrap_or_default();
            if count.since(account.zero) == count {
                account.zero = Count::default();
            }
            if !is_first {
                account.rates.take(count.since(account.last));
            }
            account.last = count;
            self.accounts.insert(whose, account);
        }
    }

    /// All traffic of these is 0 from now on, and so are their rates.
    pub fn zero(&mut self, counts: impl Iterator<Item = (Whose, Count)>) {
        for (whose, count) in counts {
            self.accounts.insert(whose, Account { zero: count, last: count, rates: Rates::default() });
        }
    }

    /// What there is to tell of one that counts `count` now: flows, packets, bytes; the same in a second.
    pub fn tell(&self, whose: &Whose, count: Count) -> ([u64; 3], [u64; 3]) {
        let Some(account) = self.accounts.get(whose) else {
            return ([count.flows, count.packets, count.bytes], [0; 3]);
        };
        let Count { flows, packets, bytes } = count.since(account.zero);
        ([flows, packets, bytes], account.rates.rounded())
    }
}

impl Rates {
    fn take(&mut self, added: Count) {
        // A shift less than the scale, since it is for two seconds.
        let towards = |rate: &mut i64, added: u64, scale: u32| {
            let seen = i64::try_from(added).unwrap_or(i64::MAX).saturating_mul(1 << (scale - 1));
            *rate += (seen - *rate) >> 2;
        };
        towards(&mut self.flows, added.flows, FINE);
        towards(&mut self.packets, added.packets, FINE);
        towards(&mut self.bytes, added.bytes, COARSE);
    }

    fn rounded(&self) -> [u64; 3] {
        let round =
            |rate: i64, scale: u32| u64::try_from((rate + (1 << (scale - 1)) - 1) >> scale).unwrap_or(0);
        [round(self.flows, FINE), round(self.packets, FINE), round(self.bytes, COARSE)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ports, Protocol};

    fn whose() -> Whose {
        let key =
            ServiceKey { vip: [192, 0, 2, 10].into(), protocol: Protocol::Tcp, ports: Ports::exact(80) };
        (key, None)
    }

    fn observe(ledger: &mut Ledger, now: Instant, count: Count) {
        assert!(ledger.is_due(now));
        ledger.observe(now, [(whose(), count)].into_iter());
        assert!(!ledger.is_due(now));
    }

    #[test]
    fn a_rate_goes_a_quarter_of_the_way_each_two_seconds_and_comes_back() {
        let (mut ledger, mut now) = (Ledger::default(), Instant::now());
        observe(&mut ledger, now, Count::default());
        let mut count = Count::default();
        let mut seen = Vec::new();
        for turn in 0..40 {
            now += PERIOD;
            if turn < 20 {
                // 100 packets of 1000 bytes and 10 flows in a second.
                count = Count::new(
                    count.flows + 20,
                    count.packets + 200,
                    count.bytes + 14 * (count.packets + 200) + 200_000,
                );
            }
            observe(&mut ledger, now, count);
            let (_, [flows, packets, bytes]) = ledger.tell(&whose(), count);
            seen.push((flows, packets, bytes));
        }
        assert_eq!(seen[0], (2, 25, 25_000), "a quarter: 2.5 is 2");
        assert_eq!(seen[1], (4, 44, 43_750), "7/16");
        assert_eq!(seen[19], (10, 100, 99_683));
        assert!(seen[20].1 == 75 && seen[39].1 == 0, "{seen:?}");
    }

    #[test]
    fn what_was_set_to_zero_counts_from_there_and_what_begins_anew_from_nothing() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let count = |flows| Count::new(flows, 10 * flows, 1000 * flows);
        observe(&mut ledger, now, count(5));
        observe(&mut ledger, now + PERIOD, count(7));
        assert_eq!(ledger.tell(&whose(), count(7)).0, [7, 70, 6020]);
        ledger.zero([(whose(), count(7))].into_iter());
        assert_eq!(ledger.tell(&whose(), count(7)), ([0; 3], [0; 3]));
        assert_eq!(ledger.tell(&whose(), count(9)).0, [2, 20, 1720]);
        observe(&mut ledger, now + 2 * PERIOD, count(3));
        assert_eq!(ledger.tell(&whose(), count(3)).0, [3, 30, 2580]);
        assert_eq!(ledger.tell(&whose(), count(8)).0, [8, 80, 6880], "it stays new");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.observe(now, [(whose(), Count::new(1, 1, 100))].into_iter());
        ledger.observe(now + PERIOD, std::iter::empty());
        assert!(ledger.accounts.is_empty());
    }
}

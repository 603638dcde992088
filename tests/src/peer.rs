//! One side of a pair of directors, shunt or keepalived, and the same test for every pair of them.
//!
//! Both read the same configuration and say the same sentences, so a test says what it wants of one side and does not
//! ask which it is. What it asserts is who holds the VIP (the kernel's word), what the log says, and what a capture shows.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitStatus;
use std::time::Duration;

use crate::address::VIP;
use crate::director::{Director, Mounts};
use crate::host::Host;
use crate::keepalived::Keepalived;
use crate::lab::Lab;
use crate::log::Log;
use crate::wait;

/// For a takeover and what surrounds it, on a machine whose cores are busy.
const SOON: Duration = Duration::from_secs(20);
/// Names the pairs to test, if not all: `kx,xk,xx`; `kk` tests the tests.
const PAIRS: &str = "SHUNT_LAB_PAIRS";

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// shunt.
    Shunt,
    /// keepalived.
    Keepalived,
}

/// A pair: who runs on director number 0, and who on number 1.
pub type Pair = [Kind; 2];

/// shunt first, keepalived second.
pub const XK: Pair = [Kind::Shunt, Kind::Keepalived];
/// keepalived first, shunt second.
pub const KX: Pair = [Kind::Keepalived, Kind::Shunt];
/// shunt on both sides.
pub const XX: Pair = [Kind::Shunt; 2];
/// keepalived on both sides: shows that a test asks what is so.
pub const KK: Pair = [Kind::Keepalived; 2];

/// Runs `scenario` for these pairs at the same time: they mostly wait. Panics if one does, saying which.
pub fn each_of(pairs: &[Pair], scenario: impl Fn(Pair) + Sync) {
    let chosen = std::env::var(PAIRS).ok().map(|names| names.split(',').map(named).collect::<Vec<_>>());
    let pairs = chosen.unwrap_or_else(|| pairs.to_vec());
    std::thread::scope(|scope| {
        let runs: Vec<_> = pairs
            .into_iter()
            .map(|pair| {
                let scenario = &scenario;
                scope.spawn(move || {
                    catch_unwind(AssertUnwindSafe(|| scenario(pair))).map_err(|panic| (pair, panic))
                })
            })
            .collect();
        // All of them first: what one leaves behind must not meet the end of the test.
        let ends: Vec<_> = runs.into_iter().map(|run| run.join().expect("its panic was caught")).collect();
        for end in ends {
            if let Err((pair, panic)) = end {
                eprintln!("--- this was the pair {pair:?}");
                resume_unwind(panic);
            }
        }
    });
}

/// Both ways round, and shunt with itself.
pub fn each_way(scenario: impl Fn(Pair) + Sync) {
    each_of(&[XK, KX, XX], scenario);
}

fn named(name: &str) -> Pair {
    match name {
        "xk" => XK,
        "kx" => KX,
        "xx" => XX,
        "kk" => KK,
        _ => panic!("{PAIRS} is a list of xk, kx, xx, kk; {name:?} is none of them"),
    }
}

/// A director that runs.
pub enum Peer {
    /// shunt.
    Shunt(Director),
    /// keepalived.
    Keepalived(Keepalived),
}

impl Peer {
    /// Starts it on director number `n` of `lab`.
    #[track_caller]
    pub fn start(kind: Kind, lab: &Lab, n: usize, config: &str) -> Peer {
        match kind {
            Kind::Shunt => Peer::Shunt(Director::start(lab, n, config)),
            Kind::Keepalived => Peer::Keepalived(Keepalived::start(lab, n, config)),
        }
    }

    /// Starts it with several files in one folder, the first is its configuration; and with other files of the machine
    /// than there are.
    #[track_caller]
    pub fn start_amid(kind: Kind, lab: &Lab, n: usize, files: &[(&str, &str)], mounts: Mounts) -> Peer {
        match kind {
            Kind::Shunt => Peer::Shunt(Director::start_amid(lab, n, files, mounts)),
            Kind::Keepalived => Peer::Keepalived(Keepalived::start_amid(lab, n, files, mounts)),
        }
    }

    /// Starts both of a pair, the first one first.
    #[track_caller]
    pub fn both(pair: Pair, lab: &Lab, configs: [&str; 2]) -> [Peer; 2] {
        [0, 1].map(|n| Peer::start(pair[n], lab, n, configs[n]))
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        match self {
            Peer::Shunt(_) => Kind::Shunt,
            Peer::Keepalived(_) => Kind::Keepalived,
        }
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        match self {
            Peer::Shunt(shunt) => shunt.host(),
            Peer::Keepalived(keepalived) => keepalived.host(),
        }
    }

    /// Its log so far.
    pub fn log(&self) -> &Log {
        match self {
            Peer::Shunt(shunt) => shunt.log(),
            Peer::Keepalived(keepalived) => keepalived.log(),
        }
    }

    /// How many lines of its log have `sentence`.
    pub fn says(&self, sentence: &str) -> usize {
        self.log().text().lines().filter(|line| line.contains(sentence)).count()
    }

    /// Waits for a line with `sentence` from `mark` on.
    #[track_caller]
    pub fn wait_for(&self, mark: usize, sentence: &str) {
        if let Err(why) = self.log().wait_for(mark, SOON, |line| line.contains(sentence)) {
            panic!("{:?} does not say {sentence:?} ({why:?}):\n{}", self.kind(), self.log().text());
        }
    }

    /// Ends it in order.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        match self {
            Peer::Shunt(shunt) => shunt.stop(),
            Peer::Keepalived(keepalived) => keepalived.stop(),
        }
    }

    /// Ends it as a crash would: what it held stays where it was.
    #[track_caller]
    pub fn kill9(&mut self) -> ExitStatus {
        match self {
            Peer::Shunt(shunt) => shunt.kill9(),
            Peer::Keepalived(keepalived) => keepalived.kill9(),
        }
    }

    /// Starts it again after it has ended.
    #[track_caller]
    pub fn start_again(&mut self, config: &str) {
        match self {
            Peer::Shunt(shunt) => shunt.start_again(config),
            Peer::Keepalived(keepalived) => keepalived.start_again(config),
        }
    }

    /// Puts another configuration in force.
    #[track_caller]
    pub fn reload(&mut self, config: &str) {
        match self {
            Peer::Shunt(shunt) => {
                shunt.reload(config).unwrap_or_else(|refusal| panic!("{refusal}"));
            }
            Peer::Keepalived(keepalived) => keepalived.reload(config),
        }
    }

    /// Whether its host has `address`, on whichever interface.
    pub fn holds(&self, address: IpAddr) -> bool {
        holds(self.host(), address)
    }

    /// Waits until it holds the VIP, alone or not.
    #[track_caller]
    pub fn until_active(&self) {
        self.until_holding(VIP, true);
    }

    /// Waits until it does not hold the VIP.
    #[track_caller]
    pub fn until_backup(&self) {
        self.until_holding(VIP, false);
    }

    /// Waits until it holds `address`, or does not.
    #[track_caller]
    pub fn until_holding(&self, address: IpAddr, wanted: bool) {
        if wait::try_until(SOON, || (self.holds(address) == wanted).then_some(())).is_none() {
            let what = if wanted { "get" } else { "give up" };
            panic!(
                "{:?} on {} does not {what} {address}:\n{}",
                self.kind(),
                self.host().role(),
                self.log().text()
            );
        }
    }
}

/// Waits until director `n` of `peers` holds the VIP and the other does not.
#[track_caller]
pub fn until_only(peers: &[Peer; 2], n: usize) {
    until_only_holds(peers, n, VIP);
}

/// As [`until_only`], of another address.
#[track_caller]
pub fn until_only_holds(peers: &[Peer; 2], n: usize, address: IpAddr) {
    let alone = || (peers[n].holds(address) && !peers[1 - n].holds(address)).then_some(());
    if wait::try_until(SOON, alone).is_none() {
        let logs = [0, 1].map(|n| format!("{:?}:\n{}", peers[n].kind(), peers[n].log().text())).join("\n");
        panic!("director{} does not come to hold {address} alone\n{logs}", n + 1);
    }
}

/// Whether `host` has `address`, on whichever interface.
pub fn holds(host: &Host, address: IpAddr) -> bool {
    let entries = host.enter(|| nix::ifaddrs::getifaddrs().map(Vec::from_iter));
    let entries = entries.expect("the kernel lists addresses");
    entries.iter().any(|entry| {
        let Some(held) = &entry.address else { return false };
        let v4 = held.as_sockaddr_in().map(|held| IpAddr::V4(held.ip()));
        let v6 = held.as_sockaddr_in6().map(|held| IpAddr::V6(held.ip()));
        v4.or(v6) == Some(address)
    })
}

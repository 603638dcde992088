//! Faults under load: requests at a steady rate and long downloads go on through one director while everything around it goes
//! wrong, one thing after the other. What clients lose is set beside what the counters and the log say, and what the director
//! holds at the end beside what it held at the beginning.
//!
//! *Invariant*: when [`Stage::suffer`] returns, the fault is over and clients are served again.

pub mod clock;
pub mod counted;
pub mod disk;
mod fault;
pub mod footprint;
mod outsider;

use std::time::{Duration, Instant};

use crate::address::VIP;
use crate::requests::Seen;
use crate::tally::{Tally, list};
use crate::{Director, Downloads, Lab, Requests, Service, WebServer, config, shown, wait};
use clock::Clock;
use counted::Counted;
use disk::Disk;
pub use fault::Fault;
use footprint::Footprint;

const SOON: Duration = Duration::from_secs(30);
const REALS: usize = 4;
/// Queues of the director's interface that are in use, and that it could have.
const QUEUES: [usize; 2] = [2, 4];
/// A real server is out after two seconds, so that a fault that is over by then takes none out.
const CHECK: &str = r#"{ type = "tcp", interval = "300ms", timeout = "300ms", rise = 1, fall = 7 }"#;
/// Rounds after which checks have all that they will ever have.
const PROBES: u64 = 10;
/// Files that the director may have open: few enough for a client to use them up.
const DESCRIPTORS: u64 = 128;

/// How much goes on meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests a second.
    pub per_second: u32,
    /// Downloads side by side, begun anew before each fault.
    pub downloads: usize,
    /// How long a fault lasts that could last for ever.
    pub hold: Duration,
    /// How long the process is stopped.
    pub stop: Duration,
    /// How many times it reads its configuration.
    pub reloads: u64,
}

/// A director under load.
pub struct Stage {
    load: Load,
    // In the order in which they have to go: the clients first, the lab last.
    requests: Requests,
    downloads: Option<Downloads>,
    director: Director,
    clock: Clock,
    disk: Disk,
    _servers: Vec<WebServer>,
    lab: Lab,
    suffered: Vec<Suffered>,
    before: Footprint,
}

/// What is known of a fault before all requests are over.
struct Suffered {
    fault: Fault,
    from: Instant,
    to: Instant,
    lasted: Duration,
    broken: Vec<String>,
    counted: Counted,
    said: String,
}

/// What clients noticed of a fault, and what explains it.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// Which.
    pub fault: Fault,
    /// From its beginning until clients were served again.
    pub lasted: Duration,
    /// Of the requests.
    pub seen: Seen,
    /// Downloads that went on meanwhile.
    pub downloads: usize,
    /// What broke those that broke.
    pub broken: Vec<String>,
    /// What was counted meanwhile.
    pub counted: Counted,
    /// What the director said meanwhile.
    pub said: String,
}

/// All of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Fault by fault.
    pub noticed: Vec<Noticed>,
    /// What the director held before the first one, and holds after the last one.
    pub held: [Footprint; 2],
    /// What has become of all frames.
    pub tally: Tally,
}

impl Stage {
    /// Sets it up; on return everything is served.
    #[track_caller]
    pub fn set(load: Load) -> Stage {
        let lab = Lab::builder().real_servers(REALS).queues(QUEUES[1]).build();
        use_queues(&lab, QUEUES[0]);
        let servers = WebServer::on_all(&lab);
        servers.iter().for_each(Downloads::prepare);
        let (clock, mount) = (Clock::make(lab.folder()), lab.file("disk"));
        std::fs::create_dir(&mount).expect("a new name");
        let mut disk = Disk::at(&mount);
        let script = format!("ulimit -n {DESCRIPTORS}\n{}{}", clock.script(), disk.script());
        let director = Director::launch_after(&lab, 0, &text(&lab, 1), script);
        disk.is_of(director.pid());
        disk.until_said(0, "ready: ");
        until_up(&director);
        let begin = Instant::now();
        let requests = Requests::start(lab.client(0), (VIP, 80).into(), load.per_second);
        wait::until(SOON, "an answer", || requests.is_answered_since(begin).then_some(()));
        // From so many ports of its own does it look at the VIP, one after the other, and keeps them.
        shown::until_probed(&director, PROBES);
        let before = Footprint::of(director.pid());
        let (downloads, suffered) = (None, Vec::new());
        Stage { load, requests, downloads, director, clock, disk, _servers: servers, lab, suffered, before }
    }

    /// Lets `fault` happen, and be over.
    #[track_caller]
    pub fn suffer(&mut self, fault: Fault) {
        // Those of before end first.
        self.downloads = None;
        let downloads = Downloads::start(self.lab.client(0), (VIP, 80).into(), self.load.downloads, &[]);
        self.downloads = Some(downloads);
        let (mark, counted) = (self.disk.mark(), Counted::of(&self.lab, &self.director));
        let from = Instant::now();
        self.inflict(fault, mark);
        until_up(&self.director);
        let now = Instant::now();
        wait::until(SOON, "an answer", || self.requests.is_answered_since(now).then_some(()));
        let lasted = from.elapsed();
        let downloads = self.downloads.as_ref().expect("begun above");
        downloads.go_on();
        Tally::settled(&self.director).check();
        self.suffered.push(Suffered {
            fault,
            from,
            to: Instant::now(),
            lasted,
            broken: downloads.broken(),
            counted: Counted::of(&self.lab, &self.director).since(&counted),
            said: self.disk.text(mark),
        });
    }

    /// What the director holds now is what there was before: for a beginning after a first round of faults, in which memory
    /// was used that is used again.
    #[track_caller]
    pub fn begin(&mut self) {
        self.suffered.clear();
        self.before = Footprint::of(self.director.pid());
    }

    /// Nothing more happens.
    #[track_caller]
    pub fn end(mut self) -> Outcome {
        self.requests.stop();
        self.downloads = None;
        let tally = Tally::settled(&self.director);
        tally.check();
        // A check has a socket while it is made.
        let now = || Footprint::of(self.director.pid());
        let _ = wait::try_until(SOON, || (now().descriptors <= self.before.descriptors).then_some(()));
        let held = [self.before, now()];
        let noticed = self.suffered.drain(..).map(|it| Noticed {
            fault: it.fault,
            lasted: it.lasted,
            seen: self.requests.seen(it.from, it.to),
            downloads: self.load.downloads,
            broken: it.broken,
            counted: it.counted,
            said: it.said,
        });
        let noticed = noticed.collect();
        assert!(self.director.stop().success(), "{}", self.disk.text(0));
        Outcome { noticed, held, tally }
    }
}

impl Noticed {
    /// Panics, with all there is to know, if more was lost than the fault explains.
    #[track_caller]
    pub fn check(&self) {
        let lost = self.seen.failed.len() + self.broken.len();
        let allowed = self.fault.loses(self);
        assert!(lost as u64 <= allowed, "{:?} explains no more than {allowed} losses: {self:#?}", self.fault);
        let most = self.fault.gap(self);
        assert!(self.seen.gap <= most, "{:?} explains no gap longer than {most:?}: {self:#?}", self.fault);
        assert!(self.seen.made > 0 && self.fault.is_told(self), "{self:#?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the director's log:\n{}", self.disk.text(0));
        }
    }
}

/// The configuration of the director; the weight of all real servers does not matter.
fn text(lab: &Lab, weight: u32) -> String {
    let weights = vec![Some(weight); REALS];
    // Tables that are soon used from end to end: memory grows no more after that.
    config::with(lab, "flows_per_worker = 65536", &[Service::tcp(80).checked(CHECK).weighted(lab, &weights)])
}

/// Both ends of the director's cable use this many queues.
#[track_caller]
fn use_queues(lab: &Lab, count: usize) {
    let count = count.to_string();
    let set = |host: &crate::Host, interface: &str| {
        host.run("ethtool", &["-L", interface, "rx", &count, "tx", &count]);
    };
    set(lab.director(0), "eth0");
    set(lab.switch(), lab.director(0).port());
}

#[track_caller]
fn until_up(director: &Director) {
    let up = wait::try_until(SOON, || {
        let view = director.show("reals");
        list(&view["reals"]).iter().all(|real| real["state"] == "up").then_some(())
    });
    assert!(up.is_some(), "all real servers are up again: {:#}", director.show("reals"));
}

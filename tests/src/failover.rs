//! What clients notice when the active director goes and comes back: requests at a steady rate, and long downloads through
//! the VIP, while real servers were added and removed since the downloads began.
//!
//! With keepalived it is nginx on the two directors that answers at the VIP: nothing is forwarded, so the gap is
//! that of VRRP, of announcing and of the router alone, and downloads are not made, since none could survive.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::address::{Segment, VIP};
use crate::config;
use crate::peer::{self, Pair, Peer};
use crate::requests::Seen;
use crate::{Downloads, Instance, Lab, Requests, Service, WebServer, wait};

const SOON: Duration = Duration::from_secs(30);
/// Priorities of the two directors.
pub const PRIORITIES: [u8; 2] = [150, 100];
/// Real servers of the lab, and those that are in force before and after the change: one goes, two come.
const REALS: usize = 6;
const BEFORE: [usize; 4] = [0, 1, 2, 3];
const AFTER: [usize; 5] = [0, 1, 2, 4, 5];
/// While only one director is there: one goes and one comes back.
const LATER: [usize; 5] = [0, 1, 2, 3, 4];
/// Who goes each time: connections to it end with it, so no download may be there.
const GOES: [&str; 2] = ["rs4", "rs6"];

/// How the active director goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// SIGTERM.
    Terminate,
    /// SIGKILL; where nginx runs beside keepalived it is killed too: the forwarding dies with shunt.
    Kill,
    /// Its cable is pulled out of the switch.
    Unplug,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// shunt twice, with this scheduler; or keepalived twice.
    pub scheduler: Option<&'static str>,
    /// Of VRRP.
    pub version: u8,
    /// Between two adverts.
    pub interval: Duration,
    /// Requests a second.
    pub per_second: u32,
    /// Downloads that begin before the director goes, and as many again while it is away.
    pub downloads: usize,
    /// How long nothing is done, before a change and after it. Flows are told within half a second.
    pub rest: Duration,
}

/// What clients noticed of one change of director.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// Of the requests.
    pub seen: Seen,
    /// Downloads that were under way, and what broke those that broke.
    pub downloads: usize,
    /// See there.
    pub broken: Vec<String>,
}

/// All of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The gap while nothing happened, for comparison.
    pub rest: Duration,
    /// When the active director went.
    pub away: Noticed,
    /// When it came back.
    pub back: Noticed,
}

impl Setup {
    /// The longest time that nobody forwards after a crash, as VRRP has it: the adverts that are missed, and the skew.
    pub fn master_down(&self) -> Duration {
        // Version 2 has seconds, and its skew is one of them at most (RFC 3768, 6.1; RFC 9568, 6.1).
        let unit = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        3 * self.interval + unit * u32::from(256 - u16::from(PRIORITIES[1])) / 256
    }

    /// Which programs.
    pub fn pair(&self) -> Pair {
        if self.scheduler.is_some() { peer::XX } else { peer::KK }
    }

    /// The configuration of director `n`, with these real servers of `lab`.
    #[track_caller]
    pub fn config(&self, lab: &Lab, n: usize, reals: &[usize]) -> String {
        let seconds = self.interval.as_secs_f64();
        let Some(scheduler) = self.scheduler else {
            let instance =
                Instance { version: self.version, interval: seconds, ..Instance::slow(PRIORITIES[n]) };
            return instance.to_string();
        };
        let service = Service::tcp(80).with(&format!("scheduler = \"{scheduler}\""));
        let service = reals.iter().fold(service, |service, n| service.real(lab.real_server(*n).address(), 1));
        let key = key(lab);
        format!(
            "{}\n[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{VIP}/32\"]\n\
             version = {}\npriority = {}\ninterval = \"{}ms\"\n[sync]\ninterface = \"eth0\"\nkey_file = {key:?}\n",
            config::file(lab, &[service]),
            self.version,
            PRIORITIES[n],
            self.interval.as_millis(),
        )
    }
}

/// The key that the directors of `lab` share.
fn key(lab: &Lab) -> std::path::PathBuf {
    let path = lab.folder().join("sync.key");
    if !path.exists() {
        fs::write(&path, "5a".repeat(32)).expect("the lab's folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    path
}

/// Two directors, clients that ask, and real servers.
struct Stage {
    setup: Setup,
    // In the order in which they have to go: the clients first, the lab last.
    requests: Requests,
    downloads: Vec<Downloads>,
    peers: [Peer; 2],
    /// On the directors, beside keepalived.
    beside: Vec<WebServer>,
    _servers: Vec<WebServer>,
    lab: Lab,
}

/// Lets the active director go and come back.
#[track_caller]
pub fn run(setup: Setup, event: Event) -> Outcome {
    let mut stage = Stage::set(setup);
    stage.download(GOES[0]);
    stage.change([0, 1], &AFTER);
    stage.until_told(1);

    let (from, ()) = (Instant::now(), std::thread::sleep(setup.rest));
    let rest = (from, Instant::now());

    let away = stage.notice(1, |stage| stage.go(event));
    // Flows that the one that is away has not seen begin, and real servers it does not know to have changed.
    stage.download(GOES[1]);
    let there: &[usize] = if event == Event::Unplug { &[0, 1] } else { &[1] };
    stage.change(there.iter().copied(), &LATER);
    let back = stage.notice(0, |stage| stage.come_back(event));

    stage.requests.stop();
    let noticed = |part: Part| Noticed {
        seen: stage.requests.seen(part.from, part.to),
        downloads: part.downloads,
        broken: part.broken,
    };
    Outcome { rest: stage.requests.seen(rest.0, rest.1).gap, away: noticed(away), back: noticed(back) }
}

/// A change of director: what is known of it before all requests are over.
struct Part {
    from: Instant,
    to: Instant,
    downloads: usize,
    broken: Vec<String>,
}

impl Stage {
    #[track_caller]
    fn set(setup: Setup) -> Stage {
        let lab = Lab::builder().directors(2).real_servers(REALS).build();
        let forwards = setup.scheduler.is_some();
        let servers = if forwards { WebServer::on_all(&lab) } else { Vec::new() };
        servers.iter().for_each(Downloads::prepare);
        let beside = lab.directors().filter(|_| !forwards).map(|host| WebServer::start(&lab, host)).collect();
        let configs = [0, 1].map(|n| setup.config(&lab, n, &BEFORE));
        let peers = Peer::both(setup.pair(), &lab, [&configs[0], &configs[1]]);
        until_only(&peers, 0);
        let begin = Instant::now();
        let requests = Requests::start(lab.client(0), (VIP, 80).into(), setup.per_second);
        wait::until(SOON, "an answer", || requests.is_answered_since(begin).then_some(()));
        Stage { setup, requests, downloads: Vec::new(), peers, beside, _servers: servers, lab }
    }

    #[track_caller]
    fn download(&mut self, but: &str) {
        if self.setup.scheduler.is_some() {
            let begun = Downloads::start(self.lab.client(0), (VIP, 80).into(), self.setup.downloads, &[but]);
            self.downloads.push(begun);
        }
    }

    /// Other real servers are in force on these directors.
    #[track_caller]
    fn change(&mut self, directors: impl IntoIterator<Item = usize>, reals: &[usize]) {
        let before = self.broken();
        for n in directors {
            self.peers[n].reload(&self.setup.config(&self.lab, n, reals));
        }
        self.downloads.iter().for_each(Downloads::go_on);
        assert_eq!(self.broken(), before, "no director has gone or come");
    }

    /// Director `n` has been told of flows.
    #[track_caller]
    fn until_told(&self, n: usize) {
        let Peer::Shunt(director) = &self.peers[n] else { return };
        wait::until(SOON, "flows to be told", || {
            let view = director.show("vrrp");
            view["sync"]["flows_held"].as_u64().is_some_and(|held| held > 0).then_some(())
        });
    }

    /// What clients notice while `act` makes director `n` the active one.
    #[track_caller]
    fn notice(&mut self, n: usize, act: impl FnOnce(&mut Stage)) -> Part {
        let known = self.broken();
        let from = Instant::now();
        act(self);
        until_only(&self.peers, n);
        let now = Instant::now();
        wait::until(SOON, "an answer", || self.requests.is_answered_since(now).then_some(()));
        self.downloads.iter().for_each(Downloads::go_on);
        // The peer may take it back, or the router have been told otherwise.
        std::thread::sleep(self.setup.rest);
        let downloads = self.downloads.iter().map(Downloads::count).sum::<usize>() - known.len();
        let mut broken = self.broken();
        for why in known {
            // Which of those with the same reason makes no difference.
            broken.iter().position(|other| *other == why).map(|n| broken.swap_remove(n));
        }
        Part { from, to: Instant::now(), downloads, broken }
    }

    fn go(&mut self, event: Event) {
        match event {
            Event::Terminate => {
                self.peers[0].stop();
            }
            Event::Kill => {
                self.beside.iter_mut().take(1).for_each(|server| {
                    server.kill9();
                });
                self.peers[0].kill9();
            }
            Event::Unplug => self.lab.unplug(self.lab.director(0), Segment::Lan),
        }
    }

    fn come_back(&mut self, event: Event) {
        match event {
            Event::Terminate | Event::Kill => {
                let config = self.setup.config(&self.lab, 0, &LATER);
                if event == Event::Kill {
                    self.beside.iter_mut().take(1).for_each(WebServer::start_again);
                }
                self.peers[0].start_again(&config);
            }
            Event::Unplug => self.lab.plug(self.lab.director(0), Segment::Lan),
        }
    }

    /// In the order in which the downloads began, not in which they broke.
    fn broken(&self) -> Vec<String> {
        self.downloads.iter().flat_map(Downloads::broken).collect()
    }
}

/// Director `n` holds the VIP, and the other one, if it runs, does not.
#[track_caller]
fn until_only(peers: &[Peer; 2], n: usize) {
    peers[n].until_active();
    if n == 0 {
        peers[1].until_backup();
    }
}

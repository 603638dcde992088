//! START HERE: one loop owns the model. An event comes in (a link, a neighbour, a check, an address, a command, a
//! signal), what it changes is compiled and published, and nothing else in the program changes what workers see.
//!
//! *Invariants*
//! - the order at start: steer, then own the VIP; at the end: give the VIP up, then stop steering. So no frame of
//!   a service ever meets the kernel, which would answer a client with a RST;
//! - until the first checks and MAC addresses are known, or were waited for long enough, frames of services are dropped
//!   without a word: a restart leaves each connection where the hash over all real servers has it;
//! - a configuration that is refused changes nothing.

mod adopt;
mod affected;
mod apply;
mod capture;
mod edit;
mod explain;
mod metrics;
mod pace;
mod plan;
mod publish;
mod queues;
mod readiness;
mod sync;
mod traffic;
mod vrrp;
mod workers;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use shunt_dataplane::forwarding::ServiceSpec;
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::plane::{Dataplane, Setup};
use shunt_dataplane::xsk::program::OpenError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior};

use crate::address::{self, Vip, VipOwner};
use crate::admin::access;
use crate::admin::http::Web;
use crate::admin::protocol::{Answer, Request};
use crate::admin::reloads::Reloads;
use crate::admin::server::{Call, Server};
use crate::capture::session::Captures;
use crate::compile::{self, Standing};
use crate::config::{self, Loaded};
use crate::descriptors;
use crate::edit::Changes;
use crate::error::Error;
use crate::event::Event;
use crate::guard::Guard;
use crate::health::vip::VipChecks;
use crate::health::{self, PassiveHealth, Runner};
use crate::ipvsadm::ledger::Ledger;
use crate::link::{self, Change, Link, LinkWatch};
use crate::model::VirtualService;
use crate::neighbor::{self, NeighborWatch};
use crate::netlink::Netlink;
use crate::news::{self, Standings};
use crate::notify::{News, Notifier};
use crate::programs;
use crate::quorum::Quorums;
use crate::rights;
use crate::setup::{describe, setup};
use crate::slow_start::SlowStart;
use crate::survey::{Survey, SurveyError, survey};
use crate::sync::FlowSyncer;
use crate::systemd::Systemd;
use crate::vrrp::thread::VrrpThread;
use crate::vrrp::track::{self, Trackers};
use crate::watch::{self, Watch};
use affected::Affected;
use apply::Applied;
use pace::Pace;
use publish::Followed;
use queues::Queues;
use readiness::Readiness;
use vrrp::Silence;

/// How long `ready` waits for first checks and MAC addresses; then it is said with what there is.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// Workers' retired states are freed, and what depends on the time alone is brought up to date
/// this often.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// The guard of a director that was killed is gone by then, also on a busy machine.
const GUARD_GONE: Duration = Duration::from_secs(1);

/// Programs and mail about the end of shunt may take this long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a run is given on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// How it is read.
    pub reading: config::Options,
    /// The admin socket.
    pub socket: PathBuf,
}

/// Runs the director until SIGTERM or SIGINT.
///
/// # Errors
/// Why it could not start, or why it had to stop. Nothing is left behind in either case.
pub async fn run(options: &Options) -> Result<(), Error> {
    let loaded = config::load_with(&options.config, &options.reading).map_err(Error::Config)?;
    for warning in loaded.warnings.iter() {
        tracing::warn!("{warning}");
    }
    rights::require()?;
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hangup = signals(SignalKind::hangup())?;
    let readers = access::readers(&loaded).map_err(Error::Config)?;
    let mut server = Server::bind(&options.socket, readers)?;
    let (mut supervisor, mut events) = Supervisor::start(options.clone(), loaded).await?;
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut look = tokio::time::interval(watch::LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut talk = tokio::time::interval(crate::sync::TICK);
    talk.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ready_by = Some(Instant::now() + READY_WITHIN);
    let result = loop {
        if supervisor.affected.is_due()
            && (supervisor.affected.is_urgent() || Instant::now().into_std() >= supervisor.pace.rested())
            && let Err(error) = supervisor.publish_affected()
        {
            break Err(error);
        }
        if ready_by.is_some_and(|by| supervisor.is_settled() || Instant::now() >= by) {
            ready_by = None;
            supervisor.is_ready = true;
            if let Err(error) = supervisor.publish() {
                break Err(error);
            }
            supervisor.say_ready();
        }
        if supervisor.follow_readiness()
            && let Err(error) = supervisor.publish()
        {
            break Err(error);
        }
        let (waits, rested) = (supervisor.affected.is_due(), supervisor.pace.rested());
        tokio::select! {
            Some(event) = events.recv() => {
                let mut result = supervisor.handle(event).await;
                // One compilation for all that has come in meanwhile.
                while let (Ok(()), Ok(event)) = (&result, events.try_recv()) {
                    result = supervisor.handle(event).await;
                }
                supervisor.ask_neighbors();
                if let Err(error) = result {
                    break Err(error);
                }
            }
            () = tokio::time::sleep_until(rested.into()), if waits => {}
            Some(call) = server.next() => supervisor.answer(call).await,
            visit = supervisor.web.next() => supervisor.receive(visit),
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reading {}", supervisor.options.config.display());
                // What is wrong was logged; what runs goes on running.
                let _ = supervisor.reload_told().await;
            }
            _ = housekeeping.tick() => {
                supervisor.captures.expire(&mut supervisor.plane);
                supervisor.plane.collect();
                supervisor.track();
                supervisor.observe_traffic();
                supervisor.roll_back_if_due().await;
                supervisor.observe_queues();
                if let Err(error) = supervisor.watch_clients_and_starts() {
                    break Err(error);
                }
                supervisor.tell_systemd();
            }
            _ = look.tick() => {
                if let Err(error) = supervisor.look_after_workers() {
                    break Err(error);
                }
            }
            _ = talk.tick(), if supervisor.sync.is_some() => supervisor.tick_sync(),
            _ = terminate.recv() => break Ok("SIGTERM"),
            _ = interrupt.recv() => break Ok("SIGINT"),
        }
    };
    supervisor.stop().await;
    let signal = result?;
    tracing::info!("stopped by {signal}");
    Ok(())
}

fn signals(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::Signal)
}

struct Supervisor {
    options: Options,
    /// What is in force.
    loaded: Loaded,
    /// What of it does not come from the file.
    changes: Changes,
    survey: Survey,
    netlink: Netlink,
    links: LinkWatch,
    neighbors: NeighborWatch,
    checks: Runner<Event>,
    vip_checks: VipChecks<Event>,
    vips: VipOwner,
    plane: Dataplane,
    /// How each real server stood when it was last said.
    said: Standings,
    /// What the state published last was compiled from, service by service as in the model.
    specs: Vec<ServiceSpec>,
    /// The links and neighbours that checks through VIPs have followed.
    followed: Option<Followed>,
    /// What has come in since.
    affected: Affected,
    /// Real servers that fail: perhaps they have another MAC address now.
    failing: HashSet<IpAddr>,
    pace: Pace,
    notifier: Notifier,
    /// News that nobody has been told yet: a reload that fails has none.
    untold: Vec<News>,
    captures: Captures,
    passive: PassiveHealth,
    quorums: Quorums,
    slow_start: SlowStart,
    ledger: Ledger,
    vrrp: VrrpThread,
    trackers: Trackers<Event>,
    /// What the thread was last told of that.
    tracked: Option<track::Results>,
    silence: Silence,
    watch: Watch,
    sync: Option<FlowSyncer>,
    readiness: Readiness,
    queues: Queues,
    guard: Option<Guard>,
    web: Web,
    reloads: Reloads,
    page: Option<metrics::Page>,
    systemd: Systemd,
    /// What was applied, while it awaits its confirmation and after.
    applied: Applied,
    /// Room for one plan.
    planning: Arc<Semaphore>,
    explaining: Arc<Semaphore>,
    is_ready: bool,
}

impl Supervisor {
    async fn start(
        options: Options,
        loaded: Loaded,
    ) -> Result<(Supervisor, UnboundedReceiver<Event>), Error> {
        let (sender, events) = unbounded_channel();
        let netlink = Netlink::open().map_err(Error::Netlink)?;
        let links = LinkWatch::start(&netlink, sender.clone()).await?;
        let (survey, warnings) = survey(&netlink, &links.view(), &loaded, &[]).await?;
        let programs = programs::examine(&loaded).await.map_err(Error::Config)?;
        warnings.iter().chain(programs.iter()).for_each(|warning| tracing::warn!("{warning}"));
        let web = metrics::start(&loaded).await?;
        let neighbors = NeighborWatch::start(&netlink, sender.clone())?;
        let vips = VipOwner::start(&netlink, sender.clone())?;
        let plane = open(&setup(&loaded.model, &survey)).await?;
        describe(&plane);
        if let Err(error) = descriptors::raise_limit() {
            tracing::warn!(
                "the limit of open files cannot be raised, so many checks may fail for it: {error}"
            );
        }
        let checks = Runner::new(sender.clone());
        let vip_checks = VipChecks::new(sender.clone());
        let trackers = Trackers::new(sender.clone());
        let vrrp = VrrpThread::start(sender)?;
        let kept = rights::settle(programs::first(&loaded.model).is_some()).map_err(Error::GiveUp)?;
        tracing::info!("{kept}");
        let notifier = Notifier::start(&loaded.model);
        let mut supervisor = Supervisor {
            options,
            changes: Changes::none(loaded.model.clone()),
            loaded,
            survey,
            netlink,
            links,
            neighbors,
            checks,
            vip_checks,
            vips,
            plane,
            said: Standings::new(),
            specs: Vec::new(),
            followed: None,
            affected: Affected::default(),
            failing: HashSet::new(),
            pace: Pace::new(Instant::now().into()),
            notifier,
            untold: Vec::new(),
            captures: Captures::default(),
            passive: PassiveHealth::default(),
            quorums: Quorums::default(),
            slow_start: SlowStart::default(),
            ledger: Ledger::default(),
            vrrp,
            trackers,
            tracked: None,
            silence: Silence::default(),
            watch: Watch::default(),
            sync: None,
            readiness: Readiness::new(Instant::now().into()),
            queues: Queues::new(),
            guard: None,
            web,
            reloads: Reloads::new(),
            page: None,
            systemd: Systemd::from_environment(),
            applied: Applied::default(),
            planning: Arc::new(Semaphore::new(1)),
            explaining: Arc::new(Semaphore::new(1)),
            is_ready: false,
        };
        if let Err(error) = supervisor.adopt().await {
            supervisor.stop().await;
            return Err(error);
        }
        supervisor.tell();
        Ok((supervisor, events))
    }

    fn interfaces(&self) -> Vec<u32> {
        self.survey.interfaces.iter().map(|link| link.index).collect()
    }

    fn name_of(&self, index: u32) -> String {
        self.links.view().get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    async fn handle(&mut self, event: Event) -> Result<(), Error> {
        self.affected.note(&event);
        match event {
            Event::Link(event) => {
                self.follow_link_of_sync();
                self.follow_link_of_readiness(&event);
                return self.link_changed(event);
            }
            Event::Address(address::Event::Removed(vip)) => {
                let name = self.name_of(vip.index);
                tracing::warn!("{} was removed from {name} by somebody: added again", vip.address);
                // It is added again where it was, even if by now another interface would suit it better.
                let held: Vec<Vip> = self.vips.held().into_iter().map(|(vip, _)| vip).chain([vip]).collect();
                if let Err(error) = self.claim(&held).await {
                    tracing::error!("{error}");
                }
            }
            Event::Neighbor(neighbor::Event::Moved { key, before, mac }) => tracing::warn!(
                "{} has another MAC address: {} before, {} now",
                key.address,
                MacAddress(before),
                MacAddress(mac)
            ),
            Event::Neighbor(_)
            | Event::Health(health::Event::Changed { .. } | health::Event::Weight { .. }) => {}
            Event::Vip(event) => event.log(),
            Event::Vrrp(event) => return self.vrrp_told(event),
            Event::Track(track::Event::Changed) => self.track(),
            Event::Health(health::Event::Failing { key, .. }) => {
                self.failing.insert(key.address);
            }
        }
        Ok(())
    }

    /// Asks real servers that fail for their MAC addresses.
    fn ask_neighbors(&mut self) {
        if self.failing.is_empty() {
            return;
        }
        let failing = std::mem::take(&mut self.failing);
        for key in compile::neighbors_at(&self.loaded.model, &self.survey, &failing) {
            self.neighbors.revalidate(key);
        }
    }

    fn link_changed(&mut self, event: link::Event) -> Result<(), Error> {
        let Link { index, name, mac, .. } = event.link;
        let Some(port) = self.survey.interfaces.iter().position(|link| link.index == index) else {
            return Ok(());
        };
        match event.change {
            Change::Up => tracing::info!("{name} is up"),
            Change::Down => tracing::warn!("{name} is down"),
            Change::Mtu { before } => {
                tracing::warn!("{name} has MTU {} now, {before} before", event.link.mtu)
            }
            Change::Renamed { before } => tracing::warn!("{before} is called {name} now"),
            Change::Appeared => {}
            Change::Mac { before } => {
                tracing::warn!(
                    "{name} has MAC address {} now, {} before",
                    MacAddress(mac),
                    MacAddress(before)
                );
                let Some(program) = self.plane.program(port) else { return Ok(()) };
                if let Err(error) =
                    program.set_mac(MacAddress(mac)).and_then(|()| program.unset_mac(MacAddress(before)))
                {
                    tracing::error!("{name}: the XDP program does not know the new address: {error}");
                }
            }
            Change::Gone => return Err(Error::InterfaceGone(name)),
        }
        Ok(())
    }

    /// Whether every real server's first check and MAC address is known.
    fn is_settled(&self) -> bool {
        !self.said.values().any(|standing| matches!(standing, Standing::Waiting(_)))
    }

    fn say_ready(&mut self) {
        let standing = self.standing();
        tracing::info!("ready: {standing}");
        self.systemd.status(standing);
        self.systemd.ready();
    }

    /// How the director does, in a line.
    fn standing(&self) -> String {
        let up = self.said.values().filter(|standing| standing.is_up()).count();
        let services = config::counted(self.loaded.model.services.len(), "service");
        format!("{services}, {up} of {} up", config::counted(self.said.len(), "real server"))
    }

    /// A worker that hangs is told by silence.
    fn tell_systemd(&mut self) {
        if !self.watch.is_broken() {
            self.systemd.alive();
        }
        if let Some(fault) = self.watch.fault(Instant::now().into()) {
            self.systemd.status(fault);
        } else if self.is_ready {
            let standing = self.standing();
            self.systemd.status(standing);
        }
    }

    /// A reload that systemd is told of.
    async fn reload_told(&mut self) -> Result<String, String> {
        // Before it is ready, that it is so again would be wrong.
        if !self.is_ready {
            return self.reload_counted().await;
        }
        self.systemd.reloading();
        let done = self.reload_counted().await;
        self.systemd.ready();
        done
    }

    async fn answer(&mut self, call: Call) {
        if let Request::Explain(question) = call.request() {
            let question = question.clone();
            return self.explain(&question, call);
        }
        if let Request::Capture(ask) = call.request() {
            let ask = ask.clone();
            return self.capture(&ask, call);
        }
        let answer = match call.request() {
            Request::Plan { configuration } => {
                let configuration = configuration.clone();
                return self.plan(configuration, call).await;
            }
            Request::Apply { configuration, confirm_seconds } => {
                Answer::from(self.apply(configuration.clone(), *confirm_seconds).await)
            }
            Request::Confirm => Answer::from(self.confirm()),
            Request::Rollback => Answer::from(self.roll_back_at_once().await),
            Request::Show { what, limit } => Answer::data(self.show(*what, *limit)),
            Request::Announce { router } => match self.announce(router.as_deref()) {
                Ok(text) => Answer::text(text),
                Err(why) => Answer::error(why),
            },
            Request::Explain(_) | Request::Capture(_) => unreachable!("answered above"),
            Request::Zero { service } => self.zero_traffic(service.as_deref()),
            Request::Edit { edits } => match self.edit(edits).await {
                Ok(text) => Answer::text(text),
                Err(refused) => Answer::refused(refused.code, refused.why),
            },
            Request::Reload => match self.reload_told().await {
                Ok(text) => Answer::text(text),
                Err(why) => Answer::error(why),
            },
        };
        call.answer(answer);
    }

    async fn stop(mut self) {
        self.systemd.stopping();
        for news in news::of_vrrp_end(&self.loaded.model, None) {
            self.notifier.tell(news);
        }
        let has_quorum = |service: &VirtualService| !self.quorums.is_lost(&service.key);
        for news in news::of_the_end(&self.loaded.model, &self.said, has_quorum) {
            self.notifier.tell(news);
        }
        // First of all: the other director takes over at once.
        self.vrrp.stop().await;
        if let Err(error) = self.vips.release_all().await {
            tracing::error!("a VIP may be left: {error}");
        }
        // Dropping the dataplane joins its workers.
        drop(self.plane);
        drop(self.guard);
        self.notifier.finish(LAST_WORDS).await;
    }
}

/// Opens the dataplane. The guard of a director that was killed just now holds the interface for some milliseconds more.
async fn open(setup: &Setup) -> Result<Dataplane, OpenError> {
    let until = Instant::now() + GUARD_GONE;
    loop {
        match Dataplane::open(setup) {
            Err(OpenError::ProgramTaken { .. }) if Instant::now() < until => {
                tokio::time::sleep(GUARD_GONE / 20).await;
            }
            opened => return opened,
        }
    }
}

impl From<SurveyError> for Error {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Faults(faults) => Error::Config(faults),
            SurveyError::Kernel(error) => Error::Kernel(error),
        }
    }
}

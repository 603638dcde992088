//! START HERE: one loop owns the model. An event comes in (a link, a neighbour, a check, an address, a command, a
//! signal), what it changes is compiled and published, and nothing else in the program changes what workers see.
//!
//! *Invariants*
//! - the order at start: steer, then own the VIP; at the end: give the VIP up, then stop steering. So no frame of
//!   a service ever meets the kernel, which would answer a client with a RST;
//! - a configuration that is refused changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::plane::Dataplane;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::address::{self, Ownership, Vip, VipOwner};
use crate::admin::protocol::{Answer, Request};
use crate::admin::server::{Call, Server};
use crate::admin::show::{self, Facts};
use crate::compile::{self, Inputs, Standing, compile};
use crate::config::{self, Loaded};
use crate::descriptors;
use crate::error::Error;
use crate::event::Event;
use crate::health::vip::{VipChecks, VipView};
use crate::health::{self, Facts as ClientFacts, HealthView, PassiveHealth, RealKey, Runner};
use crate::link::{self, Change, Link, LinkWatch};
use crate::model::{RealServer, ServiceKey, VirtualService};
use crate::neighbor::{self, NeighborView, NeighborWatch};
use crate::netlink::Netlink;
use crate::news::{self, Standings};
use crate::notify::{News, Notifier};
use crate::programs;
use crate::quorum::{self, Quorums};
use crate::setup::{describe, needs_restart, setup};
use crate::slow_start::SlowStart;
use crate::survey::{Survey, SurveyError, survey};

/// How long `ready` waits for first checks and MAC addresses; then it is said with what there is.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// Workers' retired states are freed, workers looked after, and what depends on the time alone is brought up to date
/// this often.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

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
    crate::rights::require()?;
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hangup = signals(SignalKind::hangup())?;
    let mut server = Server::bind(&options.socket)?;
    let (mut supervisor, mut events) = Supervisor::start(options.clone(), loaded).await?;
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut ready_by = Some(Instant::now() + READY_WITHIN);
    let result = loop {
        if ready_by.is_some_and(|by| supervisor.is_settled() || Instant::now() >= by) {
            ready_by = None;
            supervisor.say_ready();
        }
        tokio::select! {
            Some(event) = events.recv() => {
                let mut result = supervisor.handle(event).await;
                // One compilation for all that has come in meanwhile.
                while let (Ok(()), Ok(event)) = (&result, events.try_recv()) {
                    result = supervisor.handle(event).await;
                }
                if let Err(error) = result.and_then(|()| supervisor.publish()) {
                    break Err(error);
                }
            }
            Some(call) = server.next() => supervisor.answer(call).await,
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reading {}", supervisor.options.config.display());
                // What is wrong was logged; what runs goes on running.
                let _ = supervisor.reload().await;
            }
            _ = housekeeping.tick() => {
                supervisor.plane.collect();
                if !supervisor.plane.is_alive() {
                    break Err(Error::WorkerDied);
                }
                if let Err(error) = supervisor.watch_clients_and_starts() {
                    break Err(error);
                }
            }
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
    loaded: Loaded,
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
    notifier: Notifier,
    /// News that nobody has been told yet: a reload that fails has none.
    untold: Vec<News>,
    passive: PassiveHealth,
    quorums: Quorums,
    slow_start: SlowStart,
    is_ready: bool,
}

/// What the watches know at one moment.
struct Views {
    links: Arc<BTreeMap<u32, Link>>,
    health: HealthView,
    vips: VipView,
    neighbors: Arc<NeighborView>,
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
        let neighbors = NeighborWatch::start(&netlink, sender.clone())?;
        let vips = VipOwner::start(&netlink, sender.clone())?;
        let plane = Dataplane::open(&setup(&loaded.model, &survey))?;
        describe(&plane);
        if let Err(error) = descriptors::raise_limit() {
            tracing::warn!(
                "the limit of open files cannot be raised, so many checks may fail for it: {error}"
            );
        }
        let checks = Runner::new(sender.clone());
        let vip_checks = VipChecks::new(sender);
        let notifier = Notifier::start(&loaded.model);
        let mut supervisor = Supervisor {
            options,
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
            notifier,
            untold: Vec::new(),
            passive: PassiveHealth::default(),
            quorums: Quorums::default(),
            slow_start: SlowStart::default(),
            is_ready: false,
        };
        if let Err(error) = supervisor.adopt().await {
            supervisor.stop().await;
            return Err(error);
        }
        supervisor.tell();
        Ok((supervisor, events))
    }

    /// Makes the world follow the model: wanted neighbours and checks, forwarding state, VIPs.
    async fn adopt(&mut self) -> Result<(), Error> {
        self.neighbors.want(compile::neighbors(&self.loaded.model, &self.survey));
        self.notifier.set(&self.loaded.model);
        self.checks.set_scripts(self.loaded.model.scripts.clone());
        // A server that is up stays up until its new check has said otherwise.
        let up: HashSet<IpAddr> =
            self.said.iter().filter(|(_, s)| s.is_up()).map(|((_, real), _)| *real).collect();
        self.checks.set_assuming(compile::checks(&self.loaded.model), |key| up.contains(&key.address));
        let wanted = self.wanted_vips().await?;
        // A VIP that goes is given up before its services are unsteered, one that comes is owned after they are
        // steered: the kernel never sees a frame for a VIP it owns.
        let held = self.vips.held();
        if !held.is_empty() {
            let stays = |vip: &Vip| wanted.contains(vip);
            self.claim(&held.into_iter().map(|(vip, _)| vip).filter(stays).collect::<Vec<_>>()).await?;
        }
        self.make_current()?;
        self.claim(&wanted).await
    }

    /// Where each VIP of the model belongs.
    async fn wanted_vips(&self) -> Result<Vec<Vip>, Error> {
        let addresses = address::addresses(&self.netlink).await?;
        let interfaces = self.interfaces();
        let vips = self.loaded.model.services.iter().map(|service| service.key.vip);
        let mut wanted: Vec<Vip> = vips
            .filter_map(|address| {
                let index = address::interface_for(address, &interfaces, &addresses)?;
                Some(Vip { index, address })
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }

    async fn claim(&mut self, wanted: &[Vip]) -> Result<(), Error> {
        let held: HashMap<Vip, Ownership> = self.vips.held().into_iter().collect();
        for claim in self.vips.claim(&self.interfaces(), wanted).await? {
            let name = self.name_of(claim.vip.index);
            let address = claim.vip.address;
            match claim.outcome {
                Ok(ownership) if held.get(&claim.vip) == Some(&ownership) => {}
                Ok(Ownership::Added) => tracing::info!("{address} added to {name}"),
                Ok(Ownership::Adopted) => {
                    tracing::info!("{address} on {name} was left by an earlier run of shunt: taken over");
                }
                Ok(Ownership::Found) => {
                    tracing::info!("{address} found on {name}: used, and left there at the end");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn interfaces(&self) -> Vec<u32> {
        self.survey.interfaces.iter().map(|link| link.index).collect()
    }

    fn name_of(&self, index: u32) -> String {
        self.links.view().get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    async fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Link(event) => return self.link_changed(event),
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
            // Perhaps it answers with another MAC address now: ask.
            Event::Health(health::Event::Failing { key, .. }) => {
                for key in compile::neighbors_at(&self.loaded.model, &self.survey, key.address) {
                    self.neighbors.revalidate(key);
                }
            }
        }
        Ok(())
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

    fn views(&self) -> Views {
        Views {
            links: self.links.view(),
            health: self.checks.view(),
            vips: self.vip_checks.view(),
            neighbors: self.neighbors.view(),
        }
    }

    /// All that decides what is forwarded where.
    fn inputs<'a>(&'a self, views: &'a Views) -> Inputs<'a> {
        Inputs {
            model: &self.loaded.model,
            survey: &self.survey,
            links: &views.links,
            health: &views.health,
            neighbors: &views.neighbors,
            vips: &views.vips,
            passive: &self.passive,
            quorums: &self.quorums,
            slow_start: &self.slow_start,
        }
    }

    /// Compiles what is known now, makes it current, and tells who came and went.
    fn publish(&mut self) -> Result<(), Error> {
        self.make_current()?;
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        for news in self.untold.drain(..) {
            self.notifier.tell(news);
        }
    }

    /// Compiles what is known now and makes it current; says which real servers came and went.
    fn make_current(&mut self) -> Result<(), Error> {
        self.follow_ways();
        let views = self.views();
        let inputs = self.inputs(&views);
        let standings: Standings = self
            .reals()
            .map(|(service, real)| ((service.key, real.address), inputs.standing(service, real)))
            .collect();
        let up = |standings: &Standings, key: &RealKey| standings.get(key).is_some_and(Standing::is_up);
        let mut slow_start = self.slow_start.clone();
        // Before the start is over all are equally cold.
        let was_up = |key: &RealKey| !self.is_ready || up(&self.said, key);
        let now = Instant::now().into_std();
        slow_start.follow(now, &self.loaded.model, was_up, |key| up(&standings, key));
        slow_start.advance(now);
        self.slow_start = slow_start;
        let mut quorums = self.quorums.clone();
        let standing = |service: &VirtualService, real: &RealServer| &standings[&(service.key, real.address)];
        let changes = quorums.follow(&self.loaded.model, |service| {
            self.inputs(&views).alive(service, |real| standing(service, real).clone())
        });
        self.quorums = quorums;
        let state = compile(self.inputs(&views), self.plane.state(), self.plane.workers().len())?;
        self.plane.publish(state).map_err(Error::Steer)?;
        for (service, real) in self.reals() {
            let key = (service.key, real.address);
            let (before, standing) = (self.said.get(&key), &standings[&key]);
            if before != Some(standing) {
                say(service.key, real, before, standing);
            }
        }
        for change in &changes {
            self.say_quorum(change);
        }
        let model = &self.loaded.model;
        self.untold.extend(news::of_reals(model, &self.said, &standings));
        self.untold.extend(news::of_quorums(model, &changes, self.is_ready));
        self.said = standings;
        Ok(())
    }

    fn say_quorum(&self, change: &quorum::Change) {
        let services = &self.loaded.model.services;
        let Some(service) = services.iter().find(|service| service.key == change.service) else { return };
        match change.gained {
            true => tracing::info!("{}", change.sentence),
            false => tracing::warn!("{}", change.sentence),
        }
        if let Some(sorry) = &service.quorum.sorry {
            let (service, sorry) = (service.key, sorry.server.address);
            match change.gained {
                true if change.first => {}
                true => tracing::info!("the sorry server {sorry} of {service} answers no more"),
                false => tracing::warn!("the sorry server {sorry} of {service} answers now"),
            }
        }
    }

    /// Checks through VIPs take the ways that forwarded frames take now.
    fn follow_ways(&mut self) {
        let views = self.views();
        let was_up = |key: &RealKey| self.said.get(key).is_some_and(Standing::is_up);
        let wanted: Vec<_> = compile::vip_checks(self.inputs(&views), was_up).collect();
        self.vip_checks.follow(wanted);
    }

    fn reals(&self) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
        let services = self.loaded.model.services.iter();
        services.flat_map(|service| service.reals.iter().map(move |real| (service, real)))
    }

    /// What clients see of the real servers, and whose start is a step further: published if that changes anything.
    fn watch_clients_and_starts(&mut self) -> Result<(), Error> {
        let now = Instant::now().into_std();
        let mut changed = self.slow_start.advance(now);
        if self.loaded.model.services.iter().any(|service| service.passive.is_some())
            || !self.passive.is_empty()
        {
            let views = self.views();
            let inputs = self.inputs(&views);
            let mut passive = self.passive.clone();
            changed |= passive.observe(now, &self.loaded.model, |service, real| {
                let handshakes = compile::handshakes(inputs.compiled(self.plane.state(), service, real)?);
                let is_up = real.weight > 0 && inputs.standing_but_for_clients(service, real).is_up();
                Some(ClientFacts { handshakes, is_up })
            });
            self.passive = passive;
        }
        if changed { self.publish() } else { Ok(()) }
    }

    /// Whether every real server's first check and MAC address is known.
    fn is_settled(&self) -> bool {
        !self.said.values().any(|standing| matches!(standing, Standing::Waiting(_)))
    }

    fn say_ready(&mut self) {
        self.is_ready = true;
        let up = self.said.values().filter(|standing| standing.is_up()).count();
        tracing::info!(
            "ready: {}, {up} of {} up",
            config::counted(self.loaded.model.services.len(), "service"),
            config::counted(self.said.len(), "real server")
        );
    }

    /// Reads the configuration again. Refused: says why, changes nothing.
    async fn reload(&mut self) -> Result<String, String> {
        let refused = |why: String| {
            tracing::error!("the configuration is refused, the running one stays:\n{why}");
            Err(why)
        };
        let loaded = match config::load_with(&self.options.config, &self.options.reading) {
            Ok(loaded) => loaded,
            Err(faults) => return refused(faults.to_string()),
        };
        let settled = needs_restart(&self.loaded.model, &loaded);
        if !settled.is_empty() {
            return refused(settled.to_string());
        }
        let running = &self.survey.interfaces;
        let (survey, found) = match survey(&self.netlink, &self.links.view(), &loaded, running).await {
            Ok(surveyed) => surveyed,
            Err(error) => return refused(error.to_string()),
        };
        let programs = match programs::examine(&loaded).await {
            Ok(warnings) => warnings,
            Err(faults) => return refused(faults.to_string()),
        };
        // The dataplane's ports are the interfaces of the start.
        let index = |survey: &Survey| survey.interfaces.iter().map(|link| link.index).collect::<Vec<_>>();
        if index(&survey) != index(&self.survey) {
            return refused(
                "the interfaces are others than at the start: one was renamed or made anew, or a real server is \
                 reached by a new one: restart shunt"
                    .into(),
            );
        }
        for warning in loaded.warnings.iter().chain(found.iter()).chain(programs.iter()) {
            tracing::warn!("{warning}");
        }
        let before = self.said.clone();
        let (old_loaded, old_survey) =
            (std::mem::replace(&mut self.loaded, loaded), std::mem::replace(&mut self.survey, survey));
        let standings = (self.quorums.clone(), self.slow_start.clone());
        if let Err(error) = self.adopt().await {
            (self.loaded, self.survey) = (old_loaded, old_survey);
            // As if nothing had been: nobody is told, and who was up is up.
            self.untold.clear();
            self.said = before;
            (self.quorums, self.slow_start) = standings;
            if let Err(again) = self.adopt().await {
                tracing::error!("going back to the running configuration: {again}");
            }
            return refused(error.to_string());
        }
        self.untold.extend(news::of_removed(&old_loaded.model, &self.loaded.model, &before));
        self.tell();
        let done = format!("generation {} in force", self.plane.state().generation());
        tracing::info!("reloaded: {done}");
        Ok(done)
    }

    async fn answer(&mut self, call: Call) {
        let answer = match call.request() {
            Request::Show { what, limit } => {
                let views = self.views();
                let inputs = self.inputs(&views);
                Answer::data(show::show(
                    *what,
                    *limit,
                    &Facts {
                        inputs,
                        plane: &self.plane,
                        is_ready: self.is_ready,
                        worst_lateness: self.checks.worst_lateness(),
                    },
                ))
            }
            Request::Reload => match self.reload().await {
                Ok(text) => Answer::text(text),
                Err(why) => Answer::error(why),
            },
        };
        call.answer(answer);
    }

    async fn stop(mut self) {
        let has_quorum = |service: &VirtualService| !self.quorums.is_lost(&service.key);
        for news in news::of_the_end(&self.loaded.model, &self.said, has_quorum) {
            self.notifier.tell(news);
        }
        if let Err(error) = self.vips.release_all().await {
            tracing::error!("a VIP may be left: {error}");
        }
        // Dropping the dataplane joins its workers.
        drop(self.plane);
        self.notifier.finish(LAST_WORDS).await;
    }
}

fn say(service: ServiceKey, real: &RealServer, before: Option<&Standing>, now: &Standing) {
    let (inhibit, real) = (real.inhibit, real.address);
    match (before, now) {
        (Some(Standing::Up), Standing::Up) | (_, Standing::Waiting(_)) => {}
        (_, Standing::Up) => tracing::info!("real server {real} of {service} is up"),
        (_, Standing::Down(why)) if inhibit => {
            tracing::warn!("real server {real} of {service} is down, and keeps the flows it has: {why}");
        }
        (_, Standing::Down(why)) => tracing::warn!("real server {real} of {service} is down: {why}"),
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

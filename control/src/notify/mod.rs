//! Whoever is to know that real servers and services come and go, and virtual routers change their state: programs,
//! named pipes, people with mail.
//!
//! [`Notifier::tell`] is what the supervisor calls; it never waits. Behind it are `queue` (programs, in order), `pipe`
//! and `mail`, none of which can hold up another: a script that hangs, a pipe that nobody reads, a mail server or
//! a resolver that never answers cost a bounded amount of memory and nothing else. What keepalived writes, shunt writes
//! to the letter (`name`), so that scripts and filters keep working.
//!
//! *Invariants*
//! - memory is bounded by the number of services, real servers and virtual routers, however fast they change and however
//!   slow the listeners are;
//! - all entries of a `virtual_server_group` are one service to the listeners: what one entry has said, the others do
//!   not repeat;
//! - after [`Notifier::finish`] no program runs, and no pipe that was made is left.

mod lookup;
mod mail;
mod name;
mod pipe;
mod queue;
mod vrrp;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::model::{Hooks, Model, ServiceKey, VrrpHooks};
use queue::Item;
pub use vrrp::Told;

/// Something that whoever listens is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A real server came up or went down.
    Real {
        /// The service it is a server of.
        service: ServiceKey,
        /// The `virtual_server_group` that the service is an entry of.
        group: Option<String>,
        /// Its address.
        real: IpAddr,
        /// Its port as configured; 0: those of the service.
        port: u16,
        /// Who is told.
        hooks: Hooks,
        /// What it is now.
        up: bool,
        /// Why.
        cause: Cause,
    },
    /// A service has got enough real servers, or has not enough any more.
    Quorum {
        /// The service.
        service: ServiceKey,
        /// The `virtual_server_group` that it is an entry of.
        group: Option<String>,
        /// Who is told.
        hooks: Hooks,
        /// Whether it has enough.
        up: bool,
        /// The sum of weights that is enough.
        needed: u32,
        /// What is added to that when it is gained, and taken off when it is lost.
        hysteresis: u32,
        /// The sum of the weights of the live real servers.
        weight: u32,
        /// Why.
        cause: Cause,
    },
    /// A virtual router changed its state.
    Router {
        /// Its name.
        name: String,
        /// Who is told.
        hooks: VrrpHooks,
        /// What it is now.
        state: Told,
        /// Its effective priority.
        priority: u8,
    },
    /// All members of a group of virtual routers have come to one state.
    Group {
        /// Its name.
        name: String,
        /// Who is told.
        hooks: VrrpHooks,
        /// What it is now.
        state: Told,
    },
    /// A virtual router has another effective priority.
    Priority {
        /// Its name.
        name: String,
        /// Who is told: pipes, if they are at all.
        hooks: VrrpHooks,
        /// Whether it is active.
        active: bool,
        /// The priority.
        priority: u8,
    },
    /// A virtual router heard a lower priority while it was active.
    LowerHeard {
        /// Its name.
        name: String,
        /// Who is told.
        hooks: VrrpHooks,
        /// Its own effective priority.
        priority: u8,
    },
}

/// Why something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Checks, or what clients meet: how it failed, in words; of no meaning if it is up.
    Health(String),
    /// It was taken out of the configuration.
    Removed,
    /// The director ends (`omega`).
    Ending,
}

/// Tells everybody.
pub struct Notifier {
    scripts: queue::Queues,
    /// Told of everything.
    pipes: pipe::Pipes,
    /// Told of virtual routers only.
    service_pipes: pipe::Pipes,
    vrrp_pipes: pipe::Pipes,
    mail: mail::Outbox,
    /// What was said last about each entry of a group, and by which entry.
    told: Mutex<HashMap<Subject, (ServiceKey, bool)>>,
    tasks: Tasks,
    /// Tells the tasks how far the end has come; they end when it is dropped.
    order: watch::Sender<Stage>,
    /// Ends when no task holds its other end.
    idle: mpsc::Receiver<()>,
}

/// Whom news are about, as the listeners know them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    /// A service, or one of its real servers.
    Service(Service, Option<(IpAddr, u16)>),
    /// A virtual router.
    Router(String),
    /// A group of virtual routers.
    Group(String),
    /// What a virtual router has heard.
    LowerHeard(String),
}

/// A service by its group, if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Service {
    Group(String),
    Key(ServiceKey),
}

/// What all tasks of a notifier have.
#[derive(Clone)]
struct Tasks {
    stage: watch::Receiver<Stage>,
    /// Held as long as a task lives.
    #[expect(dead_code, reason = "that it is held is all that it is for")]
    alive: mpsc::Sender<()>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has not begun.
    Running,
    /// Whoever has nothing left to do ends.
    Closing,
    /// Everybody ends now.
    Over,
}

impl Notifier {
    /// Makes the pipes, starts their readers and whatever else it takes. What does not work is logged, and the rest does.
    /// Must be called on a tokio runtime.
    pub fn start(model: &Model) -> Notifier {
        let (order, stage) = watch::channel(Stage::Running);
        let (alive, idle) = mpsc::channel(1);
        let tasks = Tasks { stage, alive };
        let scripts = &model.scripts;
        Notifier {
            pipes: pipe::Pipes::open(model.notify.pipes.clone(), scripts, &tasks),
            service_pipes: pipe::Pipes::open(model.notify.service_pipes.clone(), scripts, &tasks),
            vrrp_pipes: pipe::Pipes::open(model.vrrp.pipes.clone(), scripts, &tasks),
            scripts: queue::Queues::new(scripts.clone(), tasks.clone()),
            mail: mail::Outbox::new(model.notify.mail.clone(), &tasks),
            told: Mutex::default(),
            tasks,
            order,
            idle,
        }
    }

    /// Goes on with another configuration. Pipes that it has too stay open, with their readers; mail that waits
    /// goes where it says now.
    pub fn set(&mut self, model: &Model) {
        self.pipes.set(model.notify.pipes.clone(), &model.scripts, &self.tasks);
        self.service_pipes.set(model.notify.service_pipes.clone(), &model.scripts, &self.tasks);
        self.vrrp_pipes.set(model.vrrp.pipes.clone(), &model.scripts, &self.tasks);
        self.scripts.set(model.scripts.clone());
        self.mail.set(model.notify.mail.clone());
        let known = subjects(model);
        self.told.get_mut().expect("no holder of this lock panics").retain(|told, _| known.contains(told));
    }

    /// Tells everybody who is to know, without waiting for any of them.
    pub fn tell(&self, news: News) {
        let subject = news.subject();
        if self.is_known(&subject, &news) {
            return;
        }
        let line = name::line(&news);
        match &news {
            News::Real { .. } | News::Quorum { .. } => {
                self.pipes.write(&line);
                self.service_pipes.write(&line);
            }
            News::Priority { hooks, .. } if !hooks.priority_changes => {}
            _ => {
                self.pipes.write(&line);
                self.vrrp_pipes.write(&line);
            }
        }
        if let Some(words) = mail::words(&news) {
            self.mail.put(words);
        }
        if let Some(item) = news.programs() {
            self.scripts.put(subject, item);
        }
    }

    /// Ends: programs and mail have `within` to come to their end, then they are cut off. It takes at most that long,
    /// but for the moment in which killed programs die. A resolver that hangs keeps a thread of tokio's blocking pool;
    /// the runtime must therefore be left with `Runtime::shutdown_background`, which waits for no such thread.
    pub async fn finish(self, within: Duration) {
        let Notifier { mut idle, order, tasks, scripts, pipes, service_pipes, vrrp_pipes, mail, .. } = self;
        let orderly = async {
            tokio::join!(pipes.close(), service_pipes.close(), vrrp_pipes.close());
            order.send_replace(Stage::Closing);
            drop((scripts, mail, tasks));
            idle.recv().await;
        };
        if tokio::time::timeout(within, orderly).await.is_err() {
            tracing::warn!("notifications were still under way after {within:?}; they are cut off");
            order.send_replace(Stage::Over);
            idle.recv().await;
        }
    }

    /// Whether another entry of the same group has said it already.
    fn is_known(&self, subject: &Subject, news: &News) -> bool {
        let (service, up) = match news {
            News::Real { group: Some(_), service, up, .. }
            | News::Quorum { group: Some(_), service, up, .. } => (*service, *up),
            _ => return false,
        };
        let mut told = self.told.lock().expect("no holder of this lock panics");
        match told.get(subject) {
            // The same entry again means it.
            Some((by, state)) if *state == up && *by != service => true,
            _ => {
                told.insert(subject.clone(), (service, up));
                false
            }
        }
    }
}

impl News {
    fn subject(&self) -> Subject {
        match self {
            News::Real { service, group, real, port, .. } => {
                Subject::Service(Service::of(*service, group.as_ref()), Some((*real, *port)))
            }
            News::Quorum { service, group, .. } => {
                Subject::Service(Service::of(*service, group.as_ref()), None)
            }
            News::Router { name, .. } | News::Priority { name, .. } => Subject::Router(name.clone()),
            News::Group { name, .. } => Subject::Group(name.clone()),
            News::LowerHeard { name, .. } => Subject::LowerHeard(name.clone()),
        }
    }

    /// The programs that are told; none: nobody ever is of that subject.
    fn programs(&self) -> Option<Item> {
        match self {
            News::Real { hooks, up, .. } | News::Quorum { hooks, up, .. } => {
                let command = if *up { &hooks.up } else { &hooks.down };
                let commands = command.iter().map(|command| (command.clone(), Vec::new())).collect();
                let anybody = hooks.up.is_some() || hooks.down.is_some();
                anybody.then_some(Item { state: name::state(*up), commands, is_last: false })
            }
            _ => vrrp::programs(self),
        }
    }
}

impl Service {
    fn of(key: ServiceKey, group: Option<&String>) -> Service {
        group.map_or(Service::Key(key), |group| Service::Group(group.clone()))
    }
}

/// Everything that something can be said of by several entries of a group.
fn subjects(model: &Model) -> HashSet<Subject> {
    let mut subjects = HashSet::new();
    for service in model.services.iter().filter(|service| service.group.is_some()) {
        let name = Service::of(service.key, service.group.as_ref());
        let port = service.key.ports.single().unwrap_or(0);
        let reals = service.reals.iter().map(|real| Some((real.address, port)));
        subjects.extend(reals.chain([None]).map(|real| Subject::Service(name.clone(), real)));
    }
    subjects
}

impl Tasks {
    /// Waits until the end has come that far.
    async fn reached(&self, stage: Stage) {
        // Nobody is left to order the end: that is the end.
        let _ = self.stage.clone().wait_for(|now| *now >= stage).await;
    }
}

//! VRRP has a thread of its own: nothing else of shunt runs on it, so that no health check, script, mail, reload or worker
//! delays an advert. This is the way to it.
//!
//! *Invariants*
//! - no call here waits, but for [`VrrpThread::start`] (for the sockets of the kernel) and [`VrrpThread::stop`];
//! - however the thread ends, [`Event::Died`] is sent unless it was told to, and its addresses are taken off, but for a
//!   program that is killed or aborts: the next start removes what that left.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SendError;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::clock::first_in_line;
use super::driver::Driver;
use super::holder::Holder;
use super::track::Results;
use super::view::View;
use super::{Cause, State};
use crate::model::Vrrp;
use crate::netlink::Error;
use crate::rights;

/// The thread's name.
pub const NAME: &str = "shunt-vrrp";
/// Longest that a stop takes: a node that goes must not be held up by a kernel that does not answer.
const STOP: Duration = Duration::from_secs(2);

/// The thread. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct VrrpThread {
    commands: UnboundedSender<Command>,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
    view: Arc<Mutex<Arc<View>>>,
}

/// What the supervisor must tell beside the configuration. Nothing yet.
#[derive(Debug, Clone, Default)]
pub struct Facts {}

/// What the thread tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A router changed its state; its addresses are on their interfaces, or off them, already.
    Changed {
        /// Its name.
        router: String,
        /// What it was.
        from: State,
        /// What it is.
        to: State,
        /// Why.
        cause: Cause,
        /// Its priority in force.
        priority: u8,
    },
    /// All members of a group have come to one state.
    GroupChanged {
        /// Its name.
        group: String,
        /// The state.
        to: State,
    },
    /// The priority in force of a router changed.
    PriorityChanged {
        /// Its name.
        router: String,
        /// Its state.
        state: State,
        /// What it was.
        from: u8,
        /// What it is.
        to: u8,
    },
    /// As Active, a router heard a lower priority.
    LowerHeard {
        /// Its name.
        router: String,
        /// From whom.
        source: IpAddr,
        /// Its own priority in force.
        own: u8,
        /// Which.
        priority: u8,
    },
    /// Frames to a virtual MAC are for this node from now on, or are not any more.
    Vmac {
        /// Index of the interface below the virtual MAC's.
        interface: u32,
        /// The virtual MAC.
        mac: [u8; 6],
        /// They are.
        active: bool,
    },
    /// The thread ended by a fault of its own; why. A director without it must not go on.
    Died(String),
}

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    Configure(Arc<Vrrp>),
    Track(Results),
    AllowPreempt(bool),
    Announce(Option<String>),
    Stop,
}

/// How the thread tells.
pub(super) type Tell = Box<dyn Fn(Event) + Send>;

impl VrrpThread {
    /// Starts the thread in the network namespace of this one. It does nothing until it is configured.
    ///
    /// # Errors
    /// A socket of the kernel's cannot be opened (CAP_NET_RAW, CAP_NET_ADMIN), or a thread not be made.
    pub fn start<E>(events: UnboundedSender<E>) -> Result<VrrpThread, Error>
    where
        E: From<Event> + Send + 'static,
    {
        let (holder, reports) = Holder::start()?;
        let (commands, inbox) = unbounded_channel();
        let (end, ended) = oneshot::channel();
        let (begun, begin) = std::sync::mpsc::channel();
        let view = Arc::<Mutex<Arc<View>>>::default();
        let shown = Arc::clone(&view);
        let run = move || {
            let tell: Tell = {
                let events = events.clone();
                // Nobody listens any more: the addresses are held all the same.
                Box::new(move |event| drop(events.send(event.into())))
            };
            let work = AssertUnwindSafe(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    first_in_line();
                    rights::keep(rights::VRRP)?;
                    let driver = Driver::new(holder, shown, tell)?;
                    let _ = begun.send(Ok(()));
                    driver.run(inbox, reports).await
                })
            });
            match catch_unwind(work) {
                Ok(Ok(())) => {}
                Ok(Err(source)) => {
                    // Nobody waits for the beginning any more: it had begun.
                    if let Err(SendError(Err(error))) = begun.send(Err(failed(source))) {
                        drop(events.send(died(&error.to_string()).into()));
                    }
                }
                Err(panic) => drop(events.send(died(&words(&*panic)).into())),
            }
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name(NAME.into()).spawn(run).map_err(failed)?;
        match begin.recv() {
            Ok(begun) => begun?,
            Err(_) => return Err(failed(std::io::Error::other("it ended"))),
        }
        Ok(VrrpThread { commands, ended, thread, view })
    }

    /// Goes on with another configuration, or begins with the first.
    pub fn configure(&self, vrrp: Arc<Vrrp>, facts: Facts) {
        let Facts {} = facts;
        self.command(Command::Configure(vrrp));
    }

    /// Results of what is tracked.
    pub fn track(&self, tracks: Results) {
        self.command(Command::Track(tracks));
    }

    /// Whether it may take over from a lower priority.
    pub fn allow_preempt(&self, allowed: bool) {
        self.command(Command::AllowPreempt(allowed));
    }

    /// Announces the addresses of the router of this name, or of all, if active.
    pub fn announce(&self, router: Option<String>) {
        self.command(Command::Announce(router));
    }

    /// What there is to see.
    pub fn view(&self) -> Arc<View> {
        self.view.lock().expect("no holder of this lock panics").clone()
    }

    /// Gives up all that is active: adverts of priority 0, addresses off. Takes two seconds at most.
    pub async fn stop(self) {
        self.command(Command::Stop);
        match tokio::time::timeout(STOP, self.ended).await {
            // It has nothing to do any more but to end.
            Ok(_) => drop(self.thread.join()),
            Err(_) => tracing::error!(
                "the VRRP thread did not end within {} s; look for addresses that stay: ip address show proto {:#x}",
                STOP.as_secs(),
                super::holder::MARK
            ),
        }
    }

    fn command(&self, command: Command) {
        // It has died, and has said so.
        let _ = self.commands.send(command);
    }
}

pub(super) type Commands = UnboundedReceiver<Command>;

fn died(why: &str) -> Event {
    Event::Died(format!(
        "the VRRP thread ended: {why}; its addresses were taken off unless the log says that one stays (ip address show proto {:#x})",
        super::holder::MARK
    ))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

fn failed(source: std::io::Error) -> Error {
    Error { call: "start the VRRP thread".into(), source }
}

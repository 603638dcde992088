//! The loop of the VRRP thread: the clock first, then what has come in.
//!
//! *Invariants*
//! - whatever comes in, the clock is looked at after a bounded number of it, and nothing here waits for a lock of the
//!   kernel's that others hold ([`super::holder`] does);
//! - actions are done in order; what tells of addresses (announcements, news) waits until the holder has done them.

mod act;
mod show;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::clock::Clock;
use super::holder::{Holder, Report, Request};
use super::inbox::{Inbox, Packet};
use super::lateness::Histogram;
use super::routers::Routers;
use super::seat::{self, Place, Vmacs};
use super::thread::{Command, Commands, Tell};
use super::track::{Results, standings};
use super::view::View;
use super::wire::Wire;
use super::{Heard, Input, RouterId, Standing, State};
use crate::address::Address;
use crate::announce::{Announcer, Claim, Claims, Transmitter};
use crate::link::{self, Link};
use crate::model::{VirtualRouter, Vrrp};
use act::Waiting;

/// Packets that are read from a socket before the clock is looked at.
const AT_ONCE: usize = 512;
/// The view is this old at most.
const SHOWN: Duration = Duration::from_secs(1);
/// While packets come and nothing changes, it is renewed no more often than this.
const SHOWN_BUSY: Duration = Duration::from_millis(100);
/// Longest that the end waits for addresses to be taken off.
const FAREWELL: Duration = Duration::from_millis(1500);

/// All that the thread has.
pub(super) struct Driver {
    vrrp: Arc<Vrrp>,
    routers: Routers,
    inbox: Inbox,
    /// One for each router, in their order.
    own: Vec<Own>,
    results: Results,
    links: Arc<BTreeMap<u32, Link>>,
    addresses: Arc<Vec<Address>>,
    /// Sources of our own packets.
    sources: HashSet<IpAddr>,
    vmacs: Vmacs,
    /// By interface and family (IPv6).
    wires: BTreeMap<(String, bool), Wire>,
    announcer: Announcer,
    transmitter: Transmitter,
    claims: Claims,
    holder: Holder,
    /// The last ticket given to the holder, and the last that it has answered.
    ticket: u64,
    done: u64,
    deferred: VecDeque<Waiting>,
    /// Links, addresses or results have changed since standings were last made.
    dirty: bool,
    lateness: Histogram,
    view: Arc<Mutex<Arc<View>>>,
    shown: Option<Instant>,
    changed: bool,
    tell: Tell,
    stopping: Option<Instant>,
}

/// What the thread knows of a router beside what the core does.
#[derive(Debug, Default)]
struct Own {
    standing: Option<Standing>,
    /// Of the last IPv4 packet.
    id: u16,
    /// Of its last request to the holder.
    ticket: u64,
    holds: bool,
    /// Why its last advert could not be sent.
    unsent: Option<String>,
    worst: Duration,
    /// Key of its announcements: it outlives a reload, as the router does.
    key: u64,
    /// Somebody whose adverts are refused, and who is active all the same.
    deaf_to: Option<Shadow>,
}

/// An active director that this one, active too, cannot understand: a wrong password, another version.
#[derive(Debug, Clone, Copy)]
struct Shadow {
    source: IpAddr,
    since: Instant,
    last: Instant,
    /// Adverts of this router that had been refused before, and since then.
    before: u64,
    adverts: u64,
}

impl Driver {
    /// Must be called on the runtime of the thread.
    pub(super) fn new(holder: Holder, view: Arc<Mutex<Arc<View>>>, tell: Tell) -> io::Result<Driver> {
        let vrrp = Arc::<Vrrp>::default();
        Ok(Driver {
            routers: Routers::new(&vrrp, Instant::now()),
            inbox: Inbox::new(&vrrp),
            vrrp,
            own: Vec::new(),
            results: Results::default(),
            links: Arc::default(),
            addresses: Arc::default(),
            sources: HashSet::new(),
            vmacs: Vmacs::new(),
            wires: BTreeMap::new(),
            announcer: Announcer::new(),
            transmitter: Transmitter::open()?,
            claims: Claims::new(),
            holder,
            ticket: 0,
            done: 0,
            deferred: VecDeque::new(),
            dirty: false,
            lateness: Histogram::new(),
            view,
            shown: None,
            changed: true,
            tell,
            stopping: None,
        })
    }

    /// Runs until it is told to stop, or nobody is there any more who could tell it.
    pub(super) async fn run(
        mut self,
        mut commands: Commands,
        mut reports: UnboundedReceiver<Report>,
    ) -> io::Result<()> {
        let mut clock = Clock::new()?;
        loop {
            self.tick(Instant::now());
            if self.is_over(Instant::now()) {
                return Ok(());
            }
            clock.set(Instant::now(), self.deadline());
            tokio::select! {
                biased;
                () = clock.rung() => {}
                report = reports.recv() => {
                    let Some(report) = report else { return Err(io::Error::other("the thread that holds addresses ended")) };
                    self.reported(report)?;
                    for _ in 0..AT_ONCE {
                        let Ok(report) = reports.try_recv() else { break };
                        self.reported(report)?;
                    }
                }
                command = commands.recv(), if self.stopping.is_none() => {
                    self.commanded(command.unwrap_or(Command::Stop));
                }
                claim = self.claims.next() => self.claimed(claim),
                () = readable(&self.wires) => self.read(Instant::now()),
            }
        }
    }

    /// What time does.
    fn tick(&mut self, now: Instant) {
        if let Some(deadline) = self.routers.deadline()
            && deadline <= now
        {
            if self.would_take_over(now) {
                // Late ourselves, we must not take our own silence for that of others: what lies there came in time.
                self.read(deadline - Duration::from_nanos(1));
            }
            self.step(Instant::now(), Input::Tick);
        }
        if self.dirty {
            self.stand();
        }
        if self.announcer.deadline().is_some_and(|deadline| deadline <= now) {
            self.transmitter.send_due(now, &mut self.announcer);
        }
        self.show(Instant::now());
    }

    fn would_take_over(&self, now: Instant) -> bool {
        (0..self.own.len()).map(|n| self.routers.status(RouterId(n))).any(|status| {
            status.state == State::Backup && status.deadline.is_some_and(|deadline| deadline <= now)
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let shown = self.shown.map(|shown| shown + if self.changed { SHOWN_BUSY } else { SHOWN });
        [self.routers.deadline(), self.announcer.deadline(), shown, self.stopping].into_iter().flatten().min()
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(end) = self.stopping else { return false };
        if self.done < self.ticket && now >= end {
            tracing::error!(
                "the kernel has not taken all addresses off yet; look: ip address show proto {:#x}",
                super::holder::MARK
            );
        }
        self.done >= self.ticket || now >= end
    }

    fn commanded(&mut self, command: Command) {
        match command {
            Command::Configure(vrrp) => self.configure(vrrp),
            Command::Track(results) => {
                self.dirty |= self.results != results;
                self.results = results;
            }
            Command::AllowPreempt(allowed) => self.step(Instant::now(), Input::Preempt { allowed }),
            Command::Announce(None) => self.step(Instant::now(), Input::Announce { router: None }),
            Command::Announce(Some(name)) => match self.named(&name) {
                Some(router) => self.step(Instant::now(), Input::Announce { router: Some(router) }),
                None => tracing::warn!("there is no virtual router {name} to announce"),
            },
            Command::Stop => {
                self.stopping.get_or_insert_with(|| Instant::now() + FAREWELL);
                self.step(Instant::now(), Input::Stop);
            }
        }
    }

    fn configure(&mut self, vrrp: Arc<Vrrp>) {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.vrrp, Arc::clone(&vrrp));
        let changed = self.routers.set(now, &vrrp);
        // Those that went are not in the new configuration: their last actions are done in the old one.
        self.vrrp = Arc::clone(&before);
        self.act(changed.gone);
        self.vrrp = Arc::clone(&vrrp);
        self.inbox.set(&vrrp);
        // As the core tells who stays: one that begins anew must be told its standing anew.
        let mut own: HashMap<_, Own> =
            before.routers.iter().map(VirtualRouter::identity).zip(self.own.drain(..)).collect();
        let keys = own.values().map(|own| own.key).max().unwrap_or(0) + 1..;
        self.own = vrrp
            .routers
            .iter()
            .zip(keys)
            .map(|(router, key)| own.remove(&router.identity()).unwrap_or(Own { key, ..Own::default() }))
            .collect();
        for gone in own.values() {
            self.announcer.hush(gone.key);
        }
        self.holder.ask(Request::Configure(Arc::clone(&vrrp)));
        self.holder.ask(Request::Sweep(self.not_active()));
        self.act(changed.actions);
        self.listen_for_claims();
        (self.dirty, self.changed) = (true, true);
    }

    /// Routers whose addresses must not be there. Those of an owner are the host's own.
    fn not_active(&self) -> Vec<(String, Vec<Place>)> {
        let routers = self.vrrp.routers.iter().enumerate();
        routers
            .filter(|(n, router)| {
                router.priority < 255 && self.routers.status(RouterId(*n)).state != State::Active
            })
            .map(|(_, router)| (router.name.clone(), seat::places(router, &self.vmacs)))
            .collect()
    }

    fn reported(&mut self, report: Report) -> io::Result<()> {
        match report {
            Report::Links(links, events) => {
                self.links = links;
                self.listen_for_claims();
                self.stand();
                self.come_back(&events);
            }
            Report::Addresses(addresses) => {
                self.sources = addresses.iter().map(|address| address.address).collect();
                self.addresses = addresses;
                self.dirty = true;
            }
            Report::Vmacs(vmacs) => {
                self.vmacs = vmacs;
                self.listen_for_claims();
                self.dirty = true;
            }
            Report::Closed(port) => {
                if let Some(wire) = self.wires.remove(&(port.interface, port.ipv6)) {
                    self.holder.ask(Request::Close(wire.into_socket()));
                }
                self.dirty = true;
            }
            Report::Opened(opened) => {
                let wire = Wire::new(opened)?;
                let place = (wire.port().interface.clone(), wire.port().ipv6);
                if let Some(before) = self.wires.insert(place, wire) {
                    self.holder.ask(Request::Close(before.into_socket()));
                }
                self.dirty = true;
            }
            Report::Done(ticket) => {
                self.done = ticket;
                // Addresses are there, or gone: who looks now must see it.
                self.shown = None;
                self.do_deferred();
            }
            Report::Lost { router, address } => {
                if let Some(router) = self.named(&router) {
                    self.step(Instant::now(), Input::AddressLost { router, address });
                }
            }
        }
        Ok(())
    }

    /// Routers that are active through it all announce when their link is back: the others have forgotten them, and the
    /// kernel has taken addresses of IPv6 off.
    fn come_back(&mut self, events: &[link::Event]) {
        let back = |name: &str| {
            events.iter().any(|event| {
                event.link.name == name
                    && event.link.usable()
                    && matches!(
                        event.change,
                        link::Change::Up | link::Change::Appeared | link::Change::Mac { .. }
                    )
            })
        };
        for (n, router) in Arc::clone(&self.vrrp).routers.iter().enumerate() {
            let touched = back(&router.interface)
                || seat::places(router, &self.vmacs).iter().any(|place| back(&place.interface));
            if touched && self.routers.status(RouterId(n)).state == State::Active {
                self.hold(RouterId(n));
                self.step(Instant::now(), Input::Announce { router: Some(RouterId(n)) });
            }
        }
    }

    /// Tells the routers what they may be now.
    fn stand(&mut self) {
        self.dirty = false;
        let standings = standings(&self.vrrp, &self.results, &self.links, &self.addresses);
        for (n, standing) in standings.into_iter().enumerate() {
            let Some(mut standing) = standing else { continue };
            if !self.has_wire(n) {
                // Sockets are on their way when it begins.
                if self.own[n].standing.is_none() && standing.fault.is_none() {
                    continue;
                }
                let interface = &self.vrrp.routers[n].interface;
                standing.fault.get_or_insert_with(|| format!("no socket for adverts on {interface}"));
            }
            if self.own[n].standing.as_ref() != Some(&standing) {
                self.own[n].standing = Some(standing.clone());
                self.step(Instant::now(), Input::Standing { router: RouterId(n), standing });
            }
        }
    }

    /// Whether its adverts can come in and leave.
    fn has_wire(&self, router: usize) -> bool {
        let router = &self.vrrp.routers[router];
        [Some(router.interface.clone()), seat::transmits_by(router, &self.vmacs)]
            .into_iter()
            .all(|interface| interface.is_some_and(|name| self.wires.contains_key(&(name, router.ipv6))))
    }

    /// Listens for claims of all addresses, whoever is active: to begin and to cease to listen waits for the kernel.
    fn listen_for_claims(&mut self) {
        let index = |name: &str| self.links.values().find(|link| link.name == name).map(|link| link.index);
        let mut wanted: HashMap<u32, HashSet<IpAddr>> = HashMap::new();
        for place in self.vrrp.routers.iter().flat_map(|router| seat::places(router, &self.vmacs)) {
            if let Some(index) = index(&place.interface) {
                wanted.entry(index).or_default().insert(place.address);
            }
        }
        let own = self.links.values().map(|link| link.mac).collect();
        for (index, error) in self.claims.watch(wanted, own) {
            tracing::warn!(%error, "cannot hear on interface {index} whether somebody else claims a virtual address");
        }
    }

    /// Somebody says that an address is his.
    fn claimed(&mut self, claim: Claim) {
        let vrrp = Arc::clone(&self.vrrp);
        for (n, router) in vrrp.routers.iter().enumerate() {
            let active = self.routers.status(RouterId(n)).state == State::Active;
            if active && router.all_addresses().any(|address| address.address == claim.address) {
                let [a, b, c, d, e, f] = claim.mac;
                tracing::warn!(
                    "({}) {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} says that it has {}; announcing it again. Either two are active (look at adverts: shunt show vrrp), or a host has the address as its own",
                    router.name,
                    claim.address
                );
                self.step(Instant::now(), Input::Announce { router: Some(RouterId(n)) });
            }
        }
    }

    /// Reads packets that have come by `now`, a bounded number from each socket.
    fn read(&mut self, now: Instant) {
        let Driver { vrrp, vmacs, wires, inbox, sources, .. } = self;
        let mut heard: Vec<(RouterId, Heard)> = Vec::new();
        for wire in wires.values_mut() {
            wire.read(AT_ONCE, |interface, arrived| {
                let Some(interface) = seat::comes_in_by(vrrp, vmacs, interface, &arrived) else { return };
                let packet = Packet {
                    interface,
                    source: arrived.source,
                    destination: arrived.destination,
                    ttl: arrived.ttl,
                    options: arrived.options,
                    message: arrived.message,
                };
                let read = inbox.read(now, &packet, sources.contains(&arrived.source));
                heard.extend(read.heard);
                if let Some((level, text)) = read.say {
                    act::say(level, &text);
                }
            });
        }
        self.changed = true;
        for (router, advert) in heard {
            self.step(now, Input::Advert { router, advert });
        }
    }

    fn named(&self, name: &str) -> Option<RouterId> {
        self.vrrp.routers.iter().position(|router| router.name == name).map(RouterId)
    }
}

/// Waits until a socket may have packets.
async fn readable(wires: &BTreeMap<(String, bool), Wire>) {
    poll_fn(|context| {
        // All are asked, so that each wakes us.
        let ready = wires.values().filter(|wire| wire.poll_readable(context).is_ready()).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

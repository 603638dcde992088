//! Does what the core wants done.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Driver, Request};
use crate::announce::{Plan, Target, burst_sentence};
use crate::model::{Peers, VirtualRouter};
use crate::vrrp::thread::Event;
use crate::vrrp::wire::Envelope;
use crate::vrrp::{Action, Burst, Input, Level, RouterId, State, packet, seat, vmac};

/// TTL of adverts to a group (RFC 9568 section 5.1.1.3).
const TTL: u8 = 255;

/// Something that waits for the holder.
#[derive(Debug)]
pub(super) struct Waiting {
    ticket: u64,
    /// The key of the router's announcements, if it is one.
    key: u64,
    what: Deferred,
}

/// What waits.
#[derive(Debug)]
pub(super) enum Deferred {
    Announce { router: String, burst: Burst },
    Tell(Event),
}

impl Driver {
    /// Tells the core, and does what it wants.
    pub(super) fn step(&mut self, now: Instant, input: Input) {
        let late: Vec<Option<Instant>> = (0..self.own.len())
            .map(|n| self.routers.status(RouterId(n)).deadline.filter(|deadline| *deadline <= now))
            .collect();
        let actions = self.routers.step(now, input);
        self.do_all(actions, &late);
    }

    /// Does what the core wants, that no deadline asked for.
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        self.do_all(actions, &[]);
    }

    fn do_all(&mut self, actions: Vec<Action>, late: &[Option<Instant>]) {
        for action in actions {
            match action {
                Action::Send { router, priority, interval } => {
                    if self.advertise(router, priority, interval)
                        && let Some(deadline) = late.get(router.0).copied().flatten()
                    {
                        let lateness = deadline.elapsed();
                        self.lateness.record(lateness);
                        self.own[router.0].worst = self.own[router.0].worst.max(lateness);
                    }
                }
                Action::Hold { router } => self.hold(router),
                Action::Release { router } => self.release(router),
                Action::Announce { router, burst } => {
                    let what = Deferred::Announce { router: self.router(router).name.clone(), burst };
                    self.defer(self.own[router.0].ticket, self.own[router.0].key, what);
                }
                Action::Hush { router } => {
                    let key = self.own[router.0].key;
                    self.announcer.hush(key);
                    self.deferred.retain(|waiting| {
                        waiting.key != key || !matches!(waiting.what, Deferred::Announce { .. })
                    });
                }
                Action::Changed { router, from, to, cause } => {
                    self.changed = true;
                    self.shown = None;
                    let (ticket, key) = (self.own[router.0].ticket, self.own[router.0].key);
                    self.tell_of_vmac(router, from, to);
                    let name = self.router(router).name.clone();
                    let priority = self.own[router.0]
                        .standing
                        .as_ref()
                        .map_or(self.router(router).priority, |standing| standing.priority);
                    let event = Event::Changed { router: name, from, to, cause, priority };
                    self.defer(ticket, key, Deferred::Tell(event));
                }
                Action::GroupChanged { group, to } => {
                    let event = Event::GroupChanged { group: self.vrrp.groups[group].name.clone(), to };
                    self.defer(self.ticket, 0, Deferred::Tell(event));
                }
                Action::PriorityChanged { router, from, to } => {
                    let state = self.routers.status(router).state;
                    let router = self.router(router).name.clone();
                    (self.tell)(Event::PriorityChanged { router, state, from, to });
                }
                Action::LowerHeard { router, source, priority } => {
                    let own = self.routers.status(router).priority;
                    let router = self.router(router).name.clone();
                    (self.tell)(Event::LowerHeard { router, source, own, priority });
                }
                Action::Say { level, text } => say(level, &text),
            }
        }
    }

    fn router(&self, router: RouterId) -> &VirtualRouter {
        &self.vrrp.routers[router.0]
    }

    /// Whether it was sent.
    fn advertise(&mut self, id: RouterId, priority: u8, interval: Duration) -> bool {
        let router = &self.vrrp.routers[id.0];
        let own = &mut self.own[id.0];
        let wire =
            seat::transmits_by(router, &self.vmacs).and_then(|name| self.wires.get(&(name, router.ipv6)));
        let source = own.standing.as_ref().and_then(|standing| standing.source).or(router.source);
        let sent = match (wire, source) {
            (Some(wire), Some(source)) => {
                let mut send = |destination: IpAddr, ttl: u8| {
                    let message = packet::encode(router, priority, interval, source, destination);
                    // 0 would let the kernel choose.
                    own.id = own.id.checked_add(1).unwrap_or(1);
                    wire.send(&Envelope { source, destination, ttl, id: own.id }, &message)
                };
                match &router.peers {
                    Peers::Multicast { group } => send(*group, TTL),
                    Peers::Unicast { peers, ttl, .. } => {
                        // One that cannot be reached must not keep it from the others.
                        let sent: Vec<io::Result<()>> =
                            peers.iter().map(|peer| send(peer.address, *ttl)).collect();
                        sent.into_iter().collect()
                    }
                }
            }
            (None, _) => Err(io::Error::other("it has no socket yet")),
            (_, None) => Err(io::Error::other("the interface has no address to send from")),
        };
        let trouble = sent.err().map(|error| error.to_string());
        if trouble != own.unsent {
            match &trouble {
                Some(why) => tracing::warn!(
                    "({}) no advert sent on {}: {why}; look at its addresses and routes: the others will take over",
                    router.name,
                    router.interface
                ),
                None => tracing::info!("({}) adverts are sent again", router.name),
            }
            own.unsent = trouble;
        }
        own.unsent.is_none()
    }

    /// Has the holder hold all addresses of a router.
    pub(super) fn hold(&mut self, id: RouterId) {
        self.ticket += 1;
        self.own[id.0].ticket = self.ticket;
        self.own[id.0].holds = true;
        let router = self.router(id);
        let (name, places) = (router.name.clone(), seat::places(router, &self.vmacs));
        self.holder.ask(Request::Hold { router: name, places, ticket: self.ticket });
    }

    fn release(&mut self, id: RouterId) {
        self.ticket += 1;
        self.own[id.0].ticket = self.ticket;
        self.own[id.0].holds = false;
        let router = self.router(id).name.clone();
        self.holder.ask(Request::Release { router, ticket: self.ticket });
    }

    fn defer(&mut self, ticket: u64, key: u64, what: Deferred) {
        if ticket <= self.done {
            return self.do_one(what);
        }
        self.deferred.push_back(Waiting { ticket, key, what });
    }

    /// Does what waited for what is done now, in order.
    pub(super) fn do_deferred(&mut self) {
        for waiting in std::mem::take(&mut self.deferred) {
            match waiting.ticket <= self.done {
                true => self.do_one(waiting.what),
                false => self.deferred.push_back(waiting),
            }
        }
    }

    fn do_one(&mut self, what: Deferred) {
        match what {
            Deferred::Tell(event) => (self.tell)(event),
            Deferred::Announce { router, burst } => {
                // It may have gone by a reload meanwhile.
                if let Some(id) = self.named(&router) {
                    self.announce(id, burst);
                }
            }
        }
    }

    fn announce(&mut self, id: RouterId, burst: Burst) {
        let router = &self.vrrp.routers[id.0];
        let targets: Vec<Target> = seat::places(router, &self.vmacs)
            .into_iter()
            .filter_map(|place| {
                let link = self.links.values().find(|link| link.name == place.interface)?;
                let interface_name = place.interface;
                Some(Target { interface: link.index, mac: link.mac, address: place.address, interface_name })
            })
            .collect();
        let mut plan = Plan::of(&router.announce, burst);
        plan.router_flag =
            targets.iter().any(|target| target.address.is_ipv6() && forwards(&target.interface_name));
        if plan.first > 0 {
            for target in &targets {
                tracing::info!("{}", burst_sentence(&router.name, target));
            }
        }
        self.announcer.announce(Instant::now(), self.own[id.0].key, targets, &plan);
    }

    /// The dataplane must take frames to a virtual MAC while its router is active.
    fn tell_of_vmac(&self, id: RouterId, from: State, to: State) {
        let router = self.router(id);
        if router.vmac.is_none() || (from == State::Active) == (to == State::Active) {
            return;
        }
        if let Some(base) = self.links.values().find(|link| link.name == router.interface) {
            let (mac, active) = (vmac::mac(router), to == State::Active);
            (self.tell)(Event::Vmac { interface: base.index, mac, active });
        }
    }
}

/// Logs it.
pub(super) fn say(level: Level, text: &str) {
    match level {
        Level::Info => tracing::info!("{text}"),
        Level::Warn => tracing::warn!("{text}"),
    }
}

/// Whether the host forwards IPv6 from an interface: then it says that it is a router (RFC 4861 section 4.4).
fn forwards(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

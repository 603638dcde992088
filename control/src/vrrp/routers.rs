//! All virtual routers of this director: inputs in, actions out, no clock and no socket of its own.
//!
//! *Invariants*
//! - after each step every sync group is together (see [`super::group`]);
//! - the same inputs at the same times give the same actions;
//! - an advert sets off no timer: a director that was held up hears what is waiting in its socket, and only then
//!   believes that nobody is there. So whoever drives this hands in what it has received before [`Input::Tick`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::group::Group;
use super::machine::{Machine, Moment};
use super::step::{Action, Cause, Input, RouterId, State};
use crate::model::{VirtualRouter, Vrrp};

/// All virtual routers and their groups.
#[derive(Debug)]
pub struct Routers {
    machines: Vec<Machine>,
    groups: Vec<Group>,
    /// Place of each router's group in `groups`.
    group_of: Vec<usize>,
    startup: Instant,
    preempt: bool,
    stopped: bool,
}

/// A virtual router as it is, for show and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What it is.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Effective priority, 1..=255.
    pub priority: u8,
    /// Why it is in Fault.
    pub fault: Option<String>,
    /// Not being active itself: the active router that was heard last, its priority, and when.
    pub active: Option<(IpAddr, u8, Instant)>,
    /// The interval in force: that of the active router if it was learned.
    pub interval: Duration,
    /// Active: when the next advert is due. Backup: when it takes over; none there: it would, and waits for its group.
    pub deadline: Option<Instant>,
    /// Changes of state.
    pub transitions: u64,
    /// Adverts that were to be sent, with those of priority 0; one for all peers.
    pub adverts_sent: u64,
    /// Of these, those of priority 0.
    pub priority_zero_sent: u64,
    /// Adverts of priority 0 heard.
    pub priority_zero_received: u64,
    /// While Active: somebody else is too.
    pub rival: Option<Rival>,
    /// How often that began.
    pub rivals: u64,
    /// From what to what it changed last, and why.
    pub last_change: Option<(State, State, Cause)>,
}

/// Somebody who is active at the same time as this director, and ought to yield.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Who sent the last such advert.
    pub source: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When the first came.
    pub since: Instant,
    /// When the last came.
    pub last: Instant,
    /// How many.
    pub adverts: u64,
}

/// What another configuration asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Of routers that went, by their ids of before: to be done first.
    pub gone: Vec<Action>,
    /// Of those that stay, by their new ids. [`Action::Hold`] means: these addresses and no others.
    pub actions: Vec<Action>,
}

impl Routers {
    /// Routers that have not begun: each does with its first [`Input::Standing`], members of a group with that of the last
    /// of them.
    pub fn new(vrrp: &Vrrp, now: Instant) -> Routers {
        let mut routers = Routers {
            machines: Vec::new(),
            groups: Vec::new(),
            group_of: Vec::new(),
            startup: now + vrrp.startup_delay,
            preempt: true,
            stopped: false,
        };
        routers.set(now, vrrp);
        routers
    }

    /// Takes an input, and then sets off what timers are due (but for adverts: see above).
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        if self.stopped {
            return out;
        }
        let moment = self.moment(now);
        match input {
            Input::Advert { router, advert } => {
                let (first, before) = (router.0, out.len());
                if self.machines[first].advert(moment, &advert, &mut out) {
                    self.group(first).follow(moment, false, &mut out);
                } else if out[before..].iter().any(|action| matches!(action, Action::LowerHeard { .. })) {
                    self.announce_others(first, &mut out);
                }
                return out;
            }
            Input::Standing { router, standing } => {
                self.machines[router.0].stand(moment, standing, &mut out);
                self.group(router.0).settle(moment, &mut out);
            }
            Input::Tick => {}
            Input::AddressLost { router, address } => {
                if self.machines[router.0].address_lost(address, &mut out) {
                    self.machines[router.0].give_up(moment, Cause::AddressLost(address), &mut out);
                    self.group(router.0).follow(moment, true, &mut out);
                }
            }
            Input::Announce { router } => {
                let all = self.machines.iter().enumerate();
                all.filter(|(n, _)| router.is_none_or(|router| router.0 == *n))
                    .for_each(|(_, machine)| machine.announce(&mut out));
            }
            Input::Preempt { allowed } => {
                self.preempt = allowed;
                let moment = self.moment(now);
                if allowed {
                    self.machines.iter_mut().for_each(|machine| machine.preempt_allowed(moment));
                }
            }
            Input::Stop => {
                self.stopped = true;
                self.machines.iter_mut().for_each(|machine| machine.stop(now, &mut out));
                self.groups.iter_mut().for_each(|group| group.tell(&self.machines, &mut out));
                return out;
            }
        }
        self.due(now, &mut out);
        out
    }

    /// When [`Input::Tick`] is due next; none: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.machines.iter().filter_map(|machine| machine.status.deadline).min()
    }

    /// Goes on with another configuration. Routers of the same name, interface, family and VRID keep their state and their
    /// timers; the others of before give up, and new ones have not begun. `startup_delay` is for the start alone.
    pub fn set(&mut self, now: Instant, vrrp: &Vrrp) -> Changed {
        let mut changed = Changed::default();
        if self.stopped {
            return changed;
        }
        let moment = self.moment(now);
        let mut before: Vec<Option<Machine>> =
            std::mem::take(&mut self.machines).into_iter().map(Some).collect();
        let stays = |router: &VirtualRouter, before: &mut Vec<Option<Machine>>| {
            let same = |machine: &Machine| machine.router.identity() == router.identity();
            before.iter_mut().find_map(|machine| machine.take_if(|machine| same(machine)))
        };
        let stay: Vec<Option<Machine>> =
            vrrp.routers.iter().map(|router| stays(router, &mut before)).collect();
        for machine in before.iter_mut().flatten() {
            machine.stop(now, &mut changed.gone);
        }
        for (n, (router, stays)) in vrrp.routers.iter().zip(stay).enumerate() {
            let id = RouterId(n);
            self.machines.push(match stays {
                Some(mut machine) => {
                    machine.set(moment, id, router, &mut changed.actions);
                    machine
                }
                None => Machine::new(id, router, now),
            });
        }
        self.regroup(vrrp);
        for group in &mut self.groups {
            group.reconcile(moment, &mut self.machines, &mut changed.actions);
            group.settle(moment, &mut self.machines, group.members[0], &mut changed.actions);
        }
        changed
    }

    /// A router as it is.
    pub fn status(&self, router: RouterId) -> &Status {
        &self.machines[router.0].status
    }

    fn due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let moment = self.moment(now);
        for n in 0..self.machines.len() {
            let machine = &mut self.machines[n];
            if machine.status.deadline.is_some_and(|deadline| deadline <= now) {
                machine.due(moment, out);
                self.group(n).settle(moment, out);
            }
        }
    }

    fn announce_others(&self, first: usize, out: &mut Vec<Action>) {
        let members = self.groups[self.group_of[first]].members.iter();
        members
            .filter(|member| **member != first)
            .for_each(|member| self.machines[*member].announce_lower(out));
    }

    /// Groups of the configuration, and one for each router that is in none. What was told of a group of the same name is
    /// not told again.
    fn regroup(&mut self, vrrp: &Vrrp) {
        let before = std::mem::take(&mut self.groups);
        let told = |name: &str| {
            let same = before.iter().find(|group| group.named.as_ref().is_some_and(|(_, of)| of == name));
            same.and_then(|group| group.told)
        };
        self.group_of = vec![usize::MAX; self.machines.len()];
        for (place, group) in vrrp.groups.iter().enumerate() {
            let is_member = |n: &usize| group.members.contains(&vrrp.routers[*n].name);
            let members: Vec<usize> = (0..vrrp.routers.len()).filter(is_member).collect();
            if members.is_empty() {
                continue;
            }
            members.iter().for_each(|member| self.group_of[*member] = self.groups.len());
            let named = Some((place, group.name.clone()));
            self.groups.push(Group { named, members, told: told(&group.name) });
        }
        for n in 0..self.machines.len() {
            if self.group_of[n] == usize::MAX {
                self.group_of[n] = self.groups.len();
                self.groups.push(Group { named: None, members: vec![n], told: None });
            }
        }
    }

    fn group(&mut self, router: usize) -> Moved<'_> {
        Moved { group: &mut self.groups[self.group_of[router]], machines: &mut self.machines, first: router }
    }

    fn moment(&self, now: Instant) -> Moment {
        Moment { now, startup: self.startup, preempt: self.preempt }
    }
}

/// A group, and which of its members something happened to.
struct Moved<'a> {
    group: &'a mut Group,
    machines: &'a mut [Machine],
    first: usize,
}

impl Moved<'_> {
    fn settle(self, moment: Moment, out: &mut Vec<Action>) {
        self.group.settle(moment, self.machines, self.first, out);
    }

    fn follow(self, moment: Moment, stops: bool, out: &mut Vec<Action>) {
        self.group.follow(moment, self.machines, self.first, stops, out);
    }
}

impl Status {
    pub(super) fn new(router: &VirtualRouter, now: Instant) -> Status {
        Status {
            state: State::Initialize,
            since: now,
            priority: router.priority,
            fault: None,
            active: None,
            interval: router.interval,
            deadline: None,
            transitions: 0,
            adverts_sent: 0,
            priority_zero_sent: 0,
            priority_zero_received: 0,
            rival: None,
            rivals: 0,
            last_change: None,
        }
    }
}

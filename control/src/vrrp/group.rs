//! Virtual routers that move together. One that is in no sync group is a group of its own.
//!
//! *Invariants*, after each step:
//! - all members that have begun are in the same state;
//! - if any member must be in Fault all are; if one is Active all wanted to be, or owned their addresses.
//!
//! keepalived's `vrrp_sync.c` is the model, with one difference: a member that waits for the rest has no timer, as nothing
//! would come of its going off.

use super::machine::{Machine, Moment};
use super::step::{Action, Cause, Level, State};

/// Routers that move together.
#[derive(Debug)]
pub(super) struct Group {
    /// Place in [`crate::model::Vrrp::groups`] and name; none: a router by itself.
    pub(super) named: Option<(usize, String)>,
    /// Places of its routers.
    pub(super) members: Vec<usize>,
    /// What was last told of it.
    pub(super) told: Option<State>,
}

impl Group {
    /// Brings all members to one state after something happened to `first`.
    pub(super) fn settle(
        &mut self,
        moment: Moment,
        machines: &mut [Machine],
        first: usize,
        out: &mut Vec<Action>,
    ) {
        let faulty = self.members.iter().copied().find(|member| machines[*member].fault().is_some());
        if let Some(faulty) = faulty {
            self.fault(moment, machines, faulty, out);
        } else if self.members.iter().all(|member| machines[*member].begun()) {
            self.begin(moment, machines, first, out);
            self.take_over(moment, machines, first, out);
        }
        self.tell(machines, out);
    }

    /// A member gave up: so do all. `stops`: nobody is active yet, so that the others are told.
    pub(super) fn follow(
        &mut self,
        moment: Moment,
        machines: &mut [Machine],
        first: usize,
        stops: bool,
        out: &mut Vec<Action>,
    ) {
        self.say("BACKUP", out);
        for member in self.others(first) {
            let cause = Cause::Group { member: machines[first].router.name.clone() };
            let reduced = machines[first].is_reduced();
            let machine = &mut machines[member];
            if reduced {
                machine.reduce(moment, out);
            }
            match (machine.state(), stops) {
                (State::Active, true) => machine.give_up(moment, cause, out),
                (State::Active, false) => machine.backup(moment, cause, out),
                _ => {}
            }
        }
        self.tell(machines, out);
    }

    /// A group that was changed by a reload may have members of different states: whoever is Active is alone in it.
    pub(super) fn reconcile(&mut self, moment: Moment, machines: &mut [Machine], out: &mut Vec<Action>) {
        let listening =
            self.members.iter().copied().find(|member| machines[*member].state() == State::Backup);
        if let Some(listening) = listening
            && self.members.iter().any(|member| machines[*member].state() == State::Active)
        {
            self.follow(moment, machines, listening, true, out);
        }
    }

    pub(super) fn tell(&mut self, machines: &[Machine], out: &mut Vec<Action>) {
        let Some((group, _)) = self.named else { return };
        let mut states = self.members.iter().map(|member| machines[*member].state());
        let Some(state) = states.next().filter(|state| states.all(|other| other == *state)) else { return };
        if self.told.unwrap_or_default() != state {
            self.told = Some(state);
            out.push(Action::GroupChanged { group, to: state });
        }
    }

    fn fault(&self, moment: Moment, machines: &mut [Machine], faulty: usize, out: &mut Vec<Action>) {
        let mut said = self.members.iter().all(|member| machines[*member].state() == State::Fault);
        for member in std::iter::once(faulty).chain(self.others(faulty)) {
            let name = machines[faulty].router.name.clone();
            let machine = &mut machines[member];
            let own = machine.fault().map(|why| Cause::Fault(why.to_owned()));
            match machine.state() {
                // What it says of itself is kept up to date.
                State::Fault => {
                    machine.status.fault = own.map(|own| own.to_string()).or(machine.status.fault.take())
                }
                _ if !machine.begun() => {}
                _ => machine.fail(moment, own.unwrap_or(Cause::Group { member: name }), out),
            }
            if !said {
                said = true;
                self.say("FAULT", out);
            }
        }
    }

    /// Out of Initialize and Fault. RFC 9568 section 6.4.1: owners are active at once, others listen.
    fn begin(&self, moment: Moment, machines: &mut [Machine], first: usize, out: &mut Vec<Action>) {
        let waits = |machine: &Machine| matches!(machine.state(), State::Initialize | State::Fault);
        if !self.members.iter().any(|member| waits(&machines[*member])) {
            return;
        }
        let owners = self.members.iter().all(|member| machines[*member].owns());
        let at_once = owners && moment.preempt && moment.now >= moment.startup;
        let name = machines[first].router.name.clone();
        for member in std::iter::once(first).chain(self.others(first)) {
            let machine = &mut machines[member];
            let cause = match machine.state() {
                State::Initialize => Cause::Start,
                State::Fault if member == first => Cause::Recovered,
                State::Fault => Cause::Group { member: name.clone() },
                State::Backup | State::Active => continue,
            };
            match at_once {
                true => machine.active(moment, Cause::Owner, out),
                false => machine.backup(moment, cause, out),
            }
            if owners && moment.preempt {
                machine.preempt_allowed(moment);
            }
        }
    }

    /// RFC 9568 section 6.4.2 (405), once nobody is heard by any member.
    fn take_over(&self, moment: Moment, machines: &mut [Machine], first: usize, out: &mut Vec<Action>) {
        if !self.members.iter().all(|member| machines[*member].wants()) {
            return;
        }
        let name = machines[first].router.name.clone();
        let cause = match machines[first].stopped() {
            _ if machines[first].owns() => Cause::Owner,
            Some(source) => Cause::Stopped { source },
            None => Cause::Timeout,
        };
        machines[first].active(moment, cause, out);
        self.say("MASTER", out);
        for member in self.others(first) {
            machines[member].active(moment, Cause::Group { member: name.clone() }, out);
        }
    }

    fn others(&self, first: usize) -> impl Iterator<Item = usize> + use<'_> {
        self.members.iter().copied().filter(move |member| *member != first)
    }

    fn say(&self, state: &str, out: &mut Vec<Action>) {
        let Some((_, name)) = &self.named else { return };
        let text = format!("VRRP_Group({name}) Syncing instances to {state} state");
        out.push(Action::Say { level: Level::Info, text });
    }
}

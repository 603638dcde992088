//! One virtual router: states and timers.
//!
//! It decides by itself when it gives up, and when it would take over ([`Machine::wants`]); whether it may take over is for
//! its [`super::group`] to say, even if that is of one only.
//!
//! *Invariants*
//! - taking over: the advert, then the addresses, then the announcements: whoever is active removes its addresses before
//!   ours are announced;
//! - giving up: no announcement is left in the queue, then the addresses go, then it is told;
//! - there is a deadline in Active; in Backup unless it waits for its group; in no other state.
//!
//! RFC 9568 section 6.4 (RFC 3768's is the same but for names and the learned interval), and keepalived 2.2.7 where that
//! does more.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::routers::{Rival, Status};
use super::step::{Action, Burst, Cause, Heard, Level, RouterId, Standing, State};
use super::timing;
use crate::model::{Version, VirtualRouter};

/// The owner of the addresses.
const OWNER: u8 = 255;

/// A hundredth of the interval passes before an advert is answered by another: whoever sends many gets few answers.
const ANSWERS: u32 = 100;

/// Between two lines about a rival, or an advert that is ignored.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Who loses an address again within this leaves it to the others.
const LOST_AGAIN: Duration = Duration::from_secs(60);

/// A virtual router.
#[derive(Debug)]
pub(super) struct Machine {
    id: RouterId,
    pub(super) router: VirtualRouter,
    pub(super) status: Status,
    /// None: it has not begun.
    standing: Option<Standing>,
    /// Two owners: this one made itself less.
    reduced: bool,
    /// Nobody is heard, and it waits for the rest of its group.
    wants: bool,
    /// Who was active, and said that it stops.
    stopped: Option<IpAddr>,
    /// Until then a lower priority is let be (`preempt_delay`).
    preempt_from: Option<Instant>,
    /// What was said last about a lower priority: of whom, and when.
    said_lower: Option<(IpAddr, Instant)>,
    /// When an advert was last sent as the answer to one.
    answered: Option<Instant>,
    /// When an address was lost.
    lost: Option<Instant>,
}

/// What holds for all routers at a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// No timer of a Backup goes off before this (`vrrp_startup_delay`).
    pub(super) startup: Instant,
    /// A lower priority may be taken over from.
    pub(super) preempt: bool,
}

impl Machine {
    pub(super) fn new(id: RouterId, router: &VirtualRouter, now: Instant) -> Machine {
        Machine {
            id,
            router: router.clone(),
            status: Status::new(router, now),
            standing: None,
            reduced: false,
            wants: false,
            stopped: None,
            preempt_from: None,
            said_lower: None,
            answered: None,
            lost: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.status.state
    }

    pub(super) fn begun(&self) -> bool {
        self.standing.is_some()
    }

    /// Why it must be in Fault.
    pub(super) fn fault(&self) -> Option<&str> {
        self.standing.as_ref().and_then(|standing| standing.fault.as_deref())
    }

    /// It is in Backup, and would be Active but for its group.
    pub(super) fn wants(&self) -> bool {
        self.wants
    }

    /// Who was active last, if it said that it stops.
    pub(super) fn stopped(&self) -> Option<IpAddr> {
        self.stopped
    }

    /// The owner of the addresses, who need not listen first.
    pub(super) fn owns(&self) -> bool {
        self.status.priority == OWNER
    }

    /// Takes what it may be now; what follows for its state is for the group.
    pub(super) fn stand(&mut self, moment: Moment, standing: Standing, out: &mut Vec<Action>) {
        let known = self.begun();
        let mut priority = standing.priority.max(1);
        if priority != OWNER {
            self.reduced = false;
        } else if self.reduced {
            priority = OWNER - 1;
        }
        self.standing = Some(standing);
        match known {
            true => self.reprioritize(moment, priority, out),
            false => self.status.priority = priority,
        }
    }

    /// The priority in adverts is another from the next one on; the timer of a Backup moves by as much as its skew.
    fn reprioritize(&mut self, moment: Moment, to: u8, out: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.status.priority, to);
        if from == to {
            return;
        }
        self.say(Level::Info, format!("Changing effective priority from {from} to {to}"), out);
        out.push(Action::PriorityChanged { router: self.id, from, to });
        if let (State::Backup, Some(deadline)) = (self.state(), self.status.deadline) {
            let skew = |priority| timing::skew(self.router.version, priority, self.status.interval);
            let moved = (deadline + skew(to)).checked_sub(skew(from)).unwrap_or(moment.now);
            self.status.deadline = Some(moved.max(moment.startup));
        }
    }

    /// An advert that passed every check. True: it was Active, and gave up.
    pub(super) fn advert(&mut self, moment: Moment, advert: &Heard, out: &mut Vec<Action>) -> bool {
        if advert.priority == 0 {
            self.status.priority_zero_received += 1;
        }
        match self.state() {
            // Nothing is held against anybody, and nobody waited for.
            State::Initialize => {}
            State::Fault => self.note(moment, advert),
            State::Backup => self.advert_in_backup(moment, advert, out),
            State::Active => return self.advert_in_active(moment, advert, out),
        }
        false
    }

    /// RFC 9568 section 6.4.2, (430) to (475).
    fn advert_in_backup(&mut self, moment: Moment, advert: &Heard, out: &mut Vec<Action>) {
        self.note(moment, advert);
        // (435) It stops: in a moment somebody is to be active, the highest first. Saying so again does not put it off.
        if advert.priority == 0 {
            self.say(Level::Info, "Backup received priority 0 advertisement".to_owned(), out);
            self.stopped = Some(advert.source);
            let soon = self.after(moment, self.skew());
            self.status.deadline = Some(self.status.deadline.map_or(soon, |deadline| deadline.min(soon)));
            return;
        }
        let lower = advert.priority < self.status.priority;
        if lower && self.may_preempt(moment) {
            // (470) Discarded: the timer goes on, and when it ends this router takes over.
            if self.says_lower(moment.now, advert.source) {
                let Heard { source, priority, .. } = advert;
                let text = format!("received lower priority ({priority}) advert from {source} - discarding");
                self.say(Level::Info, text, out);
            }
            return;
        }
        // (445) It is obeyed; (450) its interval is learned.
        self.said_lower = None;
        self.learn(advert, out);
        self.delay_preemption(moment, lower, out);
        self.listen(moment);
    }

    /// RFC 9568 section 6.4.3, (700) to (790). True: it gave up.
    fn advert_in_active(&mut self, moment: Moment, advert: &Heard, out: &mut Vec<Action>) -> bool {
        let Heard { source, priority, .. } = *advert;
        // (705) The other one stops: the rest of the world is told at once who does not.
        if priority == 0 {
            self.say(Level::Info, "Master received priority 0 message".to_owned(), out);
            if self.may_answer(moment.now) {
                self.send(self.status.priority, out);
                self.status.deadline = Some(moment.now + self.router.interval);
            }
            return false;
        }
        let ours = self.standing.as_ref().and_then(|standing| standing.source);
        // (720) Equal priorities: the higher address, as unsigned numbers.
        let above = ours.is_some_and(|ours| source > ours);
        if priority == OWNER && self.status.priority == OWNER {
            self.two_owners(moment, source, above, out);
        }
        let mine = self.status.priority;
        if priority > mine || priority == mine && above {
            self.yields(moment, advert, out);
            return true;
        }
        // (750) A lower one: it missed us. RFC 5798 is silent; RFC 9568 and keepalived answer at once.
        self.rival(moment.now, advert);
        if self.says_lower(moment.now, source) {
            let answer = if self.router.lower_prio_no_advert { "" } else { ", forcing new election" };
            let text = match ours == Some(source) {
                true => "WARNING - equal priority advert received from remote host with our IP address."
                    .to_owned(),
                false => {
                    format!(
                        "Received advert from {source} with lower priority {priority}, ours {mine}{answer}"
                    )
                }
            };
            self.say(Level::Warn, text, out);
        }
        if self.may_answer(moment.now) {
            if !self.router.lower_prio_no_advert {
                self.send(mine, out);
                self.status.deadline = Some(moment.now + self.router.interval);
            }
            out.push(Action::Announce { router: self.id, burst: Burst::Lower });
            out.push(Action::LowerHeard { router: self.id, source, priority });
        }
        false
    }

    /// Both are configured with priority 255, which only one can rightly be. The one with the lower address gives in.
    fn two_owners(&mut self, moment: Moment, source: IpAddr, above: bool, out: &mut Vec<Action>) {
        let text = "CONFIGURATION ERROR: local instance and a remote instance are both configured as address owner, \
                    please fix";
        if !above {
            if self.says_lower(moment.now, source) {
                self.say(Level::Warn, format!("{text} - {source} has priority 255 too"), out);
            }
            return;
        }
        self.say(
            Level::Warn,
            format!("{text} - reducing local priority ({source} has the higher address)"),
            out,
        );
        self.reduce(moment, out);
    }

    /// Whether it was an owner, and found another.
    pub(super) fn is_reduced(&self) -> bool {
        self.reduced
    }

    /// An owner is one no longer. What a group yields with one member it must not take back with another.
    pub(super) fn reduce(&mut self, moment: Moment, out: &mut Vec<Action>) {
        if self.owns() {
            self.reduced = true;
            self.reprioritize(moment, OWNER - 1, out);
        }
    }

    /// RFC 9568 section 6.4.3, (725) to (745).
    fn yields(&mut self, moment: Moment, advert: &Heard, out: &mut Vec<Action>) {
        let Heard { source, priority, .. } = *advert;
        let mine = self.status.priority;
        if self.router.higher_prio_send_advert {
            self.send(mine, out);
        }
        let text = match priority > mine {
            true => {
                format!("Master received advert from {source} with higher priority {priority}, ours {mine}")
            }
            false => format!(
                "Master received advert from {source} with same priority {priority} but higher IP address than ours"
            ),
        };
        self.say(Level::Info, text, out);
        self.backup(moment, Cause::Higher { source, priority }, out);
        self.note(moment, advert);
        self.learn(advert, out);
        self.listen(moment);
    }

    /// Its timers. In Active it sends; in Backup it wants to be Active from now on, which is for the group.
    pub(super) fn due(&mut self, moment: Moment, out: &mut Vec<Action>) {
        let Some(deadline) = self.status.deadline.filter(|deadline| *deadline <= moment.now) else { return };
        match self.state() {
            // RFC 9568 section 6.4.3 (640).
            State::Active => {
                self.send(self.status.priority, out);
                self.forget_rival(moment.now, out);
                // By the clock of the deadlines: lateness does not add up. What was slept through is not made up for.
                let next = deadline + self.router.interval;
                self.status.deadline =
                    Some(if next > moment.now { next } else { moment.now + self.router.interval });
            }
            // RFC 9568 section 6.4.2 (405).
            State::Backup => {
                self.status.deadline = None;
                self.wants = true;
                self.say(Level::Info, "Receive advertisement timeout".to_owned(), out);
            }
            State::Initialize | State::Fault => unreachable!("deadlines are of Active and Backup"),
        }
    }

    /// RFC 9568 section 6.4.1 (110), section 6.4.2 (405): it takes over.
    pub(super) fn active(&mut self, moment: Moment, cause: Cause, out: &mut Vec<Action>) {
        // Its own interval again.
        if self.status.interval != self.router.interval {
            let (from, to) = (self.status.interval.as_millis(), self.router.interval.as_millis());
            self.status.interval = self.router.interval;
            self.say(
                Level::Info,
                format!("changing advert interval from {from}ms to locally configured {to}ms"),
                out,
            );
        }
        self.wants = false;
        self.preempt_from = None;
        self.said_lower = None;
        self.status.active = None;
        self.send(self.status.priority, out);
        self.status.deadline = Some(moment.now + self.router.interval);
        self.say(Level::Info, "Entering MASTER STATE".to_owned(), out);
        self.say(Level::Info, "setting VIPs.".to_owned(), out);
        out.push(Action::Hold { router: self.id });
        out.push(Action::Announce { router: self.id, burst: Burst::Full });
        self.change(moment.now, State::Active, cause, out);
    }

    /// It listens, from any other state. Who was Active and tells nobody so far has been told by a higher one.
    pub(super) fn backup(&mut self, moment: Moment, cause: Cause, out: &mut Vec<Action>) {
        match self.state() {
            State::Active => {
                self.say(Level::Info, "Entering BACKUP STATE".to_owned(), out);
                self.release(out);
            }
            State::Initialize => {
                self.begins(out);
                self.say(Level::Info, "Entering BACKUP STATE (init)".to_owned(), out);
                if self.router.begins_active && !self.owns() {
                    let down = self.active_down();
                    let text =
                        format!("state MASTER: active in {down:.3?} unless a higher priority is heard");
                    self.say(Level::Info, text, out);
                }
            }
            State::Fault | State::Backup => self.say(Level::Info, "Entering BACKUP STATE".to_owned(), out),
        }
        self.status.interval = self.router.interval;
        self.preempt_from = None;
        self.said_lower = None;
        self.status.rival = None;
        self.change(moment.now, State::Backup, cause, out);
        self.listen(moment);
    }

    /// It must not be active; whoever it was active for is told.
    pub(super) fn fail(&mut self, moment: Moment, cause: Cause, out: &mut Vec<Action>) {
        let init = self.state() == State::Initialize;
        if init {
            self.begins(out);
        }
        let text = format!("Entering FAULT STATE{}: {cause}", if init { " (init)" } else { "" });
        self.say(Level::Warn, text, out);
        if self.state() == State::Active {
            self.stop_adverts(out);
            self.release(out);
        }
        self.wants = false;
        self.status.deadline = None;
        self.status.rival = None;
        self.status.interval = self.router.interval;
        self.change(moment.now, State::Fault, cause, out);
    }

    /// Gives up for a moment because an address was taken from it, as keepalived does: others are told, and whoever has the
    /// highest priority, which may be this one, takes over after its skew. If that happens again soon it waits for longer.
    pub(super) fn give_up(&mut self, moment: Moment, cause: Cause, out: &mut Vec<Action>) {
        let again = self.lost.is_some_and(|lost| moment.now.duration_since(lost) < LOST_AGAIN);
        self.lost = Some(moment.now);
        self.stop_adverts(out);
        self.backup(moment, cause, out);
        if !again {
            self.status.deadline = Some(self.after(moment, self.skew()));
        }
    }

    /// RFC 9568 section 6.4.2 (410), section 6.4.3 (610): the end.
    pub(super) fn stop(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.state() == State::Active {
            self.stop_adverts(out);
            self.release(out);
        }
        self.wants = false;
        self.standing = None;
        self.status.deadline = None;
        self.status.rival = None;
        if self.state() != State::Initialize {
            self.change(now, State::Initialize, Cause::Stop, out);
        }
    }

    /// Somebody removed one of its addresses. True: it must give up.
    pub(super) fn address_lost(&self, address: IpAddr, out: &mut Vec<Action>) -> bool {
        let lost = self.router.all_addresses().find(|held| held.address == address);
        let Some(lost) = lost.filter(|_| self.state() == State::Active) else { return false };
        let what = if lost.no_track { "added again" } else { "giving up for a moment" };
        self.say(Level::Warn, format!("{address} was removed by somebody: {what}"), out);
        if lost.no_track {
            out.push(Action::Hold { router: self.id });
            out.push(Action::Announce { router: self.id, burst: Burst::Full });
        }
        !lost.no_track
    }

    pub(super) fn announce(&self, out: &mut Vec<Action>) {
        if self.state() == State::Active {
            out.push(Action::Announce { router: self.id, burst: Burst::Full });
        }
    }

    /// After a lower priority was heard by another member of its group: its own neighbours may have been misled too.
    pub(super) fn announce_lower(&self, out: &mut Vec<Action>) {
        if self.state() == State::Active {
            out.push(Action::Announce { router: self.id, burst: Burst::Lower });
        }
    }

    /// What was kept from it has come: an owner need not listen any longer.
    pub(super) fn preempt_allowed(&mut self, moment: Moment) {
        if self.state() == State::Backup && self.owns() && !self.wants {
            self.status.deadline = Some(self.after(moment, Duration::ZERO));
        }
    }

    /// Goes on as another configuration says, without a change of its state.
    pub(super) fn set(
        &mut self,
        moment: Moment,
        id: RouterId,
        router: &VirtualRouter,
        out: &mut Vec<Action>,
    ) {
        self.id = id;
        let before = std::mem::replace(&mut self.router, router.clone());
        if before.interval != router.interval || before.version != router.version {
            self.status.interval = router.interval;
            match self.state() {
                State::Active => {
                    let next = moment.now + router.interval;
                    self.status.deadline = self.status.deadline.map(|deadline| deadline.min(next));
                }
                State::Backup if !self.wants => self.listen(moment),
                State::Backup | State::Initialize | State::Fault => {}
            }
        }
        let moved = before.vmac != router.vmac || !before.all_addresses().eq(router.all_addresses());
        if self.state() == State::Active && moved {
            out.push(Action::Hold { router: self.id });
            out.push(Action::Announce { router: self.id, burst: Burst::Full });
        }
    }

    /// Addresses of an earlier life are not ours.
    fn begins(&self, out: &mut Vec<Action>) {
        self.say(Level::Info, "removing VIPs.".to_owned(), out);
        out.push(Action::Release { router: self.id });
    }

    fn release(&self, out: &mut Vec<Action>) {
        out.push(Action::Hush { router: self.id });
        self.say(Level::Info, "removing VIPs.".to_owned(), out);
        out.push(Action::Release { router: self.id });
    }

    fn stop_adverts(&mut self, out: &mut Vec<Action>) {
        self.send(0, out);
        self.status.priority_zero_sent += 1;
        self.say(Level::Info, "sent 0 priority".to_owned(), out);
    }

    fn send(&mut self, priority: u8, out: &mut Vec<Action>) {
        self.status.adverts_sent += 1;
        out.push(Action::Send { router: self.id, priority, interval: self.router.interval });
    }

    fn change(&mut self, now: Instant, to: State, cause: Cause, out: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.status.state, to);
        self.status.fault = match (to, &cause) {
            (State::Fault, cause) => Some(cause.to_string()),
            _ => None,
        };
        self.status.since = now;
        self.status.transitions += 1;
        self.status.last_change = Some((from, to, cause.clone()));
        out.push(Action::Changed { router: self.id, from, to, cause });
    }

    /// Who is active, as far as adverts tell.
    fn note(&mut self, moment: Moment, advert: &Heard) {
        self.status.active = match advert.priority {
            0 => None,
            priority => Some((advert.source, priority, moment.now)),
        };
    }

    /// RFC 9568 section 6.4.2 (450): in version 3 the interval of the active router is everybody's.
    fn learn(&mut self, advert: &Heard, out: &mut Vec<Action>) {
        if self.router.version == Version::V2 || advert.interval == self.status.interval {
            return;
        }
        let (from, to) = (self.status.interval.as_millis(), advert.interval.as_millis());
        self.status.interval = advert.interval;
        self.say(
            Level::Info,
            format!("advertisement interval updated from {from}ms to {to}ms by master"),
            out,
        );
    }

    /// Waits for the active router from now on.
    fn listen(&mut self, moment: Moment) {
        self.wants = false;
        self.stopped = None;
        self.status.deadline = Some(self.after(moment, self.active_down()));
    }

    fn after(&self, moment: Moment, wait: Duration) -> Instant {
        moment.now.max(moment.startup) + wait
    }

    fn skew(&self) -> Duration {
        timing::skew(self.router.version, self.status.priority, self.status.interval)
    }

    fn active_down(&self) -> Duration {
        let (version, interval) = (self.router.version, self.status.interval);
        timing::active_down(version, self.status.priority, interval, self.router.down_timer_adverts)
    }

    /// Whether an active router of lower priority is to be replaced. RFC 9568 section 6.1: an owner always does.
    fn may_preempt(&self, moment: Moment) -> bool {
        let delayed = self.router.preempt_delay > Duration::ZERO
            && self.preempt_from.is_none_or(|from| from > moment.now);
        moment.preempt && (self.owns() || self.router.preempt && !delayed)
    }

    /// keepalived's `preempt_delay` runs from the first lower priority that is heard, until a higher one is.
    fn delay_preemption(&mut self, moment: Moment, lower: bool, out: &mut Vec<Action>) {
        let delay = self.router.preempt_delay;
        if delay.is_zero() {
            return;
        }
        match (lower, self.preempt_from) {
            (true, None) => {
                let text = format!("start preempt delay ({:.6})", delay.as_secs_f64());
                self.say(Level::Info, text, out);
                self.preempt_from = Some(moment.now + delay);
            }
            (false, Some(_)) => {
                self.say(Level::Info, "stop preempt delay".to_owned(), out);
                self.preempt_from = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let gap = self.router.interval / ANSWERS;
        let may = self.answered.is_none_or(|answered| now.duration_since(answered) >= gap);
        if may {
            self.answered = Some(now);
        }
        may
    }

    fn says_lower(&mut self, now: Instant, source: IpAddr) -> bool {
        let said = self.said_lower.is_some_and(|(whose, said)| {
            // With many sources it is said of one a second at most.
            let wait = if whose == source { SAY_AGAIN } else { Duration::from_secs(1) };
            now.duration_since(said) < wait
        });
        if !said {
            self.said_lower = Some((source, now));
        }
        !said
    }

    fn rival(&mut self, now: Instant, advert: &Heard) {
        let Heard { source, priority, .. } = *advert;
        match &mut self.status.rival {
            Some(rival) => {
                (rival.source, rival.priority, rival.last) = (source, priority, now);
                rival.adverts += 1;
            }
            none => {
                *none = Some(Rival { source, priority, since: now, last: now, adverts: 1 });
                self.status.rivals += 1;
            }
        }
    }

    fn forget_rival(&mut self, now: Instant, out: &mut Vec<Action>) {
        let down = self.active_down();
        let Some(rival) = self.status.rival.take_if(|rival| now.duration_since(rival.last) >= down) else {
            return;
        };
        let (source, lasted) = (rival.source, rival.last.duration_since(rival.since));
        self.said_lower = None;
        let text = format!("{source} is active no more: two were active for {:.1} s", lasted.as_secs_f64());
        self.say(Level::Info, text, out);
        // What was announced while both were active may not have reached everybody.
        out.push(Action::Announce { router: self.id, burst: Burst::Lower });
    }

    fn say(&self, level: Level, text: String, out: &mut Vec<Action>) {
        out.push(Action::Say { level, text: format!("({}) {text}", self.router.name) });
    }
}

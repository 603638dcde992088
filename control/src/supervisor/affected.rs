//! Whom it concerns what has come in: of a hundred thousand real servers one fails, and the others are not looked at again.
//!
//! *Invariants*
//! - it may name too many services, never too few: who is not named is taken to stand as before;
//! - a check, a neighbour or a way that changes concerns the services that its real server is part of; anything else that
//!   is known, all of them.

use std::net::IpAddr;

use hashbrown::HashSet;

use crate::event::Event;
use crate::health;
use crate::model::{Model, VirtualService};
use crate::neighbor;

/// What is to be looked at again before the next state is published.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// Something is to be published.
    is_due: bool,
    is_everybody: bool,
    /// It waits for no rest: a link came or went, or who answers for the VIPs has changed.
    is_urgent: bool,
    /// Real servers, in whichever services.
    addresses: HashSet<IpAddr>,
}

impl Affected {
    /// All services.
    pub(super) fn everybody() -> Affected {
        Affected { is_due: true, is_everybody: true, ..Affected::default() }
    }

    /// The time alone has changed the weight of real servers that have not got their whole one yet.
    pub(super) fn pass_time(&mut self) {
        self.is_due = true;
    }

    /// Takes in what has happened.
    pub(super) fn note(&mut self, event: &Event) {
        let address = match event {
            Event::Health(health::Event::Changed { key, .. } | health::Event::Weight { key, .. }) => {
                key.address
            }
            Event::Vip(event) => event.subject.real,
            Event::Neighbor(
                neighbor::Event::Resolved { key, .. }
                | neighbor::Event::Moved { key, .. }
                | neighbor::Event::Failed { key },
            ) => key.address,
            Event::Link(_) => return *self = Affected { is_urgent: true, ..Affected::everybody() },
            // Workers are to know who has taken over, no more.
            Event::Vrrp(_) => return (self.is_due, self.is_urgent) = (true, true),
            // The first failure of several, and what is none of the workers' business.
            Event::Health(health::Event::Failing { .. }) | Event::Address(_) | Event::Track(_) => return,
        };
        self.is_due = true;
        self.addresses.insert(address);
    }

    /// Whether there is anything to publish.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether that is to be published at once. Those events are few, and what would be decided meanwhile by what was known
    /// before (whether another director knows a flow better, whether this one may preempt) would stand.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// The places of these services in the model; none: all are to be looked at.
    pub(super) fn places(&self, model: &Model) -> Option<Vec<usize>> {
        let concerns = |service: &VirtualService| {
            service.slow_start.is_some()
                || service.servers().any(|real| self.addresses.contains(&real.address))
        };
        let services = model.services.iter().enumerate();
        (!self.is_everybody)
            .then(|| services.filter(|(_, service)| concerns(service)).map(|(place, _)| place).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbor::NeighborKey;
    use crate::vrrp::State;

    const SERVICES: &str = "[director]\ninterfaces = [\"eth0\"]\n\
        [[service]]\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n\
        [[service.real]]\naddress = \"192.0.2.21\"\n\
        [[service.real]]\naddress = \"192.0.2.22\"\n\
        [[service]]\nvip = \"192.0.2.10\"\nport = 81\nprotocol = \"tcp\"\n\
        [[service.real]]\naddress = \"192.0.2.22\"\n\
        [[service]]\nvip = \"192.0.2.10\"\nport = 82\nprotocol = \"tcp\"\nslow_start = \"60s\"\n\
        [[service.real]]\naddress = \"192.0.2.23\"\n";

    fn resolved(last: u8) -> Event {
        let key = NeighborKey { index: 2, address: [192, 0, 2, last].into() };
        neighbor::Event::Resolved { key, mac: [2; 6] }.into()
    }

    #[test]
    fn a_real_server_concerns_the_services_that_it_is_part_of() {
        let model = crate::config::parse("a", SERVICES).unwrap().model;
        let places = |lasts: &[u8]| {
            let mut affected = Affected::default();
            lasts.iter().for_each(|last| affected.note(&resolved(*last)));
            assert_eq!(affected.is_due(), !lasts.is_empty());
            affected.places(&model)
        };
        // The last one's weights change with the time alone.
        assert_eq!(places(&[]), Some(vec![2]));
        assert_eq!(places(&[21]), Some(vec![0, 2]));
        assert_eq!(places(&[22]), Some(vec![0, 1, 2]));
        assert_eq!(places(&[99]), Some(vec![2]));
        assert_eq!(places(&[22, 23, 21]), Some(vec![0, 1, 2]));
    }

    #[test]
    fn who_changes_with_all_stays_with_all() {
        let model = crate::config::parse("a", SERVICES).unwrap().model;
        let mut affected = Affected::everybody();
        affected.note(&resolved(21));
        assert!(affected.is_due() && affected.places(&model).is_none());
    }

    #[test]
    fn a_take_over_waits_for_nothing_and_a_neighbor_does() {
        let mut affected = Affected::default();
        affected.note(&resolved(21));
        assert!(affected.is_due() && !affected.is_urgent());
        let told = crate::vrrp::thread::Event::GroupChanged { group: "all".into(), to: State::Active };
        affected.note(&Event::Vrrp(told));
        assert!(affected.is_urgent());
    }

    #[test]
    fn what_is_none_of_the_workers_business_is_not_published() {
        let mut affected = Affected::default();
        affected.note(&crate::vrrp::track::Event::Changed.into());
        assert!(!affected.is_due());
    }
}

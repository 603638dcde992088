//! Traffic as ipvsadm tells of it: rates are estimated on the director, which sees it all the time.

use super::Supervisor;
use crate::admin::protocol::Answer;
use crate::compile::compiled_key;
use crate::ipvsadm::ledger::{Count, Whose, count_of_real, count_of_service};
use crate::model::VirtualService;

impl Supervisor {
    /// The estimates of another 2 s, if they are over.
    pub(super) fn observe_traffic(&mut self) {
        let now = std::time::Instant::now();
        if self.ledger.is_due(now) {
            let counts = self.counts(|_| true);
            self.ledger.observe(now, counts.into_iter());
        }
    }

    /// Counts the traffic of one service, or of all, from 0.
    pub(super) fn zero_traffic(&mut self, service: Option<&str>) -> Answer {
        let is_wanted = |key: &VirtualService| service.is_none_or(|name| key.key.to_string() == name);
        if let Some(name) = service
            && !self.loaded.model.services.iter().any(is_wanted)
        {
            return Answer::refused(Some("no-service"), format!("there is no service {name}"));
        }
        let counts = self.counts(is_wanted);
        self.ledger.zero(counts.into_iter());
        Answer::text("counted anew".to_owned())
    }

    /// What the services that are wanted count, and their real servers.
    fn counts(&self, is_wanted: impl Fn(&VirtualService) -> bool) -> Vec<(Whose, Count)> {
        let state = self.plane.state();
        let mut counts = Vec::new();
        for service in self.loaded.model.services.iter().filter(|service| is_wanted(service)) {
            let found = state.find(&compiled_key(&service.key)).and_then(|id| state.service(id));
            let Some(compiled) = found else { continue };
            counts.push(((service.key, None), count_of_service(compiled)));
            let reals = compiled.reals().map(|(_, real)| (real.address().into(), count_of_real(real)));
            counts.extend(reals.map(|(address, count)| ((service.key, Some(address)), count)));
        }
        counts
    }
}

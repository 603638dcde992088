//! The supervisor's side of `shunt capture`.

use super::Supervisor;
use crate::admin::server::Call;
use crate::capture::protocol::Ask;

impl Supervisor {
    /// Begins, reads or ends a capture.
    pub(super) fn capture(&mut self, ask: &Ask, call: Call) {
        let interfaces = self.survey.interfaces.iter().map(|link| link.name.clone()).collect();
        self.captures.answer(ask, &mut self.plane, interfaces, call);
    }
}

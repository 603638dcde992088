//! The supervisor's side of `shunt explain`.

use super::Supervisor;
use crate::admin::protocol::Answer;
use crate::admin::server::Call;
use crate::explain::question::Question;
use crate::explain::trial;

impl Supervisor {
    /// Answers by what is so now. The XDP program is asked on a thread of its own: the kernel takes its time to load one.
    pub(super) fn explain(&self, question: &Question, call: Call) {
        let views = self.views();
        match trial::tried(question, self.inputs(&views), &self.plane) {
            Ok(tried) => {
                tokio::task::spawn_blocking(move || call.answer(Answer::data(tried.judged())));
            }
            Err(why) => call.answer(Answer::error(why)),
        }
    }
}

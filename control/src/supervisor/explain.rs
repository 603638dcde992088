//! The supervisor's side of `shunt explain`.

use super::Supervisor;
use crate::admin::protocol::Answer;
use crate::admin::server::Call;
use crate::explain::question::Question;
use crate::explain::trial;

impl Supervisor {
    /// Answers by what is so now. The XDP program is asked on a thread of its own: the kernel takes its time to load one.
    pub(super) fn explain(&self, question: &Question, call: Call) {
        // One at a time: each has a copy of what it looks at, and a program of its own in the kernel.
        let Ok(place) = self.explaining.clone().try_acquire_owned() else {
            return call.answer(Answer::error("another packet is being explained: ask again".to_owned()));
        };
        let views = self.views();
        match trial::tried(question, self.inputs(&views), &self.plane) {
            Ok(tried) => {
                tokio::task::spawn_blocking(move || {
                    let answer = tried.judged();
                    drop(place);
                    call.answer(Answer::data(answer));
                });
            }
            Err(why) => call.answer(Answer::error(why)),
        }
    }
}

//! One probe of a check, whichever kind it is.
//!
//! What does not change from probe to probe is made once: patterns, requests, what a certificate is measured by.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::dns::Asker;
use super::file::Reader;
use super::http::Requests;
use super::socket::Way;
use super::{CheckKey, Failure, Success, ping, script, smtp, tcp, udp};
use crate::model::{Probe, Scripts};

/// Rules for the programs that checks run; they may change while checks run.
pub(super) type Rules = Arc<Mutex<Arc<Scripts>>>;

/// A check, ready to be made.
pub(super) struct Prober {
    key: Arc<CheckKey>,
    way: Way,
    kind: Kind,
    rules: Rules,
}

/// What was made ready.
enum Kind {
    Http(Requests),
    Dns(Asker),
    File(Reader),
    /// Nothing.
    Other,
}

impl Prober {
    pub(super) fn new(key: Arc<CheckKey>, rules: Rules) -> Prober {
        let way = Way::of(&key);
        let kind = match &key.check.probe {
            Probe::Http(http) => Kind::Http(Requests::new(http, way.to)),
            Probe::Dns(dns) => Kind::Dns(Asker::new(dns)),
            Probe::File(file) => Kind::File(Reader::new(file)),
            Probe::Tcp | Probe::Smtp(_) | Probe::Udp(_) | Probe::Ping | Probe::Script(_) => Kind::Other,
        };
        Prober { key, way, kind, rules }
    }

    /// Makes the probe: of a check with several requests, request `turn`.
    pub(super) async fn probe(&self, turn: usize) -> Result<Success, Failure> {
        let timeout = self.key.check.timing.timeout;
        let way = &self.way;
        let is_well = match (&self.key.check.probe, &self.kind) {
            (Probe::Script(script), _) => return self.script(script, timeout).await,
            (_, Kind::File(reader)) => return reader.probe(timeout).await,
            (_, Kind::Http(requests)) => requests.probe(way, turn, timeout).await,
            (_, Kind::Dns(asker)) => asker.probe(way, timeout).await,
            (Probe::Tcp, _) => tcp::probe(way, timeout).await,
            (Probe::Smtp(smtp), _) => smtp::probe(way, smtp, timeout).await,
            (Probe::Udp(udp), _) => udp::probe(way, udp, timeout).await,
            (Probe::Ping, _) => ping::probe(way, timeout).await,
            (Probe::Http(_) | Probe::Dns(_) | Probe::File(_), Kind::Other) => {
                unreachable!("their probers were made with the check")
            }
        };
        is_well.map(|()| Success::default())
    }

    async fn script(&self, script: &crate::model::Script, timeout: Duration) -> Result<Success, Failure> {
        let rules = self.rules.lock().expect("no holder of this lock panics").clone();
        script::probe(script, &rules, self.key.address, timeout).await
    }
}

/// Requests that a round of the check is made of.
pub(super) fn requests(probe: &Probe) -> usize {
    match probe {
        Probe::Http(http) => http.requests.len().max(1),
        _ => 1,
    }
}

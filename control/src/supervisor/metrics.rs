//! The supervisor's side of metrics: where they are served, and what is given to those who ask.
//!
//! *Invariant*: metrics are made at most once in [`FRESH`], however many ask, and whoever they are: making them costs the
//! control thread as much as `shunt show` of everything.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::Value;

use super::Supervisor;
use crate::admin::http::{Reply, Step, Visit, Web, refusal};
use crate::admin::protocol::What;
use crate::admin::show::{self, Facts};
use crate::config::{Faults, Loaded, Place};
use crate::error::Error;

/// What was made is given out for this long. Prometheus asks every few seconds at most.
const FRESH: Duration = Duration::from_millis(500);

/// All metrics as of a moment.
pub(super) struct Page {
    made: Instant,
    text: Bytes,
}

/// Serves where the configuration says.
///
/// # Errors
/// The port cannot be had: nothing was started.
pub(super) async fn start(loaded: &Loaded) -> Result<Web, Error> {
    let mut web = Web::default();
    let step = prepare(&web, loaded).await.map_err(Error::Config)?;
    web.follow(step);
    Ok(web)
}

/// What it takes to serve where another configuration says. Nothing is changed yet.
///
/// # Errors
/// The port cannot be had, at the key that asks for it.
pub(super) async fn prepare(web: &Web, loaded: &Loaded) -> Result<Step, Faults> {
    let wanted = loaded.model.director.metrics;
    web.prepare(wanted).await.map_err(|error| {
        let Some(address) = wanted else { unreachable!("to be nowhere asks nothing of the kernel") };
        let (message, help) = refusal(address, &error);
        std::iter::once(loaded.locations.error(&Place::Metrics, message, help)).collect()
    })
}

impl Supervisor {
    /// What `shunt show` shows.
    pub(super) fn show(&self, what: What, limit: usize) -> Value {
        let views = self.views();
        let facts = Facts {
            inputs: self.inputs(&views),
            changes: &self.changes,
            marks: self.changes.marks(),
            plane: &self.plane,
            ledger: &self.ledger,
            is_ready: self.is_ready,
            worst_lateness: self.checks.worst_lateness(),
            watch: &self.watch,
            vrrp: &self.vrrp.view(),
            sync: self.sync.as_ref().map(|sync| sync.view(Instant::now())),
            reloads: &self.reloads,
            applied: self.applied.view(),
        };
        show::show(what, limit, &facts)
    }

    /// Gives somebody the metrics.
    pub(super) fn receive(&mut self, visit: Visit) {
        let page = self.page.take().filter(|page| page.made.elapsed() < FRESH).unwrap_or_else(|| {
            let Value::String(text) = self.show(What::Metrics, 0) else { unreachable!("metrics are a text") };
            Page { made: Instant::now(), text: text.into() }
        });
        visit.answer(Reply { metrics: page.text.clone(), is_ready: self.is_ready });
        self.page = Some(page);
    }

    /// Reads the configuration again, and remembers what came of it.
    pub(super) async fn reload_counted(&mut self) -> Result<String, String> {
        let result = self.reload().await;
        self.reloads.count(result.is_ok());
        result
    }
}

//! The supervisor's side of flow synchronisation: room for the flows of others, a word every tick, and no preemption before
//! the others have told theirs.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use super::Supervisor;
use crate::config::{Fault, Place, VrrpPart, defaults};
use crate::sync::key::KeyError;
use crate::sync::{Error, Event, FlowSyncer, room};

impl Supervisor {
    /// Goes on as the model says. Workers know of the room by the state that is published next.
    ///
    /// # Errors
    /// Why there is no synchronisation; what was goes on.
    pub(super) fn set_sync(&mut self) -> Result<(), Box<Fault>> {
        let Some(wanted) = &self.loaded.model.vrrp.sync else {
            self.sync = None;
            self.plane.make_room(None);
            self.readiness.synced = true;
            return Ok(());
        };
        let links = self.links.view();
        let done = match &mut self.sync {
            Some(sync) => sync.set(wanted, &links),
            None => FlowSyncer::start(wanted, &links, Instant::now()).map(|sync| {
                self.sync = Some(sync);
                // Who joins hears the others out first.
                self.readiness.synced = false;
            }),
        };
        if let Err(Error::Key(KeyError::Unreadable { error, .. })) = &done
            && error.kind() == ErrorKind::NotFound
            && wanted.key_file == Path::new(defaults::SYNC_KEY_FILE)
        {
            // `lvs_sync_daemon` of a keepalived.conf that was never meant for us: it must run as it is.
            tracing::warn!(
                "flows are not told to other directors: there is no key. Make one, the same on all of them: \
                 (umask 077; openssl rand -hex 32 > {}), and reload",
                defaults::SYNC_KEY_FILE
            );
            return Ok(());
        }
        done.map_err(|error| {
            let place = Place::Vrrp { kind: VrrpPart::Sync, name: String::new() };
            let help = "directors cannot tell each other of flows without it: put it right, or take it out";
            Box::new(self.loaded.locations.error(&place, error.to_string(), help))
        })?;
        let workers = self.plane.workers().len();
        self.plane.make_room(Some(room(&self.loaded.model.director, workers)));
        Ok(())
    }

    /// Hears and tells what there is.
    pub(super) fn tick_sync(&mut self) {
        let Some((sync, flows)) = self.sync.as_mut().zip(self.plane.flows()) else { return };
        if let Some(Event::Synced) = sync.tick(Instant::now(), flows) {
            tracing::info!("flows of other directors: {}", sync.view(Instant::now()).snapshot);
            self.readiness.synced = true;
        }
    }

    /// The link that it is sent on may have gone and come back.
    pub(super) fn follow_link_of_sync(&mut self) {
        if let (Some(sync), Some(wanted)) = (&mut self.sync, &self.loaded.model.vrrp.sync)
            && let Err(error) = sync.set(wanted, &self.links.view())
        {
            tracing::error!("flows are not told to other directors: {error}");
        }
    }
}

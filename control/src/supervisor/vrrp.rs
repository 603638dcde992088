//! The supervisor's side of VRRP: what the thread is told of (configuration, what is tracked, the director's own work), and
//! what is made of what it tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_dataplane::packet::MacAddress;

use super::Supervisor;
use crate::address::Ownership;
use crate::error::Error;
use crate::guard::Guard;
use crate::model::Vrrp;
use crate::news;
use crate::vrrp::thread::{Event, Facts};
use crate::vrrp::track::Dataplane;

/// Since when interfaces have received nothing.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Frames seen by each interface, and when they were last more.
    frames: BTreeMap<String, (u64, Instant)>,
}

impl Supervisor {
    /// The thread goes on with what the model says.
    pub(super) fn set_vrrp(&mut self) {
        self.set_guard();
        // Before it can hear anybody. What there is for workers the loop sees too.
        let _ = self.follow_readiness();
        let model = &self.loaded.model;
        self.trackers.set(&model.vrrp, &model.scripts);
        self.vrrp.configure(Arc::new(model.vrrp.clone()), Facts::default());
        self.track();
    }

    /// Somebody takes the addresses away if this is killed: those of virtual routers, and VIPs that were not there before.
    fn set_guard(&mut self) {
        let mut addresses = self.loaded.model.vrrp.addresses();
        let held = self.vips.held().into_iter().filter(|(_, ownership)| *ownership != Ownership::Found);
        addresses.extend(held.map(|(vip, _)| vip.address));
        if addresses.is_empty() && self.guard.is_none() {
            return;
        }
        let guarded = match &mut self.guard {
            Some(guard) => guard.watch(addresses.into_iter().collect()),
            None => Guard::start()
                .and_then(|guard| self.guard.insert(guard).watch(addresses.into_iter().collect())),
        };
        if let Err(error) = guarded {
            tracing::warn!(
                "nobody takes the virtual addresses away if this director is killed, and then its kernel resets \
                 connections until another one takes over, or it runs again: {error}"
            );
        }
    }

    /// Tells the thread what is tracked, if there is anything to yield.
    pub(super) fn track(&mut self) {
        if self.loaded.model.vrrp.routers.is_empty() {
            return;
        }
        let mut results = self.trackers.results();
        results.dataplane = self.dataplane();
        if self.tracked.as_ref() != Some(&results) {
            self.vrrp.track(results.clone());
            self.tracked = Some(results);
        }
    }

    fn dataplane(&mut self) -> Dataplane {
        let now = Instant::now();
        let stalled = self.watch.fault(now);
        let watched = |routers: &Vrrp| {
            let routers = routers.routers.iter().map(|router| &router.track);
            let mut all = routers.chain(self.loaded.model.vrrp.groups.iter().map(|group| &group.track));
            all.any(|track| track.receiving.is_some())
        };
        // Counted by the XDP program: asked for only where somebody wants to know.
        let silent = match watched(&self.loaded.model.vrrp) {
            true => {
                let names = self.survey.interfaces.iter().map(|link| link.name.clone());
                let counts = self.plane.steer_counts();
                let seen = names.zip(counts).filter_map(|(name, counts)| {
                    let counts = counts.ok()?;
                    Some((name, counts.passed + counts.redirected + counts.no_socket + counts.worker_stalled))
                });
                self.silence.look(now, seen)
            }
            false => BTreeMap::new(),
        };
        let real_server_up = self.said.is_empty() || self.said.values().any(|standing| standing.is_up());
        Dataplane { stalled, silent, real_server_up }
    }

    /// What the thread tells.
    pub(super) fn vrrp_told(&mut self, event: Event) -> Result<(), Error> {
        match &event {
            Event::Died(why) => return Err(Error::Vrrp(why.clone())),
            // Published with what else has come in.
            Event::Changed { .. } => self.plane.take_over(),
            Event::Vmac { interface, mac, active } => self.steer_mac(*interface, MacAddress(*mac), *active),
            _ => {}
        }
        if let Some(news) = news::of_vrrp(&self.loaded.model, &event) {
            self.notifier.tell(news);
        }
        Ok(())
    }

    /// Announces the addresses of the router of this name, or of all.
    pub(super) fn announce(&self, name: Option<&str>) -> Result<String, String> {
        let view = self.vrrp.view();
        let named = view.routers.iter().filter(|router| name.is_none_or(|name| router.name == name));
        let (active, others): (Vec<_>, Vec<_>) = named.partition(|router| router.holds);
        let names: Vec<&str> = active.iter().map(|router| router.name.as_str()).collect();
        match (names.is_empty(), name, others.is_empty()) {
            (false, ..) => {
                self.vrrp.announce(name.map(str::to_owned));
                Ok(format!("announced: {}", names.join(", ")))
            }
            (true, Some(name), true) => {
                Err(format!("there is no virtual router {name}: see shunt show vrrp"))
            }
            (true, Some(name), false) => Err(format!(
                "{name} is not active here, and only who is active announces: see shunt show vrrp"
            )),
            (true, None, _) => Err("no virtual router is active here: see shunt show vrrp".to_owned()),
        }
    }

    /// Frames to a virtual MAC are the director's own while it is active.
    fn steer_mac(&mut self, index: u32, mac: MacAddress, active: bool) {
        let Some(port) = self.survey.interfaces.iter().position(|link| link.index == index) else { return };
        let Some(program) = self.plane.program(port) else { return };
        let done = if active { program.set_mac(mac) } else { program.unset_mac(mac) };
        if let Err(error) = done {
            tracing::error!("the XDP program does not know about the virtual MAC address {mac}: {error}");
        }
    }
}

impl Silence {
    /// For how long each interface has been silent, in whole seconds: a change is worth telling then only.
    fn look(
        &mut self,
        now: Instant,
        frames: impl Iterator<Item = (String, u64)>,
    ) -> BTreeMap<String, Duration> {
        for (name, frames) in frames {
            let (before, since) = self.frames.entry(name).or_insert((frames, now));
            if *before != frames {
                (*before, *since) = (frames, now);
            }
        }
        let whole = |since: &Instant| Duration::from_secs(now.duration_since(*since).as_secs());
        self.frames.iter().map(|(name, (_, since))| (name.clone(), whole(since))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_silent_since_its_last_frame() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut at = |ms, frames| {
            let seen = [("eth0".to_owned(), frames)].into_iter();
            silence.look(start + Duration::from_millis(ms), seen)["eth0"].as_secs()
        };
        assert_eq!([at(0, 1), at(2500, 1), at(2600, 2), at(3700, 2)], [0, 2, 0, 1]);
    }
}

//! What there is to see of a running director, as JSON. These shapes are the `--json` output: keys are added, never
//! renamed or removed, within a protocol version.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use shunt_dataplane::clock::TICKS_PER_SECOND;
use shunt_dataplane::forwarding::{Real, RealState, Service};
use shunt_dataplane::packet::Address;
use shunt_dataplane::plane::Dataplane;
use shunt_dataplane::stats::WorkerStats;
use shunt_dataplane::verdict::DropReason;
use shunt_dataplane::xsk::lost::{LostCounts, Statistics};
use shunt_dataplane::xsk::steering::SteerCounts;

use crate::admin::protocol::What;
use crate::admin::reloads::Reloads;
use crate::admin::{metrics, process};
use crate::compile::{Inputs, Standing, compiled_key, handshakes};
use crate::config::{counted, to_toml};
use crate::edit::{Changes, Marks};
use crate::health::Status;
use crate::ipvsadm::ledger::{Count, Ledger, Whose, count_of_real, count_of_service};
use crate::model::{
    Model, OnFailure, Ports, RealServer, Timeouts, VipCheck, VirtualService, Vlan, ports as spelled,
};
use crate::sync;
use crate::vrrp::view::View;
use crate::watch::Watch;

/// Most flows in one answer: it is made on the control thread, which has other things to do.
const MOST_FLOWS: usize = 100_000;

/// What is shown comes from here.
pub struct Facts<'a> {
    /// Configuration, health, neighbours.
    pub inputs: Inputs<'a>,
    /// What was changed while running.
    pub changes: &'a Changes,
    /// The same, by what it is about.
    pub marks: Marks,
    /// Counters and tables.
    pub plane: &'a Dataplane,
    /// How late a check has begun at most.
    pub worst_lateness: Duration,
    /// Traffic as ipvsadm tells of it.
    pub ledger: &'a Ledger,
    /// How workers do.
    pub watch: &'a Watch,
    /// Virtual routers.
    pub vrrp: &'a View,
    /// What directors tell each other of flows, if they do.
    pub sync: Option<sync::View>,
    /// What was applied, and what became of it.
    pub applied: Applied,
    /// Whether the start is over.
    pub is_ready: bool,
    /// What came of reading the configuration again.
    pub reloads: &'a Reloads,
}

/// What `shunt apply` has done since the start.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// What is in force instead of the daemon's own file.
    pub file: Option<PathBuf>,
    /// What awaits its confirmation.
    pub pending: Option<Pending>,
    /// Files brought into force.
    pub done: u64,
    /// Files refused.
    pub refused: u64,
    /// Files that went again, unconfirmed.
    pub rolled_back: u64,
}

/// A file that is in force on trial.
#[derive(Debug, Clone, Serialize)]
pub struct Pending {
    /// The file.
    pub file: PathBuf,
    /// What was in force before comes back in so many seconds.
    pub rolls_back_in_seconds: u64,
}

/// One view; `limit`: most flows listed.
pub fn show(what: What, limit: usize, facts: &Facts<'_>) -> Value {
    let rows = match what {
        What::Services => facts.services(),
        What::Reals => facts.reals(),
        What::Flows => return facts.flows(limit),
        What::Health => facts.health(),
        What::Workers => facts.workers(),
        What::Drops => facts.drops(),
        What::Vrrp => return facts.vrrp(),
        What::Config => return facts.config().into(),
        What::Metrics => {
            return metrics::text(&facts.director(), |what| show(what, limit, facts)).into();
        }
    };
    let mut view = facts.header();
    view[what.rows()] = rows;
    if what == What::Services {
        let Timeouts { established, fin, udp, .. } = facts.model().director.timeouts;
        view["timeouts"] =
            json!({ "established": established.as_secs(), "fin": fin.as_secs(), "udp": udp.as_secs() });
        view["changes"] = facts.changes.words().into();
    }
    if what == What::Health {
        view["worst_lateness_ms"] = (facts.worst_lateness.as_secs_f64() * 1000.0).into();
    }
    if what == What::Workers {
        view["interfaces"] = facts.interfaces();
    }
    view
}

/// A number for one port, else as it is configured: "8000-8100", "any".
fn port(ports: Ports) -> Value {
    match ports.single() {
        Some(port) => port.into(),
        None => spelled(ports).into(),
    }
}

/// What the kernel counts for an AF_XDP socket, in its own words.
fn statistics(kernel: Statistics) -> Value {
    json!({
        "rx_dropped": kernel.rx_dropped,
        "rx_invalid_descs": kernel.rx_invalid_descs,
        "tx_invalid_descs": kernel.tx_invalid_descs,
        "rx_ring_full": kernel.rx_ring_full,
        "rx_fill_ring_empty_descs": kernel.rx_fill_ring_empty_descs,
        "tx_ring_empty_descs": kernel.tx_ring_empty_descs,
    })
}

/// Frames that a worker dropped, by reason.
fn dropped(stats: &WorkerStats) -> Value {
    let reasons = DropReason::ALL.into_iter();
    reasons.map(|reason| (reason.name().to_owned(), Value::from(stats.drops(reason).value()))).collect()
}

impl Facts<'_> {
    /// What the director says of itself.
    fn director(&self) -> Value {
        let mut shown = self.header();
        shown["version"] = env!("CARGO_PKG_VERSION").into();
        shown["reloads"] = self.reloads.shown();
        shown["unconfirmed"] = self.applied.pending.is_some().into();
        shown["applies"] = json!({
            "done": self.applied.done,
            "refused": self.applied.refused,
            "rolled_back": self.applied.rolled_back,
        });
        shown["process"] = process::shown();
        shown
    }

    fn header(&self) -> Value {
        json!({
            "generation": self.plane.state().generation(),
            "ready": self.is_ready,
            "applied": self.applied.file,
            "pending": self.applied.pending,
        })
    }

    fn model(&self) -> &Model {
        self.inputs.model
    }

    /// The configuration that means what is in force, below what of it is not the file's.
    fn config(&self) -> String {
        let words = self.changes.words();
        let head = match words.len() {
            0 => "# What shunt has in force: what its configuration file says.\n".to_owned(),
            count => format!(
                "# What shunt has in force: what its configuration file says, and {} made while running:\n",
                counted(count, "change")
            ),
        };
        let changes: String = words.iter().map(|change| format!("#   {change}\n")).collect();
        format!("{head}{changes}\n{}", to_toml(self.model()))
    }

    fn services(&self) -> Value {
        self.model().services.iter().map(|service| self.service(service)).collect()
    }

    fn service(&self, service: &VirtualService) -> Value {
        let key = &service.key;
        let mut row = json!({
            "service": key.to_string(),
            "vip": key.vip,
            "port": port(key.ports),
            "protocol": key.protocol.to_string(),
            "scheduler": service.scheduler.to_string(),
            "persistence_seconds": service.persistence.map(|persistence| persistence.timeout.as_secs()),
            "persistence_prefix": service.persistence.map(|persistence| persistence.prefix),
            "one_packet": service.one_packet,
            "on_failure": match service.on_failure {
                OnFailure::Reset => "reset",
                OnFailure::Rehash => "rehash",
                OnFailure::Keep => "keep",
            },
            "reals": service.reals.len(),
            "group": service.group,
            "quorum": {
                "needed": service.quorum.needed,
                "hysteresis": service.quorum.hysteresis,
                "lost": self.inputs.quorums.is_lost(&service.key),
            },
            "sorry": service.quorum.sorry.as_ref().map(|sorry| sorry.server.address),
            "changed": self.marks.of_service(*key),
        });
        if let Some(compiled) = self.compiled(service) {
            let of_state = |state| compiled.reals().filter(|(_, real)| real.state() == state).count();
            row["up"] = of_state(RealState::Up).into();
            row["draining"] = of_state(RealState::Draining).into();
            let counters = compiled.counters();
            row["frames"] = counters.total(|c| &c.frames).into();
            row["bytes"] = counters.total(|c| &c.bytes).into();
            row["flows"] = counters.total(|c| &c.flows).into();
            row["traffic"] = self.traffic((*key, None), count_of_service(compiled));
            let sum = |field: fn(&Real) -> u64| compiled.reals().map(|(_, real)| field(real)).sum::<u64>();
            row["active"] = sum(|real| real.counters().total(|c| &c.active)).into();
            row["inactive"] = sum(|real| real.counters().total(|c| &c.inactive)).into();
        }
        row
    }

    fn reals(&self) -> Value {
        let services = self.model().services.iter();
        services.flat_map(|service| service.servers().map(|real| self.real(service, real))).collect()
    }

    fn real(&self, service: &VirtualService, real: &RealServer) -> Value {
        let weight = self.inputs.weight(real);
        let is_sorry = self.inputs.is_sorry(service);
        let sorry = service.quorum.sorry.as_ref().is_some_and(|sorry| std::ptr::eq(&sorry.server, real));
        let (state, reason) = match self.inputs.standing(service, real) {
            Standing::Up if sorry && !is_sorry => {
                ("down", Some("stands by: it answers once the quorum is lost".into()))
            }
            Standing::Up if !sorry && is_sorry => {
                ("draining", Some("the quorum is lost: the sorry server answers".into()))
            }
            Standing::Up if weight == 0 => ("draining", None),
            Standing::Up => ("up", None),
            Standing::Down(why) => ("down", Some(why)),
            Standing::Waiting(what) => ("down", Some(what.to_owned())),
        };
        let path = self.inputs.path(real);
        let way = self.inputs.survey.way(real);
        let mut row = json!({
            "service": service.key.to_string(),
            "address": real.address,
            "weight": real.weight,
            "effective_weight": if state == "down" || (is_sorry && !sorry) { 0 } else { weight },
            "sorry": sorry,
            "keeps_flows": real.inhibit && state == "down",
            "state": state,
            "reason": reason,
            "mac": path.filter(|_| state != "down").map(|path| path.header.destination().to_string()),
            "interface": way.map(|(_, link)| &link.name),
            "mtu": path.map(|path| path.mtu),
            "vlan": match real.vlan {
                Vlan::Keep => json!("keep"),
                Vlan::Untagged => json!("none"),
                Vlan::Tagged(vlan) => json!(vlan),
            },
            "upper": real.thresholds.upper,
            "lower": real.thresholds.lower,
            "checks": real.checks.len(),
            "changed": self.marks.of_real(service.key, real.address),
        });
        if let Some(compiled) = self.inputs.compiled(self.plane.state(), service, real) {
            row["share"] = compiled.share().into();
            row["overloaded"] = compiled.is_overloaded().into();
            let handshakes = handshakes(compiled);
            row["templates"] = compiled.counters().total(|c| &c.templates).into();
            row["handshakes"] = json!({
                "completed": handshakes.completed,
                "retransmitted": handshakes.retransmitted,
                "reset": handshakes.reset,
            });
            let counters = compiled.counters();
            row["frames"] = counters.total(|c| &c.frames).into();
            row["bytes"] = counters.total(|c| &c.bytes).into();
            row["flows"] = counters.total(|c| &c.flows).into();
            row["traffic"] = self.traffic((service.key, Some(real.address)), count_of_real(compiled));
            row["active"] = counters.total(|c| &c.active).into();
            row["inactive"] = counters.total(|c| &c.inactive).into();
        }
        row
    }

    /// Since it was set to 0, and in a second.
    fn traffic(&self, whose: Whose, count: Count) -> Value {
        let ([flows, packets, bytes], [flow_rate, packet_rate, byte_rate]) = self.ledger.tell(&whose, count);
        json!({
            "flows": flows,
            "packets": packets,
            "bytes": bytes,
            "flow_rate": flow_rate,
            "packet_rate": packet_rate,
            "byte_rate": byte_rate,
        })
    }

    fn compiled(&self, service: &VirtualService) -> Option<&Service> {
        let state = self.plane.state();
        state.find(&compiled_key(&service.key)).and_then(|id| state.service(id))
    }

    fn flows(&self, limit: usize) -> Value {
        let limit = limit.min(MOST_FLOWS);
        let state = self.plane.state();
        let mut rows = Vec::new();
        let (mut total, mut truncated) = (0u64, false);
        for (n, worker) in self.plane.workers().iter().enumerate() {
            total += worker.stats.flows.value();
            for (key, flow) in worker.flows.iter() {
                if rows.len() >= limit {
                    truncated = true;
                    break;
                }
                // Flows of a service or a real server that is gone stay until they time out.
                let Some(service) = state.service(key.service).filter(|service| service.is_live()) else {
                    continue;
                };
                let real = service.tenant(flow.real, flow.epoch).map(|real| real.address());
                rows.push(json!({
                    "worker": n,
                    "protocol": service.key().protocol.to_string(),
                    "client": IpAddr::from(key.client),
                    "client_port": key.client_port,
                    "vip": IpAddr::from(service.key().address),
                    "port": key.dst_port,
                    "real": real.map(|address: Address| IpAddr::from(address)),
                    "state": flow.state.name(),
                    "expires_seconds": flow.remaining(self.plane.now()) / TICKS_PER_SECOND,
                }));
            }
        }
        let mut view = self.header();
        view["total"] = total.into();
        view["truncated"] = truncated.into();
        view["flows"] = rows.into();
        view
    }

    fn health(&self) -> Value {
        let mut rows = Vec::new();
        let mut shown = HashMap::new();
        for key in crate::compile::checks(self.model()) {
            let check = &key.check;
            // One check that several services share is one row.
            if shown.insert(key.clone(), ()).is_some() {
                continue;
            }
            let health = self.inputs.health.health(&key);
            rows.push(json!({
                "address": key.address,
                "type": check.probe.name(),
                "port": check.probe.has_port().then_some(check.target.port),
                "status": match self.inputs.health.status(&key) {
                    Status::Unknown => "unknown",
                    Status::Up => "up",
                    Status::Down => "down",
                },
                "since_seconds": health.and_then(|h| h.since()).map(|since| since.elapsed().as_secs()),
                "streak": health.map(|h| h.streak()),
                "last_error": health.and_then(|h| h.last_error()),
                "took_ms": health.and_then(|h| h.took()).map(|took| took.as_secs_f64() * 1000.0),
                "took_total_ms": health.map(|h| h.took_total().0.as_secs_f64() * 1000.0),
                "timed": health.map(|h| h.took_total().1),
                "probes": health.map(|h| h.probes()),
                "failures": health.map(|h| h.failures()),
                "service": null,
            }));
        }
        for service in self.model().services.iter().filter(|service| service.passive.is_some()) {
            for real in &service.reals {
                let out = self.inputs.passive.out(&(service.key, real.address));
                rows.push(json!({
                    "address": real.address,
                    "type": "passive",
                    "port": null,
                    "status": if out.is_some() { "down" } else { "up" },
                    "since_seconds": out.map(|out| out.since.elapsed().as_secs()),
                    "streak": null,
                    "last_error": out.map(|out| out.reason.as_str()),
                    "service": service.key.to_string(),
                }));
            }
        }
        let vip_checked = self.model().services.iter().filter(|service| service.vip_check != VipCheck::Off);
        for service in vip_checked {
            rows.extend(service.reals.iter().map(|real| self.vip_health(service, real)));
        }
        rows.into()
    }

    /// What the check through the VIP says of a real server.
    fn vip_health(&self, service: &VirtualService, real: &RealServer) -> Value {
        let health = self.inputs.vips.health(&(service.key, real.address));
        json!({
            "address": real.address,
            "type": "vip",
            "port": service.key.ports.single(),
            "status": health.map_or(Status::Unknown, |health| health.status()).to_string(),
            "since_seconds": health.and_then(|h| h.since()).map(|since| since.elapsed().as_secs()),
            "streak": null,
            "last_error": health.and_then(|h| h.words()),
            "service": service.key.to_string(),
            "decides": service.vip_check == VipCheck::Decides,
            "fault": health.and_then(|h| h.fault()).map(|fault| fault.name()),
            "diagnosis": health.and_then(|h| h.words()),
            "remedy": health.and_then(|h| h.remedy()),
            "last_round_seconds": health.and_then(|h| h.last_round()).map(|last| last.elapsed().as_secs()),
        })
    }

    fn workers(&self) -> Value {
        let workers = self.plane.workers().iter().enumerate();
        workers
            .map(|(n, worker)| {
                let queues: Vec<Value> = worker
                    .queues
                    .iter()
                    .map(|queue| {
                        json!({
                            "interface": queue.interface,
                            "queue": queue.queue,
                            "mode": queue.mode.to_string(),
                            "zero_copy": queue.zero_copy,
                            "huge_pages": queue.huge_pages,
                            "xdp": queue.lost.statistics().ok().map(statistics),
                            "lost": queue.lost.counts().ok().map(|lost| lost.worker_slow + lost.too_long),
                        })
                    })
                    .collect();
                let stats: &WorkerStats = &worker.stats;
                let watched = self.watch.of(n);
                json!({
                    "worker": n,
                    "state": watched.map_or("up", |watched| watched.state.name()),
                    "reason": watched.and_then(|watched| watched.state.reason()),
                    "restarts": watched.map_or(0, |watched| watched.restarts),
                    "busy_seconds": stats.busy_millis.value() as f64 / 1e3,
                    "core": worker.core,
                    "queues": queues,
                    "rx_frames": stats.rx_frames.value(),
                    "rx_bytes": stats.rx_bytes.value(),
                    "tx_frames": stats.tx_frames.value(),
                    "tx_bytes": stats.tx_bytes.value(),
                    "drops": stats.drops_total(),
                    "dropped": dropped(stats),
                    "checksums_completed": stats.checksums_completed.value(),
                    "captured": stats.captured.value(),
                    "capture_lost": stats.capture_lost.value(),
                    "kicks_refused": stats.kicks_refused.value(),
                    "generation": stats.generation.value(),
                    "bursts": stats.bursts.value(),
                    "turns": stats.turns.value(),
                    "sleeps": stats.sleeps.value(),
                    "flows": {
                        "remembered": stats.flows.value(),
                        "capacity": worker.flows.capacity().total(),
                        "expired": stats.flows_expired.value(),
                        "evicted": stats.flows_evicted.value(),
                        "dispensed": stats.flows_dispensed.value(),
                        "refused": stats.flows_refused.value(),
                        "adopted": stats.flows_adopted.value(),
                        "synced": stats.flows_synced.value(),
                        "moved": stats.flows_moved.value(),
                        "at_risk": stats.flows_at_risk.value(),
                    },
                    "answers": {
                        "icmp": stats.answers_icmp.value(),
                        "reset": stats.answers_reset.value(),
                        "withheld": stats.answers_withheld.value(),
                    },
                    "fragments_held": stats.fragments_held.value(),
                    "frames": {
                        "total": stats.frames_total.value(),
                        "free": stats.frames_free.value(),
                        "held": stats.frames_held.value(),
                        "filling": stats.frames_filling.value(),
                        "sending": stats.frames_sending.value(),
                    },
                })
            })
            .collect()
    }

    fn interfaces(&self) -> Value {
        let names = self.inputs.survey.interfaces.iter().map(|link| &link.name);
        names
            .zip(self.plane.steer_counts())
            .map(|(name, counts)| match counts {
                Ok(counts) => json!({
                    "interface": name,
                    "passed": counts.passed,
                    "redirected": counts.redirected,
                    "no_socket": counts.no_socket,
                    "worker_stalled": counts.worker_stalled,
                }),
                Err(error) => json!({ "interface": name, "error": error }),
            })
            .collect()
    }

    /// Routers, groups, and how late adverts were.
    fn vrrp(&self) -> Value {
        let mut view = self.header();
        if let Value::Object(seen) = json!(self.vrrp) {
            view.as_object_mut().expect("the header is one").extend(seen);
        }
        view["sync"] = json!(self.sync);
        view
    }

    fn drops(&self) -> Value {
        let rows = DropReason::ALL.into_iter().map(|reason| {
            let frames: u64 = self.plane.workers().iter().map(|w| w.stats.drops(reason).value()).sum();
            json!({ "reason": reason.name(), "frames": frames, "meaning": reason.meaning() })
        });
        // The reasons to drop a frame before it reaches a worker.
        let steered: Vec<SteerCounts> = self.plane.steer_counts().into_iter().flatten().collect();
        let queues = self.plane.workers().iter().flat_map(|worker| &worker.queues);
        let lost: Vec<LostCounts> = queues.filter_map(|queue| queue.lost.counts().ok()).collect();
        let row = |reason: &str, frames: u64, meaning: &str| json!({ "reason": reason, "frames": frames, "meaning": meaning });
        rows.chain([
            row(
                "no_socket",
                steered.iter().map(|counts| counts.no_socket).sum(),
                "The XDP program found no worker on the queue the frame came in on.",
            ),
            row(
                "worker_stalled",
                steered.iter().map(|counts| counts.worker_stalled).sum(),
                "The worker of the queue the frame came in on had shown no sign of life for a second.",
            ),
            row(
                "worker_slow",
                lost.iter().map(|lost| lost.worker_slow).sum(),
                "The worker was too slow: it had no frame left to receive into, or its RX ring was full.",
            ),
            row(
                "frame_too_long",
                lost.iter().map(|lost| lost.too_long).sum(),
                "The frame is longer than a frame of the UMEM has room for: joined by its sender or by GRO.",
            ),
        ])
        .collect()
    }
}
